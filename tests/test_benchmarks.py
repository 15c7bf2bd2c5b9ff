"""What the report makes of rows whose answer is known."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from statistics import mean

import pytest

from dann_transfer import methods
from dann_transfer.methods.base import _METHODS

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import board
import boards
import report
import tables


def row(source: str, method: str, seed: int, accuracy: float, **params: object) -> dict:
    return {
        "board": "sentiment",
        "source": source,
        "target": "t",
        "method": method,
        "seed": seed,
        "target_accuracy": accuracy,
        "settings": board.settings_of(method, 100, params),
    }


def test_the_gap_is_pooled_and_not_averaged():
    rows = []
    for source, low, high, own in (("a", 0.5, 0.9, 0.7), ("b", 0.8, 0.81, 0.79)):
        for seed in (0, 1):
            rows += [
                row(source, "source_only", seed, low),
                row(source, "target_trained", seed, high),
                row(source, "dann", seed, own),
            ]
    line = tables.gap_closed(rows).splitlines()[-1]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    # (0.2 - 0.01) of (0.4 + 0.01); a mean of ratios would say (0.5 - 1) / 2.
    assert cells[:5] == ["dann", "2", "2", "+9.5", "-1.0"]
    assert cells[5].startswith("46%")


def test_a_run_that_kept_another_epoch_than_today_is_outdated_and_made_again(tmp_path, monkeypatch):
    old = row("a", "dann", 0, 0.7)
    del old["settings"]["validation_tolerance"]
    # Ten texts are held out of a hundred: 0.8 has a standard error of 0.13.
    scores = {"outdated": [0.6, 0.8, 0.7], "the same": [0.6, 0.7, 0.8], "clear": [0.6, 0.8, 0.4]}
    told = {
        name: boards.outdated(
            {**old, "validation": [{"validation_accuracy": score} for score in values]}
        )
        for name, values in scores.items()
    }
    assert told == {"outdated": True, "the same": False, "clear": False}
    new = row("a", "dann", 0, 0.8)
    assert board.key_of(old) == board.key_of(new)
    assert tables.base(old) == tables.base(new)
    (tmp_path / "results").mkdir()
    lines = "\n".join(json.dumps(each) for each in (old, new))
    (tmp_path / "results" / "sentiment.jsonl").write_text(lines)
    monkeypatch.setattr(report, "HERE", tmp_path)
    assert [each["target_accuracy"] for each in report.read("sentiment.jsonl")] == [0.8]


def test_what_a_later_epoch_changes_is_taken_run_by_run():
    scores = [{"validation_accuracy": score} for score in (0.6, 0.8, 0.7)]
    before, again = [], []
    for source, method, old, new in (
        ("a", "mcc", 0.7, 0.75),
        ("b", "mcc", 0.7, 0.69),
        ("a", "target_trained", 0.8, 0.9),
        ("b", "target_trained", 0.8, 0.9),
    ):
        before.append({**row(source, method, 0, old), "validation": scores})
        del before[-1]["settings"]["validation_tolerance"]
        again.append(row(source, method, 0, new))
    lines = tables.epochs_kept(again, before).splitlines()[2:]
    # Both rows of target_trained are one model.
    assert lines == [
        "| mcc | 2 | 1 | +2.0 | -1.0 | +5.0 |",
        "| target_trained | 1 | 1 | +10.0 | +10.0 | +10.0 |",
    ]


def test_runs_are_compared_with_baselines_of_their_own_settings():
    rows = [
        row("a", "source_only", 0, 0.5),
        row("a", "source_only", 0, 0.8, freeze_layers=3),
        row("a", "dann", 0, 0.7, freeze_layers=3, max_strength=0.9),
    ]
    before = tables.baselines(rows, "source_only")
    assert tables.gain(rows[2:], before) == "-10.0"
    assert tables.label(rows[2]) == "dann (freeze_layers=3, max_strength=0.9)"
    assert tables.label(rows[0]) == "source_only"


def test_a_board_says_where_it_looked_for_its_data(monkeypatch, tmp_path):
    monkeypatch.setenv("DANN_TRANSFER_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="set DANN_TRANSFER_DATA to the folder"):
        boards.load("banking", 100)


def test_a_board_never_tests_on_what_it_adapts_to(monkeypatch, tmp_path):
    import pandas as pd

    texts = [
        f"{domain} {split} {i}"
        for domain in ("books", "dvd", "electronics", "kitchen")
        for split in ("train", "dev", "unlabelled")
        for i in range(6)
    ]
    frame = pd.DataFrame({"text": texts})
    frame[["domain", "split"]] = frame["text"].str.split(expand=True)[[0, 1]]
    frame["label"] = [i % 2 for i in range(len(texts))]
    frame.loc[frame["split"] == "unlabelled", "label"] = None
    frame.to_csv(tmp_path / "amazon.csv.gz", index=False)
    monkeypatch.setenv("DANN_TRANSFER_DATA", str(tmp_path))
    own = boards.load("amazon", 5)["dvd"]
    assert len(own.train[0]) == 5
    assert len(own.unlabelled) == len(own.validation[0]) == 6
    assert not set(own.unlabelled) & set(own.test[0])
    assert not set(own.own_test[0]) & set(own.train[0])
    assert set(own.test[1]) == {0, 1}


def gains_of(rows: list[dict], method: str) -> list[float]:
    """What each run of a method gains over source-only of its seed, in points."""
    before = tables.baselines(rows, "source_only")
    # A board has its own length of texts; options are another method.
    own = [r for r in rows if r["method"] == method and not r["settings"].get("method_options")]
    return [100 * (r["target_accuracy"] - before[tables.base(r), r["seed"]]) for r in own]


def test_the_readme_says_what_the_board_measured():
    rows = [
        r
        for name in ("sentiment.jsonl", "methods.jsonl")
        for r in report.read(name)
        if r["settings"]["train_texts"] == report.TEXTS
    ]
    parts = [rows, *report.halves(rows).values()]
    tables_of = [tables.gap_closed(part).splitlines() for part in parts]

    def cells_of(method: str) -> list[list[str]]:
        found = [
            next(line for line in lines if line.startswith(f"| {method} |")) for lines in tables_of
        ]
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in found]

    cells = cells_of("mcc")
    assert [row[1] for row in cells] == ["12", "6", "6"]
    text = " ".join((Path(report.HERE).parent / "README.md").read_text().split())
    every, starred, others = (row[-1].split(" ")[0] for row in cells)
    assert f"over the twelve pairs it closes {every} of the gap" in text
    assert f"costs no pair more than {-float(cells[0][4]):.1f} points" in text
    assert f"the pairs with a star, {starred} of their gap" in text
    assert f"it closes {others}, with an interval that includes none" in text
    assert "(-" in cells[2][-1]
    _, starred, others = (row[-1].split(" ")[0] for row in cells_of("mcc+afn"))
    assert f"does close {starred} of their gap (one or two seeds)" in text
    assert f"loses as much on the others ({others})" in text
    for board_name, method, said in (
        ("finance", "mcc", "loses {mean:.1f} points on average"),
        ("finance", "shot", "it loses {mean:.1f} points (one seed)"),
        ("banking", "mcc", "gains {mean:.1f}."),
        ("banking", "shot", "gains {mean:.1f} points on average, {share} of the gap"),
        ("amazon", "mcc", "loses {worst:.1f} points on the worst"),
    ):
        lines = tables.gap_closed(report.read(f"{board_name}.jsonl")).splitlines()
        cells = next(line for line in lines if line.startswith(f"| {method} ")).split("|")
        figures = {"mean": abs(float(cells[4])), "worst": abs(float(cells[5]))}
        assert said.format(**figures, share=cells[6].split()[0]) in text
    kept = tables.epochs_kept(report.read("tolerance.jsonl"), parts[0]).splitlines()
    changes = {cells[1].strip(): cells[4].strip() for cells in (line.split("|") for line in kept)}
    assert f"gave `mcc` {changes['mcc']} points and source-only {changes['source_only']}" in text
    for board_name, method, said in (
        ("banking", "shot", "{banking77:.1f} from bank to assistant, and {clinc150:.1f} back"),
        ("amazon", "mcc", "it is ahead on {ahead} and"),
    ):
        rows = report.read(f"{board_name}.jsonl")
        pairs = boards.pairs(board_name)
        gains = {pair: mean(gains_of(tables.of_pair(rows, pair), method)) for pair in pairs}
        of_source = {source: gain for (source, _), gain in gains.items()}
        ahead = sum(gain > 0 for gain in gains.values())
        assert said.format(**of_source, ahead=ahead) in text


PAIRS = {"mdan": [("amazon+movies", "tweets")]}


@pytest.mark.parametrize("name", [name for name in methods.names() if name != "source_only"])
def test_a_docstring_says_what_was_measured(name):
    rows = report.read("methods.jsonl")
    row_name = "dann+bsp" if name == "bsp" else name
    said = []
    for source, target in PAIRS.get(name, [("movies", "tweets"), ("tweets", "nyt")]):
        here = tables.of_pair(rows, (source, target))
        own = [r for r in here if r["method"] == row_name]
        assert len(own) >= 3
        said.append(f"{mean(gains_of(here, row_name)):+.1f}")
        # The default of today is the one that was measured.
        if name != "bsp":
            assert {r["settings"]["max_strength"] for r in own} == {_METHODS[name].default_strength}
    doc = " ".join((_METHODS[name].__doc__ or "").split())
    measured = re.search(r"Measured here.*?benchmarks/RESULTS\.md", doc)
    assert measured, f"{name} does not say what it gave"
    assert re.findall(r"[-+]\d+\.\d", measured[0]) == said

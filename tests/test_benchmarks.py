"""The report on rows whose results are known, and the numbers that the documentation states."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from statistics import mean

import numpy as np
import pytest

from dann_transfer import methods

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import abstention
import auto
import board
import boards
import labels
import report
import studies
import tables
from studies import changes, critic, epochs, family, judges, pairs, scored, splits


def row(source: str, method: str, seed: int, accuracy: float, **params: object) -> dict:
    return {
        "board": "sentiment",
        "source": source,
        "target": "t",
        "method": method,
        "seed": seed,
        "target_accuracy": accuracy,
        "target_macro_f1": accuracy,
        "settings": board.settings_of(method, boards.Sample(100), board.COMMON | params),
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
    # (0.2 - 0.01) of (0.4 + 0.01); a mean of ratios would give (0.5 - 1) / 2.
    assert cells[:5] == ["dann", "2", "2", "+9.5", "-1.0"]
    assert cells[-1].startswith("46%")


def test_what_a_later_epoch_changes_is_taken_run_by_run():
    best, rows = [], []
    for source, method, old, new in (
        ("a", "mcc", 0.7, 0.75),
        ("b", "mcc", 0.7, 0.69),
        ("a", "target_trained", 0.8, 0.9),
        ("b", "target_trained", 0.8, 0.9),
    ):
        best.append(row(source, method, 0, old, validation_tolerance=0.0))
        rows.append(row(source, method, 0, new))
    lines = epochs.table(best, rows).splitlines()[2:]
    # Both rows of target_trained are one model.
    assert lines == [
        "| mcc | 2 | 1 | +2.0 | -1.0 | +5.0 |",
        "| target_trained | 1 | 1 | +10.0 | +10.0 | +10.0 |",
        "| all | 3 | 2 | +4.7 | -1.0 | +10.0 |",
    ]


@pytest.mark.parametrize("tolerance", [1.0, 0.0])
def test_a_board_shows_methods_that_ran_on_every_seed_of_their_baseline(tolerance):
    rows = [
        row(
            source,
            method,
            seed,
            0.5 + 0.1 * (method != "source_only"),
            validation_tolerance=tolerance,
        )
        for source in "ab"
        for method in ("source_only", "dann", "mcc")
        for seed in (0, 1)
        if (source, method, seed) != ("b", "mcc", 1)
    ]
    head, _, *lines = pairs.board_table(rows, {("a", "t")}).splitlines()
    suffix = "" if tolerance else " (validation_tolerance=0.0)"
    assert head == f"| domains | source_only | target_trained | dann{suffix} |"
    assert lines[0] == "| a → t * | 50.0 ± 0.0 |  | +10.0 ± 0.0 |"


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
        boards.load("banking", boards.Sample(100))


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
    own = boards.load("amazon", boards.Sample(5))["dvd"]
    assert len(own.train[0]) == 5
    assert len(own.unlabelled) == len(own.validation[0]) == 6
    assert not set(own.unlabelled) & set(own.test[0])
    assert not set(own.own_test[0]) & set(own.train[0])
    assert set(own.test[1]) == {0, 1}


def test_students_with_a_critic_stand_beside_the_same_runs_without():
    options = {"student": {"extra_epochs": 6}}
    rows = [row("s", "student+wdgrl", 0, 0.9, method_options=options)]
    rows += [{**row("u", "student+wdgrl", 0, 0.8, method_options=options)}]
    beside = [row(s, m, 0, a) for s in "su" for m, a in (("source_only", 0.7), ("student", 0.75))]
    for distance, of in ((0.9, rows), (1.8, beside)):
        for one in of:
            one |= {"source_accuracy": 0.85, "a_distance": distance}
    lines = critic.table(rows, beside).splitlines()
    assert lines[2] == "| s → t | 6 | 70.0 | +5.0 | +20.0 | 85.0 | 1.80 | 0.90 |"
    assert lines[-1] == "| mean of 2 | 6 | 70.0 | +5.0 | +15.0 | 85.0 | 1.80 | 0.90 |"


def test_gains_on_texts_drawn_anew_stand_beside_the_usual_ones():
    usual = [row("a", m, 0, x) for m, x in (("source_only", 0.70), ("mcc", 0.75))]
    usual += [row("b", m, 0, x) for m, x in (("source_only", 0.60), ("mcc", 0.60))]
    anew = [row("a", m, 0, x) for m, x in (("source_only", 0.72), ("mcc", 0.70))]
    anew += [row("b", m, 0, x) for m, x in (("source_only", 0.62), ("mcc", 0.66))]
    lines = splits.table(anew, usual).splitlines()
    assert lines[0] == "| pair | source_only, usual | drawn anew | mcc, usual | drawn anew |"
    assert lines[2] == "| a → t | 70.0 | 72.0 | +5.0 | -2.0 |"
    assert lines[4] == "| mean | 65.0 | 67.0 | +2.5 | +1.0 |"


@pytest.mark.real
def test_another_split_has_other_texts_and_its_runs_other_names():
    usual, other = boards.Sample(20, 30), boards.Sample(20, 30, target_texts=10, split=1)
    one, two = (boards.load("sentiment", sample)["nyt"] for sample in (usual, other))
    assert len(one.train[0]) == len(two.train[0]) == 20
    assert set(one.train[0]) != set(two.train[0])
    assert set(one.test[0]) != set(two.test[0])
    assert not set(two.train[0]) & set(two.test[0])
    assert len(two.unlabelled) == 10
    rows = [row("s", "mcc", 0, 0.5) for _ in range(2)]
    for made, sample in zip(rows, (usual, other), strict=True):
        made["settings"] = board.settings_of("mcc", sample, {})
        assert boards.Sample.of(made["settings"]) == sample
    assert board.name_of(rows[0]) != board.name_of(rows[1])


FOLDER = Path(board.__file__).parent


@pytest.mark.parametrize("name", sorted(p.stem for p in FOLDER.glob("*.py")))
def test_every_script_loads(name):
    assert importlib.import_module(name).__doc__


def test_the_report_has_every_study():
    assert sorted(studies.ORDER.split()) == sorted(
        p.stem for p in (FOLDER / "studies").glob("*.py") if p.stem != "__init__"
    )
    for name, study in studies.modules().items():
        assert study.__doc__
        assert vars(study).keys() & {"sections", "tables", "figures", "pictures"}, name
    # Of the runs on boards, none is counted twice.
    keys = [board.key_of(r) for r in pairs.board_rows()]
    assert len(set(keys)) == len(keys)


def test_tables_and_figures_are_written_between_their_marks():
    page = (
        "a\n<!-- one: benchmarks/report.py -->\nold\n<!-- end of one -->\n"
        "gains <!--x.gain-->0.1<!--/--> points, and <!--x.worst_loss-->0.2<!--/--> at worst"
    )
    filled = report.filled(page, {"one": "new"}, {"x.gain": "1.5", "x.worst_loss": "-0.5"})
    assert filled == page.replace("old", "new").replace("0.1", "1.5").replace("0.2", "-0.5")
    with pytest.raises(KeyError, match=r"x\.gain"):
        report.filled(page, {"one": "new"}, {})


def test_the_pages_have_what_the_studies_measured():
    for path, page in report.pages().items():
        assert path.read_text(encoding="utf-8") == page, f"{path}: run python benchmarks/report.py"
        # Markdown would take a line that starts with a mark for HTML.
        assert not re.search(r"^\s*<!--(/|\w+\.\w+)-->", page, re.MULTILINE), path
        assert page.count("<!--/-->") == len(report.FIGURE.findall(page)), path
    pages = "".join(report.pages().values())
    assert {mark[1] for mark in report.TABLE.findall(pages)} == report.tables().keys()


def test_what_the_pages_say_in_words_about_students():
    whole = tables.by_pair(family.single_sources(), "student")
    assert sum(gain < 0 for gains in whole.values() for gain in gains) == 2, "two of these six"
    large = tables.by_pair(tables.of_board(tables.read("base"), "sentiment"), "student")
    assert min(map(mean, large.values())) > 0, "above source-only on each of the pairs"
    assert sum(gain < 0 for gains in large.values() for gain in gains) == 2, "lost on two"
    small = tables.by_pair(tables.of_board(tables.read("scored"), "sentiment"), "student")
    assert len(small) == 12
    assert {len(gains) for gains in small.values()} == {3}
    assert sum(mean(gains) < 0 for gains in small.values()) == 3, "below on three of them"
    intents = tables.by_pair(tables.of_board(tables.read("scored"), "banking"), "student")
    assert sorted(map(len, intents.values())) == [2, 3]
    assert min(gain for gains in intents.values() for gain in gains) > 0, "on each of five runs"
    joined = [r for r in tables.read("base") if r["method"] == "student+dann"]
    assert len(joined) == 7, "on seven pairs"
    trials = tables.read("base_students")
    runs = {name: sum(r["trial"] == name for r in trials) for name in changes.CHANGES}
    assert (runs["ens3"], runs["gen2ens3"]) == (6, 5), "on six pairs, on five"
    gains = changes.figures()
    for name in ("epochs6", "lr3e_5", "lr1e_5", "confident"):
        assert float(gains[name]) < 0, "none of these helped"
    assert {(r["source"], r["target"]) for r in tables.read("wdgrl")} == set(
        boards.pairs("sentiment")
    )
    rows = {(r["source"], r["method"], r["max_strength"]): r for r in tables.read("aligned")}
    for source in ("movies", "tweets"):
        after, alone = rows[source, "student+dann", 5.0], rows[source, "student", None]
        assert after["source_accuracy"] > alone["source_accuracy"], "keeps what it knows"
    assert {r["seed"] for r in tables.read("splits")} == {0}, "one seed"


def test_what_the_pages_say_in_words_about_judges_and_auto():
    assert scored.chosen_by("reverse_validation", "finance")[1] >= 0, "loses nothing"
    assert judges.figures()["banking_source_accuracy"] == "0.0", "gains nothing"
    kept: dict[tuple[str, str], set[str]] = {}
    for r in tables.read("auto"):
        kept.setdefault((r["board"], r["encoder"]), set()).add(r["chosen"])
    assert kept["sentiment", "mpnet"] == kept["banking", "mpnet"] == {"student"}
    assert kept["finance", "mpnet"] == kept["medical", "mpnet"] == {"source_only"}
    groups = [r for r in tables.read("scores") if r["encoder"] == "mpnet"]
    chosen = [
        max(("source_only", "mcc", "student"), key=group["scores"]["information_maximization"].get)
        for group in tables.of_board(groups, "sentiment")
        if group["seed"] is not None and {"mcc", "student"} <= set(group["accuracy"])
    ]
    assert set(chosen) == {"student"}, "on every pair of sentiment domains"


def test_what_the_pages_say_in_words_about_labels():
    rows = tables.read("labels")
    small, large = ([r for r in rows if r["encoder"] == name] for name in ("minilm", "mpnet"))
    others = [r for name in ("sentiment", "methods", "base_cpu") for r in tables.read(name)]
    worth = labels.worth(small, others, "mcc")
    assert int(re.search(r": (\d+) suggested", worth)[1]) <= 8
    base = tables.read("base_cpu")
    ran = {(r["source"], r["target"]) for r in base if r["method"] == "student"}
    student = mean(r["target_accuracy"] for r in base if r["method"] == "student")
    same = [r for r in large if (r["source"], r["target"]) in ran]
    assert labels.means(same, "suggested")[128] < student
    for part in (small, large):
        suggested, drawn, unsure = (
            labels.means(part, name) for name in ("suggested", "random", "uncertain")
        )
        for n in (8, 16, 32, 64, 128):
            assert suggested[n] - drawn[n] <= 0.0105
            assert abs(suggested[n] - unsure[n]) < 0.004


PAIRS = {"mdan": [("amazon+movies", "tweets")]}


@pytest.mark.parametrize("name", [name for name in methods.names() if name != "source_only"])
def test_a_method_was_measured_at_its_default_strength(name):
    rows = tables.read("methods")
    row_name = "dann+bsp" if name == "bsp" else name
    for pair in PAIRS.get(name, [("movies", "tweets"), ("tweets", "nyt")]):
        own = [r for r in tables.of_pair(rows, pair) if r["method"] == row_name]
        assert len(own) >= 3
        if name != "bsp":
            strengths = {r["settings"]["max_strength"] for r in own}
            assert strengths == {methods.default_strength(name)}
    # Figures belong in docs/results.md and README.md, so that a new board changes no source file.
    assert "Measured here" not in (type(methods.create(name)).__doc__ or "")


def test_the_share_of_the_gap_is_drawn_over_domains():
    """The interval is wider for pairs that share domains than for independent pairs."""
    names = "abcd"
    pairs = {
        (s, t): np.array([[4.0 if t == "a" else 0.0, 8.0, 0.0]])
        for s in names
        for t in names
        if s != t
    }
    share, (low, high) = tables.pooled_share(pairs)
    assert share == pytest.approx(12 / 96)
    # All of the gain is on one domain, which a draw of four leaves out with probability (3/4)^4.
    assert low == 0
    assert high > 0.2
    two = {pair: pairs[pair] for pair in (("a", "b"), ("b", "a"))}
    assert tables.pooled_share(two)[1] == pytest.approx([0.25, 0.25])


def test_a_judge_chooses_the_run_with_its_highest_score():
    def judged(method: str, accuracy: float, source: float, score: float) -> dict:
        return {
            "board": "b", "source": "s", "target": "t", "seed": 0, "method": method,
            "target_accuracy": accuracy, "source_accuracy": source, "criteria": {"a_score": score},
            "settings": {"train_texts": 9},
        }  # fmt: skip

    rows = [
        judged("source_only", 0.7, 0.9, 1),
        judged("mcc", 0.8, 0.8, 2),
        judged("dann", 0.6, 0.95, 0),
    ]
    lines = judges.choices([*rows, judged("target_trained", 1.0, 1.0, 9)]).splitlines()
    assert lines[2:] == [
        "| b | 1 | source accuracy | 20.0 | -10.0 | -10.0 |",
        "| b | 1 | a score | 0.0 | +10.0 | +10.0 |",
    ]


def test_coverage_takes_the_surest_texts():
    rows = [
        {
            "board": "b", "encoder": "e", "method": "m", "source_test_error": 0.1,
            "target_test_error": 0.2, "accuracy_at_1": 0.5, "accuracy_at_0.8": 0.6,
            "accuracy_at_0.5": 0.7, "accuracy_at_0.2": 1.0,
        }
    ] * 2  # fmt: skip
    assert abstention.table(rows).splitlines()[2] == (
        "| b | e | m | 2 | 10.0 |  | 20.0 |  | 50.0 | 60.0 | 70.0 | 100.0 |"
    )


def test_auto_chooses_by_what_the_stored_outputs_say(tmp_path):
    rows = {
        name: {
            "board": "sentiment", "source": "movies", "target": "tweets", "method": name, "seed": 0,
            "target_accuracy": accuracy, "settings": {"train_texts": 60, "test_texts": 50},
        }
        for name, accuracy in (("source_only", 0.7), ("mcc", 0.8), ("student", 0.9))
    }  # fmt: skip
    assert auto.kept({"source_only": rows["source_only"]}, tmp_path) is None
    unsure, sure = (np.tile([[p, 1 - p], [1 - p, p]], (30, 1)) for p in (0.6, 0.9))
    for name, p in (("source_only", unsure), ("mcc", sure), ("student", unsure)):
        assert auto.kept(rows, tmp_path) is None, "as long as one has no outputs"
        arrays = {"target_train.probabilities": p}
        np.savez(tmp_path / f"{board.name_of(rows[name])}.npz", **arrays)
    found = auto.kept(rows, tmp_path)
    assert found["chosen"] == "mcc"
    assert (found["gain"], found["regret"]) == pytest.approx((0.1, 0.1))
    assert auto.table([found]).splitlines()[2] == (
        "| sentiment | minilm | 1 | 1 | mcc 1 | +10.0 | +10.0 | +10.0 | 10.0 | 0 of 1 |"
    )

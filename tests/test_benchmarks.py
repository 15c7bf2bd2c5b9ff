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
import starts
import tables


def row(source: str, method: str, seed: int, accuracy: float, **params: object) -> dict:
    return {
        "board": "sentiment",
        "source": source,
        "target": "t",
        "method": method,
        "seed": seed,
        "target_accuracy": accuracy,
        "target_macro_f1": accuracy,
        "settings": board.settings_of(method, boards.Sample(100), params),
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
    lines = tables.epochs_kept(best, rows).splitlines()[2:]
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
    head, _, *lines = tables.board_table(rows, {("a", "t")}).splitlines()
    suffix = "" if tolerance else " (validation_tolerance=0.0)"
    assert head == f"| domains | source_only | target_trained | dann{suffix} |"
    assert lines[0] == "| a → t * | 50.0 ± 0.0 |  | +10.0 ± 0.0 |"


def test_rows_say_which_epoch_they_kept():
    names = [p.name for p in (report.HERE / "results").glob("*.jsonl")]
    rows = [r for name in names if name not in report.OTHERS for r in report.read(name)]
    assert {r["settings"]["validation_tolerance"] for r in rows} <= {0.0, 1.0}
    keys = [board.key_of(r) for r in rows]
    assert len(set(keys)) == len(keys), "no run is counted twice"
    best = report.read("best_epoch.jsonl")
    assert {r["settings"]["validation_tolerance"] for r in best} == {0.0}
    # Each of these runs was repeated.
    assert tables.epochs_kept(best, rows)


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
    lines = tables.critics(rows, beside).splitlines()
    assert lines[2] == "| s → t | 6 | 70.0 | +5.0 | +20.0 | 85.0 | 1.80 | 0.90 |"
    assert lines[-1] == "| mean of 2 | 6 | 70.0 | +5.0 | +15.0 | 85.0 | 1.80 | 0.90 |"


def test_gains_on_texts_drawn_anew_stand_beside_the_usual_ones():
    usual = [row("a", m, 0, x) for m, x in (("source_only", 0.70), ("mcc", 0.75))]
    usual += [row("b", m, 0, x) for m, x in (("source_only", 0.60), ("mcc", 0.60))]
    anew = [row("a", m, 0, x) for m, x in (("source_only", 0.72), ("mcc", 0.70))]
    anew += [row("b", m, 0, x) for m, x in (("source_only", 0.62), ("mcc", 0.66))]
    lines = tables.splits(anew, usual).splitlines()
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


def gains_of(rows: list[dict], method: str) -> list[float]:
    """Return each run's gain over source-only with the same seed, in points."""
    before = tables.baselines(rows, "source_only")
    # A run with method options counts as a different method.
    own = [r for r in rows if r["method"] == method and not r["settings"].get("method_options")]
    return [100 * (r["target_accuracy"] - before[tables.base(r), r["seed"]]) for r in own]


ROOT = Path(report.HERE).parent


@pytest.mark.parametrize("name", sorted(p.stem for p in Path(board.__file__).parent.glob("*.py")))
def test_every_script_loads(name):
    assert importlib.import_module(name).__doc__


def written() -> str:
    """Return the text of README.md and of the pages of docs/, in one line."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return " ".join(word for page in pages for word in page.read_text().split())


def test_the_documentation_says_what_the_board_measured():
    rows = [
        r
        for name in ("sentiment.jsonl", "methods.jsonl", "combinations.jsonl")
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
    text = written()
    every, starred, others = (row[-1].split(" ")[0] for row in cells)
    assert f"over the twelve pairs it closes {every} of the gap" in text
    assert f"gains {float(cells[0][4]):.1f} points where it gains least" in text
    assert f"the pairs with a star, where choices were made, it closes {starred}" in text
    low, high = re.findall(r"-?\d+%", cells[2][-1])[1:]
    assert f"which nobody looked at while choosing, {others} ({low} to {high})" in text
    combination = "mcc+afn (validation_tolerance=0.0)"
    _, starred, others = (row[-1].split(" ")[0] for row in cells_of(combination))
    assert f"does close {starred} of their gap (one or two seeds)" in text
    assert f"loses as much on the others ({others})" in text
    for board_name, method, said in (
        ("finance", "mcc", "loses {mean:.1f} points on average"),
        ("finance", "shot", "it loses {mean:.1f} points (one seed)"),
        ("banking", "mcc", "gains {mean:.1f}."),
        ("banking", "shot", "gains {mean:.1f} points on average, {share} of the gap"),
        ("amazon", "mcc", "loses {worst:.1f} points on the worst"),
        ("medical", "mcc", "it gains {mean:.1f} of"),
    ):
        lines = tables.gap_closed(report.read(f"{board_name}.jsonl")).splitlines()
        cells = next(line for line in lines if line.startswith(f"| {method} ")).split("|")
        figures = {"mean": abs(float(cells[4])), "worst": abs(float(cells[5]))}
        assert said.format(**figures, share=cells[8].split()[0]) in text
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
def test_a_method_was_measured_at_its_default_strength(name):
    rows = report.read("methods.jsonl")
    row_name = "dann+bsp" if name == "bsp" else name
    for pair in PAIRS.get(name, [("movies", "tweets"), ("tweets", "nyt")]):
        own = [r for r in tables.of_pair(rows, pair) if r["method"] == row_name]
        assert len(own) >= 3
        if name != "bsp":
            strengths = {r["settings"]["max_strength"] for r in own}
            assert strengths == {methods.default_strength(name)}
    # Figures belong in docs/results.md and README.md, so that a new board changes no source file.
    assert "Measured here" not in (type(methods.create(name)).__doc__ or "")


def test_the_readme_has_the_table_of_keywords():
    page = (ROOT / "docs" / "keywords.md").read_text()
    assert tables.hyperparameters() in page, "run python benchmarks/report.py"


def test_the_page_of_methods_has_the_tables_of_methods_and_options():
    page = (ROOT / "docs" / "methods.md").read_text()
    for table in (tables.methods_table(), tables.options_table()):
        assert table in page, "run python benchmarks/report.py"


def test_the_readme_has_the_table_of_the_base_size_board():
    rows = of_board(report.read("base.jsonl"), "sentiment")
    table = tables.base_readme(rows, boards.TUNED)
    assert table in (ROOT / "README.md").read_text(), "run python benchmarks/report.py"
    own = [r for r in tables.of_pair(rows, ("movies", "amazon")) if r["method"] == "source_only"]
    # Each seed counts once, however many methods ran beside it.
    said = f"| movies → amazon * | {100 * mean(r['target_accuracy'] for r in own):.1f} |"
    assert len(own) == 3
    assert said in table


def test_the_documentation_says_what_a_student_gains():
    text = written()
    rows = [r for r in report.read("methods.jsonl") if "+" not in r["source"]]
    pairs = ("movies", "tweets"), ("tweets", "nyt")
    gains = [gains_of(tables.of_pair(rows, pair), "student") for pair in pairs]
    on_tweets, on_nyt = map(mean, gains)
    said = f"it gains {on_tweets:.1f} points on movies → tweets and {on_nyt:.1f} on tweets → nyt"
    assert said in text
    lost = sum(gain < 0 for own in gains for gain in own)
    assert lost == 2
    assert "over three seeds each, and loses on two of these six runs" in text
    large = report.read("base.jsonl")
    rows = of_board(large, "sentiment")
    gains = {
        pair: gains_of(tables.of_pair(rows, pair), "student") for pair in boards.pairs("sentiment")
    }
    assert min(map(mean, gains.values())) > 0
    assert "its mean over seeds is above source-only on each of the 12 pairs" in text
    every = [gain for own in gains.values() for gain in own]
    lost = [gain for gain in every if gain < 0]
    assert (len(every), len(lost), round(min(every), 1)) == (35, 2, -0.1)
    assert "lost on two of its 35 runs, by 0.1 points at most" in text
    banking, finance = (
        {pair: mean(gains_of(tables.of_pair(of_board(large, name), pair), "student"))
         for pair in boards.pairs(name)}
        for name in ("banking", "finance")
    )  # fmt: skip
    gain = mean(banking.values())
    assert f"it gains {gain:.1f} points with the large encoder" in text
    assert f"the same student gains {gain:.1f} points, a quarter of the gap" in text
    on_tweets, on_news = finance["news", "tweets"], finance["tweets", "news"]
    assert f"it loses {-on_tweets:.1f} points on tweets and gains {on_news:.1f} on news" in text
    assert f"in each, it loses {-mean(finance.values()):.1f}" in text
    joined = [r for r in rows if r["method"] == "student+dann"]
    gain = mean(
        mean(gains_of(tables.of_pair(rows, pair), "student+dann"))
        for pair in {(r["source"], r["target"]) for r in joined}
    )
    said = f"it gains {gain:.1f} points on seven pairs, one seed, at an A-distance of "
    assert len(joined) == 7
    assert f"{said}{mean(r['a_distance'] for r in joined):.2f}" in text


def of_board(rows: list[dict], name: str) -> list[dict]:
    return [r for r in rows if r["board"] == name]


def test_the_documentation_says_which_changes_of_a_student_helped():
    large = of_board(report.read("base.jsonl"), "sentiment")
    lines = tables.student_trials(report.read("base_students.jsonl"), large).splitlines()
    found = dict(zip(tables.TAUGHT, (line.split("|")[2:] for line in lines[2:]), strict=True))
    change = {name: (int(cells[0]), float(cells[2])) for name, cells in found.items()}
    text = written()
    assert change["ens3"] == (6, 0.6)
    assert "the mean of three seeds adds 0.6 points on six pairs" in text
    assert change["gen2ens3"] == (5, 1.1)
    assert "a student taught by three students 1.1 on five" in text
    assert max(change[name][1] for name in ("epochs6", "lr3e-5", "lr1e-5", "confident")) < 0


def test_the_documentation_says_what_other_teachers_and_starts_gave():
    text = written() + " ".join((ROOT / "CONTRIBUTING.md").read_text().split())
    lines = tables.taught(report.read("members.jsonl"), report.read("scored.jsonl")).splitlines()
    line = next(line for line in lines if "2 students" in line)
    pairs, _, teachers, student = (float(x) for x in line.split("|")[2:6])
    assert pairs == 6
    said = f"taught by two gained {student:.1f} points and its teachers {teachers:.1f}"
    assert said in text
    found = {}
    for line in starts.table(report.read("starts.jsonl")).splitlines()[2:]:
        cells = [cell.strip() for cell in line.split("|")[2:-1]]
        found[cells[0], cells[1]] = float(cells[6]), float(cells[7])
    plain, probed, back = (
        found[key] for key in (("plain", "1.0"), ("LP-FT", "1.0"), ("plain", "0.75"))
    )
    assert f"has {probed[0]:.1f} % right on the other domains and not {plain[0]:.1f}" in text
    assert f"cost {plain[0] - back[0]:.1f} points" in text


def test_the_documentation_says_which_scores_chose_well():
    text = written()
    groups = [r for r in report.read("scores.jsonl") if r["encoder"] == "mpnet"]

    def figures(board_name: str, rule: str) -> tuple[float, float, float]:
        """Mean gain over pairs, the worst, and the mean regret."""
        pairs: dict = {}
        for group in of_board(groups, board_name):
            if group["seed"] is not None:
                choice = group["choices"][rule]
                pair = group["source"], group["target"]
                pairs.setdefault(pair, []).append((100 * choice["gain"], 100 * choice["regret"]))
        gain, regret = np.mean([np.mean(values, 0) for values in pairs.values()], axis=0)
        return gain, min(min(v)[0] for v in pairs.values()), regret

    gain, worst, regret = figures("sentiment", "information_maximization")
    said = f"models that gain {gain:.1f} points over source-only and lose {-worst:.1f} at worst"
    assert f"{said}, {regret:.1f} fewer than the best" in text
    gain, worst, _ = figures("sentiment", "source_validation")
    assert f"gains {gain:.1f} and loses {-worst:.1f} at worst: adaptation that helps" in text
    gain, worst, _ = figures("finance", "information_maximization")
    assert f"loses {-gain:.1f} points and {-worst:.1f} at worst, while" in text
    gain, worst, _ = figures("finance", "reverse_validation")
    assert worst >= 0
    assert f"reverse validation gains {gain:.1f} and loses nothing" in text
    chosen = [
        max(("source_only", "mcc", "student"), key=group["scores"]["information_maximization"].get)
        for group in of_board(groups, "sentiment")
        if group["seed"] is not None and {"mcc", "student"} <= set(group["accuracy"])
    ]
    assert set(chosen) == {"student"}
    assert "it keeps the student on every pair of sentiment domains" in text


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


def test_the_documentation_says_what_each_judge_would_have_chosen():
    text = written()
    lines = tables.choices([r for name in report.JUDGED for r in report.read(name)]).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    found = {(row[0], row[2]): [float(x) for x in row[3:]] for row in rows}
    regret, gain, worst = found["sentiment", "information maximization"]
    said = (
        f"{regret:.1f} points fewer than the best on sentiment, gains {gain:.1f} over source-only"
    )
    assert f"{said} and loses {-worst:.1f} at worst" in text
    _, gain, worst = found["sentiment", "source accuracy"]
    assert f"accuracy on the source gains {gain:.1f} and loses {-worst:.1f} at worst" in text
    _, gain, _ = found["banking", "information maximization"]
    assert f"On banking's intents it gains {gain:.1f}" in text
    assert found["banking", "source accuracy"][1] == 0
    _, gain, worst = found["finance", "information maximization"]
    assert f"{-gain:.1f} points lost on finance, and {-worst:.1f} at worst" in text


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
    lines = tables.choices([*rows, judged("target_trained", 1.0, 1.0, 9)]).splitlines()
    assert lines[2:] == [
        "| b | 1 | source accuracy | 20.0 | -10.0 | -10.0 |",
        "| b | 1 | a score | 0.0 | +10.0 | +10.0 |",
    ]


def test_the_documentation_says_what_labels_are_worth():
    rows = report.read("labels.jsonl")
    page = (ROOT / "docs" / "judging.md").read_text()
    assert labels.readme(rows) in page, "run python benchmarks/report.py"
    small, large = ([r for r in rows if r["encoder"] == name] for name in ("minilm", "mpnet"))
    others = [
        r for name in ("sentiment", "methods", "base_cpu") for r in report.read(f"{name}.jsonl")
    ]
    worth = labels.worth(small, others, "mcc")
    assert int(re.search(r": (\d+) suggested", worth)[1]) <= 8
    base = report.read("base_cpu.jsonl")
    pairs = {(r["source"], r["target"]) for r in base if r["method"] == "student"}
    student = mean(r["target_accuracy"] for r in base if r["method"] == "student")
    own = [r for r in large if (r["source"], r["target"]) in pairs]
    assert labels.means(own, "suggested")[128] < student
    for part in (small, large):
        suggested, drawn, unsure = (
            labels.means(part, name) for name in ("suggested", "random", "uncertain")
        )
        for n in (8, 16, 32, 64, 128):
            assert suggested[n] - drawn[n] <= 0.0105
            assert abs(suggested[n] - unsure[n]) < 0.004


def test_the_documentation_says_what_few_texts_cost_a_student():
    text, rows = written(), report.read("base.jsonl")
    for kind, pair, words in (
        (
            "amazon",
            ("kitchen", "books"),
            "a student lost {0:.1f} points, where `mcc` gained {1:.1f}",
        ),
        ("medical", ("abstracts", "notes"), "it lost {0:.1f} points, where `mcc` gained {1:.1f}"),
    ):
        own = tables.of_pair(of_board(rows, kind), pair)
        student, mcc, whole = (
            mean(gains_of(own, name)) for name in ("student", "mcc", "target_trained")
        )
        assert f"{words.format(-student, mcc)} of {whole:.1f}" in text
    dvd = tables.of_pair(of_board(rows, "amazon"), ("electronics", "dvd"))
    three = [mean(gains_of(dvd, name)) for name in ("mcc", "target_trained", "dann")]
    assert "`mcc` gained {:.1f} of {:.1f} and DANN {:.1f}.".format(*three) in text
    assert f"of {whole:.1f} and DANN lost {-mean(gains_of(own, 'dann')):.1f}." in text
    assert f"on medical texts, where the student lost {-student:.1f} points" in text


def test_the_documentation_says_what_texts_drawn_anew_gave():
    text = written()
    usual, anew = report.read("scored.jsonl"), report.read("splits.jsonl")
    usual = [r for r in usual if r["board"] == "sentiment" and r["seed"] == 0]
    means = [
        [
            mean(
                mean(gains_of(tables.of_pair(rows, pair), name))
                for pair in boards.pairs("sentiment")
            )
            for name in ("student", "mcc")
        ]
        for rows in (anew, usual)
    ]
    assert {r["seed"] for r in anew} == {0}
    (student, mcc), (student_before, mcc_before) = means
    said = (
        f"gains {student:.1f} points and `mcc` {mcc:.1f}; on the usual ones, with the same seed, "
    )
    assert f"{said}{student_before:.1f} and {mcc_before:.1f}" in text


def test_the_documentation_says_what_weights_by_class_gain():
    rows = [r for r in report.read("methods.jsonl") if "+" not in r["source"]]
    pairs = ("movies", "tweets"), ("tweets", "nyt")
    (a, b), (c, d) = (
        [mean(gains_of(tables.of_pair(rows, pair), name)) for name in ("iwdan", "dann")]
        for pair in pairs
    )
    assert (
        f"gains {a:+.1f} points on movies → tweets, where DANN gains {b:+.1f}, and {c:+.1f} on "
        f"tweets → nyt, where DANN gains {d:+.1f} (three seeds each)"
    ) in written()


def test_the_documentation_says_what_an_aligned_student_gains():
    text = written()
    rows = {(r["source"], r["method"], r["max_strength"]): r for r in report.read("aligned.jsonl")}
    said = []
    for source in ("movies", "tweets"):
        before, after = rows[source, "source_only", None], rows[source, "student+dann", 5.0]
        gain = 100 * (after["target_accuracy"] - before["target_accuracy"])
        said.append((before["a_distance"], after["a_distance"], gain))
        assert after["source_accuracy"] > rows[source, "student", None]["source_accuracy"]
    (a, b, gain), (c, d, other) = said
    assert f"falls from {a:.2f} to {b:.2f} on movies → tweets" in text
    assert (
        f"from {c:.2f} to {d:.2f} on tweets → nyt, with {gain:.1f} and {other:.1f} points" in text
    )
    before, double = rows["movies", "source_only", None], rows["movies", "student+dann", 10.0]
    gain = 100 * (double["target_accuracy"] - before["target_accuracy"])
    assert f"λ = 2 brings {double['a_distance']:.2f} and {gain:.1f} points" in text


def test_the_documentation_says_what_a_student_with_a_critic_gains():
    text = written()
    rows = [r for r in report.read("wdgrl.jsonl") if tables.passes_of(r) == 6]
    beside = {
        (r["source"], r["target"], r["method"]): r
        for r in report.read("scored.jsonl")
        if r["board"] == "sentiment" and r["seed"] == 0
    }
    assert {(r["source"], r["target"]) for r in rows} == set(boards.pairs("sentiment"))
    gains, plain, before = [], [], []
    for r in rows:
        alone, student = (
            beside[r["source"], r["target"], name] for name in ("source_only", "student")
        )
        gains.append(100 * (r["target_accuracy"] - alone["target_accuracy"]))
        plain.append(100 * (student["target_accuracy"] - alone["target_accuracy"]))
        before.append(alone["a_distance"])
    after = mean(r["a_distance"] for r in rows)
    assert f"it gains {mean(gains):.1f} points on average over the twelve pairs" in text
    assert f"the student alone {mean(plain):.1f}" in text
    assert f"the mean A-distance falls from {mean(before):.2f} to {after:.2f}" in text
    lost = [gain for gain in gains if gain < 0]
    assert f"It loses on {len(lost)} of them, {-min(gains):.1f} points at most" in text


def test_the_documentation_says_how_far_confidence_is_off():
    text = written()
    rows = [
        r
        for r in report.read("coverage.jsonl")
        if (r["encoder"], r["method"], r["board"]) == ("mpnet", "source_only", "sentiment")
    ]
    assert len(rows) == 36
    at = {share: 100 * mean(r[f"accuracy_at_{share:g}"] for r in rows) for share in (1, 0.8, 0.5)}
    assert f"{at[1]:.1f} % of the target texts are right, {at[0.8]:.1f} % of the surest" in text
    assert f"and {at[0.5]:.1f} % of the surest half" in text
    off = {
        name: 100 * mean(r[name] for r in rows)
        for name in ("source_test_error", "target_test_error", "target_test_error_calibrated")
    }
    source, target, calibrated = off.values()
    assert f"off by {source:.1f} points on the source, are off by {target:.1f} on" in text
    assert f"and by {calibrated:.1f} after calibration" in text
    found = {}
    for name in ("banking", "finance"):
        own = [r for r in of_board(report.read("coverage.jsonl"), name) if r["encoder"] == "mpnet"]
        own = [r for r in own if r["method"] == "source_only"]
        keys = ("target_test_error", "target_test_error_calibrated", "accuracy_at_0.5")
        found[name] = [100 * mean(r[key] for r in own) for key in (*keys, "accuracy_at_1")]
    off, calibrated, half, every = found["banking"]
    assert f"off by {off:.1f} points on the target, far too unsure, and by {calibrated:.1f}" in text
    assert f"half is right in {half:.1f} % against {every:.1f} % of all." in text
    _, _, half, every = found["finance"]
    assert f"is right in {half:.1f} % against {every:.1f} % of all." in text


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


def test_the_documentation_says_what_auto_kept():
    text = written()
    rows = report.read("auto.jsonl")
    page = (ROOT / "docs" / "judging.md").read_text()
    assert auto.table(rows) in page, "run python benchmarks/report.py"
    kept: dict[tuple[str, str], set[str]] = {}
    for r in rows:
        kept.setdefault((r["board"], r["encoder"]), set()).add(r["chosen"])
    assert kept["sentiment", "mpnet"] == kept["banking", "mpnet"] == {"student"}
    assert kept["finance", "mpnet"] == kept["medical", "mpnet"] == {"source_only"}
    anew = [100 * r["gain"] for r in report.read("splits_auto.jsonl")]
    assert len(anew) == 12
    assert f"it gains {mean(anew):.1f} points with the small encoder" in text
    assert f"one seed, and loses {-min(anew):.1f} at worst" in text
    small = [r for r in rows if r["encoder"] == "minilm"]
    small = [r for r in small if r["board"] == "sentiment"]
    assert {(r["source"], r["target"]) for r in small} == set(boards.pairs("sentiment"))
    lost = [-100 * r["gain"] for r in small if r["gain"] < 0]
    assert f"{len(lost)} of its {len(small)} runs lost, by {max(lost):.1f} points at most" in text
    by_pair = [
        np.array([100 * r["gain"] for r in tables.of_pair(small, pair)])
        for pair in boards.pairs("sentiment")
    ]
    worst = -min(gains.mean() for gains in by_pair)
    assert f"over three seeds it is {worst:.1f} points below source-only on its worst pair" in text
    shown = sum(tables.lower_bound(gains) > -0.5 for gains in by_pair)
    assert f"does not lose half a point is shown for {shown} of the 12 pairs" in text
    runs = report.read("scored.jsonl")
    students = [
        gains_of(tables.of_pair(runs, pair), "student") for pair in boards.pairs("sentiment")
    ]
    assert {len(gains) for gains in students} == {3}
    means = [mean(gains) for gains in students]
    assert sum(gain < 0 for gain in means) == 3
    assert (
        f"it gains {mean(means):.1f} on the twelve pairs over three seeds, and its mean is below "
        f"source-only's on three of them, by {-min(means):.1f} at most" in text
    )
    forth, back = (
        gains_of(tables.of_pair(runs, pair), "student")
        for pair in (("banking77", "clinc150"), ("clinc150", "banking77"))
    )
    assert min(forth + back) > 0
    assert (len(forth), len(back)) == (2, 3)
    said = f"it gains {mean(forth):.1f} points and back {mean(back):.1f}, and it gained on each"
    assert f"{said} of five runs" in text
    every = [gain for gains in students for gain in gains]
    assert f"{sum(gain < 0 for gain in every)} of the {len(every)} runs lost" in text


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

"""Turn the board's JSON lines into docs/results.md, and tables of README.md and docs/.

    python benchmarks/report.py

Every number comes from a line under benchmarks/results; none is written by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import abstention
import auto
import boards
import export
import labels
import matplotlib.pyplot as plt
import memory
import processes
import scores
import service
import starts
from tables import (
    aligned,
    base_readme,
    board_table,
    choices,
    corrections,
    critics,
    epochs_kept,
    family,
    family_readme,
    gap_closed,
    hyperparameters,
    judges,
    label,
    lora,
    methods_table,
    neighbors,
    of_pair,
    options_table,
    peers,
    speed,
    splits,
    student_trials,
    table,
    taught,
    trials,
)

from dann_transfer import plots

HERE = Path(__file__).parent
# Number of training texts in the table of all methods and on the boards.
TEXTS = 1000
# Files that do not come from the board.
OTHERS = {
    "aligned.jsonl",
    "alignment.jsonl",
    "auto.jsonl",
    "base_cpu.jsonl",
    "base_students.jsonl",
    "base_trials.jsonl",
    "best_epoch.jsonl",
    "costs.jsonl",
    "coverage.jsonl",
    "export.jsonl",
    "few.jsonl",
    "gpu.jsonl",
    "labels.jsonl",
    "lora.jsonl",
    "members.jsonl",
    "memory.jsonl",
    "neighbors.jsonl",
    "processes.jsonl",
    "service.jsonl",
    "speed.jsonl",
    "peers.jsonl",
    "scored.jsonl",
    "splits.jsonl",
    "splits_auto.jsonl",
    "starts.jsonl",
    "scores.jsonl",
    "trials.jsonl",
    "wdgrl.jsonl",
}
JUDGED = tuple(
    f"{name}.jsonl" for name in ("sentiment", "methods", "amazon", "banking", "finance", "medical")
)
BASE_START, BASE_END = "<!-- base: benchmarks/report.py -->", "<!-- end of base -->"
LABELS_START, LABELS_END = "<!-- labels: benchmarks/report.py -->", "<!-- end of labels -->"
AUTO = "<!-- auto: benchmarks/report.py -->", "<!-- end of auto -->"
FAMILY = "<!-- family: benchmarks/report.py -->", "<!-- end of family -->"
PROCESSES = "<!-- processes: benchmarks/report.py -->", "<!-- end of processes -->"
EXPORT = "<!-- export: benchmarks/report.py -->", "<!-- end of export -->"
LORA = "<!-- lora: benchmarks/report.py -->", "<!-- end of lora -->"
MEMORY = "<!-- memory: benchmarks/report.py -->", "<!-- end of memory -->"
SERVICE = "<!-- service: benchmarks/report.py -->", "<!-- end of service -->"
SPEED_START, SPEED_END = "<!-- speed: benchmarks/report.py -->", "<!-- end of speed -->"
METHODS = ("<!-- methods: benchmarks/report.py -->", "<!-- end of methods -->")
OPTIONS = ("<!-- options: benchmarks/report.py -->", "<!-- end of options -->")
KEYWORDS_START, KEYWORDS_END = "<!-- keywords: benchmarks/report.py -->", "<!-- end of keywords -->"
PEERS_PAIR = "movies", "tweets"
START, END = "<!-- results: benchmarks/report.py writes this -->", "<!-- end of results -->"


def put(text: str, start: str, end: str, made: str) -> str:
    """Replace the text between two markers."""
    before, rest = text.split(start)
    return f"{before}{start}\n{made}\n{end}{rest.split(end)[1]}"


def read(name: str) -> list[dict[str, Any]]:
    """Read a file of JSON lines."""
    lines = (HERE / "results" / name).read_text().splitlines()
    return [json.loads(line) for line in lines]


def last_ratios() -> dict[str, Any]:
    """Return the latest speed ratios."""
    return [row for row in read("speed.jsonl") if row["kind"] == "ratios"][-1]


def of_family(files: list[str]) -> list[str]:
    """The results of every method at its defaults."""
    if "methods.jsonl" not in files:
        return []
    rows = [r for r in read("methods.jsonl") if label(r) == r["method"]]
    costs = read("costs.jsonl") if "costs.jsonl" in files else []
    return [
        "## The family",
        f"At most {TEXTS:,} texts of each domain to train on, three epochs, every method at "
        "its defaults. Parameters are those the method adds; time is training time as a multiple "
        "of source-only's, and peak memory is that of the process (`costs.py`).",
        family(rows, costs),
        "## Judges without target labels",
        "The rank correlation (Spearman) of each score in `dann_transfer.selection` with the "
        "accuracy on the target, over the runs of the family, each method and seed: +1 would "
        "choose the best method every time, 0 is of no use.",
        judges(rows),
        "What each score would have chosen among the models of a pair and seed, including "
        "source-only, on every board: how many points the chosen one has fewer than the best "
        "(regret), and more than source-only (gain). Source accuracy is that on test texts.",
        choices([row for name in JUDGED for row in read(name)]),
        "## Correcting by an estimated class prior",
        "Mean accuracy on the target over the runs of the family, as predicted and with "
        "`correct_prior`. It was measured before the package calibrated probabilities for this and "
        "refused estimates that the source's confusions contradict.",
        corrections(rows),
    ]


def kind_of(row: dict[str, Any]) -> tuple[str, str, int]:
    """Return what identifies a row's board: data, encoder and number of training texts."""
    return row["board"], row.get("encoder", "minilm"), row["settings"]["train_texts"]


def title_of(kind: tuple[str, str, int]) -> str:
    """Name a board for a headline."""
    size = {"minilm": "small encoder", "mpnet": "base-size encoder"}[kind[1]]
    return f"{kind[0]} board, {size}, {kind[2]:,} texts to train on"


def of_boards(rows: list[dict[str, Any]]) -> list[str]:
    """Every board: its pairs in one table, the gap closed, and then each pair."""
    parts = []
    kinds = sorted({kind_of(r) for r in rows}, key=lambda kind: (kind[1] == "minilm", kind))
    for kind in kinds:
        own = [r for r in rows if kind_of(r) == kind]
        if len({(r["source"], r["target"]) for r in own}) == 1:
            continue
        tuned = boards.TUNED if kind[0] == "sentiment" else set()
        parts += [
            f"## The {title_of(kind)}",
            "Accuracy of the baselines, and the gain of every method that ran on all of these "
            "pairs. " + ("Design choices were made on the pairs with a star." if tuned else ""),
            board_table(own, tuned),
            "Share of the gap closed, pooled over the pairs that have the method and both "
            "baselines: the sum of the gains divided by the sum of the gaps between target-trained "
            "and source-only, with its 95 % bootstrap interval over domains, which the pairs "
            "share, and seeds (over seeds alone where there are two domains). A pair is shown not "
            "to lose 0.5 points if the one-sided 95 % bound of its mean gain over seeds lies above "
            "-0.5. Macro-F1 is the mean gain in macro-F1.",
            gap_closed(own),
        ]
        if tuned:
            for title, some in halves(own).items():
                if closed := gap_closed(some):
                    parts += [title, closed]
    for kind in kinds:
        own = [r for r in rows if kind_of(r) == kind]
        for pair in sorted({(r["source"], r["target"]) for r in own}):
            parts += [f"### {' → '.join(pair)}: {title_of(kind)}", table(of_pair(own, pair))]
    return parts


def halves(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The runs on pairs that were used for choices (with a star), and on the others."""
    of_one = [r for r in rows if "+" not in r["source"]]
    ran: dict[str, set[tuple[str, str]]] = {}
    for r in of_one:
        ran.setdefault(label(r), set()).add((r["source"], r["target"]))
    everywhere = [r for r in of_one if len(ran[label(r)]) == len(boards.pairs("sentiment"))]
    return {
        "On the pairs with a star:": [
            r for r in everywhere if (r["source"], r["target"]) in boards.TUNED
        ],
        "On the pairs without a star:": [
            r for r in everywhere if (r["source"], r["target"]) not in boards.TUNED
        ],
    }


def of_others(files: list[str]) -> list[str]:
    """Trials, other libraries, and speed."""
    parts = []
    if "trials.jsonl" in files:
        parts += [
            "## Trials",
            "What was tried on the pairs with a star before the board ran: one seed, 1,000 texts "
            "to train on, the first 600 of the test set. Shown is the gain after each epoch over "
            "source-only's last epoch (with the weights of that epoch, not of the one that "
            "validation chooses). At one seed, differences of three points mean nothing.",
            trials(read("trials.jsonl")),
        ]
    if "scores.jsonl" in files:
        parts += [
            "## Scores without target labels",
            "`python benchmarks/scores.py --rows benchmarks/results/scored.jsonl "
            "benchmarks/results/base.jsonl --outputs runs/outputs --out "
            "benchmarks/results/scores.jsonl`: which of the models of a pair and seed each score "
            "chooses. Regret is how many points this model has fewer than the best of them; gain "
            "is over source-only. Figures are means over pairs, with 95 % intervals over domains.",
            scores.report(read("scores.jsonl")),
        ]
    if "neighbors.jsonl" in files:
        parts += [
            "## Neighbours",
            "`neighbors=10` averages predictions with those of the nearest target texts: the "
            "points that this adds, one seed, from stored outputs (`python benchmarks/after.py`).",
            neighbors(read("neighbors.jsonl")),
        ]
    if "base_students.jsonl" in files:
        large = [r for r in read("base.jsonl") if r["board"] == "sentiment"]
        parts += [
            "## Students that were tried",
            "Single changes to what `student` does with the large encoder, on pairs with a star, "
            "seed 0: gain in points over source-only, and over the student of the same pair and "
            "seed. A teacher of three seeds costs two more trainings. These students were "
            'trained outside the board with the parts of `DomainAdapter(method="student")`.',
            student_trials(read("base_students.jsonl"), large),
        ]
    if "members.jsonl" in files:
        parts += [
            "## Students taught by others",
            "`python benchmarks/students.py --train-texts 1000 --test-texts 1000 --seeds 1 "
            "--teacher mcc --out benchmarks/results/members.jsonl`, and the same with `--seeds 3 "
            "--members 1 2`, on pairs with a star: a student of the small encoder whose labels "
            "come from a model that `mcc` adapted, or from two students together. Accuracy of "
            "source-only and gains over it in points: the teachers' mean, the student's, and its "
            "worst pair.",
            taught(read("members.jsonl"), read("scored.jsonl")),
        ]
    if "starts.jsonl" in files:
        parts += [
            "## How a source-only model starts",
            "`python benchmarks/starts.py --sources movies --starts plain LP-FT --train-texts 1000 "
            "--test-texts 300 --out benchmarks/results/starts.jsonl`: a head that starts at random "
            "(plain) or from a logistic regression (LP-FT), and weights moved back "
            "towards the pretrained ones (the share of training is below 1: WiSE-FT). Means in "
            "percent over pairs; spread is the standard deviation over seeds of a pair, worst a "
            "single run, and the last column the share of target texts that two seeds label alike.",
            starts.table(read("starts.jsonl")),
        ]
    if "aligned.jsonl" in files:
        parts += [
            "## A student that is aligned",
            "In the second phase of `student+dann` both domains have labels, the source's own and "
            "those that the student learns from, so that aligning the domains cannot map one class "
            "onto another unnoticed. The runs have 1,000 texts of each domain, the first 1,000 of "
            "the test sets, one seed, the small encoder, and everything else at its default. "
            "Combined students were trained outside the board on its splits; `python "
            "benchmarks/board.py --methods student+dann --set max_strength=5.0 --train-texts 1000 "
            "--test-texts 1000` trains the same.",
            aligned(read("aligned.jsonl")),
        ]
    if "wdgrl.jsonl" in files:
        parts += [
            "## A student with a critic",
            "`python benchmarks/board.py --train-texts 1000 --test-texts 1000 --seeds 0 --methods "
            "student+wdgrl --set max_strength=3.0 "
            "\"method_options={'student':{'extra_epochs':6}}\" --out "
            "benchmarks/results/wdgrl.jsonl`: as above, with the critic of `wdgrl` instead of a "
            "discriminator and with six passes over the source in the second phase, beside the "
            "runs of the small encoder with the same seed and texts (`scored.jsonl`). Accuracy of "
            "source-only on the target, and gains over it in points. Strength and passes were "
            "chosen on movies → tweets.",
            critics(read("wdgrl.jsonl"), read("scored.jsonl")),
        ]
    if "splits.jsonl" in files:
        parts += [
            "## On texts drawn anew",
            "`python benchmarks/board.py --train-texts 1000 --test-texts 1000 --seeds 0 --split 1 "
            "--methods source_only mcc --outputs runs/outputs --out "
            "benchmarks/results/splits.jsonl` and `students.py` with the same: training and test "
            "texts of each domain drawn anew, small encoder, seed 0, beside the usual ones with "
            "the same seed (`scored.jsonl`). Accuracy of source-only on the target, and gains over "
            "it in points. Nothing was chosen on these texts.",
            splits(read("splits.jsonl"), read("scored.jsonl")),
            '`method="auto"` on these texts (`python benchmarks/auto.py --rows '
            "benchmarks/results/splits.jsonl --outputs runs/outputs --out "
            "benchmarks/results/splits_auto.jsonl`):",
            auto.table(read("splits_auto.jsonl")),
        ]
    if "few.jsonl" in files:
        parts += [
            "## Too few texts for a student",
            "`python benchmarks/board.py --pairs movies:tweets --methods source_only student "
            "--seeds 0 --train-texts 400 --test-texts 500 --set freeze_layers=4 learning_rate=1e-4 "
            "--out benchmarks/results/few.jsonl`",
            table(read("few.jsonl")),
        ]
    if "coverage.jsonl" in files:
        parts += [
            "## When not to answer",
            "`python benchmarks/abstention.py --rows benchmarks/results/base.jsonl "
            "benchmarks/results/scored.jsonl --outputs runs/outputs --out "
            "benchmarks/results/coverage.jsonl`: by how many points probabilities are off on test "
            "texts (expected calibration error), as predicted and after calibration on held-out "
            "source texts, and what percentage of the target's surest texts is right. Means over "
            "runs.",
            abstention.table(read("coverage.jsonl")),
        ]
    if "labels.jsonl" in files:
        parts += [
            "## A few labels of the target",
            "`python benchmarks/labels.py`: accuracy of source-only's predictions after the given "
            "number of target texts were labelled and the labels spread to the nearest texts. "
            "Means over pairs and five draws, one seed of source-only.",
            labels.report(read("labels.jsonl")),
        ]
    if "peers.jsonl" in files:
        given = read("peers.jsonl")
        parts += [
            "## Other libraries",
            f"`python benchmarks/peers.py`: {' → '.join(PEERS_PAIR)}, {given[0]['texts']:,} texts, "
            f"on {given[0]['machine']}.",
            peers(given),
        ]
    if "speed.jsonl" in files:
        measured = last_ratios()
        parts += [
            "## Speed",
            f"`python benchmarks/speed.py`, on {measured['machine']}: medians of "
            f"{len(measured['runs']['floor'])} rounds.",
            speed(measured),
        ]
        if points := [row for row in read("speed.jsonl") if row["kind"] == "growth"]:
            draw_growth(points, HERE.parent / "docs" / "growth.png")
            usual = "320 texts of each domain, 32 tokens each, 2 classes and batches of 32"
            parts += [
                "One epoch of DANN as one quantity grows and the others stay at " + usual + ".",
                "![Seconds and memory of an epoch](growth.png)",
            ]
    return parts


def draw_growth(rows: list[dict[str, Any]], path: Path) -> None:
    """Plot seconds (above) and peak memory (below) of an epoch against what grows."""
    kinds = list(dict.fromkeys(row["over"] for row in rows))
    figure, axes = plt.subplots(
        2, len(kinds), figsize=(3 * len(kinds), 5), sharex="col", sharey="row", layout="constrained"
    )
    for column, kind in zip(axes.T, kinds, strict=True):
        # A repeated measurement replaces the earlier one.
        own = {row[kind]: row for row in rows if row["over"] == kind}
        for ax, key in zip(column, ("seconds", "peak_gib"), strict=True):
            ax.plot(sorted(own), [own[x][key] for x in sorted(own)], marker="o", color="#0072B2")
            ax.spines[["top", "right"]].set_visible(False)
        column[1].set(xlabel={"length": "tokens a text", "texts": "texts a domain"}.get(kind, kind))
    for ax in axes.flat:
        ax.set(xlim=(0, None), ylim=(0, None))  # last: shared axes take the limits of all
    axes[0, 0].set_ylabel("seconds an epoch")
    axes[1, 0].set_ylabel("peak memory, GiB")
    figure.savefig(path, dpi=100)


def main() -> None:
    files = sorted(p.name for p in (HERE / "results").glob("*.jsonl"))
    rows = [row for name in files if name not in OTHERS for row in read(name)]
    # Rows with the same time to the nanosecond come from the same training.
    trainings = {r["seconds"] for r in rows}
    parts = [
        "# Results",
        "Made by `python benchmarks/report.py` from `benchmarks/results/*.jsonl`, which `python "
        "benchmarks/board.py` and `python benchmarks/costs.py` write. Accuracies and F1 are "
        "percentages with the standard deviation over seeds; gain is over source-only with the "
        "same seeds, in points, with its 95 % interval over seeds (Student's t). `target_trained` "
        "is trained on the target's own labels. A row with one seed shows only a direction. Rows "
        "of the small encoder, except those of `student`, were measured before the random streams "
        "of a seed changed (see CHANGELOG.md): a seed draws different numbers today, from the same "
        "distribution. Rows of methods with two phases (`student`, `shot`, `adda` and combinations "
        "of them) were measured before their source phase became the same with and without a "
        "target, which changes its batches; rows of a student, with ten neighbours whatever the "
        "sizes of classes. All runs have three epochs, which a thousand texts of two classes still "
        "have by default; fewer texts and more classes have more today.",
        *of_family(files),
        *of_boards(rows),
        *of_others(files),
        "## Which epoch is kept",
        "About a hundred held-out source texts choose the epoch. The one that does best on them "
        "(`validation_tolerance=0`) is often an early one by chance; the latest within a standard "
        "error of it is kept by default. Where the two rules keep different epochs, the default "
        "changes target accuracy by these points (`results/best_epoch.jsonl` has the runs with the "
        "best epoch; boards that were not run again say so in their rows):",
        epochs_kept(read("best_epoch.jsonl"), rows),
        f"{len(rows)} runs from {len(trainings)} trainings, {sum(trainings) / 60:.0f} minutes of "
        "training in all (several pairs share baselines). The seconds in the rows were measured "
        "while other work shared the machine; `benchmarks/speed.py` measures speed.",
    ]
    (HERE.parent / "docs" / "results.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    small = [r for r in rows if kind_of(r) == ("sentiment", "minilm", TEXTS)]
    large = [r for r in rows if kind_of(r) == ("sentiment", "mpnet", TEXTS)]
    methods = [r for r in read("methods.jsonl") if "+" not in r["source"]]
    speeds = "\n\n".join([speed(last_ratios()), peers(read("peers.jsonl"))])
    for page, start, end, made in (
        ("README.md", BASE_START, BASE_END, base_readme(large, boards.TUNED)),
        ("docs/choosing.md", START, END, board_table(small, boards.TUNED)),
        ("docs/choosing.md", *FAMILY, family_readme(methods, read("costs.jsonl"))),
        ("docs/judging.md", *AUTO, auto.table(read("auto.jsonl"))),
        ("docs/judging.md", LABELS_START, LABELS_END, labels.readme(read("labels.jsonl"))),
        ("docs/speed.md", SPEED_START, SPEED_END, speeds),
        ("docs/large.md", *PROCESSES, processes.table(read("processes.jsonl"))),
        ("docs/large.md", *LORA, lora(read("lora.jsonl"))),
        ("docs/large.md", *MEMORY, memory.table(read("memory.jsonl"))),
        ("docs/saving.md", *SERVICE, service.table(read("service.jsonl"))),
        ("docs/saving.md", *EXPORT, export.table(read("export.jsonl"))),
        ("docs/methods.md", *METHODS, methods_table()),
        ("docs/methods.md", *OPTIONS, options_table()),
        ("docs/keywords.md", KEYWORDS_START, KEYWORDS_END, hyperparameters()),
    ):
        file = HERE.parent / page
        text = put(file.read_text(encoding="utf-8"), start, end, made)
        file.write_text(text, encoding="utf-8")
    plots.gain(methods).figure.savefig(HERE.parent / "docs" / "gains.png", dpi=110)


if __name__ == "__main__":
    main()

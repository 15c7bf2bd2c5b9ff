"""What the defaults do on data that they were not chosen on: `defaults.py` and `lengths.py`."""

from __future__ import annotations

from statistics import mean
from typing import Any

from tables import BASELINE, heading, read, row_of

METHODS = ("mcc", "student", "auto")


def sections() -> list[str]:
    return [
        "## The defaults elsewhere",
        "`python benchmarks/defaults.py --cells CELL ... --seeds ...`: the package's defaults, "
        "small encoder, 64 tokens, on data that they were not chosen on. A cell is board, source, "
        "target and number of texts of each; then a number of classes, or `tail` (shares of the "
        "target's classes from 28 % to 1 %), or `rare` (a tenth of the source has its smaller "
        "class, the target half). Accuracy and macro-F1 of source-only on the target's test texts, "
        "the points that the others gain, and what `auto` lost to the best of the three.",
        table(read("defaults")),
        "What `correct_prior` would change in these runs, in points of accuracy, where the "
        "estimate of class shares is accepted and the test texts have the target's shares (those "
        "of a cell with a tail do not). The doctor advised it in "
        f"{sum('shifted class shares' in row['findings'] for row in accepted())} of these runs.",
        remedies(accepted()),
        "How long a source-only run is by default, and how often it is right on test texts of its "
        "domain (`python benchmarks/lengths.py --cells movies:100 tweets:100 movies:300 tweets:300 "
        "--seeds 0 1 2`).",
        lengths(read("lengths")),
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """Accuracy and macro-F1 of source-only, and the gains of the others, by cell and seed."""
    groups: dict[tuple[str, int], dict[str, dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["cell"], row["seed"]), {})[row["method"]] = row
    head = ["cell", "seed", BASELINE, *METHODS, "`auto` kept", "regret"]
    lines, gains = heading(head), []
    for (cell, seed), group in sorted(groups.items()):
        before = scores(group[BASELINE])
        gained = [[x - y for x, y in zip(scores(group[m]), before, strict=True)] for m in METHODS]
        best = max(scores(row)[0] for row in group.values())
        regret = best - scores(group["auto"])[0]
        cells = [f"{cell}", str(seed), " / ".join(f"{x:.1f}" for x in before)]
        cells += [" / ".join(f"{x:+.1f}" for x in each) for each in gained]
        lines.append(row_of([*cells, group["auto"]["kept"], f"{regret:.1f}"]))
        gains.append([*before, *(x for each in gained for x in each), regret])
    means = [mean(column) for column in zip(*gains, strict=True)]
    pairs = [means[i : i + 2] for i in range(0, len(means) - 1, 2)]
    cells = [" / ".join(f"{x:.1f}" for x in pairs[0])]
    cells += [" / ".join(f"{x:+.1f}" for x in pair) for pair in pairs[1:]]
    return "\n".join([*lines, row_of(["mean", "", *cells, "", f"{means[-1]:.1f}"])])


def accepted() -> list[dict[str, Any]]:
    """Rows with an accepted estimate of class shares, and test texts with the target's shares."""
    return [
        row
        for row in read("defaults")
        if "prior_em_accuracy" in row and not row["cell"].endswith("tail")
    ]


def remedies(rows: list[dict[str, Any]]) -> str:
    """Mean and worst change by correcting class shares, by method and kind of estimate."""
    lines = heading(["method", "estimate", "runs", "mean", "worst", "best"])
    for method in (BASELINE, *METHODS[:2]):
        for kind in ("em", "bbse"):
            changes = [
                100 * (row[f"prior_{kind}_accuracy"] - row["target_accuracy"])
                for row in rows
                if row["method"] == method
            ]
            figures = (f"{x:+.1f}" for x in (mean(changes), min(changes), max(changes)))
            lines.append(row_of([method, kind, str(len(changes)), *figures]))
    return "\n".join(lines)


def scores(row: dict[str, Any]) -> list[float]:
    return [100 * row["target_accuracy"], 100 * row["target_macro_f1"]]


def lengths(rows: list[dict[str, Any]]) -> str:
    """Steps, accuracy and seconds by domain and number of texts."""
    head = ["source", "texts", "steps", "seeds", "its domain", "by seed", "another domain"]
    lines = heading(head)
    plain = [r for r in rows if r["steps"] == "default" and r["params"] == {"max_length": 64}]
    for cell, n in sorted({(r["cell"], r["n"]) for r in plain}):
        runs = [r for r in plain if (r["cell"], r["n"]) == (cell, n)]
        seeds = ", ".join(f"{100 * r['source_accuracy']:.1f}" for r in runs)
        cells = [cell, str(n), str(runs[0]["steps_taken"]), str(len(runs))]
        cells += [f"{100 * mean(r['source_accuracy'] for r in runs):.1f}", seeds]
        lines.append(row_of([*cells, f"{100 * mean(r['target_accuracy'] for r in runs):.1f}"]))
    return "\n".join(lines)

"""Which epoch is kept, and what the rule changes: the boards with `validation_tolerance=0`."""

from __future__ import annotations

from math import inf
from statistics import mean
from typing import Any

import numpy as np
from board import COMMON, key_of
from tables import BASELINE, heading, read, row_of
from torch.nn import Linear

from dann_transfer.training.keeping import Keeper
from studies import pairs


def sections() -> list[str]:
    return [
        "## Which epoch is kept",
        "About a hundred held-out source texts choose the epoch. The one that does best on them "
        "(`validation_tolerance=0`) is often an early one by chance; by default the latest is kept "
        "that is not clearly worse. Where the two rules keep different epochs, the default "
        "changes target accuracy by these points (`results/best_epoch.jsonl` has the runs with the "
        "best epoch; boards that were not run again say so in their rows):",
        table(read("best_epoch"), pairs.board_rows()),
        "How far a later epoch may lie below the best on the same held-out texts, in standard "
        "errors of their difference, and the accuracies on test texts of both domains that "
        f"follow, in the mean of {len(read('kept'))} runs of 100 or 300 texts (`python "
        "benchmarks/kept.py`). They differ by less than their error here. Two are the default "
        "because they keep a late epoch where all are equally good, and refuse one that has lost a "
        "third of 30 held-out texts:",
        rules(read("kept")),
    ]


def rules(rows: list[dict[str, Any]]) -> str:
    """Mean accuracies by how far below the best a later epoch may lie, and by method."""
    names = sorted({row["method"] for row in rows}, key=lambda name: (name != BASELINE, name))
    lines = heading(["standard errors", *(f"{name}: source, target" for name in names)])
    for tolerance in (0.0, 1.0, 2.0, 3.0, inf):
        cells = []
        for name in names:
            of_method = [row for row in rows if row["method"] == name]
            kept = [kept_epoch(row["validation"], tolerance) for row in of_method]
            means = [
                100
                * mean(row[f"{domain}_accuracy"][i] for row, i in zip(of_method, kept, strict=True))
                for domain in ("source", "target")
            ]
            cells.append(f"{means[0]:.1f}, {means[1]:.1f}")
        lines.append(row_of(["the last epoch" if tolerance == inf else f"{tolerance:g}", *cells]))
    return "\n".join(lines)


def kept_epoch(validation: list[str], tolerance: float) -> int:
    """The epoch that is kept, from which held-out texts are right ("1") after each."""
    right = [np.array([int(one) for one in row]) for row in validation]
    keeper, epoch = Keeper(Linear(1, 1), tolerance, np.ones(len(right[0]), int)), 0
    for i, each in enumerate(right):
        before = keeper.weights
        keeper.offer(each)
        epoch = epoch if keeper.weights is before else i
    return epoch


def table(best: list[dict[str, Any]], rows: list[dict[str, Any]]) -> str:
    """What keeping a later epoch than the best one changes, run by run."""
    usual = {"validation_tolerance": COMMON["validation_tolerance"]}
    now = {key_of(row): row["target_accuracy"] for row in rows}
    changes: dict[str, dict[str, float]] = {}
    for row in best:
        key = key_of({**row, "settings": row["settings"] | usual})
        # A model trained on the target's labels is the same for every source.
        model = key_of({**row, "source": ""}) if row["method"] == "target_trained" else key
        change = 100 * (now[key] - row["target_accuracy"])
        changes.setdefault(row["method"], {})[model] = change
    every = {key: change for runs in changes.values() for key, change in runs.items()}
    lines = ["| method | runs | better | mean change | worst | best |", "|---|---|---|---|---|---|"]
    for method, runs in [*sorted(changes.items()), ("all", every)]:
        values = list(runs.values())
        numbers = [f"{value:+.1f}" for value in (mean(values), min(values), max(values))]
        better = str(sum(value > 0 for value in values))
        lines.append(row_of([method, str(len(values)), better, *numbers]))
    return "\n".join(lines)

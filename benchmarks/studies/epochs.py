"""Which epoch is kept, and what the rule changes: the boards with `validation_tolerance=0`."""

from __future__ import annotations

from statistics import mean
from typing import Any

from board import key_of
from tables import read, row_of

from dann_transfer import DomainAdapter
from studies import pairs


def sections() -> list[str]:
    return [
        "## Which epoch is kept",
        "About a hundred held-out source texts choose the epoch. The one that does best on them "
        "(`validation_tolerance=0`) is often an early one by chance; the latest within a standard "
        "error of it is kept by default. Where the two rules keep different epochs, the default "
        "changes target accuracy by these points (`results/best_epoch.jsonl` has the runs with the "
        "best epoch; boards that were not run again say so in their rows):",
        table(read("best_epoch"), pairs.board_rows()),
    ]


def table(best: list[dict[str, Any]], rows: list[dict[str, Any]]) -> str:
    """What keeping a later epoch than the best one changes, run by run."""
    usual = {"validation_tolerance": DomainAdapter().validation_tolerance}
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

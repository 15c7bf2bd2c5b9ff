"""What averaging predictions over neighbours adds: `after.py`."""

from __future__ import annotations

from statistics import mean
from typing import Any

from tables import heading, read, row_of


def sections() -> list[str]:
    return [
        "## Neighbours",
        "`neighbors=10` averages predictions with those of the nearest target texts: the "
        "points that this adds, one seed, from stored outputs (`python benchmarks/after.py`).",
        table(read("neighbors")),
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """What averaging with the ten nearest target texts adds, by encoder and method."""
    head = ["encoder", "method", "pairs", "mean gain", "worst", "best"]
    lines = heading(head)
    for kind in sorted({(r["encoder"], r["method"]) for r in rows}):
        gains = [
            100 * (r["target_accuracy_neighbors"] - r["target_accuracy"])
            for r in rows
            if (r["encoder"], r["method"]) == kind
        ]
        numbers = (f"{x:+.1f}" for x in (mean(gains), min(gains), max(gains)))
        lines.append(row_of([*kind, str(len(gains)), *numbers]))
    return "\n".join(lines)

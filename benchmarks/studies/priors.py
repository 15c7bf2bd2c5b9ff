"""Correcting predictions by an estimated class prior, over the family's runs."""

from __future__ import annotations

from statistics import mean
from typing import Any

from tables import of_pair, row_of

from studies import family


def sections() -> list[str]:
    return [
        "## Correcting by an estimated class prior",
        "Mean accuracy on the target over the runs of the family, as predicted and with "
        "`correct_prior`. It was measured before the package calibrated probabilities for this and "
        "refused estimates that the source's confusions contradict.",
        table(family.runs()),
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """What correcting predictions by an estimated prior does to the target's accuracy."""
    known = [r for r in rows if "target_accuracy_em" in r and "target_accuracy_bbse" in r]
    if not known:
        return ""
    lines = ["| pair | runs | as predicted | by EM | by BBSE |", "|---|---|---|---|---|"]
    for source, target in sorted({(r["source"], r["target"]) for r in known}):
        runs = of_pair(known, (source, target))
        keys = ("target_accuracy", "target_accuracy_em", "target_accuracy_bbse")
        cells = [f"{source} → {target}", str(len(runs))]
        cells += [f"{100 * mean(r[key] for r in runs):.1f}" for key in keys]
        lines.append(row_of(cells))
    return "\n".join(lines)

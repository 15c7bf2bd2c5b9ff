"""Ordered classes: `ordinal.py`."""

from __future__ import annotations

from typing import Any

from tables import heading, read, row_of

COLUMNS = (
    "domains",
    "plain head, likeliest",
    "plain head, median",
    "`ordinal`",
    "kappa: plain",
    "`ordinal`",
)
# A column of a row's figures: the head, and the score of its answer.
CELLS = (
    ("plain", "likeliest_mean_absolute_error"),
    ("plain", "median_mean_absolute_error"),
    ("ordinal", "median_mean_absolute_error"),
    ("plain", "likeliest_quadratic_kappa"),
    ("ordinal", "median_quadratic_kappa"),
)


def sections() -> list[str]:
    return [
        "## Ordered classes",
        "`python benchmarks/ordinal.py`: VADER's mean valence in five bins, cut at -1.5, -0.5, 0.5 "
        "and 1.5; source-only models of 500 texts (small encoder, 64 tokens, seed 0) on 500 test "
        "texts of each other domain. The mean absolute error in bins, lower is better, and "
        "quadratic kappa, higher is better: of the plain head with its likeliest class, as it "
        "answers, and with the median class, and of `ordinal=True`.",
        ordinal(),
    ]


def tables() -> dict[str, str]:
    return {"ordinal": ordinal()}


def ordinal() -> str:
    """Errors and kappa by pair of domains, and their means."""
    groups: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in read("ordinal"):
        groups.setdefault((row["source"], row["target"]), {})[row["head"]] = row
    lines, figures = heading(list(COLUMNS)), []
    for (source, target), heads in sorted(groups.items()):
        if source != target and len(heads) == 2:
            figures.append([heads[head][score] for head, score in CELLS])
            lines.append(row_of([f"{source} → {target}", *(f"{x:.2f}" for x in figures[-1])]))
    means = (sum(column) / len(figures) for column in zip(*figures, strict=True))
    return "\n".join([*lines, row_of(["mean", *(f"{x:.2f}" for x in means)])])

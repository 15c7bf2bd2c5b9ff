"""Speed ratios, and how an epoch grows with its parts: `speed.py`."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from tables import read, row_of

from studies import libraries


def last_ratios() -> dict[str, Any]:
    """Return the latest speed ratios."""
    return [row for row in read("speed") if row["kind"] == "ratios"][-1]


def sections() -> list[str]:
    measured = last_ratios()
    rounds = len(measured["runs"]["floor"])
    usual = "320 texts of each domain, 32 tokens each, 2 classes and batches of 32"
    return [
        "## Speed",
        f"`python benchmarks/speed.py`, on {measured['machine']}: medians of {rounds} rounds.",
        table(measured),
        f"One epoch of DANN as one quantity grows and the others stay at {usual}.",
        "![Seconds and memory of an epoch](growth.png)",
    ]


def tables() -> dict[str, str]:
    both = [table(last_ratios()), libraries.table(read("peers"))]
    return {"speed": "\n\n".join(both)}


def pictures() -> dict[str, tuple[Figure, int]]:
    rows = [row for row in read("speed") if row["kind"] == "growth"]
    return {"growth": (growth(rows), 100)}


def table(row: dict[str, Any]) -> str:
    """Speed ratios, measured in turn, and the shares of padding, which cost some speed."""
    lines = [row_of([name, f"{value:.2f}"]) for name, value in row["ratios"].items()]
    for name, share in row.get("padding", {}).items():
        lines.append(row_of([f"share of padding in {name}'s batches", f"{share:.2f}"]))
    return "\n".join(["| ratio of speeds | |", "|---|---|", *lines])


def growth(rows: list[dict[str, Any]]) -> Figure:
    """Plot seconds (above) and peak memory (below) of an epoch against what grows."""
    kinds = list(dict.fromkeys(row["over"] for row in rows))
    figure, axes = plt.subplots(
        2, len(kinds), figsize=(3 * len(kinds), 5), sharex="col", sharey="row", layout="constrained"
    )
    for column, kind in zip(axes.T, kinds, strict=True):
        # A repeated measurement replaces the earlier one.
        points = {row[kind]: row for row in rows if row["over"] == kind}
        for ax, key in zip(column, ("seconds", "peak_gib"), strict=True):
            values = [points[x][key] for x in sorted(points)]
            ax.plot(sorted(points), values, marker="o", color="#0072B2")
            ax.spines[["top", "right"]].set_visible(False)
        column[1].set(xlabel={"length": "tokens a text", "texts": "texts a domain"}.get(kind, kind))
    for ax in axes.flat:
        ax.set(xlim=(0, None), ylim=(0, None))  # last: shared axes take the limits of all
    axes[0, 0].set_ylabel("seconds an epoch")
    axes[1, 0].set_ylabel("peak memory, GiB")
    return figure

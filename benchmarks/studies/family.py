"""Every method at its defaults, on two pairs; `board.py`, and `costs.py` for time and memory."""

from __future__ import annotations

from statistics import mean
from typing import Any

from matplotlib.figure import Figure
from tables import (
    BASELINE,
    ORDER,
    TEXTS,
    baselines,
    by_pair,
    gain,
    heading,
    label,
    of_pair,
    read,
    row_of,
    spread,
)

from dann_transfer import plots


def runs() -> list[dict[str, Any]]:
    return [r for r in read("methods") if label(r) == r["method"]]


def sections() -> list[str]:
    return [
        "## The family",
        f"At most {TEXTS:,} texts of each domain to train on, three epochs, every method at "
        "its defaults. Parameters are those the method adds; time is training time as a multiple "
        "of source-only's, and peak memory is that of the process (`costs.py`).",
        table(runs(), read("costs")),
    ]


def table(rows: list[dict[str, Any]], costs: list[dict[str, Any]]) -> str:
    """One line per method: what it costs, and its results on each pair."""
    pairs = sorted({(r["source"], r["target"]) for r in rows if "+" not in r["source"]})
    head = ["method", "parameters", "time", "peak GiB"]
    for source, target in pairs:
        head += [f"{source} → {target}: accuracy", "macro-F1", "gain", "A-distance"]
    lines = heading(head)
    cost, before = {row["method"]: row for row in costs}, baselines(rows, BASELINE)
    shown = {r["method"] for r in rows if (r["source"], r["target"]) in pairs}
    for method in sorted(shown, key=lambda m: (ORDER.get(m, 1), m)):
        cells = [method, "", "", ""]
        if costs_of := cost.get(method):
            cells[1:] = [f"{costs_of['parameters']:,}", f"{costs_of['time_ratio']:.2f}"]
            cells.append(f"{costs_of['peak_gib']:.1f}")
        for pair in pairs:
            mine = [r for r in of_pair(rows, pair) if r["method"] == method]
            if not mine:
                cells += ["", "", "", ""]
                continue
            cells += [
                spread([r["target_accuracy"] for r in mine]),
                spread([r["target_macro_f1"] for r in mine]),
                "" if method == BASELINE else gain(mine, before),
                f"{mean(r['a_distance'] for r in mine):.2f}",
            ]
        lines.append(row_of(cells))
    return "\n".join(lines)


def short_table(rows: list[dict[str, Any]], costs: list[dict[str, Any]]) -> str:
    """The gains of all methods, for README.md."""
    pairs = sorted({(r["source"], r["target"]) for r in rows})
    cost, before = {row["method"]: row for row in costs}, baselines(rows, BASELINE)
    names = [f"{source} → {target}" for source, target in pairs]
    lines = heading(["method", *names, "time"])
    for method in sorted({r["method"] for r in rows}, key=lambda m: (ORDER.get(m, 1), m)):
        cells = [method]
        for pair in pairs:
            mine = [r for r in of_pair(rows, pair) if r["method"] == method]
            if not mine:
                cells.append("")
            elif method == BASELINE:
                cells.append(spread([r["target_accuracy"] for r in mine]) + " %")
            else:
                cells.append(gain(mine, before))
        cells.append(f"{cost[method]['time_ratio']:.1f}" if method in cost else "")
        lines.append(row_of(cells))
    return "\n".join(lines)


def single_sources() -> list[dict[str, Any]]:
    return [r for r in read("methods") if "+" not in r["source"]]


def tables() -> dict[str, str]:
    return {"family": short_table(single_sources(), read("costs"))}


def pictures() -> dict[str, tuple[Figure, int]]:
    return {"gains": (plots.gain(single_sources()).figure, 110)}


def figures() -> dict[str, str]:
    """What weights by class gain, beside DANN."""
    return {
        f"{method}_{target}": f"{mean(gains):+.1f}"
        for method in ("iwdan", "dann")
        for (_, target), gains in by_pair(single_sources(), method).items()
    }

"""README's chart: three methods on the twelve pairs, base-size encoder, and minutes of a run."""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING, Any

import boards
import numpy as np
from tables import (
    BASELINE,
    base,
    baselines,
    by_pair,
    heading,
    label,
    mean_of_means,
    of_pair,
    pooled_share,
    read,
    row_of,
)

from studies import pairs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS = ("dann", "mcc", "student")
# Colour-blind readers tell these apart (Okabe and Ito), and so do those who print in grey.
MARKS = {"dann": ("#D55E00", "v"), "mcc": ("#009E73", "s"), "student": ("#0072B2", "o")}


def rows_of_base() -> list[dict[str, Any]]:
    return pairs.of_encoder("mpnet")


def gains() -> dict[str, dict[tuple[str, str], float]]:
    """Return each method's mean gain on each pair, and that of training on the target's labels."""
    rows = rows_of_base()
    return {
        method: {pair: mean(points) for pair, points in by_pair(rows, method).items()}
        for method in (*METHODS, "target_trained")
    }


def short_table(rows: list[dict[str, Any]], tuned: set[tuple[str, str]]) -> str:
    """One line per pair: the baselines' accuracies, and mean gains over seeds of three methods."""
    before, above = baselines(rows, BASELINE), baselines(rows, "target_trained")
    shown = METHODS
    gains: dict[str, dict[tuple[str, str], list[tuple[float, float]]]] = {n: {} for n in shown}
    lines = heading(["domains", BASELINE, *shown, "target_trained"])
    for pair in sorted({(r["source"], r["target"]) for r in rows}):
        runs = of_pair(rows, pair)
        cells = [f"{pair[0]} → {pair[1]}{' *' if pair in tuned else ''}"]

        def accuracy(method: str, runs: list[dict[str, Any]] = runs) -> str:
            return f"{100 * mean(r['target_accuracy'] for r in runs if r['method'] == method):.1f}"

        cells.append(accuracy(BASELINE))
        for name in shown:
            changes = [
                (
                    100 * (r["target_accuracy"] - before[base(r), r["seed"]]),
                    100 * (above[base(r), r["seed"]] - before[base(r), r["seed"]]),
                )
                for r in runs
                if label(r) == name
            ]
            gains[name][pair] = changes
            cells.append(f"{np.mean(changes, axis=0)[0]:+.1f}")
        lines.append(row_of([*cells, accuracy("target_trained")]))
    means, worst, gap_shares = ["mean gain", ""], ["worst run", ""], ["of the gap", ""]
    for by_domains in gains.values():
        pairs = {pair: np.array(changes) for pair, changes in by_domains.items()}
        share, (low, high) = pooled_share(pairs)
        every = np.concatenate(list(pairs.values()))[:, 0]
        middle = np.mean([values[:, 0].mean() for values in pairs.values()])
        means.append(f"**{middle:+.1f}**")
        worst.append(f"{every.min():+.1f} ({len(every)} runs)")
        gap_shares.append(f"{share:.0%} ({low:.0%} to {high:.0%})")
    return "\n".join([*lines, *(row_of([*cells, ""]) for cells in (means, worst, gap_shares))])


def sections() -> list[str]:
    return [
        "## Three methods, base-size encoder",
        "README's chart in numbers: target accuracy without adaptation, the gains of three methods "
        "in points, and the accuracy of a model trained on the target's own labels; means over up "
        "to three seeds. The last row is the share of the gap between the outer columns that is "
        "closed, with its 95 % interval over domains and seeds. Design choices were made on the "
        "pairs with a star. The runs are those of `python benchmarks/board.py --encoder mpnet "
        "--train-texts 1000 --test-texts 1000 --seeds 0 1 2 --methods source_only dann mcc "
        "target_trained` and `students.py`, several at a time on one GPU.",
        short_table(rows_of_base(), boards.TUNED),
    ]


def figures() -> dict[str, str]:
    """Mean and worst gains, shares of the gap, and minutes of a run."""
    values = {}
    for method in METHODS:
        by_domains = by_pair(rows_of_base(), method).values()
        values[f"{method}_mean"] = f"{mean_of_means(by_domains):+.1f}"
        values[f"{method}_worst"] = f"{min(map(min, by_domains)):+.1f}"
    for method in (BASELINE, "dann", "student"):
        seconds = [r["seconds"] for r in read("peers") if r["peer"] == f"dann_transfer {method}"]
        values[f"{method}_minutes"] = f"{min(seconds) / 60:.1f}"
    return values


def pictures() -> dict[str, tuple[Figure, int]]:
    return {"methods": (chart(gains()), 160)}


def chart(gains: dict[str, dict[tuple[str, str], float]]) -> Figure:
    """Draw what each method gains on each pair, and how far the target's own labels would go.

    It is to be read at a width of 400 pixels, too.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 6.2), layout="constrained")
    axes = figure.subplots()
    order = sorted(gains["target_trained"], key=lambda pair: gains["target_trained"][pair])
    places = {pair: place for place, pair in enumerate(order)}
    axes.barh(
        list(places.values()),
        [gains["target_trained"][pair] for pair in order],
        height=0.72,
        color="#8884",
        label="trained on the target's labels",
    )
    axes.axvline(0, color="black", linewidth=1.2)
    for method, (color, marker) in MARKS.items():
        points = [(gains[method][pair], place) for pair, place in places.items()]
        axes.scatter(*zip(*points, strict=True), s=70, color=color, marker=marker, label=method)
    axes.set_yticks(list(places.values()), [" → ".join(pair) for pair in order], fontsize=13)
    axes.tick_params("x", labelsize=13)
    axes.set_xlabel("gain in target accuracy, points", fontsize=13)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params("y", length=0)
    figure.legend(loc="outside upper center", ncols=2, fontsize=13, frameon=False)
    return figure

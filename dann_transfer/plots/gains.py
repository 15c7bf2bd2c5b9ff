"""Displays of scores: what methods gain, and how models transfer between domains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from dann_transfer.judging.gains import doubt, interval
from dann_transfer.plots.display import Display, axes_for, plain

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from dann_transfer.comparison import Comparison

    Rows: TypeAlias = Sequence[Mapping[str, Any]] | pd.DataFrame | Comparison

GAIN, LOSS = "#0072B2", "#D55E00"
TRAINED = "target_trained"
WIDE = 1.3
"""The axis is cut if showing all intervals in full would make it this many times as long."""
LONG = 55
"""A pair with a longer name than this, in letters, has two lines."""


def _records(rows: Rows, *columns: str) -> list[Any]:
    """Return the rows of runs that have an accuracy on the target, with the columns needed."""
    import pandas as pd

    table: Any = rows
    records: list[Any] = (
        table.to_dict("records")
        if hasattr(table, "to_dict")
        else list(getattr(table, "rows", table))
    )
    for row in records:
        if missing := [name for name in columns if name not in row]:
            raise ValueError(f"the rows have no {missing[0]!r}; they have {list(row)}.")
    # What is missing is None, and NaN in a DataFrame.
    return [row for row in records if not pd.isna(row["target_accuracy"])]


@dataclass
class GainDisplay(Display):
    """What each method gains over source-only with the same seeds, for each pair of domains.

    Attributes
    ----------
    rows : list of dict
        Pair, method, mean gain in points, half-width of its 95 % interval, and number of seeds. The
        interval is over seeds (NaN with one seed) and, for the rows of `compare`, over test texts.

    """

    rows: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def from_rows(cls, rows: Rows) -> GainDisplay:
        """Match runs with those of source-only: what `compare` returns, or its rows, or the
        benchmark's JSON lines.

        Raises
        ------
        ValueError
            If a column is missing, or no run has a matching source-only run of the same pair and
            seed.

        """
        import pandas as pd

        before: dict[tuple[str, Any], float] = {}
        after: dict[tuple[str, str], list[Any]] = {}
        for row in _records(rows, "method", "seed", "target_accuracy"):
            pair = f"{row['source']} → {row['target']}" if "source" in row else ""
            if row["method"] == "source_only":
                before[pair, row["seed"]] = row["target_accuracy"]
            else:
                after.setdefault((pair, row["method"]), []).append(row)
        gain_rows = []
        for (pair, method), runs in after.items():
            runs = [run for run in runs if (pair, run["seed"]) in before]
            gains = [100 * (run["target_accuracy"] - before[pair, run["seed"]]) for run in runs]
            if gains:
                gain, half = interval(gains)
                errors = [run.get("gain_error") for run in runs]
                if not pd.isna(errors).any():
                    half = 100 * doubt([gain / 100 for gain in gains], errors)
                gain_rows.append(
                    {
                        "pair": pair,
                        "method": method,
                        "gain": gain,
                        "half_width": half,
                        "seeds": len(gains),
                    }
                )
        if not gain_rows:
            raise ValueError(
                "no gain can be computed: no run has a target accuracy and a source_only run of "
                "the same pair and seed; run source_only too, with labelled target texts."
            )
        return cls(gain_rows)

    def frame(self) -> pd.DataFrame:
        """Return the rows as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.rows)

    def plot(self, ax: Axes | None = None) -> GainDisplay:
        """Draw each gain with its interval, the largest first, losses in another colour and mark.

        A hollow mark means that the interval includes zero, or that there is one seed and no
        interval. Target-trained, which had the target's own labels, comes first, in grey. If a few
        intervals are far wider than the rest, the axis is cut, and its label says so.
        """
        pairs = list(dict.fromkeys(row["pair"] for row in self.rows))
        self.axes_ = axes_for(ax, 1, 6.4, 0.9 + 0.28 * len(self.rows) + 0.25 * len(pairs))
        axes = self.ax_
        axes.axvline(0, color="grey", linewidth=1)
        low, high = self._span()
        place, ticks, cut = 0.0, [], 0
        for pair in pairs:
            if pair:
                lines = " → ".join(plain(name) for name in pair.split(" → "))
                if len(pair) > LONG:
                    lines = lines.replace(" → ", "\n→ ")
                place -= 0.8 * lines.count("\n")
                title = axes.text(
                    0, place, lines, transform=axes.get_yaxis_transform(), weight="bold"
                )
                # A long name may be wider than the axis, which must not shrink for it.
                title.set(va="center", in_layout=False)
                place -= 1 + 0.3 * lines.count("\n")
            runs = [row for row in self.rows if row["pair"] == pair]
            for row in sorted(runs, key=lambda r: (r["method"] != TRAINED, -r["gain"])):
                cut += _draw(axes, row, place, low, high)
                ticks.append((place, plain(row["method"])))
                place -= 1
            place -= 0.3
        axes.set_yticks([y for y, _ in ticks], [name for _, name in ticks])
        axes.set(ylim=(place, 1), xlabel="gain over source-only, points of target accuracy")
        if cut:
            axes.set(xlim=(low, high))
            reach = "1 interval reaches" if cut == 1 else f"{cut} intervals reach"
            axes.set_xlabel(f"{axes.get_xlabel()}\n(the axis is cut: {reach} farther, see arrows)")
        axes.spines[["top", "right", "left"]].set_visible(False)
        return self

    def _span(self) -> tuple[float, float]:
        """Return the ends of the axis: nine in ten interval ends lie within, and every gain."""
        gains = np.array([row["gain"] for row in self.rows])
        half = np.nan_to_num([row["half_width"] for row in self.rows])
        ends = np.concatenate([gains - half, gains + half, [0.0]])
        usual = np.quantile(ends, [0.05, 0.95])
        low, high = min(usual[0], 0, *gains), max(usual[1], 0, *gains)
        margin = 0.06 * (high - low) or 1.0
        if np.ptp(ends) <= WIDE * (high - low):
            return float(ends.min() - margin), float(ends.max() + margin)
        return float(low - margin), float(high + margin)


def _draw(axes: Axes, row: dict[str, Any], place: float, low: float, high: float) -> bool:
    """Draw one gain and its interval within the axis, and return whether some of it lies beyond."""
    colour, marker = (LOSS, "v") if row["gain"] < 0 else (GAIN, "o")
    if row["method"] == TRAINED:
        # Not a method that can be chosen: it shows how far one could go.
        colour, marker = "grey", "D"
    gain, half = row["gain"], np.nan_to_num(row["half_width"])
    face = colour if abs(gain) > row["half_width"] else axes.get_facecolor()
    ends = max(gain - half, low), min(gain + half, high)
    bar = axes.errorbar(gain, place, xerr=[[gain - ends[0]], [ends[1] - gain]], color=colour)
    bar.lines[0].set(marker=marker, markerfacecolor=face)
    for end, edge, arrow in ((ends[0], low, "<"), (ends[1], high, ">")):
        axes.plot(end, place, marker=arrow if end == edge else "|", color=colour, clip_on=False)
    return bool(gain - half < low or gain + half > high)


@dataclass
class TransferMatrixDisplay(Display):
    """The accuracy on each target of a model trained on each source, as a heat map.

    Attributes
    ----------
    domains : list of str
    values : ndarray, shape (domains, domains)
        Mean over seeds by source (rows) and target (columns); NaN where nothing was run. The
        diagonal is the accuracy with the target's own labels.

    """

    domains: list[str]
    values: np.ndarray

    @classmethod
    def from_rows(cls, rows: Rows, method: str = "source_only") -> TransferMatrixDisplay:
        """Use the runs of one method, and those of "target_trained" for the diagonal.

        Raises
        ------
        ValueError
            If a column is missing, or there is no run of the method.

        """
        runs = _records(rows, "source", "target", "method", "target_accuracy")
        accuracies_of: dict[tuple[str, str], list[float]] = {}
        for row in runs:
            if row["method"] == method:
                accuracies_of.setdefault((row["source"], row["target"]), []).append(
                    row["target_accuracy"]
                )
            elif row["method"] == TRAINED:
                accuracies_of.setdefault((row["target"],) * 2, []).append(row["target_accuracy"])
        if not any(a != b for a, b in accuracies_of):
            methods = sorted({row["method"] for row in runs})
            raise ValueError(f"no run of method {method!r}; the rows have the methods {methods}.")
        domains = sorted({name for pair in accuracies_of for name in pair})
        values = np.full((len(domains), len(domains)), np.nan)
        for (source, target), accuracies in accuracies_of.items():
            values[domains.index(source), domains.index(target)] = np.mean(accuracies)
        return cls(domains, values)

    def frame(self) -> pd.DataFrame:
        """Return the matrix with sources as index and targets as columns."""
        import pandas as pd

        index = pd.Index(self.domains, name="source")
        return pd.DataFrame(self.values, index, pd.Index(self.domains, name="target"))

    def plot(self, ax: Axes | None = None) -> TransferMatrixDisplay:
        """Draw the matrix, with a number in each cell that was run."""
        n = len(self.domains)
        names = [plain(name) for name in self.domains]
        # Long names stand on two sides, and leave the cells their size.
        more = 0.08 * max(0, max(map(len, names)) - 9)
        self.axes_ = axes_for(ax, 1, 1.1 * n + 1.6 + more, 0.9 * n + 1.2 + more)
        axes = self.ax_
        image = axes.imshow(self.values, cmap="cividis")
        middle = (np.nanmin(self.values) + np.nanmax(self.values)) / 2
        for i, j in np.argwhere(~np.isnan(self.values)):
            value = self.values[i, j]
            dark = value < middle
            axes.text(j, i, f"{value:.1%}", ha="center", va="center", color="w" if dark else "k")
        turned = "vertical" if more else "horizontal"
        axes.set_xticks(range(n), names, rotation=turned)
        axes.set_yticks(range(n), names)
        axes.set(xlabel="target", ylabel="source")
        axes.figure.colorbar(image, ax=axes, label="target accuracy", shrink=0.85)
        return self


def gain(rows: Rows, ax: Axes | None = None) -> Axes:
    """Draw each method's gain over source-only, with its interval.

    `rows` are what ``compare`` returns or lines of ``benchmarks/results``. The interval is over
    seeds and, for ``compare``, also over test texts, as in its verdicts.
    """
    return GainDisplay.from_rows(rows).plot(ax).ax_


def transfer_matrix(
    rows: Rows,
    method: str = "source_only",
    ax: Axes | None = None,
) -> Axes:
    """Draw the accuracy on each target of a model from each source."""
    return TransferMatrixDisplay.from_rows(rows, method).plot(ax).ax_

"""Pictures of predictions and scores as objects: computed once, drawn with `plot`, read as `frame`.

As in scikit-learn, `plot` sets ``ax_`` and ``figure_`` and returns the display.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dann_transfer.data import as_labelled, encode_labels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from dann_transfer.adapter import DomainAdapter

# Okabe and Ito's palette, which colour-blind readers can tell apart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GAIN, LOSS = "#0072B2", "#D55E00"


def axes_for(ax: Axes | Sequence[Axes] | None, n: int, width: float, height: float) -> list[Axes]:
    """Return the Axes that were passed, or n new ones side by side.

    Raises
    ------
    ValueError
        If another number of Axes was passed.
    ImportError
        If matplotlib is not installed.

    """
    if ax is not None:
        given = list(ax) if isinstance(ax, Sequence | np.ndarray) else [ax]
        if len(given) != n:
            raise ValueError(f"ax holds {len(given)} Axes; this picture needs {n}.")
        return given
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'dann_transfer[plots]'") from error
    size = (width * n, height)
    return list(plt.subplots(1, n, figsize=size, squeeze=False, layout="constrained")[1][0])


def named(adapters: DomainAdapter | Mapping[str, DomainAdapter]) -> dict[str, DomainAdapter]:
    """Return adapters by title; a single one is called by its method."""
    if isinstance(adapters, Mapping):
        return dict(adapters)
    return {adapters.method: adapters}


def interval(gains: Sequence[float]) -> tuple[float, float]:
    """Return the mean of gains and the half-width of its 95 % interval, by Student's t.

    Of a single gain the half-width is NaN.

    Examples
    --------
    >>> interval([3.0]), [round(x, 1) for x in interval([1.0, 2.0, 3.0])]
    ((3.0, nan), [2.0, 2.5])

    """
    from scipy.stats import t as student_t

    n = len(gains)
    if n == 1:
        return float(gains[0]), float("nan")
    half = student_t.ppf(0.975, n - 1) * np.std(gains, ddof=1) / n**0.5
    return float(np.mean(gains)), float(half)


class Display:
    """What the displays have in common: the Axes of the last `plot`."""

    axes_: list[Axes]

    @property
    def ax_(self) -> Axes:
        """The first Axes drawn on."""
        return self.axes_[0]

    @property
    def figure_(self) -> Any:
        """The figure drawn on."""
        return self.ax_.figure


@dataclass
class ConfusionDisplay(Display):
    """Which class is taken for which, for each model.

    Attributes
    ----------
    classes : list
    counts : dict of str to ndarray, shape (classes, classes)
        Texts by true class (rows) and predicted class (columns), for each model's title.

    """

    classes: list[Any]
    counts: dict[str, np.ndarray]

    @classmethod
    def from_estimator(
        cls, adapters: DomainAdapter | Mapping[str, DomainAdapter], X: Any, y: Any = None
    ) -> ConfusionDisplay:
        """Predict labelled texts with one adapter, or with several by title."""
        from sklearn.metrics import confusion_matrix

        models = named(adapters)
        classes = next(iter(models.values())).classes_
        texts, labels = as_labelled(X, y, "X", "y")
        encode_labels(labels, classes, "y")
        counts = {
            title: confusion_matrix(labels, model.predict(texts), labels=classes)
            for title, model in models.items()
        }
        return cls(classes.tolist(), counts)

    def frame(self) -> pd.DataFrame:
        """Return a row for each model, true class and predicted class."""
        import pandas as pd

        rows = [
            {"model": title, "true": true, "predicted": predicted, "texts": int(found[i, j])}
            for title, found in self.counts.items()
            for i, true in enumerate(self.classes)
            for j, predicted in enumerate(self.classes)
        ]
        return pd.DataFrame(rows)

    def plot(self, ax: Axes | Sequence[Axes] | None = None) -> ConfusionDisplay:
        """Draw a matrix for each model; a cell shows the share of its true class."""
        from sklearn.metrics import ConfusionMatrixDisplay

        side = max(3.6, 0.45 * len(self.classes) + 1.5)
        self.axes_ = axes_for(ax, len(self.counts), side, side)
        names = [str(c) for c in self.classes]
        for axes, (title, found) in zip(self.axes_, self.counts.items(), strict=True):
            shares = found / found.sum(1, keepdims=True).clip(min=1)
            drawn = ConfusionMatrixDisplay(shares, display_labels=names).plot(
                ax=axes,
                values_format=".0%",
                cmap="Blues",
                colorbar=False,
                im_kw={"vmin": 0, "vmax": 1},
                include_values=len(self.classes) <= 20,
                xticks_rotation="horizontal" if len(self.classes) <= 4 else "vertical",
                text_kw={"fontsize": 11 if len(self.classes) <= 4 else 8},
            )
            for text in drawn.text_.flat if 4 < len(names) <= 20 else ():  # zeros hide the rest
                text.set_visible(text.get_text() != "0%")
            accuracy = found.trace() / max(found.sum(), 1)
            axes.set_title(f"{title}\n{accuracy:.1%} of {found.sum():,} texts right")
        return self


@dataclass
class ReliabilityDisplay(Display):
    """Whether a model that is 80 % sure is right in 80 % of the cases.

    Attributes
    ----------
    bins : dict of str to list of dict
        For each model's title the bins of confidence: its mean, the accuracy, and the texts.
    errors : dict of str to float
        The expected calibration error of each model: the mean gap between the two, by texts.

    References
    ----------
    Guo et al., On Calibration of Modern Neural Networks, ICML 2017.

    """

    bins: dict[str, list[dict[str, float]]]
    errors: dict[str, float]

    @classmethod
    def from_estimator(
        cls,
        adapters: DomainAdapter | Mapping[str, DomainAdapter],
        X: Any,
        y: Any = None,
        n_bins: int = 10,
    ) -> ReliabilityDisplay:
        """Predict labelled texts with one adapter, or with several by title."""
        texts, labels = as_labelled(X, y, "X", "y")
        bins, errors = {}, {}
        for title, model in named(adapters).items():
            p = model.predict_proba(texts)
            sure = p.max(1)
            right = p.argmax(1) == encode_labels(labels, model.classes_, "y")
            place = np.minimum((sure * n_bins).astype(int), n_bins - 1)
            bins[title] = [
                {
                    "confidence": float(sure[place == b].mean()),
                    "accuracy": float(right[place == b].mean()),
                    "texts": int((place == b).sum()),
                }
                for b in np.unique(place)
            ]
            errors[title] = sum(
                abs(b["confidence"] - b["accuracy"]) * b["texts"] for b in bins[title]
            ) / len(texts)
        return cls(bins, errors)

    def frame(self) -> pd.DataFrame:
        """Return a row for each model and bin."""
        import pandas as pd

        return pd.DataFrame(
            [{"model": title, **row} for title, rows in self.bins.items() for row in rows]
        )

    def plot(self, ax: Axes | None = None) -> ReliabilityDisplay:
        """Draw accuracy over confidence; the area of a dot tells how many texts it stands for."""
        self.axes_ = axes_for(ax, 1, 4.8, 4.6)
        axes = self.ax_
        axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="as sure as right")
        total = max(sum(row["texts"] for row in rows) for rows in self.bins.values())
        for (title, rows), colour in zip(self.bins.items(), PALETTE, strict=False):
            x, y, n = (np.array([r[k] for r in rows]) for k in ("confidence", "accuracy", "texts"))
            label = f"{title} (calibration error {self.errors[title]:.2f})"
            axes.plot(x, y, color=colour, linewidth=1.5, label=label)
            axes.scatter(x, y, s=20 + 400 * n / total, color=colour, alpha=0.7, linewidths=0)
        low = min(row["confidence"] for rows in self.bins.values() for row in rows)
        axes.set(xlabel="confidence", ylabel="share of texts that are right")
        axes.set(xlim=(max(0.0, low - 0.05), 1.02), ylim=(0, 1.02))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="lower right", fontsize="small")
        return self


@dataclass
class GainDisplay(Display):
    """What each method gains over source-only of the same seeds, pair by pair.

    Attributes
    ----------
    rows : list of dict
        Pair, method, mean gain in points, half-width of its 95 % interval over seeds (NaN with
        one seed), and number of seeds.

    """

    rows: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]] | pd.DataFrame) -> GainDisplay:
        """Pair runs with source-only's: rows of `compare` or of the benchmark's JSON lines.

        Raises
        ------
        ValueError
            If no run has a source-only run of its pair and seed beside it.

        """
        given: list[Any] = rows.to_dict("records") if hasattr(rows, "to_dict") else list(rows)
        before: dict[tuple[str, Any], float] = {}
        after: dict[tuple[str, str], list[tuple[Any, float]]] = {}
        for row in given:
            pair = f"{row['source']} → {row['target']}" if "source" in row else ""
            if row["target_accuracy"] is None:
                continue
            if row["method"] == "source_only":
                before[pair, row["seed"]] = row["target_accuracy"]
            else:
                found = row["seed"], row["target_accuracy"]
                after.setdefault((pair, row["method"]), []).append(found)
        made = []
        for (pair, method), runs in after.items():
            gains = [100 * (x - before[pair, s]) for s, x in runs if (pair, s) in before]
            if gains:
                gain, half = interval(gains)
                made.append(
                    {
                        "pair": pair,
                        "method": method,
                        "gain": gain,
                        "half_width": half,
                        "seeds": len(gains),
                    }
                )
        if not made:
            raise ValueError(
                "no gain can be taken: no run has a target accuracy and a source_only run of the "
                "same pair and seed beside it."
            )
        return cls(made)

    def frame(self) -> pd.DataFrame:
        """Return the rows as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.rows)

    def plot(self, ax: Axes | None = None) -> GainDisplay:
        """Draw each gain with its interval, losses in another colour and with another mark.

        A hollow mark: the interval includes zero, or there is one seed and no interval.
        Target-trained, which had the target's own labels, is grey.
        """
        pairs = list(dict.fromkeys(row["pair"] for row in self.rows))
        methods = list(dict.fromkeys(row["method"] for row in self.rows))
        self.axes_ = axes_for(ax, 1, 6.4, 0.9 + 0.28 * len(self.rows) + 0.25 * len(pairs))
        axes = self.ax_
        axes.axvline(0, color="grey", linewidth=1)
        place, ticks = 0.0, []
        for pair in pairs:
            if pair:
                axes.text(
                    0, place, pair, transform=axes.get_yaxis_transform(), va="center", weight="bold"
                )
                place -= 1
            own = {row["method"]: row for row in self.rows if row["pair"] == pair}
            for method in methods:
                if method not in own:
                    continue
                row = own[method]
                colour, marker = (LOSS, "v") if row["gain"] < 0 else (GAIN, "o")
                if method == "target_trained":
                    # No method may reach for it: it is there to show how far one could go.
                    colour, marker = "grey", "D"
                half = 0.0 if np.isnan(row["half_width"]) else row["half_width"]
                face = colour if abs(row["gain"]) > row["half_width"] else "white"
                bar = axes.errorbar(row["gain"], place, xerr=half, color=colour, capsize=3)
                bar.lines[0].set(marker=marker, markerfacecolor=face)
                ticks.append((place, method))
                place -= 1
            place -= 0.3
        axes.set_yticks([y for y, _ in ticks], [name for _, name in ticks])
        axes.set(ylim=(place, 1), xlabel="gain over source-only, points of target accuracy")
        axes.spines[["top", "right", "left"]].set_visible(False)
        return self


@dataclass
class TransferMatrixDisplay(Display):
    """The accuracy on each target of a model from each source, as a heat map.

    Attributes
    ----------
    domains : list of str
    values : ndarray, shape (domains, domains)
        Mean over seeds by source (rows) and target (columns); NaN where nothing was run. The
        diagonal is what the target's own labels give.

    """

    domains: list[str]
    values: np.ndarray

    @classmethod
    def from_rows(
        cls, rows: Sequence[Mapping[str, Any]] | pd.DataFrame, method: str = "source_only"
    ) -> TransferMatrixDisplay:
        """Take the runs of one method, and those of "target_trained" for the diagonal."""
        given: list[Any] = rows.to_dict("records") if hasattr(rows, "to_dict") else list(rows)
        found: dict[tuple[str, str], list[float]] = {}
        for row in given:
            if row["method"] == method:
                found.setdefault((row["source"], row["target"]), []).append(row["target_accuracy"])
            elif row["method"] == "target_trained":
                found.setdefault((row["target"],) * 2, []).append(row["target_accuracy"])
        if not any(a != b for a, b in found):
            known = sorted({row["method"] for row in given})
            raise ValueError(f"no run of method {method!r}; the methods of the rows are {known}.")
        domains = sorted({name for pair in found for name in pair})
        values = np.full((len(domains), len(domains)), np.nan)
        for (source, target), accuracies in found.items():
            values[domains.index(source), domains.index(target)] = np.mean(accuracies)
        return cls(domains, values)

    def frame(self) -> pd.DataFrame:
        """Return the matrix with sources as index and targets as columns."""
        import pandas as pd

        index = pd.Index(self.domains, name="source")
        return pd.DataFrame(self.values, index, pd.Index(self.domains, name="target"))

    def plot(self, ax: Axes | None = None) -> TransferMatrixDisplay:
        """Draw the matrix with a number in each cell that was run."""
        n = len(self.domains)
        self.axes_ = axes_for(ax, 1, 1.1 * n + 1.6, 0.9 * n + 1.2)
        axes = self.ax_
        shown = axes.imshow(self.values, cmap="cividis")
        middle = (np.nanmin(self.values) + np.nanmax(self.values)) / 2
        for i, j in np.argwhere(~np.isnan(self.values)):
            value = self.values[i, j]
            dark = value < middle
            axes.text(j, i, f"{value:.1%}", ha="center", va="center", color="w" if dark else "k")
        axes.set_xticks(range(n), self.domains)
        axes.set_yticks(range(n), self.domains)
        axes.set(xlabel="target", ylabel="source")
        axes.figure.colorbar(shown, ax=axes, label="target accuracy", shrink=0.85)
        return self

"""Pictures of predictions: which classes are confused, and whether confidence is justified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from dann_transfer.adapter import DomainAdapter
from dann_transfer.judging.answering import answered
from dann_transfer.judging.decision import calibration_error, coverage_curve
from dann_transfer.plots.display import STYLES, Display, axes_for, named, plain
from dann_transfer.texts.labels import encode_labels
from dann_transfer.texts.reading import as_labelled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

WIDEST = 14.0
"""Inches of a matrix without its names; the cells of many classes are smaller."""
MANY_NAMES = 60
"""Beside a matrix of this width, more names would overlap."""


def _predicted(
    adapters: DomainAdapter | Mapping[str, DomainAdapter], X: Any, y: Any
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return classes, true class positions, and the probabilities of labelled texts by title."""
    models = named(adapters)
    first = next(iter(models.values()))
    classes = first.classes_
    for title, model in models.items():
        if not np.array_equal(model.classes_, classes):
            raise ValueError(
                f"{title!r} has the classes {model.classes_.tolist()}, not "
                f"{classes.tolist()}; draw it separately."
            )
    texts, labels = as_labelled(X, y, "X", "y", first.text_column, first.label_column)
    codes = encode_labels(labels, classes, "y")
    return classes, codes, {title: model.predict_proba(texts) for title, model in models.items()}


@dataclass
class ConfusionDisplay(Display):
    """Which classes are confused, for each model.

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
        ranks = next(iter(named(adapters).values())).fitted_.ranks
        return cls.from_predictions(*_predicted(adapters, X, y), ranks)

    @classmethod
    def from_predictions(
        cls,
        classes: np.ndarray,
        codes: np.ndarray,
        probabilities: Mapping[str, np.ndarray],
        ranks: np.ndarray | None = None,
    ) -> ConfusionDisplay:
        """Take true class positions, and by title what models made of the same texts.

        Classes that have `ranks` stand in their order, and are answered by their median.
        """
        from sklearn.metrics import confusion_matrix

        places = np.arange(len(classes)) if ranks is None else ranks.argsort()
        counts = {
            title: confusion_matrix(codes, answered(p, ranks), labels=places)
            for title, p in probabilities.items()
        }
        return cls(classes[places].tolist(), counts)

    def frame(self) -> pd.DataFrame:
        """Return a row for each model, true class and predicted class."""
        import pandas as pd

        rows = [
            {"model": title, "true": true, "predicted": predicted, "texts": int(confusion[i, j])}
            for title, confusion in self.counts.items()
            for i, true in enumerate(self.classes)
            for j, predicted in enumerate(self.classes)
        ]
        return pd.DataFrame(rows)

    def plot(self, ax: Axes | Sequence[Axes] | None = None) -> ConfusionDisplay:
        """Draw a matrix for each model; a cell shows the share of its true class."""
        from sklearn.metrics import ConfusionMatrixDisplay

        side = min(max(3.6, 0.45 * len(self.classes) + 1.5), WIDEST)
        names = [plain(c) for c in self.classes]
        longest = max(map(len, names))
        # Beside each other, names have as much room as their columns, in inches.
        wide = len(names) > 4 or longest * 0.11 > (side - 1) / len(names)
        # Long names stand on two sides, and leave the cells their size.
        side += 0.08 * max(0, longest - 6) if wide else 0
        self.axes_ = axes_for(ax, len(self.counts), side, side)
        for axes, (title, confusion) in zip(self.axes_, self.counts.items(), strict=True):
            shares = confusion / confusion.sum(1, keepdims=True).clip(min=1)
            matrix = ConfusionMatrixDisplay(shares, display_labels=names).plot(
                ax=axes,
                values_format=".0%",
                cmap="Blues",
                colorbar=len(self.classes) > 20,
                im_kw={"vmin": 0, "vmax": 1},
                include_values=len(self.classes) <= 20,
                xticks_rotation="vertical" if wide else "horizontal",
                text_kw={"fontsize": 11 if len(self.classes) <= 4 else 8},
            )
            if len(names) > MANY_NAMES:
                # A name in so many, so that they can be read.
                some = range(0, len(names), -(-len(names) // MANY_NAMES))
                axes.set_xticks(some, [names[i] for i in some])
                axes.set_yticks(some, [names[i] for i in some])
            for text in matrix.text_.flat if 4 < len(names) <= 20 else ():  # zeros hide the rest
                text.set_visible(text.get_text() != "0%")
            accuracy = confusion.trace() / max(confusion.sum(), 1)
            axes.set_title(f"{plain(title)}\n{accuracy:.1%} of {confusion.sum():,} texts right")
        return self


@dataclass
class ReliabilityDisplay(Display):
    """Whether a model that is 80 % certain is right in 80 % of the cases.

    Attributes
    ----------
    bins : dict of str to list of dict
        The bins of confidence for each model's title: mean confidence, accuracy and texts.
    errors : dict of str to float
        The expected calibration error of each model: the mean gap between the two, over texts.

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
        n_bins: int = 15,
    ) -> ReliabilityDisplay:
        """Predict labelled texts with one adapter, or with several by title."""
        _, codes, probabilities = _predicted(adapters, X, y)
        return cls.from_predictions(codes, probabilities, n_bins)

    @classmethod
    def from_predictions(
        cls, codes: np.ndarray, probabilities: Mapping[str, np.ndarray], n_bins: int = 15
    ) -> ReliabilityDisplay:
        """Take true class positions, and by title what models made of the same texts."""
        bins, errors = {}, {}
        for title, p in probabilities.items():
            sure, right = p.max(1), p.argmax(1) == codes
            # As `calibration_error` has them, each with its upper bound.
            place = np.clip(np.ceil(sure * n_bins).astype(int) - 1, 0, n_bins - 1)
            bins[title] = [
                {
                    "confidence": float(sure[place == b].mean()),
                    "accuracy": float(right[place == b].mean()),
                    "texts": int((place == b).sum()),
                }
                for b in np.unique(place)
            ]
            errors[title] = calibration_error(p, codes, n_bins)
        return cls(bins, errors)

    def frame(self) -> pd.DataFrame:
        """Return a row for each model and bin."""
        import pandas as pd

        return pd.DataFrame(
            [{"model": title, **row} for title, rows in self.bins.items() for row in rows]
        )

    def plot(self, ax: Axes | None = None) -> ReliabilityDisplay:
        """Draw accuracy against confidence; the area of a dot shows its number of texts."""
        self.axes_ = axes_for(ax, 1, 4.8, 4.6)
        axes = self.ax_
        lines = axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="as sure as right")
        total = max(sum(row["texts"] for row in rows) for rows in self.bins.values())
        for (title, rows), style in zip(self.bins.items(), cycle(STYLES), strict=False):
            x, y, n = (np.array([r[k] for r in rows]) for k in ("confidence", "accuracy", "texts"))
            label = f"{plain(title)} (calibration error {self.errors[title]:.2f})"
            lines += axes.plot(x, y, linewidth=1.5, label=label, **style)
            size = 20 + 400 * n / total
            axes.scatter(x, y, s=size, color=style["color"], alpha=0.7, linewidths=0)
        low = min(row["confidence"] for rows in self.bins.values() for row in rows)
        axes.set(xlabel="confidence", ylabel="share of texts that are right")
        axes.set(xlim=(max(0.0, low - 0.05), 1.02), ylim=(0, 1.02))
        axes.spines[["top", "right"]].set_visible(False)
        # Passed, or a title that starts with an underscore would have no entry.
        axes.legend(handles=lines, frameon=False, loc="lower right", fontsize="small")
        return self


@dataclass
class CoverageDisplay(Display):
    """What withholding uncertain answers gains: accuracy against the share of texts answered.

    Attributes
    ----------
    curves : dict of str to tuple of two ndarrays
        Coverage and accuracy for each model's title, as in `decision.coverage_curve`.

    References
    ----------
    Geifman and El-Yaniv, Selective Classification for Deep Neural Networks, NIPS 2017.

    """

    curves: dict[str, tuple[np.ndarray, np.ndarray]]

    @classmethod
    def from_estimator(
        cls, adapters: DomainAdapter | Mapping[str, DomainAdapter], X: Any, y: Any = None
    ) -> CoverageDisplay:
        """Predict labelled texts with one adapter, or with several by title."""
        _, codes, probabilities = _predicted(adapters, X, y)
        return cls.from_predictions(codes, probabilities)

    @classmethod
    def from_predictions(
        cls, codes: np.ndarray, probabilities: Mapping[str, np.ndarray]
    ) -> CoverageDisplay:
        """Take true class positions, and by title what models made of the same texts."""
        curves = {title: coverage_curve(p, codes) for title, p in probabilities.items()}
        return cls({title: (curve.coverage, curve.accuracy) for title, curve in curves.items()})

    def frame(self) -> pd.DataFrame:
        """Return a row for each model and threshold, from full coverage downwards."""
        import pandas as pd

        parts = [
            pd.DataFrame({"model": title, "coverage": coverage, "accuracy": accuracy})
            for title, (coverage, accuracy) in self.curves.items()
        ]
        return pd.concat(parts, ignore_index=True)

    def plot(self, ax: Axes | None = None) -> CoverageDisplay:
        """Draw one line per model; at the right end every text is answered."""
        self.axes_ = axes_for(ax, 1, 4.8, 4.0)
        axes = self.ax_
        lines = []
        for (title, (coverage, accuracy)), style in zip(
            self.curves.items(), cycle(STYLES), strict=False
        ):
            # Below a twentieth of the texts, the share jumps with each text.
            shown = coverage >= 0.05
            x, y = 100 * coverage[shown], 100 * accuracy[shown]
            # Of a model that is equally sure of all texts there is one point.
            dot = "o" if len(x) == 1 else ""
            lines += axes.plot(x, y, marker=dot, label=plain(title), **style)
        axes.set(xlabel="texts answered, the surest first, %", ylabel="of these right, %")
        axes.set(xlim=(0, 101))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(handles=lines, frameon=False, loc="lower left", fontsize="small")
        return self


def confusion(
    adapters: DomainAdapter | Mapping[str, DomainAdapter],
    X: Any,
    y: Any = None,
    ax: Axes | Sequence[Axes] | None = None,
) -> list[Axes]:
    """Draw a confusion matrix for each adapter."""
    return ConfusionDisplay.from_estimator(adapters, X, y).plot(ax).axes_


def reliability(
    adapters: DomainAdapter | Mapping[str, DomainAdapter],
    X: Any,
    y: Any = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw accuracy against confidence, a line for each adapter, with its calibration error."""
    return ReliabilityDisplay.from_estimator(adapters, X, y).plot(ax).ax_


def coverage(
    adapters: DomainAdapter | Mapping[str, DomainAdapter],
    X: Any,
    y: Any = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw accuracy against the share of texts that are answered, a line for each adapter."""
    return CoverageDisplay.from_estimator(adapters, X, y).plot(ax).ax_

"""Pictures of what an adapter says as objects: computed once, drawn with `plot`, read as `frame`.

As in scikit-learn, `plot` sets ``ax_`` and ``figure_`` and returns the display.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from dann_transfer.data import as_labelled, encode_labels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from dann_transfer.adapter import DomainAdapter

# Okabe and Ito's palette, which colour-blind readers can tell apart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES = {
    "task_loss": ("task loss", "#0072B2"),
    "domain_loss": ("domain loss", "#CC79A7"),
    "domain_accuracy": ("domain accuracy", "#009E73"),
    "strength": ("strength λ", "#E69F00"),
}


def axes_for(
    ax: Axes | Sequence[Axes] | None, n: int, width: float, height: float, stacked: bool = False
) -> list[Axes]:
    """Return the Axes that were passed, or n new ones side by side or stacked over one x axis.

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
    rows, columns = (n, 1) if stacked else (1, n)
    size = (width * columns, height * rows)
    _, made = plt.subplots(
        rows, columns, figsize=size, sharex=stacked, squeeze=False, layout="constrained"
    )
    return list(made.flat)


def named(adapters: DomainAdapter | Mapping[str, DomainAdapter]) -> dict[str, DomainAdapter]:
    """Return adapters by title; a single one is called by its method."""
    if isinstance(adapters, Mapping):
        return dict(adapters)
    return {adapters.method: adapters}


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
class TrainingDisplay(Display):
    """What a training did, step by step.

    Attributes
    ----------
    history : list of dict
        ``adapter.history_``: a row for each step.

    """

    history: list[dict[str, Any]]

    @classmethod
    def from_estimator(cls, adapter: DomainAdapter) -> TrainingDisplay:
        """Take the history of a fitted adapter.

        Raises
        ------
        ValueError
            If it is not fitted.

        """
        if not getattr(adapter, "history_", None):
            raise ValueError("the adapter has no history: fit it first.")
        return cls(adapter.history_)

    def frame(self) -> pd.DataFrame:
        """Return a row for each step; NaN where a method in two phases has other terms."""
        import pandas as pd

        return pd.DataFrame(self.history)

    def panels(self) -> list[list[str]]:
        """What `plot` draws by default: the losses, and below them everything else."""
        names = list(dict.fromkeys(key for row in self.history for key in row))
        losses = [name for name in names if name.endswith("_loss")]
        others = [name for name in names if name not in {*losses, "step"}]
        if losses == ["task_loss"]:
            # Nothing that strength could act on.
            others = [name for name in others if name != "strength"]
        return [panel for panel in (losses, others) if panel]

    def plot(
        self,
        ax: Axes | Sequence[Axes] | None = None,
        panels: Sequence[Sequence[str]] | None = None,
    ) -> TrainingDisplay:
        """Draw columns of the history over its steps: a thin raw line and a smooth one each.

        Parameters
        ----------
        ax : Axes or sequence of Axes, optional
            One for each panel.
        panels : sequence of sequences of str, optional
            The columns that each panel shows.

        Raises
        ------
        ValueError
            If a column is not in the history, or a panel is no sequence of names.

        """
        panels = self.panels() if panels is None else panels
        if flat := [panel for panel in panels if isinstance(panel, str)]:
            raise ValueError(f"panels={flat!r}: each panel is a sequence of names, as in [{flat}].")
        known = {key for row in self.history for key in row} - {"step"}
        if unknown := [name for panel in panels for name in panel if name not in known]:
            raise ValueError(f"the history has no {unknown[0]!r}; it has {sorted(known)}.")
        self.axes_ = axes_for(ax, len(panels), 6.5, 2.8, stacked=True)
        width = max(1, len(self.history) // 25)
        for axes, panel in zip(self.axes_, panels, strict=True):
            taken = [LINES[name][1] for name in panel if name in LINES]
            spare = cycle([colour for colour in PALETTE if colour not in taken])
            for name in panel:
                rows = [row for row in self.history if name in row]
                steps = np.array([row["step"] for row in rows])
                raw = np.array([row[name] for row in rows], dtype=float)
                window = np.ones(min(width, len(raw)))
                # Dividing by how many steps the window covers keeps the ends from sagging.
                covered = np.convolve(np.ones(len(raw)), window, "same")
                label, colour = LINES.get(name) or (name.replace("_", " "), next(spare))
                smooth = np.convolve(raw, window, "same") / covered
                (line,) = axes.plot(steps, smooth, color=colour, label=label, linewidth=2)
                axes.plot(steps, raw, color=line.get_color(), alpha=0.25, linewidth=0.7)
            axes.set(xlim=(0, self.history[-1]["step"]))
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False)
        # Stacked panels share the axis of the last.
        for axes in self.axes_[-1:] if ax is None else self.axes_:
            axes.set(xlabel="step")
        return self

"""The picture of a training run: its history, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from dann_transfer.adapter import DomainAdapter
from dann_transfer.plots.display import STYLES, Display, axes_for
from dann_transfer.training.history import OF_EVERY_RUN

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

LINES = {
    "task_loss": ("task loss", "#0072B2"),
    "domain_loss": ("domain loss", "#CC79A7"),
    "domain_accuracy": ("domain accuracy", "#009E73"),
    "strength": ("strength λ", "#E69F00"),
}


@dataclass
class TrainingDisplay(Display):
    """The history of a training run, step by step.

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
        """Return a row for each step; NaN where a phase of the method does not have a term."""
        import pandas as pd

        return pd.DataFrame(self.history)

    def panels(self) -> list[list[str]]:
        """Return what `plot` draws by default: the losses, and below them the method's measures."""
        names = list(dict.fromkeys(key for row in self.history for key in row))
        losses = [name for name in names if name.endswith("_loss")]
        others = [name for name in names if name not in {*losses, *OF_EVERY_RUN}]
        if losses == ["task_loss"]:
            # There is nothing that strength could act on.
            others = [name for name in others if name != "strength"]
        return [panel for panel in (losses, others) if panel]

    def _epoch_ends(self) -> list[int]:
        """Return the last step of each epoch, except that of the last one."""
        ends = {row["epoch"]: row["step"] for row in self.history if "epoch" in row}
        return list(ends.values())[:-1]

    def plot(
        self,
        ax: Axes | Sequence[Axes] | None = None,
        panels: Sequence[Sequence[str]] | None = None,
    ) -> TrainingDisplay:
        """Draw columns of the history over its steps: a thin raw line and a smooth one each.

        Grey lines mark the ends of epochs, and a dotted one the accuracy of a discriminator that
        guesses.

        Parameters
        ----------
        ax : Axes or sequence of Axes, optional
            One for each panel.
        panels : sequence of sequences of str, optional
            The columns that each panel shows.

        Raises
        ------
        ValueError
            If a column is not in the history, or a panel is not a sequence of names.

        """
        panels = self.panels() if panels is None else panels
        if not panels:
            raise ValueError("panels=[] names no panel; leave it out to draw what there is.")
        if flat := [panel for panel in panels if isinstance(panel, str)]:
            raise ValueError(f"panels={flat!r}: each panel is a sequence of names; pass [{flat}].")
        columns = {key for row in self.history for key in row} - {"step"}
        if unknown := [name for panel in panels for name in panel if name not in columns]:
            raise ValueError(f"the history has no {unknown[0]!r}; it has {sorted(columns)}.")
        self.axes_ = axes_for(ax, len(panels), 6.5, 2.8, stacked=True)
        width = max(1, len(self.history) // 25)
        for axes, panel in zip(self.axes_, panels, strict=True):
            fixed = [LINES[name][1] for name in panel if name in LINES]
            spare = cycle([style for style in STYLES if style["color"] not in fixed])
            for name in panel:
                rows = [row for row in self.history if name in row]
                steps = np.array([row["step"] for row in rows])
                raw = np.array([row[name] for row in rows], dtype=float)
                window = np.ones(min(width, len(raw)))
                # Dividing by how many steps the window covers keeps the ends from sagging.
                covered = np.convolve(np.ones(len(raw)), window, "same")
                label, colour = LINES.get(name) or (name.replace("_", " "), "")
                style = {"color": colour} if colour else next(spare)
                # A single step is a dot.
                style = {**style, "marker": "o" if len(raw) == 1 else ""}
                smooth = np.convolve(raw, window, "same") / covered
                (line,) = axes.plot(steps, smooth, label=label, linewidth=2, **style)
                axes.plot(steps, raw, color=line.get_color(), alpha=0.25, linewidth=0.7)
            last = self.history[-1]["step"]
            axes.set(xlim=(0, last))
            low, high = axes.get_ylim()
            axes.vlines(self._epoch_ends(), low, high, color="#dddddd", linewidth=0.8, zorder=0)
            if "domain_accuracy" in panel:
                # The accuracy of a discriminator that guesses.
                axes.hlines(0.5, 0, last, color="grey", linestyle=":", linewidth=1, zorder=0)
            axes.set(ylim=(low, high))
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False)
        # Stacked panels share the x axis of the last.
        for axes in self.axes_[-1:] if ax is None else self.axes_:
            axes.set(xlabel="step")
        return self


def training(
    adapter: DomainAdapter,
    ax: Axes | Sequence[Axes] | None = None,
    panels: Sequence[Sequence[str]] | None = None,
) -> list[Axes]:
    """Draw the losses over the steps, and below them strength, domain accuracy and the like.

    `panels` selects other columns of ``adapter.history_`` for each panel:
    ``training(adapter, panels=[("domain_accuracy",)])``.
    """
    return TrainingDisplay.from_estimator(adapter).plot(ax, panels).axes_

"""Pictures. Every function takes ``ax=`` and returns Axes; none shows anything.
`animation` trains, and writes a GIF.

Each draws a display of `dann_transfer.displays` or `dann_transfer.maps`; use those to compute once
and draw often, or to read what is drawn as a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dann_transfer.animations import AnimationDisplay
from dann_transfer.data import Domain
from dann_transfer.displays import (
    ConfusionDisplay,
    GainDisplay,
    ReliabilityDisplay,
    TransferMatrixDisplay,
    axes_for,
)
from dann_transfer.maps import AlignmentDisplay, embed, feature_map

if TYPE_CHECKING:
    from os import PathLike

    import pandas as pd
    from matplotlib.axes import Axes

    from dann_transfer.adapter import DomainAdapter

__all__ = [
    "alignment",
    "animation",
    "confusion",
    "embed",
    "feature_map",
    "gain",
    "reliability",
    "training",
    "transfer_matrix",
]

_LINES = {
    "task_loss": ("task loss", "#0072B2"),
    "domain_loss": ("domain loss", "#CC79A7"),
    "domain_accuracy": ("domain accuracy", "#009E73"),
    "strength": ("strength λ", "#E69F00"),
}


def alignment(
    adapters: DomainAdapter | Mapping[str, DomainAdapter],
    source: Domain,
    target: Domain,
    ax: Axes | Sequence[Axes] | None = None,
    names: tuple[str, str] = ("source", "target"),
    max_texts: int = 700,
    random_state: int = 0,
    layout: str = "umap",
    colour: str = "domain",
    density: bool | None = None,
) -> list[Axes]:
    """Show the domains in the feature spaces of one model or several, side by side.

    One map is fitted on the features of all models pooled, so that the panels share it. The
    proxy A-distance in each title is measured in feature space, because overlap in two
    dimensions is not alignment.

    Parameters
    ----------
    adapters : DomainAdapter, or mapping from title to DomainAdapter
        Fitted, such as ``{"source only": before, "adapted": after}``.
    source, target : Domain
        Texts to show, best unseen in training. Labels, where given, choose the markers.
    ax : Axes or sequence of Axes, optional
        One for each model.
    names : pair of str
        What the legend calls the two domains.
    max_texts : int
        At most this many texts of each domain are drawn; the distance uses up to 2,000.
    random_state : int
    layout : {"umap", "aligned_umap", "tsne", "pca"}
    colour : {"domain", "class"}
    density : bool, optional
        See `feature_map`.

    """
    display = AlignmentDisplay.from_estimator(
        adapters, source, target, names, max_texts, random_state, layout
    )
    return display.plot(ax, colour, density).axes_


def training(
    adapter: DomainAdapter,
    values: Sequence[str] = ("task_loss", "domain_loss"),
    ax: Axes | None = None,
) -> Axes:
    """Draw columns of the adapter's history over its steps: a thin raw line and a smooth one.

    `values` may name any key of ``adapter.history_``; those absent from a method are skipped.
    """
    (ax,) = axes_for(ax, 1, 6.5, 3.5)
    width = max(1, len(adapter.history_) // 25)
    for value in values:
        # A method in two phases has other terms in each.
        history = [row for row in adapter.history_ if value in row]
        if not history:
            continue
        steps = np.array([row["step"] for row in history])
        label, colour = _LINES.get(value, (value.replace("_", " "), None))
        raw = np.array([row[value] for row in history], dtype=float)
        window = np.ones(width)
        # Dividing by how many steps the window covers keeps the ends from sagging.
        smooth = np.convolve(raw, window, "same") / np.convolve(np.ones(len(raw)), window, "same")
        (line,) = ax.plot(steps, smooth, color=colour, label=label, linewidth=2)
        ax.plot(steps, raw, color=line.get_color(), alpha=0.25, linewidth=0.7)
    ax.set(xlabel="step", xlim=(0, adapter.history_[-1]["step"]))
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    return ax


def animation(
    adapter: DomainAdapter,
    X: Any,
    y: Any = None,
    *,
    source: Domain,
    target: Domain,
    path: str | PathLike[str],
    **params: Any,
) -> AnimationDisplay:
    """Fit `adapter`, and write a GIF of the domains in its feature space while it trains.

    `params` go to ``AnimationDisplay.from_training`` and from there to ``fit``, as in
    ``animation(adapter, X, y, X_target=T, source=..., target=..., path="training.gif")``.
    """
    display = AnimationDisplay.from_training(adapter, X, y, source=source, target=target, **params)
    display.save(path)
    return display


def confusion(
    adapters: DomainAdapter | Mapping[str, DomainAdapter],
    X: Any,
    y: Any = None,
    ax: Axes | Sequence[Axes] | None = None,
) -> list[Axes]:
    """Draw which class is taken for which, a matrix for each adapter."""
    return ConfusionDisplay.from_estimator(adapters, X, y).plot(ax).axes_


def reliability(
    adapters: DomainAdapter | Mapping[str, DomainAdapter],
    X: Any,
    y: Any = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw accuracy over confidence, a line for each adapter, with its calibration error."""
    return ReliabilityDisplay.from_estimator(adapters, X, y).plot(ax).ax_


def gain(rows: Sequence[Mapping[str, Any]] | pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw what each method gains over source-only, with its interval over seeds.

    `rows` are ``compare(...).rows`` or lines of ``benchmarks/results``.
    """
    return GainDisplay.from_rows(rows).plot(ax).ax_


def transfer_matrix(
    rows: Sequence[Mapping[str, Any]] | pd.DataFrame,
    method: str = "source_only",
    ax: Axes | None = None,
) -> Axes:
    """Draw the accuracy on each target of a model from each source."""
    return TransferMatrixDisplay.from_rows(rows, method).plot(ax).ax_

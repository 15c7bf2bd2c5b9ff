"""Pictures. Every function that draws takes ``ax=`` and returns Axes; none shows or trains.

Each draws a display, which is also available here; use displays to compute once and draw often, or
to read what is drawn as a table. `animation`, `explore` and `report` write a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dann_transfer.adapter import DomainAdapter
from dann_transfer.plots.alignment import AlignmentDisplay, features_frame
from dann_transfer.plots.animation import AnimationDisplay, FeatureWatcher
from dann_transfer.plots.explore import explore
from dann_transfer.plots.gains import GainDisplay, TransferMatrixDisplay
from dann_transfer.plots.maps import embed, feature_map
from dann_transfer.plots.predictions import (
    ConfusionDisplay,
    CoverageDisplay,
    ReliabilityDisplay,
)
from dann_transfer.plots.report import report
from dann_transfer.plots.training import TrainingDisplay
from dann_transfer.texts.reading import Domain

if TYPE_CHECKING:
    from os import PathLike

    import pandas as pd
    from matplotlib.axes import Axes

__all__ = [
    "AlignmentDisplay",
    "AnimationDisplay",
    "ConfusionDisplay",
    "CoverageDisplay",
    "FeatureWatcher",
    "GainDisplay",
    "ReliabilityDisplay",
    "TrainingDisplay",
    "TransferMatrixDisplay",
    "alignment",
    "animation",
    "confusion",
    "coverage",
    "embed",
    "explore",
    "feature_map",
    "features_frame",
    "gain",
    "reliability",
    "report",
    "training",
    "transfer_matrix",
]


def alignment(
    adapters: DomainAdapter | Mapping[str, DomainAdapter] | pd.DataFrame,
    source: Domain | None = None,
    target: Domain | None = None,
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
    adapters : DomainAdapter, mapping from title to DomainAdapter, or DataFrame
        Fitted, such as ``{"source only": before, "adapted": after}``; or their features, as
        `features_frame` returns them, which already hold texts and names of the domains.
    source, target : Domain, optional
        Texts to show, preferably unseen in training. Labels, if given, choose the markers.
    ax : Axes or sequence of Axes, optional
        One for each model.
    names : pair of str
        Names of the two domains in the legend.
    max_texts : int
        At most this many texts of each domain are drawn; the distance uses up to 2,000.
    random_state : int
    layout : {"umap", "aligned_umap", "tsne", "pca"}
    colour : {"domain", "class"}
    density : bool, optional
        See `feature_map`.

    Raises
    ------
    ValueError
        If adapters come without texts, or features come with texts.

    """
    if isinstance(adapters, Mapping | DomainAdapter):
        if source is None or target is None:
            raise ValueError(
                "adapters need texts to show: pass source=Domain(texts) and target=Domain(texts)."
            )
        display = AlignmentDisplay.from_estimator(
            adapters, source, target, names, max_texts, random_state, layout
        )
    else:
        if not hasattr(adapters, "columns"):
            raise TypeError(
                f"a {type(adapters).__name__} is not an adapter, mapping of adapters or features "
                "frame."
            )
        if source is not None or target is not None:
            raise ValueError("a features frame already holds texts; leave out source and target.")
        display = AlignmentDisplay.from_frame(adapters, max_texts, random_state, layout)
    return display.plot(ax, colour, density).axes_


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


def animation(
    watcher: FeatureWatcher, path: str | PathLike[str], layout: str = "pca", colour: str = "domain"
) -> AnimationDisplay:
    """Write a GIF that shows the domains in feature space during a training run.

    `watcher` was passed to ``fit(on_step=watcher)``; see `FeatureWatcher`.
    """
    display = AnimationDisplay.from_watcher(watcher, layout)
    display.save(path, colour=colour)
    return display


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


def gain(rows: Sequence[Mapping[str, Any]] | pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw each method's gain over source-only, with its interval over seeds.

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

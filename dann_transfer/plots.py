"""Pictures. Every function takes ``ax=`` and returns Axes; none shows or saves anything."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dann_transfer.data import Domain
from dann_transfer.diagnostics import proxy_a_distance
from dann_transfer.displays import (
    ConfusionDisplay,
    GainDisplay,
    ReliabilityDisplay,
    TransferMatrixDisplay,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from dann_transfer.adapter import DomainAdapter

# Okabe and Ito's palette, which colour-blind readers can tell apart.
_DOMAINS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_LINES = {
    "task_loss": ("task loss", "#0072B2"),
    "domain_loss": ("domain loss", "#CC79A7"),
    "domain_accuracy": ("domain accuracy", "#009E73"),
    "strength": ("strength λ", "#E69F00"),
}
_MARKERS = "o^sDvP*X<>"


def _axes(ax: Axes | None, **size: Any) -> Axes:
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'dann_transfer[plots]'") from error
    return plt.subplots(**size)[1]


def _keys(names: Sequence[str], classes: Sequence[Any]) -> list[Any]:
    """Legend entries: a colour for each domain, a marker for each class."""
    from matplotlib.lines import Line2D

    spot: dict[str, Any] = {"linestyle": "", "markersize": 7}
    keys = [
        Line2D([], [], color=colour, marker="o", label=name, **spot)
        for name, colour in zip(names, _DOMAINS, strict=False)
    ]
    keys += [
        Line2D([], [], color="grey", marker=_MARKERS[i % len(_MARKERS)], label=str(c), **spot)
        for i, c in enumerate(classes)
    ]
    return keys


def embed(features: np.ndarray, random_state: int = 0) -> np.ndarray:
    """Lay features (n, width) out in two dimensions with UMAP: shape (n, 2).

    What is near in the picture is near in feature space; the axes, and gaps between groups that
    are far apart, mean nothing.

    Raises
    ------
    ImportError
        If umap-learn is not installed.

    References
    ----------
    McInnes et al., UMAP: Uniform Manifold Approximation and Projection, 2018.

    """
    import torch

    threads = torch.get_num_threads()
    try:
        from umap import UMAP
    except ImportError as error:
        raise ImportError(
            "this picture needs umap-learn: pip install 'dann_transfer[plots]'"
        ) from error
    neighbours = min(15, len(features) - 1)
    with warnings.catch_warnings():
        # A fixed seed costs UMAP its threads, of which it warns each time.
        warnings.filterwarnings("ignore", message=".*n_jobs.*")
        reducer = UMAP(n_neighbors=neighbours, random_state=random_state, n_jobs=1)
        points = np.asarray(reducer.fit_transform(features))
    # numba takes every core for OpenMP, which torch shares; training after a picture would then
    # run on more threads than the user allowed, and crawl where cores are few.
    torch.set_num_threads(threads)
    return points


def feature_map(
    points: np.ndarray,
    domains: Sequence[str] | np.ndarray,
    labels: Sequence[Any] | np.ndarray | None = None,
    title: str = "",
    ax: Axes | None = None,
    legend: bool = True,
) -> Axes:
    """Scatter points (n, 2): the colour tells the domain, the marker tells the class.

    The first domain that occurs is taken for the source. Points are drawn in a fixed random
    order, so that no domain hides the other.
    """
    ax = _axes(ax, figsize=(5.5, 5))
    domains = np.asarray(domains)
    kinds = np.zeros(len(points), dtype=int)
    classes: list[Any] = []
    if labels is not None:
        found, kinds = np.unique(np.asarray(labels), return_inverse=True)
        classes = found.tolist()
    names = list(dict.fromkeys(domains.tolist()))
    if len(names) > len(_DOMAINS):
        raise ValueError(f"there are {len(names)} domains; at most {len(_DOMAINS)} can be drawn.")
    palette = dict(zip(names, _DOMAINS, strict=False))
    # Small blocks of each kind are drawn in turn: a marker needs a call of its own, and drawing
    # all of one kind last would make it look like the more frequent one.
    order = np.random.default_rng(0).permutation(len(points))
    size = float(np.clip(25_000 / max(len(points), 1), 4, 30))
    for block in np.array_split(order, max(1, len(points) // 200)):
        for kind in np.unique(kinds[block]):
            rows = block[kinds[block] == kind]
            ax.scatter(
                points[rows, 0],
                points[rows, 1],
                c=[palette[name] for name in domains[rows]],
                marker=_MARKERS[kind % len(_MARKERS)],
                s=size,
                alpha=0.55,
                linewidths=0,
            )
    ax.set(xticks=[], yticks=[], title=title)
    ax.set_aspect("equal", adjustable="datalim")
    if legend:
        ax.legend(
            handles=_keys(names, classes),
            loc="upper center",
            bbox_to_anchor=(0.5, -0.01),
            ncols=4,
            frameon=False,
        )
    return ax


def alignment(
    adapters: Mapping[str, DomainAdapter],
    source: Domain,
    target: Domain,
    axes: Sequence[Axes] | None = None,
    names: tuple[str, str] = ("source", "target"),
    max_texts: int = 700,
    random_state: int = 0,
) -> list[Axes]:
    """Show the domains in the feature spaces of several models, side by side.

    One UMAP is fitted on the features of all models pooled, so that the panels share one map.
    The proxy A-distance in each title is measured in feature space, because overlap in two
    dimensions is not alignment.

    Parameters
    ----------
    adapters : mapping from title to fitted DomainAdapter
        Such as ``{"source only": before, "adapted": after}``.
    source, target : Domain
        Texts to show, best unseen in training. Labels, where given, choose the markers.
    axes : sequence of Axes, optional
        One for each model.
    names : pair of str
        What the legend calls the two domains.
    max_texts : int
        At most this many texts of each domain are drawn; the distance uses up to 2,000.
    random_state : int

    """
    if axes is None:
        import matplotlib.pyplot as plt

        size = (5.2 * len(adapters), 5.4)
        axes = list(plt.subplots(1, len(adapters), figsize=size, squeeze=False)[1][0])
    rng = np.random.default_rng(random_state)
    chosen, labels, domains = [], [], []
    for name, domain in zip(names, (source, target), strict=True):
        rows = rng.permutation(len(domain.texts))[:max_texts]
        chosen.append(rows)
        domains += [name] * len(rows)
        if domain.labels is not None:
            labels += np.asarray(domain.labels)[rows].tolist()
    pooled, titles = [], []
    for title, adapter in adapters.items():
        pair = [adapter.transform(domain.texts) for domain in (source, target)]
        titles.append(f"{title}\nA-distance {proxy_a_distance(pair[0], pair[1]):.2f} of 2")
        pooled += [x[rows] for x, rows in zip(pair, chosen, strict=True)]
    points = np.split(embed(np.concatenate(pooled), random_state), len(adapters))
    shown = labels if len(labels) == len(domains) else None
    for ax, title, xy in zip(axes, titles, points, strict=True):
        feature_map(xy, domains, shown, title, ax, legend=False)
    classes = [] if shown is None else np.unique(shown).tolist()
    figure = axes[0].get_figure()
    assert figure is not None
    keys = _keys(names, classes)
    figure.legend(handles=keys, loc="lower center", ncols=len(keys), frameon=False)
    low, high = np.min(points, axis=(0, 1)), np.max(points, axis=(0, 1))
    margin = 0.05 * (high - low)
    for ax in axes:
        ax.set(xlim=(low[0] - margin[0], high[0] + margin[0]))
        ax.set(ylim=(low[1] - margin[1], high[1] + margin[1]))
        ax.set_aspect("auto")
    return list(axes)


def training(
    adapter: DomainAdapter,
    values: Sequence[str] = ("task_loss", "domain_loss"),
    ax: Axes | None = None,
) -> Axes:
    """Draw columns of the adapter's history over its steps: a thin raw line and a smooth one.

    `values` may name any key of ``adapter.history_``; those absent from a method are skipped.
    """
    ax = _axes(ax, figsize=(6.5, 3.5))
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

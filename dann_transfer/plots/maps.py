"""Maps of features: their layout in two dimensions, and how points of two domains are drawn."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from dann_transfer.datasets import cache_folder
from dann_transfer.plots.display import CLASS_PALETTE, PALETTE, axes_for, legend_below, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "o^sDvP*X<>"
LAYOUTS = ("umap", "aligned_umap", "tsne", "pca")
FEWEST = 4
# From as many rows on UMAP searches for neighbours approximately.
APPROXIMATE = 4096
# With more points than this, a panel also shows where a domain is dense: dots alone form a blot.
CROWDED = 3000
PALETTES = {"domain": PALETTE, "class": CLASS_PALETTE}
# Layouts compute in 32 bits, where squares of smaller or larger numbers are zero or infinite.
SMALLEST, LARGEST = 1e-12, 1e12


class LayoutError(ValueError):
    """Features that no map can show: too few, all alike, or not finite."""


def embed(features: np.ndarray, random_state: int = 0, layout: str = "umap") -> np.ndarray:
    """Lay features (n, width) out in two dimensions: shape (n, 2).

    Points that are near in the picture are near in feature space; the axes, and gaps between groups
    that are far apart, mean nothing (except with "pca", which is a projection).

    Raises
    ------
    ValueError
        If `layout` is none of "umap", "aligned_umap" (which is the same here), "tsne" and "pca".
    LayoutError
        A ValueError: if there are fewer than four different rows or two dimensions, or the rows
        differ by no more than rounding, or are not finite.
    ImportError
        If umap-learn is needed but not installed.

    References
    ----------
    McInnes et al., UMAP: Uniform Manifold Approximation and Projection, 2018; van der Maaten and
    Hinton, Visualizing Data using t-SNE, JMLR 2008.

    """
    return embed_all([features], random_state, layout)[0]


def embed_all(
    parts: Sequence[np.ndarray], random_state: int = 0, layout: str = "umap"
) -> list[np.ndarray]:
    """Lay out several sets of features of the same texts in one map: an array (n, 2) for each.

    "aligned_umap" fits a map for each set and keeps a text's positions near each other; the other
    layouts fit one map on all sets pooled.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout={layout!r} must be one of {list(LAYOUTS)}.")
    ends = np.cumsum([len(part) for part in parts])[:-1]
    pooled = np.concatenate(list(parts))
    _check_spread(pooled)
    if len(parts) == 1 and layout == "aligned_umap":
        layout = "umap"
    if layout == "pca":
        from sklearn.decomposition import PCA

        return np.split(PCA(2, random_state=random_state).fit_transform(pooled), ends)
    if layout == "tsne":
        from sklearn.manifold import TSNE

        near = min(30.0, (len(pooled) - 1) / 3)
        return np.split(
            TSNE(perplexity=near, random_state=random_state).fit_transform(pooled), ends
        )
    return _umap(parts, pooled, random_state, layout)


def _check_spread(features: np.ndarray) -> None:
    """Raise a LayoutError for features that a layout cannot spread: t-SNE would end the process."""
    what = f"features of shape {features.shape} cannot be laid out: "
    if len(features) < FEWEST or features.shape[1] < 2:
        raise LayoutError(
            f"{what}a map needs at least {FEWEST} texts and features of at least two dimensions."
        )
    x = np.asarray(features, dtype=float)
    if not np.isfinite(x).all():
        row = int(np.flatnonzero(~np.isfinite(x).all(1))[0])
        raise LayoutError(f"{what}row {row} is not finite; train again with a smaller rate.")
    distinct = len(np.unique(x, axis=0))
    size, spread = np.abs(x).max(), (x - x.mean(0)).std()
    if distinct < FEWEST:
        raise LayoutError(
            f"{what}only {distinct} rows differ, and a map needs at least {FEWEST} different ones; "
            "pass other texts, or see `diagnose` for a model that gives all texts the same."
        )
    if not max(SMALLEST, 1e-7 * size) < spread < LARGEST:
        raise LayoutError(
            f"{what}their standard deviation is {spread:.1e} at a size of up to {size:.1e}, which "
            "32 bits do not resolve; see `diagnose` for a model that gives all texts the same."
        )


def _umap(
    parts: Sequence[np.ndarray], pooled: np.ndarray, random_state: int, layout: str
) -> list[np.ndarray]:
    """Lay out all sets together, or each in a map of its own that is aligned with the others."""
    import torch

    ends = np.cumsum([len(part) for part in parts])[:-1]
    threads = torch.get_num_threads()
    searches = layout == "aligned_umap" and len(parts[0]) >= APPROXIMATE
    umap = _umap_module(searches)
    try:
        with warnings.catch_warnings():
            # With a fixed seed UMAP uses one thread, and warns of that each time.
            warnings.filterwarnings("ignore", message=".*n_jobs.*")
            if layout == "umap":
                near = min(15, len(pooled) - 1)
                warnings.filterwarnings("ignore", message=".*knn_search_index.*")
                reducer = umap.UMAP(
                    n_neighbors=near,
                    random_state=random_state,
                    n_jobs=1,
                    precomputed_knn=_neighbours(pooled, near),
                )
                return np.split(np.asarray(reducer.fit_transform(pooled)), ends)
            same = [{i: i for i in range(len(part))} for part in parts[:-1]]
            near = min(15, len(parts[0]) - 1)
            aligned = umap.AlignedUMAP(n_neighbors=near, random_state=random_state)
            aligned.fit([np.asarray(part) for part in parts], relations=same)
            return [np.asarray(points) for points in aligned.embeddings_]
    finally:
        # numba takes every core for OpenMP, which torch shares; training after a picture would
        # then run on more threads than the user allowed, and crawl if cores are few.
        torch.set_num_threads(threads)


@cache
def _umap_module(searches: bool) -> Any:
    """Import UMAP, of whose compiled code only that is compiled which is needed.

    At its import, pynndescent compiles its search for neighbours, which takes most of a minute in a
    new installation. A map whose neighbours are searched here does not need it.

    Parameters
    ----------
    searches : bool
        Whether UMAP has to search for neighbours itself.

    Raises
    ------
    ImportError
        If umap-learn is not installed.

    """
    try:
        config: Any = importlib.import_module("numba").config
    except ImportError as error:
        raise ImportError(
            "this picture needs umap-learn: pip install 'dann_transfer[plots]'"
        ) from error
    if searches or "pynndescent" in sys.modules:
        return importlib.import_module("umap")
    before, folder = config.DISABLE_JIT, config.CACHE_DIR
    try:
        config.DISABLE_JIT = True
        importlib.import_module("pynndescent")
        config.DISABLE_JIT = before
        config.CACHE_DIR = folder or str(cache_folder() / "numba")
        umap = importlib.import_module("umap")
        for place, name in (
            ("umap_", "smooth_knn_dist"),
            ("umap_", "compute_membership_strengths"),
            ("layouts", "_nb_optimize_layout_euclidean_single_epoch"),
        ):
            # Without a folder to write to, or in another release of UMAP, they are compiled in
            # each process.
            with suppress(AttributeError, RuntimeError, OSError):
                getattr(getattr(umap, place), name).enable_caching()
    finally:
        config.DISABLE_JIT, config.CACHE_DIR = before, folder
        # Whoever imports them later gets them compiled.
        for name in [*sys.modules]:
            if name.partition(".")[0] in ("umap", "pynndescent"):
                del sys.modules[name]
    return umap


def _neighbours(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Find each row's nearest rows, starting with itself, and their distances.

    UMAP would search for them with code that takes ten seconds to compile in each process, and for
    many rows approximately. Exact search takes seconds, even for several times as many rows.
    """
    from sklearn.neighbors import NearestNeighbors

    distances, rows = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x).kneighbors(x)
    return rows, distances


def keys(names: Sequence[str], classes: Sequence[Any], colour: str = "domain") -> list[Any]:
    """Return legend entries: a colour per domain and a marker per class, or the reverse.

    Where there are more classes than markers, all have the same, and no entries.
    """
    from matplotlib.lines import Line2D

    spot: dict[str, Any] = {"linestyle": "", "markersize": 7}
    coloured, marked = (names, classes) if colour == "domain" else (classes, names)
    entries = [
        Line2D([], [], color=shade, marker="o", label=plain(name), **spot)
        for name, shade in zip(coloured, PALETTES[colour], strict=False)
    ]
    if len(marked) <= len(MARKERS):
        entries += [
            Line2D([], [], color="grey", marker=marker, label=plain(name), **spot)
            for name, marker in zip(marked, MARKERS, strict=False)
        ]
    return entries


def legend_for(
    figure: Any, domains: Sequence[str], labels: Sequence[Any] | None, colour: str, columns: int
) -> None:
    """Add the legend of a map of texts below the panels of a figure, where it hides no points."""
    classes = [] if labels is None else np.unique(labels).tolist()
    entries = keys(list(dict.fromkeys(domains)), classes, colour)
    legend_below(figure, entries, columns, loc="outside lower center")


def _contours(ax: Axes, points: np.ndarray, colour: str) -> None:
    """Draw lines around the densest half of the points and around the densest nine tenths."""
    from scipy.ndimage import gaussian_filter

    counts, x, y = np.histogram2d(points[:, 0], points[:, 1], bins=80)
    density = gaussian_filter(np.pad(counts, 6), 2.5)
    steps = x[1] - x[0], y[1] - y[0]
    centres = [
        edges[0] + step * (np.arange(-6, 86) + 0.5)
        for edges, step in zip((x, y), steps, strict=True)
    ]
    ranked = np.sort(density.ravel())[::-1]
    inside = np.cumsum(ranked) / ranked.sum()
    levels = sorted({float(ranked[np.searchsorted(inside, share)]) for share in (0.9, 0.5)})
    ax.contour(
        *centres, density.T, levels=levels, colors=colour, linewidths=(1.0, 1.8)[: len(levels)]
    )


def feature_map(
    points: np.ndarray,
    domains: Sequence[str] | np.ndarray,
    labels: Sequence[Any] | np.ndarray | None = None,
    title: str = "",
    ax: Axes | None = None,
    legend: bool = True,
    colour: str = "domain",
    density: bool | None = None,
    limits: tuple[np.ndarray, np.ndarray] | None = None,
) -> Axes:
    """Scatter points (n, 2): the colour shows the domain, the marker shows the class.

    Points are drawn in a fixed random order, so that no domain hides the other. Where there are
    more classes than markers (ten), markers show nothing.

    Parameters
    ----------
    points : ndarray, shape (n, 2)
    domains : sequence of str, shape (n,)
        The first one is taken as the source.
    labels : sequence, shape (n,), optional
        Left out if some are None.
    title : str
    ax : Axes, optional
    legend : bool
    colour : {"domain", "class"}
        What the colour shows; the marker shows the other.
    density : bool, optional
        Draw lines around the densest half and nine tenths of the points of each colour. None
        draws them from 3,000 points upwards.
    limits : pair of ndarray, shapes (2,), optional
        Low and high ends of the map, by default those that `limits_of` finds. A point outside is
        drawn at the edge.

    """
    if labels is not None and any(label is None for label in labels):
        labels = None
    if colour not in list(PALETTES) or (colour == "class" and labels is None):
        raise ValueError(f"colour={colour!r} must be 'domain', or 'class' if there are labels.")
    domains = np.asarray(domains)
    names = list(dict.fromkeys(domains.tolist()))
    of_domain = np.array([names.index(name) for name in domains])
    of_class, classes = np.zeros(len(points), dtype=int), []
    if labels is not None:
        values, of_class = np.unique(np.asarray(labels), return_inverse=True)
        classes = values.tolist()
    coloured, marked = (of_domain, of_class) if colour == "domain" else (of_class, of_domain)
    count, palette = len(names) if colour == "domain" else len(classes), PALETTES[colour]
    if count > len(palette):
        what = "domains" if colour == "domain" else "classes"
        raise ValueError(f"there are {count} {what}; colours can show at most {len(palette)}.")
    if marked.max(initial=0) >= len(MARKERS):
        marked = np.zeros(len(points), dtype=int)
    (ax,) = axes_for(ax, 1, 5.5, 5.0)
    given, shared = points, limits is not None
    limits = limits or limits_of(points)
    points = points.clip(*limits)
    # Small blocks of each kind are drawn in turn: each marker needs its own call, and drawing all
    # of one kind last would make it look like the more frequent one.
    order = np.random.default_rng(0).permutation(len(points))
    size = float(np.clip(25_000 / max(len(points), 1), 3, 30))
    crowded = len(points) >= CROWDED if density is None else density
    for block in np.array_split(order, max(1, min(50, len(points) // 200))):
        for kind in np.unique(marked[block]):
            rows = block[marked[block] == kind]
            ax.scatter(
                points[rows, 0],
                points[rows, 1],
                c=[palette[i] for i in coloured[rows]],
                marker=MARKERS[kind],
                s=size,
                alpha=0.3 if crowded else 0.55,
                linewidths=0,
                rasterized=len(points) > CROWDED,
            )
    if crowded:
        for i in range(count):
            _contours(ax, points[coloured == i], palette[i])
    ax.set(xticks=[], yticks=[], title=title)
    if shared:
        x, y = ranges_of(limits)
        ax.set(xlim=x, ylim=y)
    else:
        # Only where limits are free can the axes have one scale.
        ax.set_aspect("equal", adjustable="datalim")
    outside = int((np.isfinite(given) & (given != points)).any(1).sum())
    if outside:
        said = "1 text lies" if outside == 1 else f"{outside} texts lie"
        ax.set_xlabel(f"{said} outside, drawn at the edge", fontsize="small", color="0.4")
    if legend:
        entries = keys(names, classes, colour)
        legend_below(ax, entries, 4, loc="upper center", bbox_to_anchor=(0.5, -0.01))
    return ax


def limits_of(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the low and high ends of a map, shapes (2,), which a few far points do not decide.

    Along each axis they are those of all points, unless a gap of more than a third of the map
    separates at most one in two hundred (or one of few) from the others. Fewer than fifty points
    all count.

    Parameters
    ----------
    points : ndarray, shape (n, 2)
        Rows that are not finite are left out.

    Examples
    --------
    >>> square = np.random.default_rng(0).uniform(size=(1000, 2))
    >>> [end.round(1).tolist() for end in limits_of(square)]
    [[0.0, 0.0], [1.0, 1.0]]
    >>> [end.round(1).tolist() for end in limits_of(np.append(square, [[9, 0.5]], axis=0))]
    [[0.0, 0.0], [1.0, 1.0]]

    """
    points = points[np.isfinite(points).all(1)]
    if not len(points):
        return np.zeros(2), np.ones(2)
    ends = [(_high(-axis), _high(axis)) for axis in points.T]
    return np.array([-low for low, _ in ends]), np.array([high for _, high in ends])


def _high(values: np.ndarray) -> float:
    """Return the largest value that no gap separates from the others."""
    ranked = np.sort(values)
    most = max(1, len(ranked) // 200) if len(ranked) >= 50 else 0
    size = ranked[-1 - most] - ranked[most]
    outer = ranked[-1 - most :]
    gaps = np.flatnonzero((np.diff(outer) > size / 3) & (size > 0))
    return float(outer[gaps[0]] if len(gaps) else outer[-1])


def ranges_of(limits: tuple[np.ndarray, np.ndarray]) -> list[list[float]]:
    """Return both ends of each axis of a map, with a margin around its limits."""
    low, high = limits
    margin = np.where(high > low, 0.05 * (high - low), 0.5)
    return np.stack([low - margin, high + margin], axis=1).tolist()

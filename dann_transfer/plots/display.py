"""Displays: pictures as objects, computed once, drawn with `plot` and read with `frame`.

As in scikit-learn, `plot` sets ``ax_`` and ``figure_`` and returns the display.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dann_transfer.adapter import DomainAdapter

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend

# Okabe and Ito's palette, which colour-blind readers can tell apart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# Classes are coloured from the third on: the first two are those of source and target.
CLASS_PALETTE = PALETTE[2:] + PALETTE[:2]

LONGEST_NAME = 48
"""Characters of a name in a picture; tables have it whole."""
LARGEST = 40.0
"""Inches of a picture's sides, however many classes, models or runs it shows."""

# One for each of several lines in a picture.
STYLES: list[dict[str, Any]] = [
    {"color": colour, "linestyle": line} for line in ("-", "--", "-.", ":") for colour in PALETTE
]


def axes_for(
    ax: Axes | Sequence[Axes] | None, n: int, width: float, height: float, stacked: bool = False
) -> list[Axes]:
    """Return the Axes that were passed, or n new ones, side by side or stacked on one x axis.

    New ones share a figure of at most `LARGEST` inches.

    Raises
    ------
    ValueError
        If the wrong number of Axes was passed.
    ImportError
        If matplotlib is not installed.

    """
    if ax is not None:
        axes = np.ravel(np.array(ax, dtype=object)).tolist()
        if len(axes) != n:
            raise ValueError(f"ax holds {len(axes)} Axes; this picture needs {n}.")
        return axes
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'dann_transfer[plots]'") from error
    rows, columns = (n, 1) if stacked else (1, n)
    size = min(width * columns, LARGEST), min(height * rows, LARGEST)
    _, grid = plt.subplots(
        rows, columns, figsize=size, sharex=stacked, squeeze=False, layout="constrained"
    )
    return list(grid.flat)


def named(adapters: DomainAdapter | Mapping[str, DomainAdapter]) -> dict[str, DomainAdapter]:
    """Return adapters by title; the title of a single one is its method."""
    for adapter in adapters.values() if isinstance(adapters, Mapping) else (adapters,):
        if (fitted := getattr(adapter, "fitted_", None)) is not None:
            fitted.refuse_several("a picture")
    if not isinstance(adapters, Mapping):
        if hasattr(adapters, "predict_proba"):
            return {str(getattr(adapters, "params_", {}).get("method", adapters.method)): adapters}
        raise TypeError(
            f"a {type(adapters).__name__} is neither an adapter nor a mapping from title to "
            "adapter, such as {'source only': before, 'adapted': after}."
        )
    if not adapters:
        raise ValueError("the mapping holds no adapter; there is nothing to draw.")
    return dict(adapters)


def shortened(name: Any) -> str:
    """Return a name of at most `LONGEST_NAME` characters: its beginning and its end.

    Examples
    --------
    >>> shortened("card payment not recognised, reported by telephone and again by letter")
    'card payment not recognised, …nd again by letter'

    """
    text = str(name)
    if len(text) <= LONGEST_NAME:
        return text
    end = LONGEST_NAME * 3 // 8
    return f"{text[: LONGEST_NAME - end - 1]}…{text[-end:]}"


def plain(text: Any) -> str:
    """Return a name, shortened, that matplotlib draws as it is: between dollars it reads formulas.

    Examples
    --------
    >>> print(plain("$ 5"))
    \\$ 5

    """
    return shortened(text).replace("$", r"\$")


def legend_below(holder: Any, entries: Sequence[Any], columns: int, **place: Any) -> Legend:
    """Add a legend to a figure or Axes, in as many columns as fit into the figure's width."""
    figure = holder if hasattr(holder, "add_subplot") else holder.figure
    for n in range(min(len(entries), columns), 0, -1):
        legend: Legend = holder.legend(handles=entries, ncols=n, frameon=False, **place)
        if n == 1 or legend.get_window_extent().width <= figure.bbox.width:
            break
        legend.remove()
    return legend


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

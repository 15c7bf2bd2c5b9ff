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

# Okabe and Ito's palette, which colour-blind readers can tell apart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# Classes are coloured from the third on: the first two are those of source and target.
CLASS_PALETTE = PALETTE[2:] + PALETTE[:2]


def axes_for(
    ax: Axes | Sequence[Axes] | None, n: int, width: float, height: float, stacked: bool = False
) -> list[Axes]:
    """Return the Axes that were passed, or n new ones, side by side or stacked on one x axis.

    Raises
    ------
    ValueError
        If the wrong number of Axes was passed.
    ImportError
        If matplotlib is not installed.

    """
    if ax is not None:
        axes = list(ax) if isinstance(ax, Sequence | np.ndarray) else [ax]
        if len(axes) != n:
            raise ValueError(f"ax holds {len(axes)} Axes; this picture needs {n}.")
        return axes
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'dann_transfer[plots]'") from error
    rows, columns = (n, 1) if stacked else (1, n)
    size = (width * columns, height * rows)
    _, grid = plt.subplots(
        rows, columns, figsize=size, sharex=stacked, squeeze=False, layout="constrained"
    )
    return list(grid.flat)


def named(adapters: DomainAdapter | Mapping[str, DomainAdapter]) -> dict[str, DomainAdapter]:
    """Return adapters by title; the title of a single one is its method."""
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

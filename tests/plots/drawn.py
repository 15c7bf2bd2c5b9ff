"""What was drawn on an Axes."""

from __future__ import annotations

import numpy as np


def drawn(ax) -> dict[tuple, int]:
    """Count points by colour."""
    counts: dict[tuple, int] = {}
    for collection in ax.collections:
        colours = collection.get_facecolors()
        for i in range(len(collection.get_offsets())):
            key = tuple(np.round(colours[i % len(colours)][:3], 3).tolist())
            counts[key] = counts.get(key, 0) + 1
    return counts


def rgb(colour: str) -> tuple:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))

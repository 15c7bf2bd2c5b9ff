"""What auto keeps, from stored outputs: `auto.py`."""

from __future__ import annotations

from statistics import mean

import auto
import numpy as np
from boards import pairs
from tables import lower_bound, of_board, of_pair, read


def tables() -> dict[str, str]:
    return {"auto": auto.table(read("auto"))}


def figures() -> dict[str, str]:
    """What auto gains with the small encoder on sentiment, and on texts drawn anew."""
    anew = [100 * r["gain"] for r in read("splits_auto")]
    small = [r for r in of_board(read("auto"), "sentiment") if r["encoder"] == "minilm"]
    gains = [np.array([100 * r["gain"] for r in of_pair(small, p)]) for p in pairs("sentiment")]
    lost = [-100 * r["gain"] for r in small if r["gain"] < 0]
    return {
        "anew": f"{mean(anew):.1f}",
        "anew_worst": f"{-min(anew):.1f}",
        "lost": str(len(lost)),
        "runs": str(len(small)),
        "worst": f"{max(lost):.1f}",
        "worst_pair": f"{-min(group.mean() for group in gains):.1f}",
        "shown": str(sum(lower_bound(group) > -0.5 for group in gains)),
    }

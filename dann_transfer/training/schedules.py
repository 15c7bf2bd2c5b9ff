"""How strength and learning rates grow: pure functions of progress, which runs from 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Callable


def dann(progress: float, gamma: float = 10.0) -> float:
    """Grow from 0 to 1 as ``2 / (1 + exp(-gamma * progress)) - 1``.

    Reference: Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 2016, section 5.2.

    Examples
    --------
    >>> dann(0.0), round(dann(0.5), 3), round(dann(1.0), 3)
    (0.0, 0.987, 1.0)

    """
    return 2.0 / (1.0 + math.exp(-gamma * progress)) - 1.0


def linear(progress: float) -> float:
    """Grow from 0 to 1 in proportion to progress.

    Examples
    --------
    >>> linear(0.25)
    0.25

    """
    return min(max(progress, 0.0), 1.0)


def constant(progress: float) -> float:
    """Stay at 1 from the first step.

    Examples
    --------
    >>> constant(0.0)
    1.0

    """
    return 1.0


def warmup_decay(progress: float, warmup: float = 0.1) -> float:
    """Rise linearly to 1 over the first `warmup` share of the run, then fall linearly to 0.

    Examples
    --------
    >>> [round(warmup_decay(p), 2) for p in (0.0, 0.05, 0.1, 0.55, 1.0)]
    [0.0, 0.5, 1.0, 0.5, 0.0]

    """
    if progress < warmup:
        return progress / warmup
    return max(0.0, (1.0 - progress) / (1.0 - warmup))


STRENGTH: dict[str, Callable[[float], float]] = {
    "dann": dann,
    "linear": linear,
    "constant": constant,
}

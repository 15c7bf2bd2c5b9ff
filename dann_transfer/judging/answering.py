"""Which class a model answers with: the likeliest, or the median where the classes are ordered."""

from __future__ import annotations

import numpy as np


def answered(p: np.ndarray, ranks: np.ndarray | None = None) -> np.ndarray:
    """Return the position of the class that each text is answered with, shape (n,).

    Parameters
    ----------
    p : ndarray, shape (n, classes)
        Probabilities.
    ranks : ndarray of int, shape (classes,), optional
        The rank of each class, from 0 for the lowest. The answer is then the median class, the
        lowest up to which at least half of the probability lies: no other answer has a smaller
        expected error in steps between classes. Without ranks it is the likeliest class.

    Examples
    --------
    >>> p = np.array([[0.4, 0.25, 0.35]])
    >>> answered(p).tolist(), answered(p, np.array([0, 1, 2])).tolist()
    ([0], [1])

    """
    if ranks is None:
        return np.asarray(p.argmax(1))
    order = ranks.argsort()
    # Rounding must not leave a row below one half at its last class.
    mass = p[:, order].cumsum(1)
    return np.asarray(order[(mass >= mass[:, -1:] / 2).argmax(1)])


def confidence_of(p: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Return the probability of each text's answer, a class position, shape (n,).

    Examples
    --------
    >>> confidence_of(np.array([[0.4, 0.25, 0.35]]), np.array([1])).tolist()
    [0.25]

    """
    return np.asarray(np.take_along_axis(p, answers[:, None], axis=1)[:, 0])


def in_order(positions: np.ndarray, ranks: np.ndarray | None) -> np.ndarray:
    """Return the ranks of class positions, or the positions themselves without an order.

    Scores of order compare ranks; all others are the same for both.

    Examples
    --------
    >>> in_order(np.array([0, 1]), np.array([2, 0, 1])).tolist(), in_order(np.array([1]), None)
    ([2, 0], array([1]))

    """
    return positions if ranks is None else ranks[positions]

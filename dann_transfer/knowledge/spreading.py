"""Spread what is known about some nodes of a graph along its edges."""

from __future__ import annotations

from typing import Any

import numpy as np

RESTART = 0.15
"""The share of a node's result that is its own, and of each neighbour's what is its own, and so on:
the usual one of PageRank."""


def transitions(
    heads: np.ndarray, tails: np.ndarray, opposite: np.ndarray, nodes: int, signed: bool
) -> Any:
    """Return the walk along edges in both directions, a sparse matrix, shape (nodes, nodes).

    Each row adds up to 1, or is empty for a node without edges; several edges between two nodes
    count as one for each. A node's edge to itself is left out.

    Parameters
    ----------
    heads, tails : ndarray of int, shape (edges,)
    opposite : ndarray of bool, shape (edges,)
        Which edges join opposites; if `signed`, they are negative.
    nodes : int
    signed : bool

    """
    from scipy.sparse import csr_array

    kept = heads != tails
    heads, tails, opposite = heads[kept], tails[kept], opposite[kept]
    degree = np.bincount(np.concatenate([heads, tails]), minlength=nodes)
    signs = np.where(opposite & signed, -1.0, 1.0).astype(np.float32)
    rows, columns = np.concatenate([heads, tails]), np.concatenate([tails, heads])
    weights = np.concatenate([signs, signs]) / degree[rows]
    return csr_array((weights.astype(np.float32), (rows, columns)), shape=(nodes, nodes))


def spread(
    walk: Any, seeds: np.ndarray, restart: float = RESTART, tolerance: float = 1e-3
) -> np.ndarray:
    """Return the mean of seeds over where walks from each node end: personalised PageRank.

    A walk ends at each node with the probability `restart`, and otherwise goes along an edge.

    Parameters
    ----------
    walk : sparse matrix, shape (nodes, nodes)
        As `transitions` returns it.
    seeds : ndarray, shape (nodes, columns)
    restart : float
    tolerance : float
        It ends once what is left to add is at most this share of the seeds.

    Returns
    -------
    ndarray of float32, shape (nodes, columns)

    References
    ----------
    Page et al., The PageRank Citation Ranking, 1999; Gasteiger et al., Predict then Propagate:
    Graph Neural Networks Meet Personalized PageRank, ICLR 2019.

    Examples
    --------
    >>> walk = transitions(np.array([0, 1]), np.array([1, 2]), np.array([False, True]), 3, True)
    >>> values = spread(walk, np.array([[1.0], [0.0], [0.0]]), restart=0.5)
    >>> values.ravel().astype(float).round(2).tolist()
    [0.58, 0.17, -0.08]

    """
    step = (restart * seeds).astype(np.float32)
    total = step.copy()
    for _ in range(int(np.ceil(np.log(tolerance) / np.log1p(-restart)))):
        step = np.float32(1 - restart) * (walk @ step)
        total += step
    return total


def returning(walk: Any, restart: float = RESTART) -> np.ndarray:
    """Return how much of a node's seed is in its own result divided by `restart`, shape (nodes,).

    Besides the seed itself these are walks that come back. Those that come back in two steps, once
    or several times, are counted, and longer ways round, which carry little, are not.

    Parameters
    ----------
    walk : sparse matrix, shape (nodes, nodes)
    restart : float

    Examples
    --------
    >>> walk = transitions(np.array([0]), np.array([1]), np.array([False]), 2, True)
    >>> whole = spread(walk, np.array([[1.0], [0.0]]), restart=0.5, tolerance=1e-6)[0] / 0.5
    >>> whole.round(3).item() == returning(walk, restart=0.5)[0].round(3).item()
    True

    """
    back = np.asarray(walk.multiply(walk.T).sum(1)).ravel()
    return np.asarray(1 / (1 - (1 - restart) ** 2 * back), dtype=np.float32)

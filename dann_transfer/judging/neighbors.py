"""Average predictions over the nearest texts of the target, without any training.

If the domains differ, the head is affected more than the features: texts that mean the same are
still close together, and outvote those among them that fell on the wrong side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_TEXTS = 20_000
"""At most this many target texts are kept to search for neighbours."""


def nearest(queries: np.ndarray, texts: np.ndarray, k: int) -> np.ndarray:
    """Return the positions of the k texts with the most similar directions, shape (queries, k)."""
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(texts)
    return np.asarray(index.kneighbors(queries, return_distance=False))


def spread(
    features: np.ndarray,
    probabilities: np.ndarray,
    k: int | np.ndarray,
    share: float = 0.9,
    rounds: int = 30,
) -> np.ndarray:
    """Average each text's probabilities with those of its neighbours, repeatedly.

    Each round takes `share` from the mean of the k nearest texts and the rest from the text's own
    initial probabilities.

    Parameters
    ----------
    features : ndarray, shape (n, width)
    probabilities : ndarray, shape (n, classes)
    k : int or ndarray of int, shape (n,)
        Number of neighbours of a text, not counting itself; n - 1 if there are fewer. A text with
        0 keeps its probabilities.
    share : float
    rounds : int

    Returns
    -------
    ndarray, shape (n, classes)

    References
    ----------
    Zhou et al., Learning with Local and Global Consistency, NIPS 2003.

    Examples
    --------
    >>> x = np.array([[1, 0], [1, 0.1], [1, 0.2], [0, 1], [0.1, 1], [0.2, 1]])
    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
    >>> spread(x, p, k=2).argmax(1).tolist()
    [0, 0, 0, 1, 1, 1]

    """
    n = len(features)
    each = np.broadcast_to(np.minimum(k, n - 1), n)
    most = int(each.max(initial=0))
    if most < 1:
        return probabilities
    # With copies of a text another one may come first, so the text itself is searched for.
    rows = nearest(features, features, most + 1)
    places = np.stack([row[row != i][:most] for i, row in enumerate(rows)])
    alone = (each == 0)[:, None]
    smooth = probabilities
    for _ in range(rounds):
        means = _means(smooth, places, each)
        smooth = np.where(alone, probabilities, (1 - share) * probabilities + share * means)
    return smooth


def _means(values: np.ndarray, places: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Return the mean of the values at the first k places of each row, shape (rows, width)."""
    if (k == places.shape[1]).all():
        return np.asarray(values[places].mean(1))
    weights = (np.arange(places.shape[1]) < k[:, None]) / np.maximum(k, 1)[:, None]
    return np.asarray(np.einsum("ij,ijc->ic", weights, values[places]))


MOST = 10
"""The most neighbours of a text: with more, nothing was gained."""
OF_CLASS = 4
"""A text has at most one in so many of its class as neighbours: ten outvote a class of eight."""
SLACK = 0.2
"""How far the share of a class among the labels may move from its share of the predictions."""
SMALL = 4 * MOST
"""A class of fewer texts is small."""
SUREST = 0.5
"""The share of a small class's surest texts that keep their label."""


def neighbors_by_class(probabilities: np.ndarray) -> np.ndarray:
    """Return over how many neighbours to average each text, shape (n,).

    Examples
    --------
    >>> p = np.array([[1.0, 0.0]] * 100 + [[0.0, 1.0]] * 8)
    >>> neighbors_by_class(p)[[0, -1]].tolist()
    [10, 2]

    """
    sizes = probabilities.sum(0)[probabilities.argmax(1)]
    return np.clip(sizes // OF_CLASS, 0, MOST).astype(int)


def with_shares(
    probabilities: np.ndarray, shares: np.ndarray, slack: float = SLACK, rounds: int = 100
) -> np.ndarray:
    """Weigh the columns of probabilities so that each class keeps about the share it had.

    Parameters
    ----------
    probabilities : ndarray, shape (n, classes)
    shares : ndarray, shape (classes,)
    slack : float
        How far a share may be from the wanted one, as a part of it.
    rounds : int

    References
    ----------
    Cuturi, Sinkhorn Distances: Lightspeed Computation of Optimal Transport, NIPS 2013, whose
    alternating scaling this is, with room on one side.

    Examples
    --------
    >>> p = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]])
    >>> with_shares(p, np.array([0.5, 0.5]), slack=0.0).mean(0).round(2).tolist()
    [0.5, 0.5]

    """
    weights = np.ones(probabilities.shape[1])
    for _ in range(rounds):
        weighed = probabilities * weights
        weighed = weighed / weighed.sum(1, keepdims=True)
        means = weighed.mean(0)
        weights *= np.clip(means, shares * (1 - slack), shares * (1 + slack)) / np.maximum(
            means, 1e-12
        )
    weighed = probabilities * weights
    return np.asarray(weighed / weighed.sum(1, keepdims=True))


def keep_surest(
    labels: np.ndarray, probabilities: np.ndarray, share: float = SUREST, small: int = SMALL
) -> np.ndarray:
    """Give small classes back the surest of the texts that they have lost to neighbours.

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
    probabilities : ndarray, shape (n, classes)
        Of the model whose labels were averaged.
    share : float
        The share of a class's texts that it keeps at least.
    small : int
        The number of texts up to which a class is small.

    Examples
    --------
    >>> p = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
    >>> keep_surest(np.array([0, 0, 0]), p).tolist()
    [0, 1, 0]

    """
    labels, before = labels.copy(), probabilities.argmax(1)
    for code in np.unique(before):
        rows = np.flatnonzero(before == code)
        fewest = int(np.ceil(share * len(rows)))
        if len(rows) <= small and (labels == code).sum() < fewest:
            surest = np.argsort(-probabilities[rows, code], kind="stable")[:fewest]
            labels[rows[surest]] = code
    return labels


@dataclass(frozen=True)
class Neighborhood:
    """The target texts of a fit, as neighbours of new texts.

    Attributes
    ----------
    features : ndarray, shape (n, width)
    probabilities : ndarray, shape (n, classes)
        As `spread` returns them.

    """

    features: np.ndarray
    probabilities: np.ndarray

    @classmethod
    def of(
        cls, features: np.ndarray, probabilities: np.ndarray, k: int | np.ndarray
    ) -> Neighborhood:
        """Use the texts of a fit, at most the first `MAX_TEXTS` of them."""
        features, probabilities = features[:MAX_TEXTS], probabilities[:MAX_TEXTS]
        k = k if isinstance(k, int) else k[:MAX_TEXTS]
        return cls(features, spread(features, probabilities, k))

    def smooth(
        self,
        features: np.ndarray,
        probabilities: np.ndarray,
        k: int | np.ndarray,
        share: float = 0.9,
    ) -> np.ndarray:
        """Average the probabilities of other texts with their neighbours', shape (n, classes).

        A text's result does not depend on the texts that it is predicted with.
        """
        each = np.broadcast_to(np.minimum(k, len(self.features)), len(features))
        most = int(each.max(initial=0))
        if most < 1:
            return probabilities
        means = _means(self.probabilities, nearest(features, self.features, most), each)
        mixed = (1 - share) * probabilities + share * means
        return np.where((each == 0)[:, None], probabilities, mixed)

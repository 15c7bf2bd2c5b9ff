"""Average predictions over the nearest texts of the target, without any training.

If the domains differ, the head is affected more than the features: texts that mean the same are
still close together, and outvote those among them that fell on the wrong side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_TEXTS = 20_000
"""At most this many target texts are kept to search for neighbours."""


def _nearest(queries: np.ndarray, texts: np.ndarray, k: int) -> np.ndarray:
    """Return the positions of the k texts with the most similar directions, shape (queries, k)."""
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(texts)
    return np.asarray(index.kneighbors(queries, return_distance=False))


def spread(
    features: np.ndarray, probabilities: np.ndarray, k: int, share: float = 0.9, rounds: int = 30
) -> np.ndarray:
    """Average each text's probabilities with those of its neighbours, repeatedly.

    Each round takes `share` from the mean of the k nearest texts and the rest from the text's own
    initial probabilities.

    Parameters
    ----------
    features : ndarray, shape (n, width)
    probabilities : ndarray, shape (n, classes)
    k : int
        Number of neighbours of a text, not counting itself; n - 1 if there are fewer.
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
    k = min(k, n - 1)
    if k < 1:
        return probabilities
    # With copies of a text another one may come first, so the text itself is searched for.
    nearest = _nearest(features, features, k + 1)
    places = np.stack([row[row != i][:k] for i, row in enumerate(nearest)])
    smooth = probabilities
    for _ in range(rounds):
        smooth = (1 - share) * probabilities + share * smooth[places].mean(1)
    return smooth


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
    def of(cls, features: np.ndarray, probabilities: np.ndarray, k: int) -> Neighborhood:
        """Use the texts of a fit, at most the first `MAX_TEXTS` of them."""
        features, probabilities = features[:MAX_TEXTS], probabilities[:MAX_TEXTS]
        return cls(features, spread(features, probabilities, k))

    def smooth(
        self, features: np.ndarray, probabilities: np.ndarray, k: int, share: float = 0.9
    ) -> np.ndarray:
        """Average the probabilities of other texts with their neighbours', shape (n, classes).

        A text's result does not depend on the texts that it is predicted with.
        """
        places = _nearest(features, self.features, min(k, len(self.features)))
        around = self.probabilities[places].mean(1)
        return np.asarray((1 - share) * probabilities + share * around)

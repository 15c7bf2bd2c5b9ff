"""Make good use of a few target labels: choose texts to label, and spread the labels to others.

A label is most informative where the model is uncertain and there are many other texts.
"""

from __future__ import annotations

from numbers import Integral

import numpy as np
from scipy.stats import entropy

from dann_transfer.judging.arrays import check_rows, positions_of
from dann_transfer.judging.neighbors import spread

ROUNDING = 1e-5
"""Directions of copies of a text differ by less in each dimension."""
MANY = 500
"""With more clusters, k-means would take their number times that of the texts in each round, so it
halves clusters instead, which takes its logarithm."""


def suggest(
    features: np.ndarray, probabilities: np.ndarray, n: int, random_state: int = 0, k: int = 10
) -> np.ndarray:
    """Choose the texts that are most worth labelling.

    k-means divides the directions of the features into n clusters. A text is weighted by its
    uncertainty (the entropy of its probabilities, spread over neighbours) and by the number of its
    copies, and the text nearest to the centre of each cluster is taken. Copies are taken only after
    all distinct texts. No label is used.

    Parameters
    ----------
    features : ndarray, shape (n_texts, width)
    probabilities : ndarray, shape (n_texts, classes)
    n : int
        How many texts to choose.
    random_state : int
        Seeds k-means.
    k : int
        Number of neighbours that a text's probabilities are spread over.

    Returns
    -------
    ndarray of int, shape (n,)
        Distinct positions, ordered by the weight of their clusters, largest first.

    Raises
    ------
    ValueError
        If n is less than 1 or more than the number of texts, if the shapes do not match, or if
        `probabilities` holds none.

    References
    ----------
    Prabhu et al., Active Domain Adaptation via Clustering Uncertainty-weighted Embeddings,
    ICCV 2021.

    Examples
    --------
    >>> x = np.array([[1, 0], [1, 0.1], [1, 0.2], [0, 1], [0.1, 1], [0.2, 1]])
    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.9, 0.1], [0.4, 0.6], [0.5, 0.5], [0.4, 0.6]])
    >>> suggest(x, p, n=2, k=2).tolist()
    [4, 1]

    """
    from sklearn.preprocessing import normalize

    check_rows(features, probabilities)
    if not isinstance(n, Integral) or isinstance(n, bool) or not 1 <= n <= len(features):
        raise ValueError(
            f"n={n!r} texts to label out of {len(features)}; n must be a whole number of at least "
            "1 and at most the number of texts."
        )
    directions = normalize(features)
    groups = _copies(directions)
    first = np.unique(groups, return_index=True)[1]
    # Certain texts weigh less but not nothing: a model can be certain of a cluster, and wrong.
    weights = entropy(spread(features[first], probabilities[first], k), axis=1) + 0.1
    weights = weights * np.bincount(groups)
    if n < len(first):
        return np.asarray(first[_central(directions[first], weights, n, random_state)])
    # All distinct texts, then second copies, and so on.
    order = np.argsort(groups, kind="stable")
    rank = np.empty(len(groups), dtype=int)
    rank[order] = np.arange(len(groups)) - np.repeat(
        np.searchsorted(groups[order], np.arange(len(first))), np.bincount(groups)
    )
    return np.lexsort((-weights[groups], rank))[:n]


def _copies(directions: np.ndarray) -> np.ndarray:
    """Return a number for each text, shape (n,), the same for those of the same direction.

    Copies of a text differ by rounding, because they passed in batches of other lengths. They are
    next to each other in the order of any projection.
    """
    probe = np.random.default_rng(0).normal(size=directions.shape[1])
    order = np.argsort(directions @ probe, kind="stable")
    new = np.abs(np.diff(directions[order], axis=0)).max(1) > ROUNDING
    groups = np.empty(len(directions), dtype=int)
    groups[order] = np.concatenate([[0], np.cumsum(new)])
    return groups


def _central(x: np.ndarray, weights: np.ndarray, n: int, random_state: int) -> np.ndarray:
    """Return the row nearest to the centre of each of n clusters, the heaviest cluster first."""
    from sklearn.cluster import BisectingKMeans, KMeans

    kind, tries = (KMeans, 3) if n <= MANY else (BisectingKMeans, 1)
    clusters = kind(n, n_init=tries, random_state=random_state).fit(x, sample_weight=weights)
    distances = ((x - clusters.cluster_centers_[clusters.labels_]) ** 2).sum(1)
    # Of each cluster the nearest row, which is the first of it in this order.
    order = np.lexsort((distances, clusters.labels_))
    names, places = np.unique(clusters.labels_[order], return_index=True)
    mass = np.bincount(clusters.labels_, weights, minlength=n)[names]
    return np.asarray(order[places][np.argsort(-mass, kind="stable")])


def spread_labels(
    features: np.ndarray,
    probabilities: np.ndarray,
    positions: np.ndarray,
    codes: np.ndarray,
    k: int = 10,
) -> np.ndarray:
    """Correct the probabilities of all texts with the labels of a few.

    First probabilities are spread over neighbours. The difference between the labels and these
    probabilities is then predicted for every text by a kernel ridge regression on the directions of
    the features, and added. A text far from all labelled ones keeps its probabilities.

    To predict new texts, pass the result on to
    ``Neighborhood(features, result).smooth(new_features, new_probabilities, k)``.

    Parameters
    ----------
    features : ndarray, shape (n_texts, width)
    probabilities : ndarray, shape (n_texts, classes)
    positions : ndarray of int, shape (n,)
        Which texts are labelled, each once.
    codes : ndarray of int, shape (n,)
        Their class positions.
    k : int
        Number of neighbours of a text.

    Returns
    -------
    ndarray, shape (n_texts, classes)
        Probabilities; that of a labelled text is 1 for its label.

    Raises
    ------
    ValueError
        If there is no text or no class at a position, a text is labelled twice, the numbers of
        labels and positions differ, shapes do not match, or `probabilities` holds none.

    References
    ----------
    Huang et al., Combining Label Propagation and Simple Models Out-performs Graph Neural Networks,
    ICLR 2021, for correcting a model by its residuals.

    Examples
    --------
    >>> x = np.array([[1, 0], [1, 0.1], [1, 0.2], [0, 1], [0.1, 1], [0.2, 1]])
    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.6, 0.4]])
    >>> spread_labels(x, p, np.array([4, 1]), np.array([1, 0]), k=2).argmax(1).tolist()
    [0, 0, 0, 1, 1, 1]

    """
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.preprocessing import normalize

    check_rows(features, probabilities)
    positions = positions_of("positions", positions, len(features), "texts")
    codes = positions_of("codes", codes, probabilities.shape[1], "classes")
    if len(positions) != len(codes):
        raise ValueError(
            f"got {len(positions)} positions and {len(codes)} codes; pass one code per position."
        )
    twice = np.flatnonzero(np.bincount(positions) > 1)
    if len(twice):
        raise ValueError(f"text {twice[0]} is labelled more than once; pass each position once.")
    smooth = spread(features, probabilities, k)
    if not len(positions):
        return smooth
    truth = np.eye(probabilities.shape[1])[codes]
    directions = normalize(features)
    # A linear kernel would carry corrections from uncertain texts over to all certain ones.
    ridge = KernelRidge(alpha=0.1, kernel="rbf", gamma=2.0)
    ridge.fit(directions[positions], truth - smooth[positions])
    corrected = (smooth + ridge.predict(directions)).clip(min=0)
    corrected[positions] = truth
    return np.asarray(corrected / corrected.sum(1, keepdims=True))

"""A few labels of the target, spent well: which texts to label, and what the labels say of others.

A label tells most where the model is unsure and many other texts lie.
"""

from __future__ import annotations

import warnings
from numbers import Integral

import numpy as np
from scipy.stats import entropy

from dann_transfer.neighbors import spread


def _check(features: np.ndarray, probabilities: np.ndarray) -> None:
    if features.ndim != 2 or probabilities.ndim != 2 or len(features) != len(probabilities):
        raise ValueError(
            f"features of shape {features.shape} and probabilities of shape {probabilities.shape} "
            "do not go together; pass one row a text of each, as adapter.outputs(texts) gives them."
        )


def suggest(
    features: np.ndarray, probabilities: np.ndarray, n: int, random_state: int = 0, k: int = 10
) -> np.ndarray:
    """Choose the texts that are most worth a label.

    k-means divides the directions of the features into n clusters. A text weighs as much as it is
    uncertain (the entropy of its probabilities, spread over neighbours), and of each cluster the
    text nearest to the centre is taken. No label enters.

    Parameters
    ----------
    features : ndarray, shape (n_texts, width)
    probabilities : ndarray, shape (n_texts, classes)
    n : int
        How many texts to choose.
    random_state : int
        Seeds k-means.
    k : int
        Neighbours of a text that its probabilities are spread over.

    Returns
    -------
    ndarray of int, shape (n,)
        Distinct positions; those whose clusters weigh most come first.

    Raises
    ------
    ValueError
        If n is less than 1 or more than there are texts, or if the shapes do not go together.

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
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.preprocessing import normalize

    _check(features, probabilities)
    if not isinstance(n, Integral) or not 1 <= n <= len(features):
        raise ValueError(
            f"n={n!r} texts to label of {len(features)}; n must be a whole number of at least 1 "
            "and at most the number of texts."
        )
    directions = normalize(features)
    # Sure texts weigh less but not nothing: a model can be sure of a whole cluster, and wrong.
    weights = entropy(spread(features, probabilities, k), axis=1) + 0.1
    clusters = KMeans(n, n_init=3, random_state=random_state)
    with warnings.catch_warnings():
        # Copies of a text may leave fewer distinct ones than clusters; the texts chosen for the
        # clusters that are left over are the next nearest.
        warnings.simplefilter("ignore", ConvergenceWarning)
        distances = clusters.fit(directions, sample_weight=weights).transform(directions)
    mass = np.bincount(clusters.labels_, weights, minlength=n)
    positions = []
    for cluster in np.argsort(-mass, kind="stable"):
        positions.append(int(distances[:, cluster].argmin()))
        distances[positions[-1]] = np.inf
    return np.array(positions)


def spread_labels(
    features: np.ndarray,
    probabilities: np.ndarray,
    positions: np.ndarray,
    codes: np.ndarray,
    k: int = 10,
) -> np.ndarray:
    """Correct the probabilities of all texts by the labels of a few.

    First probabilities are spread over neighbours. What the labels differ from them by is then
    predicted for every text by a kernel ridge regression on the directions of the features, and
    added. A text far from all that are labelled keeps its probabilities.

    To predict texts to come, pass the result on to
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
        Neighbours of a text.

    Returns
    -------
    ndarray, shape (n_texts, classes)
        Probabilities; a labelled text has its label.

    Raises
    ------
    ValueError
        If there is no text or no class of that position, a text is labelled twice, there are not
        as many labels as positions, or shapes do not go together.

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

    _check(features, probabilities)
    positions = _whole("positions", positions, len(features), "texts")
    codes = _whole("codes", codes, probabilities.shape[1], "classes")
    if len(positions) != len(codes):
        raise ValueError(
            f"{len(positions)} positions and {len(codes)} codes; pass one code a position."
        )
    twice = np.flatnonzero(np.bincount(positions) > 1)
    if len(twice):
        raise ValueError(f"text {twice[0]} is labelled more than once; pass each position once.")
    smooth = spread(features, probabilities, k)
    if not len(positions):
        return smooth
    truth = np.eye(probabilities.shape[1])[codes]
    directions = normalize(features)
    # A linear kernel would carry what labels of uncertain texts correct over to all sure ones.
    ridge = KernelRidge(alpha=0.1, kernel="rbf", gamma=2.0)
    ridge.fit(directions[positions], truth - smooth[positions])
    corrected = (smooth + ridge.predict(directions)).clip(min=0)
    corrected[positions] = truth
    return np.asarray(corrected / corrected.sum(1, keepdims=True))


def _whole(name: str, values: np.ndarray, end: int, of: str) -> np.ndarray:
    """Return whole numbers of a list as an array, if each is a position among `end`."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}; pass a flat list of whole numbers.")
    if not array.size:
        return array.astype(int)
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name} has values of type {array.dtype}; pass whole numbers.")
    wrong = array[(array < 0) | (array >= end)]
    if wrong.size:
        raise ValueError(
            f"{name} has {wrong[0]}, but there are {end} {of}; pass whole numbers from 0 to "
            f"{end - 1}."
        )
    return array

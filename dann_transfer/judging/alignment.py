"""Map the target's features onto the source's after training, with one affine map in closed form.

The map is the optimal transport between two Gaussians: it gives the target's features the mean and
the covariance of the source's, and moves them no further than that needs. The domains may differ in
their class shares, and a map that gave the target the source's shares too would move texts from one
class to another. So the moments are weighted such that every class counts as much in both domains:
the source by its labels, the target by its predictions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dann_transfer.ground.notices import warn
from dann_transfer.ground.settings import FEWEST_ALIGNED
from dann_transfer.judging.arrays import features_of, one_each, probabilities_of, weights_of

RIDGE = 0.1
"""What is added to each direction's variance, as a share of the mean variance: few texts say
little about the directions in which features hardly vary."""
DOUBT = 10.0
"""A class with so many texts counts half, because its moments are uncertain."""
REMEDY = "set align=None, or pass more and other target texts."


class AlignmentWarning(UserWarning):
    """Features are not mapped though `align` is set, or the map rests on few texts."""


class Moments(NamedTuple):
    """Mean and covariance of a domain's features."""

    mean: np.ndarray
    """Shape (width,)."""
    covariance: np.ndarray
    """Shape (width, width)."""


@dataclass(frozen=True)
class AffineMap:
    """A map of features: ``x @ matrix + offset``.

    Attributes
    ----------
    matrix : ndarray, shape (width, width), float32
        Symmetric.
    offset : ndarray, shape (width,), float32

    """

    matrix: np.ndarray
    offset: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return the mapped features, shape (n, width).

        Examples
        --------
        >>> AffineMap(np.eye(2), np.ones(2))(np.zeros((1, 2))).tolist()
        [[1.0, 1.0]]

        """
        return np.asarray(features @ self.matrix + self.offset)


def class_weights(
    source: np.ndarray, target: np.ndarray, doubt: float = DOUBT
) -> tuple[np.ndarray, np.ndarray]:
    """Weigh the texts of two domains so that every class has the same mass in both.

    A class has the mean of its two shares. Of that it keeps ``n / (n + doubt)``, where n is the
    number of its texts in the domain with fewer; the rest goes to all classes in proportion, which
    shrinks a small class towards the pooled texts.

    Parameters
    ----------
    source, target : ndarray, shapes (n, classes) and (m, classes)
        How much of each text belongs to each class: labels as rows of 0 and one 1, or
        probabilities. Rows may be multiplied by weights of the texts.
    doubt : float
        The number of texts with which a class keeps half of its mass.

    Returns
    -------
    tuple of ndarray, shapes (n,) and (m,)
        Weights that sum to 1 in each domain.

    Examples
    --------
    >>> even, lopsided = np.eye(2)[[0, 0, 1, 1]], np.eye(2)[[0, 0, 0, 1]]
    >>> a, b = class_weights(even, lopsided, doubt=0.0)
    >>> a.round(3).tolist(), b.round(3).tolist()
    ([0.312, 0.312, 0.188, 0.188], [0.208, 0.208, 0.208, 0.375])

    """
    sizes = np.stack([source.sum(0), target.sum(0)])
    shares = (sizes / sizes.sum(1, keepdims=True)).mean(0)
    fewer = sizes.min(0)
    # A class that one domain lacks has no mass in the other either.
    mass = shares * np.divide(fewer, fewer + doubt, out=np.zeros(len(fewer)), where=fewer > 0)
    mass /= mass.sum()
    a, b = (
        domain @ np.divide(mass, size, out=np.zeros(len(mass)), where=size > 0)
        for domain, size in zip((source, target), sizes, strict=True)
    )
    return a, b


def moments(features: np.ndarray, weights: np.ndarray | None = None) -> Moments:
    """Return the mean and the covariance of features.

    Parameters
    ----------
    features : ndarray, shape (n, width)
    weights : ndarray, shape (n,), optional
        Of the texts, with the sum 1; None weighs all alike.

    Examples
    --------
    >>> mean, covariance = moments(np.array([[0.0], [2.0]]))
    >>> mean.tolist(), covariance.round(3).tolist()
    ([1.0], [[1.0]])

    """
    if weights is None:
        weights = np.full(len(features), 1 / len(features))
    mean = weights @ features
    centred = features - mean
    centred *= np.sqrt(weights)[:, None]
    return Moments(mean, centred.T @ centred)


def monge(source: Moments, target: Moments, ridge: float = RIDGE) -> AffineMap:
    """Return the linear Monge map of target features to source features.

    It is ``x -> m_s + A (x - m_t)`` with ``A = S^½ (S^½ T S^½)^-½ S^½``: of all maps that turn a
    Gaussian of mean m_t and covariance T into one of m_s and S, the one that moves least.

    Parameters
    ----------
    source, target : Moments
    ridge : float
        This share of the mean variance of each domain is added to its variances.

    Raises
    ------
    ValueError
        If a covariance has directions without variance and there is no ridge.

    References
    ----------
    Dowson and Landau, The Fréchet Distance between Multivariate Normal Distributions, 1982;
    Flamary, Lounici and Ferrari, Concentration Bounds for Linear Monge Mapping Estimation and
    Optimal Transport Domain Adaptation, 2019.

    Examples
    --------
    >>> one, two = Moments(np.zeros(1), np.eye(1)), Moments(np.ones(1), 4 * np.eye(1))
    >>> monge(one, two)(np.array([[3.0]])).tolist()
    [[1.0]]

    """
    width = len(source.mean)
    S, T = (c + ridge * np.trace(c) / width * np.eye(width) for _, c in (source, target))
    root = _power(S, 0.5)
    matrix = root @ _power(root @ T @ root, -0.5) @ root
    # Rounding leaves it a little asymmetric.
    matrix = (matrix + matrix.T) / 2
    offset = source.mean - matrix @ target.mean
    return AffineMap(matrix.astype(np.float32), offset.astype(np.float32))


def _power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    """Return a power of a symmetric positive definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    if values[0] <= len(matrix) * np.finfo(float).eps * values[-1]:
        raise ValueError(
            "a covariance has directions without variance; pass features that vary, or a ridge."
        )
    return np.asarray((vectors * values**exponent) @ vectors.T)


def obstacle(source: np.ndarray, target: np.ndarray, probabilities: np.ndarray) -> str | None:
    """State why there can be no map of target features to source features, or return None.

    Parameters
    ----------
    source, target : ndarray, shapes (n, width) and (m, width)
        Features.
    probabilities : ndarray, shape (m, classes)
        Of the target texts.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(20, 2))
    >>> obstacle(x, np.ones((20, 2)), np.eye(2)[[0, 1] * 10])
    'all target texts have the same features'

    """
    for name, features in (("source", source), ("target", target)):
        if len(features) < FEWEST_ALIGNED:
            return f"there are {len(features)} {name} texts, and a map needs {FEWEST_ALIGNED}"
        if not np.isfinite(features).all():
            return f"features of {name} texts are NaN or infinite"
        # Rounding of 32 bits alone gives a share of about 1e-14.
        if features.var(0).sum() <= 1e-10 * np.square(features).mean(0).sum():
            return f"all {name} texts have the same features"
    predicted = np.unique(probabilities.argmax(1))
    if len(predicted) < 2 <= probabilities.shape[1]:
        return (
            f"all {len(target)} target texts are predicted to be of one class, so that a "
            "difference of the domains cannot be told from one of their classes"
        )
    return None


def transport(
    source: np.ndarray,
    labels: np.ndarray,
    target: np.ndarray,
    probabilities: np.ndarray,
    weights: np.ndarray | None = None,
    ridge: float = RIDGE,
) -> AffineMap:
    """Return the map of target features to source features, with every class weighted alike.

    Parameters
    ----------
    source : ndarray, shape (n, width)
        Features of source texts.
    labels : ndarray of int, shape (n,)
        Their class positions.
    target : ndarray, shape (m, width)
        Features of target texts.
    probabilities : ndarray, shape (m, classes)
        Their class probabilities.
    weights : ndarray, shape (n,), optional
        Of the source texts within their classes.
    ridge : float
        As for `monge`.

    Returns
    -------
    AffineMap
        For target features of the same model; source features stay as they are.

    Raises
    ------
    ValueError
        If the shapes do not match, or for what `obstacle` states.

    Warns
    -----
    AlignmentWarning
        If a domain has too few texts for its covariance.

    References
    ----------
    Courty, Flamary, Tuia and Rakotomamonjy, Optimal Transport for Domain Adaptation, TPAMI 2017;
    Redko, Courty, Flamary and Tuia, Optimal Transport for Multi-source Domain Adaptation under
    Target Shift, AISTATS 2019, for the weights.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(200) % 2
    >>> source = rng.normal(size=(200, 3)) + 4 * labels[:, None]
    >>> mapped = transport(source, labels, 2 * source + 1, np.eye(2)[labels])(2 * source + 1)
    >>> bool(np.abs(mapped - source).max() < 0.1)
    True

    """
    source, target = features_of(source, target)
    probabilities = probabilities_of(probabilities)
    one_each("probabilities", probabilities[:, 0], len(target), "target")
    labels = one_each("labels", labels, len(source), "source")
    if why := obstacle(source, target, probabilities):
        raise ValueError(f"{why}; {REMEDY}")
    members = np.eye(probabilities.shape[1])[labels]
    if weights is not None:
        weights = weights_of("weights", one_each("weights", weights, len(source), "source"))
        members *= weights[:, None]
        # Only within a class: what the class counts is for `class_weights` to say.
        mass, counts = members.sum(0), np.bincount(labels, minlength=members.shape[1])
        members *= np.divide(counts, mass, out=np.zeros(len(mass)), where=mass > 0)
    pair = class_weights(members, probabilities)
    for name, each in zip(("source", "target"), pair, strict=True):
        _warn_of_few(name, each, source.shape[1])
    return monge(moments(source, pair[0]), moments(target, pair[1]), ridge)


def _warn_of_few(domain: str, weights: np.ndarray, width: int) -> None:
    """Warn if a domain has fewer texts than features, weighted texts counting as fewer."""
    size = 1 / float(weights @ weights)
    if size < width:
        warn(
            f"the map rests on few {domain} texts: {len(weights)}, which count as {size:.0f} with "
            f"their classes weighted, for {width} features. Pass more, or measure on labelled "
            "texts whether align=None does better.",
            AlignmentWarning,
        )

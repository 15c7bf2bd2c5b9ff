"""Weigh the evidence of knowledge beside a model, without target labels.

Arrays of evidence have shape (n, classes, kinds): what each kind of knowledge adds to
log-probabilities at weight 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from dann_transfer.judging.selection import information_maximization

STRONG = 2.0
"""Usual evidence about a text, as a difference of log-probabilities: with a weight that makes it
much stronger it is seldom right."""
MOST = 5.0
"""The largest weight: faint evidence is about few words, and may be right about them by chance."""
CHANCE = 4.0
"""A gain in twice the log-likelihood that is chance, that of two standard errors. Weights shrink by
this part of their gain."""


def weigh(
    evidence: np.ndarray,
    codes: np.ndarray,
    target: np.ndarray | None = None,
    p: np.ndarray | None = None,
) -> np.ndarray:
    """Estimate the weights of evidence from labels of the source and predictions for the target.

    Evidence that is worth something predicts the labels of source texts and agrees, more often than
    by chance, with a model about target texts. Agreement counts for as much as the predictions tell
    the texts apart, so that beside a model that answers always the same the labels decide; and as a
    model's errors lower it, a weight is rather too small than too large.

    Parameters
    ----------
    evidence : ndarray, shape (n, classes, kinds)
        About source texts that it was not learnt from.
    codes : ndarray of int, shape (n,)
        Their class positions.
    target : ndarray, shape (m, classes, kinds), optional
        About target texts.
    p : ndarray, shape (m, classes), optional
        A model's probabilities of these.

    Returns
    -------
    ndarray, shape (kinds,)
        0 for a kind that is not shown to say more than chance, and than the other kinds.

    References
    ----------
    Blum and Mitchell, Combining Labeled and Unlabeled Data with Co-Training, COLT 1998, for the
    agreement of two views; James and Stein, Estimation with Quadratic Loss, 1961, for shrinking by
    the part of a gain that chance would give.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> codes = np.arange(200) % 2
    >>> right, noise = np.eye(2)[codes] - 0.5, rng.normal(size=(200, 2))
    >>> doubtful = right * np.where(rng.random(200) < 0.8, 1, -1)[:, None]
    >>> weigh(np.stack([doubtful, noise], 2), codes).round(1).tolist()
    [1.6, 0.0]
    >>> p = np.where(np.eye(2)[codes], 0.9, 0.1)
    >>> weigh(doubtful[:4, :, None], codes[:4], doubtful[:, :, None], p).round(1).tolist()
    [1.1]

    """
    classes, kinds = evidence.shape[1:]
    parts = [(evidence, np.eye(classes)[codes], 1.0)]
    if target is not None and p is not None and len(p):
        # Rounding may carry it below 0.
        informative = max(0.0, information_maximization(p)) / np.log(classes)
        parts.append((target, p, informative))
    result = np.zeros(kinds)
    kept = np.arange(kinds)
    # One by one: of two kinds that say the same, neither adds anything to the other.
    while len(kept):
        weights, best = _fit(parts, kept)
        gains = np.array(
            [2 * (_fit(parts, np.delete(kept, i))[1] - best) for i in range(len(kept))]
        )
        if gains.min() > CHANCE:
            result[kept] = weights * (1 - CHANCE / gains)
            break
        kept = np.delete(kept, gains.argmin())
    return result


Part = tuple[np.ndarray, np.ndarray, float]
"""Evidence (n, classes, kinds), probabilities (n, classes), and what each text counts."""


def _fit(parts: Sequence[Part], kept: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the weights at which some kinds predict the classes best, and the loss that is left.

    In each part the classes may be more or less common than the evidence says.
    """
    classes, kinds = parts[0][0].shape[1], len(kept)
    # As Laplace did, because some class may be missing.
    priors = [np.log((q.sum(0) + 1) / (len(q) + classes)) for _, q, _ in parts]
    squares = np.concatenate([each[:, :, kept] ** 2 for each, _, _ in parts])
    size = np.sqrt(squares.mean((0, 1))) if len(squares) else np.zeros(kinds)

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        weights, offsets = x[:kinds], x[kinds:].reshape(len(parts), classes)
        strength = weights * size / STRONG
        value = 0.5 * float((strength**2).sum() + (offsets**2).sum())
        of_weights, of_offsets = strength * size / STRONG, offsets.copy()
        for i, (evidence, q, count) in enumerate(parts):
            logp = log_softmax(priors[i] + offsets[i] + evidence[:, :, kept] @ weights, axis=1)
            slope = count * (np.exp(logp) - q)
            value -= count * float((q * logp).sum())
            of_weights = of_weights + np.einsum("nc,nck->k", slope, evidence[:, :, kept])
            of_offsets[i] += slope.sum(0)
        return value, np.concatenate([of_weights, of_offsets.ravel()])

    bounds = [(0, MOST)] * kinds + [(None, None)] * (len(parts) * classes)
    fit = minimize(loss, np.zeros(len(bounds)), jac=True, method="L-BFGS-B", bounds=bounds)
    return fit.x[:kinds], float(fit.fun)


def inform(p: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return probabilities (n, classes) with evidence of the same shape added to their logarithms.

    References
    ----------
    Ganchev et al., Posterior Regularization for Structured Latent Variable Models, JMLR 2010.

    Examples
    --------
    >>> inform(np.array([[0.5, 0.5], [0.9, 0.1]]), np.array([[0.0, 1.0], [0.0, 0.0]])).round(2)
    array([[0.27, 0.73],
           [0.9 , 0.1 ]])

    """
    informed = softmax(np.log(np.clip(p, 1e-12, None)) + values, axis=1)
    # Where nothing is said, nothing changes, not even by rounding.
    return np.where((values != 0).any(1, keepdims=True), informed, p)


@dataclass(frozen=True)
class Counsel:
    """What knowledge says about a run's texts.

    Attributes
    ----------
    source : ndarray, shape (n, classes, kinds)
        About source texts that it was not learnt from.
    codes : ndarray of int, shape (n,)
        Their class positions.
    target : ndarray, shape (m, classes, kinds)
        About the target texts of the run.

    """

    source: np.ndarray
    codes: np.ndarray
    target: np.ndarray

    def weights(self, p: np.ndarray, rows: Sequence[int] | None = None) -> np.ndarray:
        """Return the weights beside a model with these probabilities of target texts, (kinds,).

        `rows` are the positions of those texts; by default `p` is of all, shape (m, classes).
        """
        target = self.target if rows is None else self.target[rows]
        return weigh(self.source, self.codes, target, p)

    def __call__(self, p: np.ndarray) -> np.ndarray:
        """Return a model's probabilities of the target texts, shape (m, classes), once informed."""
        return inform(p, self.target @ self.weights(p))

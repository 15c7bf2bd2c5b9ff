"""Weigh the evidence of knowledge against a model, without target labels.

Arrays of evidence have shape (n, classes, kinds): what each kind of knowledge adds to
log-probabilities at weight 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from dann_transfer.judging.diagnostics import FEWEST, proxy_a_distance

STRONG = 2.0
"""Usual evidence about a text, as a difference of log-probabilities: with a weight that makes it
much stronger it is seldom right."""
MOST = 5.0
"""The largest weight: faint evidence is about few words, and may be right about them by chance."""
CHANCE = 4.0
"""A gain in twice the log-likelihood that is chance, that of two standard errors. Weights shrink by
this part of their gain."""
COLDEST, HOTTEST = 0.1, 2.0
"""Bounds of the factor that calibrates a model's logits."""


def alone(evidence: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Estimate the weights at which evidence predicts labels best by itself, shrunk by chance.

    Parameters
    ----------
    evidence : ndarray, shape (n, classes, kinds)
        About texts that it was not learnt from.
    codes : ndarray of int, shape (n,)
        Their class positions.

    Returns
    -------
    ndarray, shape (kinds,)
        0 for a kind that is not shown to say more than chance, and than the other kinds.

    References
    ----------
    James and Stein, Estimation with Quadratic Loss, 1961, for shrinking by the part of a gain that
    chance would give.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> codes = np.arange(200) % 2
    >>> right, noise = np.eye(2)[codes] - 0.5, rng.normal(size=(200, 2))
    >>> doubtful = right * np.where(rng.random(200) < 0.8, 1, -1)[:, None]
    >>> alone(np.stack([doubtful, noise], 2), codes).round(1).tolist()
    [1.6, 0.0]

    """
    result = np.zeros(evidence.shape[2])
    kept = np.arange(evidence.shape[2])
    # One by one: of two kinds that say the same, neither adds anything to the other.
    while len(kept):
        weights, best = _by_itself(evidence[:, :, kept], codes)
        gains = np.array(
            [
                2 * (_by_itself(evidence[:, :, np.delete(kept, i)], codes)[1] - best)
                for i in range(len(kept))
            ]
        )
        if gains.min() > CHANCE:
            result[kept] = weights * (1 - CHANCE / gains)
            break
        kept = np.delete(kept, gains.argmin())
    return result


def _by_itself(evidence: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the weights at which evidence predicts labels best, and the loss that is left."""
    n, classes, kinds = evidence.shape
    # As Laplace did, because some class may be missing.
    prior = np.log((np.bincount(codes, minlength=classes) + 1) / (n + classes))
    size = np.sqrt((evidence**2).mean((0, 1))) if n else np.zeros(kinds)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = _loss(prior + evidence @ weights, codes)
        strength = weights * size / STRONG
        value += 0.5 * float((strength**2).sum())
        return value, np.einsum("nc,nck->k", slope, evidence) + strength * size / STRONG

    start = np.zeros(kinds)
    if not size.any():
        return start, loss(start)[0]
    fit = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, MOST)] * kinds)
    return fit.x, float(fit.fun)


def against(
    logits: np.ndarray, evidence: np.ndarray, codes: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Estimate the weights of evidence that is added to a model's logits.

    Those by themselves are expected, give or take as much again, and are not exceeded: a model may
    know already what the evidence says. Together with them the logits are calibrated, since against
    an overconfident model a weight has to be larger.

    Parameters
    ----------
    logits : ndarray, shape (n, classes)
        Of held-out source texts; there may be none.
    evidence : ndarray, shape (n, classes, kinds)
    codes : ndarray of int, shape (n,)
    weights : ndarray, shape (kinds,)
        What `alone` returned.

    Returns
    -------
    ndarray, shape (kinds,)

    Examples
    --------
    >>> codes = np.arange(100) % 2
    >>> evidence = (np.eye(2)[codes] - 0.5)[:, :, None]
    >>> ignorant, sure = np.zeros((100, 2)), 9 * np.eye(2)[codes]
    >>> against(ignorant, evidence, codes, np.array([2.0])).round(1).tolist()
    [2.0]

    """
    acts = weights > 0
    if not len(codes) or not acts.any():
        return weights
    usual = weights[acts]

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        factor, mix = np.exp(x[0]), x[1:]
        value, slope = _loss(factor * logits + evidence[:, :, acts] @ mix, codes)
        away = (mix - usual) / usual
        value += 0.5 * float(x[0] ** 2 + (away**2).sum())
        of_factor = factor * (slope * logits).sum() + x[0]
        of_mix = np.einsum("nc,nck->k", slope, evidence[:, :, acts]) + away / usual
        return value, np.concatenate([[of_factor], of_mix])

    bounds = [(np.log(COLDEST), np.log(HOTTEST)), *((0, weight) for weight in usual)]
    start = np.concatenate([[0.0], usual])
    fit = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    result = np.zeros(len(weights))
    result[acts] = fit.x[1:] / np.exp(fit.x[0])
    return result


def _loss(scores: np.ndarray, codes: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the log loss of scores (n, classes), and its derivative by them."""
    logp = log_softmax(scores, axis=1)
    slope = np.exp(logp)
    slope[np.arange(len(codes)), codes] -= 1
    return -float(logp[np.arange(len(codes)), codes].sum()), slope


def likeness(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return how alike the evidence about two domains is: 1 as alike as can be, 0 told apart.

    A weight that was estimated on the source is multiplied by this. It is ``1 - d / 2`` with the
    proxy A-distance d, for each kind, and 1 where a domain has fewer than ten texts.

    Parameters
    ----------
    source, target : ndarray, shapes (n, classes, kinds) and (m, classes, kinds)

    Returns
    -------
    ndarray, shape (kinds,)

    """
    kinds = source.shape[2]
    if min(len(source), len(target)) < FEWEST:
        return np.ones(kinds)
    distances = [proxy_a_distance(source[:, :, k], target[:, :, k]) for k in range(kinds)]
    return 1 - np.array(distances) / 2


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
    alone : ndarray, shape (kinds,)
        The weights by themselves.
    likeness : ndarray, shape (kinds,)
    held_out : ndarray, shape (n, classes, kinds)
        About held-out source texts.
    codes : ndarray of int, shape (n,)
        Their class positions.
    target : ndarray, shape (m, classes, kinds)
        About the target texts of the run.

    """

    alone: np.ndarray
    likeness: np.ndarray
    held_out: np.ndarray
    codes: np.ndarray
    target: np.ndarray

    def weights(self, logits: np.ndarray) -> np.ndarray:
        """Return the weights against a model with these logits of the held-out texts, (kinds,)."""
        return self.likeness * against(logits, self.held_out, self.codes, self.alone)

    def __call__(self, p: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Return a model's probabilities of the target texts, shape (m, classes), once informed.

        `logits` are those of the held-out texts, shape (n, classes).
        """
        return inform(p, self.target @ self.weights(logits))

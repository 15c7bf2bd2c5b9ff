"""Sets of classes that contain the true one as often as required, from held-out source texts.

What is guaranteed: with exact weights, a text's set contains its true class with a probability of
at least 1 - alpha, over the draw of that text and of the held-out source texts together. This holds
however wrong the model is; then the sets are large. It is no guarantee for each class, for each
kind of text, or for these particular held-out texts: with n of them, coverage varies around
1 - alpha by about ``sqrt(alpha * (1 - alpha) / n)``.

There is no guarantee, and sets may contain the true class far less often, if

- texts that look the same have other labels in the target: under label shift (see `label_shift`),
  or if words change their meaning. Weights correct only for which texts are common;
- the weights, which are always estimated, are wrong. The sets are only as good as the weights;
- the features tell the domains apart. Then no source text looks like the target: exact weights give
  sets of all classes, and estimated ones give anything. Check `ConformalSets.effective_texts`:
  below about ``10 / alpha`` texts there is little to learn the sets from;
- the held-out texts also chose the epoch, or the target texts were trained on without their
  labels: they are then not exchangeable with new ones. This usually costs little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dann_transfer.judging.arrays import one_each, weights_of
from dann_transfer.judging.decision import labelled
from dann_transfer.judging.selection import effective_size


def _ratios(weights: np.ndarray, n: int, kind: str) -> np.ndarray:
    remedy = f" If no shift is assumed, pass np.ones({n})."
    return weights_of(f"weights of the {kind} texts", one_each("weights", weights, n, kind, remedy))


@dataclass(frozen=True)
class ConformalSets:
    """Split conformal prediction with weights for covariate shift.

    A class is in a text's set if 1 minus its probability is at most a weighted quantile of the same
    score for the true classes of held-out source texts. This score gives the smallest sets on
    average (Sadinle et al.) and needs no random number, but a set may be empty if no class is as
    likely as true ones usually are. Adaptive sets, the other usual choice, are larger, so that
    their size can follow the difficulty of a text.

    References
    ----------
    Tibshirani, Barber, Candès and Ramdas, Conformal Prediction Under Covariate Shift, NeurIPS 2019;
    Sadinle, Lei and Wasserman, Least Ambiguous Set-Valued Classifiers with Bounded Error Levels,
    Journal of the American Statistical Association 2019.

    Examples
    --------
    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.4, 0.6]])
    >>> conformal = ConformalSets.fit(p, np.array([0, 0, 0, 0]), np.ones(4))
    >>> conformal.sets(np.array([[0.95, 0.05], [0.5, 0.5]]), np.ones(2), alpha=0.2).tolist()
    [[True, False], [True, True]]

    """

    scores: np.ndarray
    """1 minus the probability of the true class of each held-out source text, ascending, (n,)."""
    weights: np.ndarray
    """How much likelier the target is to have each of these texts than the source, shape (n,)."""

    @classmethod
    def fit(cls, p: np.ndarray, codes: np.ndarray, weights: np.ndarray) -> ConformalSets:
        """Fit the sets to held-out source texts.

        Parameters
        ----------
        p : ndarray, shape (n, classes)
            Probabilities of labelled source texts that training has not seen.
        codes : ndarray of int, shape (n,)
            Positions of their classes.
        weights : ndarray, shape (n,)
            The density of each text in the target divided by that in the source, up to a common
            factor; ones if no shift is assumed.

        Raises
        ------
        ValueError
            If a shape does not match, `codes` are not class positions, or weights are negative, not
            finite or all 0.

        """
        p, codes = labelled(p, codes)
        weights = _ratios(weights, len(p), "held-out source")
        if not weights.any():
            raise ValueError(
                f"the weights of the {len(p)} held-out source texts are all 0: none of them looks "
                "like the target, so nothing can be learnt about it from them."
            )
        scores = 1 - p[np.arange(len(p)), codes]
        order = np.argsort(scores)
        return cls(scores[order], weights[order])

    @property
    def effective_texts(self) -> float:
        """How many texts of equal weight would vary as much as these: n at best, 1 at worst."""
        return effective_size(self.weights)

    def sets(self, p: np.ndarray, weights: np.ndarray, alpha: float) -> np.ndarray:
        """Return which classes are in each text's set, bool of shape (m, classes).

        Parameters
        ----------
        p : ndarray, shape (m, classes)
            Probabilities of target texts, from the same model.
        weights : ndarray, shape (m,)
            Their density in the target divided by that in the source, with the same factor as in
            `fit` (`selection.density_ratios` returns both). A text that weighs a lot compared with
            the held-out ones gets all classes.
        alpha : float
            How often a set may miss the true class, between 0 and 1.

        Raises
        ------
        ValueError
            If `alpha` is out of bounds, a shape does not match, or weights are negative or not
            finite.

        """
        if not 0 < alpha < 1:
            raise ValueError(
                f"alpha={alpha!r} must lie between 0 and 1: how often a set may miss the true "
                "class, such as 0.1 for sets that contain it nine times in ten."
            )
        p = np.asarray(p, dtype=float)
        if p.ndim != 2:
            raise ValueError(f"probabilities of shape {p.shape} must be (texts, classes).")
        # As `fit` does, with some room for rounding.
        if not ((p >= -1e-3) & (p <= 1 + 1e-3)).all():
            raise ValueError(
                "probabilities must lie between 0 and 1; pass what predict_proba returns."
            )
        mass = self.weights.cumsum()
        # A text's own weight is at infinity. The factor keeps rounding from requiring one more
        # held-out text when the share is met exactly.
        needed = (1 - alpha) * (mass[-1] + _ratios(weights, len(p), "target")) * (1 - 1e-9)
        limits = np.append(self.scores, np.inf)[np.searchsorted(mass, needed)]
        return np.asarray(1 - p <= limits[:, None])

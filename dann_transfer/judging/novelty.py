"""Find target texts of classes that the source does not have, without target labels.

A model is less certain about texts of classes that it has not learnt, but also about texts of a
domain that it has not learnt, so that a single text says little. Texts of a new class lie together,
though: the mean of a text's neighbours tells more than the text itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from dann_transfer.judging.arrays import features_of
from dann_transfer.judging.neighbors import MAX_TEXTS, MOST, nearest

LEVEL = 0.95
"""The share of held-out source texts, whose classes are known, that lie among known texts."""


class NoveltyWarning(UserWarning):
    """Texts of new classes cannot be told from those of the source's."""


@dataclass(frozen=True)
class Novelty:
    """The target texts of a fit, by which other texts are judged.

    Attributes
    ----------
    features : ndarray, shape (n, width)
    novelties : ndarray, shape (n,)
        How new each text seems: its energy, minus the logarithm of the sum of exponentials of its
        logits, which is the higher, the less any class speaks for it; or 1 for a text that another
        model took for new, and 0 for others.
    threshold : ndarray, shape ()
        A text is of a new class if the mean of its neighbours is higher.

    References
    ----------
    Liu et al., Energy-based Out-of-distribution Detection, NeurIPS 2020.

    """

    features: np.ndarray
    novelties: np.ndarray
    threshold: np.ndarray

    @classmethod
    def of(
        cls,
        features: np.ndarray,
        logits: np.ndarray,
        held_out: np.ndarray,
        level: float = LEVEL,
    ) -> Novelty:
        """Set the threshold by held-out source texts: this share of them count as known.

        Parameters
        ----------
        features, logits : ndarray, shapes (n, width) and (n, classes)
            Of target texts, of which the first `MAX_TEXTS` are kept.
        held_out : ndarray, shape (m, width)
            Features of source texts that training has not seen.
        level : float

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> centres = np.array([[9.0, 0, 0], [0, 9.0, 0], [0, 0, 9.0]])
        >>> x = np.repeat(centres, 30, 0) + rng.normal(size=(90, 3))
        >>> logits = x[:, :2]  # the third class is new
        >>> novelty = Novelty.of(x, logits, x[:60] + rng.normal(size=(60, 3)))
        >>> novelty.is_new(centres).tolist()
        [False, False, True]

        """
        x, held_out = features_of(features[:MAX_TEXTS], held_out)
        energies = -logsumexp(np.asarray(logits[:MAX_TEXTS], dtype=float), axis=1)
        free = cls(
            x.astype(np.float32), energies.astype(np.float32), np.asarray(np.inf, np.float32)
        )
        threshold = np.quantile(free.scores(held_out), level)
        return cls(free.features, free.novelties, np.asarray(threshold, np.float32))

    @classmethod
    def voted(cls, features: np.ndarray, new: np.ndarray) -> Novelty:
        """Take texts for new if most of their neighbours are, in the opinion of another model.

        A student has learnt to be certain of those texts that its teacher took for known, so that
        its energies find few of the new ones among them.

        Parameters
        ----------
        features : ndarray, shape (n, width)
            Of target texts, of which the first `MAX_TEXTS` are kept.
        new : ndarray of bool, shape (n,)

        """
        x = features_of(features[:MAX_TEXTS])[0]
        votes = np.asarray(new[:MAX_TEXTS], np.float32)
        return cls(x.astype(np.float32), votes, np.asarray(0.5, np.float32))

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Return how new each text's nearest target texts seem on average, shape (n,).

        Parameters
        ----------
        features : ndarray, shape (n, width)

        """
        if not len(features):
            return np.empty(0)
        places = nearest(features, self.features, min(MOST, len(self.features)))
        return np.asarray(self.novelties[places].mean(1))

    def is_new(self, features: np.ndarray) -> np.ndarray:
        """Return which texts seem to be of a class that the source does not have, shape (n,)."""
        return np.asarray(self.scores(features) > self.threshold)

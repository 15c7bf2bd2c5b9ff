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
    energies : ndarray, shape (n,)
        Minus the logarithm of the sum of exponentials of a text's logits: the higher, the less any
        class speaks for it.
    threshold : ndarray, shape ()
        A text with a higher score is of a new class.

    References
    ----------
    Liu et al., Energy-based Out-of-distribution Detection, NeurIPS 2020.

    """

    features: np.ndarray
    energies: np.ndarray
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
        return cls(free.features, free.energies, np.asarray(threshold, np.float32))

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Return the mean energy of each text's nearest target texts, shape (n,).

        Parameters
        ----------
        features : ndarray, shape (n, width)

        """
        if not len(features):
            return np.empty(0)
        places = nearest(features, self.features, min(MOST, len(self.features)))
        return np.asarray(self.energies[places].mean(1))

    def is_new(self, features: np.ndarray) -> np.ndarray:
        """Return which texts seem to be of a class that the source does not have, shape (n,)."""
        return np.asarray(self.scores(features) > self.threshold)

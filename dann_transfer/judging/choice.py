"""Choose which of several models of one run to keep, without target labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import log
from typing import Any

import numpy as np
from scipy.stats import entropy

from dann_transfer.judging.selection import ensemble_agreement, information_maximization

BASELINE = "source_only"
SURE = 0.25
"""A choice is made from this share of the largest information maximisation, log(classes), upwards.

Of 75 groups of models on the benchmarks, the ten whose best was below it gained 0.3 points at most
and lost up to 7; of the others, two lost more than 0.2, namely 0.8 and 1.3."""


@dataclass(frozen=True)
class Choice:
    """What was chosen, and why.

    Attributes
    ----------
    method : str
    reason : str
        In words.
    rows : list of dict
        For each candidate: method, information maximisation, agreement with the mean prediction of
        all, and the share of the target texts that it labels differently from source-only.

    """

    method: str
    reason: str
    rows: list[dict[str, Any]]

    def __str__(self) -> str:
        return self.reason

    def to_json(self) -> dict[str, Any]:
        """Return the fields in a form that JSON can hold."""
        return asdict(self)


def lopsided(shares: np.ndarray) -> Choice:
    """Keep source-only, because the source's classes are too unequal to trust a score."""
    return Choice(
        BASELINE,
        f"{BASELINE} is kept, and nothing else was trained: of the source's classes the smallest "
        f"has {shares.min():.1%} of the texts and the largest {shares.max():.1%}, and where they "
        "are so unequal no score without target labels was found to tell gain from harm.",
        [],
    )


def _divergence(p: np.ndarray) -> np.ndarray:
    """Return how much each text's probabilities (n, classes) diverge from their mean, shape (n,).

    Their mean is the information maximisation, so their spread gives its standard error.
    """
    return np.asarray(entropy(p, p.mean(0)[None], axis=1))


def choose(pool: Mapping[str, np.ndarray]) -> Choice:
    """Choose the model with the highest information maximisation, or source-only.

    Source-only is kept if no other's is higher by more than two standard errors (over the target's
    texts), and also if even the highest is small: among models that hardly separate the classes,
    the one that separates them most may do so along anything (`SURE`).

    Parameters
    ----------
    pool : mapping of str to ndarray, shape (n, classes)
        Probabilities of the same target texts, by method, including source-only.

    References
    ----------
    Shi and Sha, Information-Theoretical Learning of Discriminative Clusters for Unsupervised
    Domain Adaptation, ICML 2012.

    Examples
    --------
    >>> sure, unsure = np.tile([[0.9, 0.1], [0.1, 0.9]], (25, 1)), np.tile([0.4, 0.6], (50, 1))
    >>> print(choose({"source_only": unsure, "mcc": sure}))
    mcc is kept: its information maximisation is 0.368, and 0.000 that of source_only.
    >>> choose({"source_only": unsure, "mcc": unsure}).method
    'source_only'

    """
    names = list(pool)
    agreement = ensemble_agreement(list(pool.values()))
    labels = {name: p.argmax(1) for name, p in pool.items()}
    rows: list[dict[str, Any]] = [
        {
            "method": name,
            # Rounding may carry it below 0.
            "information_maximization": max(0.0, information_maximization(pool[name])),
            "agreement": float(share),
            "changed": float((labels[name] != labels[BASELINE]).mean()),
        }
        for name, share in zip(names, agreement, strict=True)
    ]
    score = {row["method"]: row["information_maximization"] for row in rows}
    # Among equals the first, which is source-only.
    best = max(names, key=lambda name: (score[name], name == BASELINE))
    ahead = _divergence(pool[best]) - _divergence(pool[BASELINE])
    error = float(ahead.std() / len(ahead) ** 0.5)
    figures = (
        f"its information maximisation is {score[best]:.3f}, and {score[BASELINE]:.3f} that of "
        f"{BASELINE}."
    )
    if best == BASELINE:
        return Choice(BASELINE, f"{BASELINE} is kept: no other has more information.", rows)
    most = log(pool[best].shape[1])
    if score[best] < SURE * most:
        return Choice(
            BASELINE,
            f"{BASELINE} is kept: {best} is the surest, but its information maximisation is "
            f"{score[best]:.3f} of at most {most:.3f}, and no choice below {SURE:.0%} of that has "
            "proved reliable. More texts or epochs may help.",
            rows,
        )
    if score[best] - score[BASELINE] > 2 * error:
        return Choice(best, f"{best} is kept: {figures}", rows)
    return Choice(
        BASELINE, f"{BASELINE} is kept. {best} is ahead, but not clearly: {figures}", rows
    )

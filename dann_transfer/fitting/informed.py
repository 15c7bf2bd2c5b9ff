"""What knowledge says about a run's texts."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from dann_transfer.judging.weighing import Counsel, weigh
from dann_transfer.knowledge import Knowledge
from dann_transfer.knowledge.weighted import Weighted
from dann_transfer.texts.roles import Roles

FOLDS = 3


def counsel_of(knowledge: Sequence[Knowledge], roles: Roles) -> tuple[Counsel, Weighted]:
    """Fit knowledge to a run's texts, and weigh it by the source's labels alone.

    Parameters
    ----------
    knowledge : sequence of Knowledge
        Left as they are: copies are fitted.
    roles : Roles

    Returns
    -------
    counsel : Counsel
    weighted : Weighted
        With these weights, until it is weighed beside a model.

    """
    source, codes, target = roles.texts["source"], roles.codes["source"], roles.texts["target"]
    labels = roles.classes[codes]
    parts = tuple(
        copy.copy(each).fit(source, labels, target, roles.classes.tolist()) for each in knowledge
    )
    unseen = np.stack([_unseen(part, source, labels) for part in parts], 2)
    of_target = np.stack([part.evidence(target).values for part in parts], 2)
    alone = weigh(unseen, codes)
    shares = (_coverage(each) for each in (unseen, of_target))
    return Counsel(unseen, codes, of_target), Weighted(parts, alone, alone, *shares)


def _coverage(evidence: np.ndarray) -> np.ndarray:
    """Return the share of texts about which each kind says something, shape (kinds,)."""
    if not len(evidence):
        return np.zeros(evidence.shape[2])
    return np.asarray((evidence != 0).any(1).mean(0))


def _unseen(part: Knowledge, texts: list[str], labels: np.ndarray) -> np.ndarray:
    """Return evidence about texts, each learnt from others, shape (n, classes)."""
    values = np.zeros((len(texts), len(part.classes_)))
    fold = np.random.default_rng(0).permutation(len(texts)) % FOLDS
    for k in range(min(FOLDS, len(texts))):
        inside, others = (np.flatnonzero(rows).tolist() for rows in (fold == k, fold != k))
        # A copy of what is fitted has what it computed of itself.
        twin = copy.copy(part)
        if others:
            twin.fit(
                [texts[i] for i in others], labels[others].tolist(), (), part.classes_.tolist()
            )
        values[inside] = twin.evidence([texts[i] for i in inside]).values
    return values

"""What knowledge says about a run's texts."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from dann_transfer.judging.weighing import Counsel, alone, likeness
from dann_transfer.knowledge import Knowledge
from dann_transfer.knowledge.weighted import Weighted
from dann_transfer.texts.roles import Roles

FOLDS = 3


def counsel_of(knowledge: Sequence[Knowledge], roles: Roles) -> tuple[Counsel, Weighted]:
    """Fit knowledge to a run's texts, and weigh it by itself.

    Parameters
    ----------
    knowledge : sequence of Knowledge
        Left as they are: copies are fitted.
    roles : Roles

    Returns
    -------
    counsel : Counsel
    weighted : Weighted
        With weights of 0, until they are weighed against a model.

    """
    source, codes, target = roles.texts["source"], roles.codes["source"], roles.texts["target"]
    labels = roles.classes[codes]
    parts = tuple(
        copy.copy(each).fit(source, labels, target, roles.classes.tolist()) for each in knowledge
    )
    unseen = np.stack([_unseen(part, source, labels) for part in parts], 2)
    held_out, of_target = (
        np.stack([part.evidence(texts).values for part in parts], 2)
        for texts in (roles.texts["validation"], target)
    )
    counsel = Counsel(
        alone(unseen, codes),
        likeness(unseen, of_target),
        held_out,
        roles.codes["validation"],
        of_target,
    )
    shares = (_coverage(each) for each in (unseen, of_target))
    nothing = np.zeros(len(parts))
    return counsel, Weighted(parts, nothing, counsel.alone, counsel.likeness, *shares)


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

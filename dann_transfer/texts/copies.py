"""Copies of texts: texts that are equal but for case, white space and forms of characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

from dann_transfer.ground.notices import warn


class CopyWarning(UserWarning):
    """Texts that a model is judged on are among those that it learns with their labels."""


def canonical(text: str) -> str:
    """Return what copies of a text have in common.

    Examples
    --------
    >>> canonical("Great  FILM\\n") == canonical("great film")
    True

    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def groups_of(texts: Sequence[str]) -> np.ndarray:
    """Return for each text the position of its first copy, shape (n,).

    Examples
    --------
    >>> groups_of(["good", "bad", "GOOD"]).tolist()
    [0, 1, 0]

    """
    first: dict[str, int] = {}
    return np.array([first.setdefault(canonical(text), i) for i, text in enumerate(texts)], int)


def warn_of_copies(name: str, judged: Sequence[str], learnt: Sequence[str], where: str) -> None:
    """Warn if texts that a model is judged on are copies of texts that it learns with labels.

    Parameters
    ----------
    name : str
        What the user calls the texts that the model is judged on.
    judged, learnt : sequence of str
    where : str
        What the user calls the others.

    """
    if not learnt or not judged:
        return
    labels = set(map(canonical, learnt))
    n = sum(canonical(text) in labels for text in judged)
    if n:
        warn(
            f"{n} of {len(judged)} texts of {name} are also in {where}, with whose labels the "
            f"model is trained, so scores on {name} are too high; leave them out of one of the "
            "two.",
            CopyWarning,
        )

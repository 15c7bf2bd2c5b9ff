"""Choose which source texts to train on, and how much each weighs."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils.class_weight import compute_sample_weight

from dann_transfer.ground import streams


def hold_out(
    codes: np.ndarray, fraction: float, seed: int, groups: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Split the positions of texts into those to train and to validate on, by class shares.

    Each class keeps a text to train on; a rare one may have none to validate on. Copies of a text
    stay on one side: a model that has learnt a text's label by heart would seem to be right.
    A fraction of 0 holds out nothing.

    Parameters
    ----------
    codes : ndarray of int, shape (n,)
        Class positions of the texts.
    fraction : float
        The share to hold out.
    seed : int
    groups : ndarray of int, shape (n,), optional
        The position of each text's first copy, as `copies.groups_of` returns it.

    Examples
    --------
    >>> train, validation = hold_out(np.array([0, 1] * 10), 0.1, seed=0)
    >>> len(train), len(validation), len(set(train) & set(validation))
    (18, 2, 0)
    >>> train, validation = hold_out(np.array([0, 1, 1, 1]), 0.5, 0, np.array([0, 1, 1, 3]))
    >>> 0 in train, len(set(validation) & {1, 2}) in (0, 2)
    (True, True)

    """
    rows = np.arange(len(codes))
    if not fraction:
        return rows, rows[:0]
    groups = rows if groups is None else groups
    firsts = np.unique(groups)
    # A class with a single distinct text keeps it to train on.
    several = np.bincount(codes[firsts], minlength=int(codes.max()) + 1) > 1
    free = firsts[several[codes[firsts]]]
    classes, size = int(several.sum()), max(1, round(fraction * len(free)))
    # One of each class, for what is estimated about classes, unless that costs too many texts.
    if ONE_IN * classes <= len(free):
        size = max(size, classes)
    if size > len(free) - classes:
        return rows, rows[:0]
    draw = streams.number(seed, streams.HELD_OUT, bits=32)
    if size >= classes:
        train, held = train_test_split(
            free, test_size=size, stratify=codes[free], random_state=draw
        )
    else:
        shuffled = np.random.default_rng(draw).permutation(free)
        one_each = np.unique(codes[shuffled], return_index=True)[1]
        held = shuffled[np.sort(one_each)[:size]]
        train = np.setdiff1d(free, held)
    train = np.concatenate([train, firsts[~several[codes[firsts]]]])
    if len(firsts) == len(rows):
        return train, held
    return _members(groups, train), _members(groups, held)


ONE_IN = 8
"""Every class has a text held out if that is at most one text in so many."""


def _members(groups: np.ndarray, firsts: np.ndarray) -> np.ndarray:
    """Return the positions of all copies of texts, in the order of the texts."""
    order = np.argsort(groups, kind="stable")
    starts, ends = (np.searchsorted(groups[order], firsts, side) for side in ("left", "right"))
    return np.concatenate([order[i:j] for i, j in zip(starts, ends, strict=True)])


def scaled(weights: np.ndarray) -> np.ndarray:
    """Return weights scaled to 1 on average.

    Raises
    ------
    ValueError
        If all weights are 0.

    Examples
    --------
    >>> scaled(np.array([0.0, 3.0, 3.0]))
    array([0. , 1.5, 1.5])

    """
    if not weights.any():
        raise ValueError(
            "every text that would be trained on weighs 0; give more texts a weight, or hold out "
            "fewer with validation_fraction."
        )
    # Their sum would be infinite.
    if weights.max() > np.finfo(float).max / len(weights):
        weights = weights / weights.max()
    return np.asarray(weights / weights.mean())


def text_weights(
    labels: np.ndarray, class_weight: str | dict[Any, float] | None, sample_weight: Any
) -> np.ndarray | None:
    """Return the weight of each source text in the task loss, or None if all weigh the same.

    Raises
    ------
    ValueError
        If a weight is negative or not finite, all are 0, or their number differs from that of the
        texts; or if `class_weight` is neither "balanced" nor weights for classes that occur.

    Examples
    --------
    >>> text_weights(np.array(["a", "b", "b", "b"]), "balanced", None).round(2)
    array([2.  , 0.67, 0.67, 0.67])

    """
    if class_weight is None and sample_weight is None:
        return None
    balanced = isinstance(class_weight, str) and class_weight == "balanced"
    if not (class_weight is None or balanced or isinstance(class_weight, dict)):
        raise ValueError(
            f"class_weight={class_weight!r} must be 'balanced', None or a dict of class to weight."
        )
    if isinstance(class_weight, dict):
        unknown = sorted(set(class_weight) - set(labels.tolist()), key=str)
        if unknown:
            raise ValueError(f"class_weight names {unknown}, which are not classes of y.")
        for label, weight in class_weight.items():
            if not isinstance(weight, Real) or isinstance(weight, np.timedelta64):
                raise ValueError(f"class_weight[{label!r}]={weight!r:.200} must be a number.")
    try:
        weights = compute_sample_weight(class_weight, labels)
    except OverflowError as error:
        raise ValueError(
            f"class_weight={class_weight!r:.200} must be numbers ({error})."
        ) from error
    if sample_weight is not None:
        if np.ma.is_masked(sample_weight):
            raise ValueError("sample_weight has masked entries; fill them, such as with 1.")
        try:
            if np.asarray(sample_weight).dtype.kind in "mM":
                raise TypeError("these are times")
            each = np.asarray(sample_weight, dtype=float)
        except (OverflowError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"sample_weight must be numbers, one per text ({error}).") from error
        if each.shape != labels.shape:
            raise ValueError(
                f"sample_weight has shape {each.shape}; it needs one weight for each of the "
                f"{len(labels)} texts of X."
            )
        weights = weights * each
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        at = int(np.argmin(np.where(np.isfinite(weights), weights, -np.inf)))
        raise ValueError(
            f"text {at} of X weighs {weights[at]}; weights must be finite, not negative, and not "
            "all 0."
        )
    return np.asarray(weights)

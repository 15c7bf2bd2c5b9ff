"""The order of classes: of numbers, of ordered categories, or as the user lists it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dann_transfer.texts.frames import columns_of, is_frame
from dann_transfer.texts.labels import class_positions, number_of

FEWEST = 3
"""With two classes, an order says no more than that they differ."""


def order_of(
    ordinal: bool | list[Any], classes: np.ndarray, categories: list[Any] | None = None
) -> np.ndarray | None:
    """Return the classes from the lowest to the highest, or None if they have no order.

    Parameters
    ----------
    ordinal : bool or list
        Whether classes are ordered, or their order. It may list classes that do not occur.
    classes : ndarray, shape (classes,)
    categories : list, optional
        The order that the labels state themselves, as `stated` returns it.

    Raises
    ------
    ValueError
        If there are fewer than three classes, words whose order nobody states, or classes that are
        not in the list or twice.

    Examples
    --------
    >>> order_of(True, np.array(["1", "10", "2"])).tolist()
    ['1', '2', '10']
    >>> order_of(["bad", "ok", "good"], np.array(["bad", "good", "ok"])).tolist()
    ['bad', 'ok', 'good']

    """
    if ordinal is False:
        return None
    if len(classes) < FEWEST:
        raise ValueError(
            f"ordinal={ordinal!r} needs at least {FEWEST} classes, and there are {len(classes)}: "
            f"{classes.tolist()}. Two classes have no order to learn; leave ordinal=False."
        )
    if ordinal is True and categories is None:
        return _in_numeric_order(classes)
    listed, said = (categories, "the categories of y") if ordinal is True else (ordinal, "ordinal")
    assert isinstance(listed, list)
    places = class_positions(np.array(listed), classes)
    places = places[places >= 0]
    if missing := classes[~np.isin(np.arange(len(classes)), places)].tolist():
        raise ValueError(
            f"{said}={listed!r} lacks classes of y: {missing[:5]}; list every class, from the "
            "lowest to the highest."
        )
    if len(places) > len(classes):
        twice = classes[np.bincount(places) > 1].tolist()
        raise ValueError(
            f"{said}={listed!r} has {twice[0]!r} more than once; list each class once."
        )
    return np.asarray(classes[places])


def _in_numeric_order(classes: np.ndarray) -> np.ndarray:
    """Return classes that are numbers, or numbers in writing, in the order of their values."""
    values = [number_of(str(label)) for label in classes.tolist()]
    if None in values:
        words = classes.tolist()
        shown = ", ".join(map(repr, words[:5])) + (", ..." if len(words) > 5 else "")
        raise ValueError(
            f"ordinal=True, but the classes are words without an order ({shown}); list them from "
            f"the lowest to the highest: ordinal=[{shown}], in the right order. A pandas column "
            "may also be an ordered category: pd.Categorical(y, categories, ordered=True)."
        )
    numbers = np.array(values, dtype=float)
    if len(np.unique(numbers)) < len(numbers):
        raise ValueError(
            f"ordinal=True, but classes are the same number in different writing: "
            f"{classes.tolist()}; write each number in one way, or list the classes in order."
        )
    return np.asarray(classes[numbers.argsort()])


def ranks_of(order: np.ndarray | None, classes: np.ndarray) -> np.ndarray | None:
    """Return the rank of each class, shape (classes,), from 0 for the lowest; None without order.

    Examples
    --------
    >>> ranks_of(np.array(["bad", "ok", "good"]), np.array(["bad", "good", "ok"])).tolist()
    [0, 2, 1]

    """
    return None if order is None else class_positions(classes, order)


def stated(X: Any, y: Any, label_column: str) -> list[Any] | None:
    """Return the order that ordered categories of pandas state, or None.

    Parameters
    ----------
    X, y : object
        As for ``DomainAdapter.fit``.
    label_column : str

    Raises
    ------
    ValueError
        If several sources state different orders.

    Examples
    --------
    >>> import pandas as pd
    >>> stated([], pd.Categorical(["ok"], ["bad", "ok", "good"], ordered=True), "label")
    ['bad', 'ok', 'good']

    """
    if y is not None or not isinstance(X, Mapping) or is_frame(X):
        return _categories(_labels(X, label_column) if y is None else y)
    orders = [_categories(_labels(part, label_column)) for part in X.values()]
    first = next((order for order in orders if order is not None), None)
    other = next((order for order in orders if order not in (None, first)), None)
    if other is not None:
        raise ValueError(
            f"the sources of X order their categories differently, {first} and {other}; list the "
            "classes from the lowest to the highest: ordinal=[...]."
        )
    return first


def _labels(X: Any, label_column: str) -> Any:
    """Return the labels that X carries, if any."""
    if isinstance(X, tuple) and len(X) == 2:
        return X[1]
    if is_frame(X):
        return X[label_column] if label_column in columns_of(X) else None
    return getattr(X, "labels", None)


def _categories(labels: Any) -> list[Any] | None:
    dtype: Any = getattr(labels, "dtype", None)
    return dtype.categories.tolist() if getattr(dtype, "ordered", None) is True else None

"""Labels: one list of them, of one type and with one for each text, or an error that says why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import Enum
from typing import Any, cast

import numpy as np

from dann_transfer.ground.notices import warn
from dann_transfer.texts.frames import column_of, columns_of, is_blank, is_frame, plain_list, show


def labels_of(frame: Any, column: str, name: str) -> list[Any]:
    """Return a label column; the numbers of a datasets.ClassLabel become their names."""
    values = plain_list(column_of(frame, column, name, "label_column"))
    features = getattr(frame, "features", None)
    names = getattr(features.get(column), "names", None) if isinstance(features, Mapping) else None
    if names is None:
        return values
    # -1 stands for no label.
    return [None if value is None or value < 0 else names[int(value)] for value in values]


def _label(value: Any, where: str) -> str | int | bool | float:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Enum) and isinstance(value, str | int):
        # For a member of a str enum, numpy would store its name instead of its value.
        value = value.value
    if isinstance(value, str):
        value = str.__str__(value)
    # An empty cell of a CSV file reads as a blank string.
    if is_blank(value):
        raise ValueError(
            f"{where} is missing ({show(value)}); drop that text or give it a label. "
            "Texts without labels belong in X_target."
        )
    if not isinstance(value, str | bool | int | float):
        raise TypeError(
            f"{where} is {show(value)} ({type(value).__name__}); "
            "labels must be strings, integers or booleans."
        )
    if isinstance(value, str) and value.endswith("\0"):
        raise ValueError(
            f"{where} is {show(value)}; numpy drops null characters at the end of a string, so "
            "labels that differ only by them would become one. Remove them."
        )
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(f"{where} is {value!r}, which does not fit in 64 bits; use strings.")
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(
            f"{where} is {value!r}; labels are classes, not quantities. "
            "Bin the values, or use strings or integers."
        )
    return value


def as_labels(y: Any, n: int, name: str = "y", texts_name: str = "X") -> np.ndarray:
    """Turn what the user passed as labels into a 1-d array of one type and length n.

    Raises
    ------
    TypeError
        If a label is not a string, an integer or a boolean, or if types are mixed.
    ValueError
        If the number of labels is not n, a label is missing or fractional, or y is not 1-d.

    Examples
    --------
    >>> as_labels(["no", "yes"], 2)
    array(['no', 'yes'], dtype='<U3')

    """
    if y is None:
        raise ValueError(
            f"{name} is None: {texts_name} needs its labels. "
            f"Pass {name}=..., or a frame with a label column."
        )
    if isinstance(y, str | bytes | Mapping | set | frozenset) or not hasattr(y, "__len__"):
        raise TypeError(f"{name} is {show(y)} ({type(y).__name__}); pass a list of labels.")
    _refuse_columns(y, name)
    values = [_label(value, f"{name}[{i}]") for i, value in enumerate(plain_list(y))]
    if len(values) != n:
        raise ValueError(
            f"{texts_name} has {n} texts but {name} has {len(values)} labels; "
            "they must be of the same length and in the same order."
        )
    kinds = Counter(type(value).__name__ for value in values)
    if len(kinds) > 1:
        raise TypeError(
            f"{name} mixes label types ({dict(kinds)}); make them all of one type, "
            f"for example [str(v) for v in {name}]."
        )
    _warn_of_near_labels(values, name)
    return np.asarray(values)


class LabelWarning(UserWarning):
    """Some labels differ only by letter case or white space."""


def _warn_of_near_labels(values: list[Any], name: str) -> None:
    """Warn of labels that are probably misspellings of one another, or due to an unquoted comma."""
    words = {value for value in values if isinstance(value, str)}
    alike: dict[str, list[str]] = {}
    for word in sorted(words):
        alike.setdefault(" ".join(word.split()).casefold(), []).append(word)
    slips = [own for own in alike.values() if len(own) > 1]
    padded = [word for word in sorted(words) if word != word.strip()]
    if slips:
        warn(
            f"labels of {name} differ only by letter case or white space, and count as separate "
            f"classes: {slips[:3]}. If they are the same class, make them equal, for example with "
            "str.strip and str.lower.",
            LabelWarning,
        )
    elif padded:
        warn(
            f"labels of {name} begin or end with white space: {padded[:3]}. The cause may be a CSV "
            "file in which a text that contains a comma is not in quotes.",
            LabelWarning,
        )


def _refuse_columns(y: Any, name: str) -> None:
    """Refuse labels in several columns, and explain how to pass the right ones."""
    shape = tuple(getattr(y, "shape", ()))
    if hasattr(y, "ndim") and y.ndim == 0:
        raise TypeError(f"{name} is the single value {show(y)}; pass a list of labels.")
    names = columns_of(y) if is_frame(y) else None
    rows = None if names is not None or hasattr(y, "shape") else plain_list(y)
    if rows is not None and rows and all(isinstance(row, list | tuple) for row in rows):
        if len({len(row) for row in rows}) > 1:
            raise ValueError(
                f"{name} has lists of several lengths, such as {show(min(rows, key=len))} and "
                f"{show(max(rows, key=len))}; mark several labels of a text as 0 or 1 in a column "
                "for each label, as sklearn.preprocessing.MultiLabelBinarizer does."
            )
        shape = (len(rows), len(rows[0]))
    if names is None and len(shape) < 2:
        return
    columns = shape[1] if len(shape) == 2 else len(names or ())
    if columns == 1 and len(shape) <= 2:
        remedy = f"pass {name}[{names[0]!r}]." if names else f"pass {name}.ravel()."
        if rows is not None:
            remedy = f"pass [row[0] for row in {name}]."
        raise ValueError(f"{name} has one column, shape {shape}; {remedy}")
    said = f"{name} has shape {shape}" if shape else f"{name} has the columns {names}"
    marks = None if len(shape) > 2 else _as_marks(y)
    if marks is None:
        if names:
            raise ValueError(f"{said}; pass the one that holds the labels, {name}[...].")
        raise ValueError(f"{said}; labels must be one-dimensional, one per text.")
    if (marks.sum(1) == 1).all():
        raise ValueError(
            f"{said}: one-hot labels. Pass the classes, such as np.asarray({name}).argmax(axis=1)."
        )
    raise ValueError(
        f"{said}: several labels per text. Train one model per label: "
        "sklearn.multioutput.MultiOutputClassifier(DomainAdapter(...))."
    )


def _as_marks(y: Any) -> np.ndarray | None:
    """Return columns of 0 and 1 as an array, or None where they hold anything else."""
    try:
        marks = np.asarray(y if not hasattr(y, "to_pandas") else y.to_pandas()).astype(float)
    except (TypeError, ValueError):
        return None
    return marks if marks.ndim == 2 and np.isin(marks, [0, 1]).all() else None


def encode_labels(labels: np.ndarray, classes: np.ndarray, name: str) -> np.ndarray:
    """Turn labels into positions in `classes`, shape (n,).

    Raises
    ------
    ValueError
        If a label is not among the classes.

    """
    unknown = sorted(set(labels.tolist()) - set(classes.tolist()), key=str)
    if unknown:
        raise ValueError(
            f"{name} has labels that the source does not have: {unknown[:5]}; "
            f"the source's classes are {classes.tolist()[:20]}."
        )
    return cast(np.ndarray, np.searchsorted(classes, labels))

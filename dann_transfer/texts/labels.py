"""Labels: one list of them, of one type and with one for each text, or an error that says why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from enum import Enum
from typing import Any

import numpy as np

from dann_transfer.ground.notices import warn
from dann_transfer.texts.frames import column_of, columns_of, is_blank, is_frame, plain_list, show
from dann_transfer.texts.places import Fault, Places, checked


def labels_of(frame: Any, column: str, name: str) -> list[Any]:
    """Return a label column; the numbers of a datasets.ClassLabel become their names."""
    values = plain_list(column_of(frame, column, name, "label_column"))
    features = getattr(frame, "features", None)
    names = getattr(features.get(column), "names", None) if isinstance(features, Mapping) else None
    if names is None:
        return values
    # -1 stands for no label.
    return [None if value is None or value < 0 else names[int(value)] for value in values]


def _label(value: Any) -> str | int | bool | float:
    """Return a label as a Python value, or raise what is wrong with it."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Enum) and isinstance(value, str | int):
        # For a member of a str enum, numpy would store its name instead of its value.
        value = value.value
    if isinstance(value, str):
        value = str.__str__(value)
    # An empty cell of a CSV file reads as a blank string.
    if is_blank(value):
        raise Fault(
            ValueError,
            f"is missing ({show(value)})",
            "drop that text or give it a label. Texts without labels belong in X_target.",
        )
    if not isinstance(value, str | bool | int | float):
        raise Fault(
            TypeError,
            f"is {show(value)} ({type(value).__name__})",
            "labels must be strings, integers or booleans.",
        )
    if isinstance(value, str) and value.endswith("\0"):
        raise Fault(
            ValueError,
            f"is {show(value)}",
            "numpy drops null characters at the end of a string, so "
            "labels that differ only by them would become one. Remove them.",
        )
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise Fault(ValueError, f"is {value!r}, which does not fit in 64 bits", "use strings.")
    if isinstance(value, float) and not value.is_integer():
        raise Fault(
            ValueError,
            f"is {value!r}",
            "labels are classes, not quantities. Bin the values, or use strings or integers.",
        )
    return value


def as_labels(
    y: Any, n: int, name: str = "y", texts_name: str = "X", places: Places | None = None
) -> np.ndarray:
    """Turn what the user passed as labels into a 1-d array of one type and length n.

    Raises
    ------
    TypeError
        If a label is not a string, an integer or a boolean, or if types are mixed.
    ValueError
        If the number of labels is not n, a label is missing, a number with decimals or several
        labels in one, or y is not 1-d. Errors call rows by `places`, by default positions in y.

    Examples
    --------
    >>> as_labels(["no", "yes"], 2)
    array(['no', 'yes'], dtype='<U3')

    """
    places = places or Places(name)
    if y is None:
        raise ValueError(
            f"{name} is None: {texts_name} needs its labels. "
            f"Pass {name}=..., or a frame with a label column."
        )
    if isinstance(y, str | bytes | Mapping | set | frozenset) or not hasattr(y, "__len__"):
        raise TypeError(f"{name} is {show(y)} ({type(y).__name__}); pass a list of labels.")
    if type(getattr(y, "dtype", None)).__name__ == "StringDType":
        raise TypeError(
            f"{name} has numpy's StringDType, which scikit-learn can neither score nor split; "
            f"pass {name}.astype(object)."
        )
    _refuse_columns(y, name)
    values = checked(_without_class_gaps(y), _label, places)
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
    if "str" in kinds:
        _refuse_quantities(values, places)
        _refuse_several(values, places)
        _warn_of_near_labels(values, name)
    return np.asarray(values)


def _without_class_gaps(y: Any) -> list[Any]:
    """Return the values of y, with None where a column of a datasets.ClassLabel has -1."""
    values = plain_list(y)
    # A column knows its dataset, and that one what its numbers stand for.
    features = getattr(getattr(y, "source", None), "features", None)
    feature = features.get(getattr(y, "column_name", "")) if isinstance(features, Mapping) else None
    if getattr(feature, "names", None) is None:
        return values
    return [None if value is None or value < 0 else value for value in values]


_DECIMALS = re.compile(r"\s*[+-]?\d*[.,]?\d+([eE][+-]?\d+)?\s*", re.ASCII)


def number_of(label: str) -> float | None:
    """Return what a label is as a number, or None."""
    return float(label.replace(",", ".")) if _DECIMALS.fullmatch(label) else None


def _refuse_quantities(labels: list[Any], places: Places) -> None:
    """Raise if all labels are numbers in writing, and some have decimals."""
    numbers = {label: number_of(label) for label in set(labels)}
    if any(number is None for number in numbers.values()):
        return
    decimals = {label for label, number in numbers.items() if number and not number.is_integer()}
    if decimals:
        rows = [i for i, label in enumerate(labels) if label in decimals]
        raise ValueError(
            f"{places.fault(rows, f'is {labels[rows[0]]!r}')}; the label column holds numbers with "
            f"decimals such as {labels[rows[0]]}, and labels are classes, not quantities. Bin the "
            "values, or name the column of classes. Codes that only look like numbers need a "
            "letter, such as 'v1.10'."
        )


def _refuse_several(labels: list[Any], places: Places) -> None:
    """Raise if a label is several in one, each a class of its own; warn if it looks like that."""
    classes = set(labels)
    parts = {
        label: label.split(mark)
        for mark in "#|"
        for label in classes
        # "C#" and "a | b" are names.
        if mark in label and all(part and part == part.strip() for part in label.split(mark))
    }
    several = {label for label, words in parts.items() if classes.issuperset(words)}
    if several:
        rows = [i for i, label in enumerate(labels) if label in several]
        raise ValueError(
            f"{places.fault(rows, f'is {labels[rows[0]]!r}, several labels')}; each is a class of "
            "its own elsewhere, and a text has one class here. Remove these rows, or train one "
            "model per label: sklearn.multioutput.MultiOutputClassifier(DomainAdapter(...))."
        )
    # Commas, semicolons and strokes stand in names, too.
    joint = [
        label
        for label in classes
        if label not in parts
        and any(
            classes.issuperset(part.strip() for part in label.split(mark))
            for mark in ",;/"
            if mark in label
        )
    ]
    if odd := sorted([*parts, *joint])[:3]:
        warn(
            f"labels of {places.name} look like several in one, and count as classes of their own: "
            f"{odd}. If they are several, remove these texts or train one model per label.",
            LabelWarning,
        )


class LabelWarning(UserWarning):
    """Some labels may not be the classes that were meant."""


def _warn_of_near_labels(values: list[Any], name: str) -> None:
    """Warn of labels that are probably misspellings of one another, or due to an unquoted comma."""
    words = set(values)
    alike: dict[str, list[str]] = {}
    for word in sorted(words):
        number = number_of(word)
        key = " ".join(word.split()).casefold() if number is None else repr(number)
        alike.setdefault(key, []).append(word)
    slips = [words for words in alike.values() if len(words) > 1]
    padded = [word for word in sorted(words) if word != word.strip()]
    if slips:
        warn(
            f"labels of {name} differ only by letter case or white space, or in how a number is "
            f"written, and count as separate classes: {slips[:3]}. If they are the same class, "
            "make them equal, for example with str.strip and str.lower.",
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
        f"{said}: several labels per text. DomainAdapter.fit takes them; elsewhere train one model "
        "per label: sklearn.multioutput.MultiOutputClassifier(DomainAdapter(...))."
    )


def _as_marks(y: Any) -> np.ndarray | None:
    """Return columns of 0 and 1 as an array, or None where they hold anything else."""
    try:
        marks = np.asarray(y if not hasattr(y, "to_pandas") else y.to_pandas()).astype(float)
    except (TypeError, ValueError):
        return None
    return marks if marks.ndim == 2 and np.isin(marks, [0, 1]).all() else None


def class_positions(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Turn labels into positions in `classes`, shape (n,), and -1 where a label is none of them.

    A class 1 may be written "1": a CSV file has "1" where JSON and Parquet have 1.

    Examples
    --------
    >>> class_positions(np.array(["1", "0", "2"]), np.array([0, 1])).tolist()
    [1, 0, -1]

    """
    places = {label: place for place, label in enumerate(classes.tolist())}
    written = {str(label): place for label, place in places.items()}
    return np.array(
        [places[v] if v in places else written.get(str(v), -1) for v in labels.tolist()], dtype=int
    )


def with_unknown(classes: np.ndarray, unknown: Any) -> np.ndarray:
    """Return the classes that a test text may have: those of the source, then `unknown`.

    Examples
    --------
    >>> with_unknown(np.array(["no", "yes"]), "other").tolist(), with_unknown(np.array([0]), None)
    (['no', 'yes', 'other'], array([0]))

    """
    return classes if unknown is None else np.append(classes, unknown)


def check_unknown_kind(unknown: Any, classes: np.ndarray) -> None:
    """Raise a ValueError if the label for texts of new classes is a class, or of another kind.

    Examples
    --------
    >>> check_unknown_kind("no", np.array(["no", "yes"]))
    Traceback (most recent call last):
    ...
    ValueError: unknown='no' is a class of the source; name one that it does not have: ...

    """
    if unknown is None:
        return
    listed = classes.tolist()
    if class_positions(np.array([unknown]), classes)[0] >= 0:
        raise ValueError(
            f"unknown={unknown!r} is a class of the source; name one that it does not have: "
            f"{listed[:20]}."
        )
    if isinstance(unknown, str) is not isinstance(listed[0], str) or isinstance(listed[0], bool):
        kind = type(listed[0]).__name__
        remedy = "use strings as labels" if kind == "bool" else f"name a label of type {kind}"
        raise ValueError(
            f"unknown={unknown!r} is of another kind than the labels, which are {listed[:3]} "
            f"({kind}); {remedy}."
        )


def encode_labels(
    labels: np.ndarray, classes: np.ndarray, name: str, unknown: Any = None
) -> np.ndarray:
    """Turn labels into `class_positions`, shape (n,), and `unknown` into the next one.

    Raises
    ------
    ValueError
        If a label is not among the classes.

    """
    codes = class_positions(labels, with_unknown(classes, unknown))
    if others := sorted(set(labels[codes < 0].tolist()), key=str):
        hint = "" if unknown is None else f", and texts of other classes have {unknown!r}"
        raise ValueError(
            f"{name} has labels that the source does not have: {others[:5]}; "
            f"the source's classes are {classes.tolist()[:20]}{hint}."
        )
    return codes

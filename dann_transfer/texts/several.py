"""Several labels a text: a matrix of marks, or a list of labels for each text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dann_transfer.ground.notices import warn
from dann_transfer.texts.exports import columns_beside
from dann_transfer.texts.frames import columns_of, is_frame, plain_list
from dann_transfer.texts.labels import LabelWarning, as_labels, class_positions
from dann_transfer.texts.places import Places
from dann_transfer.texts.reading import Domain, as_texts

MATRIX, LISTS = "matrix", "lists"
"""The forms in which several labels are passed, and predicted."""


@dataclass(frozen=True)
class Several:
    """Several labels of each text."""

    classes: np.ndarray
    """The labels: in the order of the columns, or sorted where there were lists."""
    marks: np.ndarray
    """1 where a text has a label, shape (n, labels), uint8."""
    form: str
    """`MATRIX` or `LISTS`."""


def in_form(marks: np.ndarray, classes: np.ndarray, form: str) -> Any:
    """Return marks (n, labels) as a matrix of 0 and 1, or as a list of labels for each text.

    Examples
    --------
    >>> in_form(np.array([[1, 0], [1, 1]]), np.array(["a", "b"]), LISTS)
    [['a'], ['a', 'b']]

    """
    if form == MATRIX:
        return marks.astype(int)
    return [classes[row.astype(bool)].tolist() for row in marks]


def several_of(
    X: Any, y: Any, name: str, y_name: str, text_column: str = "text", label_column: str = "label"
) -> tuple[list[str], Several] | None:
    """Return texts with several labels each, or None if `y` holds one label a text.

    Parameters
    ----------
    X : sequence, table or Domain
    y : array, DataFrame or sparse matrix of 0 and 1, or list of lists of labels, optional
        Its columns or lists; may be left out where X carries lists in `label_column`.
    name, y_name : str
        What the user calls them.
    text_column, label_column : str

    Raises
    ------
    TypeError, ValueError
        If the marks or labels are not of the texts, or are no labels.

    Examples
    --------
    >>> several_of(["x", "y", "z"], [["b"], [], ["a", "b"]], "X", "y")[1].marks.tolist()
    [[0, 1], [0, 0], [1, 1]]

    """
    labels = _carried(X, label_column) if y is None else y
    if isinstance(X, Mapping) and not is_frame(X):
        for part, value in X.items():
            inner = value[1] if isinstance(value, tuple) and len(value) == 2 else None
            if _kind(_carried(value, label_column) if inner is None else inner) is not None:
                raise ValueError(
                    f"X[{part!r}] has several labels a text; of such texts pass one source, with "
                    "its texts joined: X=texts, y=labels."
                )
        return None
    kind = _kind(labels)
    if kind is None:
        return None
    texts = as_texts(X, name, text_column)
    several = _checked(labels, kind, len(texts), name, y_name)
    if len(several.classes) < 2:
        only = several.classes[0].item()
        raise ValueError(f"{y_name} has only one label, {only!r}; pass at least two.")
    return texts, several


def marks_of(
    X: Any,
    y: Any,
    name: str,
    y_name: str,
    columns: tuple[str, str],
    classes: np.ndarray,
    form: str,
) -> tuple[list[str], np.ndarray]:
    """Return texts and their marks, (n, labels), in the order of a model's labels.

    Columns without names are taken for those of the source, in their order.

    Raises
    ------
    TypeError, ValueError
        As `several_of` does; if the form is another, or there are labels that the source lacks.

    """
    labels = _carried(X, columns[1]) if y is None else y
    kind = _kind(labels, form)
    if kind != form:
        raise ValueError(
            f"the source's labels are {'a matrix' if form == MATRIX else 'lists'}, several a text, "
            f"and {y_name} is not; pass it in the same form."
        )
    texts = as_texts(X, name, columns[0])
    several = _checked(labels, kind, len(texts), name, y_name)
    unnamed = form == MATRIX and not is_frame(labels)
    places = np.arange(len(several.classes))
    if not unnamed:
        places = class_positions(several.classes, classes)
    wrong_columns = form == MATRIX and len(several.classes) != len(classes)
    if wrong_columns or (places < 0).any():
        raise ValueError(
            f"{y_name} has the labels {several.classes.tolist()[:20]}, and the source has "
            f"{classes.tolist()[:20]}; pass those of the source."
        )
    marks = np.zeros((len(texts), len(classes)), np.uint8)
    marks[:, places] = several.marks
    return texts, marks


RARE = 0.05
"""Where fewer texts have several labels, or none, these may be mistakes."""


def warn_of_oddities(several: Several, name: str) -> None:
    """Warn of labels that no text has, or all have, and if hardly a text has several."""
    others = int((several.marks.sum(1) != 1).sum())
    if others < RARE * len(several.marks):
        warn(
            f"only {others} of {len(several.marks):,} texts of {name} have several labels, or "
            "none; all labels are learnt as several a text. If these rows are mistakes, remove "
            "them and pass one label a text, for which all methods work.",
            LabelWarning,
        )
    shares = several.marks.mean(0)
    if odd := several.classes[(shares == 0) | (shares == 1)].tolist():
        warn(
            f"labels of {name} are on no text, or on every one: {odd[:5]}; nothing can be learnt "
            "about these.",
            LabelWarning,
        )


def _carried(X: Any, label_column: str) -> Any:
    """Return the labels that a table or a Domain carries, if any."""
    if isinstance(X, Domain):
        return X.labels
    if is_frame(X) and label_column in (there := columns_of(X)):
        # What labelling tools write beside it says which rows count.
        answers = {*columns_beside(label_column)} - {label_column}
        return None if answers & {*there} else plain_list(X[label_column])
    return None


def _checked(labels: Any, kind: str, n: int, name: str, y_name: str) -> Several:
    several = _matrix(labels, y_name) if kind == MATRIX else _lists(labels, y_name)
    if len(several.marks) != n:
        raise ValueError(
            f"{name} has {n} texts but {y_name} has {len(several.marks)} rows; they must be of the "
            "same length and in the same order."
        )
    return several


_LISTS = list | tuple | set | frozenset | np.ndarray


def _kind(labels: Any, form: str | None = None) -> str | None:
    """Return the form of several labels, or None for anything else, which `as_labels` judges.

    One mark in every row, and lists none of which has two labels, are one label a text (tools
    export an empty list for a text without an answer), unless the form of the source is `form`.
    """
    if labels is None or isinstance(labels, str | bytes | Mapping):
        return None
    if hasattr(labels, "toarray") or is_frame(labels) or getattr(labels, "ndim", 1) == 2:
        return _kind_of_columns(_numbers(labels), form)
    if not hasattr(labels, "__len__") or getattr(labels, "ndim", 1) != 1:
        return None
    rows = plain_list(labels)
    if not rows or not all(isinstance(row, _LISTS) for row in rows):
        return None
    if form != LISTS and len({len(row) for row in rows}) == 1 and len(rows[0]) > 1:
        marks = _numbers([list(row) for row in rows])
        if marks is not None:
            return _kind_of_columns(marks, form)
    return LISTS if form == LISTS or any(len(row) > 1 for row in rows) else None


def _kind_of_columns(marks: np.ndarray | None, form: str | None) -> str | None:
    if marks is None or marks.shape[1] < 2:
        return None
    return MATRIX if form == MATRIX or (marks.sum(1) != 1).any() else None


def _numbers(labels: Any) -> np.ndarray | None:
    """Return columns of 0 and 1 as an array (n, labels), or None where they hold anything else."""
    if hasattr(labels, "toarray"):
        labels = labels.toarray()
    elif hasattr(labels, "to_pandas"):
        labels = labels.to_pandas()
    try:
        marks = np.asarray(labels).astype(float)
    except (TypeError, ValueError):
        return None
    return marks if marks.ndim == 2 and np.isin(marks, [0, 1]).all() else None


def _matrix(labels: Any, name: str) -> Several:
    marks = _numbers(labels)
    assert marks is not None
    names = columns_of(labels) if is_frame(labels) else list(range(marks.shape[1]))
    classes = as_labels(names, len(names), f"the columns of {name}")
    if len(set(classes.tolist())) < len(classes):
        raise ValueError(f"{name} has several columns of one name: {classes.tolist()}.")
    return Several(classes, marks.astype(np.uint8), MATRIX)


def _lists(labels: Any, name: str) -> Several:
    rows = [list(row) for row in plain_list(labels)]
    places = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    flat = [label for row in rows for label in row]
    if not flat:
        raise ValueError(f"{name} has no label in any of its {len(rows)} lists.")
    values = as_labels(flat, len(flat), name, places=Places(name).at(places.tolist()))
    classes, codes = np.unique(values, return_inverse=True)
    marks = np.zeros((len(rows), len(classes)), np.uint8)
    marks[places, codes] = 1
    return Several(classes, marks, LISTS)

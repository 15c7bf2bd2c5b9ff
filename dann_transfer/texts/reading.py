"""Turn what the user passed into texts and their labels; errors about bad texts are raised here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from dann_transfer.ground.notices import warn
from dann_transfer.texts.exports import MARK, Answers, answers_of, columns_beside
from dann_transfer.texts.files import FileTexts, is_table, left_out, places_of, read_table
from dann_transfer.texts.frames import (
    column_of,
    columns_of,
    is_blank,
    is_frame,
    is_missing,
    plain_list,
    refuse_lazy,
    refuse_splits,
    show,
)
from dann_transfer.texts.labels import LabelWarning, as_labels, labels_of
from dann_transfer.texts.places import EmptyTextError, Fault, Places, checked
from dann_transfer.texts.separated import RowWarning

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Domain:
    """The texts of one domain, with their labels if these are known.

    ``DomainAdapter.fit`` also takes one as ``X_target``. Inside ``GridSearchCV`` that is the way
    to keep the target whole: scikit-learn slices every fit parameter that is as long as ``X``,
    but leaves an object without a length alone, so this class has no length on purpose.

    Examples
    --------
    >>> Domain(["a fine film", "a dull film"], ["positive", "negative"])
    Domain(2 texts; 'positive': 1, 'negative': 1)

    """

    texts: Sequence[str]
    labels: Sequence[Any] | np.ndarray | None = None

    def __repr__(self) -> str:
        # The texts of a corpus would fill a thousand screens.
        labelled = "no labels"
        if self.labels is not None:
            # Not yet checked: a label may be a list, which cannot be counted.
            labels = getattr(self.labels, "tolist", lambda: plain_list(self.labels))()
            values = (x.item() if isinstance(x, np.generic) else x for x in labels)
            counts = Counter(map(show, values)).most_common(5)
            labelled = ", ".join(f"{label}: {n:,}" for label, n in counts)
        # The texts of a file are not counted.
        n = f"{len(self.texts):,} texts" if hasattr(self.texts, "__len__") else repr(self.texts)
        return f"Domain({n}; {labelled})"


class EmptyTextWarning(UserWarning):
    """Some texts to predict are empty or only white space."""


def texts_in_parts(parts: Iterable[Any], name: str, text_column: str) -> Iterator[list[str]]:
    """Yield parts of the texts to predict as `as_texts` does, and warn of empty ones at the end.

    Errors and the warning number the texts across all parts.
    """
    n = 0
    blank: list[int] = []
    for part in parts:
        part = part if hasattr(part, "__len__") else list(part)
        if not len(part):
            continue
        texts = _checked(part, name, text_column, True, n)
        blank += [n + i for i, text in enumerate(texts) if not text]
        n += len(texts)
        yield texts
    if not n:
        raise ValueError(f"{name} holds no texts; pass at least one.")
    _warn_empty(blank, n, name)


def _warn_empty(blank: list[int], n: int, name: str) -> None:
    if blank:
        warn(
            f"{len(blank)} of {n} texts of {name} are empty, the first of them "
            f"{name}[{blank[0]}]: the model has nothing to go by for these.",
            EmptyTextWarning,
        )


def as_texts(
    X: Any, name: str, text_column: str = "text", empty_is_text: bool = False
) -> list[str]:
    """Turn what the user passed as texts into a list of strings.

    It accepts a list, tuple, 1-d numpy array, pandas Series, any other sequence of strings, a
    :class:`Domain`, a table of pandas, polars, pyarrow or datasets with a column `text_column`, or
    the path of a file with such a column.

    Parameters
    ----------
    X : object
    name : str
        The name used for it in errors.
    text_column : str
        The column of texts in a table.
    empty_is_text : bool
        Whether a blank or missing text counts as an empty text, with a warning. Otherwise it is
        refused.

    Raises
    ------
    TypeError
        If X is a single string, bytes, a mapping, a set, an iterator, or holds a non-string.
    ValueError
        If X holds no text, or a text that is blank or not valid Unicode, or lacks the column.

    Examples
    --------
    >>> as_texts(("good", "bad"), "X")
    ['good', 'bad']

    """
    texts = _checked(X, name, text_column, empty_is_text, 0)
    _warn_empty([i for i, text in enumerate(texts) if not text], len(texts), name)
    return texts


def _checked(X: Any, name: str, text_column: str, empty_is_text: bool, start: int) -> list[str]:
    """Return the texts of one part, checked, with positions counted from `start`."""
    places = Places(name)
    if isinstance(X, Domain):
        X = X.texts
    if isinstance(X, PathLike):
        X = FileTexts(X, text_column)
    if isinstance(X, FileTexts):
        numbered = list(X.numbered())
        places = X.places(name).at([row for row, _ in numbered])
        X = [text for _, text in numbered]
    if X is None:
        raise TypeError(f"{name} is None; pass a list of texts.")
    if isinstance(X, str | bytes):
        remedy = f"pass a list of texts, such as [{name}]."
        if isinstance(X, str) and is_table(X):
            remedy = f"to read it as a file pass pathlib.Path({X!r})."
        raise TypeError(f"{name} is a single {type(X).__name__}, {show(X)}; {remedy}")
    refuse_splits(X, name)
    refuse_lazy(X, name)
    if is_frame(X):
        X = column_of(X, text_column, name, "text_column")
    if isinstance(X, Mapping | set | frozenset):
        raise TypeError(
            f"{name} is a {type(X).__name__}, which is not an ordered list of texts; pass a list."
        )
    if isinstance(X, Iterator):
        raise TypeError(
            f"{name} is an iterator ({type(X).__name__}), which can be read only once; "
            f"pass list({name})."
        )
    if isinstance(X, np.ndarray) and X.ndim == 0:
        raise TypeError(f"{name} is the single value {show(X)}; pass a list of texts.")
    if isinstance(X, np.ndarray) and X.ndim != 1:
        raise ValueError(
            f"{name} has shape {X.shape}; texts must be one-dimensional, such as {name}[:, 0]."
        )
    try:
        values = plain_list(X)
    except TypeError:
        raise TypeError(
            f"{name} is {show(X)} ({type(X).__name__}); pass a list of texts."
        ) from None
    if not values:
        raise ValueError(f"{name} holds no texts; pass at least one.")
    return checked_texts(values, places, empty_is_text, start)


def checked_texts(
    values: Sequence[Any], places: Places, may_be_empty: bool = False, start: int = 0
) -> list[str]:
    """Return values that are all texts, or raise for the first that is not."""
    if may_be_empty:
        values = ["" if is_blank(value) else value for value in values]
    return checked(values, partial(_text, may_be_empty=may_be_empty), places, start)


def _text(value: Any, may_be_empty: bool) -> str:
    """Return a text, or raise what is wrong with it."""
    if not isinstance(value, str):
        raise Fault(
            TypeError,
            f"is {show(value)} ({type(value).__name__}), not a string",
            "remove it or turn it into text.",
        )
    if not may_be_empty and is_blank(value):
        raise Fault(
            EmptyTextError,
            f"is empty or only white space: {show(value)}",
            "remove it or put a placeholder such as '[empty]' in its place.",
        )
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise Fault(
                ValueError,
                f"is not valid Unicode ({error.reason} at {error.start}): {show(value)}",
                "re-read it with the right encoding or errors='replace'.",
            ) from None
    # `str(value)` would return what a subclass of str, such as an enum, chooses to display.
    return str.__str__(value)


def read_labelled(
    path: str | PathLike[str],
    text_column: str,
    label_column: str,
    others: Sequence[str] = (),
    encoding: str | None = None,
    separator: str | None = None,
    quoting: str | None = None,
    header: bool = True,
    skip_missing: bool = False,
) -> pd.DataFrame:
    """Read texts with one label each, and other columns; the index is the row in the file, from 0.

    Answers that an annotator rejected, skipped or discarded are left out, with a warning.

    Parameters
    ----------
    path : path
    text_column, label_column : str
    others : sequence of str
    encoding, separator, quoting, header
        As for `read_table`.
    skip_missing : bool
        Whether rows without text or label are left out, with a warning.

    Raises
    ------
    TypeError, ValueError
        As `read_table` does, and if a row has several labels.

    """
    columns = [text_column, *(column for column in others if column != text_column)]
    extra = columns_beside(label_column)
    optional = list(dict.fromkeys([label_column, *extra]))
    form = encoding, separator, False, quoting
    frame = read_table(path, columns, *form, optional, header)
    if not {label_column, *extra} - {"answer"} & {*frame.columns}:
        # It says which columns there are.
        read_table(path, [*columns, label_column], *form, header=header)
    places = places_of(path, label_column, columns, encoding, separator, quoting, header)
    answers = _answers(frame, label_column, repr(str(path)), places)
    frame = frame.iloc[answers.rows].set_axis(answers.rows)
    import pandas as pd

    frame[label_column] = pd.Series(answers.labels, frame.index, dtype=object)
    if skip_missing:
        gap = frame[text_column].map(is_blank) | frame[label_column].map(is_blank)
        if gap.any():
            rows = (frame.index[gap] + 1).unique().tolist()
            warn(f"{str(path)!r}: {left_out(rows, 'text, or no label')}", RowWarning)
        frame = frame[~gap]
    return frame[list(dict.fromkeys([text_column, label_column, *others]))]


def _answers(frame: Any, label_column: str, name: str, places: Places) -> Answers:
    """Return the labels of a table, and warn of those that are left out."""
    there = {*columns_of(frame)}
    columns = {
        column: plain_list(column_of(frame, column, name, "label_column"))
        for column in columns_beside(label_column)
        if column in there
    }
    # Prodigy's choices and Label Studio's tasks have no column of labels.
    answers = None if label_column in there else answers_of(columns, label_column, places)
    if answers is None:
        columns[label_column] = labels_of(frame, label_column, name)
        answers = answers_of(columns, label_column, places) or Answers()
    if answers.left_out:
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in answers.left_out.items())
        warn(f"{name} has answers that are left out: {reasons}.", LeftOutWarning)
    if not answers.rows:
        raise ValueError(f"{name} has no row with a label that was accepted or submitted.")
    return answers


class LeftOutWarning(UserWarning):
    """Some rows of a labelling tool's export are no labelled texts."""


def as_labelled(
    X: Any, y: Any, name: str, y_name: str, text_column: str = "text", label_column: str = "label"
) -> tuple[list[str], np.ndarray]:
    """Return texts and labels, from separate arguments or a frame, Domain or file with both.

    Raises
    ------
    TypeError, ValueError
        As `as_texts` and `as_labels` do.

    """
    places = Places(y_name)
    if y is None and isinstance(X, PathLike):
        frame = read_labelled(X, text_column, label_column)
        both = [text_column, label_column]
        places = places_of(X, y_name, both).at(frame.index.tolist())
        texts = checked_texts(frame[text_column].tolist(), replace(places, name=name))
        y = frame[label_column].tolist()
    elif y is None and is_frame(X):
        refuse_splits(X, name)
        refuse_lazy(X, name)
        values = plain_list(column_of(X, text_column, name, "text_column"))
        answers = _answers(X, label_column, name, places)
        places = places.at(answers.rows)
        texts = checked_texts([values[row] for row in answers.rows], replace(places, name=name))
        y = answers.labels
    else:
        texts = as_texts(X, name, text_column)
        y = X.labels if y is None and isinstance(X, Domain) else y
    labels = as_labels(y, len(texts), y_name, name, places)
    refuse_marked(texts, name)
    _warn_of_contradictions(texts, labels.tolist(), name)
    return texts, labels


def refuse_marked(texts: Sequence[str], name: str) -> None:
    """Raise if a text holds its own label, as a line of fastText does."""
    text = next((text for text in texts if text.startswith(MARK)), None)
    if text is not None:
        raise ValueError(
            f"{name} has a text that begins with a label, {show(text)}; pass a file of fastText as "
            "pathlib.Path, or take the labels out of the texts."
        )


def _warn_of_contradictions(texts: list[str], labels: list[Any], name: str) -> None:
    """Warn of texts that stand there several times with different labels."""
    first = dict(zip(reversed(texts), reversed(labels), strict=True))
    others = {
        text: label for text, label in zip(texts, labels, strict=True) if label != first[text]
    }
    if others:
        text, label = next(iter(others.items()))
        warn(
            f"{len(others):,} texts of {name} have different labels in different rows, such as "
            f"{show(text)} with {first[text]!r} and {label!r}: all of these rows count. Keep one "
            "of them, if only one is right.",
            LabelWarning,
        )


def as_domain(X: Any, name: str, text_column: str = "text", label_column: str = "label") -> Domain:
    """Return texts to show, which may be blank, with the labels that a Domain or a table has.

    Raises
    ------
    TypeError, ValueError
        As `as_texts` does, and if there are not as many labels as texts.

    """
    labels = X.labels if isinstance(X, Domain) else None
    if is_frame(X) and label_column in columns_of(X):
        answers = _answers(X, label_column, name, Places(name))
        by_row = dict(zip(answers.rows, answers.labels, strict=True))
        labels = [
            by_row.get(row) for row in range(len(column_of(X, text_column, name, "text_column")))
        ]
        # A table to be labelled often has an empty column for it.
        labels = None if all(map(is_missing, labels)) else labels
    texts = as_texts(X, name, text_column, empty_is_text=True)
    if labels is not None and len(labels) != len(texts):
        raise ValueError(f"{name} has {len(texts)} texts and {len(labels)} labels.")
    return Domain(texts, labels)


def as_source(
    X: Any, y: Any, text_column: str = "text", label_column: str = "label"
) -> tuple[list[str], np.ndarray]:
    """Return the source's texts and labels, with at least two classes.

    Raises
    ------
    TypeError, ValueError
        As `as_texts` and `as_labels` do, and if there is only one class.

    """
    texts, labels = as_labelled(X, y, "X", "y", text_column, label_column)
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError(
            f"y has only one class, {classes[0].item()!r}; a classifier needs at least two."
        )
    return texts, labels


def as_sources(
    X: Any, y: Any, text_column: str = "text", label_column: str = "label"
) -> tuple[list[str], np.ndarray, dict[str, int]]:
    """Return the texts and labels of one labelled source, or of several in a mapping of names.

    Returns
    -------
    texts : list of str
    labels : ndarray, shape (n,)
    sizes : dict of str to int
        Number of texts of each domain, in their order; empty if X is not a mapping.

    Raises
    ------
    TypeError, ValueError
        As `as_source` does, naming the domain; or if y is passed along with a mapping.

    Examples
    --------
    >>> as_sources({"a": (["x", "y"], [0, 1]), "b": (["z", "w"], [0, 1])}, None)
    (['x', 'y', 'z', 'w'], array([0, 1, 0, 1]), {'a': 2, 'b': 2})

    """
    refuse_splits(X, "X")
    if not isinstance(X, Mapping):
        return *as_source(X, y, text_column, label_column), {}
    if y is not None:
        raise ValueError(
            "X maps domain names to (texts, labels), so y must be left out; put the labels into X."
        )
    texts: list[str] = []
    labels: list[Any] = []
    sizes: dict[str, int] = {}
    for name, value in X.items():
        where, pair = f"X[{name!r}]", value if isinstance(value, tuple) else (value, None)
        if len(pair) != 2:
            raise TypeError(f"{where} is a tuple of {len(pair)}; pass (texts, labels).")
        if isinstance(value, list):
            raise TypeError(f"{where} is a list; pass the tuple (texts, labels), or a frame.")
        if str(name) in sizes:
            raise ValueError(f"X has two domains named {str(name)!r}; give each its own name.")
        domain = as_labelled(*pair, where, f"the labels of {where}", text_column, label_column)
        texts += domain[0]
        labels += domain[1].tolist()
        sizes[str(name)] = len(domain[0])
    if not sizes:
        raise ValueError("X is an empty mapping; pass at least one domain, name: (texts, labels).")
    if len(kinds := {type(label).__name__ for label in labels}) > 1:
        raise TypeError(
            f"the domains of X have labels of different types ({sorted(kinds)}); make them all of "
            "one type."
        )
    return *as_source(texts, labels), sizes


def as_groups(groups: Any, X: Any, name: str, texts_name: str, n: int) -> np.ndarray:
    """Return the group of each of n texts, as strings; a missing group becomes "(none)".

    Parameters
    ----------
    groups : sequence or str
        One value for each text, or the column of X that holds them.
    X : table, optional
    name, texts_name : str
        What the user calls groups and X.
    n : int

    Raises
    ------
    ValueError
        If there is no such column, or there are not n values.

    Examples
    --------
    >>> as_groups(["a", None, 3], None, "groups", "X", 3).tolist()
    ['a', '(none)', '3']

    """
    if isinstance(groups, str):
        if isinstance(X, PathLike):
            X = read_table(X, [groups])
        if not is_frame(X):
            raise ValueError(
                f"{name}={groups!r} names a column, but {texts_name} is not a table; pass one "
                "value for each text."
            )
        groups = column_of(X, groups, texts_name, name)
    if not isinstance(groups, Iterable) or isinstance(groups, Set | Mapping):
        raise TypeError(
            f"{name}={show(groups)} must be a sequence with one value for each text, or the name "
            "of a column."
        )
    if (shape := getattr(groups, "shape", None)) is not None and len(shape) != 1:
        raise ValueError(f"{name} has shape {tuple(shape)}; pass one value for each text.")
    values = ["(none)" if is_missing(value) else str(value) for value in plain_list(groups)]
    if len(values) != n:
        raise ValueError(
            f"{name} has {len(values)} values for the {n} texts of {texts_name}; pass one for each."
        )
    return np.array(values)

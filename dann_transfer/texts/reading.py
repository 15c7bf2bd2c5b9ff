"""Turn what the user passed into texts and labels; all errors about bad input are raised here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from os import PathLike
from typing import Any, TypeVar, cast

import numpy as np

from dann_transfer.ground import streams
from dann_transfer.ground.notices import warn
from dann_transfer.texts.files import PART, FileTexts, is_table, read_table

T = TypeVar("T")

# A sample of this size is enough to describe predictions: its shares are off by half a point.
LOOKED_AT = 10_000


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
            labels = getattr(self.labels, "tolist", lambda: _plain_list(self.labels))()
            values = (x.item() if isinstance(x, np.generic) else x for x in labels)
            counts = Counter(map(_show, values)).most_common(5)
            labelled = ", ".join(f"{label}: {n:,}" for label, n in counts)
        # The texts of a file are not counted.
        n = f"{len(self.texts):,} texts" if hasattr(self.texts, "__len__") else repr(self.texts)
        return f"Domain({n}; {labelled})"


def _show(value: object, width: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= width else text[: width - 3] + "..."


def _is_frame(X: object) -> bool:
    """Return whether X is a table with named columns: of pandas, polars, pyarrow or datasets."""
    return hasattr(X, "column_names") or (hasattr(X, "columns") and hasattr(X, "__getitem__"))


def _columns_of(frame: Any) -> list[str]:
    # In pyarrow, `columns` holds the columns themselves.
    names = getattr(frame, "column_names", None) or getattr(frame, "columns", None)
    if names is None:
        raise TypeError(
            f"a {type(frame).__name__} that does not know its columns cannot be read; "
            "pass a table in memory."
        )
    return list(names)


def _plain_list(values: Any) -> list[Any]:
    """Turn a column into a list of Python values, by its own conversion if it has one."""
    if hasattr(values, "to_pylist"):  # pyarrow
        return list(values.to_pylist())
    if type(values).__module__.partition(".")[0] == "torch":
        return list(values.tolist())
    return list(values)


def _refuse_lazy(X: object, name: str) -> None:
    """Refuse a lazy table, such as a LazyFrame of polars."""
    if hasattr(X, "collect") and hasattr(X, "collect_schema"):
        raise TypeError(
            f"{name} is a {type(X).__name__}, which holds no rows yet; pass {name}.collect()."
        )


def _refuse_splits(X: object, name: str) -> None:
    """Refuse a datasets.DatasetDict: it maps names of splits, which may include test texts."""
    if isinstance(X, Mapping) and hasattr(X, "column_names"):
        raise TypeError(
            f"{name} is a {type(X).__name__} with the splits {list(X)}; pass one of them, such as "
            f"{name}[{next(iter(X), 'train')!r}]."
        )


def _labels_of(frame: Any, column: str, name: str) -> list[Any]:
    """Return a label column; the numbers of a datasets.ClassLabel become their names."""
    values = _plain_list(_column(frame, column, name, "label_column"))
    features = getattr(frame, "features", None)
    names = getattr(features.get(column), "names", None) if isinstance(features, Mapping) else None
    if names is None:
        return values
    # -1 stands for no label.
    return [None if value is None or value < 0 else names[int(value)] for value in values]


def _column(frame: Any, column: str, name: str, keyword: str) -> Any:
    columns = _columns_of(frame)
    if column not in columns:
        raise ValueError(
            f"{name} has no column {column!r}; its columns are {columns}. "
            f"Name the right one with {keyword}=..."
        )
    if columns.count(column) > 1:
        raise ValueError(f"{name} has {columns.count(column)} columns named {column!r}; keep one.")
    if hasattr(frame, "with_format"):
        # A datasets.Dataset may be set to return tensors, but texts and names are not tensors.
        frame = frame.with_format(None)
    return frame[column]


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
    if isinstance(X, Domain):
        X = X.texts
    if isinstance(X, PathLike):
        X = FileTexts(X, text_column)
    if isinstance(X, FileTexts):
        X = list(X)
    if X is None:
        raise TypeError(f"{name} is None; pass a list of texts.")
    if isinstance(X, str | bytes):
        remedy = f"pass a list of texts, such as [{name}]."
        if isinstance(X, str) and is_table(X):
            remedy = f"to read it as a file pass pathlib.Path({X!r})."
        raise TypeError(f"{name} is a single {type(X).__name__}, {_show(X)}; {remedy}")
    _refuse_splits(X, name)
    _refuse_lazy(X, name)
    if _is_frame(X):
        X = _column(X, text_column, name, "text_column")
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
        raise TypeError(f"{name} is the single value {_show(X)}; pass a list of texts.")
    if isinstance(X, np.ndarray) and X.ndim != 1:
        raise ValueError(
            f"{name} has shape {X.shape}; texts must be one-dimensional, such as {name}[:, 0]."
        )
    try:
        values = _plain_list(X)
    except TypeError:
        raise TypeError(
            f"{name} is {_show(X)} ({type(X).__name__}); pass a list of texts."
        ) from None
    if not values:
        raise ValueError(f"{name} holds no texts; pass at least one.")
    if empty_is_text:
        values = ["" if _is_blank(value) else value for value in values]
    return [_text(value, f"{name}[{i}]", empty_is_text) for i, value in enumerate(values, start)]


def _is_missing(value: Any) -> bool:
    # pandas.NA compares to nothing, so it is recognised by its name; NaN is unequal to itself.
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, float | np.floating) and bool(value != value)


def _is_blank(value: Any) -> bool:
    return _is_missing(value) or (isinstance(value, str) and not value.strip())


def _text(value: Any, where: str, may_be_empty: bool) -> str:
    """Return a text, or raise what is wrong with it."""
    if not isinstance(value, str):
        raise TypeError(
            f"{where} is {_show(value)} ({type(value).__name__}), not a string; "
            "remove it or turn it into text."
        )
    if not value.strip() and not may_be_empty:
        raise ValueError(
            f"{where} is empty or only white space: {_show(value)}; "
            "remove it or put a placeholder such as '[empty]' in its place."
        )
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(
                f"{where} is not valid Unicode ({error.reason} at {error.start}): "
                f"{_show(value)}; re-read it with the right encoding or errors='replace'."
            ) from None
    # `str(value)` would return what a subclass of str, such as an enum, chooses to display.
    return str.__str__(value)


def _label(value: Any, where: str) -> str | int | bool | float:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Enum) and isinstance(value, str | int):
        # For a member of a str enum, numpy would store its name instead of its value.
        value = value.value
    if isinstance(value, str):
        value = str.__str__(value)
    # An empty cell of a CSV file reads as a blank string.
    if _is_blank(value):
        raise ValueError(
            f"{where} is missing ({_show(value)}); drop that text or give it a label. "
            "Texts without labels belong in X_target."
        )
    if not isinstance(value, str | bool | int | float):
        raise TypeError(
            f"{where} is {_show(value)} ({type(value).__name__}); "
            "labels must be strings, integers or booleans."
        )
    if isinstance(value, str) and value.endswith("\0"):
        raise ValueError(
            f"{where} is {_show(value)}; numpy drops null characters at the end of a string, so "
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
        raise TypeError(f"{name} is {_show(y)} ({type(y).__name__}); pass a list of labels.")
    _refuse_columns(y, name)
    values = [_label(value, f"{name}[{i}]") for i, value in enumerate(_plain_list(y))]
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
        raise TypeError(f"{name} is the single value {_show(y)}; pass a list of labels.")
    names = _columns_of(y) if _is_frame(y) else None
    rows = None if names is not None or hasattr(y, "shape") else _plain_list(y)
    if rows is not None and rows and all(isinstance(row, list | tuple) for row in rows):
        if len({len(row) for row in rows}) > 1:
            raise ValueError(
                f"{name} has lists of several lengths, such as {_show(min(rows, key=len))} and "
                f"{_show(max(rows, key=len))}; mark several labels of a text as 0 or 1 in a column "
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


def as_labelled(
    X: Any, y: Any, name: str, y_name: str, text_column: str = "text", label_column: str = "label"
) -> tuple[list[str], np.ndarray]:
    """Return texts and labels, from separate arguments or a frame, Domain or file with both.

    Raises
    ------
    TypeError, ValueError
        As `as_texts` and `as_labels` do.

    """
    if y is None and isinstance(X, PathLike):
        X = read_table(X, [text_column, label_column])
    texts = as_texts(X, name, text_column)
    if y is None and isinstance(X, Domain):
        y = X.labels
    elif y is None and _is_frame(X):
        y = _labels_of(X, label_column, name)
    return texts, as_labels(y, len(texts), y_name, name)


def as_domain(X: Any, name: str, text_column: str = "text", label_column: str = "label") -> Domain:
    """Return texts to show, which may be blank, with the labels that a Domain or a table has.

    Raises
    ------
    TypeError, ValueError
        As `as_texts` does, and if there are not as many labels as texts.

    """
    labels = X.labels if isinstance(X, Domain) else None
    if _is_frame(X) and label_column in _columns_of(X):
        labels = _labels_of(X, label_column, name)
        # A table to be labelled often has an empty column for it.
        labels = None if all(map(_is_missing, labels)) else labels
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
    _refuse_splits(X, "X")
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
        own = as_labelled(*pair, where, f"the labels of {where}", text_column, label_column)
        texts += own[0]
        labels += own[1].tolist()
        sizes[str(name)] = len(own[0])
    if not sizes:
        raise ValueError("X is an empty mapping; pass at least one domain, name: (texts, labels).")
    if len(kinds := {type(label).__name__ for label in labels}) > 1:
        raise TypeError(
            f"the domains of X have labels of different types ({sorted(kinds)}); make them all of "
            "one type."
        )
    return *as_source(texts, labels), sizes


def as_target(
    X_target: Any, source: Sequence[str], text_column: str = "text", most: int = LOOKED_AT
) -> tuple[list[str], int]:
    """Return the texts of the unlabelled target. A label column, if there is one, is never read.

    Parameters
    ----------
    X_target : object
        As `as_texts` takes it; or a `FileTexts`, a `datasets.IterableDataset` or another iterable
        that can be read more than once, of which only what is returned is kept in memory.
    source : sequence of str
        Texts that the target must not equal; empty if the target is not trained on.
    text_column : str
    most : int
        The largest number of texts returned.

    Returns
    -------
    texts : list of str
        All texts, or a `sample` of them if there are more than `most`.
    n : int
        The number of all texts.

    Raises
    ------
    TypeError, ValueError
        As `as_texts` does, and if the target holds the same texts as the source.

    """
    known = set(source)
    missing, beside = set(source), False

    def parts() -> Iterator[list[str]]:
        nonlocal beside
        for part in _parts(X_target, "X_target", text_column):
            beside = beside or not known.issuperset(part)
            if not beside:
                missing.difference_update(part)
            yield part

    texts, n = sample(parts(), most)
    if not n:
        raise ValueError("X_target holds no texts; pass at least one.")
    if not beside and not missing:
        raise ValueError(
            "X_target holds the same texts as X, so there is no other domain to adapt to; "
            "pass texts of the target domain, or use method='source_only'."
        )
    return texts, n


def _parts(X: Any, name: str, text_column: str) -> Iterator[list[str]]:
    """Yield the texts of X, one part at a time if they need not all be in memory."""
    if isinstance(X, Domain):
        X = X.texts
    if isinstance(X, PathLike):
        X = FileTexts(X, text_column)
    if hasattr(X, "select_columns") and hasattr(X, "iter"):
        # From `datasets`. A streamed dataset may not know its columns before it is read.
        if text_column in (X.column_names or ()):
            X = X.select_columns([text_column])
        values: Iterator[Any] = (
            value
            for rows in X.with_format(None).iter(PART)
            for value in _plain_list(_column(_Rows(rows), text_column, name, "text_column"))
        )
    elif _is_stream(X):
        values = iter(X)
    else:
        yield as_texts(X, name, text_column)
        return
    start = 0
    while part := list(islice(values, PART)):
        yield [_text(value, f"{name}[{start + i}]", False) for i, value in enumerate(part)]
        start += len(part)


class _Rows(dict[str, list[Any]]):
    """Some rows of a `datasets.Dataset`, by column."""

    @property
    def column_names(self) -> list[str]:
        return list(self)


def _is_stream(X: object) -> bool:
    """Return whether X has no length but yields its texts anew on each iteration."""
    return (
        isinstance(X, Iterable)
        and not hasattr(X, "__len__")
        and not isinstance(X, Iterator)
        and not _is_frame(X)
    )


def sample(parts: Iterable[list[T]], most: int = LOOKED_AT) -> tuple[list[T], int]:
    """Return at most `most` of all texts, in their order, and the number of all texts.

    Each text draws a number, and those with the smallest numbers stay. The numbers depend only on
    positions: a list and a file give the same sample, all methods and seeds see the same texts, and
    a smaller sample is a part of a larger one.

    Examples
    --------
    >>> sample([["a", "b"], ["c"]], most=3)
    (['a', 'b', 'c'], 3)
    >>> texts = [str(i) for i in range(100)]
    >>> sample([texts], most=5) == sample([texts[:50], texts[50:]], most=5)
    True

    """
    rng = streams.generator(0, streams.SAMPLE)
    drawn, n = np.empty(0), 0
    texts: list[T] = []
    for part in parts:
        n += len(part)
        drawn = np.concatenate([drawn, rng.random(len(part))])
        texts += part
        # Not at every part, since each time costs as much as sorting the sample.
        if len(texts) > 2 * most + PART:
            drawn, texts = _smallest(drawn, texts, most)
    return _smallest(drawn, texts, most)[1], n


def _smallest(drawn: np.ndarray, texts: list[T], most: int) -> tuple[np.ndarray, list[T]]:
    if len(texts) <= most:
        return drawn, texts
    rows = np.sort(np.argpartition(drawn, most)[:most])
    return drawn[rows], [texts[i] for i in rows]


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
        if not _is_frame(X):
            raise ValueError(
                f"{name}={groups!r} names a column, but {texts_name} is not a table; pass one "
                "value for each text."
            )
        groups = _column(X, groups, texts_name, name)
    if not isinstance(groups, Iterable) or isinstance(groups, Set | Mapping):
        raise TypeError(
            f"{name}={_show(groups)} must be a sequence with one value for each text, or the name "
            "of a column."
        )
    if (shape := getattr(groups, "shape", None)) is not None and len(shape) != 1:
        raise ValueError(f"{name} has shape {tuple(shape)}; pass one value for each text.")
    values = ["(none)" if _is_missing(value) else str(value) for value in _plain_list(groups)]
    if len(values) != n:
        raise ValueError(
            f"{name} has {len(values)} values for the {n} texts of {texts_name}; pass one for each."
        )
    return np.array(values)


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

"""Tables in memory, of pandas, polars, pyarrow and datasets: their columns and single values."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

import numpy as np

from dann_transfer.ground.checks import did_you_mean

_INVISIBLE = {"Cc", "Cf", "Zl", "Zp", "Zs"}
# Fillers of Hangul and of Braille, a joiner of marks, and variation selectors.
_FILLERS = {*"\u115f\u1160\u3164\uffa0\u2800\u034f", *map(chr, range(0xFE00, 0xFE10))}


def show(value: object, width: int = 60) -> str:
    """Return how a value looks in an error, cut to a width."""
    text = repr(value)
    return text if len(text) <= width else text[: width - 3] + "..."


def is_frame(X: object) -> bool:
    """Return whether X is a table with named columns: of pandas, polars, pyarrow or datasets."""
    return hasattr(X, "column_names") or (hasattr(X, "columns") and hasattr(X, "__getitem__"))


def columns_of(frame: Any) -> list[str]:
    """Return the names of a table's columns, or raise if it does not know them."""
    # In pyarrow, `columns` holds the columns themselves.
    names = getattr(frame, "column_names", None) or getattr(frame, "columns", None)
    if names is None:
        raise TypeError(
            f"a {type(frame).__name__} that does not know its columns cannot be read; "
            "pass a table in memory."
        )
    return list(names)


def plain_list(values: Any) -> list[Any]:
    """Turn a column into a list of Python values, by its own conversion if it has one."""
    if hasattr(values, "to_pylist"):  # pyarrow
        return list(values.to_pylist())
    if type(values).__module__.partition(".")[0] == "torch":
        return list(values.tolist())
    return list(values)


def refuse_lazy(X: object, name: str) -> None:
    """Refuse a lazy table, such as a LazyFrame of polars."""
    if hasattr(X, "collect") and hasattr(X, "collect_schema"):
        raise TypeError(
            f"{name} is a {type(X).__name__}, which holds no rows yet; pass {name}.collect()."
        )


def refuse_splits(X: object, name: str) -> None:
    """Refuse a datasets.DatasetDict: it maps names of splits, which may include test texts."""
    if isinstance(X, Mapping) and hasattr(X, "column_names"):
        raise TypeError(
            f"{name} is a {type(X).__name__} with the splits {list(X)}; pass one of them, such as "
            f"{name}[{next(iter(X), 'train')!r}]."
        )


def column_of(frame: Any, column: str, name: str, keyword: str) -> Any:
    """Return a column, or raise if the table does not have it once; `keyword` names it."""
    columns = columns_of(frame)
    if column not in columns:
        raise ValueError(
            f"{name} has no column {column!r}; its columns are {columns}. "
            f"Name the right one with {keyword}=...{did_you_mean(column, columns)}"
        )
    if columns.count(column) > 1:
        raise ValueError(f"{name} has {columns.count(column)} columns named {column!r}; keep one.")
    if hasattr(frame, "with_format"):
        # A datasets.Dataset may be set to return tensors, but texts and names are not tensors.
        frame = frame.with_format(None)
    return frame[column]


def is_missing(value: Any) -> bool:
    """Return whether a value is None, NaN or one of the missing values of pandas."""
    # pandas.NA compares to nothing, so it is recognised by its name; NaN is unequal to itself.
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, float | np.floating) and bool(value != value)


def is_blank(value: Any) -> bool:
    """Return whether a value is missing or a string in which nothing can be seen."""
    return is_missing(value) or (isinstance(value, str) and not any(map(_is_visible, value)))


def _is_visible(character: str) -> bool:
    # Categories C and Z hold white space, nulls, soft hyphens and what has no width or directs
    # writing. Surrogates, private and unassigned characters are not text, but not nothing either.
    category = unicodedata.category(character)
    return category not in _INVISIBLE and character not in _FILLERS

"""The unlabelled target, which need not fit in memory: all of its texts, or a sample of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from os import PathLike
from typing import Any, TypeVar

import numpy as np

from dann_transfer.ground import streams
from dann_transfer.texts.files import PART, FileTexts
from dann_transfer.texts.frames import column_of, is_frame, plain_list
from dann_transfer.texts.places import Places
from dann_transfer.texts.reading import Domain, as_texts, checked_texts, refuse_marked

T = TypeVar("T")

# A sample of this size is enough to describe predictions: its shares are off by half a point.
LOOKED_AT = 10_000


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
    source_texts = set(source)
    missing, differs = set(source), False

    def parts() -> Iterator[list[str]]:
        nonlocal differs
        for part in _parts(X_target, "X_target", text_column):
            refuse_marked(part, "X_target")
            differs = differs or not source_texts.issuperset(part)
            if not differs:
                missing.difference_update(part)
            yield part

    texts, n = sample(parts(), most)
    if not n:
        raise ValueError("X_target holds no texts; pass at least one.")
    if not differs and not missing:
        raise ValueError(
            "X_target holds the same texts as X, so there is no other domain to adapt to; "
            "pass texts of the target domain, or use method='source_only'."
        )
    return texts, n


def target_rows(domain: Any, n: int, name: str = "domain") -> np.ndarray:
    """Return which of n texts are from the target, shape (n,), bool.

    Parameters
    ----------
    domain : {"target", "source"}, or sequence of these, shape (n,)
    n : int
    name : str
        The name used for it in errors.

    Examples
    --------
    >>> target_rows("source", 2).tolist(), target_rows(["target", "source"], 2).tolist()
    ([False, False], [True, False])
    >>> target_rows("tweets", 2)
    Traceback (most recent call last):
    ...
    ValueError: domain='tweets' must be 'target' or 'source', or a sequence of these, one a text.

    """
    if isinstance(domain, str):
        if domain not in ("target", "source"):
            raise ValueError(
                f"{name}={domain!r} must be 'target' or 'source', or a sequence of these, one a "
                "text."
            )
        return np.full(n, domain == "target")
    entries = np.asarray(domain, dtype=object)
    if entries.shape != (n,):
        raise ValueError(
            f"{name} has shape {entries.shape}; it needs one entry, 'target' or 'source', for each "
            f"of the {n} texts."
        )
    for i, entry in enumerate(entries.tolist()):
        if not isinstance(entry, str) or entry not in ("target", "source"):
            raise ValueError(f"{name}[{i}] is {entry!r}; it must be 'target' or 'source'.")
    return np.asarray(entries == "target")


def _parts(X: Any, name: str, text_column: str) -> Iterator[list[str]]:
    """Yield the texts of X, one part at a time if they need not all be in memory."""
    if isinstance(X, Domain):
        X = X.texts
    if isinstance(X, PathLike):
        X = FileTexts(X, text_column)
    if isinstance(X, FileTexts):
        places, numbered = X.places(name), X.numbered()
        while pairs := list(islice(numbered, PART)):
            rows, texts = zip(*pairs, strict=True)
            yield checked_texts(texts, places.at(rows))
        return
    if hasattr(X, "select_columns") and hasattr(X, "iter"):
        # From `datasets`. A streamed dataset may not know its columns before it is read.
        if text_column in (X.column_names or ()):
            X = X.select_columns([text_column])
        values: Iterator[Any] = (
            value
            for rows in X.with_format(None).iter(PART)
            for value in plain_list(column_of(_Rows(rows), text_column, name, "text_column"))
        )
    elif _is_stream(X):
        values = iter(X)
    else:
        yield as_texts(X, name, text_column)
        return
    start = 0
    while part := list(islice(values, PART)):
        yield checked_texts(part, Places(name), start=start)
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
        and not is_frame(X)
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


def smallest(drawn: np.ndarray, count: int) -> np.ndarray:
    """Return the positions of the smallest numbers, in their order."""
    if len(drawn) <= count:
        return np.arange(len(drawn))
    return np.sort(np.argpartition(drawn, count)[:count])


def _smallest(drawn: np.ndarray, texts: list[T], most: int) -> tuple[np.ndarray, list[T]]:
    if len(texts) <= most:
        return drawn, texts
    rows = smallest(drawn, most)
    return drawn[rows], [texts[i] for i in rows]

"""Rows of separated values, whichever separator makes them, or an error that names the line."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from dann_transfer.ground.notices import warn
from dann_transfer.texts.unpacking import opened

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = (",", ";", "\t", "|")
# A character in no text: in a file with one column every line is one text, commas and all.
_NONE = "\x1f"


def csv_parts(
    path: Path,
    columns: list[str],
    encoding: str,
    separator: str | None,
    whole: bool,
    size: int | None,
) -> Iterator[pd.DataFrame]:
    """Yield the rows of a file in parts of `size`, with the wanted columns or all of them."""
    import pandas as pd

    candidates = [separator] if separator is not None else list(SEPARATORS)
    headers = _headers(path, encoding, candidates)
    # The one that finds most of the wanted columns, and among equals makes the most columns.
    best = max(headers, key=lambda s: (len({*headers[s]} & {*columns}), len(headers[s])))
    names = headers[best]
    check_columns(path, names, columns)
    one = len(names) == 1 and separator is None
    rows = _rows(path, encoding, _NONE if one else best)
    next(rows)
    rows = _without_blank_end(rows) if one else _unbroken(path, rows, names)
    cells = (_cells(path, line, row, names, best) for line, row in rows if row or one)
    places = list(range(len(names))) if whole else [names.index(column) for column in columns]
    own = [names[i] for i in places]
    first = True
    while (part := list(islice(cells, size))) or first:
        first = False
        yield pd.DataFrame([[row[i] for i in places] for row in part], columns=own, dtype=object)


def _without_blank_end(rows: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    """Yield rows without the blank ones at the end."""
    blank: list[tuple[int, list[str]]] = []
    for line, row in rows:
        blank.append((line, row))
        if row:
            yield from blank
            blank = []


def _unbroken(
    path: Path, rows: Iterator[tuple[int, list[str]]], names: list[str]
) -> Iterator[tuple[int, list[str]]]:
    """Yield rows; raise if one repeats the header, and warn once if two may be halves of one.

    A row may lack cells at its end. But a line break without quotes around it, in a column that is
    neither the first nor the last, breaks a row into two short ones, which together have the cells
    of a whole one.
    """
    before, warned = 0, False
    for line, row in rows:
        if row == names:
            raise ValueError(f"{str(path)!r}, line {line} repeats the header; remove it.")
        short = 0 < len(row) < len(names)
        if short and not warned and before + len(row) - 1 == len(names):
            warned = True
            warn(
                f"{str(path)!r}, line {line}: {row} and the row before it both lack cells. If they "
                "are parts of one row, the text with the line break in it needs quotes around it.",
                RowWarning,
            )
        before = len(row) if short else 0
        yield line, row


class RowWarning(UserWarning):
    """Two rows of a file may be one that a line break has split."""


class _QuoteError(ValueError):
    """Quotes that do not enclose a whole cell."""


def _headers(path: Path, encoding: str, separators: list[str]) -> dict[str, list[str]]:
    """Return the header by each separator that can read it.

    Quotes around its names do not enclose whole cells by the wrong separator.
    """
    found: dict[str, list[str]] = {}
    problem: _QuoteError | None = None
    for separator in separators:
        try:
            row = next(_rows(path, encoding, separator), None)
        except _QuoteError as error:
            problem = error
            continue
        if row is None:
            raise ValueError(f"{str(path)!r} has only blank lines.")
        found[separator] = row[1]
    if not found and problem is not None:
        raise problem
    return found


def _rows(path: Path, encoding: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of a row's last line and its cells, from the header on."""
    # A cell may be as long as a book.
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with opened(path, encoding) as file:
        reader = csv.reader(file, delimiter=separator, strict=True)
        begun = False
        try:
            for row in reader:
                begun = begun or bool(row)
                if begun:
                    yield reader.line_num, row
        except csv.Error as error:
            raise _QuoteError(
                f"{str(path)!r}, line {reader.line_num}: {error}. A cell that begins with a quote "
                "needs quotes around all of it, and quotes inside it doubled."
            ) from error


def _cells(path: Path, line: int, row: list[str], names: list[str], separator: str) -> list[str]:
    """Return a row's cells, one per column, or raise if there is something beyond the columns."""
    filled = [i for i, cell in enumerate(row) if cell.strip()]
    # Only the first column may lack a name, as pandas writes its index.
    beside = [i for i in filled if i >= len(names) or (i > 0 and not names[i].strip())]
    if beside:
        raise ValueError(
            f"{str(path)!r}, line {line}: {row[beside[0]]!r} is beyond the columns {names}. A "
            f"text with {separator!r} in it needs quotes around it, and quotes in it doubled."
        )
    return [*row[: len(names)], *[""] * (len(names) - len(row))]


def check_columns(path: Path, names: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise if one of the wanted columns is not there once."""
    for column in wanted:
        if column not in names:
            raise ValueError(
                f"{str(path)!r} has no column {column!r}; it has {list(names)[:20]}. Name the "
                "right one, or the separator."
            )
        if list(names).count(column) > 1:
            raise ValueError(
                f"{str(path)!r} has {list(names).count(column)} columns named {column!r}; "
                "rename all but one."
            )

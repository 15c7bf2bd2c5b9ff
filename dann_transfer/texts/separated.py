"""Rows of separated values, whichever separator makes them, or an error that names the line."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from dann_transfer.ground.checks import did_you_mean, nearest
from dann_transfer.ground.notices import warn
from dann_transfer.texts.places import listed
from dann_transfer.texts.unpacking import ending, opened

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = (",", ";", "\t", "|")
QUOTINGS = ("none", "minimal")
LOOKED_AT = 50
"""Rows by which the separator of a file without a header is found."""
# A character in no text: in a file with one column every line is one text, commas and all.
_NONE = "\x1f"
# What Excel writes above the header to name the separator.
_DECLARATION = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_THOUSANDS = re.compile(r"\d,\d{3}\b")
_LITERAL = "--quoting none (in Python, pandas.read_csv with quoting=csv.QUOTE_NONE)"


class RowWarning(UserWarning):
    """Rows of a file may be others than they seem, or are left out because they are empty."""


class ColumnError(ValueError):
    """A file lacks a column.

    Attributes
    ----------
    column : str
    said : str
        What is wrong, without the remedy.

    """

    def __init__(self, said: str, column: str) -> None:
        super().__init__(f"{said} Name the right one, or the separator.")
        self.said, self.column = said, column


class _QuoteError(ValueError):
    """Quotes that do not enclose a whole cell."""


class _Row(NamedTuple):
    """One row: its number, 0 for the header, the line on which it begins, its cells and lines."""

    number: int
    line: int
    cells: list[str]
    raw: list[str]

    def place(self, path: Path) -> str:
        row = f"row {self.number}, " if self.number else ""
        return f"{str(path)!r}, {row}line {self.line} of the file"


@dataclass(frozen=True)
class Dialect:
    """How a file of separated values is written; None is detected.

    ``quoting="none"`` means that a quote mark is a letter like others, and "minimal" that it
    encloses a cell, whatever the lines in that cell look like. Without a header the columns are
    called "1", "2" and so on.
    """

    encoding: str
    separator: str | None = None
    quoting: str | None = None
    header: bool = True


@dataclass(frozen=True)
class _Table:
    """The columns of a file, its rows, the separator, and the lines that are left out."""

    names: list[str]
    rows: Iterator[_Row]
    separator: str
    left_out: list[int]


def csv_parts(
    path: Path,
    columns: Sequence[str],
    dialect: Dialect,
    whole: bool,
    size: int | None,
    optional: Sequence[str] = (),
) -> Iterator[pd.DataFrame]:
    """Yield the rows of a file in parts of `size`, with the wanted columns or all of them."""
    table = _table(path, columns, dialect, optional)
    names = table.names
    cells = (_cells(path, row, names, table.separator) for row in table.rows)
    if whole:
        places = list(range(len(names)))
    else:
        wanted = [*columns, *(c for c in optional if c in names and c not in columns)]
        places = [names.index(column) for column in wanted]
    if size == 0:
        return
    # Here, so that a column that is not there is named without waiting for the import.
    import pandas as pd

    kept = [names[i] for i in places]
    first = True
    while (part := list(islice(cells, size))) or first:
        first = False
        yield pd.DataFrame([[row[i] for i in places] for row in part], columns=kept, dtype=object)
    if n := len(table.left_out):
        warn(
            f"{str(path)!r}: {n:,} row{'s are' if n > 1 else ' is'} empty in every cell and left "
            f"out: line{'s' if n > 1 else ''} {listed(table.left_out)}.",
            RowWarning,
        )


def line_of(path: Path, columns: Sequence[str], dialect: Dialect, number: int) -> int | None:
    """Return the line on which a row begins, with rows counted from 0."""
    rows = _table(path, columns, dialect).rows
    return next((row.line for row in rows if row.number == number + 1), None)


def _table(
    path: Path, columns: Sequence[str], dialect: Dialect, optional: Sequence[str] = ()
) -> _Table:
    """Return the columns, the rows below the header and the separator."""
    if not dialect.header:
        return _headless(path, columns, dialect, optional)
    candidates = list(SEPARATORS)
    if dialect.separator is not None:
        candidates = [dialect.separator]
    elif declared := _declared(path, dialect.encoding):
        candidates = [declared]
    headers = _headers(path, dialect, candidates)
    # The one that finds most of the wanted columns, and among equals makes the most columns.
    best = max(headers, key=lambda s: (len({*headers[s]} & {*columns}), len(headers[s])))
    names = headers[best]
    if _has_a_text_a_line(path, names, [*columns, *optional], best, dialect):
        warn(
            f"{str(path)!r} has no column {columns[0]!r}; each of its lines is a text, the first "
            f"one too: {best.join(names)[:40]!r}.",
            RowWarning,
        )
        return _single(path, list(columns), replace(dialect, quoting="none", header=False), best)
    _refuse_headless(path, names, [*columns, *optional], best, dialect)
    check_columns(path, names, columns, optional)
    if len(names) > 1 or dialect.separator is not None:
        return _several(path, names, dialect, best)
    if ending(path) == ".txt" and dialect.quoting is None:
        plain = Dialect(dialect.encoding, quoting="none")
        # Unless its header has quotes around it, every line of a text file is a text as it is.
        if next(_rows(path, plain, _NONE)).cells == names:
            dialect = plain
    return _single(path, names, dialect, best)


def _several(path: Path, names: list[str], dialect: Dialect, separator: str) -> _Table:
    """Return a table of several columns."""
    left_out: list[int] = []
    rows = _rows(path, dialect, separator, left_out=left_out)
    if dialect.header:
        next(rows)
    rows = _unbroken(path, _unswallowed(path, rows, names, separator, dialect), names)
    return _Table(names, rows, separator, left_out)


def _single(path: Path, names: list[str], dialect: Dialect, separator: str) -> _Table:
    """Return a table of one column, of which each line is a row."""
    rows = _rows(path, dialect, _NONE, blank_is_row=True)
    if dialect.header:
        next(rows)
    rows = _unswallowed(path, _without_blank_end(rows), names, _NONE, dialect)
    return _Table(names, rows, separator, [])


def _headless(
    path: Path, columns: Sequence[str], dialect: Dialect, optional: Sequence[str]
) -> _Table:
    """Return a table without a header, by the separator that divides its first rows alike."""
    best, n = ",", 1
    for separator in SEPARATORS if dialect.separator is None else (dialect.separator,):
        try:
            sizes = {len(row.cells) for row in islice(_rows(path, dialect, separator), LOOKED_AT)}
        except _QuoteError:
            continue
        if len(sizes) == 1 and (size := sizes.pop()) > n:
            best, n = separator, size
    names = [str(i + 1) for i in range(n)]
    check_columns(path, names, columns, optional)
    return _several(path, names, dialect, best) if n > 1 else _single(path, names, dialect, best)


def _has_a_text_a_line(
    path: Path, names: list[str], wanted: Sequence[str], separator: str, dialect: Dialect
) -> bool:
    """Return whether a text file has no header: it has none of the names, nor a similar one."""
    return (
        ending(path) == ".txt"
        and len(wanted) == 1
        and dialect.separator is None
        and separator != "\t"
        and nearest(wanted[0], names) is None
    )


def _declared(path: Path, encoding: str) -> str | None:
    """Return the separator that Excel names in a line above the header."""
    with opened(path, encoding) as file:
        match = _DECLARATION.fullmatch(file.readline(20))
    return match and match[1]


def _without_blank_end(rows: Iterator[_Row]) -> Iterator[_Row]:
    """Yield rows without the blank ones at the end."""
    blank: list[_Row] = []
    for row in rows:
        blank.append(row)
        if row.cells:
            yield from blank
            blank = []


def _unswallowed(
    path: Path, rows: Iterator[_Row], names: list[str], separator: str, dialect: Dialect
) -> Iterator[_Row]:
    """Yield rows; raise if one is several that stand between two quote marks by accident.

    A text with line breaks is legal in quotes. It is refused where most of its lines have the cells
    of a row. Lines of a single column cannot be told apart, so there is a warning.
    """
    warned = False
    for row in rows:
        if len(row.raw) > 1 and dialect.quoting is None:
            last = row.line + len(row.raw) - 1
            if separator == _NONE:
                if not warned:
                    warn(
                        f"{row.place(path)}: quotes make one text of the lines {row.line} to "
                        f"{last}. If each is a text, quote marks are letters here: {_LITERAL}.",
                        RowWarning,
                    )
                warned = True
            elif 2 * sum(_is_row(line, len(names), separator) for line in row.raw) > len(row.raw):
                raise _QuoteError(
                    f"{row.place(path)}: a quote opens there and closes in line {last}, and most "
                    f"lines between look like rows. If quote marks are letters here: {_LITERAL}. "
                    "If they are one text: --quoting minimal."
                )
        yield row


def _is_row(line: str, n: int, separator: str) -> bool:
    """Return whether a line has n cells by separators that are not punctuation of a text."""
    cells = line.rstrip("\r\n").split(separator)
    if len(cells) != n or separator == "\t":
        return len(cells) == n
    punctuation = any(cell[:1].isspace() for cell in cells[1:]) or _THOUSANDS.search(line)
    return not punctuation and (n > 2 or bool(cells[1]))


def _unbroken(path: Path, rows: Iterator[_Row], names: list[str]) -> Iterator[_Row]:
    """Yield rows; raise if one repeats the header, and warn once if two may be halves of one.

    A row may lack cells at its end. But a line break without quotes around it, in a column that is
    neither the first nor the last, breaks a row into two short ones, which together have the cells
    of a whole one.
    """
    before, warned = 0, False
    for row in rows:
        if row.cells == names:
            raise ValueError(f"{row.place(path)} repeats the header; remove it.")
        n = len(row.cells)
        short = n < len(names)
        if short and not warned and before + n - 1 == len(names):
            warned = True
            warn(
                f"{row.place(path)}: {row.cells} and the row before it both lack cells. If they "
                "are parts of one row, the text with the line break in it needs quotes around it.",
                RowWarning,
            )
        before = n if short else 0
        yield row


def _headers(path: Path, dialect: Dialect, separators: list[str]) -> dict[str, list[str]]:
    """Return the header by each separator that can read it.

    Quotes around its names do not enclose whole cells by the wrong separator.
    """
    headers: dict[str, list[str]] = {}
    problem: _QuoteError | None = None
    for separator in separators:
        try:
            row = next(_rows(path, dialect, separator), None)
        except _QuoteError as error:
            problem = error
            continue
        if row is None:
            raise ValueError(f"{str(path)!r} has only blank lines.")
        headers[separator] = row.cells
    if not headers and problem is not None:
        raise problem
    return headers


class _Lines:
    """The lines of a file, of which those read since the last row are kept."""

    def __init__(self, file: IO[str]) -> None:
        self.file, self.read = file, list[str]()

    def __iter__(self) -> Iterator[str]:
        for line in self.file:
            self.read.append(line)
            yield line


def _rows(
    path: Path,
    dialect: Dialect,
    separator: str,
    blank_is_row: bool = False,
    left_out: list[int] | None = None,
) -> Iterator[_Row]:
    """Yield the rows from the header on, without blank ones unless they are rows.

    The lines of rows that are empty in every cell are added to `left_out`.
    """
    # A cell may be as long as a book.
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with opened(path, dialect.encoding) as file:
        lines = _Lines(file)
        reader = csv.reader(
            lines,
            delimiter=separator,
            strict=True,
            quoting=csv.QUOTE_NONE if dialect.quoting == "none" else csv.QUOTE_MINIMAL,
        )
        number, line = 0 if dialect.header else 1, 1
        try:
            for cells in reader:
                raw, lines.read = lines.read, []
                declares = line == 1 and _DECLARATION.fullmatch(raw[0])
                if not declares and (any(map(str.strip, cells)) or (blank_is_row and number)):
                    yield _Row(number, line, cells, raw)
                    number += 1
                elif cells and left_out is not None and not declares:
                    left_out.append(line)
                line = reader.line_num + 1
        except csv.Error as error:
            raise _QuoteError(
                f"{_Row(number, line, [], []).place(path)}: a quote opens there, and then: "
                f"{error}. A cell that begins with a quote needs quotes around all of it, and "
                f"quotes inside it doubled. If quote marks are letters here: {_LITERAL}."
            ) from error


def _cells(path: Path, row: _Row, names: list[str], separator: str) -> list[str]:
    """Return a row's cells, one per column, or raise if there is something beyond the columns."""
    cells = row.cells
    filled = [i for i, cell in enumerate(cells) if cell.strip()]
    # Only the first column may lack a name, as pandas writes its index.
    excess = [i for i in filled if i >= len(names) or (i > 0 and not names[i].strip())]
    if excess:
        raise ValueError(
            f"{row.place(path)}: {cells[excess[0]]!r} is beyond the columns {names}. A "
            f"text with {separator!r} in it needs quotes around it, and quotes in it doubled."
        )
    return [*cells[: len(names)], *[""] * (len(names) - len(cells))]


def _refuse_headless(
    path: Path, names: list[str], wanted: Sequence[str], separator: str, dialect: Dialect
) -> None:
    """Raise if none of the wanted columns is there and the first line looks like a row."""
    if {*names} & {*wanted}:
        return
    plain = Dialect(dialect.encoding, quoting="none")
    rows = islice(_rows(path, plain, separator), 1, 200)
    repeated = any(cell.strip() and cell in row.cells for row in rows for cell in names)
    if repeated or any(len(name.split()) > 3 for name in names):
        raise ValueError(
            f"{str(path)!r} has no column {next(iter(wanted), '')!r}, and its first line looks "
            f"like a row: {names[:20]}. Write a line above it with the columns' names, such as "
            f"{separator.join(wanted[:2])!r}, or pass --no-header (in Python, header=False)."
        )


def check_columns(
    path: Path, names: Sequence[str], wanted: Sequence[str], any_of: Sequence[str] = ()
) -> None:
    """Raise if one of the wanted columns is not there once, or all of `any_of` are missing."""
    missing = any_of[:1] if {*any_of}.isdisjoint(names) else ()
    for column in (*wanted, *missing):
        if column not in names:
            raise ColumnError(
                f"{str(path)!r} has no column {column!r}; it has {list(names)[:20]}."
                f"{did_you_mean(column, names)}",
                column,
            )
        if list(names).count(column) > 1:
            raise ValueError(
                f"{str(path)!r} has {list(names).count(column)} columns named {column!r}; "
                "rename all but one."
            )

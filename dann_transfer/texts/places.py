"""What faulty rows are called in errors: by position in a list, by row and line in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

T = TypeVar("T")
V = TypeVar("V")

# So many faulty rows are listed.
LISTED = 5


def listed(places: Sequence[object]) -> str:
    """Return the first places in a list of them.

    Examples
    --------
    >>> listed([6, 301]), listed(range(1, 9))
    ('6, 301', '1, 2, 3, 4, 5, ...')

    """
    return ", ".join(map(str, places[:LISTED])) + (", ..." if len(places) > LISTED else "")


class EmptyTextError(ValueError):
    """A text is empty or missing."""


class Fault(Exception):
    """What is wrong with one value; faults with one remedy are of one kind."""

    def __init__(self, error: type[Exception], what: str, remedy: str) -> None:
        super().__init__(what)
        self.error, self.what, self.remedy = error, what, remedy


@dataclass(frozen=True)
class Places:
    """Names for the rows of a list or of a file.

    Examples
    --------
    >>> Places("y").fault([4, 7], "is missing")
    'y[4] is missing, the first of 2: y[4], y[7]'
    >>> Places("y", "a.csv", line=lambda row: row + 2).fault([5, 300], "is missing")
    "'a.csv', row 6, line 7 of the file: y is missing, the first of 2 rows: 6, 301"

    """

    name: str
    path: str | None = None
    rows: Sequence[int] | None = None
    """The row of each value, from 0; None if values and rows are the same."""
    line: Callable[[int], int | None] = lambda row: None
    """The line on which a row of the file begins, where it has lines."""

    def at(self, positions: Sequence[int]) -> Places:
        """Return places for the values at these positions."""
        rows = positions if self.rows is None else [self.rows[i] for i in positions]
        return replace(self, rows=rows)

    def fault(self, positions: Sequence[int], what: str) -> str:
        """Return which values are at fault, the first of them by its place, and in what way."""
        n = len(positions)
        rows = [i if self.rows is None else self.rows[i] for i in positions]
        if self.path is None:
            names = listed([f"{self.name}[{row}]" for row in rows])
            several = f", the first of {n:,}: {names}" if n > 1 else ""
            return f"{self.name}[{rows[0]}] {what}{several}"
        line = self.line(rows[0])
        where = "" if line is None else f", line {line} of the file"
        several = f", the first of {n:,} rows: {listed([r + 1 for r in rows])}" if n > 1 else ""
        return f"{self.path!r}, row {rows[0] + 1}{where}: {self.name} {what}{several}"


def checked(
    values: Iterable[V], check: Callable[[V], T], places: Places, start: int = 0
) -> list[T]:
    """Return what `check` makes of each value.

    Raises
    ------
    TypeError, ValueError
        For the first value with a fault, with all that have the same fault counted.

    """
    results: list[T] = []
    faults: list[tuple[int, Fault]] = []
    for i, value in enumerate(values, start):
        try:
            results.append(check(value))
        except Fault as fault:
            faults.append((i, fault))
    if not faults:
        return results
    first = faults[0][1]
    same = [i for i, fault in faults if fault.remedy == first.remedy]
    raise first.error(f"{places.fault(same, first.what)}; {first.remedy}")

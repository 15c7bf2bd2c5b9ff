"""Read tables in files as they are, and refuse those where data would be lost or misread."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dann_transfer.ground.notices import warn
from dann_transfer.texts.exports import MARK, fasttext_rows, lifted
from dann_transfer.texts.frames import is_blank
from dann_transfer.texts.places import Places, listed
from dann_transfer.texts.separated import (
    QUOTINGS,
    Dialect,
    RowWarning,
    check_columns,
    csv_parts,
    line_of,
)
from dann_transfer.texts.unpacking import encoding_of, ending, opened

if TYPE_CHECKING:
    import pandas as pd

# Number of rows in memory at once when a file is read in parts.
PART = 4096
_READERS: dict[str, str] = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".ft": "csv", ".parquet": "parquet",
    ".jsonl": "lines", ".ndjson": "lines", ".json": "json",
}  # fmt: skip
_UNNAMED = re.compile(r"__index_level_\d+__")


def read_table(
    path: str | PathLike[str],
    columns: Sequence[str],
    encoding: str | None = None,
    separator: str | None = None,
    whole: bool = False,
    quoting: str | None = None,
    optional: Sequence[str] = (),
    header: bool = True,
) -> pd.DataFrame:
    """Read columns of a CSV, Parquet or JSON file, which may be compressed.

    Cells of a CSV file stay text: "NA" is a text and not a missing one. In a file with one column
    every line is a text, whatever commas it contains; a .txt file of texts needs no header. Rows
    that are empty in every cell are left out with a warning, and not counted.

    Parameters
    ----------
    path : path
        Its name gives the format: .csv, .tsv and .txt (separated values with a header), .parquet,
        .json, .jsonl and .ndjson, possibly followed by .gz, .bz2, .zip, .xz or .zst.
    columns : sequence of str
        The columns to read.
    encoding : str, optional
        For CSV and JSON; None is UTF-8, or UTF-16 if a byte order mark says so.
    separator : str, optional
        For CSV, one character; None picks whichever of comma, semicolon, tab and bar splits the
        header into the wanted columns.
    whole : bool
        Whether to read the other columns too.
    quoting : {"none", "minimal"}, optional
        For CSV: whether a quote mark is a letter or encloses a cell. None is "minimal", but a cell
        whose lines look like rows is refused; and in a .txt file with one column every line is a
        text as it is.
    optional : sequence of str
        Columns to read if they are there, as one of them must be.
    header : bool
        For CSV: whether the first row has the columns' names. Otherwise they are "1", "2" and so
        on.

    Raises
    ------
    ValueError
        If the file cannot be read in the format that its name gives, a column is missing or occurs
        twice, a row has more cells than the header or repeats it, quotes do not enclose whole
        cells, or an archive holds several files.
    OSError
        If there is no such file.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "reviews.csv")
    ...     _ = path.write_text("text;label\\ngood, really good;1\\n")
    ...     read_table(path, ["text", "label"]).values.tolist()
    [['good, really good', '1']]

    """
    form = quoting, optional, header
    # All of them, for what is said at the end of the file.
    (frame,) = read_parts(path, columns, encoding, separator, whole, None, *form)
    return frame


def read_parts(
    path: str | PathLike[str],
    columns: Sequence[str],
    encoding: str | None = None,
    separator: str | None = None,
    whole: bool = False,
    size: int | None = PART,
    quoting: str | None = None,
    optional: Sequence[str] = (),
    header: bool = True,
) -> Iterator[pd.DataFrame]:
    """Yield what `read_table` reads, `size` rows at a time, or all at once if that is None.

    A column has the same type in all parts: Arrow's own for Parquet, text for CSV. The columns of
    JSON and their types are known only at the end of the file, so a file of which all columns are
    wanted comes as one part; so does one that is a single array. With a size of 0 there are no
    parts: the columns of CSV and Parquet are checked, in a moment.
    """
    path = Path(path).expanduser()
    kind = _kind_of(path, separator, quoting)
    if odd := [column for column in columns if not isinstance(column, str)]:
        raise TypeError(
            f"{odd[0]!r} is not the name of a column of {str(path)!r}; to use several columns as "
            "one text, join them in a table and pass that."
        )
    with _named(path):
        if kind == "parquet":
            yield from _parquet_parts(path, list(columns), whole, size, optional)
            return
        encoding = encoding_of(path, encoding)
        is_csv = kind == "csv" and not _is_fasttext(path, encoding)
        if size == 0 and not is_csv:
            return
        if is_csv:
            dialect = Dialect(encoding, separator, quoting, header)
            yield from csv_parts(path, list(columns), dialect, whole, size, optional)
            return
        wanted = columns, optional
        for frame in _json_parts(path, encoding, kind, None if whole else size, wanted):
            names = [str(c) for c in frame.columns]
            # Some JSON lines may lack a column, and so may a whole part of them.
            extra = [c for c in optional if c in names and c not in columns]
            yield frame if whole else frame.reindex(columns=[*columns, *extra])


def _line_of_row(
    path: str | PathLike[str],
    columns: Sequence[str],
    encoding: str | None,
    separator: str | None,
    quoting: str | None,
    header: bool,
    row: int,
) -> int | None:
    """Return the line on which a row begins, with rows counted from 0; None if it has no line."""
    path = Path(path).expanduser()
    kind = _kind_of(path, separator, quoting)
    if kind in ("parquet", "json"):
        return None
    encoding = encoding_of(path, encoding)
    if kind == "csv" and not _is_fasttext(path, encoding):
        return line_of(path, columns, Dialect(encoding, separator, quoting, header), row)
    with opened(path, encoding) as file:
        numbered = enumerate(file, 1) if kind == "lines" else fasttext_rows(file)
        lines = (number for number, line in numbered if not isinstance(line, str) or line.strip())
        return next(islice(lines, row, None), None)


def _is_fasttext(path: Path, encoding: str) -> bool:
    """Return whether one of the first lines is a text with its labels, as fastText has them."""
    if ending(path) == ".ft":
        return True
    with opened(path, encoding) as file:
        first = [line for line in islice(file, 100) if line.strip()]
    marked = [line.startswith((MARK, f'"{MARK}')) for line in first]
    # doccano puts a blank before a text without a label.
    return any(marked) and (marked[0] or first[0].startswith(" "))


@dataclass(frozen=True)
class FileTexts:
    """The texts of a file, which is read again on each iteration, one part at a time.

    Use it for a target that does not fit in memory: `DomainAdapter.fit` takes one as `X_target`.
    The path alone is enough if the column is the adapter's `text_column`.

    Parameters
    ----------
    path : path
        CSV, Parquet or JSON, according to its name.
    column : str
    encoding, separator, quoting : str, optional
        For CSV and JSON, if they are not detected correctly.
    header : bool
        For CSV: whether the first row has the columns' names; otherwise they are "1", "2" ...
    skip_missing : bool
        Whether rows without a text are left out.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "tweets.csv")
    ...     _ = path.write_text("text\\nlol\\nugh, again\\n")
    ...     list(FileTexts(path))
    ['lol', 'ugh, again']

    """

    path: str | PathLike[str]
    column: str = "text"
    encoding: str | None = None
    separator: str | None = None
    quoting: str | None = None
    header: bool = True
    skip_missing: bool = False

    def __iter__(self) -> Iterator[Any]:
        yield from (text for _, text in self.numbered())

    def numbered(self) -> Iterator[tuple[int, Any]]:
        """Yield each text with its row in the file, counted from 0."""
        form = self.encoding, self.separator, False, PART, self.quoting, (), self.header
        start, skipped = 0, list[int]()
        for part in read_parts(self.path, [self.column], *form):
            for row, text in enumerate(part[self.column].tolist(), start):
                if self.skip_missing and is_blank(text):
                    skipped.append(row + 1)
                else:
                    yield row, text
            start += len(part)
        if skipped:
            warn(f"{str(self.path)!r}: {left_out(skipped, self.column)}", RowWarning)

    def places(self, name: str) -> Places:
        """Return what rows of the file are called in errors about an argument of that name."""
        form = self.encoding, self.separator, self.quoting, self.header
        return places_of(self.path, name, [self.column], *form)


def left_out(rows: Sequence[int], what: str) -> str:
    """Say how many rows are left out because they lack something, and which.

    Examples
    --------
    >>> left_out([6, 301], "label")
    '2 rows have no label, and are left out: 6, 301.'

    """
    n = len(rows)
    words = f"{n:,} rows have" if n > 1 else "1 row has"
    return f"{words} no {what}, and {'are' if n > 1 else 'is'} left out: {listed(rows)}."


def places_of(
    path: str | PathLike[str],
    name: str,
    columns: Sequence[str],
    encoding: str | None = None,
    separator: str | None = None,
    quoting: str | None = None,
    header: bool = True,
) -> Places:
    """Return what rows of a file are called in errors; a row's line is looked up when asked for."""
    line = partial(_line_of_row, path, columns, encoding, separator, quoting, header)
    return Places(name, str(path), line=line)


def is_table(name: str) -> bool:
    """Return whether a name is that of a table, going by its ending."""
    return len(name) < 1000 and ending(Path(name)) in _READERS


def _kind_of(path: Path, separator: str | None, quoting: str | None) -> str:
    """Return the format of a file by its name, or raise if it cannot be read."""
    kind = _READERS.get(ending(path))
    if kind is None:
        raise ValueError(
            f"{str(path)!r} ends in none of {sorted(_READERS)}; save it as one of these "
            "(a spreadsheet as CSV), or rename it."
        )
    if separator is not None and len(separator) != 1:
        raise ValueError(f"separator={separator!r} must be one character.")
    if quoting is not None and quoting not in QUOTINGS:
        raise ValueError(f"quoting={quoting!r} must be one of {QUOTINGS}, or left out.")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}; check the path.")
    if path.stat().st_size == 0:
        raise ValueError(f"{str(path)!r} is empty.")
    return kind


def _parquet_parts(
    path: Path, columns: list[str], whole: bool, size: int | None, optional: Sequence[str]
) -> Iterator[pd.DataFrame]:
    # pandas itself needs it for this format.
    from pyarrow import types
    from pyarrow.parquet import ParquetFile

    # A column that pandas wrote as its index is a column like the others, if it has a name.
    plain: Any = {"ignore_metadata": True}
    with ParquetFile(path) as file:
        names = [n for n in file.schema_arrow.names if not _UNNAMED.fullmatch(n)]
        check_columns(path, names, columns, optional)
        extra = [c for c in optional if c in names and c not in columns]
        wanted = names if whole else [*columns, *extra]
        if size == 0:
            return
        import pandas as pd

        if size is None:
            table = file.read(wanted)
            frame = table.to_pandas(**plain)
            for name in table.column_names:
                # Otherwise whole numbers beside a gap would become floats.
                if types.is_integer(table[name].type) and table[name].null_count:
                    frame[name] = table[name].to_pandas(types_mapper=pd.ArrowDtype)
            yield frame
            return
        if not file.metadata.num_rows:
            yield file.read(wanted).to_pandas(types_mapper=pd.ArrowDtype, **plain)
        # If asked for all row groups at once, Arrow would keep what it has read of them.
        for group in range(file.num_row_groups):
            for batch in file.iter_batches(size, row_groups=[group], columns=wanted):
                yield batch.to_pandas(types_mapper=pd.ArrowDtype, **plain)


def _json_parts(
    path: Path,
    encoding: str,
    kind: str,
    size: int | None,
    wanted: tuple[Sequence[str], Sequence[str]],
) -> Iterator[pd.DataFrame]:
    # Values stay as they are: pandas would turn a column of whole numbers with gaps into floats.
    with opened(path, encoding) as file:
        if kind == "json":
            content = _json(file.read())
            if isinstance(content, dict) or content is None:
                check_columns(path, [str(name) for name in content or ()], *wanted)
                import pandas as pd

                yield pd.DataFrame(content, dtype=object).reset_index(drop=True)
                return
            if not isinstance(content, list):
                raise ValueError(f"{str(path)!r} holds a single value, not a table.")
            values: Iterator[tuple[int | None, Any]] = ((None, value) for value in content)
            size = None
        elif kind == "lines":
            values = _values(path, file)
        else:
            values = fasttext_rows(file)
        n, first = 0, True
        while (part := _objects(path, islice(values, size), n)) or first:
            if first:
                names = dict.fromkeys(str(name) for row in part for name in row)
                check_columns(path, list(names), *wanted)
                import pandas as pd
            n, first = n + len(part), False
            yield pd.DataFrame(part, dtype=object)


def _json(text: str) -> Any:
    """Return what a JSON file holds: a list of rows or a mapping of columns.

    Besides these two, pandas writes tables with a schema or split into columns and data, and
    datasets a row a line under the name .json.
    """
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if not error.msg.startswith("Extra data") or len(lines) < 2:
            raise
        return [json.loads(line) for line in lines]
    if isinstance(content, dict) and isinstance(data := content.get("data"), list):
        if {*content} == {"columns", "index", "data"}:
            return [dict(zip(content["columns"], row, strict=True)) for row in data]
        if "schema" in content or len(content) == 1:
            return data
    if isinstance(content, list) and all(isinstance(rows, list) for rows in content):
        # Label Studio's converter writes a list for each file that it was given.
        rows = list(chain.from_iterable(content))
        return rows if all(isinstance(row, dict) for row in rows) else content
    return content


def _values(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    """Yield the number and the value of each line that is not blank."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(
                    f"{str(path)!r} cannot be read: line {number} is not JSON ({error})."
                ) from error


def _objects(
    path: Path, values: Iterable[tuple[int | None, Any]], start: int
) -> list[dict[str, Any]]:
    """Return JSON objects, or raise if there is something else; rows are counted from `start`."""
    rows: list[dict[str, Any]] = []
    for line, value in values:
        if not isinstance(value, dict):
            where = "" if line is None else f", line {line} of the file"
            raise ValueError(
                f"{str(path)!r}, row {start + len(rows) + 1}{where} is {str(value)[:60]}, and not "
                "an object of columns."
            )
        rows.append(lifted(value))
    return rows


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Add to an error which file it is about, and what to do."""
    try:
        yield
    except UnicodeError as error:
        raise ValueError(
            f"{str(path)!r} does not have the expected encoding ({error}); pass the right one as "
            "encoding (for example --encoding cp1252), or save the file as UTF-8."
        ) from error
    except Exception as error:  # pandas, pyarrow and each compression raise their own kinds
        if isinstance(error, ValueError) and str(error).startswith(repr(str(path))):
            raise
        first = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise ValueError(f"{str(path)!r} cannot be read: {first}") from error

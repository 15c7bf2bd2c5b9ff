"""Read tables in files as they are, and refuse those where data would be lost or misread."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dann_transfer.texts.separated import check_columns, csv_parts
from dann_transfer.texts.unpacking import COMPRESSED, encoding_of, opened

if TYPE_CHECKING:
    import pandas as pd

# Number of rows in memory at once when a file is read in parts.
PART = 4096
_READERS: dict[str, str] = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".parquet": "parquet", ".jsonl": "lines",
    ".ndjson": "lines", ".json": "json",
}  # fmt: skip
_UNNAMED = re.compile(r"__index_level_\d+__")


def read_table(
    path: str | PathLike[str],
    columns: Sequence[str],
    encoding: str | None = None,
    separator: str | None = None,
    whole: bool = False,
) -> pd.DataFrame:
    """Read columns of a CSV, Parquet or JSON file, which may be compressed.

    Cells of a CSV file stay text: "NA" is a text and not a missing one. In a file with one column
    every line is a text, whatever commas it contains.

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
    return next(read_parts(path, columns, encoding, separator, whole, size=None))


def read_parts(
    path: str | PathLike[str],
    columns: Sequence[str],
    encoding: str | None = None,
    separator: str | None = None,
    whole: bool = False,
    size: int | None = PART,
) -> Iterator[pd.DataFrame]:
    """Yield what `read_table` reads, `size` rows at a time, or all at once if that is None.

    A column has the same type in all parts: Arrow's own for Parquet, text for CSV. The columns of
    JSON and their types are known only at the end of the file, so a file of which all columns are
    wanted comes as one part; so does one that is a single array.
    """
    path = Path(path).expanduser()
    kind = _kind_of(path, separator)
    with _named(path):
        encoding = None if kind == "parquet" else encoding or encoding_of(path)
        if kind == "csv":
            yield from csv_parts(path, list(columns), str(encoding), separator, whole, size)
            return
        if kind == "parquet":
            yield from _parquet_parts(path, list(columns), whole, size)
            return
        lines = kind == "lines"
        checked = False
        for frame in _json_parts(path, str(encoding), lines, None if whole else size):
            if not checked:
                check_columns(path, [str(c) for c in frame.columns], columns)
                checked = True
            # Some JSON lines may lack a column, and so may a whole part of them.
            yield frame if whole else frame.reindex(columns=list(columns))


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
    encoding, separator : str, optional
        For CSV and JSON, if they are not detected correctly.

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

    def __iter__(self) -> Iterator[Any]:
        for part in read_parts(self.path, [self.column], self.encoding, self.separator):
            yield from part[self.column].tolist()


def is_table(name: str) -> bool:
    """Return whether a name is that of a table, going by its ending."""
    return len(name) < 1000 and _ending(Path(name)) in _READERS


def _ending(path: Path) -> str:
    """Return the ending of a name, apart from that of a compression."""
    suffixes = [s.lower() for s in path.suffixes if s.lower() not in COMPRESSED]
    return suffixes[-1] if suffixes else ""


def _kind_of(path: Path, separator: str | None) -> str:
    """Return the format of a file by its name, or raise if it cannot be read."""
    kind = _READERS.get(_ending(path))
    if kind is None:
        raise ValueError(
            f"{str(path)!r} ends in none of {sorted(_READERS)}; save it as one of these "
            "(a spreadsheet as CSV), or rename it."
        )
    if separator is not None and len(separator) != 1:
        raise ValueError(f"separator={separator!r} must be one character.")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}; check the path.")
    if path.stat().st_size == 0:
        raise ValueError(f"{str(path)!r} is empty.")
    return kind


def _parquet_parts(
    path: Path, columns: list[str], whole: bool, size: int | None
) -> Iterator[pd.DataFrame]:
    import pandas as pd

    # pandas itself needs it for this format.
    from pyarrow import types
    from pyarrow.parquet import ParquetFile

    # A column that pandas wrote as its index is a column like the others, if it has a name.
    plain: Any = {"ignore_metadata": True}
    with ParquetFile(path) as file:
        names = [n for n in file.schema_arrow.names if not _UNNAMED.fullmatch(n)]
        check_columns(path, names, columns)
        wanted = names if whole else columns
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


def _json_parts(path: Path, encoding: str, lines: bool, size: int | None) -> Iterator[pd.DataFrame]:
    import pandas as pd

    # Values stay as they are: pandas would turn a column of whole numbers with gaps into floats.
    with opened(path, encoding) as file:
        if not lines:
            found = json.load(file)
            if not isinstance(found, list | dict):
                raise ValueError(f"{str(path)!r} holds a single value, not a table.")
            rows = _objects(path, enumerate(found, 1)) if isinstance(found, list) else found
            yield pd.DataFrame(rows, dtype=object).reset_index(drop=True)
            return
        values = _values(path, file)
        first = True
        while (part := _objects(path, islice(values, size))) or first:
            first = False
            yield pd.DataFrame(part, dtype=object)


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


def _objects(path: Path, values: Iterable[tuple[int, Any]]) -> list[dict[str, Any]]:
    """Return JSON objects, or raise if there is something else."""
    rows = []
    for number, value in values:
        if not isinstance(value, dict):
            raise ValueError(
                f"{str(path)!r}, row {number} is {str(value)[:60]}, and not an object of columns."
            )
        rows.append(value)
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

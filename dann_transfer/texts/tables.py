"""Tables in files: read as they are, and what would be lost or read otherwise is refused."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

COMPRESSED = (".gz", ".bz2", ".zip", ".xz", ".zst")
SEPARATORS = (",", ";", "\t", "|")
# What no text holds: of a file of one column every line is one text, commas and all.
_NONE = "\x1f"
_READERS: dict[str, str] = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".parquet": "parquet", ".jsonl": "lines",
    ".ndjson": "lines", ".json": "json",
}  # fmt: skip
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def read_table(
    path: str | Path,
    columns: Sequence[str],
    encoding: str | None = None,
    separator: str | None = None,
    whole: bool = False,
) -> pd.DataFrame:
    """Read columns of a CSV, Parquet or JSON file, which may be compressed.

    Cells of a CSV file stay text: "NA" is a text and not a missing one. In a file of one column
    every line is a text, whatever commas it holds.

    Parameters
    ----------
    path : path
        Its name tells the format: .csv, .tsv and .txt (separated values with a header), .parquet,
        .json, .jsonl and .ndjson, and behind it .gz, .bz2, .zip, .xz or .zst.
    columns : sequence of str
        The columns that are wanted.
    encoding : str, optional
        Of CSV and JSON; None is UTF-8, or UTF-16 where a byte order mark says so.
    separator : str, optional
        Of CSV, one character; None is that of comma, semicolon, tab and bar which makes the wanted
        columns of the header.
    whole : bool
        Whether the other columns are read too.

    Raises
    ------
    ValueError
        If the file cannot be read as what its name says, a column is missing or there are two of
        its name, a row has more cells than the header, or quotes do not enclose whole cells.
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
    import pandas as pd

    path = Path(path).expanduser()
    suffixes = [s.lower() for s in path.suffixes if s.lower() not in COMPRESSED]
    kind = _READERS.get(suffixes[-1] if suffixes else "")
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
    with _named(path):
        if kind == "parquet":
            frame = pd.read_parquet(path)
        else:
            encoding = encoding or _encoding_of(path)
            if kind == "csv":
                return _read_csv(path, list(columns), encoding, separator, whole)
            with _opened(path, encoding) as file:
                # Texts and labels as they are: "1" is no number and "2020-01-01" no date.
                frame = pd.read_json(file, lines=kind == "lines", dtype=False)
    _check_columns(path, [str(c) for c in frame.columns], columns)
    return frame if whole else frame[list(columns)]


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say of which file an error is, and what to do."""
    try:
        yield
    except UnicodeError as error:
        raise ValueError(
            f"{str(path)!r} has another encoding than was expected ({error}); name it with "
            "encoding (--encoding cp1252, say), or save the file as UTF-8."
        ) from error
    except Exception as error:  # pandas, pyarrow and each compression raise their own kinds
        if isinstance(error, ValueError) and str(error).startswith(repr(str(path))):
            raise
        first = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise ValueError(f"{str(path)!r} cannot be read: {first}") from error


def _encoding_of(path: Path) -> str:
    """Return UTF-8, or what a byte order mark says."""
    import fsspec

    with fsspec.open(str(path), "rb", compression="infer") as file:
        start = file.read(4)
    return next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8")


@contextmanager
def _opened(path: Path, encoding: str) -> Iterator[IO[str]]:
    """Open a file that may be compressed, in its encoding."""
    import fsspec

    with fsspec.open(str(path), "rt", compression="infer", encoding=encoding, newline="") as file:
        yield file


def _read_csv(
    path: Path, columns: list[str], encoding: str, separator: str | None, whole: bool
) -> pd.DataFrame:
    import pandas as pd

    candidates = [separator] if separator is not None else list(SEPARATORS)
    headers = {own: _header(path, encoding, own) for own in candidates}
    # That which finds most of the wanted columns, and of these that which makes most columns.
    best = max(headers, key=lambda s: (len({*headers[s]} & {*columns}), len(headers[s])))
    names = headers[best]
    _check_columns(path, names, columns)
    one = len(names) == 1 and separator is None
    rows = list(_rows(path, encoding, _NONE if one else best))[1:]
    while one and rows and not rows[-1][1]:
        rows.pop()
    cells = [_cells(path, line, row, names, best) for line, row in rows if row or one]
    places = list(range(len(names))) if whole else [names.index(column) for column in columns]
    own = [names[i] for i in places]
    return pd.DataFrame([[row[i] for i in places] for row in cells], columns=own, dtype=object)


def _header(path: Path, encoding: str, separator: str) -> list[str]:
    for _, row in _rows(path, encoding, separator):
        return row
    raise ValueError(f"{str(path)!r} has no line that is not blank.")


def _rows(path: Path, encoding: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of a row's last line and its cells, from the header on."""
    # A cell may be as long as a book.
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with _opened(path, encoding) as file:
        reader = csv.reader(file, delimiter=separator, strict=True)
        begun = False
        try:
            for row in reader:
                begun = begun or bool(row)
                if begun:
                    yield reader.line_num, row
        except csv.Error as error:
            raise ValueError(
                f"{str(path)!r}, line {reader.line_num}: {error}. A cell that begins with a quote "
                "needs quotes around the whole of it, and those in it doubled."
            ) from error


def _cells(path: Path, line: int, row: list[str], names: list[str], separator: str) -> list[str]:
    """Return a row's cells, one a column, or raise where there is something beside the columns."""
    filled = [i for i, cell in enumerate(row) if cell.strip()]
    # Only a first column may be without a name, as pandas writes its index.
    beside = [i for i in filled if i >= len(names) or (i > 0 and not names[i].strip())]
    if beside:
        raise ValueError(
            f"{str(path)!r}, line {line}: {row[beside[0]]!r} stands beside the columns {names}. A "
            f"text with {separator!r} in it needs quotes around it, and quotes in it doubled."
        )
    return [*row[: len(names)], *[""] * (len(names) - len(row))]


def _check_columns(path: Path, names: Sequence[str], wanted: Sequence[str]) -> None:
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

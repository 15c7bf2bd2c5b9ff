"""Tables in files: pandas reads them, and what would be lost or read otherwise is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


def read_table(
    path: str | Path,
    columns: Sequence[str],
    encoding: str | None = None,
    separator: str | None = None,
) -> pd.DataFrame:
    """Read columns of a CSV, Parquet or JSON file, which may be compressed.

    Cells of a CSV file stay text: "NA" is a text and not a missing one.

    Parameters
    ----------
    path : path
        Its name tells the format: .csv, .tsv and .txt (separated values with a header), .parquet,
        .json, .jsonl and .ndjson, and behind it .gz, .bz2, .zip, .xz or .zst.
    columns : sequence of str
        The columns that are wanted.
    encoding : str, optional
        None is UTF-8, or UTF-16 where a byte order mark says so.
    separator : str, optional
        None is that of comma, semicolon, tab and bar which makes the wanted columns of the header.

    Raises
    ------
    ValueError
        If the file cannot be read as what its name says, a column is missing or there are two of
        its name, or a row has more cells than the header.
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
    path = Path(path).expanduser()
    suffixes = [s.lower() for s in path.suffixes if s.lower() not in COMPRESSED]
    kind = _READERS.get(suffixes[-1] if suffixes else "")
    if kind is None:
        raise ValueError(
            f"{str(path)!r} ends in none of {sorted(_READERS)}; save it as one of these "
            "(a spreadsheet as CSV), or rename it."
        )
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}; check the path.")
    if path.stat().st_size == 0:
        raise ValueError(f"{str(path)!r} is empty.")
    if kind == "csv":
        return _read_csv(path, list(columns), encoding, separator)
    frame = _tried(path, _other_reader(kind, path, encoding))
    _check_columns(path, [str(c) for c in frame.columns], columns)
    return frame[list(columns)]


def _other_reader(kind: str, path: Path, encoding: str | None) -> Callable[[], Any]:
    import pandas as pd

    if kind == "parquet":
        return lambda: pd.read_parquet(path)
    # Texts and labels as they are: "1" is no number and "2020-01-01" no date.
    return lambda: pd.read_json(
        path, lines=kind == "lines", dtype=False, encoding=encoding or "utf-8"
    )


def _tried(path: Path, read: Callable[[], Any]) -> Any:
    """Call a reader, and say of which file its error is and what to do."""
    try:
        return read()
    except UnicodeError as error:
        raise ValueError(
            f"{str(path)!r} has another encoding than was expected ({error}); name it with "
            "encoding (--encoding cp1252, say), or save the file as UTF-8."
        ) from error
    except (LookupError, ValueError, ImportError, EOFError, OSError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{str(path)!r} cannot be read: {first}") from error


def _read_csv(
    path: Path, columns: list[str], encoding: str | None, separator: str | None
) -> pd.DataFrame:
    import pandas as pd

    def header(encoding: str, separator: str) -> list[str]:
        row = pd.read_csv(
            path, sep=separator, encoding=encoding, header=None, nrows=1, dtype=str,
            keep_default_na=False, skipinitialspace=False,
        )  # fmt: skip
        return [str(name).strip("\ufeff") for name in row.iloc[0]]

    encoding = encoding or _encoding_of(path, lambda e: header(e, _NONE))
    candidates = [separator] if separator is not None else list(SEPARATORS)
    headers = {own: _tried(path, partial(header, encoding, own)) for own in candidates}
    # That which finds most of the wanted columns, and of these that which makes most columns.
    best = max(headers, key=lambda s: (len({*headers[s]} & {*columns}), len(headers[s])))
    names = headers[best]
    _check_columns(path, names, columns)
    sep = _NONE if len(names) == 1 and separator is None else best
    remedy = f"A text with {best!r} in it needs quotes around it, and quotes in it doubled."

    def read() -> pd.DataFrame:
        try:
            return pd.read_csv(
                path, sep=sep, encoding=encoding, header=None, skiprows=1, names=[*names, _NONE],
                dtype=str, keep_default_na=False, index_col=False, skip_blank_lines=len(names) > 1,
            )  # fmt: skip
        except pd.errors.ParserError as error:
            raise ValueError(f"{str(error).strip()}. {remedy}") from error

    frame = _tried(path, read)
    # A row with one cell more than the header has reached the column that was added for it.
    more = frame.index[frame[_NONE].fillna("") != ""]
    if len(more):
        raise ValueError(
            f"{str(path)!r}: row {more[0] + 1} after the header has more cells than the header's "
            f"{len(names)}. {remedy}"
        )
    return frame[columns]


def _encoding_of(path: Path, read: Callable[[str], Any]) -> str:
    """Return UTF-8, or UTF-16 where the file begins with its mark."""
    try:
        read("utf-8")
    except UnicodeError:
        try:
            read("utf-16")
        except (UnicodeError, ValueError):
            return "utf-8"
        return "utf-16"
    except Exception:
        return "utf-8"
    return "utf-8"


def _check_columns(path: Path, names: Sequence[str], wanted: Sequence[str]) -> None:
    for column in wanted:
        if column not in names:
            raise ValueError(
                f"{str(path)!r} has no column {column!r}; it has {list(names)[:20]}. Name the "
                "right one, or the separator."
            )
        if names.count(column) > 1:
            raise ValueError(
                f"{str(path)!r} has {list(names).count(column)} columns named {column!r}; "
                "rename all but one."
            )

"""Files of texts that the commands read, and tables that they write or print."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Hashable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from dann_transfer.ground.folders import in_place_of, make_writable
from dann_transfer.ground.notices import is_first

if TYPE_CHECKING:
    from dann_transfer.texts.files import FileTexts

Encoding = Annotated[
    str | None, typer.Option(help="For CSV and JSON; default UTF-8, or UTF-16 if so marked.")
]
Separator = Annotated[
    str | None, typer.Option(help="For CSV; by default comma, semicolon, tab or bar is detected.")
]
TextColumn = Annotated[str, typer.Option(help="The column of texts.")]
LabelColumn = Annotated[str, typer.Option(help="The column of labels.")]

Quoting = Annotated[
    str | None,
    typer.Option(
        help="For CSV: none if quote marks are letters, minimal if they enclose cells; "
        "by default minimal, and a cell that looks like several rows is refused."
    ),
]


def read(
    path: Path,
    columns: list[str],
    encoding: str | None,
    separator: str | None,
    quoting: str | None,
    whole: bool = False,
) -> Any:
    """Read a file of texts; the separator may be written in a form that a shell can pass."""
    from dann_transfer.texts.files import read_table

    return read_table(path, columns, encoding, as_separator(separator), whole, quoting)


def read_labelled(
    path: Path,
    text_column: str,
    label_column: str,
    encoding: str | None,
    separator: str | None,
    quoting: str | None,
    *others: str | None,
) -> Any:
    """Read texts, labels and other columns, and name the rows in which text or label is missing."""
    from dann_transfer.texts import reading
    from dann_transfer.texts.files import places_of
    from dann_transfer.texts.frames import is_blank

    if text_column == label_column:
        raise ValueError(f"--text-column and --label-column are both {text_column!r}.")
    form = encoding, as_separator(separator), quoting
    named = [name for name in others if name is not None]
    frame = reading.read_labelled(path, text_column, label_column, named, *form)
    for column in (text_column, label_column):
        if blank := [i for i, value in enumerate(frame[column]) if is_blank(value)]:
            places = places_of(path, column, [text_column], *form).at(frame.index.tolist())
            raise ValueError(f"{places.fault(blank, 'is empty')}; fill it in or remove the row.")
    return frame.reset_index(drop=True)


def as_classes(labels: Any, classes: Iterable[Any]) -> Any:
    """Return labels of a file as a model's classes: a CSV has "1" where JSON has 1."""
    names = {value.item() if hasattr(value, "item") else value for value in classes}
    by_name = {str(value): value for value in names}
    return [
        # What cannot be a label is named where labels are checked.
        label
        if not isinstance(label, Hashable) or label in names
        else by_name.get(str(label), label)
        for label in labels
    ]


def target_texts(
    path: Path, column: str, encoding: str | None, separator: str | None, quoting: str | None
) -> FileTexts:
    """Return the texts of a file that may be larger than memory, to be read in parts.

    Its first part is read at once, to report errors before anything is loaded.
    """
    from dann_transfer.texts.files import FileTexts

    texts = FileTexts(path, column, encoding, as_separator(separator), quoting)
    next(iter(texts), None)
    return texts


def as_separator(separator: str | None) -> str | None:
    """Return a separator as it is in files: a tab is hard to pass in a shell."""
    return {"\\t": "\t", "tab": "\t"}.get(str(separator), separator)


def check_table_to_write(out: Path | None, *inputs: Path | None) -> None:
    """Raise if a table cannot be written to a file, or in the format that its name gives."""
    check_file_to_write(out, *inputs)
    if out is None or (out.exists() and not out.is_file()):
        return
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise ValueError(f"{str(out)!r} ends in neither '.csv' nor '.parquet', which are written.")
    if is_parquet(out):
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise ImportError("writing Parquet needs pyarrow: pip install pyarrow") from error


def is_parquet(out: Path | None) -> bool:
    """Whether a file's name says that it is Parquet."""
    return out is not None and out.suffix.lower() == ".parquet"


def check_file_to_write(out: Path | None, *inputs: Path | None) -> None:
    """Raise if a file cannot be written, or is one of the input files."""
    if out is None:
        return
    if out.is_dir():
        raise ValueError(f"{str(out)!r} is a folder; name a file.")
    if not out.absolute().parent.is_dir():
        raise ValueError(f"there is no folder {str(out.absolute().parent)!r} to write to.")
    if any(file is not None and out.resolve() == file.resolve() for file in inputs):
        raise ValueError(f"{str(out)!r} is the file of texts, which it would replace.")
    if out.exists() and not out.is_file():
        return
    # A link is followed, and the file that it leads to is replaced.
    folder = out.resolve().parent
    if not folder.is_dir():
        raise ValueError(f"{str(out)!r} leads to {str(folder)!r}, which is no folder.")
    make_writable(folder, f"cannot write to {str(folder)!r}")


def write(frames: Iterable[Any], out: Path | None, marked: bool = False) -> None:
    """Write the parts of a table to a file, whole or not at all, or to standard output.

    The format is Parquet if the file's name says so, and otherwise CSV in UTF-8, with a byte order
    mark if `marked`. If there are
    several processes, the first one writes.
    """
    if not is_first():
        return
    if out is None:
        # A pipe may have an encoding that lacks letters of the labels.
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        _write_csv(frames, sys.stdout)
        return
    with in_place_of(out) as work:
        if is_parquet(out):
            _write_parquet(frames, work)
            return
        with work.open("w", encoding="utf-8-sig" if marked else "utf-8", newline="") as file:
            _write_csv(frames, file)


def _write_csv(frames: Iterable[Any], file: TextIO) -> None:
    for i, frame in enumerate(frames):
        frame = frame.copy(deep=False)
        broken = False
        for place in range(frame.shape[1]):
            cells = [_as_cell(value) for value in frame.iloc[:, place]]
            if any(cell is not None for cell in cells):
                broken = broken or any("\r" in cell for cell in cells if cell is not None)
                before = frame.iloc[:, place].astype(object)
                kept = [v if cell is None else cell for v, cell in zip(before, cells, strict=True)]
                frame.isetitem(place, kept)
        # Python quotes a cell for a line feed alone, but a carriage return ends a row too.
        quoting = csv.QUOTE_NONNUMERIC if broken else csv.QUOTE_MINIMAL
        frame.to_csv(file, index=False, header=i == 0, lineterminator="\n", quoting=quoting)


def _as_cell(value: Any) -> str | None:
    """Return text as it is, lists and the like as JSON, which nothing shortens, and None for what
    pandas writes well."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | dict) or len(getattr(value, "shape", "")):
        return json.dumps(value, ensure_ascii=False, default=_as_list)
    return None


def _as_list(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _write_parquet(frames: Iterable[Any], path: Path) -> None:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    with ExitStack() as stack:
        writer = None
        for frame in frames:
            schema = None if writer is None else writer.schema
            try:
                table = pyarrow.Table.from_pandas(frame, schema, preserve_index=False)
            except (OverflowError, pyarrow.ArrowException) as error:
                raise ValueError(f"this cannot be Parquet: {error}; write CSV.") from error
            # Otherwise pandas would restore the column types used here, not its defaults.
            table = table.replace_schema_metadata(None)
            writer = writer or stack.enter_context(ParquetWriter(path, table.schema))
            writer.write_table(table)


def print_rows(frame: Any) -> None:
    """Print a data frame as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for column in frame.columns:
        numbers = frame[column].dtype.kind in "if"
        table.add_column(str(column).replace("_", "\n"), justify="right" if numbers else "left")
    for row in frame.itertuples(index=False):
        table.add_row(*map(_shown, row))
    Console().print(table)


def _shown(value: Any) -> str:
    """Return a number with three digits, small ones too, and anything else as it is."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.01 else f"{value:.3g}"

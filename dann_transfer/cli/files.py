"""Files of texts that the commands read, and tables that they write or print."""

from __future__ import annotations

import csv
import io
import json
import sys
import warnings
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TextIO

import typer

from dann_transfer.ground.notices import is_first

if TYPE_CHECKING:
    from dann_transfer.judging.tables import Table
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
NoHeader = Annotated[
    bool,
    typer.Option(
        "--no-header",
        help="For CSV without names of columns, which are then 1, 2 ...; texts are in 1 and "
        "labels in 2 unless --text-column and --label-column say otherwise.",
    ),
]
SkipMissing = Annotated[
    bool, typer.Option("--skip-missing", help="Leave out rows that have no text or no label.")
]


class Form(NamedTuple):
    """How the files of a command are written, in the order of `FileTexts`."""

    encoding: str | None
    separator: str | None
    quoting: str | None
    header: bool = True

    @classmethod
    def of(
        cls, encoding: str | None, separator: str | None, quoting: str | None, no_header: bool
    ) -> Form:
        """Read the options; a tab is hard to pass in a shell."""
        separator = {"\\t": "\t", "tab": "\t"}.get(str(separator), separator)
        return cls(encoding, separator, quoting, not no_header)

    def column(self, name: str) -> str:
        """Return the name of a column, which without a header is a number."""
        return name if self.header else {"text": "1", "label": "2"}.get(name, name)


@contextmanager
def options_named(options: Mapping[str, str]) -> Iterator[None]:
    """Say by which option a column is named that is not in a file."""
    # Without pandas, whose import takes seconds.
    from dann_transfer.texts.separated import ColumnError

    try:
        yield
    except ColumnError as error:
        option = options.get(error.column, "--text-column")
        raise ValueError(
            f"{error.said} Name the right one with {option}, or the separator with --separator."
        ) from error


def read(path: Path, columns: Mapping[str, str], form: Form, whole: bool = False) -> Any:
    """Read a file of texts; `columns` has the option by which each column is named."""
    from dann_transfer.texts.files import read_table

    encoding, separator, quoting, header = form
    with options_named(columns):
        return read_table(path, list(columns), encoding, separator, whole, quoting, header=header)


def check_labelled(
    path: Path,
    text: tuple[str, str],
    label_column: str,
    form: Form,
    group_column: str | None = None,
) -> None:
    """Raise if a file lacks a column, before anything is imported to read it.

    `text` is the column of texts, and the option by which it is named.
    """
    from dann_transfer.texts.exports import columns_beside
    from dann_transfer.texts.files import read_parts

    options = {text[0]: text[1], label_column: "--label-column"}
    columns = [text[0]]
    if group_column is not None:
        options[group_column] = "--group-column"
        columns.append(group_column)
    encoding, separator, quoting, header = form
    labels = [label_column, *columns_beside(label_column)]
    with options_named(options):
        list(read_parts(path, columns, encoding, separator, False, 0, quoting, labels, header))


def read_labelled(
    path: Path,
    text: tuple[str, str],
    label_column: str,
    form: Form,
    skip_missing: bool = False,
    group_column: str | None = None,
) -> Any:
    """Read texts, labels and groups; errors name the rows in the file.

    `text` is the column of texts, and the option by which it is named.
    """
    from dann_transfer.texts import reading
    from dann_transfer.texts.files import places_of
    from dann_transfer.texts.frames import is_blank
    from dann_transfer.texts.labels import LabelWarning, as_labels

    text_column, option = text
    if text_column == label_column:
        raise ValueError(f"{option} and --label-column are both {text_column!r}.")
    options = {text_column: option, label_column: "--label-column"}
    others = [] if group_column is None else [group_column]
    options |= dict.fromkeys(others, "--group-column")
    with options_named(options):
        frame = reading.read_labelled(path, text_column, label_column, others, *form, skip_missing)
    if frame.empty:
        raise ValueError(f"{str(path)!r} has no row with both a text and a label.")
    rows = frame.index.tolist()
    for column in (text_column, label_column):
        places = places_of(path, column, [text_column], *form).at(rows)
        if blank := [i for i, value in enumerate(frame[column]) if is_blank(value)]:
            raise ValueError(
                f"{places.fault(blank, 'is empty')}; fill it in, remove the row, or leave out such "
                "rows with --skip-missing."
            )
    reading.checked_texts(
        frame[text_column].tolist(), places_of(path, text_column, [text_column], *form).at(rows)
    )
    with warnings.catch_warnings():
        # Training says it again.
        warnings.simplefilter("ignore", LabelWarning)
        as_labels(frame[label_column].tolist(), len(rows), label_column, text_column, places)
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
    path: Path, column: str, form: Form, skip_missing: bool = False, option: str = "--text-column"
) -> FileTexts:
    """Return the texts of a file that may be larger than memory, to be read in parts.

    Its first part is read at once, to report errors before anything is loaded.
    """
    from dann_transfer.texts.files import FileTexts

    texts = FileTexts(path, column, *form, skip_missing)
    with options_named({column: option}):
        next(iter(texts), None)
    return texts


def check_table_to_write(out: Path | None, *inputs: Path | None) -> None:
    """Raise if a table cannot be written to a file, or in the format that its name gives."""
    check_file_to_write(out, *inputs)
    if out is None or (out.exists() and not out.is_file()):
        return
    if out.suffix.lower() not in WRITTEN:
        raise ValueError(f"{str(out)!r} ends in none of {list(WRITTEN)}, which are written.")
    if is_parquet(out):
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise ImportError("writing Parquet needs pyarrow: pip install pyarrow") from error


WRITTEN = (".csv", ".parquet", ".jsonl", ".ndjson")
"""The endings of tables that can be written."""


def is_parquet(out: Path | None) -> bool:
    """Whether a file's name says that it is Parquet."""
    return out is not None and out.suffix.lower() == ".parquet"


def is_csv(out: Path | None) -> bool:
    """Whether a file is written as CSV, in which numbers are text; so is standard output."""
    return out is None or out.suffix.lower() == ".csv"


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
    from dann_transfer.ground.folders import make_writable

    # A link is followed, and the file that it leads to is replaced.
    folder = out.resolve().parent
    if not folder.is_dir():
        raise ValueError(f"{str(out)!r} leads to {str(folder)!r}, which is no folder.")
    make_writable(folder, f"cannot write to {str(folder)!r}")


def write(frames: Iterable[Any], out: Path | None, marked: bool = False) -> None:
    """Write the parts of a table to a file, whole or not at all, or to standard output.

    The format is that of the file's name: Parquet, JSON lines, or CSV in UTF-8, with a byte order
    mark if `marked`. It says how many rows the file has. If there are several processes, the first
    one writes.
    """
    if not is_first():
        return
    if out is None:
        # A pipe may have an encoding that lacks letters of the labels.
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        _write_csv(frames, sys.stdout)
        return
    from dann_transfer.ground.folders import in_place_of

    sizes: list[int] = []
    counted = _counted(frames, sizes)
    with in_place_of(out) as work:
        if is_parquet(out):
            _write_parquet(counted, work)
        elif is_csv(out):
            with work.open("w", encoding="utf-8-sig" if marked else "utf-8", newline="") as file:
                _write_csv(counted, file)
        else:
            with work.open("w", encoding="utf-8", newline="") as file:
                _write_lines(counted, file)
    n = sum(sizes)
    typer.echo(f"wrote {n:,} row{'' if n == 1 else 's'} to {out}")


def _counted(frames: Iterable[Any], sizes: list[int]) -> Iterator[Any]:
    for frame in frames:
        sizes.append(len(frame))
        yield frame


def _write_lines(frames: Iterable[Any], file: TextIO) -> None:
    """Write each row as a JSON object on a line of its own; what is missing is null."""
    from dann_transfer.texts.frames import is_missing

    for frame in frames:
        columns = [frame.iloc[:, place].tolist() for place in range(frame.shape[1])]
        names = [str(name) for name in frame.columns]
        for row in zip(*columns, strict=True):
            values = (None if is_missing(value) else value for value in row)
            text = json.dumps(
                dict(zip(names, values, strict=True)), ensure_ascii=False, default=_as_list
            )
            file.write(f"{text}\n")


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


def print_tables(tables: Iterable[Table]) -> None:
    """Print tables, as wide as the terminal or 80 letters into a pipe."""
    from rich.console import Console

    for table in tables:
        Console().print(table.printable())

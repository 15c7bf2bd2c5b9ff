"""What the commands share: the app, one-line errors, files, and hyperparameters by name."""

from __future__ import annotations

import ast
import csv
import io
import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from dann_transfer.ground.folders import in_place_of, make_writable
from dann_transfer.ground.notices import is_first

if TYPE_CHECKING:
    from dann_transfer.texts.files import FileTexts

app = typer.Typer(
    help="Adapt text classifiers to a domain that has no labels.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

TOGETHER = ("adapt", "compare")
"""The commands that several processes run together."""

ERRORS = (ValueError, TypeError, OSError, RuntimeError, FloatingPointError, ImportError)


def _version(asked: bool) -> None:
    from dann_transfer import __version__

    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version.")
    ] = False,
) -> None:
    context.with_resource(_warnings_in_a_line())
    # Set in a task that srun started; within an allocation any program sees SLURM_NTASKS.
    names = "WORLD_SIZE", "SLURM_STEP_NUM_TASKS"
    name, world = next(((n, os.environ[n]) for n in names if os.environ.get(n)), ("", "1"))
    if not world.isdecimal():
        typer.secho(f"error: {name}={world!r} is not a number of processes.", fg="red", err=True)
        raise typer.Exit(2)
    if int(world) < 2:
        context.with_resource(_ending_on_sigterm())
        return
    if context.invoked_subcommand not in TOGETHER:
        typer.secho(
            f"error: {context.invoked_subcommand} runs in one process; start it without torchrun. "
            f"Only {' and '.join(TOGETHER)} run in several.",
            fg="red",
            err=True,
        )
        raise typer.Exit(2)
    context.with_resource(_one_of_many())


@contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    """Show each warning on one line, without the code that it came from."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        typer.secho(f"warning: {message}", fg="yellow", err=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        # Warnings from libraries are for their developers.
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end a command as an error does, so that temporary files are removed.

    Several processes end at once, since one may wait for another that has ended.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _one_of_many() -> Iterator[None]:
    """Join the processes of torchrun or Slurm, of which only the first prints."""
    from dann_transfer.ground.notices import is_first
    from dann_transfer.ground.processes import joined

    with ExitStack() as stack:
        stack.enter_context(joined())
        if not is_first():
            # Errors go to the error stream, whichever process raises them.
            nowhere = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(redirect_stdout(nowhere))
        yield


@contextmanager
def errors_in_a_line(*others: type[Exception]) -> Iterator[None]:
    """End a command on an error with a one-line message and exit status 2, not a traceback."""
    errors: tuple[type[Exception], ...] = (*ERRORS, *others)
    try:
        yield
    except BrokenPipeError as error:
        # Whoever reads the output, such as `head`, has enough. Python would say so at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from error
    except errors as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(2) from error


Encoding = Annotated[
    str | None, typer.Option(help="For CSV and JSON; default UTF-8, or UTF-16 if so marked.")
]
Separator = Annotated[
    str | None, typer.Option(help="For CSV; by default comma, semicolon, tab or bar is detected.")
]

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
    own = {value.item() if hasattr(value, "item") else value for value in classes}
    by_name = {str(value): value for value in own}
    return [
        # What cannot be a label is named where labels are checked.
        label if not isinstance(label, Hashable) or label in own else by_name.get(str(label), label)
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


TextColumn = Annotated[str, typer.Option(help="The column of texts.")]
LabelColumn = Annotated[str, typer.Option(help="The column of labels.")]
EncoderName = Annotated[
    str, typer.Option(help="Hub name or folder; minilm and mpnet come from the package index.")
]
Values = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any hyperparameter; can be repeated."),
]


def encoder_of(name: str) -> str:
    """Return the folder of an encoder from the package index, and any other name unchanged."""
    from dann_transfer import datasets

    if name in datasets.ENCODERS and not Path(name).exists():
        return str(datasets.encoder(name))
    return name


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
                own = frame.iloc[:, place].astype(object)
                kept = [v if cell is None else cell for v, cell in zip(own, cells, strict=True)]
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


# Hyperparameters with an option of their own in every command that trains.
OPTIONS = ("encoder", "random_state", "text_column", "label_column")


def values_of(items: Sequence[str] | None, option: str = "--set") -> dict[str, Any]:
    """Read KEY=VALUE, with the value as a Python literal or otherwise a string.

    Examples
    --------
    >>> values_of(["freeze_layers=3", "pooling=cls", "learning_rate=1e-4", "progress=false"])
    {'freeze_layers': 3, 'pooling': 'cls', 'learning_rate': 0.0001, 'progress': False}

    """
    from dann_transfer.ground.settings import HYPERPARAMETERS

    values: dict[str, Any] = {}
    for item in items or ():
        key, equals, value = item.partition("=")
        if not equals or key not in HYPERPARAMETERS:
            raise ValueError(
                f"{option} {item!r} must be KEY=VALUE, with one of {list(HYPERPARAMETERS)}."
            )
        if key in values:
            raise ValueError(f"{option} gives {key} twice; give it once.")
        if key in OPTIONS:
            own = {"random_state": "seed"}.get(key, key).replace("_", "-")
            raise ValueError(f"{option} {item!r}: use the option --{own}.")
        word = value.capitalize()
        try:
            values[key] = ast.literal_eval(word if word in ("True", "False", "None") else value)
        except (ValueError, SyntaxError):
            values[key] = value
    return values


def set_values(context: typer.Context, items: Sequence[str] | None) -> dict[str, Any]:
    """Read --set, and raise if it gives a hyperparameter that an option gives too."""
    values = values_of(items)
    for key in values:
        source = context.get_parameter_source(key)
        if source is not None and source.name == "COMMANDLINE":
            raise ValueError(f"--{key.replace('_', '-')} and --set give {key}; give it once.")
    return values


def space_of(items: Sequence[str] | None) -> dict[str, Any] | None:
    """Read a search space: KEY=A,B,C to choose from, or KEY=LOW:HIGH.

    Examples
    --------
    >>> space_of(["method=dann,mcc", "learning_rate=1e-5:1e-4"])
    {'method': ['dann', 'mcc'], 'learning_rate': (1e-05, 0.0001)}

    """
    if not items:
        return None
    space: dict[str, Any] = {}
    for item in items:
        key, _, values = item.partition("=")
        mark = ":" if ":" in values else ","
        if not values:
            raise ValueError(f"--space {item!r} must be KEY=A,B,C or KEY=LOW:HIGH.")
        parts = [values_of([f"{key}={value}"], "--space")[key] for value in values.split(mark)]
        space[key] = tuple(parts) if mark == ":" else parts
    return space

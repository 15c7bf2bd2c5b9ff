"""What the commands share: the app, one-line errors, files, and hyperparameters by name."""

from __future__ import annotations

import ast
import io
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from dann_transfer.folders import in_place_of
from dann_transfer.notices import is_first

if TYPE_CHECKING:
    from dann_transfer.texts.tables import FileTexts

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
    world = os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_STEP_NUM_TASKS") or "1"
    if int(world) < 2:
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
def _one_of_many() -> Iterator[None]:
    """Join the processes of torchrun or Slurm, of which only the first prints."""
    from dann_transfer.notices import is_first
    from dann_transfer.processes import joined

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
    except errors as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(2) from error


Encoding = Annotated[
    str | None, typer.Option(help="For CSV and JSON; default UTF-8, or UTF-16 if so marked.")
]
Separator = Annotated[
    str | None, typer.Option(help="For CSV; by default comma, semicolon, tab or bar is detected.")
]


def read(
    path: Path,
    columns: list[str],
    encoding: str | None,
    separator: str | None,
    whole: bool = False,
) -> Any:
    """Read a file of texts; the separator may be written in a form that a shell can pass."""
    from dann_transfer.texts.tables import read_table

    return read_table(path, columns, encoding, as_separator(separator), whole)


def target_texts(path: Path, column: str, encoding: str | None, separator: str | None) -> FileTexts:
    """Return the texts of a file that may be larger than memory, to be read in parts.

    Its first part is read at once, to report errors before anything is loaded.
    """
    from dann_transfer.texts.tables import FileTexts

    texts = FileTexts(path, column, encoding, as_separator(separator))
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


def check_file_to_write(out: Path | None, *inputs: Path | None) -> None:
    """Raise if a file cannot be written, or is one of the input files."""
    if out is None:
        return
    if not out.absolute().parent.is_dir():
        raise ValueError(f"there is no folder {str(out.absolute().parent)!r} to write to.")
    if any(file is not None and out.resolve() == file.resolve() for file in inputs):
        raise ValueError(f"{str(out)!r} is the file of texts, which it would replace.")
    if out.suffix == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise ImportError("writing Parquet needs pyarrow: pip install pyarrow") from error


def write(frames: Iterable[Any], out: Path | None) -> None:
    """Write the parts of a table to a file, whole or not at all, or to standard output.

    The format is Parquet if the file's name says so, and otherwise CSV in UTF-8. If there are
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
        if out.suffix == ".parquet":
            _write_parquet(frames, work)
            return
        with work.open("w", encoding="utf-8", newline="") as file:
            _write_csv(frames, file)


def _write_csv(frames: Iterable[Any], file: TextIO) -> None:
    for i, frame in enumerate(frames):
        frame.to_csv(file, index=False, header=i == 0, lineterminator="\n")


def _write_parquet(frames: Iterable[Any], path: Path) -> None:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    with ExitStack() as stack:
        writer = None
        for frame in frames:
            schema = None if writer is None else writer.schema
            table = pyarrow.Table.from_pandas(frame, schema, preserve_index=False)
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
    >>> values_of(["freeze_layers=3", "pooling=cls", "learning_rate=1e-4"])
    {'freeze_layers': 3, 'pooling': 'cls', 'learning_rate': 0.0001}

    """
    from dann_transfer.settings import HYPERPARAMETERS

    values: dict[str, Any] = {}
    for item in items or ():
        key, equals, value = item.partition("=")
        if not equals or key not in HYPERPARAMETERS:
            raise ValueError(
                f"{option} {item!r} must be KEY=VALUE, with one of {list(HYPERPARAMETERS)}."
            )
        if key in OPTIONS:
            own = {"random_state": "seed"}.get(key, key).replace("_", "-")
            raise ValueError(f"{option} {item!r}: use the option --{own}.")
        try:
            values[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            values[key] = value
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

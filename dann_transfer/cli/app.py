"""The application: how it starts, its warnings and errors in a line, and its processes."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dann_transfer.ground.checks import nearest
from dann_transfer.ground.notices import is_first

# Typer brings a copy of click or depends on it, by its version; this is its base either way.
UsageError: Any = typer.BadParameter.__mro__[1]


class _Commands(TyperGroup):
    """The commands, whose wrong arguments are answered in a line as every other error is."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Read the arguments before the command's name."""
        with _usage_in_a_line():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Read the arguments of a command, and run it."""
        with _usage_in_a_line():
            return super().invoke(ctx)


@contextmanager
def _usage_in_a_line() -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            raise
        context = getattr(error, "ctx", None)
        command = "" if context is None or context.parent is None else f"{context.info_name} "
        message = error.format_message().rstrip(".")
        if (option := getattr(error, "option_name", None)) and hasattr(error, "possibilities"):
            message = _unknown_option(option, context)
        elif message.startswith("Got unexpected extra argument") and "=" in message:
            # A shell makes several arguments of a dict that stands in no quotes.
            message += '. A dict stands in single quotes: --set \'KEY={"a": 1, "b": 2}\''
        end = "" if message.endswith("?") else "."
        typer.secho(f"error: {message}{end} See dann-transfer {command}--help.", fg="red", err=True)
        raise typer.Exit(2) from None


def _unknown_option(option: str, context: Any) -> str:
    """Say which option or hyperparameter was probably meant."""
    from dann_transfer.ground.settings import HYPERPARAMETERS

    options = [name for param in context.command.params for name in param.opts if name[:2] == "--"]
    spoken = option.lstrip("-")
    names = [name[2:] for name in options]
    if spoken.replace("_", "-") in names:
        near = f"--{spoken.replace('_', '-')}"
    elif "--set" in options and spoken.replace("-", "_") in HYPERPARAMETERS:
        near = f"--set {spoken.replace('-', '_')}=VALUE"
    elif name := nearest(spoken, names):
        near = f"--{name}"
    elif "--set" in options and (key := nearest(spoken, HYPERPARAMETERS)):
        near = f"--set {key}=VALUE"
    else:
        return f"There is no option {option}"
    return f"There is no option {option}; did you mean {near}?"


app = typer.Typer(
    cls=_Commands,
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

    said: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        # A file is read, and a text looked at, several times.
        if (text := str(message)) not in said:
            said.add(text)
            typer.secho(f"warning: {text}", fg="yellow", err=True)

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
        hint = _hint(error)
        typer.secho(f"error: {error}{hint}", fg="red", err=True)
        raise typer.Exit(2) from error


def _hint(error: Exception) -> str:
    """Name the option that helps with an error of the library."""
    from dann_transfer.texts.places import EmptyTextError

    if isinstance(error, EmptyTextError):
        return " --skip-missing leaves such rows out."
    return ""

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

from dann_transfer.ground.notices import is_first

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

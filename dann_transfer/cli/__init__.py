"""The command line: a thin layer over the Python API."""

from __future__ import annotations

# Each module adds its commands to the app.
from dann_transfer.cli import demo, models, training
from dann_transfer.cli.app import app
from dann_transfer.cli.demo import DEMO

# The order of `--help`: first what a newcomer runs first.
ORDER = (
    "demo", "advise", "methods", "compare", "adapt", "tune", "predict", "evaluate", "diagnose",
    "suggest", "report", "explore", "export", "serve",
)  # fmt: skip
app.registered_commands.sort(
    key=lambda command: ORDER.index(getattr(command.callback, "__name__", ""))
)

__all__ = ["DEMO", "app", "demo", "models", "training"]

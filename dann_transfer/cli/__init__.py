"""The command line: a thin face on the Python API."""

from __future__ import annotations

# Each module puts its commands into the app.
from dann_transfer.cli import demo, models, training
from dann_transfer.cli.base import app
from dann_transfer.cli.demo import DEMO

__all__ = ["DEMO", "app", "demo", "models", "training"]

"""The command line: a thin layer over the Python API."""

from __future__ import annotations

# Each module adds its commands to the app.
from dann_transfer.cli import demo, models, training
from dann_transfer.cli.base import app
from dann_transfer.cli.demo import DEMO

__all__ = ["DEMO", "app", "demo", "models", "training"]

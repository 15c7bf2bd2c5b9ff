"""Run the command line: ``python -m dann_transfer.cli``."""

from dann_transfer.cli import app

app()

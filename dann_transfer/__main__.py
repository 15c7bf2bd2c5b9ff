"""Run the command line: ``python -m dann_transfer``, which torchrun can start as well."""

from dann_transfer.cli import app

app()

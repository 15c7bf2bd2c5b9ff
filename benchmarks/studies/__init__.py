"""One module a study: its rows, its tables and the command that measures it.

`benchmarks/report.py` loops over `ORDER`, and writes what a module returns of these:

- ``sections()``: paragraphs of docs/results.md;
- ``tables()``: tables by name, for the marks ``<!-- NAME: benchmarks/report.py -->`` of any page;
- ``figures()``: figures by name, for the marks ``<!--STUDY.NAME-->`` in sentences;
- ``pictures()``: figures of docs/ and their dots per inch, by the file's name without its ending.

To add a study, write a module and add its name.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

ORDER = """
overview family judges priors pairs trials scored neighbors changes teachers beginnings aligned
maps openset knowing ordinal critic splits few defaults coverage labelled libraries speeds epochs
student automatic lora memory processes service export reference
"""
"""The studies, in the order of docs/results.md; those of the last line have no section there."""


def modules() -> dict[str, ModuleType]:
    """Return the studies by name."""
    return {name: import_module(f"studies.{name}") for name in ORDER.split()}

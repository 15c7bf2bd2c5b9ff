"""Hyperparameters and search spaces as they are written on the command line."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from dann_transfer.ground.options import AUTO, METHODS, parts_of

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


# Hyperparameters with an option of their own in every command that trains.
OPTIONS = ("encoder", "random_state", "text_column", "label_column")


def check_method(name: str) -> None:
    """Raise a ValueError if there is no such method, before anything heavy is imported."""
    if name != AUTO:
        parts_of(name)


def methods_help() -> str:
    """Return a paragraph on each method with its options, for the end of `--help`."""
    lines = ["Methods, with the options for --set method_options={...}:"]
    for name, entry in METHODS.items():
        options = ", ".join(f"{key}={option.default}" for key, option in entry.options.items())
        lines.append(f"{name}: {entry.meaning}{f' ({options})' if options else ''}.")
    return "\n\n".join(lines)


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
            name = {"random_state": "seed"}.get(key, key).replace("_", "-")
            raise ValueError(f"{option} {item!r}: use the option --{name}.")
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
        for name in parts if key == "method" else ():
            check_method(str(name))
        space[key] = tuple(parts) if mark == ":" else parts
    return space

"""Hyperparameters and search spaces as they are written on the command line."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from dann_transfer.ground.checks import did_you_mean
from dann_transfer.ground.options import AUTO, METHODS, checked_options, parts_of

EncoderName = Annotated[
    str, typer.Option(help="Hub name or folder; minilm and mpnet come from the package index.")
]
Values = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any hyperparameter; can be repeated. A dict stands in single quotes: "
        "'method_options={\"width\": 256}'.",
    ),
]


# Hyperparameters with an option of their own in every command that trains.
OPTIONS = ("encoder", "random_state", "text_column", "label_column")


def check_method(name: str, options: Any = None) -> None:
    """Raise if there is no such method, or it has no such options, before torch is imported."""
    if name != AUTO and len(parts_of(name)) == 1 and isinstance(options, dict):
        checked_options(name, METHODS[name].options, options)


def methods_help() -> str:
    """Return a paragraph on each method with its options, for the end of `--help`."""
    lines = ["Methods, with the options for --set 'method_options={\"option\": value}':"]
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
            hint = did_you_mean(key, [*HYPERPARAMETERS, "seed"])
            hint = hint.replace("'seed'", "the option --seed")
            rest = hint or f" KEY is one of {list(HYPERPARAMETERS)}."
            raise ValueError(f"{option} {item!r} must be KEY=VALUE.{rest}")
        if key in values:
            raise ValueError(f"{option} gives {key} twice; give it once.")
        if key in OPTIONS:
            name = {"random_state": "seed"}.get(key, key).replace("_", "-")
            raise ValueError(f"{option} {item!r}: use the option --{name}.")
        values[key] = _value_of(key, value, option)
    return values


DICTS = {
    "method_options": '{"width": 256}',
    "class_weight": '{"positive": 2.0, "negative": 1.0}',
    "lora": '{"r": 8}',
}
"""Hyperparameters that take a dict, and how one looks."""


def _value_of(key: str, text: str, option: str) -> Any:
    """Read a value: a Python literal, a dict or list also as JSON has it, or else a word."""
    word = text.capitalize()
    try:
        return ast.literal_eval(word if word in ("True", "False", "None") else text)
    except (ValueError, SyntaxError):
        pass
    if text[:1] in ("{", "["):
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            pass
    if text[:1] == "{" or key == "method_options":
        example = DICTS.get(key, DICTS["method_options"])
        raise ValueError(
            f"{option} {key}={text!s}: this is no dict, from which a shell may have taken the "
            f"quotes; put single quotes around all of it: {option} '{key}={example}'."
        )
    return text


def _parts_of(text: str) -> list[str]:
    """Split at commas, but not within the brackets or quotes of a value.

    Examples
    --------
    >>> _parts_of('dann,mcc'), _parts_of('{"a": 1, "b": 2},{"a": 2}')
    (['dann', 'mcc'], ['{"a": 1, "b": 2}', '{"a": 2}'])

    """
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "{[(") - (letter in "}])")
        if letter == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def set_values(context: typer.Context, items: Sequence[str] | None) -> dict[str, Any]:
    """Read --set, and raise if it gives a hyperparameter that an option gives too."""
    values = values_of(items)
    for key in values:
        source = context.get_parameter_source(key)
        if source is not None and source.name == "COMMANDLINE":
            raise ValueError(f"--{key.replace('_', '-')} and --set give {key}; give it once.")
    return values


def label_like(value: Any, labels: Any) -> Any:
    """Return a label as a file writes it: a CSV has "-1" where JSON has -1.

    Examples
    --------
    >>> label_like("-1", [0, 1]), label_like(-1, ["0", "1"]), label_like("other", [0, 1])
    (-1, '-1', 'other')

    """
    first = next(iter(labels), "")
    if isinstance(first, str):
        return value if value is None else str(value)
    try:
        return value if value is None else int(value)
    except ValueError:
        return value


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
        if not values:
            raise ValueError(f"--space {item!r} must be KEY=A,B,C or KEY=LOW:HIGH.")
        mark = ":" if ":" in values and "{" not in values else ","
        texts = values.split(mark) if mark == ":" else _parts_of(values)
        parts = [values_of([f"{key}={text}"], "--space")[key] for text in texts]
        for name in parts if key == "method" else ():
            check_method(str(name))
        space[key] = tuple(parts) if mark == ":" else parts
    return space

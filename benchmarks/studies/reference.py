"""Tables of keywords, methods, options and commands, which the package defines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from dann_transfer.cli import app
from dann_transfer.ground.options import METHODS
from dann_transfer.ground.settings import HYPERPARAMETERS


def keywords() -> str:
    """Return the table of keywords, made from their single definition."""
    lines = ["| keyword | what it does | default |", "|---|---|---|"]
    for name, h in HYPERPARAMETERS.items():
        lines.append(f"| `{name}` | {h.meaning} | `{h.default!r}` |")
    return "\n".join(lines)


def methods() -> str:
    """Return the table of methods, made from their single definition."""
    lines = ["| method | idea | default strength | reference |", "|---|---|---|---|"]
    for name, entry in METHODS.items():
        strength = f"{entry.default_strength:g}"
        lines.append(f"| `{name}` | {entry.meaning} | {strength} | {entry.reference} |")
    return "\n".join(lines)


def options() -> str:
    """Return the table of the methods' options, made from the same definition."""
    rows: dict[str, list[str]] = {}
    for name, entry in METHODS.items():
        for option, facts in entry.options.items():
            row = f"| `{option}` | {facts.meaning} | {facts.bounds} | `{facts.default}` |"
            rows.setdefault(row, []).append(f"`{name}`")
    lines = ["| method | option | what it is | allowed | default |", "|---|---|---|---|---|"]
    return "\n".join(lines + [f"| {', '.join(names)} {row}" for row, names in rows.items()])


def parameter(param: Any) -> str:
    """Return a row for an argument or an option of a command."""
    names = ", ".join(f"`{name}`" for name in [*param.opts, *param.secondary_opts])
    if not param.opts[0].startswith("-"):
        names = f"`{param.name.upper()}`"
    meaning = param.help or ""
    repeated = param.multiple and "repeated" not in meaning
    words = [meaning, "Can be repeated." if repeated else ""]
    default = getattr(param, "default", None)
    # A flag says by its name what it does; for None the meaning says what happens.
    plain = isinstance(default, str | int | float | Path) and not isinstance(default, bool)
    cells = [names, " ".join(filter(None, words)).replace("|", "\\|")]
    return f"| {' | '.join([*cells, f'`{default}`' if plain else ''])} |"


def commands() -> str:
    """Return a section for each command, made from the parser that reads the command line."""
    parts = []
    for name, command in typer.main.get_command(app).commands.items():
        words, *examples = (command.help or "").split("Example: ")
        parts += [f"## `{name}`", " ".join(words.split())]
        if examples:
            parts.append(f"```console\n{' '.join(examples[0].split())}\n```")
        rows = [parameter(p) for p in command.params if not p.hidden and p.name != "help"]
        if rows:
            parts.append("\n".join(["| option | what it is | default |", "|---|---|---|", *rows]))
    return "\n\n".join(parts)


def tables() -> dict[str, str]:
    return {
        "keywords": keywords(),
        "methods": methods(),
        "options": options(),
        "commands": commands(),
    }

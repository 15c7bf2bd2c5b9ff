"""Tables of keywords, methods and options, which the package defines."""

from __future__ import annotations

from dann_transfer.ground.options import METHODS
from dann_transfer.ground.settings import HYPERPARAMETERS


def keywords() -> str:
    """Return README's table of keywords, made from their single definition."""
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


def tables() -> dict[str, str]:
    return {"keywords": keywords(), "methods": methods(), "options": options()}

"""Other libraries on one pair: `peers.py`."""

from __future__ import annotations

from typing import Any

from tables import read, row_of, spread

PAIR = "movies", "tweets"


def sections() -> list[str]:
    rows = read("peers")
    return [
        "## Other libraries",
        f"`python benchmarks/peers.py`: {' → '.join(PAIR)}, {rows[0]['texts']:,} texts, "
        f"on {rows[0]['machine']}.",
        table(rows),
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """Other libraries on the same pair; other work shared the machine during some of the runs."""
    lines = [
        "| library | seeds | target accuracy | seconds at best | peak GiB | lines of code |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(r["peer"] for r in rows):
        runs = [r for r in rows if r["peer"] == name]
        cells = [
            name,
            str(len(runs)),
            spread([r["target_accuracy"] for r in runs]),
            f"{min(r['seconds'] for r in runs):.0f}",
            f"{max(r['peak_gib'] for r in runs):.1f}",
            str(runs[0]["lines"]),
        ]
        lines.append(row_of(cells))
    return "\n".join(lines)

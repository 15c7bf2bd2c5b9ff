"""Scores as tables that people read, in a terminal, a pipe or a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

from dann_transfer.texts.frames import is_missing

WIDTH = 80
"""Letters in a line of a table where no terminal says how many there are."""
NOTHING = "–"
"""What stands for a value that was not measured."""


@dataclass(frozen=True)
class Table:
    """Cells under headings; a column without any value is left out.

    Attributes
    ----------
    columns : dict of str to list of str
        The cells by heading, in which a line break may stand.
    words : sequence of str
        The headings of the columns that hold words, which may have several lines.
    title : str

    Examples
    --------
    >>> print(Table({"method": ["dann"], "accuracy": ["71.0%"], "seed": ["–"]}, ["method"]))
    ┏━━━━━━━━┳━━━━━━━━━━┓
    ┃ method ┃ accuracy ┃
    ┡━━━━━━━━╇━━━━━━━━━━┩
    │ dann   │    71.0% │
    └────────┴──────────┘

    """

    columns: Mapping[str, list[str]]
    words: Sequence[str] = ()
    title: str = ""

    def measured(self) -> dict[str, list[str]]:
        """Return the columns that have a value."""
        return {
            head: cells
            for head, cells in self.columns.items()
            if any(cell != NOTHING for cell in cells)
        }

    def printable(self) -> Any:
        """Return the table as rich prints it."""
        from rich.table import Table as RichTable
        from rich.text import Text

        columns, table = self.measured(), RichTable(title=Text(self.title) if self.title else None)
        for head in columns:
            is_words = head in self.words
            table.add_column(
                Text(head),
                justify="left" if is_words else "right",
                no_wrap=not is_words,
                min_width=max(map(len, head.split("\n"))),
                overflow="fold",
            )
        for row in zip(*columns.values(), strict=True):
            # A name may look like one of rich's marks.
            table.add_row(*map(Text, row))
        return table

    def __str__(self) -> str:
        from rich.console import Console

        text = StringIO()
        Console(file=text, width=WIDTH).print(self.printable())
        return text.getvalue().rstrip("\n")

    def _repr_html_(self) -> str:
        columns = self.measured()
        align = {head: "left" if head in self.words else "right" for head in columns}
        heads = "".join(
            f'<th style="text-align: {align[head]}">{html.escape(head)}</th>' for head in columns
        )
        rows = "".join(
            "<tr>"
            + "".join(
                f'<td style="text-align: {align[head]}">{html.escape(cell)}</td>'
                for head, cell in zip(columns, row, strict=True)
            )
            + "</tr>"
            for row in zip(*columns.values(), strict=True)
        )
        title = f"<caption>{html.escape(self.title)}</caption>" if self.title else ""
        return f"<table>{title}<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def page(parts: Iterable[Table | str]) -> str:
    """Return tables and sentences about them as HTML.

    Examples
    --------
    >>> page(["a < b"])
    '<p>a &lt; b</p>'

    """
    return "\n".join(
        f"<p>{html.escape(part)}</p>" if isinstance(part, str) else part._repr_html_()
        for part in parts
    )


def percent(value: float | None) -> str:
    """Return a share in percent.

    Examples
    --------
    >>> percent(0.5), percent(None), percent(float("nan"))
    ('50.0%', '–', '–')

    """
    return NOTHING if value is None or is_missing(value) else f"{value:.1%}"


def number(value: float | None, digits: int) -> str:
    """Return a number with so many digits behind the point."""
    return NOTHING if value is None or is_missing(value) else f"{value:.{digits}f}"


def gain(value: float, half_width: float) -> str:
    """Return a gain in points with the half-width of its interval, both given as shares.

    Examples
    --------
    >>> gain(0.0123, 0.02), gain(-0.0001, 0.02)
    ('+1.2 ± 2.0', '+0.0 ± 2.0')

    """
    # Rounding leaves a minus before 0.
    return f"{round(100 * value, 1) + 0.0:+.1f} ± {100 * half_width:.1f}"


IN_STEPS = ("neg_mean_absolute_error", "quadratic_kappa")
"""Metrics of ordered classes."""


def scores(rows: Sequence[Mapping[str, Any]], metric: str = "accuracy") -> Table:
    """Return the table of a comparison: a row for each method and seed."""
    several = len({row["seed"] for row in rows}) > 1
    # Of ordered classes both scores have a column already.
    shown = metric == "accuracy" or (
        metric in IN_STEPS and any("target_mean_absolute_error" in row for row in rows)
    )
    second = "macro_f1" if shown else metric
    names = {"macro_f1": "macro-F1", "balanced_accuracy": "bal. acc."}
    # Of a scorer of scikit-learn each word stands on a line, so that long names fit.
    name = names.get(second, second.replace("_", "\n"))
    return Table(
        {
            "method": [str(row["method"]) for row in rows],
            "seed": [str(row["seed"]) if several else NOTHING for row in rows],
            "source\naccuracy": [percent(row.get("source_accuracy")) for row in rows],
            "target\naccuracy": [percent(row.get("target_accuracy")) for row in rows],
            f"target\n{name}": [number(row.get(f"target_{second}"), 3) for row in rows],
            "target\nMAE": [number(row.get("target_mean_absolute_error"), 3) for row in rows],
            "target\nkappa": [number(row.get("target_quadratic_kappa"), 3) for row in rows],
            "A-\ndistance": [number(row.get("a_distance"), 2) for row in rows],
            "mixing": [number(row.get("mixing"), 2) for row in rows],
            "time": [f"{row['seconds']:.0f} s" for row in rows],
        },
        ["method"],
    )


def group_gains(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the table of what a method gains in each group of texts, over source-only."""
    return Table(
        {
            "group": [str(row["group"]) for row in rows],
            "texts": [f"{row['texts']:,}" for row in rows],
            "accuracy\nbefore": [percent(row["accuracy_before"]) for row in rows],
            "accuracy\nafter": [percent(row["accuracy_after"]) for row in rows],
            "gain\n(points)": [gain(row["gain"], row["half_width"]) for row in rows],
            "covered\nbefore": [percent(row["coverage_before"]) for row in rows],
            "covered\nafter": [percent(row["coverage_after"]) for row in rows],
        },
        ["group"],
        f"What {rows[0]['method']} gains over source_only in each group",
    )


def groups(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the table of a model's accuracy in each group of texts."""
    return Table(
        {
            "group": [str(row["group"]) for row in rows],
            "texts": [f"{row['texts']:,}" for row in rows],
            "accuracy": [percent(row["accuracy"]) for row in rows],
            "95 % interval": [f"{row['low']:.1%} to {row['high']:.1%}" for row in rows],
            "covered": [percent(row["coverage"]) for row in rows],
        },
        ["group"],
    )


def classes(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the table of a model's scores on each class."""
    return Table(
        {
            "class": [str(row["class"]) for row in rows],
            "precision": [percent(row["precision"]) for row in rows],
            "recall": [percent(row["recall"]) for row in rows],
            "F1": [number(row["f1"], 3) for row in rows],
            "texts": [f"{row['texts']:,}" for row in rows],
        },
        ["class"],
    )


SHOWN = 3
"""So many of the predicted classes are shown."""


def runs(rows: Sequence[Mapping[str, Any]], score: str, searched: Sequence[str]) -> Table:
    """Return the table of a search: a row for each run, with what was searched in one cell."""
    head = score.replace("_", "\n", 1).replace("_", " ")
    return Table(
        {
            "run": [str(row["run"]) for row in rows],
            "settings": [
                ", ".join(
                    f"{name}={row[name]:.3g}" if isinstance(row[name], float)
                    else f"{name}={row[name]}"
                    for name in searched
                    if name in row and not is_missing(row[name])
                )
                for row in rows
            ],
            head: [number(row["score"], 3) for row in rows],
            "source\naccuracy": [percent(row["source_validation"]) for row in rows],
            "predicted": [_predicted(row["predicted"]) for row in rows],
            "time": [NOTHING if row["failed"] else f"{row['seconds']:.0f} s" for row in rows],
            "failed": [row["failed"] or NOTHING for row in rows],
        },
        ["settings", "predicted", "failed"],
    )  # fmt: skip


def _predicted(shares: Mapping[str, float] | None) -> str:
    """Return the largest shares of the classes among predictions."""
    if not shares:
        return NOTHING
    largest = sorted(shares, key=lambda name: -shares[name])
    listed = ", ".join(f"{name} {shares[name]:.0%}" for name in largest[:SHOWN])
    rest = len(largest) - SHOWN
    return f"{listed} and {rest} more" if rest > 0 else listed

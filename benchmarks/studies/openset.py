"""Targets with other classes than the source: `openset.py`."""

from __future__ import annotations

from typing import Any

from tables import heading, read, row_of

OPEN = ("domains", "model", "known", "known, answered", "new found", "H-score", "best threshold")
PARTIAL = ("domains", "model", "accuracy", "macro-F1", "predicted as absent classes")


def rows(kind: str) -> list[dict[str, Any]]:
    """The rows of open or of partial cells."""
    return [row for row in read("openset") if row["cell"].startswith(f"{kind}:")]


def percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def sections() -> list[str]:
    return [
        "## Targets with other classes",
        "`python benchmarks/openset.py --cells CELL ... --seeds ...`: small encoder, 64 tokens. A "
        "cell is its kind, board, source, target, number of texts of each, and a number of "
        "classes. In open cells a third of the classes is only in the target: of texts of the "
        "source's classes the share that is right by the likeliest class (known) and with "
        "`unknown` (known, answered), the share of the other texts that is found, and the harmonic "
        "mean of the last two; beside it that of the best threshold on the largest probability, "
        "which is chosen with the labels of these very texts.",
        opened(),
        "In partial cells the target lacks half of the source's classes.",
        partial(),
    ]


def tables() -> dict[str, str]:
    return {"opened": opened(), "partial": partial()}


def name_of(row: dict[str, Any]) -> str:
    """The domains of a row's cell, its number of classes if they were drawn, and its seed."""
    _, _, source, target, _, *classes = row["cell"].split(":")
    name = f"{source} → {target}" + "".join(f", {number} classes" for number in classes)
    return name + (f", seed {row['seed']}" if row["seed"] else "")


def opened() -> str:
    """New classes: how texts of the source's classes and the others are answered."""
    names = ("alone", "known_accuracy", "new_recall", "h_score", "oracle_h_score")
    return "\n".join(
        [
            *heading(list(OPEN)),
            *(
                row_of([name_of(row), row["model"], *(percent(row.get(name)) for name in names)])
                for row in rows("open")
            ),
        ]
    )


def partial() -> str:
    """Missing classes: accuracy, and how many texts are taken for one of a missing class."""
    names = ("alone", "macro_f1", "absent_predicted")
    return "\n".join(
        [
            *heading(list(PARTIAL)),
            *(
                row_of([name_of(row), row["model"], *(percent(row.get(name)) for name in names)])
                for row in rows("partial")
            ),
        ]
    )

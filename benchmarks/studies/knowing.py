"""What knowledge adds to a model of few labelled texts: `knowing.py`."""

from __future__ import annotations

from statistics import mean
from typing import Any

from tables import heading, read, row_of

COLUMNS = ("labelled texts", "knowledge", "pairs", "accuracy without", "gain", "worst", "weights")


def sections() -> list[str]:
    return [
        "## What is known beside labels",
        "`python benchmarks/knowing.py --texts ...`: source-only models of the sentiment of one "
        "domain (small encoder, 64 tokens, seed 0), and what SenticNet changes in a thousand texts "
        "of each other one: its graph of concepts, the same with the ends of its edges shuffled, "
        "its polarities as a lexicon, and graph and lexicon. Gains are in points of accuracy over "
        "the same model without, each pair having one.",
        knowing(),
    ]


def tables() -> dict[str, str]:
    return {"knowing": knowing()}


def knowing() -> str:
    groups: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for row in read("knowing"):
        groups.setdefault((row["n"], row["kind"]), []).append(row)
    lines = heading(list(COLUMNS))
    for (n, kind), rows in sorted(groups.items(), key=lambda item: item[0][0]):
        gains = [100 * (row["informed_accuracy"] - row["accuracy"]) for row in rows]
        weights = (mean(each) for each in zip(*(row["weights"] for row in rows), strict=True))
        lines.append(
            row_of(
                [
                    f"{n:,}",
                    kind,
                    str(len(rows)),
                    f"{100 * mean(row['accuracy'] for row in rows):.1f}",
                    f"{mean(gains):+.1f}",
                    f"{min(gains):+.1f}",
                    ", ".join(f"{weight:.2f}" for weight in weights),
                ]
            )
        )
    return "\n".join(lines)

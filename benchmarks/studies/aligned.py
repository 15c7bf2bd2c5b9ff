"""A student that is aligned by a discriminator: `board.py --methods student+dann`."""

from __future__ import annotations

from typing import Any

from tables import heading, read, row_of


def sections() -> list[str]:
    return [
        "## A student that is aligned",
        "In the second phase of `student+dann` both domains have labels, the source's own and "
        "those that the student learns from, so that aligning the domains cannot map one class "
        "onto another unnoticed. The runs have 1,000 texts of each domain, the first 1,000 of "
        "the test sets, one seed, the small encoder, and everything else at its default. "
        "Combined students were trained outside the board on its splits; `python "
        "benchmarks/board.py --methods student+dann --set max_strength=5.0 --train-texts 1000 "
        "--test-texts 1000` trains the same.",
        table(read("aligned")),
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """Accuracy on both domains and A-distance of each run."""
    head = ["pair", "method", "max_strength", "target", "source", "A-distance"]
    lines = heading(head)
    for r in rows:
        strength = "" if r["max_strength"] is None else f"{r['max_strength']:g}"
        scores = (f"{100 * r[f'{name}_accuracy']:.1f}" for name in ("target", "source"))
        cells = [f"{r['source']} → {r['target']}", r["method"], strength, *scores]
        lines.append(row_of([*cells, f"{r['a_distance']:.2f}"]))
    return "\n".join(lines)


def figures() -> dict[str, str]:
    """A-distances before and after, and gains, by source and strength."""
    rows = {(r["source"], r["method"], r["max_strength"]): r for r in read("aligned")}
    values = {}
    for source, strength in (("movies", 5.0), ("movies", 10.0), ("tweets", 5.0)):
        before, after = rows[source, "source_only", None], rows[source, "student+dann", strength]
        gain = 100 * (after["target_accuracy"] - before["target_accuracy"])
        values |= {
            f"{source}_before": f"{before['a_distance']:.2f}",
            f"{source}_at_{strength:.0f}": f"{after['a_distance']:.2f}",
            f"{source}_at_{strength:.0f}_gain": f"{gain:.1f}",
        }
    return values

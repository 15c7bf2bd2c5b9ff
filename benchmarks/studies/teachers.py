"""Students taught by others than source-only: `students.py`."""

from __future__ import annotations

from statistics import mean
from typing import Any

from tables import BASELINE, cells_of, heading, label, of_pair, read, row_of


def sections() -> list[str]:
    return [
        "## Students taught by others",
        "`python benchmarks/students.py --train-texts 1000 --test-texts 1000 --seeds 1 "
        "--teacher mcc --out benchmarks/results/members.jsonl`, and the same with `--seeds 3 "
        "--members 1 2`, on pairs with a star: a student of the small encoder whose labels "
        "come from a model that `mcc` adapted, or from two students together. Accuracy of "
        "source-only and gains over it in points: the teachers' mean, the student's, and its "
        "worst pair.",
        table(read("members"), read("scored")),
    ]


def table(students: list[dict[str, Any]], rows: list[dict[str, Any]]) -> str:
    """What students gain that others than source-only teach, beside the mean of their teachers."""
    head = ["taught by", "pairs", "source_only", "gain of the teachers", "of the student", "worst"]
    lines = heading(head)
    kinds: dict[str, list[tuple[float, float, float]]] = {}
    for row in students:
        seeds = row["settings"].get("taught_by_students_of_seeds", [])
        method = "student" if seeds else row["settings"]["taught_by"]
        runs = [
            r
            for r in of_pair(rows, (row["source"], row["target"]))
            if r["seed"] in (seeds or [row["seed"]])
        ]
        before, teachers = (
            100 * mean(r["target_accuracy"] for r in runs if label(r) == name)
            for name in (BASELINE, method)
        )
        kind = f"{len(seeds)} students" if seeds else f"`{method}`"
        kinds.setdefault(kind, []).append((before, teachers, 100 * row["target_accuracy"]))
    for kind, values in kinds.items():
        before, teachers, after = (mean(column) for column in zip(*values, strict=True))
        numbers = [teachers - before, after - before, min(v[2] - v[0] for v in values)]
        cells = [kind, str(len(values)), f"{before:.1f}", *(f"{x:+.1f}" for x in numbers)]
        lines.append(row_of(cells))
    return "\n".join(lines)


def figures() -> dict[str, str]:
    cells = cells_of(table(read("members"), read("scored")), "2 students")
    return {"two_students": cells[3].lstrip("+"), "after_two_students": cells[4].lstrip("+")}

"""When not to answer, and how far confidence is off: `abstention.py`."""

from __future__ import annotations

from statistics import mean

import abstention
from tables import of_board, read

KEYS = {
    "off_on_source": "source_test_error",
    "off": "target_test_error",
    "off_calibrated": "target_test_error_calibrated",
    "right": "accuracy_at_1",
    "right_four_fifths": "accuracy_at_0.8",
    "right_half": "accuracy_at_0.5",
}


def sections() -> list[str]:
    return [
        "## When not to answer",
        "`python benchmarks/abstention.py --rows benchmarks/results/base.jsonl "
        "benchmarks/results/scored.jsonl --outputs runs/outputs --out "
        "benchmarks/results/coverage.jsonl`: by how many points probabilities are off on test "
        "texts (expected calibration error), as predicted and after calibration on held-out "
        "source texts, and what percentage of the target's surest texts is right. Means over "
        "runs.",
        abstention.table(read("coverage")),
    ]


def figures() -> dict[str, str]:
    """Percentages of source-only with the large encoder, by board."""
    values = {}
    for board in ("sentiment", "banking", "finance"):
        rows = [
            r
            for r in of_board(read("coverage"), board)
            if (r["encoder"], r["method"]) == ("mpnet", "source_only")
        ]
        for name, key in KEYS.items():
            values[f"{board}_{name}"] = f"{100 * mean(r[key] for r in rows):.1f}"
    return values

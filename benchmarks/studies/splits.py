"""Gains on texts drawn anew: `board.py --split 1`, `students.py` and `auto.py`."""

from __future__ import annotations

from typing import Any

import auto
import numpy as np
from boards import TUNED
from tables import BASELINE, by_pair, heading, mean_of_means, of_board, read, row_of


def sections() -> list[str]:
    return [
        "## On texts drawn anew",
        "`python benchmarks/board.py --train-texts 1000 --test-texts 1000 --seeds 0 --split 1 "
        "--methods source_only mcc --outputs runs/outputs --out "
        "benchmarks/results/splits.jsonl` and `students.py` with the same: training and test "
        "texts of each domain drawn anew, small encoder, seed 0, beside the usual ones with "
        "the same seed (`scored.jsonl`). Accuracy of source-only on the target, and gains over "
        "it in points. Nothing was chosen on these texts.",
        table(read("splits"), read("scored")),
        '`method="auto"` on these texts (`python benchmarks/auto.py --rows '
        "benchmarks/results/splits.jsonl --outputs runs/outputs --out "
        "benchmarks/results/splits_auto.jsonl`):",
        auto.table(read("splits_auto")),
    ]


def table(rows: list[dict[str, Any]], usual: list[dict[str, Any]]) -> str:
    """Gains on texts drawn anew, beside those on the usual texts with the same seed."""
    methods = [name for name in dict.fromkeys(r["method"] for r in rows) if name != BASELINE]
    head = ["pair", f"{BASELINE}, usual", "drawn anew"]
    head += [cell for name in methods for cell in (f"{name}, usual", "drawn anew")]
    pairs: dict[str, list[float]] = {}
    accuracies = [
        {
            (r["source"], r["target"], r["seed"], r["method"]): 100 * r["target_accuracy"]
            for r in group
        }
        for group in (usual, rows)
    ]
    for source, target, seed in sorted({(r["source"], r["target"], r["seed"]) for r in rows}):
        star = " *" if (source, target) in TUNED else ""
        both = [[group[source, target, seed, name] for group in accuracies] for name in methods]
        before = [group[source, target, seed, BASELINE] for group in accuracies]
        gains = [x - low for group in both for x, low in zip(group, before, strict=True)]
        pairs[f"{source} → {target}{star}"] = [*before, *gains]
    lines = heading(head)
    parts = {
        "mean": list(pairs.values()),
        "with a star": [values for name, values in pairs.items() if name.endswith("*")],
        "without": [values for name, values in pairs.items() if not name.endswith("*")],
    }
    means = {name: np.mean(part, 0).tolist() for name, part in parts.items() if part}
    for name, values in {**pairs, **means}.items():
        cells = [f"{x:.1f}" for x in values[:2]] + [f"{x:+.1f}" for x in values[2:]]
        lines.append(row_of([name, *cells]))
    return "\n".join(lines)


def figures() -> dict[str, str]:
    usual = [r for r in of_board(read("scored"), "sentiment") if r["seed"] == 0]
    return {
        f"{name}_{kind}": f"{mean_of_means(by_pair(rows, name).values()):.1f}"
        for kind, rows in (("anew", read("splits")), ("usual", usual))
        for name in ("student", "mcc")
    }

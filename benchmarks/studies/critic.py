"""A student that is aligned by a critic: `board.py --methods student+wdgrl`."""

from __future__ import annotations

from statistics import mean
from typing import Any

from boards import TUNED
from tables import BASELINE, heading, read, row_of


def sections() -> list[str]:
    return [
        "## A student with a critic",
        "`python benchmarks/board.py --train-texts 1000 --test-texts 1000 --seeds 0 --methods "
        "student+wdgrl --set max_strength=3.0 "
        "\"method_options={'student':{'extra_epochs':6}}\" --out "
        "benchmarks/results/wdgrl.jsonl`: as above, with the critic of `wdgrl` instead of a "
        "discriminator and with six passes over the source in the second phase, beside the "
        "runs of the small encoder with the same seed and texts (`scored.jsonl`). Accuracy of "
        "source-only on the target, and gains over it in points. Strength and passes were "
        "chosen on movies → tweets.",
        table(read("wdgrl"), read("scored")),
    ]


def table(rows: list[dict[str, Any]], references: list[dict[str, Any]]) -> str:
    """Runs of a student with a critic, beside source-only and the plain student of a seed."""
    head = ["pair", "passes", BASELINE, "student", "student+wdgrl", "accuracy on the source"]
    head += ["A-distance before", "after"]
    lines = heading(head)
    usual = {(r["source"], r["target"], r["seed"], r["method"]): r for r in references}
    kept: dict[int, list[tuple[float, ...]]] = {}
    for r in sorted(rows, key=lambda r: (passes_of(r), r["source"], r["target"])):
        pair = r["source"], r["target"], r["seed"]
        before, student = usual[(*pair, BASELINE)], usual[(*pair, "student")]
        low, high, joined = (100 * run["target_accuracy"] for run in (before, student, r))
        distances = before["a_distance"], r["a_distance"]
        values = low, high - low, joined - low, 100 * r["source_accuracy"], *distances
        kept.setdefault(passes_of(r), []).append(values)
        lines.append(_critic_row(f"{r['source']} → {r['target']}", passes_of(r), values))
    for passes, group in kept.items():
        if len(group) > 1:
            means = tuple(mean(column) for column in zip(*group, strict=True))
            lines.append(_critic_row(f"mean of {len(group)}", passes, means))
    return "\n".join(lines)


def passes_of(row: dict[str, Any]) -> int:
    """Return how many passes over the source a student's second phase takes."""
    options = (row["settings"]["method_options"] or {}).get("student", {})
    return int(options.get("extra_epochs", 3))


def _critic_row(name: str, passes: int, values: tuple[float, ...]) -> str:
    low, student, joined, source, before, after = values
    cells = [f"{low:.1f}", f"{student:+.1f}", f"{joined:+.1f}", f"{source:.1f}"]
    return row_of([name, str(passes), *cells, f"{before:.2f}", f"{after:.2f}"])


def figures() -> dict[str, str]:
    """Runs with six passes in the second phase: gains, and those of the student alone."""
    usual = {(r["source"], r["target"], r["seed"], r["method"]): r for r in read("scored")}
    gains: dict[str, list[float]] = {"gain": [], "alone": [], "starred": [], "others": []}
    distances = []
    for r in (r for r in read("wdgrl") if passes_of(r) == 6):
        pair = r["source"], r["target"]
        before, student = (usual[(*pair, r["seed"], name)] for name in (BASELINE, "student"))
        gain, alone = (
            100 * (run["target_accuracy"] - before["target_accuracy"]) for run in (r, student)
        )
        gains["gain"].append(gain)
        gains["alone"].append(alone)
        gains["starred" if pair in TUNED else "others"].append(gain)
        distances.append((before["a_distance"], r["a_distance"]))
    before, after = (mean(column) for column in zip(*distances, strict=True))
    return {
        **{name: f"{mean(values):.1f}" for name, values in gains.items()},
        "before": f"{before:.2f}",
        "after": f"{after:.2f}",
        "lost": str(sum(gain < 0 for gain in gains["gain"])),
        "worst": f"{-min(gains['gain']):.1f}",
    }

"""Which of the models that the board and `students.py` trained `method="auto"` would have kept.

    python benchmarks/auto.py --rows benchmarks/results/base.jsonl --outputs runs/outputs
        --out benchmarks/results/auto.jsonl

`choice.choose` decides from the stored probabilities of target-train texts, as a fit with
method="auto" does after training the same three models; where the source's classes are unbalanced,
source-only is kept. One JSON line per pair and seed: what was kept, how much accuracy on
target-test it gains over source-only, and how much less it has than the best of the three. Pairs
and seeds without all three are skipped; lines of runs whose outputs are gone stay in the file.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import board
import numpy as np
import scores
import tables
from dann_transfer.selection import balanced

from dann_transfer.fitting import auto
from dann_transfer.judging import choice

CANDIDATES = (choice.BASELINE, *auto.SHORTLIST)


def probabilities(folder: Path, row: dict[str, Any], classes: int) -> np.ndarray | None:
    """Return the stored probabilities of a run's target-train texts, or None."""
    file = folder / f"{board.name_of(row)}.npz"
    if not file.exists():
        return None
    found = np.load(file)["target_train.probabilities"].astype(float)
    # Older outputs of students have no column for a class that was never taught; its position does
    # not change what is chosen.
    found = np.pad(found, ((0, 0), (0, classes - found.shape[1])))
    # Rounded to half precision, they do not add up to 1.
    return np.asarray(found / found.sum(1, keepdims=True))


def kept(group: Mapping[str, dict[str, Any]], folder: Path) -> dict[str, Any] | None:
    """Choose among the models of a pair and seed; None if one is missing."""
    if not set(CANDIDATES) <= set(group):
        return None
    row = group[choice.BASELINE]
    shares = np.unique(scores.splits_of(row)[row["source"]].train[1], return_counts=True)[1]
    pool = {name: probabilities(folder, group[name], len(shares)) for name in CANDIDATES}
    complete = {name: p for name, p in pool.items() if p is not None}
    if len(complete) < len(pool):
        return None
    shares = shares / shares.sum()
    chosen = choice.choose(complete) if balanced(shares) else choice.lopsided(shares)
    accuracy = {name: group[name]["target_accuracy"] for name in CANDIDATES}
    return {
        **{key: row[key] for key in ("board", "source", "target", "seed")},
        "encoder": row.get("encoder", "minilm"),
        "chosen": chosen.method,
        "gain": accuracy[chosen.method] - accuracy[choice.BASELINE],
        "regret": max(accuracy.values()) - accuracy[chosen.method],
        "reason": str(chosen),
    }


def known_by(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[key] for key in ("board", "encoder", "source", "target", "seed"))


def table(rows: list[dict[str, Any]]) -> str:
    """One line per board and encoder."""
    head = ["board", "encoder", "pairs", "runs", "kept", "mean gain", "worst pair", "worst run"]
    head += ["mean regret", "shown not to lose 0.5"]
    lines = tables.heading(head)
    for kind in dict.fromkeys((r["board"], r["encoder"]) for r in rows):
        own = [r for r in rows if (r["board"], r["encoder"]) == kind]
        pairs: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for r in own:
            pairs.setdefault((r["source"], r["target"]), []).append(r)
        gains = [np.array([100 * r["gain"] for r in group]) for group in pairs.values()]
        regret = mean(mean(100 * r["regret"] for r in group) for group in pairs.values())
        shown = sum(tables.lower_bound(group) > -0.5 for group in gains)
        names = Counter(r["chosen"] for r in own).most_common()
        cells = [*kind, str(len(pairs)), str(len(own))]
        cells += [", ".join(f"{name} {n}" for name, n in names)]
        means = [group.mean() for group in gains]
        cells += [f"{x:+.1f}" for x in (mean(means), min(means), min(map(min, gains)))]
        cells += [f"{regret:.1f}", f"{shown} of {len(pairs)}"]
        lines.append(tables.row_of(cells))
    return "\n".join(lines)


def main() -> None:
    args = scores.arguments(__doc__)
    groups: dict[tuple[str, int], dict[str, dict[str, Any]]] = {}
    for row in scores.read(args.rows):
        if scores.name_of(row) in CANDIDATES:
            groups.setdefault((tables.base(row), row["seed"]), {})[row["method"]] = row
    lines = args.out.read_text().splitlines() if args.out.exists() else []
    found = {known_by(row): row for row in map(json.loads, lines)}
    for group in groups.values():
        if result := kept(group, args.outputs):
            found[known_by(result)] = result
    args.out.write_text("".join(json.dumps(row) + "\n" for row in found.values()))
    print(table(list(found.values())))


if __name__ == "__main__":
    main()

"""What withholding unsure answers gains and how far confidence is off, from stored outputs.

    python benchmarks/board.py --board finance --methods source_only --outputs runs/outputs
    python benchmarks/abstention.py --rows benchmarks/results/finance.jsonl --outputs runs/outputs
        --out benchmarks/results/coverage.jsonl

One JSON line per run: the calibration error on test texts of the source and of the target, as
predicted and after calibration on held-out source texts, and the accuracy on the surest texts of
the target.
"""

from __future__ import annotations

import json
from typing import Any

import board
import numpy as np
import scores
import tables
from dann_transfer.decision import calibration_error, coverage_curve
from dann_transfer.label_shift import calibration_of

SHARES = (1.0, 0.8, 0.5, 0.2)


def measure(row: dict[str, Any], made: Any) -> dict[str, Any]:
    """Return a run's errors and accuracies."""
    splits = scores.splits_of(row)
    classes = np.unique(splits[row["source"]].train[1])
    codes = {
        "source_test": scores.codes_of(row, "source_test"),
        "target_test": np.searchsorted(classes, splits[row["target"]].test[1]),
    }
    p = {kind: made[f"{kind}.probabilities"].astype(float) for kind in codes}
    found = {key: row[key] for key in ("board", "source", "target", "method", "seed")}
    found["encoder"] = row.get("encoder", "minilm")
    calibration = None
    if "source_validation.probabilities" in made:
        held_out = np.log(made["source_validation.probabilities"].clip(1e-30))
        calibration = calibration_of(held_out, scores.codes_of(row, "source_validation"))
    for kind, own in p.items():
        found[f"{kind}_error"] = calibration_error(own, codes[kind])
        if calibration is not None:
            calibrated = calibration.probabilities(np.log(own.clip(1e-30)))
            found[f"{kind}_error_calibrated"] = calibration_error(calibrated, codes[kind])
    curve = coverage_curve(p["target_test"], codes["target_test"])
    for share in SHARES:
        # The smallest coverage that is at least this share.
        place = int((curve.coverage >= share - 1e-9).sum()) - 1
        found[f"accuracy_at_{share:g}"] = float(curve.accuracy[place])
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """Return the means over the runs of each board, encoder and method as a Markdown table."""
    kinds: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        kinds.setdefault((row["board"], row["encoder"], row["method"]), []).append(row)
    head = ["board", "encoder", "method", "runs"]
    head += ["error, source", "calibrated", "error, target", "calibrated"]
    head += [f"right of the surest {share:.0%}" for share in SHARES]
    lines = tables.heading(head)
    for kind, own in kinds.items():
        cells = [*kind, str(len(own))]
        for name in ("source_test", "target_test"):
            for end in ("error", "error_calibrated"):
                values = [r[f"{name}_{end}"] for r in own if f"{name}_{end}" in r]
                cells.append(f"{100 * np.mean(values):.1f}" if values else "")
        cells += [f"{100 * np.mean([r[f'accuracy_at_{s:g}'] for r in own]):.1f}" for s in SHARES]
        lines.append(tables.row_of(cells))
    return "\n".join(lines)


def main() -> None:
    args = scores.arguments(__doc__)
    found = []
    for row in scores.read(args.rows):
        file = args.outputs / f"{board.name_of(row)}.npz"
        if row["method"] != "target_trained" and file.exists():
            found.append(measure(row, np.load(file)))
    args.out.write_text("".join(json.dumps(row) + "\n" for row in found))
    print(table(found))


if __name__ == "__main__":
    main()

"""What was tried before the board ran, on single runs."""

from __future__ import annotations

import json
from typing import Any

from tables import BASELINE, heading, read, row_of


def sections() -> list[str]:
    return [
        "## Trials",
        "What was tried on the pairs with a star before the board ran: one seed, 1,000 texts "
        "to train on, the first 600 of the test set. Shown is the gain after each epoch over "
        "source-only's last epoch (with the weights of that epoch, not of the one that "
        "validation chooses). At one seed, differences of three points mean nothing.",
        table(read("trials")),
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """Single runs used for choices: the gain of each over source-only, epoch by epoch."""
    pairs = sorted({(r["source"], r["target"]) for r in rows})
    before = {
        (r["source"], r["target"]): r["target_accuracy_by_epoch"][-1]
        for r in rows
        if r["method"] == BASELINE
    }
    lines = heading(["tried", *(" → ".join(p) for p in pairs)])
    cells_of: dict[str, dict[tuple[str, str], str]] = {}
    for r in rows:
        pair, settings = (r["source"], r["target"]), json.dumps(r["settings"])
        gains = [100 * (a - before[pair]) for a in r["target_accuracy_by_epoch"]]
        name = r["method"] + ("" if settings == "{}" else f" {settings}")
        cells_of.setdefault(name, {})[pair] = " ".join(f"{gain:+.1f}" for gain in gains)
        for key in ("mean_of_weights", "moving_mean_of_weights"):
            if key in r:
                averaged = cells_of.setdefault(f"{name}, {key.replace('_', ' ')}", {})
                averaged[pair] = f"{100 * (r[key] - before[pair]):+.1f}"
    lines += [row_of([n, *(cells_of[n].get(pair, "") for pair in pairs)]) for n in sorted(cells_of)]
    return "\n".join(lines)

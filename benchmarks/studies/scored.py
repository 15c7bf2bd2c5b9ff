"""Which of the models of a pair and seed each score without target labels chooses: `scores.py`."""

from __future__ import annotations

import numpy as np
import scores
from tables import gain_and_loss, of_board, read


def sections() -> list[str]:
    return [
        "## Scores without target labels",
        "`python benchmarks/scores.py --rows benchmarks/results/scored.jsonl "
        "benchmarks/results/base.jsonl --outputs runs/outputs --out "
        "benchmarks/results/scores.jsonl`: which of the models of a pair and seed each score "
        "chooses. Regret is how many points this model has fewer than the best of them; gain "
        "is over source-only. Figures are means over pairs, with 95 % intervals over domains.",
        scores.report(read("scores")),
    ]


def chosen_by(rule: str, board: str) -> tuple[float, float, float]:
    """Return the mean gain over pairs, the worst, and the mean regret, large encoder."""
    pairs: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for group in of_board(read("scores"), board):
        if group["encoder"] == "mpnet" and group["seed"] is not None:
            choice = group["choices"][rule]
            pair = group["source"], group["target"]
            pairs.setdefault(pair, []).append((100 * choice["gain"], 100 * choice["regret"]))
    gain, regret = np.mean([np.mean(values, 0) for values in pairs.values()], axis=0)
    return gain, min(min(values)[0] for values in pairs.values()), regret


def figures() -> dict[str, str]:
    """What scores choose on a board."""
    values: dict[str, str] = {}
    for board in ("sentiment", "finance"):
        for rule in ("information_maximization", "source_validation", "reverse_validation"):
            gain, worst, regret = chosen_by(rule, board)
            name = f"{board}_{rule}"
            values |= gain_and_loss(name, gain) | gain_and_loss(f"{name}_worst", worst)
            values[f"{name}_regret"] = f"{regret:.1f}"
    return values

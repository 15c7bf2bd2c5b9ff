"""Scores without target labels, and what each would have chosen on every board."""

from __future__ import annotations

from statistics import mean
from typing import Any

from scipy.stats import spearmanr
from tables import BASELINE, gain_and_loss, heading, of_pair, read, row_of

from studies import family

BOARDS = ("sentiment", "methods", "amazon", "banking", "finance", "medical")


def sections() -> list[str]:
    return [
        "## Judges without target labels",
        "The rank correlation (Spearman) of each score in `dann_transfer.selection` with the "
        "accuracy on the target, over the runs of the family, each method and seed: +1 would "
        "choose the best method every time, 0 is of no use.",
        correlations(family.runs()),
        "What each score would have chosen among the models of a pair and seed, including "
        "source-only, on every board: how many points the chosen one has fewer than the best "
        "(regret), and more than source-only (gain). Source accuracy is that on test texts.",
        choices([row for name in BOARDS for row in read(name)]),
    ]


def correlations(rows: list[dict[str, Any]]) -> str:
    """How well scores without target labels correlate with the target's accuracy."""
    judged = [r for r in rows if "criteria" in r and r["method"] != "target_trained"]
    if not judged:
        return ""
    names = sorted(judged[0]["criteria"])
    lines = heading(["pair", "runs", *(name.replace("_", " ") for name in names)])
    for source, target in sorted({(r["source"], r["target"]) for r in judged}):
        runs = of_pair(judged, (source, target))
        accuracy = [r["target_accuracy"] for r in runs]
        cells = [f"{source} → {target}", str(len(runs))]
        for name in names:
            rank = spearmanr([r["criteria"][name] for r in runs], accuracy).statistic
            cells.append(f"{rank:+.2f}")
        lines.append(row_of(cells))
    return "\n".join(lines)


def choices(rows: list[dict[str, Any]]) -> str:
    """What each judge would have chosen among the models of each pair and seed of a board."""
    judged = [r for r in rows if r.get("criteria") and r["method"] != "target_trained"]
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in judged:
        group = (row["board"], row["source"], row["target"], row["seed"])
        groups.setdefault((*group, row["settings"]["train_texts"]), []).append(row)
    scores = {
        "source accuracy": lambda r: r["source_accuracy"],
        **{
            name.replace("_", " "): lambda r, name=name: r["criteria"][name]
            for name in sorted(judged[0]["criteria"])
        },
    }
    lines = heading(["board", "groups", "judge", "regret", "gain", "worst gain"])
    for board in dict.fromkeys(group[0] for group in groups):
        for name, score in scores.items():
            regrets, gains = [], []
            for group, runs in groups.items():
                alone = [r["target_accuracy"] for r in runs if r["method"] == BASELINE]
                if group[0] == board and alone and len({r["method"] for r in runs}) > 1:
                    right = max(runs, key=score)["target_accuracy"]
                    regrets.append(100 * (max(r["target_accuracy"] for r in runs) - right))
                    gains.append(100 * (right - mean(alone)))
            cells = [board, str(len(gains)), name, f"{mean(regrets):.1f}"]
            lines.append(row_of([*cells, f"{mean(gains):+.1f}", f"{min(gains):+.1f}"]))
    return "\n".join(lines)


def figures() -> dict[str, str]:
    """What each score would have chosen on a board."""
    values: dict[str, str] = {}
    for line in choices([row for name in BOARDS for row in read(name)]).splitlines()[2:]:
        board, _, judge, regret, gain, worst = (cell.strip() for cell in line.split("|")[1:-1])
        name = f"{board}_{judge.replace(' ', '_')}"
        values |= gain_and_loss(name, float(gain)) | gain_and_loss(f"{name}_worst", float(worst))
        values[f"{name}_regret"] = regret
    return values

"""What the tables of several studies share: rows of `benchmarks/results`, and parts of tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cache
from math import prod
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from board import acting, by_size
from scipy.stats import t as student

from dann_transfer import DomainAdapter, methods
from dann_transfer.ground.settings import ADAPTATION
from dann_transfer.judging.gains import interval

RESULTS = Path(__file__).parent / "results"
TEXTS = 1000
"""Training texts in the table of all methods and on the boards."""
BASELINE = "source_only"
ORDER = {"source_only": 0, "target_trained": 2}


@cache
def read(name: str) -> list[dict[str, Any]]:
    """Read a file of JSON lines once; nothing changes its rows."""
    lines = (RESULTS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def row_of(cells: list[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def heading(cells: list[str]) -> list[str]:
    """The first two lines of a Markdown table."""
    return [row_of(cells), "|---" * len(cells) + "|"]


def cells_of(table: str, name: str) -> list[str]:
    """The cells of the first row of a Markdown table that starts with a name."""
    line = next(line for line in table.splitlines() if line.startswith(f"| {name} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def spread(values: list[float]) -> str:
    """Mean and standard deviation, as percentages."""
    if len(values) == 1:
        return f"{100 * values[0]:.1f}"
    return f"{100 * mean(values):.1f} ± {100 * stdev(values):.1f}"


def gain(rows: list[dict[str, Any]], baseline: dict[tuple[str, int], float]) -> str:
    """Mean gain over source-only with the same seeds, with its 95 % interval by Student's t."""
    keys = [(base(row), row["seed"]) for row in rows]
    pairs = [(row, baseline[key]) for row, key in zip(rows, keys, strict=True) if key in baseline]
    gains = [100 * (row["target_accuracy"] - before) for row, before in pairs]
    if not gains:
        return "–"
    middle, half = interval(gains)
    return f"{middle:+.1f}" if len(gains) == 1 else f"{middle:+.1f} ± {half:.1f}"


def base(row: dict[str, Any]) -> str:
    """What a run has in common with the baselines it is compared with."""
    kept = {
        key: value
        for key, value in acting(row["settings"]).items()
        if key not in (*ADAPTATION, "target_texts")
    }
    encoder = row.get("encoder", "minilm")
    return json.dumps([row["board"], encoder, row["source"], row["target"], kept], sort_keys=True)


def label(row: dict[str, Any]) -> str:
    """Name the method, with the settings that are not the defaults."""
    return _label(row["method"], row.get("encoder", "minilm"), json.dumps(row["settings"]))


@cache
def _label(method: str, encoder: str, settings_as_json: str) -> str:
    # The tables ask for the same thousand names again and again.
    settings = json.loads(settings_as_json)
    usual = DomainAdapter().get_params() | by_size(encoder, {})
    usual["precision"] = "fp32"
    if method not in ("source_only", "target_trained"):
        usual["max_strength"] = methods.create(
            method, settings.get("method_options")
        ).default_strength
    other = [
        f"{key}={value!r}"
        for key, value in settings.items()
        if key in usual and value != usual[key]
    ]
    return f"{method} ({', '.join(other)})" if other else method


def baselines(
    rows: list[dict[str, Any]], method: str, score: str = "target_accuracy"
) -> dict[tuple[str, int], float]:
    """Scores of a baseline by the runs it is the baseline of, and by seed."""
    return {(base(r), r["seed"]): r[score] for r in rows if r["method"] == method}


def of_board(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The runs on one board."""
    return [r for r in rows if r["board"] == name]


def gains_of(rows: list[dict[str, Any]], method: str) -> list[float]:
    """Each run's gain over source-only with the same seed, in points.

    A run with method options counts as another method.
    """
    before = baselines(rows, BASELINE)
    runs = [r for r in rows if r["method"] == method and not r["settings"].get("method_options")]
    return [100 * (r["target_accuracy"] - before[base(r), r["seed"]]) for r in runs]


def by_pair(rows: list[dict[str, Any]], method: str) -> dict[tuple[str, str], list[float]]:
    """The gains of a method on each pair of domains that it ran on."""
    pairs = {(r["source"], r["target"]): None for r in rows if r["method"] == method}
    return {pair: gains_of(of_pair(rows, pair), method) for pair in pairs}


def mean_of_means(groups: Iterable[Sequence[float]]) -> float:
    """The mean over pairs of their means over seeds."""
    return mean(map(mean, groups))


def gain_and_loss(name: str, points: float) -> dict[str, str]:
    """A gain as two figures: a sentence that says "loses" shows a minus once it is wrong."""
    return {name: f"{points:.1f}", f"{name}_loss": f"{-points:.1f}"}


def of_pair(rows: list[dict[str, Any]], pair: tuple[str, str]) -> list[dict[str, Any]]:
    """The runs from one domain to another."""
    return [r for r in rows if (r["source"], r["target"]) == pair]


def table(rows: list[dict[str, Any]]) -> str:
    """One line per method, for one pair of domains."""
    lines = [
        "| method | seeds | target accuracy | worst | gain | macro-F1 | source acc. | A-distance |",
        "|---|---|---|---|---|---|---|---|",
    ]
    before = baselines(rows, BASELINE)
    labels = {label(r): r["method"] for r in rows}
    for name in sorted(labels, key=lambda m: (ORDER.get(labels[m], 1), m)):
        runs = [r for r in rows if label(r) == name]
        accuracies = [r["target_accuracy"] for r in runs]
        cells = [
            name,
            str(len(runs)),
            spread(accuracies),
            f"{100 * min(accuracies):.1f}",
            "" if labels[name] == BASELINE else gain(runs, before),
            spread([r["target_macro_f1"] for r in runs]),
            spread([r["source_accuracy"] for r in runs]),
            f"{mean(r['a_distance'] for r in runs):.2f}",
        ]
        lines.append(row_of(cells))
    return "\n".join(lines)


def gap_closed(rows: list[dict[str, Any]]) -> str:
    """The share of the gap to target-trained that each method closes, pooled over a board."""
    head = ["method", "pairs", "seeds", "mean gain", "worst pair", "shown not to lose 0.5"]
    lines = heading([*head, "macro-F1", "share of the gap closed"])
    low = baselines(rows, BASELINE)
    high = baselines(rows, "target_trained")
    f1 = baselines(rows, BASELINE, "target_macro_f1")
    labels = {label(r): r["method"] for r in rows}
    for name in sorted(set(labels)):
        if labels[name] in ORDER:
            continue
        changes: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
        for r in rows:
            key = base(r), r["seed"]
            if label(r) == name and key in low and key in high:
                gain_f1 = r["target_macro_f1"] - f1[key]
                change = r["target_accuracy"] - low[key], high[key] - low[key], gain_f1
                changes.setdefault((r["source"], r["target"]), []).append(change)
        if not changes:
            continue
        pairs = {pair: 100 * np.array(values) for pair, values in changes.items()}
        gains = [values[:, 0].mean() for values in pairs.values()]
        safe = sum(lower_bound(values[:, 0]) > -0.5 for values in pairs.values())
        seeds = min(map(len, pairs.values()))
        closed, bounds = pooled_share(pairs)
        cells = [
            name,
            str(len(pairs)),
            str(seeds),
            f"{mean(gains):+.1f}",
            f"{min(gains):+.1f}",
            f"{safe} of {len(pairs)}" if seeds > 1 else "",
            f"{mean(values[:, 2].mean() for values in pairs.values()):+.1f}",
            f"{closed:.0%} ({bounds[0]:.0%} to {bounds[1]:.0%})",
        ]
        lines.append(row_of(cells))
    return "\n".join(lines) if len(lines) > 2 else ""


def lower_bound(gains: np.ndarray) -> float:
    """The one-sided lower 95 % bound of a mean gain over seeds (Student's t); -inf for one seed."""
    if len(gains) < 2:
        return -np.inf
    error = gains.std(ddof=1) / len(gains) ** 0.5
    return float(gains.mean() - student.ppf(0.95, len(gains) - 1) * error)


def pooled_share(
    pairs: dict[tuple[str, str], np.ndarray], draws: int = 2000
) -> tuple[float, np.ndarray]:
    """The sum of the gains over the sum of the gaps, and its 95 % interval by bootstrap.

    Domains are drawn instead of pairs, since pairs that share a domain are not independent; the
    weight of a pair is how often its source was drawn times how often its target was. With only
    two domains, seeds alone are drawn.
    """
    rng = np.random.default_rng(0)
    domains = sorted({name for source, target in pairs for name in (*source.split("+"), target)})
    drawn = []
    while len(drawn) < draws:
        times = dict.fromkeys(domains, 1)
        if len(domains) > 2:
            chosen = rng.integers(0, len(domains), len(domains))
            times = {name: int((chosen == i).sum()) for i, name in enumerate(domains)}
        total = np.zeros(2)
        for (source, target), values in pairs.items():
            weight = times[target] * prod(times[name] for name in source.split("+"))
            seeds = rng.integers(0, len(values), len(values))
            if weight:
                total += weight * values[seeds, :2].mean(0)
        # If only one domain was drawn, there is no pair.
        if total.any():
            drawn.append(total[0] / total[1])
    gains, gaps = np.mean([values.mean(0) for values in pairs.values()], axis=0)[:2]
    return float(gains / gaps), np.percentile(drawn, [2.5, 97.5])

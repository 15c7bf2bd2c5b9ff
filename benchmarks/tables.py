"""The tables of the report: functions from rows of `benchmarks/results` to Markdown."""

from __future__ import annotations

import json
from statistics import mean, stdev
from typing import Any

import numpy as np
from board import acting, by_size, key_of
from boards import TUNED
from scipy.stats import spearmanr
from scipy.stats import t as student

from dann_transfer import DomainAdapter, methods
from dann_transfer.ground.options import METHODS
from dann_transfer.ground.settings import ADAPTATION, HYPERPARAMETERS
from dann_transfer.judging.gains import interval

BASELINE = "source_only"
ORDER = {"source_only": 0, "target_trained": 2}


def row_of(cells: list[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


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
    settings, method = row["settings"], row["method"]
    usual = DomainAdapter().get_params() | by_size(row.get("encoder", "minilm"), {})
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
        own = [r for r in rows if label(r) == name]
        accuracies = [r["target_accuracy"] for r in own]
        cells = [
            name,
            str(len(own)),
            spread(accuracies),
            f"{100 * min(accuracies):.1f}",
            "" if labels[name] == BASELINE else gain(own, before),
            spread([r["target_macro_f1"] for r in own]),
            spread([r["source_accuracy"] for r in own]),
            f"{mean(r['a_distance'] for r in own):.2f}",
        ]
        lines.append(row_of(cells))
    return "\n".join(lines)


def gap_closed(rows: list[dict[str, Any]]) -> str:
    """The share of the gap to target-trained that each method closes, pooled over a board."""
    lines = [
        "| method | pairs | seeds | mean gain | worst pair | shown not to lose 0.5 | macro-F1 | "
        "share of the gap closed |",
        "|---" * 8 + "|",
    ]
    low = baselines(rows, BASELINE)
    high = baselines(rows, "target_trained")
    f1 = baselines(rows, BASELINE, "target_macro_f1")
    labels = {label(r): r["method"] for r in rows}
    for name in sorted(set(labels)):
        if labels[name] in ORDER:
            continue
        found: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
        for r in rows:
            key = base(r), r["seed"]
            if label(r) == name and key in low and key in high:
                gain_f1 = r["target_macro_f1"] - f1[key]
                change = r["target_accuracy"] - low[key], high[key] - low[key], gain_f1
                found.setdefault((r["source"], r["target"]), []).append(change)
        if not found:
            continue
        pairs = {pair: 100 * np.array(values) for pair, values in found.items()}
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
            weight = times[target] * np.prod([times[name] for name in source.split("+")])
            total += weight * values[rng.integers(0, len(values), len(values)), :2].mean(0)
        # If only one domain was drawn, there is no pair.
        if total.any():
            drawn.append(total[0] / total[1])
    gains, gaps = np.mean([values.mean(0) for values in pairs.values()], axis=0)[:2]
    return float(gains / gaps), np.percentile(drawn, [2.5, 97.5])


def board_table(rows: list[dict[str, Any]], tuned: set[tuple[str, str]]) -> str:
    """One line per pair: the baselines' accuracies, and the gain of each method with all seeds.

    A method that ran on fewer seeds than source-only on any pair is left out.

    Pairs that were used for choices are marked with a star.
    """
    own_names = {label(r): r["method"] for r in rows}
    pairs = sorted({(r["source"], r["target"]) for r in rows if "+" not in r["source"]})
    before = baselines(rows, BASELINE)

    def complete(pair: tuple[str, str], name: str) -> bool:
        own = [r for r in of_pair(rows, pair) if label(r) == name]
        bases = {base(r) for r in own}
        beside = {seed for of, seed in before if of in bases}
        return bool(beside) and {r["seed"] for r in own} >= beside

    shown = [
        name
        for name in sorted(own_names)
        if own_names[name] not in ORDER and all(complete(pair, name) for pair in pairs)
    ]
    lines = [row_of(["domains", *ORDER, *shown]), "|---" * (len(shown) + 3) + "|"]
    for pair in pairs:
        own = of_pair(rows, pair)
        bases = {base(r) for r in own if label(r) in shown}
        cells = [f"{pair[0]} → {pair[1]}{' *' if pair in tuned else ''}"]
        for name in ORDER:
            # Baselines with settings other than those of the methods shown are left out.
            accuracies = [
                r["target_accuracy"]
                for r in own
                if r["method"] == name and (not shown or base(r) in bases)
            ]
            cells.append(spread(accuracies) if accuracies else "")
        cells += [gain([r for r in own if label(r) == name], before) for name in shown]
        lines.append(row_of(cells))
    return "\n".join(lines)


def base_readme(rows: list[dict[str, Any]], tuned: set[tuple[str, str]]) -> str:
    """One line per pair: the baselines' accuracies, and mean gains over seeds of three methods."""
    before, above = baselines(rows, BASELINE), baselines(rows, "target_trained")
    shown = ("dann", "mcc", "student")
    gains: dict[str, dict[tuple[str, str], list[tuple[float, float]]]] = {n: {} for n in shown}
    lines = [row_of(["domains", BASELINE, *shown, "target_trained"]), "|---" * 6 + "|"]
    for pair in sorted({(r["source"], r["target"]) for r in rows}):
        own = of_pair(rows, pair)
        cells = [f"{pair[0]} → {pair[1]}{' *' if pair in tuned else ''}"]

        def accuracy(method: str, own: list[dict[str, Any]] = own) -> str:
            return f"{100 * mean(r['target_accuracy'] for r in own if r['method'] == method):.1f}"

        cells.append(accuracy(BASELINE))
        for name in shown:
            changes = [
                (
                    100 * (r["target_accuracy"] - before[base(r), r["seed"]]),
                    100 * (above[base(r), r["seed"]] - before[base(r), r["seed"]]),
                )
                for r in own
                if label(r) == name
            ]
            gains[name][pair] = changes
            cells.append(f"{np.mean(changes, axis=0)[0]:+.1f}")
        lines.append(row_of([*cells, accuracy("target_trained")]))
    means, worst, closed = ["mean gain", ""], ["worst run", ""], ["of the gap", ""]
    for of in gains.values():
        pairs = {pair: np.array(changes) for pair, changes in of.items()}
        share, (low, high) = pooled_share(pairs)
        every = np.concatenate(list(pairs.values()))[:, 0]
        middle = np.mean([values[:, 0].mean() for values in pairs.values()])
        means.append(f"**{middle:+.1f}**")
        worst.append(f"{every.min():+.1f} ({len(every)} runs)")
        closed.append(f"{share:.0%} ({low:.0%} to {high:.0%})")
    return "\n".join([*lines, *(row_of([*cells, ""]) for cells in (means, worst, closed))])


def neighbors(rows: list[dict[str, Any]]) -> str:
    """What averaging with the ten nearest target texts adds, by encoder and method."""
    head = ["encoder", "method", "pairs", "mean gain", "worst", "best"]
    lines = [row_of(head), "|---" * len(head) + "|"]
    for kind in sorted({(r["encoder"], r["method"]) for r in rows}):
        own = [
            100 * (r["target_accuracy_neighbors"] - r["target_accuracy"])
            for r in rows
            if (r["encoder"], r["method"]) == kind
        ]
        numbers = (f"{x:+.1f}" for x in (mean(own), min(own), max(own)))
        lines.append(row_of([*kind, str(len(own)), *numbers]))
    return "\n".join(lines)


TAUGHT = {
    "ens3": "the mean of three seeds' source models teaches",
    "gen2": "the student teaches a second one",
    "gen2ens3": "the mean of three students teaches a second one",
    "confident": "the student learns from only the surest 80 % of the texts",
    "union": "the student also learns from the source's texts",
    "epochs6": "six epochs instead of three",
    "lr3e-5": "learning rate 3e-5 instead of 2e-5",
    "lr1e-5": "learning rate 1e-5",
    "k0": "no neighbours",
}
"""What each trial of a student changed."""


def student_trials(trials: list[dict[str, Any]], rows: list[dict[str, Any]]) -> str:
    """What each change of the student gains over the student of the same pair and seed."""
    of = {
        name: {(r["source"], r["target"], r["seed"]): r["target_accuracy"] for r in rows
               if label(r) == name}
        for name in (BASELINE, "student")
    }  # fmt: skip
    head = ["change", "runs", "gain over source_only", "over the student", "worst", "best"]
    lines = [row_of(head), "|---" * len(head) + "|"]
    for name, meaning in TAUGHT.items():
        own = [r for r in trials if r["trial"] == name]
        keys = [(r["source"], r["target"], r["seed"]) for r in own]
        gain, change = (
            [
                100 * (r["target_accuracy"] - of[beside][key])
                for r, key in zip(own, keys, strict=True)
            ]
            for beside in (BASELINE, "student")
        )
        numbers = (f"{x:+.1f}" for x in (mean(gain), mean(change), min(change), max(change)))
        lines.append(row_of([meaning, str(len(own)), *numbers]))
    return "\n".join(lines)


def taught(last: list[dict[str, Any]], rows: list[dict[str, Any]]) -> str:
    """What students gain that others than source-only teach, beside the mean of their teachers."""
    head = ["taught by", "pairs", "source_only", "gain of the teachers", "of the student", "worst"]
    lines = [row_of(head), "|---" * len(head) + "|"]
    kinds: dict[str, list[tuple[float, float, float]]] = {}
    for row in last:
        seeds = row["settings"].get("taught_by_students_of_seeds", [])
        method = "student" if seeds else row["settings"]["taught_by"]
        own = [
            r
            for r in of_pair(rows, (row["source"], row["target"]))
            if r["seed"] in (seeds or [row["seed"]])
        ]
        before, teachers = (
            100 * mean(r["target_accuracy"] for r in own if label(r) == name)
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


def family(rows: list[dict[str, Any]], costs: list[dict[str, Any]]) -> str:
    """One line per method: what it costs, and its results on each pair."""
    pairs = sorted({(r["source"], r["target"]) for r in rows if "+" not in r["source"]})
    head = ["method", "parameters", "time", "peak GiB"]
    for source, target in pairs:
        head += [f"{source} → {target}: accuracy", "macro-F1", "gain", "A-distance"]
    lines = [row_of(head), "|---" * len(head) + "|"]
    cost, before = {row["method"]: row for row in costs}, baselines(rows, BASELINE)
    shown = {r["method"] for r in rows if (r["source"], r["target"]) in pairs}
    for method in sorted(shown, key=lambda m: (ORDER.get(m, 1), m)):
        own = cost.get(method)
        cells = [method]
        cells += (
            [f"{own['parameters']:,}", f"{own['time_ratio']:.2f}", f"{own['peak_gib']:.1f}"]
            if own
            else ["", "", ""]
        )
        for pair in pairs:
            mine = [r for r in of_pair(rows, pair) if r["method"] == method]
            if not mine:
                cells += ["", "", "", ""]
                continue
            cells += [
                spread([r["target_accuracy"] for r in mine]),
                spread([r["target_macro_f1"] for r in mine]),
                "" if method == BASELINE else gain(mine, before),
                f"{mean(r['a_distance'] for r in mine):.2f}",
            ]
        lines.append(row_of(cells))
    return "\n".join(lines)


def family_readme(rows: list[dict[str, Any]], costs: list[dict[str, Any]]) -> str:
    """The gains of all methods, for README.md."""
    pairs = sorted({(r["source"], r["target"]) for r in rows})
    cost, before = {row["method"]: row for row in costs}, baselines(rows, BASELINE)
    names = [f"{source} → {target}" for source, target in pairs]
    lines = [f"| method | {' | '.join(names)} | time |", "|---" * (len(pairs) + 2) + "|"]
    for method in sorted({r["method"] for r in rows}, key=lambda m: (ORDER.get(m, 1), m)):
        cells = [method]
        for pair in pairs:
            mine = [r for r in of_pair(rows, pair) if r["method"] == method]
            if not mine:
                cells.append("")
            elif method == BASELINE:
                cells.append(spread([r["target_accuracy"] for r in mine]) + " %")
            else:
                cells.append(gain(mine, before))
        cells.append(f"{cost[method]['time_ratio']:.1f}" if method in cost else "")
        lines.append(row_of(cells))
    return "\n".join(lines)


def judges(rows: list[dict[str, Any]]) -> str:
    """How well scores without target labels correlate with the target's accuracy."""
    judged = [r for r in rows if "criteria" in r and r["method"] != "target_trained"]
    if not judged:
        return ""
    names = sorted(judged[0]["criteria"])
    lines = [
        f"| pair | runs | {' | '.join(name.replace('_', ' ') for name in names)} |",
        "|---" * (len(names) + 2) + "|",
    ]
    for source, target in sorted({(r["source"], r["target"]) for r in judged}):
        own = of_pair(judged, (source, target))
        accuracy = [r["target_accuracy"] for r in own]
        cells = [f"{source} → {target}", str(len(own))]
        for name in names:
            rank = spearmanr([r["criteria"][name] for r in own], accuracy).statistic
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
    lines = ["| board | groups | judge | regret | gain | worst gain |", "|---" * 6 + "|"]
    for board in dict.fromkeys(group[0] for group in groups):
        for name, score in scores.items():
            regrets, gains = [], []
            for group, own in groups.items():
                alone = [r["target_accuracy"] for r in own if r["method"] == BASELINE]
                if group[0] == board and alone and len({r["method"] for r in own}) > 1:
                    right = max(own, key=score)["target_accuracy"]
                    regrets.append(100 * (max(r["target_accuracy"] for r in own) - right))
                    gains.append(100 * (right - mean(alone)))
            cells = [board, str(len(gains)), name, f"{mean(regrets):.1f}"]
            lines.append(row_of([*cells, f"{mean(gains):+.1f}", f"{min(gains):+.1f}"]))
    return "\n".join(lines)


def aligned(rows: list[dict[str, Any]]) -> str:
    """Accuracy on both domains and A-distance of each run."""
    head = ["pair", "method", "max_strength", "target", "source", "A-distance"]
    lines = [row_of(head), "|---" * len(head) + "|"]
    for r in rows:
        strength = "" if r["max_strength"] is None else f"{r['max_strength']:g}"
        scores = (f"{100 * r[f'{name}_accuracy']:.1f}" for name in ("target", "source"))
        cells = [f"{r['source']} → {r['target']}", r["method"], strength, *scores]
        lines.append(row_of([*cells, f"{r['a_distance']:.2f}"]))
    return "\n".join(lines)


def critics(rows: list[dict[str, Any]], beside: list[dict[str, Any]]) -> str:
    """Runs of a student with a critic, beside source-only and the plain student of a seed."""
    head = ["pair", "passes", BASELINE, "student", "student+wdgrl", "accuracy on the source"]
    head += ["A-distance before", "after"]
    lines = [row_of(head), "|---" * len(head) + "|"]
    usual = {(r["source"], r["target"], r["seed"], r["method"]): r for r in beside}
    kept: dict[int, list[tuple[float, ...]]] = {}
    for r in sorted(rows, key=lambda r: (passes_of(r), r["source"], r["target"])):
        of = r["source"], r["target"], r["seed"]
        before, student = usual[(*of, BASELINE)], usual[(*of, "student")]
        low, high, own = (100 * run["target_accuracy"] for run in (before, student, r))
        distances = before["a_distance"], r["a_distance"]
        values = low, high - low, own - low, 100 * r["source_accuracy"], *distances
        kept.setdefault(passes_of(r), []).append(values)
        lines.append(_critic_row(f"{r['source']} → {r['target']}", passes_of(r), values))
    for passes, own_rows in kept.items():
        if len(own_rows) > 1:
            means = tuple(mean(column) for column in zip(*own_rows, strict=True))
            lines.append(_critic_row(f"mean of {len(own_rows)}", passes, means))
    return "\n".join(lines)


def splits(rows: list[dict[str, Any]], usual: list[dict[str, Any]]) -> str:
    """Gains on texts drawn anew, beside those on the usual texts with the same seed."""
    methods = [name for name in dict.fromkeys(r["method"] for r in rows) if name != BASELINE]
    head = ["pair", f"{BASELINE}, usual", "drawn anew"]
    head += [cell for name in methods for cell in (f"{name}, usual", "drawn anew")]
    pairs: dict[str, list[float]] = {}
    accuracies = [
        {
            (r["source"], r["target"], r["seed"], r["method"]): 100 * r["target_accuracy"]
            for r in own
        }
        for own in (usual, rows)
    ]
    for source, target, seed in sorted({(r["source"], r["target"], r["seed"]) for r in rows}):
        star = " *" if (source, target) in TUNED else ""
        both = [[own[source, target, seed, name] for own in accuracies] for name in methods]
        before = [own[source, target, seed, BASELINE] for own in accuracies]
        gains = [x - low for own in both for x, low in zip(own, before, strict=True)]
        pairs[f"{source} → {target}{star}"] = [*before, *gains]
    lines = [row_of(head), "|---" * len(head) + "|"]
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


def passes_of(row: dict[str, Any]) -> int:
    """Return how many passes over the source a student's second phase takes."""
    options = (row["settings"]["method_options"] or {}).get("student", {})
    return int(options.get("extra_epochs", 3))


def _critic_row(name: str, passes: int, values: tuple[float, ...]) -> str:
    low, student, own, source, before, after = values
    cells = [f"{low:.1f}", f"{student:+.1f}", f"{own:+.1f}", f"{source:.1f}"]
    return row_of([name, str(passes), *cells, f"{before:.2f}", f"{after:.2f}"])


def corrections(rows: list[dict[str, Any]]) -> str:
    """What correcting predictions by an estimated prior does to the target's accuracy."""
    known = [r for r in rows if "target_accuracy_em" in r and "target_accuracy_bbse" in r]
    if not known:
        return ""
    lines = ["| pair | runs | as predicted | by EM | by BBSE |", "|---|---|---|---|---|"]
    for source, target in sorted({(r["source"], r["target"]) for r in known}):
        own = of_pair(known, (source, target))
        keys = ("target_accuracy", "target_accuracy_em", "target_accuracy_bbse")
        cells = [f"{source} → {target}", str(len(own))]
        cells += [f"{100 * mean(r[key] for r in own):.1f}" for key in keys]
        lines.append(row_of(cells))
    return "\n".join(lines)


def lora(rows: list[dict[str, Any]]) -> str:
    """Accuracy at each learning rate of low-rank matrices, and of training the layers."""
    kinds: dict[tuple[str, bool, float], list[dict[str, Any]]] = {}
    for row in rows:
        settings = row["settings"]
        kind = row["method"], settings["lora"] is not None, float(settings["learning_rate"])
        kinds.setdefault(kind, []).append(row)
    lines = [
        "| method | what trains | learning rate | seeds | on the target | on the source |",
        "|---|---|---|---|---|---|",
    ]
    for (method, low_rank, rate), own in sorted(kinds.items()):
        accuracies = (spread([r[f"{d}_accuracy"] for r in own]) for d in ("target", "source"))
        what = "matrices of rank 8" if low_rank else "the layers"
        lines.append(row_of([method, what, f"{rate:g}", str(len(own)), *accuracies]))
    return "\n".join(lines)


def peers(rows: list[dict[str, Any]]) -> str:
    """Other libraries on the same pair; other work shared the machine during some of the runs."""
    lines = [
        "| library | seeds | target accuracy | seconds at best | peak GiB | lines of code |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(r["peer"] for r in rows):
        own = [r for r in rows if r["peer"] == name]
        cells = [
            name,
            str(len(own)),
            spread([r["target_accuracy"] for r in own]),
            f"{min(r['seconds'] for r in own):.0f}",
            f"{max(r['peak_gib'] for r in own):.1f}",
            str(own[0]["lines"]),
        ]
        lines.append(row_of(cells))
    return "\n".join(lines)


def speed(row: dict[str, Any]) -> str:
    """Speed ratios, measured in turn, and the shares of padding, which cost some speed."""
    lines = [row_of([name, f"{value:.2f}"]) for name, value in row["ratios"].items()]
    for name, share in row.get("padding", {}).items():
        lines.append(row_of([f"share of padding in {name}'s batches", f"{share:.2f}"]))
    return "\n".join(["| ratio of speeds | |", "|---|---|", *lines])


def epochs_kept(best: list[dict[str, Any]], rows: list[dict[str, Any]]) -> str:
    """What keeping a later epoch than the best one changes, run by run."""
    usual = {"validation_tolerance": DomainAdapter().validation_tolerance}
    now = {key_of(row): row["target_accuracy"] for row in rows}
    changes: dict[str, dict[str, float]] = {}
    for row in best:
        key = key_of({**row, "settings": row["settings"] | usual})
        # A model trained on the target's labels is the same for every source.
        model = key_of({**row, "source": ""}) if row["method"] == "target_trained" else key
        change = 100 * (now[key] - row["target_accuracy"])
        changes.setdefault(row["method"], {})[model] = change
    every = {key: change for own in changes.values() for key, change in own.items()}
    lines = ["| method | runs | better | mean change | worst | best |", "|---|---|---|---|---|---|"]
    for method, own in [*sorted(changes.items()), ("all", every)]:
        values = list(own.values())
        numbers = [f"{value:+.1f}" for value in (mean(values), min(values), max(values))]
        better = str(sum(value > 0 for value in values))
        lines.append(row_of([method, str(len(values)), better, *numbers]))
    return "\n".join(lines)


def trials(rows: list[dict[str, Any]]) -> str:
    """Single runs used for choices: the gain of each over source-only, epoch by epoch."""
    pairs = sorted({(r["source"], r["target"]) for r in rows})
    before = {
        (r["source"], r["target"]): r["target_accuracy_by_epoch"][-1]
        for r in rows
        if r["method"] == BASELINE
    }
    lines = [row_of(["tried", *(" → ".join(p) for p in pairs)]), "|---" * (len(pairs) + 1) + "|"]
    found: dict[str, dict[tuple[str, str], str]] = {}
    for r in rows:
        pair, settings = (r["source"], r["target"]), json.dumps(r["settings"])
        gains = [100 * (a - before[pair]) for a in r["target_accuracy_by_epoch"]]
        name = r["method"] + ("" if settings == "{}" else f" {settings}")
        found.setdefault(name, {})[pair] = " ".join(f"{gain:+.1f}" for gain in gains)
        for key in ("mean_of_weights", "moving_mean_of_weights"):
            if key in r:
                averaged = found.setdefault(f"{name}, {key.replace('_', ' ')}", {})
                averaged[pair] = f"{100 * (r[key] - before[pair]):+.1f}"
    lines += [row_of([n, *(found[n].get(pair, "") for pair in pairs)]) for n in sorted(found)]
    return "\n".join(lines)


def hyperparameters() -> str:
    """Return README's table of keywords, made from their single definition."""
    lines = ["| keyword | what it does | default |", "|---|---|---|"]
    for name, h in HYPERPARAMETERS.items():
        lines.append(f"| `{name}` | {h.meaning} | `{h.default!r}` |")
    return "\n".join(lines)


def methods_table() -> str:
    """Return the table of methods, made from their single definition."""
    lines = ["| method | idea | default strength | reference |", "|---|---|---|---|"]
    for name, entry in METHODS.items():
        strength = f"{entry.default_strength:g}"
        lines.append(f"| `{name}` | {entry.meaning} | {strength} | {entry.reference} |")
    return "\n".join(lines)


def options_table() -> str:
    """Return the table of the methods' options, made from the same definition."""
    rows: dict[str, list[str]] = {}
    for name, entry in METHODS.items():
        for option, facts in entry.options.items():
            row = f"| `{option}` | {facts.meaning} | {facts.bounds} | `{facts.default}` |"
            rows.setdefault(row, []).append(f"`{name}`")
    lines = ["| method | option | what it is | allowed | default |", "|---|---|---|---|---|"]
    return "\n".join(lines + [f"| {', '.join(names)} {row}" for row, names in rows.items()])

"""Scores without target labels, judged with target labels: do they choose the right method?

    python benchmarks/board.py --encoder mpnet --train-texts 1000 --outputs runs/outputs ...
    python benchmarks/scores.py --rows benchmarks/results/base.jsonl --outputs runs/outputs
        --out runs/scores.jsonl

The methods that ran on a pair of domains with one seed are the candidates of one group. If a pair
has several seeds, the means over them form another group. `target_trained` is not a candidate, and
rows without outputs are skipped. Every score of `selection.SCORES` ranks the candidates by
target-train and source-validation texts, `ensemble_agreement` by what the candidates predict
together, and `seed_agreement` by what the seeds of each candidate predict. If a candidate has no
source-validation texts (`students.py` stores none), source-test texts replace them for its whole
group, so that all candidates are judged on the same texts; the output reports this.

For each score: Spearman's rank correlation with the accuracy on target-test (0 if all are equal);
regret, the best candidate's accuracy minus that of the chosen one; gain, the chosen one's accuracy
minus that of source-only. A tie goes to source-only. The table also has rules that do not choose:
always the same method, and "mean of all", the mean of the candidates' probabilities. Means are over
pairs, with 95 % intervals from a bootstrap over domains (`tables.pooled_share`).

One JSON line per group goes to --out, a Markdown table to standard output.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import board
import boards
import numpy as np
import tables
from dann_transfer.selection import (
    SCORES,
    Evidence,
    effective_size,
    ensemble_agreement,
    seed_agreement,
)
from scipy.stats import spearmanr

from dann_transfer.ground.settings import ADAPTATION

_load = lru_cache(boards.load)
Row = dict[str, Any]
Numbers = dict[str, float]
"""One number per candidate."""


def read(files: Iterable[Path]) -> list[Row]:
    """Read rows from files: JSON lines, or a single object if the name ends in .json."""
    rows = {}
    for file in files:
        text = file.read_text()
        for part in [text] if file.suffix == ".json" else text.splitlines():
            row = json.loads(part)
            rows[board.key_of(row)] = row
    return list(rows.values())


def name_of(row: Row) -> str:
    """Name a candidate by its method and its adaptation settings that are not the defaults."""
    own = {key: value for key, value in row["settings"].items() if key in ADAPTATION}
    return tables.label({**row, "settings": own})


def splits_of(row: Row) -> dict[str, boards.Split]:
    return _load(row["board"], boards.Sample.of(row["settings"]))


def codes_of(row: Row, kind: str) -> np.ndarray:
    """Return the class positions of the source texts whose outputs a run stored, in order."""
    source = splits_of(row)[row["source"]]
    _, labels = source.own_test or source.test
    if kind != "source_test":
        fraction = row["settings"]["validation_fraction"]
        labels = board.held_out(source, fraction, row["seed"])[1]
    return np.searchsorted(np.unique(source.train[1]), labels)


def right(row: Row, p: np.ndarray) -> float:
    """Return the share of the target's test texts that are predicted correctly."""
    splits = splits_of(row)
    classes = np.unique(splits[row["source"]].train[1])
    return float((classes[p.argmax(1)] == splits[row["target"]].test[1]).mean())


def part(made: Any, kind: str) -> tuple[np.ndarray, np.ndarray]:
    return made[f"{kind}.features"].astype(np.float32), made[f"{kind}.probabilities"]


def judged(group: dict[str, Row], outputs: Path) -> tuple[Row, dict[str, np.ndarray]]:
    """Score the candidates of a group; also return their predictions for target-train."""
    made = {name: np.load(outputs / f"{board.name_of(row)}.npz") for name, row in group.items()}
    whole = all("source_validation.features" in arrays for arrays in made.values())
    kind = "source_validation" if whole else "source_test"
    scores: dict[str, Numbers] = {name: {} for name in SCORES}
    accuracy, sizes, predicted, tested = {}, {}, {}, []
    for name, row in group.items():
        target = part(made[name], "target_train")
        evidence = Evidence(part(made[name], kind), codes_of(row, kind), target)
        for score, function in SCORES.items():
            scores[score][name] = function(evidence)
        sizes[name] = effective_size(evidence.weights)
        predicted[name] = target[1]
        tested.append(made[name]["target_test.probabilities"])
        accuracy[name] = right(row, tested[-1])
        if abs(accuracy[name] - row["target_accuracy"]) > 1e-6:
            raise ValueError(
                f"{board.name_of(row)}.npz has target accuracy {accuracy[name]:.4f} and its row "
                f"{row['target_accuracy']:.4f}: they come from different runs; run the board again."
            )
    together = ensemble_agreement(list(predicted.values())).tolist()
    scores["ensemble_agreement"] = dict(zip(predicted, together, strict=True))
    row = next(iter(group.values()))
    return {
        **{key: row[key] for key in ("board", "source", "target", "seed")},
        "encoder": row.get("encoder", "minilm"),
        "train_texts": row["settings"]["train_texts"],
        "judged_by": kind,
        "accuracy": accuracy,
        "mean_of_all": right(row, np.mean(tested, axis=0)),
        "effective_size": sizes,
        "scores": scores,
    }, predicted


def over_seeds(groups: list[Row], predicted: list[dict[str, np.ndarray]]) -> Row:
    """Average the groups of a pair over seeds, for candidates that ran with every seed."""
    names = [name for name in groups[0]["accuracy"] if all(name in g["accuracy"] for g in groups)]

    def mean(numbers: list[Numbers]) -> Numbers:
        return {name: float(np.mean([of[name] for of in numbers])) for name in names}

    scores = {s: mean([g["scores"][s] for g in groups]) for s in groups[0]["scores"]}
    scores["seed_agreement"] = {
        name: seed_agreement([p[name] for p in predicted]) for name in names
    }
    return {
        **groups[0],
        "seed": None,
        "seeds": [group["seed"] for group in groups],
        # source_test, if it was used for any seed.
        "judged_by": min(group["judged_by"] for group in groups),
        **{key: mean([g[key] for g in groups]) for key in ("accuracy", "effective_size")},
        "mean_of_all": float(np.mean([group["mean_of_all"] for group in groups])),
        "scores": scores,
    }


def chosen(values: Numbers) -> str:
    """Return the candidate with the highest score; in a tie source-only, or else the first."""
    best = [name for name, value in values.items() if value >= max(values.values()) - 1e-12]
    return tables.BASELINE if tables.BASELINE in best else best[0]


def rank_correlation(values: Numbers, accuracy: Numbers) -> float:
    pairs = np.array([(values[name], accuracy[name]) for name in accuracy])
    # Numbers that are all equal have no ranking.
    return float(spearmanr(*pairs.T).statistic) if np.ptp(pairs, axis=0).all() else 0.0


def with_choices(group: Row) -> Row:
    """Add what each score and each rule chooses, with its regret and gain."""
    accuracy, scores = group["accuracy"], group["scores"]
    best, base = max(accuracy.values()), accuracy[tables.BASELINE]
    reached = {f"always {name}": accuracy[name] for name in accuracy}
    reached["mean of all"] = group["mean_of_all"]
    choices: dict[str, Row] = {}
    for score, values in scores.items():
        name = chosen(values)
        reached[score] = accuracy[name]
        choices[score] = {"chosen": name, "rank": rank_correlation(values, accuracy)}
    for rule, value in reached.items():
        choices[rule] = {**choices.get(rule, {}), "regret": best - value, "gain": value - base}
    return {**group, "choices": choices}


def mean_and_interval(values: dict[tuple[str, str], list[float]], form: str) -> str:
    """Return the mean over pairs, with its interval."""
    # With a gap of 1, the share is the number itself.
    pairs = {pair: np.column_stack([own, np.ones(len(own))]) for pair, own in values.items()}
    middle, (low, high) = tables.pooled_share(pairs)
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def table(groups: list[Row]) -> str:
    """One line per score or rule."""
    head = ["chosen by", "pairs", "groups", "rank correlation", "regret", "gain", "worst gain"]
    lines = tables.heading(head)
    rules = list(dict.fromkeys(rule for group in groups for rule in group["choices"]))
    order = {f"always {tables.BASELINE}": 1, "mean of all": 3}

    def place(rule: str) -> int:
        return order.get(rule, 2 if rule.startswith("always ") else 0)

    for rule in sorted(rules, key=place):
        found: dict[str, dict[tuple[str, str], list[float]]] = {}
        own = [group for group in groups if rule in group["choices"]]
        for group in own:
            for key, value in group["choices"][rule].items():
                if key != "chosen":
                    pairs = found.setdefault(key, {})
                    scaled = value if key == "rank" else 100 * value
                    pairs.setdefault((group["source"], group["target"]), []).append(scaled)
        cells = [rule.replace("_", " ") if place(rule) == 0 else rule]
        cells += [str(len(found["gain"])), str(len(own))]
        cells.append(mean_and_interval(found["rank"], "+.2f") if "rank" in found else "")
        cells.append(mean_and_interval(found["regret"], ".1f"))
        cells.append(mean_and_interval(found["gain"], "+.1f"))
        cells.append(f"{min(min(values) for values in found['gain'].values()):+.1f}")
        lines.append(tables.row_of(cells))
    return "\n".join(lines)


def grouped(rows: list[Row], outputs: Path) -> dict[str, dict[int, dict[str, Row]]]:
    """Group rows by shared baseline settings, seed and candidate; print what is left out."""
    groups: dict[str, dict[int, dict[str, Row]]] = {}
    for row in rows:
        # Runs with several sources store no source-validation texts.
        if row["method"] == "target_trained" or "+" in row["source"]:
            continue
        file = outputs / f"{board.name_of(row)}.npz"
        if not file.exists():
            print(f"no outputs: {file.stem}")
            continue
        columns = np.load(file)["target_train.probabilities"].shape[1]
        if columns != len(set(splits_of(row)[row["source"]].train[1])):
            print(f"outputs of {columns} classes, not those of the source: {file.stem}")
            continue
        groups.setdefault(tables.base(row), {}).setdefault(row["seed"], {})[name_of(row)] = row
    for seeds in groups.values():
        for seed, group in list(seeds.items()):
            if tables.BASELINE not in group or len(group) == 1:
                row = next(iter(group.values()))
                print(f"{row['source']} → {row['target']}, seed {seed}: only {', '.join(group)}")
                del seeds[seed]
    return groups


def report(groups: list[Row]) -> str:
    """Return a table for each board, encoder and number of texts, by seed and over seeds."""
    sections: dict[str, list[Row]] = {}
    parts = []
    for group in groups:
        kind = "one seed a group" if group["seed"] is not None else "means over seeds"
        title = (
            f"{group['board']}, {group['encoder']}, {group['train_texts']} training texts, {kind}"
        )
        sections.setdefault(title, []).append(group)
    for title, own in sections.items():
        stand_in = sum(group["judged_by"] == "source_test" for group in own)
        size = np.median([n for group in own for n in group["effective_size"].values()])
        parts += [f"**{title}**", table(own)]
        parts.append(
            f"Accuracies in points. In {stand_in} of {len(own)} groups source-test texts stood in "
            f"for source-validation ones. Median effective number of weighted texts: {size:.0f}."
        )
    return "\n\n".join(parts)


def arguments(doc: str) -> argparse.Namespace:
    """Read the command line of a script that uses stored outputs."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("--rows", nargs="+", type=Path, required=True, help="*.jsonl or *.json")
    parser.add_argument("--outputs", type=Path, default=Path("runs/outputs"))
    parser.add_argument("--out", type=Path, required=True, help="written anew")
    return parser.parse_args()


def main() -> None:
    args = arguments(__doc__)
    results = []
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("w") as out:
        for seeds in grouped(read(args.rows), args.outputs).values():
            judgements = [judged(group, args.outputs) for group in seeds.values()]
            groups = [group for group, _ in judgements]
            if len(groups) > 1:
                means = over_seeds(groups, [predicted for _, predicted in judgements])
                groups += [means] if len(means["accuracy"]) > 1 else []
            for group in map(with_choices, groups):
                out.write(json.dumps(group) + "\n")
                out.flush()
                results.append(group)
    print(report(results))


if __name__ == "__main__":
    main()

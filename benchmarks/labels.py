"""What a few target labels are worth, and which texts to spend them on.

    python benchmarks/board.py --methods source_only --train-texts 1000 --outputs runs/outputs ...
    python benchmarks/labels.py --outputs runs/outputs --train-texts 1000

Uses the stored outputs of source-only models (`board.py --outputs`), so it trains no encoder. Rows
replace those of the same encoder in results/labels.jsonl, and the tables of all rows are printed.
Without --outputs, only the tables are printed. Each row is a mean over five random draws, of texts
or of where k-means starts; the least certain texts are the same in each draw.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boards
import numpy as np
from dann_transfer.labelling import spread_labels, suggest
from sklearn.linear_model import LogisticRegression
from tables import heading

from dann_transfer.judging.neighbors import Neighborhood

RESULTS = Path(__file__).parent / "results"
COUNTS = (0, 8, 16, 32, 64, 128)
DRAWS = 5
NEIGHBORS = 10
STRATEGIES = {
    "suggested": "suggested texts, spread",
    "random": "random texts, spread",
    "uncertain": "the least certain texts, spread",
    "logistic": "random texts, logistic regression",
}


def accuracies(made: dict[str, np.ndarray], y: np.ndarray, truth: np.ndarray) -> dict[Any, float]:
    """Return the test accuracy by (strategy, number of labels); y answers the label queries."""
    x, p = made["target_train.features"], made["target_train.probabilities"]
    x_test, p_test = made["target_test.features"], made["target_test.probabilities"]
    sure = p.max(1)

    def by_spread(positions: np.ndarray) -> float:
        near = Neighborhood(x, spread_labels(x, p, positions, y[positions], NEIGHBORS))
        return float((near.smooth(x_test, p_test, NEIGHBORS).argmax(1) == truth).mean())

    def by_regression(positions: np.ndarray) -> float:
        own = y[positions]
        if len(set(own)) == 1:
            return float((truth == own[0]).mean())
        model = LogisticRegression(max_iter=1000).fit(x[positions], own)
        return float((model.predict(x_test) == truth).mean())

    def drawn(n: int, draw: int) -> np.ndarray:
        return np.random.default_rng([n, draw]).choice(len(x), n, replace=False)

    def mean(score: Callable[[np.ndarray], float], texts: Callable[[int], np.ndarray]) -> float:
        return float(np.mean([score(texts(draw)) for draw in range(DRAWS)]))

    none = by_spread(np.array([], int))
    scores: dict[Any, float] = {("model", 0): float((p_test.argmax(1) == truth).mean())}
    scores |= {(name, 0): none for name in ("suggested", "random", "uncertain")}
    for n in COUNTS[1:]:
        random = [drawn(n, draw) for draw in range(DRAWS)]
        scores["suggested", n] = mean(by_spread, lambda draw, n=n: suggest(x, p, n, draw))
        scores["random", n] = mean(by_spread, random.__getitem__)
        scores["uncertain", n] = by_spread(np.argsort(sure, kind="stable")[:n])
        scores["logistic", n] = mean(by_regression, random.__getitem__)
    return scores


def measure(outputs: Path, encoder: str, sample: boards.Sample) -> list[dict[str, Any]]:
    """Return the rows of all source-only runs in a folder."""
    rows = []
    for file in sorted(outputs.glob("sentiment-*-source_only-*.npz")):
        _, source, target, _, seed, _ = file.stem.rsplit("-", 5)
        split = boards.load("sentiment", sample)[target]
        classes = np.unique(split.train[1])
        # The target's unlabelled texts are its training texts, so their labels are available.
        y, truth = (np.searchsorted(classes, part[1]) for part in (split.train, split.test))
        arrays = np.load(file)
        made = {k: arrays[k].astype(np.float32) for k in arrays.files if k.startswith("target")}
        for part, labels in (("train", y), ("test", truth)):
            if len(made[f"target_{part}.features"]) != len(labels):
                raise ValueError(
                    f"{file.name} has {len(made[f'target_{part}.features'])} {part} texts of the "
                    f"target and the board has {len(labels)}; pass the --train-texts and "
                    "--test-texts that were passed to board.py."
                )
        run = {"encoder": encoder, "source": source, "target": target, "seed": int(seed)}
        run["train_texts"] = sample.train_texts
        for (strategy, n), accuracy in accuracies(made, y, truth).items():
            rows.append({**run, "n": n, "strategy": strategy, "accuracy": accuracy})
        print(file.stem, flush=True)
    return rows


def means(rows: list[dict[str, Any]], strategy: str) -> dict[int, float]:
    """Return the mean accuracy of a strategy by number of labels."""
    counts = sorted({row["n"] for row in rows if row["strategy"] == strategy})
    return {
        n: float(
            np.mean([r["accuracy"] for r in rows if r["n"] == n and r["strategy"] == strategy])
        )
        for n in counts
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return the means over pairs as a Markdown table."""
    pairs = {(row["source"], row["target"]) for row in rows}
    lines = [
        f"{len(pairs)} pairs; the model alone: {means(rows, 'model')[0]:.1%}",
        "",
        *heading(["labels", *map(str, COUNTS)]),
    ]
    for strategy, words in STRATEGIES.items():
        own = means(rows, strategy)
        cells = (f"{100 * own[n]:.1f}" if n in own else "" for n in COUNTS)
        lines.append(f"| {words} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def worth(rows: list[dict[str, Any]], others: list[dict[str, Any]], method: str) -> str | None:
    """Return how many suggested labels reach a method's mean accuracy; None if it lacks a pair."""
    pairs = {(row["source"], row["target"]) for row in rows}
    own: dict[tuple[str, str], list[float]] = {pair: [] for pair in pairs}
    for row in others:
        same = row.get("encoder", "minilm") == rows[0]["encoder"] and row["method"] == method
        pair = row["source"], row["target"]
        texts = row["settings"].get("train_texts")
        if same and pair in pairs and texts == rows[0]["train_texts"]:
            own[pair].append(row["target_accuracy"])
    if not all(own.values()):
        return None
    accuracy = float(np.mean([np.mean(values) for values in own.values()]))
    by_n = means(rows, "suggested")
    # More labels are never worth less, even if the means differ by chance.
    curve = np.maximum.accumulate(list(by_n.values()))
    if accuracy > curve[-1]:
        number = f"more than {max(by_n)}"
    else:
        number = f"{np.interp(accuracy, curve, list(by_n)):.0f}"
    seeds = sum(map(len, own.values())) / len(own)
    return f"{method} has {accuracy:.1%} ({seeds:.0f} seeds a pair): {number} suggested labels."


def readme(rows: list[dict[str, Any]]) -> str:
    """Return the table in README.md: a row for each encoder and choice of texts."""
    head = ["encoder", "texts", *map(str, COUNTS)]
    lines = heading(head)
    for encoder in dict.fromkeys(row["encoder"] for row in rows):
        own = [row for row in rows if row["encoder"] == encoder]
        for strategy, words in STRATEGIES.items():
            found = means(own, strategy)
            cells = (f"{100 * found[n]:.1f}" if n in found else "" for n in COUNTS)
            lines.append("| " + " | ".join([encoder, words, *cells]) + " |")
    return "\n".join(lines)


def report(rows: list[dict[str, Any]]) -> str:
    """Return each encoder's tables: all pairs, the pairs used for choices, and the others."""
    others = [
        json.loads(line)
        for name in ("sentiment", "methods", "base_cpu")
        for line in (RESULTS / f"{name}.jsonl").read_text().splitlines()
    ]
    parts = []
    for encoder in dict.fromkeys(row["encoder"] for row in rows):
        own = [row for row in rows if row["encoder"] == encoder]
        tuned = [row for row in own if (row["source"], row["target"]) in boards.TUNED]
        unseen = [row for row in own if (row["source"], row["target"]) not in boards.TUNED]
        parts += [f"{encoder}, all pairs: {table(own)}", *filter(None, [worth(own, others, "mcc")])]
        parts += [f"{encoder}, chosen on: {table(tuned)}", f"{encoder}, others: {table(unseen)}"]
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--outputs", type=Path)
    parser.add_argument("--train-texts", type=int, default=1000)
    parser.add_argument("--test-texts", type=int)
    parser.add_argument("--encoder", default="minilm", help="the encoder of the outputs")
    parser.add_argument("--out", type=Path, default=RESULTS / "labels.jsonl")
    args = parser.parse_args()
    lines = args.out.read_text().splitlines() if args.out.exists() else []
    rows = [json.loads(line) for line in lines]
    if args.outputs:
        rows = [row for row in rows if row["encoder"] != args.encoder]
        rows += measure(
            args.outputs, args.encoder, boards.Sample(args.train_texts, args.test_texts)
        )
        args.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(report(rows))


if __name__ == "__main__":
    main()

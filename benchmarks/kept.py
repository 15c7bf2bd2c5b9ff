"""Which epoch of a run should be kept: what each epoch gets right, on held-out and on test texts.

    python benchmarks/kept.py --cells movies:100 movies:300 banking12:300 --methods source_only dann
        --seeds 0 1 2

A cell is one of lengths.py's and a number of labelled texts, of which a tenth are held out. Each
row has, by epoch, which held-out texts were right ("1") and the accuracies on test texts of both
domains, so that rules of choice can be compared without training. A killed study goes on where it
stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine
from lengths import texts_of
from sklearn.model_selection import train_test_split

from dann_transfer import DomainAdapter, datasets
from dann_transfer.model.model import Classifier, infer
from dann_transfer.model.runtime import Runtime
from dann_transfer.texts.tokens import tokenize

TEST = 250
LENGTH = 64


class Scorer:
    """Notes after each epoch which texts of each set a model gets right."""

    def __init__(self, sets: dict[str, tuple[list[str], np.ndarray]]) -> None:
        self.sets = sets
        self.right: dict[str, list[np.ndarray]] = {name: [] for name in sets}

    def __call__(self, engine: Engine, model: Classifier) -> None:
        state = engine.state
        if state.iteration % state.epoch_length:
            return
        for name, (texts, codes) in self.sets.items():
            tokens = tokenize(model.encoder.tokenizer, texts, LENGTH)[0]
            logits = infer(model, tokens, Runtime(next(model.parameters()).device))[1]
            self.right[name].append(logits.argmax(1).numpy() == codes)


def run(cell: str, n: int, method: str, seed: int) -> dict[str, Any]:
    """Train once, and return the row."""
    labelled, unlabelled, inside, outside = texts_of(cell, n, seed)
    classes = np.unique(labelled["label"])
    # Held out here, because a fit does not say which texts it holds out.
    counts = labelled["label"].value_counts()
    single = labelled["label"].map(counts) < 2
    stratify = None if single.any() else labelled["label"]
    train, held_out = train_test_split(
        labelled, test_size=0.1, stratify=stratify, random_state=seed
    )
    frames = {"validation": held_out, "source": inside[:TEST], "target": outside[:TEST]}
    sets = {
        name: (frame["text"].tolist(), np.searchsorted(classes, frame["label"]))
        for name, frame in frames.items()
    }
    scorer = Scorer(sets)
    adapter = DomainAdapter(
        datasets.encoder("minilm"),
        method=method,
        max_length=LENGTH,
        random_state=seed,
        progress=False,
    )
    started = time.perf_counter()
    adapter.fit(
        train["text"].tolist(),
        train["label"].tolist(),
        X_target=None if method == "source_only" else unlabelled["text"].tolist(),
        X_val=held_out["text"].tolist(),
        y_val=held_out["label"].tolist(),
        on_step=scorer,
    )
    right = scorer.right
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "validation": ["".join("01"[int(one)] for one in row) for row in right["validation"]],
        "source_accuracy": [round(float(row.mean()), 4) for row in right["source"]],
        "target_accuracy": [round(float(row.mean()), 4) for row in right["target"]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", nargs="+", required=True)
    parser.add_argument("--methods", nargs="+", default=["source_only"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    results = Path(__file__).parent / "results"
    parser.add_argument("--out", type=Path, default=results / "kept.jsonl")
    args = parser.parse_args()
    keys = ("cell", "n", "method", "seed")
    lines = args.out.read_text().splitlines() if args.out.exists() else []
    done = {tuple(json.loads(line)[key] for key in keys) for line in lines}
    for seed in args.seeds:
        for name in args.cells:
            cell, n = name.split(":")
            for method in args.methods:
                if (cell, int(n), method, seed) in done:
                    continue
                key = dict(zip(keys, (cell, int(n), method, seed), strict=True))
                row = {**key, **run(cell, int(n), method, seed)}
                with args.out.open("a") as out:
                    out.write(json.dumps(row) + "\n")
                print(row, flush=True)


if __name__ == "__main__":
    main()

"""Our training step against the floor: a bare forward and backward of the same encoder.

    python benchmarks/speed.py

Floor: the same number of texts a batch, all of one length, forward, mean, backward and nothing
else. Ours: `engine.train` as `fit` runs it, on real texts of all lengths, with validation off;
tokens are real ones, padding not counted. The two alternate in one process, and the medians
of tokens a second are compared.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch

from dann_transfer import DomainAdapter, datasets, engine, methods
from dann_transfer.batches import PairedBatches, tokenize
from dann_transfer.encoder import Encoder
from dann_transfer.heads import TaskHead


def floor(encoder: Encoder, rows: int, length: int, steps: int) -> float:
    """Return tokens a second of forward and backward alone."""
    ids = torch.randint(1000, 20000, (rows, length))
    mask = torch.ones_like(ids)
    encoder.train()
    started = time.perf_counter()
    for _ in range(steps):
        encoder.zero_grad(set_to_none=True)
        encoder(ids, mask).sum().backward()
    return rows * length * steps / (time.perf_counter() - started)


def ours(encoder: Encoder, batches: PairedBatches, method: str) -> float:
    """Return real tokens a second of one epoch."""
    adaptation = methods.create(method)
    adaptation.attach(encoder, 1)
    adaptation.build(encoder.features, 2)
    model = engine.AdaptationModel(encoder, TaskHead(encoder.features, 2), adaptation)
    rates = {"learning_rate": 1e-6, "head_learning_rate": 1e-4}
    adapter = DomainAdapter(
        method=method, epochs=1, precision="fp32", progress=False, max_strength=0.1, **rates
    )
    settings = adapter._settings(0, adaptation)
    started = time.perf_counter()
    engine.train(model, batches, settings, torch.device("cpu"))
    seconds = time.perf_counter() - started
    tokens = sum(int(batches[k].attention_mask.sum()) for k in range(len(batches)))
    return tokens / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--freeze-layers", type=int, default=0)
    args = parser.parse_args()
    encoder = Encoder.from_pretrained(datasets.encoder("minilm"), freeze_layers=args.freeze_layers)
    domains = datasets.load("sentiment")
    source, target = (
        tokenize(encoder.tokenizer, datasets.split(domains[name], args.texts)[0], 128)[0]
        for name in ("movies", "tweets")
    )
    paired = PairedBatches(source, np.zeros(len(source)), target, 32, seed=0)
    alone = PairedBatches(source, np.zeros(len(source)), None, 32, seed=0)
    length = round(float(np.concatenate([source.lengths, target.lengths]).mean()))
    runs: dict[str, list[float]] = {
        "floor": [],
        "dann": [],
        "floor, 32 rows": [],
        "source_only": [],
    }
    floor(encoder, 64, length, 3)
    for _ in range(args.rounds):
        runs["floor"].append(floor(encoder, 64, length, 10))
        runs["dann"].append(ours(encoder, paired, "dann"))
        runs["floor, 32 rows"].append(floor(encoder, 32, length, 20))
        runs["source_only"].append(ours(encoder, alone, "source_only"))
    medians = {name: statistics.median(values) for name, values in runs.items()}
    for name, values in runs.items():
        print(f"{name:16} {medians[name]:7.0f} tokens/s ({min(values):.0f} to {max(values):.0f})")
    print(f"dann / floor            {medians['dann'] / medians['floor']:.2f}")
    print(f"source_only / its floor {medians['source_only'] / medians['floor, 32 rows']:.2f}")
    print(f"padding {paired.padding_share(len(paired)):.1%}, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()

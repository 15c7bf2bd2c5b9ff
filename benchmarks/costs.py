"""What each method costs compared with source-only: parameters, training time, memory.

    python benchmarks/costs.py

Each method runs in its own process: first alone, to measure its peak memory, then alternating with
source-only on the same 96 + 96 real texts, three epochs without validation. The time ratio is the
ratio of the medians. benchmarks/results/costs.jsonl is replaced, with one JSON line per method.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dann_transfer import datasets, methods
from dann_transfer.ground.settings import Settings
from dann_transfer.model.encoder import Encoder
from dann_transfer.model.heads import TaskHead
from dann_transfer.model.model import Classifier
from dann_transfer.model.runtime import Runtime
from dann_transfer.texts.batches import PairedBatches
from dann_transfer.texts.tokens import tokenize
from dann_transfer.training.loop import Trainer

OUT = Path(__file__).parent / "results" / "costs.jsonl"
TEXTS, ROUNDS = 96, 2


def train(name: str) -> tuple[float, int]:
    """Train three epochs and return the seconds and the number of the method's parameters."""
    encoder = Encoder.from_pretrained(datasets.encoder("minilm"))
    domains = datasets.load("sentiment")
    source, target = (
        tokenize(encoder.tokenizer, datasets.split(domains[domain], TEXTS)[0], 128)[0]
        for domain in ("movies", "tweets")
    )
    torch.manual_seed(0)
    method = methods.create(name)
    method.attach(encoder, 1)
    method.build(encoder.features, 2)
    model = Classifier(encoder, TaskHead(encoder.features, 2))
    settings = Settings.of({"progress": False}, 0, method.default_strength)
    labels = np.arange(TEXTS) % 2
    batches = PairedBatches(source, labels, target if method.uses_target else None, 32, seed=0)
    started = time.perf_counter()
    phases, runtime = method.phases(settings.epochs), Runtime.of("cpu")
    Trainer(model, method, phases, batches, settings, runtime).run()
    return time.perf_counter() - started, sum(p.numel() for p in method.parameters())


def measure(name: str) -> dict[str, Any]:
    """Measure one method; call this in a fresh process."""
    _, parameters = train(name)
    # Linux counts in KiB.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    seconds: dict[str, list[float]] = {"source_only": [], name: []}
    for _ in range(ROUNDS):
        for each in seconds:
            seconds[each].append(train(each)[0])
    medians = {each: statistics.median(values) for each, values in seconds.items()}
    return {
        "method": name,
        "parameters": parameters,
        "time_ratio": medians[name] / medians["source_only"],
        "seconds": seconds,
        "peak_gib": peak,
        "machine": (
            f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--methods", nargs="+", default=[*methods.names(), "cdan+mcc", "mcc+self_training"]
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one)))
        return
    lines = []
    for name in args.methods:
        child = [sys.executable, __file__, "--one", name]
        out = subprocess.run(child, capture_output=True, text=True, check=True).stdout
        lines.append(out.splitlines()[-1])
        row = json.loads(lines[-1])
        print({k: row[k] for k in ("method", "parameters", "time_ratio", "peak_gib")}, flush=True)
    OUT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""How fast training and prediction are, compared with a floor, a common loop and a pipeline.

    python benchmarks/speed.py            # ratios
    python benchmarks/speed.py --growth   # time and memory by texts, length, classes and batch

Training is measured in tokens per second (padding is not counted), prediction in texts per second.

- floor: forward, mean and backward of the same encoder over texts of one length, nothing else; with
  AdamW also the step of the optimizer;
- tutorial: the common loop, with every text padded to 128 tokens, batches of 16 and one AdamW for
  everything; for DANN, one pass each for source and target and one discriminator step;
- pipeline: ``transformers.pipeline("text-classification")`` of the same encoder;
- bare encoder: its forward pass over as many texts, all of the mean length, without gradients.

Ours is `Trainer` as `fit` runs it, with validation off. The kinds take turns in one process,
and medians are compared. One JSON line goes to benchmarks/results/speed.jsonl.
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
from torch.nn import functional as F

from dann_transfer import DomainAdapter, datasets, methods
from dann_transfer.ground.settings import Settings
from dann_transfer.model.encoder import Encoder
from dann_transfer.model.heads import DomainDiscriminator, TaskHead, reverse_gradient
from dann_transfer.model.model import Classifier
from dann_transfer.model.runtime import Runtime
from dann_transfer.texts.batches import PairedBatches
from dann_transfer.texts.tokens import Tokens, tokenize
from dann_transfer.training.loop import Trainer

RESULTS = Path(__file__).parent / "results"
CPU = Runtime(torch.device("cpu"), "fp32")


def texts(n: int) -> tuple[list[str], list[str]]:
    """Return n source texts and n target texts."""
    domains = datasets.load("sentiment")
    return tuple(datasets.split(domains[name], n)[0] for name in ("movies", "tweets"))


def floor(
    encoder: Encoder, rows: int, length: int, steps: int, optimizer: torch.optim.Optimizer | None
) -> float:
    """Return tokens per second of forward and backward alone, or with an optimizer's step."""
    ids = torch.randint(1000, 20000, (rows, length))
    mask = torch.ones_like(ids)
    encoder.train()
    started = time.perf_counter()
    for _ in range(steps):
        encoder.zero_grad(set_to_none=True)
        encoder(ids, mask).sum().backward()
        if optimizer is not None:
            optimizer.step()
    return rows * length * steps / (time.perf_counter() - started)


def paired(
    source: Tokens, target: Tokens | None, classes: int = 2, batch: int = 32
) -> PairedBatches:
    """Return the batches that ours trains on; their labels make no difference to speed."""
    return PairedBatches(source, np.arange(len(source)) % classes, target, batch, seed=0)


def ours(
    encoder: Encoder, source: Tokens, target: Tokens, name: str, classes: int = 2, batch: int = 32
) -> float:
    """Return tokens per second of one epoch, without padding."""
    method = methods.create(name)
    method.attach(encoder, 1)
    method.build(encoder.features, classes)
    model = Classifier(encoder, TaskHead(encoder.features, classes))
    batches = paired(source, target if method.uses_target else None, classes, batch)
    rates = {"learning_rate": 1e-6, "head_learning_rate": 1e-4}
    params = {"epochs": 1, "precision": "fp32", "progress": False, **rates}
    settings = Settings.of(params, 0, method.default_strength)
    started = time.perf_counter()
    Trainer(model, method, method.phases(1), batches, settings, CPU).run()
    seconds = time.perf_counter() - started
    return sum(int(batches[k].attention_mask.sum()) for k in range(len(batches))) / seconds


def tutorial(encoder: Encoder, domains: tuple[list[str], list[str]], adversarial: bool) -> float:
    """Return tokens per second of the common loop, without padding and tokenising."""
    encoder.train()
    head, discriminator = TaskHead(encoder.features, 2), DomainDiscriminator(encoder.features)
    parts = [encoder, head, discriminator] if adversarial else [encoder, head]
    optimizer = torch.optim.AdamW([p for part in parts for p in part.parameters()], lr=1e-6)
    padded = [
        encoder.tokenizer(
            each, padding="max_length", truncation=True, max_length=128, return_tensors="pt"
        )
        for each in (domains if adversarial else domains[:1])
    ]
    tokens = sum(int(each["attention_mask"].sum()) for each in padded)
    labels = torch.arange(len(domains[0])) % 2
    started = time.perf_counter()
    for at in range(0, len(labels), 16):
        rows = slice(at, at + 16)
        passes = [encoder(e["input_ids"][rows], e["attention_mask"][rows]) for e in padded]
        loss = F.cross_entropy(head(passes[0]), labels[rows])
        if adversarial:
            features = torch.cat(passes)
            domain = torch.cat([torch.ones(len(passes[0])), torch.zeros(len(passes[1]))])
            logits = discriminator(reverse_gradient(features, 0.2))
            loss = loss + F.binary_cross_entropy_with_logits(logits, domain)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return tokens / (time.perf_counter() - started)


def prediction(rounds: int, n: int) -> dict[str, list[float]]:
    """Return texts per second of our prediction, of a pipeline and of the bare encoder."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    folder = datasets.encoder("minilm")
    source, target = texts(n)
    adapter = DomainAdapter(folder, method="source_only", epochs=1, progress=False)
    adapter.fit(source[:64], ["no", "yes"] * 32)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    pipe = pipeline(
        "text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(folder)
    )
    tokens, _ = tokenize(adapter.encoder_.tokenizer, target, adapter.max_length)
    ids = torch.randint(1000, 20000, (64, round(float(tokens.lengths.mean()))))

    def bare() -> None:
        with torch.inference_mode():
            for rows in ids.repeat(-(-len(target) // 64), 1)[: len(target)].split(64):
                adapter.encoder_(rows, torch.ones_like(rows))

    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, run in (
            ("bare encoder", bare),
            ("predict", lambda: adapter.predict(target)),
            ("pipeline", lambda: pipe(target)),
            ("pipeline, batches of 32", lambda: pipe(target, batch_size=32)),
        ):
            started = time.perf_counter()
            run()
            rate = len(target) / (time.perf_counter() - started)
            found.setdefault(name, []).append(rate)
    return found


def ratios(args: argparse.Namespace) -> None:
    encoder = Encoder.from_pretrained(datasets.encoder("minilm"), freeze_layers=args.freeze_layers)
    domains = texts(args.texts)
    source, target = (tokenize(encoder.tokenizer, each, 128)[0] for each in domains)
    length = round(float(np.concatenate([source.lengths, target.lengths]).mean()))
    few = tuple(each[: args.texts // 4] for each in domains)
    runs: dict[str, list[float]] = {}
    floor(encoder, 64, length, 3, None)
    # All training needs an optimizer, which the floor leaves out.
    adamw = torch.optim.AdamW(encoder.parameters(), lr=1e-9, fused=True)
    for _ in range(args.rounds):
        for name, run in (
            ("floor", lambda: floor(encoder, 64, length, 10, None)),
            ("floor with AdamW", lambda: floor(encoder, 64, length, 10, adamw)),
            ("dann", lambda: ours(encoder, source, target, "dann")),
            ("tutorial dann", lambda: tutorial(encoder, few, True)),
            ("floor, 32 rows", lambda: floor(encoder, 32, length, 20, None)),
            ("source_only", lambda: ours(encoder, source, target, "source_only")),
            ("tutorial source_only", lambda: tutorial(encoder, few, False)),
        ):
            runs.setdefault(name, []).append(run())
    runs |= prediction(args.rounds, args.texts)
    m = {name: statistics.median(values) for name, values in runs.items()}
    for name, values in runs.items():
        unit = "texts/s" if name.startswith(("predict", "pipeline", "bare")) else "tokens/s"
        print(f"{name:24} {m[name]:7.0f} {unit} ({min(values):.0f} to {max(values):.0f})")
    found = {
        "dann / floor": m["dann"] / m["floor"],
        "dann / floor with AdamW": m["dann"] / m["floor with AdamW"],
        "source_only / its floor": m["source_only"] / m["floor, 32 rows"],
        "dann / tutorial": m["dann"] / m["tutorial dann"],
        "source_only / tutorial": m["source_only"] / m["tutorial source_only"],
        "predict / bare encoder": m["predict"] / m["bare encoder"],
        "predict / pipeline": m["predict"] / m["pipeline"],
        "predict / pipeline, batches of 32": m["predict"] / m["pipeline, batches of 32"],
    }
    for name, value in found.items():
        print(f"{name:36} {value:.2f}")
    padding = {"dann": paired(source, target), "source_only": paired(source, None)}
    shares = {name: batches.padding_share(len(batches)) for name, batches in padding.items()}
    print("share of padding", shares)
    row = {"kind": "ratios", "texts": args.texts, "ratios": found, "padding": shares, "runs": runs}
    save({**row, "freeze_layers": args.freeze_layers})


def growth() -> None:
    """Measure time and peak memory of an epoch as one thing grows, each in a fresh process."""
    usual = {"texts": 320, "length": 32, "classes": 2, "batch": 32}
    for name, values in {
        "texts": (160, 320, 640, 1280),
        "length": (16, 32, 64, 128, 256),
        "classes": (2, 12, 40, 77),
        "batch": (8, 16, 32, 64, 128),
    }.items():
        for value in values:
            spec = {**usual, name: value}
            child = [sys.executable, __file__, "--point", json.dumps(spec)]
            out = subprocess.run(child, capture_output=True, text=True, check=True).stdout
            row = json.loads(out.splitlines()[-1])
            print(name, row, flush=True)
            save({"kind": "growth", "over": name, **row})


def point(spec: dict[str, int]) -> None:
    """Measure one point of the growth, with texts that all have the same length."""
    encoder = Encoder.from_pretrained(datasets.encoder("minilm"))
    rng = np.random.default_rng(0)
    n, length = spec["texts"], spec["length"]
    source, target = (
        Tokens(rng.integers(1000, 20000, n * length), np.arange(n + 1) * length) for _ in range(2)
    )
    speed = ours(encoder, source, target, "dann", spec["classes"], spec["batch"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({**spec, "seconds": 2 * n * length / speed, "peak_gib": peak}))


def save(row: dict[str, Any]) -> None:
    row["machine"] = (
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    )
    with (RESULTS / "speed.jsonl").open("a", encoding="utf-8") as out:
        out.write(json.dumps(row) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--freeze-layers", type=int, default=0)
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--point", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.point:
        point(json.loads(args.point))
    elif args.growth:
        growth()
    else:
        ratios(args)


if __name__ == "__main__":
    main()

"""What makes a source-only model reliable: its head's start, its rates, and averaged weights.

    python benchmarks/starts.py --sources movies tweets --seeds 0 1 2 --train-texts 1000
        --test-texts 500 --out benchmarks/results/starts.jsonl

A model of each source, start and seed is tested on every target of the sentiment board. The head
starts at random ("plain"), or as a logistic regression on the features of the pretrained encoder
that is then trained at the encoder's rate (LP-FT: Kumar et al., Fine-Tuning can Distort Pretrained
Features and Underperform Out-of-Distribution, ICLR 2022); "decay" multiplies the rate by 0.8 for
each layer further down. Each model is tested as it is and with its encoder's weights moved part of
the way back to the pretrained ones (WiSE-FT: Wortsman et al., Robust Fine-Tuning of Zero-Shot
Models, CVPR 2022), with one JSON line per test. Two columns of the table need no target labels: the
accuracy on held-out source texts, and the share of the target's texts on which two seeds agree.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import board
import boards
import numpy as np
import tables
import torch
from sklearn.linear_model import LogisticRegression

from dann_transfer import DomainAdapter, datasets, methods
from dann_transfer.methods import Method
from dann_transfer.methods.source_only import SourceOnly
from dann_transfer.model.encoder import Encoder
from dann_transfer.model.model import Classifier, infer, trainable
from dann_transfer.model.runtime import Runtime
from dann_transfer.texts.tokens import tokenize
from dann_transfer.training.phases import Phase, SourceAlone

STARTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "LP-FT": {},
    "decay": {"layer_decay": 0.8},
}
SHARES = (1.0, 0.75, 0.5)
"""Shares of the way from the pretrained weights to the trained ones."""


class ProbedSource(SourceAlone):
    """A source phase whose head starts as a logistic regression on the encoder's features."""

    texts: list[str]
    labels: list[Any]
    max_length: int

    def attach(self, model: Classifier, runtime: Runtime) -> None:
        """Receive the model, and set its head."""
        super().attach(model, runtime)
        tokens, _ = tokenize(model.encoder.tokenizer, self.texts, self.max_length)
        features = infer(model, tokens, runtime)[0].numpy()
        codes = np.unique(self.labels, return_inverse=True)[1]
        # One scale for all: some dimensions hardly vary, and would get weights without bound.
        centre, scale = features.mean(0), features.std()
        probe = LogisticRegression(max_iter=1000).fit((features - centre) / scale, codes)
        weight = probe.coef_ / scale
        bias = probe.intercept_ - weight @ centre
        if len(weight) == 1:
            # With two classes there is one row, for the difference of two logits.
            weight, bias = np.stack([-weight[0], weight[0]]) / 2, np.append(-bias, bias) / 2
        linear = next(m for m in model.head.modules() if isinstance(m, torch.nn.Linear))
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight))
            linear.bias.copy_(torch.from_numpy(bias))


def probing(texts: list[str], labels: list[Any], max_length: int) -> type[Method]:
    """Return a method that is source-only with a probed head."""

    class Probed(SourceOnly):
        def phases(self, epochs: int) -> list[Phase]:
            phase = ProbedSource(self, epochs)
            phase.texts, phase.labels, phase.max_length = texts, labels, max_length
            return [phase]

    return Probed


def run(
    source: str, start: str, seed: int, sample: boards.Sample, encoder: str
) -> list[dict[str, Any]]:
    """Train one model, and return its rows."""
    splits = boards.load("sentiment", sample)
    params = dict(STARTS[start])
    if start == "LP-FT":
        params["head_learning_rate"] = board.by_size(encoder, {})["learning_rate"]
    params |= board.COMMON
    folder = datasets.encoder(encoder)
    adapter = DomainAdapter(folder, method=start, random_state=seed, progress=False, **params)
    held_out = board.held_out(splits[source], adapter.validation_fraction, seed)
    others = set(held_out[0])
    pairs = [(x, y) for x, y in zip(*splits[source].train, strict=True) if x not in others]
    method = SourceOnly
    if start == "LP-FT":
        method = probing([x for x, _ in pairs], [y for _, y in pairs], adapter.max_length)
    with methods.registered(start, method):
        adapter.fit(*splits[source].train)
    tuned = trainable(adapter.model_.encoder)
    first = Encoder.from_pretrained(folder).state_dict()
    rows = []
    for share in SHARES:
        moved = {name: torch.lerp(first[name].to(w), w, share) for name, w in tuned.items()}
        adapter.model_.encoder.load_state_dict(moved, strict=False)
        validation = adapter.score(*held_out)
        for target, split in splits.items():
            T, t = split.test
            predicted = adapter.predict(T)
            rows.append(
                {
                    "encoder": encoder,
                    "source": source,
                    "target": target,
                    "seed": seed,
                    "start": start,
                    "share": share,
                    "validation_accuracy": validation,
                    "accuracy": float(np.mean(predicted == np.array(t))),
                    "predicted": "".join(str(int(p == adapter.classes_[1])) for p in predicted),
                    "settings": {**asdict(sample), **params},
                    **board.made_with(),
                }
            )
    return rows


def agreement(rows: list[dict[str, Any]]) -> float:
    """Return the mean share of texts that two seeds of a model label alike."""
    labels = [np.array(list(row["predicted"])) for row in rows]
    shares = [float((a == b).mean()) for a, b in combinations(labels, 2)]
    return mean(shares) if shares else float("nan")


def table(rows: list[dict[str, Any]]) -> str:
    """One line per encoder, start and share of weights: means over pairs of domains."""
    head = ["encoder", "start", "share of training", "sources", "seeds", "held-out source texts"]
    head += ["own test texts", "target", "spread over seeds", "worst", "seeds agree on"]
    lines = tables.heading(head)
    kinds = dict.fromkeys((row["encoder"], row["start"], row["share"]) for row in rows)
    for kind in kinds:
        own = [r for r in rows if (r["encoder"], r["start"], r["share"]) == kind]
        pairs: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in own:
            pairs.setdefault((row["source"], row["target"]), []).append(row)
        apart = {pair: group for pair, group in pairs.items() if pair[0] != pair[1]}
        at_home = [r["accuracy"] for r in own if r["source"] == r["target"]]
        cells = [*map(str, kind), str(len({r["source"] for r in own}))]
        cells += [str(len({r["seed"] for r in own}))]
        values = [mean(r["validation_accuracy"] for r in own), mean(at_home)]
        values += [mean(mean(r["accuracy"] for r in group) for group in apart.values())]
        several = [group for group in apart.values() if len(group) > 1]
        spreads = [stdev(r["accuracy"] for r in group) for group in several]
        values += [mean(spreads) if spreads else float("nan")]
        values += [min(r["accuracy"] for group in apart.values() for r in group)]
        values += [mean(agreement(group) for group in apart.values())]
        lines.append(tables.row_of(cells + [f"{100 * value:.1f}" for value in values]))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sources", nargs="+", default=["movies", "tweets"])
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=list(STARTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    boards.add_sample(parser, 1000, 500)
    parser.add_argument("--encoder", default="minilm", help="a name that datasets.encoder knows")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    lines = args.out.read_text().splitlines() if args.out.exists() else []
    rows = [json.loads(line) for line in lines]
    done = {
        (r["encoder"], r["source"], r["start"], r["seed"], boards.Sample.of(r["settings"]))
        for r in rows
    }
    sample = boards.sample_of(args)
    for seed in args.seeds:
        for source in args.sources:
            for start in args.starts:
                if (args.encoder, source, start, seed, sample) in done:
                    continue
                made = run(source, start, seed, sample, args.encoder)
                with args.out.open("a") as out:
                    out.writelines(json.dumps(row) + "\n" for row in made)
                rows += made
                print({k: made[0][k] for k in ("source", "start", "seed")}, flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()

"""What knowledge adds to a model of few labelled texts, at the weight that the package finds.

    python benchmarks/knowing.py --sources tweets amazon movies nyt --texts 50 100 --seeds 0 1 2

A model of the sentiment of one domain, trained on a number of its texts, predicts a thousand texts
of each other domain: by itself; with SenticNet's graph of concepts; with the same graph, the ends
of whose edges are shuffled; with SenticNet's polarities as a lexicon; and with graph and lexicon
together. The model knows nothing of the domain that it predicts, so one is trained for all three.
What model and knowledge say is stored by source, so that a killed study goes on where it stopped,
and --again weighs the knowledge again without training. One JSON line for each pair and kind.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from lengths import draw, frame_of
from scipy.special import softmax

from dann_transfer import DomainAdapter, datasets
from dann_transfer.fitting import auto, run
from dann_transfer.fitting.informed import counsel_of
from dann_transfer.fitting.shared import Shared
from dann_transfer.ground.folders import write_whole
from dann_transfer.judging.scores import METRICS
from dann_transfer.judging.weighing import Counsel, inform
from dann_transfer.knowledge import Knowledge, Lexicon
from dann_transfer.model.model import infer
from dann_transfer.model.runtime import Runtime
from dann_transfer.texts.roles import Inputs

DOMAINS = ("tweets", "amazon", "movies", "nyt")
TEXTS = 1000


KINDS = {
    "graph": ("graph",),
    "shuffled graph": ("shuffled graph",),
    "lexicon": ("lexicon",),
    "graph and lexicon": ("graph", "lexicon"),
}
Arrays = dict[str, np.ndarray]


def kinds() -> dict[str, Knowledge]:
    """Return the knowledge to try, by name."""
    graph = datasets.graph("senticnet")
    shuffled = copy.copy(graph)
    shuffled.tails = np.random.default_rng(0).permutation(graph.tails)
    lexicon = Lexicon.of_polarities(datasets.polarities("senticnet"), "positive", "negative")
    return {"graph": graph, "shuffled graph": shuffled, "lexicon": lexicon}


def outputs_of(source: str, n: int, seed: int, known: Mapping[str, Knowledge]) -> Arrays:
    """Train on one domain, and return what model and knowledge say about the others."""
    frame = frame_of("sentiment", source)
    labelled = draw(frame[frame["split"] == "train"], n, seed)
    adapter = DomainAdapter(
        datasets.encoder("minilm"), method="source_only", max_length=64, progress=False
    )
    full = {**adapter.get_params(), "random_state": seed}
    X, y = labelled["text"].tolist(), labelled["label"].tolist()
    texts = run.check(full, Inputs(X, y), auto.created(full))
    shared = Shared()
    trained = run.train(full, seed, texts, shared)
    device = next(trained.model.parameters()).device
    stored: Arrays = {}
    for target in DOMAINS:
        if target == source:
            continue
        frame = frame_of("sentiment", target)
        unlabelled = frame[frame["split"] == "train"].sample(n=TEXTS, random_state=seed)
        test = frame[frame["split"] == "test"].sample(frac=1, random_state=0)[:TEXTS]
        pool = unlabelled["text"].tolist()
        roles = replace(texts, target=pool, n_target=len(pool)).roles(full, seed, 1)
        stored["source codes"] = roles.codes["source"]
        stored[f"{target} codes"] = np.searchsorted(roles.classes, test["label"])
        asked = {"target": pool, "test": test["text"].tolist()}
        for role, listed in asked.items():
            tokens, _ = shared.tokens(trained.model.encoder, full, listed)
            logits = infer(trained.model, tokens, Runtime(device))[1]
            stored[f"{target} {role} logits"] = logits.numpy()
        for kind, each in known.items():
            counsel, weighted = counsel_of([each], roles)
            stored[f"{target} {kind} unseen"] = counsel.source[:, :, 0]
            stored[f"{target} {kind} target"] = counsel.target[:, :, 0]
            stored[f"{target} {kind} test"] = weighted.parts[0].evidence(asked["test"]).values
    return stored


def rows_of(source: str, n: int, seed: int, stored: Mapping[str, np.ndarray]) -> list[Any]:
    """Return what knowledge changes, from what was stored."""
    rows = []
    for target in DOMAINS:
        if target == source:
            continue
        codes = stored[f"{target} codes"]
        pool, p = (
            softmax(stored[f"{target} {role} logits"], axis=1) for role in ("target", "test")
        )
        plain = {name: METRICS[name](codes, p.argmax(1)) for name in ("accuracy", "macro_f1")}
        for name, kinds in KINDS.items():
            unseen, of_target, evidence = (
                np.stack([stored[f"{target} {kind} {role}"] for kind in kinds], 2)
                for role in ("unseen", "target", "test")
            )
            weights = Counsel(unseen, stored["source codes"], of_target).weights(pool)
            informed = inform(p, evidence @ weights).argmax(1)
            row: dict[str, Any] = {"source": source, "target": target, "n": n, "seed": seed}
            row |= {"kind": name, "weights": np.round(weights, 3).tolist()}
            row |= plain | {f"informed_{name}": METRICS[name](codes, informed) for name in plain}
            rows.append(row)
            print(row, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", nargs="+", choices=DOMAINS, default=DOMAINS)
    parser.add_argument("--texts", nargs="+", type=int, default=[50, 100])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--outputs", type=Path, default=Path("runs/knowing"))
    results = Path(__file__).parent / "results"
    parser.add_argument("--out", type=Path, default=results / "knowing.jsonl")
    parser.add_argument("--again", action="store_true", help="weigh again, and train nothing")
    args = parser.parse_args()
    args.outputs.mkdir(parents=True, exist_ok=True)
    rows = []
    known = {} if args.again else kinds()
    for seed in args.seeds:
        for n in args.texts:
            for source in args.sources:
                file = args.outputs / f"{source}-{n}-{seed}.npz"
                if not file.exists() and not args.again:
                    stored = outputs_of(source, n, seed, known)
                    with file.with_suffix(".part").open("wb") as out:
                        np.savez_compressed(out, **stored)
                    file.with_suffix(".part").rename(file)
                if file.exists():
                    with np.load(file) as stored:
                        rows += rows_of(source, n, seed, stored)
    write_whole(args.out, "".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()

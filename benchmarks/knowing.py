"""What knowledge adds to a model of few labelled texts, at the weight that the package finds.

    python benchmarks/knowing.py --sources tweets amazon movies nyt --texts 50 100 --seeds 0 1 2

A model of the sentiment of one domain, trained on a number of its texts, predicts a thousand texts
of each other domain: by itself; with SenticNet's graph of concepts; with the same graph, the ends
of whose edges are shuffled; with SenticNet's polarities as a lexicon; and with graph and lexicon
together. The model knows nothing of the domain that it predicts, so one is trained for all three.
One JSON line for each pair and kind; a killed study goes on where it stopped.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from lengths import draw, frame_of

from dann_transfer import DomainAdapter, datasets
from dann_transfer.fitting import auto, run
from dann_transfer.fitting.informed import counsel_of
from dann_transfer.fitting.shared import Shared
from dann_transfer.judging.scores import METRICS
from dann_transfer.judging.weighing import inform
from dann_transfer.knowledge import Knowledge, Lexicon
from dann_transfer.model.model import infer
from dann_transfer.model.runtime import Runtime
from dann_transfer.texts.roles import Inputs

DOMAINS = ("tweets", "amazon", "movies", "nyt")
TEXTS = 1000


def kinds() -> dict[str, list[Knowledge]]:
    """Return the knowledge to try, by name."""
    graph = datasets.graph("senticnet")
    shuffled = copy.copy(graph)
    shuffled.tails = np.random.default_rng(0).permutation(graph.tails)
    lexicon = Lexicon.of_polarities(datasets.polarities("senticnet"), "positive", "negative")
    return {
        "graph": [graph],
        "shuffled graph": [shuffled],
        "lexicon": [lexicon],
        "graph and lexicon": [graph, lexicon],
    }


def rows_of(source: str, n: int, seed: int, known: dict[str, list[Knowledge]]) -> list[Any]:
    """Train on one domain, and return the rows of the others."""
    frame = frame_of("sentiment", source)
    labelled = draw(frame[frame["split"] == "train"], n, seed)
    adapter = DomainAdapter(
        datasets.encoder("minilm"), method="source_only", max_length=64, progress=False
    )
    full = {**adapter.get_params(), "random_state": seed}
    X, y = labelled["text"].tolist(), labelled["label"].tolist()
    texts = run.check(full, Inputs(X, y), auto.created(full))
    shared = Shared()
    started = time.perf_counter()
    trained = run.train(full, seed, texts, shared)
    seconds = round(time.perf_counter() - started, 1)
    rows = []
    for target in DOMAINS:
        if target == source:
            continue
        frame = frame_of("sentiment", target)
        unlabelled = frame[frame["split"] == "train"].sample(n=TEXTS, random_state=seed)
        test = frame[frame["split"] == "test"].sample(frac=1, random_state=0)[:TEXTS]
        pool = unlabelled["text"].tolist()
        roles = replace(texts, target=pool, n_target=len(pool)).roles(full, seed, 1)
        logits = {}
        asked = {"validation": roles.texts["validation"], "test": test["text"].tolist()}
        for role, listed in asked.items():
            tokens, _ = shared.tokens(trained.model.encoder, full, listed)
            device = next(trained.model.parameters()).device
            logits[role] = infer(trained.model, tokens, Runtime(device))[1]
        p = logits["test"].softmax(1).numpy()
        codes = np.searchsorted(roles.classes, test["label"])
        plain = {name: METRICS[name](codes, p.argmax(1)) for name in ("accuracy", "macro_f1")}
        for kind, knowledge in known.items():
            began = time.perf_counter()
            counsel, weighted = counsel_of(knowledge, roles)
            weights = counsel.weights(logits["validation"].numpy())
            evidence = replace(weighted, weights=weights).evidence(asked["test"])
            informed = inform(p, evidence.values).argmax(1)
            rows.append(
                {
                    "source": source,
                    "target": target,
                    "n": n,
                    "seed": seed,
                    "kind": kind,
                    "weights": [round(float(weight), 3) for weight in weights],
                    "coverage": evidence.coverage,
                    "seconds": seconds,
                    "seconds_of_knowledge": round(time.perf_counter() - began, 1),
                    **plain,
                    **{f"informed_{name}": METRICS[name](codes, informed) for name in plain},
                }
            )
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", nargs="+", choices=DOMAINS, default=DOMAINS)
    parser.add_argument("--texts", nargs="+", type=int, default=[50, 100])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    results = Path(__file__).parent / "results"
    parser.add_argument("--out", type=Path, default=results / "knowing.jsonl")
    args = parser.parse_args()
    lines = args.out.read_text().splitlines() if args.out.exists() else []
    keys = ("source", "n", "seed")
    done = {tuple(json.loads(line)[key] for key in keys) for line in lines}
    known = kinds()
    for seed in args.seeds:
        for n in args.texts:
            for source in args.sources:
                if (source, n, seed) in done:
                    continue
                rows = rows_of(source, n, seed, known)
                with args.out.open("a") as out:
                    out.writelines(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    main()

"""A head for ordered classes against the plain one: VADER's mean valence in five bins.

    python benchmarks/ordinal.py --seeds 0 --train-texts 500 --test-texts 600

The bins lie between the bounds -1.5, -0.5, 0.5 and 1.5 of a valence in [-4, 4] in every domain.
For each of the four domains and each head, one model is trained on the source alone and tested on
all domains, which gives twelve pairs; rows whose source and target are the same are no pair. A row
has the errors of the likeliest and of the median class, so that it shows what is due to the head
and what to the decision. One JSON line a row; a study that was killed goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from dann_transfer import DomainAdapter, datasets
from dann_transfer.judging.answering import answered
from dann_transfer.judging.scores import METRICS, OF_ORDER

OUT = Path(__file__).parent / "results" / "ordinal.jsonl"
BOUNDS = (-1.5, -0.5, 0.5, 1.5)
HEADS = {"plain": False, "ordinal": True}


def splits(n: int, n_test: int, seed: int) -> dict[str, tuple[Any, ...]]:
    """Return training texts, their bins, test texts and their bins, of each domain.

    The test texts are the same for every seed, and no training text is among them.
    """
    parts = {}
    for name, (texts, valences) in datasets.rated().items():
        bins, order = (
            np.digitize(valences, BOUNDS),
            np.random.default_rng(0).permutation(len(texts)),
        )
        test, rest = order[:n_test], order[n_test:]
        train = np.random.default_rng(seed).permutation(rest)[:n]
        train_texts, test_texts = ([texts[i] for i in rows] for rows in (train, test))
        parts[name] = train_texts, bins[train], test_texts, bins[test]
    return parts


def scores(p: np.ndarray, codes: np.ndarray) -> dict[str, float]:
    """Return the scores of the likeliest and of the median class."""
    ranks, row = np.arange(p.shape[1]), {}
    for name, answers in (("likeliest", answered(p)), ("median", answered(p, ranks))):
        for metric, score in ({**METRICS, **OF_ORDER}).items():
            row[f"{name}_{metric}"] = round(score(codes, answers), 5)
    return row


def rows_of(
    source: str, head: str, seed: int, parts: dict[str, tuple[Any, ...]], params: dict[str, Any]
) -> list[dict[str, Any]]:
    """Train a model on one domain, and return its row on each."""
    adapter = DomainAdapter(
        datasets.encoder("minilm"),
        method="source_only",
        ordinal=HEADS[head],
        random_state=seed,
        progress=False,
        **params,
    )
    texts, bins, *_ = parts[source]
    started = time.perf_counter()
    adapter.fit(texts, bins)
    seconds = round(time.perf_counter() - started, 1)
    same = {"source": source, "head": head, "seed": seed, "texts": len(texts), "settings": params}
    rows = []
    for target, (*_, test_texts, codes) in parts.items():
        domain = "source" if target == source else "target"
        p = adapter.predict_proba(test_texts, domain)
        row = {**same, "target": target, "test": len(codes), **scores(p, codes)}
        rows.append({**row, "seconds": seconds})
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--heads", nargs="+", choices=HEADS, default=[*HEADS])
    parser.add_argument("--train-texts", type=int, default=500, help="per domain")
    parser.add_argument("--test-texts", type=int, default=600, help="per domain")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    params = {"max_length": 64}
    lines = args.out.read_text().splitlines() if args.out.exists() else []
    kept = ("source", "head", "seed", "texts")
    done = {tuple(row[key] for key in kept) for row in map(json.loads, lines)}
    for seed in args.seeds:
        parts = splits(args.train_texts, args.test_texts, seed)
        for source in parts:
            for head in args.heads:
                if (source, head, seed, args.train_texts) not in done:
                    rows = rows_of(source, head, seed, parts, params)
                    with args.out.open("a") as out:
                        out.writelines(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    main()

"""Pairs x methods x seeds, one JSON line a run; a killed board goes on where it stopped.

    python benchmarks/board.py --pairs movies:tweets tweets:nyt --methods source_only dann
        --seeds 0 1 2 --set freeze_layers=3 --out benchmarks/results/sentiment.jsonl

Protocol: 30 % of each domain, drawn once, is its test set. Of the rest, at most 2,400 texts
train; several sources, joined as in amazon+movies:tweets, share them. The target's labels are used
by nothing but the final score and the row `target_trained`.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from sklearn.metrics import accuracy_score, f1_score

from dann_transfer import DomainAdapter, datasets, methods
from dann_transfer.diagnostics import proxy_a_distance
from dann_transfer.label_shift import correct

BASELINES = {"source_only", "target_trained"}
ADAPTATION = (
    "max_strength",
    "strength_schedule",
    "method_options",
    "discriminator_learning_rate",
)


# What does not change a result, or is recorded beside it.
UNRECORDED = {"encoder", "method", "random_state", "progress", "device", "checkpoint_dir"}


def settings_of(method: str, train_texts: int, params: dict[str, Any]) -> dict[str, Any]:
    """Return every hyperparameter of a run, defaults included, so that a row explains itself."""
    name = "source_only" if method in BASELINES else method
    full = {**DomainAdapter(**params).get_params(), "train_texts": train_texts}
    if full["max_strength"] is None:
        full["max_strength"] = methods.create(name, full["method_options"]).default_strength
    if method in BASELINES:
        # A baseline does not depend on what belongs to adaptation alone, so it is run once.
        for key in ADAPTATION:
            del full[key]
    return {key: value for key, value in sorted(full.items()) if key not in UNRECORDED}


def run(
    source: str, target: str, method: str, seed: int, train_texts: int, params: dict[str, Any]
) -> dict[str, Any]:
    domains = datasets.load("sentiment")
    names = source.split("+")
    splits = {name: datasets.split(domains[name], train_texts // len(names)) for name in names}
    X_test = [text for name in names for text in splits[name][1]]
    y_test = [label for name in names for label in splits[name][3]]
    X: Any = {name: (splits[name][0], splits[name][2]) for name in names}
    X, y = (X, None) if len(names) > 1 else X[source]
    T, T_test, t, t_test = datasets.split(domains[target], train_texts)
    started = time.perf_counter()
    name = "source_only" if method in BASELINES else method
    adapter = DomainAdapter(
        datasets.encoder("minilm"), method=name, random_state=seed, progress=False, **params
    )
    if method == "target_trained":
        adapter.fit(T, t)
    else:
        # Source-only does not train on the target's texts; its class shares are estimated there.
        adapter.fit(X, y, X_target=T)
    seconds = time.perf_counter() - started
    # One pass over each test set gives features and predictions both.
    (source_features, p_source), (target_features, p_target) = map(
        adapter._forward, (X_test, T_test)
    )
    predicted = adapter.classes_[p_target.argmax(1)]
    corrected = {}
    for kind, prior in adapter.target_prior_.items():
        guess = adapter.classes_[correct(p_target, adapter.source_prior_, prior).argmax(1)]
        corrected[f"target_accuracy_{kind}"] = accuracy_score(t_test, guess)
    last = adapter.history_[-50:]
    accuracies = [row["domain_accuracy"] for row in last if "domain_accuracy" in row]
    return {
        "board": "sentiment",
        "source": source,
        "target": target,
        "method": method,
        "seed": seed,
        "target_accuracy": accuracy_score(t_test, predicted),
        "target_macro_f1": f1_score(t_test, predicted, average="macro"),
        **corrected,
        "source_accuracy": accuracy_score(y_test, adapter.classes_[p_source.argmax(1)]),
        "a_distance": proxy_a_distance(source_features, target_features),
        "domain_accuracy": sum(accuracies) / len(accuracies) if accuracies else None,
        "predicted_positive": float((predicted == "positive").mean()),
        "prior": {kind: prior.tolist() for kind, prior in adapter.target_prior_.items()},
        "seconds": seconds,
        "settings": settings_of(method, train_texts, params),
        "validation": adapter.validation_,
        "versions": {name: version(name) for name in ("torch", "transformers", "dann_transfer")},
        "machine": (
            f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
        ),
    }


def _key(row: dict[str, Any]) -> str:
    kept = {key: row[key] for key in ("board", "source", "target", "method", "seed")}
    # A keyword that is off is as good as absent: rows stay valid when one is added later.
    kept["settings"] = {k: v for k, v in row["settings"].items() if v is not None}
    return json.dumps(kept, sort_keys=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", nargs="+", default=["movies:tweets", "tweets:nyt"])
    parser.add_argument("--methods", nargs="+", default=["source_only", "dann"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--train-texts", type=int, default=2400)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/sentiment.jsonl"))
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no run after")
    args = parser.parse_args()
    params = {}
    for item in args.set:
        key, value = item.split("=", 1)
        params[key] = ast.literal_eval(value)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    lines = args.out.read_text().splitlines() if args.out.exists() else []
    done = {_key(json.loads(line)) for line in lines}
    deadline = time.monotonic() + 60 * args.minutes
    for seed in args.seeds:
        for pair in args.pairs:
            source, target = pair.split(":")
            for method in args.methods:
                settings = settings_of(method, args.train_texts, params)
                row = {"board": "sentiment", "source": source, "target": target}
                row |= {"method": method, "seed": seed, "settings": settings}
                if _key(row) in done:
                    continue
                if time.monotonic() > deadline:
                    return
                row = run(source, target, method, seed, args.train_texts, params)
                with args.out.open("a") as out:
                    out.write(json.dumps(row) + "\n")
                keys = ("source", "target", "method", "seed", "target_accuracy", "target_macro_f1")
                keys += ("source_accuracy", "a_distance", "domain_accuracy", "seconds")
                print({k: row[k] for k in keys}, params, flush=True)


if __name__ == "__main__":
    main()

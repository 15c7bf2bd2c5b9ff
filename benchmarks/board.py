"""Pairs x methods x seeds, one JSON line a run; a killed board goes on where it stopped.

    python benchmarks/board.py --board sentiment --pairs movies:tweets tweets:nyt
        --methods source_only dann --seeds 0 1 2 --set freeze_layers=3

Protocol of the sentiment board: 30 % of each domain, drawn once, is its test set. Of the rest, at
most 2,400 texts train; several sources, joined as in amazon+movies:tweets, share them. The other
boards have splits of their own (`boards.py`). The target's labels are used by nothing but the
final score and the row `target_trained`.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import platform
import time
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import boards
import numpy as np
import torch
from sklearn.metrics import accuracy_score, f1_score

from dann_transfer import DomainAdapter, datasets, methods, selection
from dann_transfer.decision import labels
from dann_transfer.diagnostics import proxy_a_distance
from dann_transfer.label_shift import correct
from dann_transfer.settings import ADAPTATION

BASELINES = {"source_only", "target_trained"}
# What does not change a result, or is recorded beside it.
UNRECORDED = {
    "encoder", "method", "random_state", "progress", "device", "checkpoint_dir", "checkpoint_every",
}  # fmt: skip


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


_load = lru_cache(boards.load)
Seen = dict[int, tuple[np.ndarray, np.ndarray]]


def _adapter(method: str, seed: int, params: dict[str, Any]) -> DomainAdapter:
    encoder = datasets.encoder("minilm")
    return DomainAdapter(encoder, method=method, random_state=seed, progress=False, **params)


@lru_cache(maxsize=8)
def _trained(
    board: str, domain: str, validated: bool, seed: int, train_texts: int, params: str
) -> tuple[DomainAdapter, float, Seen]:
    """Train on one domain alone. All its pairs share the model: no target text enters it."""
    split = _load(board, train_texts)[domain]
    adapter = _adapter("source_only", seed, ast.literal_eval(params))
    started = time.perf_counter()
    validation = split.validation if validated else None
    X_val, y_val = validation or (None, None)
    adapter.fit(*split.train, X_val=X_val, y_val=y_val)
    return adapter, time.perf_counter() - started, {}


def run(
    board: str,
    source: str,
    target: str,
    method: str,
    seed: int,
    train_texts: int,
    params: dict[str, Any],
) -> dict[str, Any]:
    names = source.split("+")
    parts = _load(board, train_texts // len(names))
    # A target keeps its share of the texts, however many sources share theirs.
    goal = _load(board, train_texts)[target] if len(names) > 1 else parts[target]
    tests = [parts[name].own_test or parts[name].test for name in names]
    X_test, y_test = tests[0]
    if len(names) > 1:
        X_test, y_test = ([value for test in tests for value in test[i]] for i in (0, 1))
    T_test, t_test = goal.test
    if method == "target_trained":
        T_test, t_test = goal.own_test or goal.test
        # Amazon's validation texts are what it is tested on.
        adapter, seconds, seen = _trained(board, target, False, seed, train_texts, repr(params))
    elif method == "source_only" and len(names) == 1:
        validated = parts[source].validation is not None
        adapter, seconds, seen = _trained(board, source, validated, seed, train_texts, repr(params))
    else:
        X: Any = {name: parts[name].train for name in names}
        y = None
        validation: dict[str, Any] = {}
        if len(names) == 1:
            X, y = X[source]
            if (own := parts[source].validation) is not None:
                validation = {"X_val": own[0], "y_val": own[1]}
        adapter = _adapter(method, seed, params)
        started = time.perf_counter()
        adapter.fit(X, y, X_target=goal.unlabelled, **validation)
        seconds, seen = time.perf_counter() - started, {}
    # One pass over each test set gives features and predictions both; models that several pairs
    # share pass over it once. The lists live as long as `_load`, and so do their ids.
    for texts in (X_test, T_test):
        if id(texts) not in seen:
            seen[id(texts)] = adapter.outputs(texts)
    (source_features, p_source), (target_features, p_target) = seen[id(X_test)], seen[id(T_test)]
    predicted = labels(p_target, adapter.classes_)
    corrected = {}
    for kind, prior in adapter.target_prior_.items():
        calibration = adapter.calibration_
        calibrated = calibration.probabilities(np.log(p_target.clip(min=1e-30)))
        guess = labels(correct(calibrated, calibration.prior, prior), adapter.classes_)
        corrected[f"target_accuracy_{kind}"] = accuracy_score(t_test, guess)
    last = adapter.history_[-50:]
    accuracies = [row["domain_accuracy"] for row in last if "domain_accuracy" in row]
    predicted_source = labels(p_source, adapter.classes_)
    guessed = predicted_source == np.array(y_test)
    # What could be known without target labels; whether it goes with accuracy is the question.
    criteria = {
        "information_maximization": selection.information_maximization(p_target),
        "neighborhood_density": selection.neighborhood_density(p_target),
        "deep_embedded_validation": selection.deep_embedded_validation(
            source_features, guessed, target_features
        ),
    }
    found = np.bincount(p_target.argmax(1), minlength=len(adapter.classes_)) / len(t_test)
    return {
        "board": board,
        "source": source,
        "target": target,
        "method": method,
        "seed": seed,
        "target_accuracy": accuracy_score(t_test, predicted),
        "target_macro_f1": f1_score(t_test, predicted, average="macro"),
        **corrected,
        "source_accuracy": accuracy_score(y_test, predicted_source),
        "a_distance": proxy_a_distance(source_features, target_features),
        "domain_accuracy": sum(accuracies) / len(accuracies) if accuracies else None,
        "predicted": dict(zip(map(str, adapter.classes_), found.tolist(), strict=True)),
        "criteria": criteria,
        "prior": {kind: prior.tolist() for kind, prior in adapter.target_prior_.items()},
        "seconds": seconds,
        "settings": settings_of(method, train_texts, params),
        "validation": adapter.validation_,
        "versions": {name: version(name) for name in ("torch", "transformers", "dann_transfer")},
        "machine": (
            f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
        ),
    }


def key_of(row: dict[str, Any]) -> str:
    """Return what a run is known by."""
    kept = {key: row[key] for key in ("board", "source", "target", "method", "seed")}
    # A keyword that is off is as good as absent: rows stay valid when one is added later.
    kept["settings"] = {k: v for k, v in row["settings"].items() if v is not None}
    return json.dumps(kept, sort_keys=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--board", choices=boards.DOMAINS, default="sentiment")
    parser.add_argument("--pairs", nargs="+", help="source:target ...; all of the board if absent")
    parser.add_argument("--methods", nargs="+", default=["source_only", "dann"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--train-texts", type=int, default=2400)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, help="benchmarks/results/BOARD.jsonl if absent")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no run after")
    args = parser.parse_args()
    params = {}
    for item in args.set:
        key, value = item.split("=", 1)
        params[key] = ast.literal_eval(value)
    if args.out is None:
        args.out = Path(__file__).parent / "results" / f"{args.board}.jsonl"
    args.out.parent.mkdir(parents=True, exist_ok=True)
    pairs = args.pairs or [":".join(pair) for pair in boards.pairs(args.board)]
    lines = args.out.read_text().splitlines() if args.out.exists() else []
    done = {key_of(json.loads(line)) for line in lines}
    deadline = time.monotonic() + 60 * args.minutes
    for seed in args.seeds:
        for pair in pairs:
            source, target = pair.split(":")
            for method in args.methods:
                settings = settings_of(method, args.train_texts, params)
                row = {"board": args.board, "source": source, "target": target}
                row |= {"method": method, "seed": seed, "settings": settings}
                if key_of(row) in done:
                    continue
                if time.monotonic() > deadline:
                    return
                row = run(args.board, source, target, method, seed, args.train_texts, params)
                with args.out.open("a") as out:
                    out.write(json.dumps(row) + "\n")
                keys = ("source", "target", "method", "seed", "target_accuracy", "target_macro_f1")
                keys += ("source_accuracy", "a_distance", "domain_accuracy", "seconds")
                print({k: row[k] for k in keys}, params, flush=True)


if __name__ == "__main__":
    main()

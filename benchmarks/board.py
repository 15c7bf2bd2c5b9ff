"""Pairs x methods x seeds, one JSON line per run; a killed board resumes where it stopped.

    python benchmarks/board.py --board sentiment --pairs movies:tweets tweets:nyt
        --methods source_only dann --seeds 0 1 2 --set freeze_layers=3

    python benchmarks/board.py --encoder mpnet --train-texts 1000 --seeds 0 --minutes 150
        --set learning_rate=2e-5 max_length=128 --outputs runs/outputs

With --outputs, each run stores its features (in half precision) and probabilities of target-train,
source-validation and test texts in one .npz file, so that trying an idea that acts after training
takes seconds; a run that is killed resumes where it stopped.

Protocol of the sentiment board: 30 % of each domain, drawn once, is its test set. At most 2,400 of
the other texts are used for training; several sources, joined as in amazon+movies:tweets, share
this number. The other boards have splits of their own (`boards.py`). --test-texts N uses the first
N texts of each test set, which is in random order, because at base size testing takes as long as
training. --split N draws other training and test texts (`boards.Sample`). Only the final score and
the row `target_trained` use the target's labels.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import platform
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import boards
import numpy as np
import torch
from dann_transfer.decision import labels
from dann_transfer.diagnostics import proxy_a_distance
from dann_transfer.label_shift import correct
from sklearn.metrics import accuracy_score, f1_score

from dann_transfer import DomainAdapter, datasets, methods, selection
from dann_transfer.ground.settings import ADAPTATION, Settings
from dann_transfer.model.runtime import Runtime
from dann_transfer.texts.weights import hold_out

# Parameters of each encoder, and how many of its layers are frozen by default.
SIZES = {"minilm": (22_700_000, 0), "mpnet": (109_000_000, 6)}
BASELINES = {"source_only", "target_trained"}
# Settings of every run, whatever the package's defaults are; --set KEY=VALUE takes others.
COMMON = {"epochs": 3, "validation_tolerance": 1.0}
# Settings that do not change a result, or that are recorded elsewhere in the row.
UNRECORDED = {
    "encoder", "method", "random_state", "progress", "device", "checkpoint_dir", "checkpoint_every",
}  # fmt: skip


def by_size(encoder: str, params: dict[str, Any]) -> dict[str, Any]:
    """Return the defaults that depend on the encoder's size; each row records them."""
    size, frozen = SIZES[encoder]
    rate = Settings.of(params, 0, 0.0, size).learning_rate
    usual = {**COMMON, "pooling": "mean"}
    return {"learning_rate": rate, "freeze_layers": frozen, **usual}


def settings_of(
    method: str,
    sample: boards.Sample,
    params: dict[str, Any],
    encoder: str = "minilm",
) -> dict[str, Any]:
    """Return every hyperparameter of a run, defaults included, so that a row explains itself."""
    name = "source_only" if method in BASELINES else method
    texts = {key: value for key, value in asdict(sample).items() if value is not None}
    full = {**DomainAdapter(**params).get_params(), **texts}
    if full["max_strength"] is None:
        full["max_strength"] = methods.create(name, full["method_options"]).default_strength
    for key, value in by_size(encoder, params).items():
        if full[key] is None:
            full[key] = value
    full["precision"] = Runtime.of(full["device"], full["precision"]).kind
    if method in BASELINES:
        # A baseline does not depend on settings that only affect adaptation, so it is run once.
        for key in (*ADAPTATION, "target_texts"):
            full.pop(key, None)
    return {key: value for key, value in sorted(full.items()) if key not in UNRECORDED}


_load = lru_cache(boards.load)
Seen = dict[int, tuple[np.ndarray, np.ndarray]]


def _adapter(method: str, seed: int, params: dict[str, Any], encoder: str) -> DomainAdapter:
    folder = datasets.encoder(encoder)
    return DomainAdapter(folder, method=method, random_state=seed, progress=False, **params)


def _fit(adapter: DomainAdapter, folder: Path | None, *args: Any, **kwargs: Any) -> float:
    """Fit, resuming a killed run if a folder is given, and return the seconds."""
    started = time.perf_counter()
    adapter.set_params(checkpoint_dir=folder).fit(*args, **kwargs)
    if folder is not None:
        shutil.rmtree(folder)
    return time.perf_counter() - started


# Few, because a base-size encoder takes half a gigabyte.
@lru_cache(maxsize=4)
def _trained(
    board: str,
    domain: str,
    validated: bool,
    seed: int,
    sample: boards.Sample,
    params: str,
    encoder: str,
    outputs: Path | None,
) -> tuple[DomainAdapter, float, Seen]:
    """Train on one domain alone. All its pairs share the model, which sees no target text."""
    split = _load(board, sample)[domain]
    adapter = _adapter("source_only", seed, ast.literal_eval(params), encoder)
    validation = split.validation if validated else None
    X_val, y_val = validation or (None, None)
    name = f"{board}-{domain}-{seed}-{sha256(repr((sample, params)).encode()).hexdigest()[:8]}"
    folder = outputs and outputs / "checkpoints" / name
    return adapter, _fit(adapter, folder, *split.train, X_val=X_val, y_val=y_val), {}


def _test_of(parts: list[boards.Split]) -> tuple[list[str], list[Any]]:
    """Return the test texts and labels of a source, or of several together."""
    tests = [part.own_test or part.test for part in parts]
    if len(tests) == 1:
        return tests[0]
    X, y = ([value for test in tests for value in test[i]] for i in (0, 1))
    return X, y


def _corrected(adapter: DomainAdapter, p: np.ndarray, y: list[Any]) -> dict[str, float]:
    """Return the accuracy on the target after a correction by each estimated prior."""
    accuracies = {}
    for kind, prior in adapter.target_prior_.items():
        calibration = adapter.calibration_
        calibrated = calibration.probabilities(np.log(p.clip(min=1e-30)))
        predicted = labels(correct(calibrated, calibration.prior, prior), adapter.classes_)
        accuracies[f"target_accuracy_{kind}"] = accuracy_score(y, predicted)
    return accuracies


def _domain_accuracy(adapter: DomainAdapter) -> float | None:
    """Return the discriminator's mean accuracy in the last steps, if there is one."""
    last = adapter.history_[-50:]
    accuracies = [row["domain_accuracy"] for row in last if "domain_accuracy" in row]
    return sum(accuracies) / len(accuracies) if accuracies else None


def _criteria(
    source: np.ndarray, right: np.ndarray, target: np.ndarray, p: np.ndarray
) -> dict[str, float]:
    """Return scores that need no target labels; do they correlate with accuracy?"""
    return {
        "information_maximization": selection.information_maximization(p),
        "neighborhood_density": selection.neighborhood_density(p),
        "deep_embedded_validation": selection.deep_embedded_validation(source, right, target),
    }


def run(
    board: str,
    source: str,
    target: str,
    method: str,
    seed: int,
    sample: boards.Sample,
    params: dict[str, Any],
    encoder: str = "minilm",
    outputs: Path | None = None,
) -> dict[str, Any]:
    names = source.split("+")
    parts = _load(board, replace(sample, train_texts=sample.train_texts // len(names)))
    # The target keeps its number of texts, however many sources share theirs.
    goal = _load(board, sample)[target] if len(names) > 1 else parts[target]
    X_test, y_test = _test_of([parts[name] for name in names])
    T_test, t_test = goal.test
    alone = (seed, sample, repr(params), encoder, outputs and outputs.parent)
    if method == "target_trained":
        T_test, t_test = goal.own_test or goal.test
        # Amazon's validation texts serve as its test texts here.
        adapter, seconds, seen = _trained(board, target, False, *alone)
    elif method == "source_only" and len(names) == 1:
        validated = parts[source].validation is not None
        adapter, seconds, seen = _trained(board, source, validated, *alone)
    else:
        X: Any = {name: parts[name].train for name in names}
        y = None
        validation: dict[str, Any] = {}
        if len(names) == 1:
            X, y = X[source]
            if (own := parts[source].validation) is not None:
                validation = {"X_val": own[0], "y_val": own[1]}
        adapter = _adapter(method, seed, params, encoder)
        folder = outputs and outputs.parent / "checkpoints" / outputs.stem
        seconds = _fit(adapter, folder, X, y, X_target=goal.unlabelled, **validation)
        seen = {}
    # One pass over each test set gives both features and predictions; a model that several pairs
    # share makes this pass once. `_load` keeps the lists alive, so their ids stay valid.
    for texts in (X_test, T_test):
        if id(texts) not in seen:
            seen[id(texts)] = adapter.outputs(texts)
    (source_features, p_source), (target_features, p_target) = seen[id(X_test)], seen[id(T_test)]
    predicted = labels(p_target, adapter.classes_)
    predicted_source = labels(p_source, adapter.classes_)
    guessed = predicted_source == np.array(y_test)
    shares = np.bincount(p_target.argmax(1), minlength=len(adapter.classes_)) / len(t_test)
    if outputs is not None:
        stored = {"source_test": seen[id(X_test)], "target_test": seen[id(T_test)]}
        texts_of = {"target_train": goal.unlabelled}
        if source in parts:
            held = held_out(parts[source], adapter.validation_fraction, adapter.seed_)
            texts_of["source_validation"] = held[0]
        _keep(outputs, stored | {name: adapter.outputs(t) for name, t in texts_of.items() if t})
    return {
        "board": board,
        **({} if encoder == "minilm" else {"encoder": encoder}),
        "source": source,
        "target": target,
        "method": method,
        "seed": seed,
        "target_accuracy": accuracy_score(t_test, predicted),
        "target_macro_f1": f1_score(t_test, predicted, average="macro"),
        **_corrected(adapter, p_target, t_test),
        "source_accuracy": accuracy_score(y_test, predicted_source),
        "a_distance": proxy_a_distance(source_features, target_features),
        "domain_accuracy": _domain_accuracy(adapter),
        "predicted": dict(zip(map(str, adapter.classes_), shares.tolist(), strict=True)),
        "criteria": _criteria(source_features, guessed, target_features, p_target),
        "prior": {kind: prior.tolist() for kind, prior in adapter.target_prior_.items()},
        "seconds": seconds,
        "settings": settings_of(method, sample, params, encoder),
        "validation": adapter.validation_,
        **made_with(),
    }


def made_with() -> dict[str, Any]:
    """Return a row's fields about the versions and the machine that it was measured with."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    if torch.cuda.is_available():
        machine += f", {torch.cuda.get_device_name()}, {torch.get_float32_matmul_precision()}"
    return {
        "versions": {name: version(name) for name in ("torch", "transformers", "dann_transfer")},
        "machine": machine,
    }


def params_of(items: list[str]) -> dict[str, Any]:
    """Read keywords from the command line: KEY=VALUE, with the value as a Python literal."""
    return {key: ast.literal_eval(value) for key, value in (item.split("=", 1) for item in items)}


def held_out(split: boards.Split, fraction: float, seed: int) -> tuple[list[str], list[Any]]:
    """Return the source texts that were used to choose the epoch, and their labels."""
    if split.validation is not None:
        return split.validation
    texts, labels = split.train
    codes = np.unique(labels, return_inverse=True)[1]
    rows = hold_out(codes, fraction, seed)[1]
    return [texts[i] for i in rows], [labels[i] for i in rows]


def _keep(file: Path, made: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Write a model's features and probabilities, completely or not at all."""
    arrays = {f"{name}.features": x.astype(np.float16) for name, (x, _) in made.items()}
    arrays |= {f"{name}.probabilities": p for name, (_, p) in made.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    with part.open("wb") as out:
        np.savez(out, **arrays)
    part.replace(file)


def name_of(row: dict[str, Any]) -> str:
    """Return the name of a run's files."""
    digest = sha256(key_of(row).encode()).hexdigest()[:8]
    parts = (row["board"], row["source"], row["target"], row["method"], row["seed"], digest)
    return "-".join(map(str, parts))


def acting(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that are not off: rows stay valid when a keyword is added later."""
    off = {
        "layer_decay": 1.0,
        "torch_compile": False,
        "metric": "accuracy",
        "use_knowledge": False,
        "ordinal": False,
    }
    return {k: v for k, v in settings.items() if v is not None and (k, v) not in off.items()}


def key_of(row: dict[str, Any]) -> str:
    """Return the key that identifies a run."""
    kept = {key: row[key] for key in ("board", "source", "target", "method", "seed")}
    # Older rows do not name the encoder, since there was only one.
    if "encoder" in row:
        kept["encoder"] = row["encoder"]
    kept["settings"] = acting(row["settings"])
    return json.dumps(kept, sort_keys=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--board", choices=boards.DOMAINS, default="sentiment")
    parser.add_argument("--pairs", nargs="+", help="source:target ...; default: all pairs")
    parser.add_argument("--methods", nargs="+", default=["source_only", "dann"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    boards.add_sample(parser, 2400)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--encoder", default="minilm", help="a name that datasets.encoder knows")
    parser.add_argument("--outputs", type=Path, help="folder for the outputs of each run")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/BOARD.jsonl")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no run after")
    args = parser.parse_args()
    params, sample = COMMON | params_of(args.set), boards.sample_of(args)
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
                settings = settings_of(method, sample, params, args.encoder)
                row = {"board": args.board, "source": source, "target": target}
                row |= {"method": method, "seed": seed, "settings": settings}
                if args.encoder != "minilm":
                    row["encoder"] = args.encoder
                if key_of(row) in done:
                    continue
                if time.monotonic() > deadline:
                    return
                kept = args.outputs and args.outputs / f"{name_of(row)}.npz"
                run_of = (args.board, source, target, method, seed, sample)
                row = run(*run_of, params, args.encoder, kept)
                with args.out.open("a") as out:
                    out.write(json.dumps(row) + "\n")
                keys = ("source", "target", "method", "seed", "target_accuracy", "target_macro_f1")
                keys += ("source_accuracy", "a_distance", "domain_accuracy", "seconds")
                print({k: row[k] for k in keys}, params, flush=True)


if __name__ == "__main__":
    main()

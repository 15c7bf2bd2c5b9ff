"""Targets with other classes than the source: new ones, or fewer. One JSON line a model.

    python benchmarks/openset.py --cells open:banking:clinc150:banking77:600 --seeds 0
        open:intents:clinc150-short:clinc150-long:600:33 partial:banking:clinc150:banking77:600

A cell is "open" or "partial", a board, source, target, number of texts of each, and, if any, a
number of classes, drawn by seed 0. In an open cell the source lacks a third of the classes, and in
a partial one the target lacks half; which, is drawn by seed 0. The models of a cell and seed share
their source phase. With --outputs, what they make of the texts is stored. A killed study goes on
where it stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lengths import draw, frame_of

from dann_transfer import DomainAdapter, datasets
from dann_transfer.fitting import run
from dann_transfer.fitting.predicting import predict_tokens
from dann_transfer.fitting.shared import Shared
from dann_transfer.judging.decision import decided
from dann_transfer.judging.scores import METRICS, open_set
from dann_transfer.texts.labels import class_positions
from dann_transfer.texts.roles import Inputs

OUT = Path(__file__).parent / "results" / "openset.jsonl"
TEST = 600
UNKNOWN = "new class"
# What is trained on a cell of each kind: names in the table, methods, and their settings.
MODELS: dict[str, dict[str, dict[str, Any]]] = {
    "open": {
        "source_only": {"method": "source_only", "unknown": UNKNOWN},
        "student": {"method": "student"},
        "student, unknown": {"method": "student", "unknown": UNKNOWN},
    },
    "partial": {
        "source_only": {"method": "source_only"},
        "student": {"method": "student"},
        "student, partial": {"method": "student", "method_options": {"partial": True}},
    },
}


def texts_of(cell: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return labelled source texts, target texts and target test texts."""
    kind, board, source, target, size, *number = cell.split(":")
    frames = [frame_of(board, domain) for domain in (source, target)]
    counts = frames[0].loc[frames[0]["split"] == "train", "label"].value_counts()
    kept = sorted(set(counts[counts >= 4].index) & set(frames[1]["label"]))
    order = np.random.default_rng(0).permutation(kept)
    order = order[: int(number[0])] if number else order
    k = len(order)
    of_source = order[k // 3 :] if kind == "open" else order
    of_target = order[k // 2 :] if kind == "partial" else order
    own, other = (
        frame[frame["label"].isin(classes)]
        for frame, classes in zip(frames, (of_source, of_target), strict=True)
    )
    train = draw(own[own["split"] == "train"], int(size), seed)
    goal = other[other["split"] == "train"].sample(frac=1, random_state=seed)[: int(size)]
    return train, goal, other[other["split"] == "test"].sample(frac=1, random_state=0)[:TEST]


def best_threshold(p: np.ndarray, codes: np.ndarray) -> dict[str, float]:
    """Return the rates of the threshold on the largest probability that is best on these texts."""
    likeliest, new = p.argmax(1), p.shape[1]
    thresholds = np.quantile(p.max(1), np.linspace(0, 1, 201))
    tried = (open_set(codes, np.where(p.max(1) < t, new, likeliest), new) for t in thresholds)
    return max(tried, key=lambda rates: rates["h_score"])


def scores(p: np.ndarray, new: np.ndarray | None, codes: np.ndarray) -> dict[str, Any]:
    """Return the scores of a model on target test texts."""
    k = p.shape[1]
    known = codes < k
    row: dict[str, Any] = {
        # Of texts of the source's classes, and whatever is answered as new.
        "alone": METRICS["accuracy"](codes[known], p[known].argmax(1)),
        "macro_f1": METRICS["macro_f1"](codes[known], p[known].argmax(1)),
    }
    if not known.all():
        row |= {f"oracle_{name}": value for name, value in best_threshold(p, codes).items()}
        row |= {} if new is None else open_set(codes, decided(p, new), k)
    else:
        row["absent_predicted"] = float(np.mean(~np.isin(p.argmax(1), codes)))
    return row


def group(
    cell: str, seed: int, params: dict[str, Any], outputs: Path | None
) -> list[dict[str, Any]]:
    """Train the models of a cell, and return their rows."""
    labelled, unlabelled, test = texts_of(cell, seed)
    adapter = DomainAdapter(datasets.encoder("minilm"), random_state=seed, progress=False)
    shared, rows = Shared(), []
    stored: dict[str, np.ndarray] = {}
    for name, settings in MODELS[cell.split(":")[0]].items():
        full = {**adapter.get_params(), **params, **settings}
        created = {name: run.create(full["method"], full["method_options"], None, 32)}
        X, y = labelled["text"].tolist(), labelled["label"].tolist()
        texts = run.check(full, Inputs(X, y, unlabelled["text"].tolist()), created)
        started = time.perf_counter()
        trained = run.train(full, seed, texts, shared)
        seconds = time.perf_counter() - started + trained.fitted.trained.get("shared_seconds", 0.0)
        fitted, made = trained.fitted, {}
        for role, frame in (("target", unlabelled), ("test", test)):
            tokens, _ = shared.tokens(trained.model.encoder, full, frame["text"].tolist())
            made[role] = predict_tokens(trained, full, tokens)
            stored[f"{name}.{role}.features"] = made[role].features.astype(np.float16)
            stored[f"{name}.{role}.probabilities"] = made[role].probabilities
        codes = class_positions(test["label"].to_numpy(str), fitted.classes)
        codes[codes < 0] = len(fitted.classes)
        new = None if trained.novelty is None else trained.novelty.is_new(made["test"].features)
        row: dict[str, Any] = {"cell": cell, "seed": seed, "model": name, "settings": params}
        row |= {"texts": len(labelled), "target_texts": len(unlabelled), "test": len(test)}
        row |= {
            "classes": len(fitted.classes),
            "new_texts": float(np.mean(codes == len(fitted.classes))),
        }
        row |= scores(made["test"].probabilities, new, codes)
        row["priors"] = {kind: prior.tolist() for kind, prior in fitted.target_prior.items()}
        row["intervals"] = {k: np.round(v, 4).tolist() for k, v in fitted.prior_intervals.items()}
        row |= {"refused": fitted.refused_prior, "seconds": round(seconds, 1)}
        row["findings"] = [finding.name for finding in fitted.findings or ()]
        rows.append(row)
        print(row, flush=True)
    if outputs is not None:
        outputs.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(outputs / f"{cell.replace(':', '-')}-{seed}.npz", **stored)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", nargs="+", required=True)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--outputs", type=Path, help="store features and probabilities here")
    args = parser.parse_args()
    lines = args.out.read_text().splitlines() if args.out.exists() else []
    done = {(row["cell"], row["seed"]) for row in map(json.loads, lines)}
    for seed in args.seeds:
        for cell in args.cells:
            if (cell, seed) not in done:
                rows = group(cell, seed, {"max_length": 64}, args.outputs)
                with args.out.open("a") as out:
                    out.writelines(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    main()

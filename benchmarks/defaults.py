"""What the defaults do on data that they were not chosen on: source-only, mcc, student and `auto`.

    python benchmarks/defaults.py --cells sentiment:movies:tweets:1000 --seeds 0 1 2
        banking:clinc150:banking77:600:tail intents:clinc150-short:clinc150-long:600:22

A cell is a board, source, target and number of texts of each; then, if any, a number of classes,
drawn by seed 0, or "tail" (the target's classes have shares from 28 % to 1 %, in an order drawn by
the seed) or "rare" (a tenth of the source has its smaller class, the target half). The three models
of a cell and seed share their source phase as a fit with method="auto" does. What they predict for
the texts is stored, and --choose lets `auto` choose again among the stored predictions, so that a
guard can be tried without training. One JSON line a model and one for `auto`; a killed study goes
on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lengths import draw, frame_of, scores

from dann_transfer import DomainAdapter, datasets
from dann_transfer.fitting import auto, run
from dann_transfer.fitting.predicting import predict_tokens
from dann_transfer.fitting.shared import Shared
from dann_transfer.ground.folders import write_whole
from dann_transfer.judging import choice
from dann_transfer.judging.findings import UNLEARNT, Findings
from dann_transfer.judging.selection import balanced
from dann_transfer.texts.roles import Inputs
from dann_transfer.texts.target import sample

CANDIDATES = (choice.BASELINE, *auto.SHORTLIST)
TEST = 600
# Of the target's classes in a cell with a tail, in the order of a permutation.
TAIL = np.maximum(0.72 ** np.arange(12), 0.01)
Frames = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]


def texts_of(cell: str, seed: int) -> Frames:
    """Return labelled source texts, target texts, and test texts of source and target."""
    board, source, target, size, *kind = cell.split(":")
    n = int(size)
    frames = [frame_of(board, domain) for domain in (source, target)]
    counts = frames[0].loc[frames[0]["split"] == "train", "label"].value_counts()
    kept = sorted(set(counts[counts >= 4].index) & set(frames[1]["label"]))
    if kind and kind[0].isdigit():
        kept = np.random.default_rng(0).permutation(kept)[: int(kind[0])].tolist()
    frames = [frame[frame["label"].isin(kept)] for frame in frames]
    train, goal = (
        frame[frame["split"] == "train"].sample(frac=1, random_state=seed) for frame in frames
    )
    tests = [
        frame[frame["split"] == "test"].sample(frac=1, random_state=0)[:TEST] for frame in frames
    ]
    if "tail" in kind:
        order = np.random.default_rng(seed).permutation(kept)
        sizes = dict(zip(order, (500 * TAIL / TAIL.sum()).astype(int) + 1, strict=True))
        goal = pd.concat([goal[goal["label"] == label][:size] for label, size in sizes.items()])
        return train[:n], goal.sample(frac=1, random_state=seed), *tests
    if "rare" in kind:
        rare = train["label"].value_counts().index[-1]
        few, rest = train[train["label"] == rare][: n // 10], train[train["label"] != rare]
        labelled = pd.concat([few, rest[: n - len(few)]]).sample(frac=1, random_state=seed)
        halves = [goal[goal["label"] == label][: n // 2] for label in kept]
        return labelled, pd.concat(halves).sample(frac=1, random_state=seed), *tests
    return draw(train, n, seed), goal[:n], *tests


def group(cell: str, seed: int, params: dict[str, Any], outputs: Path) -> list[dict[str, Any]]:
    """Train the candidates on a cell, store what they predict, and return their rows."""
    labelled, unlabelled, own, other = texts_of(cell, seed)
    adapter = DomainAdapter(datasets.encoder("minilm"), random_state=seed, progress=False)
    full = {**adapter.get_params(), **params, "method": auto.AUTO}
    X, y = labelled["text"].tolist(), labelled["label"].tolist()
    texts = run.check(full, Inputs(X, y, unlabelled["text"].tolist()), auto.created(full))
    shared, stored, rows = Shared(), {}, []
    for name in CANDIDATES:
        started = time.perf_counter()
        trained = run.train({**full, "method": name}, seed, texts, shared)
        fitted = trained.fitted
        row: dict[str, Any] = {
            "texts": len(labelled),
            "classes": len(fitted.classes),
            "steps": len(fitted.history),
            "seconds": round(time.perf_counter() - started, 1),
            "shares": [round(float(share), 4) for share in fitted.source_prior],
            "findings": {f.name: f.severity for f in (fitted.findings or Findings())},
        }
        asked = {"source": own["text"], "target": other["text"]}
        texts_by_name = {name: list(texts) for name, texts in asked.items()}
        texts_by_name["pool"] = list(sample([unlabelled["text"].tolist()])[0])
        p = {}
        for role, listed in texts_by_name.items():
            tokens, _ = shared.tokens(trained.model.encoder, full, listed)
            p[role] = predict_tokens(trained, full, tokens).probabilities
            stored[f"{name}.{role}"] = p[role].astype(np.float32)
        row |= scores("source", p["source"], fitted.classes, own["label"])
        row |= scores("target", p["target"], fitted.classes, other["label"])
        row["priors"] = {name: prior.tolist() for name, prior in fitted.target_prior.items()}
        row["intervals"] = {k: np.round(v, 4).tolist() for k, v in fitted.prior_intervals.items()}
        # What the doctor's remedies would do.
        tokens, _ = shared.tokens(trained.model.encoder, full, texts_by_name["target"])
        remedies = {f"prior_{kind}": {"correct_prior": kind} for kind in fitted.target_prior}
        for remedy, changes in remedies.items():
            with_it = predict_tokens(trained, {**full, **changes}, tokens).probabilities
            row |= scores(remedy, with_it, fitted.classes, other["label"])
        rows.append({"method": name, **row})
        print(cell, seed, rows[-1], flush=True)
    rows.append(choose(rows, stored))
    print(cell, seed, rows[-1], flush=True)
    outputs.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(outputs / file_of(cell, seed), **stored)
    return rows


def choose(rows: list[dict[str, Any]], stored: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the row of `auto`: which of the models it keeps, why, and that model's scores."""
    by_method = {row["method"]: row for row in rows if row["method"] in CANDIDATES}
    shares = np.array(by_method[choice.BASELINE]["shares"])
    severe = {
        name: [finding for finding, severity in row["findings"].items() if severity == "severe"]
        for name, row in by_method.items()
    }
    kept = choice.lopsided(shares)
    if balanced(shares) or UNLEARNT in severe[choice.BASELINE]:
        kept = choice.choose({name: stored[f"{name}.pool"] for name in by_method}, findings=severe)
    scored = by_method[kept.method]
    keys = [key for key in scored if key.startswith(("source_", "target_"))]
    common = {key: scored[key] for key in ("texts", "classes", *keys)}
    return {"method": auto.AUTO, "kept": kept.method, "reason": kept.reason, **common}


def choose_again(out: Path, outputs: Path) -> None:
    """Write the rows of `auto` anew, from the stored predictions."""
    lines = []
    for (cell, seed), rows in read(out).items():
        models = [row for row in rows.values() if row["method"] != auto.AUTO]
        file = outputs / file_of(cell, seed)
        if file.exists():
            with np.load(file) as stored:
                models.append({"cell": cell, "seed": seed, **choose(models, stored)})
        elif auto.AUTO in rows:
            models.append(rows[auto.AUTO])
        lines += [json.dumps(row) + "\n" for row in models]
        print(cell, seed, models[-1].get("reason", "no stored predictions"))
    write_whole(out, "".join(lines))


def file_of(cell: str, seed: int) -> str:
    return f"{cell.replace(':', '-')}-{seed}.npz"


def read(file: Path) -> dict[tuple[str, int], dict[str, dict[str, Any]]]:
    """Return the rows by cell and seed, then method."""
    groups: dict[tuple[str, int], dict[str, dict[str, Any]]] = {}
    for line in file.read_text().splitlines() if file.exists() else []:
        row = json.loads(line)
        groups.setdefault((row["cell"], row["seed"]), {})[row["method"]] = row
    return groups


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", nargs="+", default=[])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no cell after")
    parser.add_argument("--outputs", type=Path, default=Path("runs/defaults"))
    results = Path(__file__).parent / "results"
    parser.add_argument("--out", type=Path, default=results / "defaults.jsonl")
    parser.add_argument("--choose", action="store_true", help="choose again, and train nothing")
    args = parser.parse_args()
    if args.choose:
        choose_again(args.out, args.outputs)
        return
    deadline = time.monotonic() + 60 * args.minutes
    for seed in args.seeds:
        for cell in args.cells:
            if (cell, seed) in read(args.out):
                continue
            if time.monotonic() > deadline:
                return
            rows = group(cell, seed, {"max_length": 64}, args.outputs)
            with args.out.open("a") as out:
                out.writelines(
                    json.dumps({"cell": cell, "seed": seed, **row}) + "\n" for row in rows
                )


if __name__ == "__main__":
    main()

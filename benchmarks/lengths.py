"""How many steps a model needs: source-only over numbers of texts, of classes and of steps.

    python benchmarks/lengths.py --cells movies:100 intents22:300 --steps 24 84 150 300 --seeds 0

A cell is a board and a number of labelled texts: two of each class, the rest in proportion to the
classes' shares. Each run is scored on 500 texts of its domain and of another, of which it sees no
label. A killed study goes on where it stopped. --steps default uses the package's default length.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import boards
import numpy as np
import pandas as pd

from dann_transfer import DomainAdapter, datasets
from dann_transfer.judging.scores import METRICS

# Domain to train on and another to test on, and how many classes are drawn; None is all.
CELLS: dict[str, tuple[str, str, str, int | None]] = {
    "movies": ("sentiment", "movies", "tweets", None),
    "tweets": ("sentiment", "tweets", "movies", None),
    "abstracts": ("medical", "abstracts", "notes", None),
    "news": ("finance", "news", "tweets", None),
    "banking12": ("banking", "clinc150", "banking77", None),
    "intents22": ("intents", "clinc150-short", "clinc150-long", 22),
    "intents77": ("intents", "banking77-short", "banking77-long", None),
    "intents150": ("intents", "clinc150-short", "clinc150-long", None),
}
TEST = 500


def frame_of(board: str, domain: str) -> pd.DataFrame:
    """Return the labelled texts of a domain: text, label and split."""
    if board == "sentiment":
        loaded = datasets.load("sentiment")[domain]
        frame = pd.DataFrame({"text": loaded.texts, "label": loaded.labels})
        frame = frame.sample(frac=1, random_state=0).reset_index(drop=True)
        frame["split"] = np.where(frame.index < len(frame) * 0.7, "train", "test")
        return frame
    frame = pd.read_csv(boards.data_folder() / f"{board}.csv.gz")
    return frame[(frame["domain"] == domain) & frame["split"].isin(["train", "test"])]


def draw(frame: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """Draw n texts: two of each class, the rest in proportion."""
    frame = frame.sample(frac=1, random_state=seed)
    first = frame.groupby("label").head(2)
    rest = frame.drop(first.index)
    return pd.concat([first, rest[: max(0, n - len(first))]]).sample(frac=1, random_state=seed)


def texts_of(
    cell: str, n: int, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return labelled source texts, target texts, and test texts of source and target."""
    board, source, target, classes = CELLS[cell]
    frames = [frame_of(board, domain) for domain in (source, target)]
    kept = sorted(set(frames[0]["label"]) & set(frames[1]["label"]))
    # Few texts of a rare class cannot be drawn twice.
    train = frames[0][frames[0]["split"] == "train"]
    counts = train["label"].value_counts()
    kept = [label for label in kept if counts.get(label, 0) >= 4]
    if classes is not None:
        kept = np.random.default_rng(0).permutation(kept)[:classes].tolist()
    source_frame, target_frame = (frame[frame["label"].isin(kept)] for frame in frames)
    labelled = draw(source_frame[source_frame["split"] == "train"], n, seed)
    unlabelled = target_frame[target_frame["split"] == "train"].sample(frac=1, random_state=seed)
    tests = [
        frame[frame["split"] == "test"].sample(frac=1, random_state=0)[:TEST]
        for frame in (source_frame, target_frame)
    ]
    return labelled, unlabelled[:n], *tests


def scores(prefix: str, p: np.ndarray, classes: np.ndarray, labels: pd.Series) -> dict[str, float]:
    """Return accuracy and macro-F1 over the classes of the labels."""
    codes = np.searchsorted(classes, labels)
    return {
        f"{prefix}_{name}": METRICS[name](codes, p.argmax(1)) for name in ("accuracy", "macro_f1")
    }


def run(cell: str, n: int, steps: str, seed: int, params: dict[str, Any]) -> dict[str, Any]:
    """Train once, and return the row."""
    labelled, unlabelled, own, other = texts_of(cell, n, seed)
    batches = max(1, round(0.9 * len(labelled) / 32))
    params = dict(params)
    if steps != "default":
        params["epochs"] = max(1, round(int(steps) / batches))
    method = params.setdefault("method", "source_only")
    encoder = datasets.encoder(params.pop("encoder", "minilm"))
    adapter = DomainAdapter(encoder, random_state=seed, progress=False, **params)
    started = time.perf_counter()
    target = None if method == "source_only" else unlabelled["text"].tolist()
    adapter.fit(labelled["text"].tolist(), labelled["label"].tolist(), X_target=target)
    row: dict[str, Any] = {
        "texts": len(labelled),
        "classes": labelled["label"].nunique(),
        "steps_taken": len(adapter.history_),
        "seconds": round(time.perf_counter() - started, 1),
    }
    for name, frame in (("source", own), ("target", other)):
        p = adapter.predict_proba(frame["text"].tolist())
        row |= scores(name, p, adapter.classes_, frame["label"])
        row[f"{name}_confidence"] = float(p.max(1).mean())
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", nargs="+", required=True)
    parser.add_argument("--steps", nargs="+", default=["default"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no run after")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "lengths.jsonl"
    )
    args = parser.parse_args()
    import ast

    params = {k: ast.literal_eval(v) for k, v in (item.split("=", 1) for item in args.set)}
    params.setdefault("max_length", 64)
    lines = args.out.read_text().splitlines() if args.out.exists() else []
    keys = ("cell", "n", "steps", "seed", "params")
    done = {json.dumps({k: json.loads(line)[k] for k in keys}, sort_keys=True) for line in lines}
    deadline = time.monotonic() + 60 * args.minutes
    for seed in args.seeds:
        for name in args.cells:
            cell, n = name.split(":")
            for steps in args.steps:
                key = dict(zip(keys, (cell, int(n), steps, seed, params), strict=True))
                if json.dumps(key, sort_keys=True) in done:
                    continue
                if time.monotonic() > deadline:
                    return
                row = {**key, **run(cell, int(n), steps, seed, params)}
                with args.out.open("a") as out:
                    out.write(json.dumps(row) + "\n")
                print(row, flush=True)


if __name__ == "__main__":
    main()

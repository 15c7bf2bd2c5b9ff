"""What a map of features changes: pairs x seeds, without and with it, one JSON line per row.

    python benchmarks/aligned.py --train-texts 1000 --seeds 0 1 2 --set max_length=128
    python benchmarks/aligned.py --encoder mpnet --train-texts 1000 --test-texts 600 --seeds 0
        --set max_length=128 --pairs movies:tweets movies:amazon movies:nyt

Each pair and seed is trained once, with align="transport". Passed for source texts, the target's
test texts are not mapped: this gives the rows without a map. All four rows of a run, without and
with the map and the ten nearest neighbours, are written together, so that a killed board resumes
where it stopped. Where the estimate of class shares is refused there is no map, and the row says
why ("refused"). Only the scores use the target's labels.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
import warnings
from pathlib import Path
from typing import Any

import board
import boards
import numpy as np

from dann_transfer import DomainAdapter, datasets
from dann_transfer.judging.alignment import AlignmentWarning
from dann_transfer.judging.diagnostics import alignment_measures
from dann_transfer.judging.neighbors import MOST, Neighborhood
from dann_transfer.judging.scores import METRICS

OUT = Path(__file__).parent / "results" / "alignment.jsonl"
# Checkpoints of the run that is training, so that a killed one goes on.
CHECKPOINTS = Path("runs/aligned")


def trained(
    run: dict[str, Any], split: boards.Split, goal: boards.Split, params: dict[str, Any]
) -> tuple[DomainAdapter, float]:
    """Train a run's model with a map, and return it and the seconds."""
    folder = CHECKPOINTS / board.name_of(run)
    adapter = DomainAdapter(
        datasets.encoder(run.get("encoder", "minilm")),
        method=run["method"],
        align="transport",
        random_state=run["seed"],
        progress=False,
        checkpoint_dir=folder,
        **params,
    )
    X_val, y_val = split.validation or (None, None)
    started = time.perf_counter()
    with warnings.catch_warnings():
        # The row says it.
        warnings.simplefilter("ignore", AlignmentWarning)
        adapter.fit(*split.train, X_target=goal.unlabelled, X_val=X_val, y_val=y_val)
    seconds = time.perf_counter() - started
    shutil.rmtree(folder)
    return adapter, seconds


def rows_of(
    run: dict[str, Any],
    split: boards.Split,
    goal: boards.Split,
    params: dict[str, Any],
    folder: Path | None,
) -> list[dict[str, Any]]:
    """Train a run, and return its rows: without and with the map, and with neighbours too.

    With a folder, the features are kept there for `mappings.py`.
    """
    adapter, seconds = trained(run, split, goal, params)
    X_test, y_test = split.own_test or split.test
    T_test, t_test = goal.test
    source = adapter.transform(X_test, domain="source")
    codes, rows = np.searchsorted(adapter.classes_, t_test), []
    stored: dict[str, np.ndarray] = {}
    for align, domain in ((None, "source"), ("transport", "target")):
        features, p = adapter.outputs(T_test, domain)
        measured = alignment_measures(source, features, np.array(y_test), np.array(t_test))
        pool = adapter.outputs(goal.unlabelled, domain)
        near = Neighborhood.of(*pool, MOST)
        for neighbors in (None, MOST):
            q = p if neighbors is None else near.smooth(features, p, neighbors)
            scores = {
                f"target_{name}": METRICS[name](codes, q.argmax(1))
                for name in ("accuracy", "macro_f1")
            }
            setting = {"align": align, "neighbors": neighbors}
            rows.append({**run, **setting, **scores, **measured})
        if folder is not None:
            # Of the model's head, without and with the map.
            stored |= {f"p_{domain}": p, f"pool_{domain}": pool[1]}
            stored |= {} if align else {"T": pool[0], "T_test": features}
    if folder is not None:
        X, y = split.train
        stored |= {
            "X": adapter.transform(X, domain="source"),
            "y": np.searchsorted(adapter.classes_, y),
            "X_test": source,
            "y_test": np.searchsorted(adapter.classes_, y_test),
            "t_test": codes,
        }
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / f"{board.name_of(run)}.npz", **stored)
    refused = None if adapter.alignment_ is not None else adapter.refused_prior_.get("em", "other")
    prior = {kind: each.tolist() for kind, each in adapter.target_prior_.items()}
    common = {"refused": refused, "prior": prior, "seconds": seconds, **board.made_with()}
    return [row | common for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--board", choices=boards.DOMAINS, default="sentiment")
    parser.add_argument("--pairs", nargs="+", help="source:target ...; default: all pairs")
    parser.add_argument("--method", default="source_only")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    boards.add_sample(parser, 1000)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--encoder", default="minilm", help="a name that datasets.encoder knows")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--features", type=Path, help="keep features here, for mappings.py")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no run after")
    args = parser.parse_args()
    params, sample = board.COMMON | board.params_of(args.set), boards.sample_of(args)
    pairs = args.pairs or [":".join(pair) for pair in boards.pairs(args.board)]
    lines = args.out.read_text().splitlines() if args.out.exists() else []
    done = {board.key_of(json.loads(line)) for line in lines}
    deadline = time.monotonic() + 60 * args.minutes
    for seed in args.seeds:
        for pair in pairs:
            source, target = pair.split(":")
            run = {"board": args.board, "source": source, "target": target}
            run |= {"method": args.method, "seed": seed}
            if args.encoder != "minilm":
                run["encoder"] = args.encoder
            run["settings"] = board.settings_of(args.method, sample, params, args.encoder)
            if board.key_of(run) in done:
                continue
            if time.monotonic() > deadline:
                return
            parts = boards.load(args.board, sample)
            rows = rows_of(run, parts[source], parts[target], params, args.features)
            args.out.parent.mkdir(parents=True, exist_ok=True)
            with args.out.open("a") as out:
                out.write("".join(json.dumps(row) + "\n" for row in rows))
            for row in rows:
                keys = ("source", "target", "seed", "align", "neighbors", "target_accuracy")
                keys += ("target_macro_f1", "a_distance", "mixing", "class_mixing", "refused")
                print({key: row[key] for key in keys}, flush=True)


if __name__ == "__main__":
    main()

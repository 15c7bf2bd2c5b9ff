"""Maps of features by this package and by skada on the same features, one JSON line a map.

    python benchmarks/aligned.py --seeds 0 --set max_length=128 --features runs/features
    python benchmarks/mappings.py --features runs/features

Features are those of source-only models. Each map is fitted on the training texts of a pair; a
logistic regression of the source's features, mapped where the map is one of the source, labels the
target's test texts, and alignment is measured on the test texts of both. skada's maps move the
source to the target (CORAL centres both), this package's moves the target to the source. Only the
scores use the target's labels.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from peers import PEERS, environment
from sklearn.linear_model import LogisticRegression

from dann_transfer.judging import alignment
from dann_transfer.judging.diagnostics import alignment_measures

OUT = Path(__file__).parent / "results" / "mappings.jsonl"
OF_SKADA = ("LinearOTMapping", "CORAL", "OTMapping", "ClassRegularizerOTMapping")
NAMES = ("none", "align='transport'", *(f"skada {name}" for name in OF_SKADA))
Data = dict[str, np.ndarray]
# Mapped source training texts, source test texts and target test texts.
Mapped = tuple[np.ndarray, np.ndarray, np.ndarray]


def none(d: Data) -> Mapped:
    return d["X"], d["X_test"], d["T_test"]


def transport(d: Data) -> Mapped:
    mapped = alignment.transport(d["X"], d["y"], d["T"], d["pool_source"])
    return d["X"], d["X_test"], mapped(d["T_test"])


def of_skada(name: str) -> Callable[[Data], Mapped]:
    def fit(d: Data) -> Mapped:
        import skada

        adapter = getattr(skada, f"{name}Adapter")()
        both = np.concatenate([d["X"], d["T"]]).astype(np.float64)
        # What skada takes as "no label".
        labels = np.concatenate([d["y"], np.full(len(d["T"]), -1)])
        domains = np.repeat([1, -2], [len(d["X"]), len(d["T"])])
        X = adapter.fit_transform(both, labels, sample_domain=domains)[: len(d["X"])]
        tests = [
            adapter.transform(
                d[key].astype(np.float64),
                sample_domain=np.full(len(d[key]), domain),
                allow_source=True,
            )
            for key, domain in (("X_test", 1), ("T_test", -2))
        ]
        return X, *tests

    return fit


MAPS: dict[str, Callable[[Data], Mapped]] = {
    "none": none,
    "align='transport'": transport,
    **{f"skada {name}": of_skada(name) for name in OF_SKADA},
}


def row_of(name: str, file: Path) -> dict[str, float]:
    """Fit a map on stored features and return its scores; call this where skada is installed."""
    with np.load(file) as stored:
        d = dict(stored)
    if "skada" in name:
        # Importing it takes seconds, which are no part of a map's.
        importlib.import_module("skada")
    started = time.perf_counter()
    X, X_test, T_test = MAPS[name](d)
    seconds = time.perf_counter() - started
    model = LogisticRegression(max_iter=1000).fit(X, d["y"])
    accuracy = float((model.predict(T_test) == d["t_test"]).mean())
    source = X_test.astype(np.float32), T_test.astype(np.float32)
    measured = alignment_measures(*source, d["y_test"], d["t_test"])
    return {"target_accuracy": accuracy, "seconds": seconds, **measured}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--features", type=Path, required=True, help="the folder of aligned.py's")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        warnings.simplefilter("ignore")
        print(json.dumps(row_of(args.one[0], Path(args.one[1]))))
        return
    lines = args.out.read_text().splitlines() if args.out.exists() else []
    done = {(row["run"], row["map"]) for row in map(json.loads, lines)}
    python = environment(PEERS["skada DANN"][1])
    for file in sorted(args.features.glob("*.npz")):
        for name in NAMES:
            if (file.stem, name) in done:
                continue
            child = [python if "skada" in name else sys.executable, __file__]
            child += ["--features", str(args.features), "--one", name, str(file)]
            ran = subprocess.run(child, capture_output=True, text=True)
            if ran.returncode:
                raise SystemExit(f"{name} failed on {file}:\n{ran.stderr[-3000:]}")
            row = {"run": file.stem, "map": name, **json.loads(ran.stdout.splitlines()[-1])}
            print(row, flush=True)
            with args.out.open("a") as out:
                out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()

"""Ideas that act after training, tried on the stored outputs of the board's runs in seconds each.

    python benchmarks/board.py --encoder mpnet --train-texts 1000 --outputs runs/outputs ...
    python benchmarks/after.py --encoder mpnet --outputs runs/outputs --train-texts 1000

Prints one JSON line per run: accuracy on the target's test texts as predicted, and with predictions
averaged over the nearest target texts that the run adapted to (`neighbors=`).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import boards
import numpy as np

from dann_transfer.judging.neighbors import Neighborhood


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--outputs", type=Path, default=Path("runs/outputs"))
    parser.add_argument("--train-texts", type=int, default=1000)
    parser.add_argument("--test-texts", type=int)
    parser.add_argument("--encoder", default="minilm", help="the encoder of the outputs")
    parser.add_argument("--neighbors", type=int, default=10)
    args = parser.parse_args()
    sample = boards.Sample(args.train_texts, args.test_texts)
    domains: dict[str, dict[str, boards.Split]] = {}
    for file in sorted(args.outputs.glob("*.npz")):
        board, source, target, method, seed, _ = file.stem.rsplit("-", 5)
        if method == "target_trained":
            continue
        if board not in domains:
            domains[board] = boards.load(board, sample)
        truth = domains[board][target].test[1]
        made = np.load(file)
        classes = np.unique(domains[board][source].train[1])
        p = made["target_test.probabilities"]
        near = Neighborhood.of(
            made["target_train.features"].astype(np.float32),
            made["target_train.probabilities"],
            args.neighbors,
        )
        features = made["target_test.features"].astype(np.float32)
        smooth = near.smooth(features, p, args.neighbors)
        row = {
            "board": board,
            "encoder": args.encoder,
            "source": source,
            "target": target,
            "method": method,
            "seed": int(seed),
            "neighbors": args.neighbors,
            "width": features.shape[1],
            "target_accuracy": float((classes[p.argmax(1)] == truth).mean()),
            "target_accuracy_neighbors": float((classes[smooth.argmax(1)] == truth).mean()),
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()

"""How fast an exported model predicts compared with torch, and how far its answers differ.

    dann-transfer demo && python benchmarks/export.py

Reads the model and the labelled test tweets that the demo left, exports the model as it is and with
8-bit weights, and runs the three in turn on the same texts. One JSON line per kind goes to
benchmarks/results/export.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from dann_transfer.export import OnnxModel, differences, to_onnx

from dann_transfer import DomainAdapter

RESULTS = Path(__file__).parent / "results" / "export.jsonl"


def table(rows: list[dict[str, Any]]) -> str:
    """Return the speed, size and answers of each kind as a Markdown table."""
    head = "| | texts a second | MB | accuracy | same label | largest difference of a probability |"
    lines = [
        f"| {r['kind']} | {r['texts_a_second']:.0f} | {r['mb']:.0f} | {r['accuracy']:.1%} | "
        f"{r['same']:.1%} | {r['probability']:.1g} |"
        for r in rows
    ]
    return "\n".join([head, "|---|---|---|---|---|---|", *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("runs/demo/model"))
    parser.add_argument("--texts", type=Path, default=Path("runs/demo/tweets.csv"))
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    frame = pd.read_csv(args.texts)
    texts, labels = frame["text"].tolist(), frame["label"].to_numpy()
    adapter = DomainAdapter.from_pretrained(args.model, device="cpu")
    with TemporaryDirectory() as folder:
        models: dict[str, Any] = {"torch": adapter}
        sizes = {"torch": (args.model / "model.safetensors").stat().st_size}
        for kind, int8 in (("ONNX Runtime", False), ("ONNX Runtime, int8", True)):
            path = to_onnx(adapter, Path(folder, kind), int8)
            models[kind] = OnnxModel(path)
            sizes[kind] = (path / "model.onnx").stat().st_size
        seconds: dict[str, list[float]] = {kind: [] for kind in models}
        for _ in range(args.rounds):
            for kind, model in models.items():
                started = time.perf_counter()
                model.predict(texts)
                seconds[kind].append(time.perf_counter() - started)
        with RESULTS.open("w", encoding="utf-8") as out:
            for kind, model in models.items():
                row = {
                    "kind": kind,
                    "texts_a_second": len(texts) / statistics.median(seconds[kind]),
                    "mb": sizes[kind] / 1e6,
                    "accuracy": float((model.predict(texts) == labels).mean()),
                    **differences(model, adapter, texts),
                    "texts": len(texts),
                    "machine": f"{platform.machine()}, {os.cpu_count()} cores",
                }
                out.write(json.dumps(row) + "\n")
    print(table([json.loads(line) for line in RESULTS.read_text().splitlines()]))


if __name__ == "__main__":
    main()

"""Speed of two processes beside that of one, and the memory that small parts of a batch need.

    python benchmarks/processes.py

Each round trains DANN with the small encoder for one epoch in fresh processes of one thread each:
one process, two processes that share every batch, and one process with parts of 8 texts. Seconds
are those of the steps, without loading and tokenising; memory is the peak of one process. One JSON
line per training goes to benchmarks/results/processes.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "processes.jsonl"
# The number of processes, and of texts that pass through the encoder at once.
KINDS: dict[str, tuple[int, int | None]] = {
    "one process": (1, None),
    "two processes": (2, None),
    "one process, parts of 8 texts": (1, 8),
}


def train(n: int, batch_size: int, micro_batch_size: int | None) -> None:
    """Train, alone or with other processes; the first prints the time and memory used."""
    from dann_transfer import DomainAdapter, datasets
    from dann_transfer.ground.processes import Processes, joined

    started: list[float] = []
    with joined() if "WORLD_SIZE" in os.environ else nullcontext():
        domains = datasets.load("sentiment")
        (texts, _, labels, _), (target, *_) = (
            datasets.split(domains[name], n) for name in ("amazon", "movies")
        )
        adapter = DomainAdapter(
            datasets.encoder("minilm"),
            epochs=1,
            batch_size=batch_size,
            micro_batch_size=micro_batch_size,
            validation_fraction=0,
            progress=False,
            device="cpu",
            random_state=0,
        )
        adapter.fit(
            texts,
            labels,
            X_target=target,
            on_step=lambda engine, model: started.append(time.perf_counter()),
        )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        if Processes.current().rank == 0:
            # The first step is a warm-up.
            seconds = (started[-1] - started[0]) / (len(started) - 1)
            print(json.dumps({"seconds_a_step": seconds, "peak_gib": peak}))


def turn(kind: str, args: argparse.Namespace) -> dict[str, Any]:
    """Train one kind in fresh processes."""
    n, parts = KINDS[kind]
    own = [__file__, "--texts", str(args.texts), "--batch-size", str(args.batch_size), "--train"]
    own += [] if parts is None else ["--parts", str(parts)]
    many = ["-m", "torch.distributed.run", "--nproc-per-node", str(n)] if n > 1 else []
    done = subprocess.run(
        [sys.executable, *many, *own],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return {"kind": kind, **json.loads(done.stdout.splitlines()[-1])}


def table(rows: list[dict[str, Any]]) -> str:
    """Return the medians of the rounds, and their ratios to one process."""
    found = {kind: [row for row in rows if row["kind"] == kind] for kind in KINDS}

    def median(kind: str, key: str) -> float:
        return statistics.median(row[key] for row in found[kind])

    first = next(iter(KINDS))
    lines = ["| | seconds a step | times as fast | peak GiB a process |", "|---|---|---|---|"]
    for kind in KINDS:
        seconds, peak = median(kind, "seconds_a_step"), median(kind, "peak_gib")
        ratio = median(first, "seconds_a_step") / seconds
        lines.append(f"| {kind} | {seconds:.2f} | {ratio:.2f} | {peak:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=640, help="per domain")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--parts", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.train:
        train(args.texts, args.batch_size, args.parts)
        return
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    with RESULTS.open("a", encoding="utf-8") as out:
        for _ in range(args.rounds):
            for kind in KINDS:
                row = turn(kind, args)
                row |= {"texts": args.texts, "batch_size": args.batch_size, "machine": machine}
                print(row, flush=True)
                out.write(json.dumps(row) + "\n")
                out.flush()
    print(table([json.loads(line) for line in RESULTS.read_text().splitlines()]))


if __name__ == "__main__":
    main()

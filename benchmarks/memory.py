"""How much memory adapting to and predicting a target of up to a million texts takes.

    python benchmarks/memory.py

Writes Parquet and CSV files of real sentences, numbered so that no two are the same, under the
user's cache, and runs the command line on each in its own process: `adapt` with 320 labelled
sentences and the small encoder, and `predict` with the resulting model. One JSON line per run goes
to benchmarks/results/memory.jsonl; a run that already has a line is not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pandas as pd
import platformdirs

from dann_transfer import datasets
from dann_transfer.cli.files import write

RESULTS = Path(__file__).parent / "results" / "memory.jsonl"
PART = 10_000


def table(rows: list[dict[str, Any]]) -> str:
    """Return peak memory and seconds of each command and size as a Markdown table."""
    lines = ["| command | file | target texts | peak MB | seconds |", "|---|---|---|---|---|"]
    lines += [
        f"| {r['command']} | {r['format']} | {r['texts']:,} | {r['peak_mb']:.0f} | "
        f"{r['seconds']:.0f} |"
        for r in rows
    ]
    return "\n".join(lines)


def frames(sentences: list[str], n: int) -> Iterator[pd.DataFrame]:
    """Yield n different texts as tables, some texts at a time."""
    numbered = enumerate(cycle(sentences))
    # The numbers have one width, or later texts would have more tokens.
    while part := [f"{text} {i:07}" for i, text in islice(numbered, min(PART, n))]:
        n -= len(part)
        yield pd.DataFrame({"text": part})


def measured(arguments: list[str]) -> dict[str, float]:
    """Run a command of the package in its own process, and return its peak memory and seconds."""
    child = (
        "import sys; from dann_transfer.cli import app; "
        "app(sys.argv[1:], standalone_mode=False); "
        # On Linux, a child process inherits its parent's ru_maxrss.
        "lines = open('/proc/self/status').read().splitlines(); "
        "print('peak', *[row.split()[1] for row in lines if 'VmHWM' in row], file=sys.stderr)"
    )
    started = time.perf_counter()
    ran = subprocess.run([sys.executable, "-c", child, *arguments], capture_output=True, text=True)
    if ran.returncode or "peak " not in ran.stderr:
        raise SystemExit(f"{arguments} failed:\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    kib = int(ran.stderr.rsplit("peak ", 1)[1].split()[0])
    return {"peak_mb": kib * 1024 / 1e6, "seconds": time.perf_counter() - started}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument(
        "--predict-sizes", nargs="*", type=int, default=[10_000, 100_000], help="these take longer"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    done = set()
    if args.out.exists():
        rows = [json.loads(line) for line in args.out.read_text(encoding="utf-8").splitlines()]
        done = {(row["command"], row["format"], row["texts"]) for row in rows}
    work = Path(platformdirs.user_cache_dir("dann_transfer"), "memory")
    work.mkdir(parents=True, exist_ok=True)
    domains = datasets.load("sentiment")
    X, _, y, _ = datasets.split(domains["movies"], 320)
    pd.DataFrame({"text": X, "label": y}).to_csv(work / "source.csv", index=False)
    sentences = list(domains["tweets"].texts)
    runs = [("adapt", n) for n in args.sizes] + [("predict", n) for n in args.predict_sizes]
    for command, n in runs:
        for kind in ("parquet", "csv"):
            if (command, kind, n) in done:
                continue
            file = work / f"{n}.{kind}"
            if not file.exists():
                write(frames(sentences, n), file)
            if command == "adapt":
                arguments = [str(work / "source.csv"), str(file), str(work / "model")]
                arguments += ["--encoder", "minilm", "--method", "dann", "--epochs", "1"]
                arguments += ["--set", "progress=False"]
            else:
                arguments = [str(work / "model"), str(file), "--out", str(work / f"out.{kind}")]
            row = {
                "command": command,
                "format": kind,
                "texts": n,
                **measured([command, *arguments]),
            }
            threads = os.environ.get("OMP_NUM_THREADS", os.cpu_count())
            row["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, {threads} threads"
            print(row, flush=True)
            with args.out.open("a", encoding="utf-8") as out:
                out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()

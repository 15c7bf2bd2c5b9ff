"""How many requests per second the HTTP service answers, and how long the slowest wait.

    dann-transfer demo && python benchmarks/service.py

Serves the model that the demo left, and lets 32 clients in the same process send its test tweets,
one per request, each client waiting for its answer before it sends the next. This is done once with
the service as it is and once with batches of one text, as in a service without batching. One
JSON line for each goes to benchmarks/results/service.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import uvicorn
from dann_transfer.service import Limits, create_app

from dann_transfer import DomainAdapter

RESULTS = Path(__file__).parent / "results" / "service.jsonl"


def table(rows: list[dict[str, Any]]) -> str:
    """Return requests per second and waiting times as a Markdown table."""
    head = "| | requests a second | median, ms | 99th percentile, ms | lost or wrong |"
    lines = [
        f"| {r['kind']} | {r['requests_a_second']:.0f} | {r['median_ms']:.0f} | "
        f"{r['p99_ms']:.0f} | {r['lost']} of {r['requests']} |"
        for r in rows
    ]
    return "\n".join([head, "|---|---|---|---|---|", *lines])


def _client(clients: int) -> httpx.Client:
    """Return a client that keeps one connection per thread."""
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    return httpx.Client(timeout=120, limits=limits)


def load(url: str, texts: list[str], wanted: list[str], clients: int) -> dict[str, Any]:
    """Send each text once, from this many clients, and compare the answers."""
    seconds: list[float] = []
    lost: list[str] = []

    def send(client: httpx.Client, k: int) -> None:
        for text, label in list(zip(texts, wanted, strict=True))[k::clients]:
            started = time.perf_counter()
            answer = client.post(f"{url}/predict", json={"texts": [text]})
            seconds.append(time.perf_counter() - started)
            right = answer.status_code == 200 and answer.json()["predictions"][0]["label"] == label
            lost.extend([] if right else [text])

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool, _client(clients) as client:
        list(pool.map(lambda k: send(client, k), range(clients)))
    passed = time.perf_counter() - started
    return {
        "requests": len(texts),
        "requests_a_second": len(texts) / passed,
        "median_ms": 1000 * float(np.median(seconds)),
        "p99_ms": 1000 * float(np.quantile(seconds, 0.99)),
        "lost": len(lost),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("runs/demo/model"))
    parser.add_argument("--texts", type=Path, default=Path("runs/demo/tweets.csv"))
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=2, help="how often each text is sent")
    args = parser.parse_args()
    texts = pd.read_csv(args.texts)["text"].tolist() * args.rounds
    adapter = DomainAdapter.from_pretrained(args.model, device="cpu")
    wanted = adapter.predict(texts).tolist()
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    rows = []
    for kind, limits in (("as it is", Limits()), ("one text a batch", Limits(batch=1))):
        config = uvicorn.Config(create_app(adapter, limits), port=0, log_level="warning")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        row = load(f"http://127.0.0.1:{port}", texts, wanted, args.clients)
        server.should_exit = True
        thread.join()
        rows.append({"kind": kind, "clients": args.clients, **row, "machine": machine})
        print(rows[-1], flush=True)
    RESULTS.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()

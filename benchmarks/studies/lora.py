"""Learning rates of low-rank matrices: `board.py --set lora=8`."""

from __future__ import annotations

from typing import Any

from tables import read, row_of, spread


def table(rows: list[dict[str, Any]]) -> str:
    """Accuracy at each learning rate of low-rank matrices, and of training the layers."""
    kinds: dict[tuple[str, bool, float], list[dict[str, Any]]] = {}
    for row in rows:
        settings = row["settings"]
        kind = row["method"], settings["lora"] is not None, float(settings["learning_rate"])
        kinds.setdefault(kind, []).append(row)
    lines = [
        "| method | what trains | learning rate | seeds | on the target | on the source |",
        "|---|---|---|---|---|---|",
    ]
    for (method, low_rank, rate), runs in sorted(kinds.items()):
        accuracies = (spread([r[f"{d}_accuracy"] for r in runs]) for d in ("target", "source"))
        what = "matrices of rank 8" if low_rank else "the layers"
        lines.append(row_of([method, what, f"{rate:g}", str(len(runs)), *accuracies]))
    return "\n".join(lines)


def tables() -> dict[str, str]:
    return {"lora": table(read("lora"))}

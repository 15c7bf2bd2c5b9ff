"""Every board, its pairs and methods: `python benchmarks/board.py`, and `students.py`."""

from __future__ import annotations

import re
from statistics import mean
from typing import Any

import boards
from tables import (
    BASELINE,
    ORDER,
    TEXTS,
    base,
    baselines,
    by_pair,
    cells_of,
    gain,
    gain_and_loss,
    gap_closed,
    heading,
    label,
    mean_of_means,
    of_pair,
    read,
    row_of,
    spread,
    table,
)

FILES = (
    "amazon", "banking", "base", "combinations", "finance", "medical", "methods", "recipe",
    "sentiment", "strengths",
)  # fmt: skip
"""What `board.py` writes; other studies have files of their own."""


def kind_of(row: dict[str, Any]) -> tuple[str, str, int]:
    """Return what identifies a row's board: data, encoder and number of training texts."""
    return row["board"], row.get("encoder", "minilm"), row["settings"]["train_texts"]


def title_of(kind: tuple[str, str, int]) -> str:
    """Name a board for a headline."""
    size = {"minilm": "small encoder", "mpnet": "base-size encoder"}[kind[1]]
    return f"{kind[0]} board, {size}, {kind[2]:,} texts to train on"


def board_rows() -> list[dict[str, Any]]:
    """Return every run of the boards in the form of today, each once."""
    return [row for name in FILES for row in read(name)]


def sections() -> list[str]:
    """Every board: its pairs in one table, the gap closed, and then each pair."""
    rows, parts = board_rows(), []
    kinds = sorted({kind_of(r) for r in rows}, key=lambda kind: (kind[1] == "minilm", kind))
    for kind in kinds:
        runs = [r for r in rows if kind_of(r) == kind]
        if len({(r["source"], r["target"]) for r in runs}) == 1:
            continue
        tuned = boards.TUNED if kind[0] == "sentiment" else set()
        parts += [
            f"## The {title_of(kind)}",
            "Accuracy of the baselines, and the gain of every method that ran on all of these "
            "pairs. " + ("Design choices were made on the pairs with a star." if tuned else ""),
            board_table(runs, tuned),
            "Share of the gap closed, pooled over the pairs that have the method and both "
            "baselines: the sum of the gains divided by the sum of the gaps between target-trained "
            "and source-only, with its 95 % bootstrap interval over domains, which the pairs "
            "share, and seeds (over seeds alone where there are two domains). A pair is shown not "
            "to lose 0.5 points if the one-sided 95 % bound of its mean gain over seeds lies above "
            "-0.5. Macro-F1 is the mean gain in macro-F1.",
            gap_closed(runs),
        ]
        if tuned:
            for title, some in halves(runs).items():
                if gaps := gap_closed(some):
                    parts += [title, gaps]
    for kind in kinds:
        runs = [r for r in rows if kind_of(r) == kind]
        for pair in sorted({(r["source"], r["target"]) for r in runs}):
            parts += [f"### {' → '.join(pair)}: {title_of(kind)}", table(of_pair(runs, pair))]
    return parts


def halves(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The runs on pairs that were used for choices (with a star), and on the others."""
    of_one = [r for r in rows if "+" not in r["source"]]
    ran: dict[str, set[tuple[str, str]]] = {}
    for r in of_one:
        ran.setdefault(label(r), set()).add((r["source"], r["target"]))
    everywhere = [r for r in of_one if len(ran[label(r)]) == len(boards.pairs("sentiment"))]
    return {
        "On the pairs with a star:": [
            r for r in everywhere if (r["source"], r["target"]) in boards.TUNED
        ],
        "On the pairs without a star:": [
            r for r in everywhere if (r["source"], r["target"]) not in boards.TUNED
        ],
    }


def board_table(rows: list[dict[str, Any]], tuned: set[tuple[str, str]]) -> str:
    """One line per pair: the baselines' accuracies, and the gain of each method with all seeds.

    A method that ran on fewer seeds than source-only on any pair is left out.

    Pairs that were used for choices are marked with a star.
    """
    methods_of = {label(r): r["method"] for r in rows}
    pairs = sorted({(r["source"], r["target"]) for r in rows if "+" not in r["source"]})
    before = baselines(rows, BASELINE)

    def complete(pair: tuple[str, str], name: str) -> bool:
        runs = [r for r in of_pair(rows, pair) if label(r) == name]
        bases = {base(r) for r in runs}
        seeds = {seed for key, seed in before if key in bases}
        return bool(seeds) and {r["seed"] for r in runs} >= seeds

    shown = [
        name
        for name in sorted(methods_of)
        if methods_of[name] not in ORDER and all(complete(pair, name) for pair in pairs)
    ]
    lines = heading(["domains", *ORDER, *shown])
    for pair in pairs:
        runs = of_pair(rows, pair)
        bases = {base(r) for r in runs if label(r) in shown}
        cells = [f"{pair[0]} → {pair[1]}{' *' if pair in tuned else ''}"]
        for name in ORDER:
            # Baselines with settings other than those of the methods shown are left out.
            accuracies = [
                r["target_accuracy"]
                for r in runs
                if r["method"] == name and (not shown or base(r) in bases)
            ]
            cells.append(spread(accuracies) if accuracies else "")
        cells += [gain([r for r in runs if label(r) == name], before) for name in shown]
        lines.append(row_of(cells))
    return "\n".join(lines)


def of_encoder(name: str) -> list[dict[str, Any]]:
    """Return an encoder's runs on the sentiment domains."""
    return [r for r in board_rows() if kind_of(r) == ("sentiment", name, TEXTS)]


def tables() -> dict[str, str]:
    return {"results": board_table(of_encoder("minilm"), boards.TUNED)}


def closed(rows: list[dict[str, Any]], name: str) -> list[str]:
    """Return a method's cells in the table of gaps."""
    method = name.split(" ")[0]
    return cells_of(gap_closed([r for r in rows if r["method"] in (method, *ORDER)]), name)


def shares() -> dict[str, str]:
    """Return the shares of the gap that mcc and a combination close, small encoder."""
    rows = [
        r
        for name in ("sentiment", "methods", "combinations")
        for r in read(name)
        if r["settings"]["train_texts"] == TEXTS
    ]
    values = {"mcc_worst": f"{float(closed(rows, 'mcc')[4]):.1f}"}
    parts = dict(zip(("all", "starred", "others"), (rows, *halves(rows).values()), strict=True))
    for part, runs in parts.items():
        share, low, high = re.findall(r"-?\d+%", closed(runs, "mcc")[-1])
        values |= {f"mcc_{part}": share, f"mcc_{part}_low": low, f"mcc_{part}_high": high}
        cells = closed(runs, "mcc+afn (validation_tolerance=0.0)")
        values[f"afn_{part}"] = cells[-1].split()[0]
    return values


def figures() -> dict[str, str]:
    """Mean gains over the pairs of other boards, the worst of them, and `shares`."""
    values = shares()
    for board, method in (
        ("finance", "mcc"),
        ("finance", "shot"),
        ("banking", "mcc"),
        ("banking", "shot"),
        ("amazon", "mcc"),
        ("medical", "mcc"),
    ):
        cells = closed(read(board), method)
        values |= gain_and_loss(f"{board}_{method}", float(cells[3]))
        values |= gain_and_loss(f"{board}_{method}_worst", float(cells[4]))
    values["banking_shot_share"] = closed(read("banking"), "shot")[-1].split()[0]
    for (source, _), gains in by_pair(read("banking"), "shot").items():
        values[f"shot_from_{source}"] = f"{mean(gains):.1f}"
    amazon = by_pair(read("amazon"), "mcc").values()
    values["amazon_mcc_ahead"] = str(sum(mean(gains) > 0 for gains in amazon))
    whole = mean_of_means(by_pair(read("medical"), "target_trained").values())
    return values | {"medical_gap": f"{whole:.1f}"}

"""Turn the board's JSON lines into benchmarks/RESULTS.md and the table in README.md.

    python benchmarks/report.py

Every number there comes from a line under benchmarks/results; none is written by hand.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from scipy.stats import t as student_t

HERE = Path(__file__).parent
BASELINE = "source_only"
# How many texts train in the table of all methods, and in the README's.
FAMILY, HEADLINE = 1000, 2400
START, END = "<!-- results: benchmarks/report.py writes this -->", "<!-- end of results -->"


def spread(values: list[float]) -> str:
    """Mean and standard deviation, as percentages."""
    if len(values) == 1:
        return f"{100 * values[0]:.1f}"
    return f"{100 * mean(values):.1f} ± {100 * stdev(values):.1f}"


def gain(rows: list[dict[str, Any]], baseline: dict[int, float]) -> str:
    """Mean gain over source-only of the same seeds, with its 95 % interval by Student's t."""
    pairs = [(row, baseline[row["seed"]]) for row in rows if row["seed"] in baseline]
    gains = [100 * (row["target_accuracy"] - before) for row, before in pairs]
    if not gains:
        return "–"
    if len(gains) == 1:
        return f"{gains[0]:+.1f}"
    half = student_t.ppf(0.975, len(gains) - 1) * stdev(gains) / len(gains) ** 0.5
    return f"{mean(gains):+.1f} ± {half:.1f}"


def table(rows: list[dict[str, Any]]) -> str:
    """One line a method, for one pair of domains."""
    lines = [
        "| method | seeds | target accuracy | worst | gain | macro-F1 | source acc. | A-distance |",
        "|---|---|---|---|---|---|---|---|",
    ]
    baseline = {r["seed"]: r["target_accuracy"] for r in rows if r["method"] == "source_only"}
    order = {"source_only": 0, "target_trained": 2}
    for method in sorted({r["method"] for r in rows}, key=lambda m: (order.get(m, 1), m)):
        own = [r for r in rows if r["method"] == method]
        accuracies = [r["target_accuracy"] for r in own]
        cells = [
            method,
            str(len(own)),
            spread(accuracies),
            f"{100 * min(accuracies):.1f}",
            "" if method == "source_only" else gain(own, baseline),
            spread([r["target_macro_f1"] for r in own]),
            spread([r["source_accuracy"] for r in own]),
            f"{mean(r['a_distance'] for r in own):.2f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def readme_table(rows: list[dict[str, Any]]) -> str:
    """The methods with at least five seeds beside their baselines, for README.md."""
    lines = [
        "| domains | method | seeds | target accuracy | worst | gain | macro-F1 | A-distance |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for source, target in sorted({(r["source"], r["target"]) for r in rows}):
        own = [r for r in rows if (r["source"], r["target"]) == (source, target)]
        counts = Counter(r["method"] for r in own)
        shown = {m for m, n in counts.items() if n >= 5} | {"target_trained"}
        for line in table([r for r in own if r["method"] in shown]).splitlines()[2:]:
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            method, seeds, accuracy, worst, gained, f1, _, distance = cells
            cells = [f"{source} → {target}", method, seeds, accuracy, worst, gained, f1, distance]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def family(rows: list[dict[str, Any]], costs: list[dict[str, Any]]) -> str:
    """One line a method: what it costs, and what it gives on each pair."""
    pairs = sorted({(r["source"], r["target"]) for r in rows if "+" not in r["source"]})
    head = ["method", "parameters", "time", "peak GiB"]
    for source, target in pairs:
        head += [f"{source} → {target}: accuracy", "macro-F1", "gain", "A-distance"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    cost = {row["method"]: row for row in costs}
    order = {"source_only": 0, "target_trained": 2}
    shown = {r["method"] for r in rows if (r["source"], r["target"]) in pairs}
    for method in sorted(shown, key=lambda m: (order.get(m, 1), m)):
        own = cost.get(method)
        cells = [method]
        cells += (
            [f"{own['parameters']:,}", f"{own['time_ratio']:.2f}", f"{own['peak_gib']:.1f}"]
            if own
            else ["", "", ""]
        )
        for pair in pairs:
            here = [r for r in rows if (r["source"], r["target"]) == pair]
            baseline = {r["seed"]: r["target_accuracy"] for r in here if r["method"] == BASELINE}
            mine = [r for r in here if r["method"] == method]
            if not mine:
                cells += ["", "", "", ""]
                continue
            cells += [
                spread([r["target_accuracy"] for r in mine]),
                spread([r["target_macro_f1"] for r in mine]),
                "" if method == BASELINE else gain(mine, baseline),
                f"{mean(r['a_distance'] for r in mine):.2f}",
            ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def read(name: str) -> list[dict[str, Any]]:
    """Read a file of JSON lines."""
    return [json.loads(line) for line in (HERE / "results" / name).read_text().splitlines()]


def main() -> None:
    files = sorted(p.name for p in (HERE / "results").glob("*.jsonl"))
    rows = [row for name in files if name != "costs.jsonl" for row in read(name)]
    costs = read("costs.jsonl") if "costs.jsonl" in files else []
    parts = [
        "# Results",
        "Made by `python benchmarks/report.py` from `benchmarks/results/*.jsonl`, which "
        "`python benchmarks/board.py` and `python benchmarks/costs.py` write. Accuracies and F1 "
        "are percentages with the standard deviation over seeds; gain is over source-only of the "
        "same seeds, in points, with its 95 % interval over seeds (Student's t). `target_trained` "
        "is what the target's own labels give. A row of one seed shows a direction, no more.",
    ]
    if of_family := [r for r in rows if r["settings"]["train_texts"] == FAMILY]:
        parts += [
            "## The family",
            f"At most {FAMILY:,} texts of each domain to train on, three epochs, every method at "
            "its defaults. Parameters are those the method adds; time is that of training as a "
            "ratio to source-only's, and peak memory that of the process (`costs.py`).",
            family(of_family, costs),
        ]
    keys = sorted(
        {(r["board"], r["settings"]["train_texts"], r["source"], r["target"]) for r in rows}
    )
    for board, texts, source, target in keys:
        own = [r for r in rows if (r["board"], r["source"], r["target"]) == (board, source, target)]
        own = [r for r in own if r["settings"]["train_texts"] == texts]
        parts += [f"## {board}: {source} → {target}, {texts:,} texts to train on", table(own)]
    minutes = sum(r["seconds"] for r in rows) / 60
    parts.append(
        f"{len(rows)} runs, {minutes:.0f} minutes of training in all. The seconds in the lines "
        "were taken while other work shared the machine; `benchmarks/speed.py` is for speed."
    )
    (HERE / "RESULTS.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    readme = HERE.parent / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(START)
    after = rest.split(END)[1]
    headline = [r for r in rows if r["settings"]["train_texts"] == HEADLINE]
    text = f"{before}{START}\n{readme_table(headline)}\n{END}{after}"
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

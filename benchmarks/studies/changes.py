"""Single changes to a student of the large encoder."""

from __future__ import annotations

from statistics import mean
from typing import Any

from tables import BASELINE, heading, label, of_board, read, row_of

CHANGES = {
    "ens3": "the mean of three seeds' source models teaches",
    "gen2": "the student teaches a second one",
    "gen2ens3": "the mean of three students teaches a second one",
    "confident": "the student learns from only the surest 80 % of the texts",
    "union": "the student also learns from the source's texts",
    "epochs6": "six epochs instead of three",
    "lr3e-5": "learning rate 3e-5 instead of 2e-5",
    "lr1e-5": "learning rate 1e-5",
    "k0": "no neighbours",
}
"""What each trial of a student changed."""


def sections() -> list[str]:
    large = of_board(read("base"), "sentiment")
    return [
        "## Students that were tried",
        "Single changes to what `student` does with the large encoder, on pairs with a star, "
        "seed 0: gain in points over source-only, and over the student of the same pair and "
        "seed. A teacher of three seeds costs two more trainings. These students were "
        'trained outside the board with the parts of `DomainAdapter(method="student")`.',
        table(read("base_students"), large),
    ]


def table(trials: list[dict[str, Any]], rows: list[dict[str, Any]]) -> str:
    """What each change of the student gains over the student of the same pair and seed."""
    accuracies = {
        name: {(r["source"], r["target"], r["seed"]): r["target_accuracy"] for r in rows
               if label(r) == name}
        for name in (BASELINE, "student")
    }  # fmt: skip
    head = ["change", "runs", "gain over source_only", "over the student", "worst", "best"]
    lines = heading(head)
    for name, meaning in CHANGES.items():
        runs = [r for r in trials if r["trial"] == name]
        keys = [(r["source"], r["target"], r["seed"]) for r in runs]
        gain, change = (
            [
                100 * (r["target_accuracy"] - accuracies[reference][key])
                for r, key in zip(runs, keys, strict=True)
            ]
            for reference in (BASELINE, "student")
        )
        numbers = (f"{x:+.1f}" for x in (mean(gain), mean(change), min(change), max(change)))
        lines.append(row_of([meaning, str(len(runs)), *numbers]))
    return "\n".join(lines)


def figures() -> dict[str, str]:
    """The gain of each change over the student."""
    lines = table(read("base_students"), of_board(read("base"), "sentiment")).splitlines()[2:]
    gains = (line.split("|")[4].strip().lstrip("+") for line in lines)
    return dict(zip((name.replace("-", "_") for name in CHANGES), gains, strict=True))

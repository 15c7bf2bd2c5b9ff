"""A student with too few texts: `board.py`."""

from __future__ import annotations

from statistics import mean

from tables import gain_and_loss, gains_of, of_pair, read, table


def sections() -> list[str]:
    return [
        "## Too few texts for a student",
        "`python benchmarks/board.py --pairs movies:tweets --methods source_only student "
        "--seeds 0 --train-texts 400 --test-texts 500 --set freeze_layers=4 learning_rate=1e-4 "
        "--out benchmarks/results/few.jsonl`",
        table(read("few")),
    ]


def figures() -> dict[str, str]:
    """Gains on pairs of other boards that have few texts, with the large encoder."""
    values: dict[str, str] = {}
    for pair in (("kitchen", "books"), ("abstracts", "notes"), ("electronics", "dvd")):
        for method in ("student", "mcc", "dann", "target_trained"):
            if gains := gains_of(of_pair(read("base"), pair), method):
                values |= gain_and_loss(f"{pair[1]}_{method}", mean(gains))
    return values

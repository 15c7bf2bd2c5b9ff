"""How a source-only model starts: `starts.py`."""

from __future__ import annotations

import starts
from tables import read


def sections() -> list[str]:
    return [
        "## How a source-only model starts",
        "`python benchmarks/starts.py --sources movies --starts plain LP-FT --train-texts 1000 "
        "--test-texts 300 --out benchmarks/results/starts.jsonl`: a head that starts at random "
        "(plain) or from a logistic regression (LP-FT), and weights moved back "
        "towards the pretrained ones (the share of training is below 1: WiSE-FT). Means in "
        "percent over pairs; spread is the standard deviation over seeds of a pair, worst a "
        "single run, and the last column the share of target texts that two seeds label alike.",
        starts.table(read("starts")),
    ]


def figures() -> dict[str, str]:
    """Accuracy on the other domains, by start and share of training."""
    means = {}
    for line in starts.table(read("starts")).splitlines()[2:]:
        cells = [cell.strip() for cell in line.split("|")[2:-1]]
        means[cells[0], cells[1]] = float(cells[6])
    plain = means["plain", "1.0"]
    return {
        "plain": f"{plain:.1f}",
        "probed": f"{means['LP-FT', '1.0']:.1f}",
        "moved_back": f"{plain - means['plain', '0.75']:.1f}",
    }

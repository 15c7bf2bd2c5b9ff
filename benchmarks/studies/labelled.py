"""What a few labels of the target are worth: `labels.py`."""

from __future__ import annotations

import labels
from tables import read


def sections() -> list[str]:
    return [
        "## A few labels of the target",
        "`python benchmarks/labels.py`: accuracy of source-only's predictions after the given "
        "number of target texts were labelled and the labels spread to the nearest texts. "
        "Means over pairs and five draws, one seed of source-only.",
        labels.report(read("labels")),
    ]


def tables() -> dict[str, str]:
    return {"labels": labels.readme(read("labels"))}

"""The boards: their domains, and which texts are used to train, adapt and test."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any

from dann_transfer import datasets

DOMAINS = {
    "sentiment": ("tweets", "amazon", "movies", "nyt"),
    "amazon": ("books", "dvd", "electronics", "kitchen"),
    "banking": ("clinc150", "banking77"),
    "finance": ("news", "tweets"),
    "medical": ("abstracts", "notes"),
}

# All defaults were chosen on these pairs of the sentiment board. Results on the other pairs were
# not looked at while choosing.
TUNED = {
    ("movies", "tweets"),
    ("tweets", "nyt"),
    ("amazon", "tweets"),
    ("movies", "amazon"),
    ("nyt", "amazon"),
    ("nyt", "movies"),
}


@dataclass(frozen=True)
class Split:
    """The texts of one domain by role. It does not hold labels of the unlabelled texts."""

    train: tuple[list[str], list[Any]]
    unlabelled: list[str]
    test: tuple[list[str], list[Any]]
    validation: tuple[list[str], list[Any]] | None = None
    own_test: tuple[list[str], list[Any]] | None = None
    """The test set of a model trained on this domain's own labels, for domains whose `test` holds
    texts that it was trained on."""


def pairs(board: str) -> list[tuple[str, str]]:
    """Return the ordered pairs of a board; the medical board has only abstracts to notes."""
    found = list(permutations(DOMAINS[board], 2))
    return found[:1] if board == "medical" else found


def data_folder() -> Path:
    """Return the folder of the benchmark data."""
    default = Path(__file__).parents[1] / ".." / "shared" / "data"
    return Path(os.environ.get("DANN_TRANSFER_DATA", default)).resolve()


def load(board: str, train_texts: int, test_texts: int | None = None) -> dict[str, Split]:
    """Read all domains of a board, with at most this many training and test texts of each.

    Raises
    ------
    FileNotFoundError
        If the board's data are not where ``DANN_TRANSFER_DATA`` says.

    """
    splits = _load(board, train_texts)
    return {name: _fewer(split, test_texts) for name, split in splits.items()}


def _fewer(split: Split, test_texts: int | None) -> Split:
    """Keep the first texts of the test sets, which are in random order."""
    test, own_test = (
        part and (part[0][:test_texts], part[1][:test_texts])
        for part in (split.test, split.own_test)
    )
    assert test is not None
    return replace(split, test=test, own_test=own_test)


def _load(board: str, train_texts: int) -> dict[str, Split]:
    if board == "sentiment":
        splits = {}
        for name, domain in datasets.load("sentiment").items():
            X, X_test, y, y_test = datasets.split(domain, train_texts)
            splits[name] = Split((X, y.tolist()), X, (X_test, y_test.tolist()))
        return splits

    import pandas as pd

    file = data_folder() / f"{board}.csv.gz"
    if not file.is_file():
        raise FileNotFoundError(
            f"the board {board!r} needs {file}, which is not there; set DANN_TRANSFER_DATA to the "
            "folder of the benchmark data, or run --board sentiment, which needs none."
        )
    frame = pd.read_csv(file)
    splits = {}
    for name in DOMAINS[board]:
        own = frame[frame["domain"] == name]

        def part(*kinds: str, own: Any = own) -> tuple[list[str], list[Any]]:
            rows = own[own["split"].isin(kinds)]
            labels = rows["label"]
            # Whole numbers are read as floats where unlabelled rows leave gaps.
            if labels.dtype.kind == "f":
                labels = labels.astype(int)
            return rows["text"].tolist(), labels.tolist()

        # The texts are shuffled, because files may be sorted by class.
        own = own.sample(frac=1, random_state=0)
        X, y = part("train", own=own)
        train = X[:train_texts], y[:train_texts]
        if board == "amazon":
            unlabelled = own.loc[own["split"] == "unlabelled", "text"].tolist()
            dev = part("dev", own=own)
            test = part("train", "dev", own=own)
            splits[name] = Split(train, unlabelled, test, dev, dev)
        else:
            splits[name] = Split(train, X[:train_texts], part("test", own=own))
    return splits

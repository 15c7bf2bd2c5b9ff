"""The boards: their domains, and which texts are used to train, adapt and test."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, fields, replace
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


@dataclass(frozen=True)
class Sample:
    """Which texts of a board a run has, as the settings of its row say."""

    train_texts: int
    """At most this many training texts of each domain."""
    test_texts: int | None = None
    """The first texts of each test set, which is in random order; None is all."""
    target_texts: int | None = None
    """The first unlabelled target texts, which are in random order; None is all. Baselines see none
    of them, so their rows do not have it."""
    split: int | None = None
    """The seed of the split; None is seed 0. Boards with splits of their own keep their test
    sets, and this draws the training texts."""

    @classmethod
    def of(cls, settings: dict[str, Any]) -> Sample:
        """Return the sample of a run with these settings."""
        return cls(**{field.name: settings.get(field.name) for field in fields(cls)})


def add_sample(
    parser: argparse.ArgumentParser, train_texts: int, test_texts: int | None = None
) -> None:
    """Add the options that say which texts a run has, with these defaults."""
    parser.add_argument("--train-texts", type=int, default=train_texts, help="per domain")
    parser.add_argument("--test-texts", type=int, default=test_texts, help="per domain")
    parser.add_argument("--target-texts", type=int, help="without labels; default: all")
    parser.add_argument("--split", type=int, help="the seed of another split than the usual one")


def sample_of(args: argparse.Namespace) -> Sample:
    """Return the sample that the command line asks for."""
    return Sample.of(vars(args))


def pairs(board: str) -> list[tuple[str, str]]:
    """Return the ordered pairs of a board; the medical board has only abstracts to notes."""
    found = list(permutations(DOMAINS[board], 2))
    return found[:1] if board == "medical" else found


def data_folder() -> Path:
    """Return the folder of the benchmark data."""
    default = Path(__file__).parents[1] / ".." / "shared" / "data"
    return Path(os.environ.get("DANN_TRANSFER_DATA", default)).resolve()


def load(board: str, sample: Sample) -> dict[str, Split]:
    """Read a sample of all domains of a board.

    Raises
    ------
    FileNotFoundError
        If the board's data are not where ``DANN_TRANSFER_DATA`` says.

    """
    splits = _load(board, sample.train_texts, sample.split or 0)
    return {name: _fewer(split, sample) for name, split in splits.items()}


def _fewer(split: Split, sample: Sample) -> Split:
    """Keep the first texts of the test sets and without labels, which are in random order."""
    n = sample.test_texts
    test, own_test = (part and (part[0][:n], part[1][:n]) for part in (split.test, split.own_test))
    assert test is not None
    unlabelled = split.unlabelled[: sample.target_texts]
    return replace(split, test=test, own_test=own_test, unlabelled=unlabelled)


def _load(board: str, train_texts: int, seed: int) -> dict[str, Split]:
    if board == "sentiment":
        splits = {}
        for name, domain in datasets.load("sentiment").items():
            X, X_test, y, y_test = datasets.split(domain, train_texts, random_state=seed)
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
        own = own.sample(frac=1, random_state=seed)
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

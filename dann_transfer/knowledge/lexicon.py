"""Words and phrases that speak for classes."""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from dann_transfer.knowledge.base import (
    Knowledge,
    Reason,
    State,
    number,
    plain_label,
    positions,
    reason_of,
)
from dann_transfer.knowledge.phrases import Phrases, is_findable, plain, words_of

NEGATORS = (
    "not", "no", "never", "none", "nobody", "nothing", "neither", "nor", "cannot", "without",
    "hardly", "scarcely", "barely",
)  # fmt: skip
"""English words that negate a phrase up to `REACH` words later, besides those that end in "n't"."""
REACH = 3


class Lexicon(Knowledge):
    """Words and phrases with the classes that they speak for.

    The evidence of a text is the sum over its longest phrases, divided by the root of their number,
    since phrases of a text repeat each other. Case does not matter, and ``_`` and ``-`` count as
    spaces. A phrase up to three words after a negation counts against its classes.

    Parameters
    ----------
    entries : mapping
        From a phrase to the class that it speaks for, or to a mapping of classes to weights, of
        which 1 is a usual one and a negative one speaks against the class.
    negators : collection of str
        Words that negate, `NEGATORS` by default, which are English; a word that ends in "n't" is
        one of these if "not" is. An empty one leaves out negation.

    Raises
    ------
    TypeError, ValueError
        If there is no entry, or one is no phrase of words or has a weight that is not finite.

    References
    ----------
    Hutto and Gilbert, VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social
    Media Text, ICWSM 2014, for negation within three words.

    Examples
    --------
    >>> lexicon = Lexicon({"refund": "returns", "money back": "returns", "parcel": "delivery"})
    >>> lexicon.fit(["a refund", "a parcel"], ["returns", "delivery"]).classes_.tolist()
    ['delivery', 'returns']
    >>> values, coverage = lexicon.evidence(["My MONEY BACK, please", "Hello"])
    >>> values.tolist(), coverage
    ([[-0.5, 0.5], [0.0, 0.0]], 0.5)
    >>> print(*lexicon.explain("My money back, please"))
    returns: +0.50 by 'money back' (it is in the lexicon)

    """

    def __init__(self, entries: Mapping[str, Any], negators: Collection[str] = NEGATORS) -> None:
        if not isinstance(entries, Mapping):
            raise TypeError(f"entries is a {type(entries).__name__}; pass a mapping of phrases.")
        if not entries:
            raise ValueError("a lexicon without entries says nothing; pass at least one phrase.")
        if isinstance(negators, str):
            raise TypeError(f"negators is a single str, {negators!r}; pass a list of words.")
        self.negators = frozenset(word.lower() for word in negators)
        self.entries: dict[str, dict[Any, float]] = {}
        for phrase, classes in entries.items():
            weights = _weights(phrase, classes)
            key = plain(phrase)
            if self.entries.setdefault(key, weights) != weights:
                raise ValueError(
                    f"{phrase!r} is in the lexicon twice, with {self.entries[key]} and {weights}; "
                    "case, _ and - make no difference. Leave one out."
                )
        self._phrases = Phrases(list(self.entries))

    @classmethod
    def from_csv(cls, path: str | PathLike[str], separator: str = ",", **settings: Any) -> Lexicon:
        """Read a file with a phrase, a class and perhaps a weight in each line.

        A first line ``phrase,class`` or ``phrase,class,weight`` is left out. A phrase in several
        lines speaks for several classes.

        Raises
        ------
        ValueError
            If a line has other columns, by its number.

        """
        entries: dict[str, dict[Any, float]] = {}
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            for row in (reader := csv.reader(file, delimiter=separator)):
                where = f"{str(path)!r}, line {reader.line_num}"
                if not row or (reader.line_num == 1 and row[:2] == ["phrase", "class"]):
                    continue
                if len(row) not in (2, 3):
                    raise ValueError(f"{where} has {len(row)} columns: phrase, class and weight.")
                weight = 1.0
                if len(row) == 3:
                    try:
                        weight = float(row[2])
                    except ValueError:
                        raise ValueError(f"{where}: the weight {row[2]!r} is no number.") from None
                entries.setdefault(row[0], {})[row[1]] = weight
        return cls(entries, **settings)

    @classmethod
    def of_polarities(
        cls, polarities: Mapping[str, float], positive: Any, negative: Any, **settings: Any
    ) -> Lexicon:
        """Return the lexicon of numbers that are above 0 for one class and below 0 for another.

        Entries that are no phrases of words, such as emoticons, are left out. VADER's is
        ``SentimentIntensityAnalyzer().lexicon``, from the package vaderSentiment, and SenticNet's
        is `datasets.polarities`.

        Examples
        --------
        >>> lexicon = Lexicon.of_polarities({"superb": 3, "dull": -1.5, ":-)": 2}, "pos", "neg")
        >>> lexicon.entries
        {'superb': {'pos': 3.0, 'neg': -3.0}, 'dull': {'pos': -1.5, 'neg': 1.5}}

        """
        entries: dict[str, dict[Any, float]] = {}
        for phrase, polarity in polarities.items():
            value = number(polarity, f"the polarity of {phrase!r}")
            if is_findable(phrase):
                # Of spellings that differ in case alone, the first counts.
                entries.setdefault(plain(phrase), {positive: value, negative: -value})
        return cls(entries, **settings)

    def __repr__(self) -> str:
        return f"Lexicon({len(self.entries):,} phrases)"

    def labels(self) -> Collection[Any]:
        """Return the classes of its entries."""
        return {label for weights in self.entries.values() for label in weights}

    def unsaved(self) -> str:
        """Say nothing: it can be saved."""
        return ""

    def learn(self, texts: Sequence[str], codes: np.ndarray, target: Sequence[str]) -> None:
        """Put the entries in the order of the classes."""
        places = positions(self.classes_)
        self._table = np.zeros((len(self.entries), len(self.classes_)))
        for row, weights in zip(self._table, self.entries.values(), strict=True):
            for label, weight in weights.items():
                row[places[label]] = weight

    def values(self, texts: Sequence[str]) -> np.ndarray:
        """Return the sum of the entries in each text over the root of their number."""
        sums = np.zeros((len(texts), len(self.classes_)))
        for row, text in zip(sums, texts, strict=True):
            parts = self._parts(text)
            if parts:
                row[:] = sum(values for values, _, _ in parts) / np.sqrt(len(parts))
        return sums

    def reasons(self, text: str) -> list[Reason]:
        """Return the entries in a text, and whether they are negated."""
        parts = self._parts(text)
        return [
            reason_of(
                self.classes_,
                values / np.sqrt(len(parts)),
                phrase,
                f"negated by {negator!r}" if negator else "it is in the lexicon",
            )
            for values, phrase, negator in parts
        ]

    def _parts(self, text: str) -> list[tuple[np.ndarray, str, str]]:
        """Return evidence, phrase and negator, if any, of each entry in a text."""
        words, parts = words_of(text), []
        for match in self._phrases.find_in(words):
            before = words[max(0, match.start - REACH) : match.start]
            negator = next((word for word in reversed(before) if self._negates(word)), "")
            values = self._table[match.phrase]
            parts.append(
                (-values if negator else values, self._phrases.phrases[match.phrase], negator)
            )
        return parts

    def _negates(self, word: str) -> bool:
        return word in self.negators or ("not" in self.negators and word.endswith("n't"))

    def state(self) -> State:
        """Return what saves it."""
        # As pairs, because the keys of a JSON object are strings.
        entries = [[phrase, list(weights.items())] for phrase, weights in self.entries.items()]
        return {"entries": entries, "negators": sorted(self.negators)}, {}

    @classmethod
    def from_state(
        cls, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray], classes: np.ndarray
    ) -> Lexicon:
        """Return the object that `state` was taken of."""
        lexicon = cls(
            {phrase: dict(pairs) for phrase, pairs in values["entries"]}, values["negators"]
        )
        lexicon.classes_ = classes
        lexicon.learn((), np.empty(0, int), ())
        return lexicon


def _weights(phrase: Any, classes: Any) -> dict[Any, float]:
    """Return the weights of a phrase by class."""
    if not isinstance(phrase, str):
        raise TypeError(f"the lexicon's phrase {phrase!r} is no string.")
    if not is_findable(phrase):
        raise ValueError(
            f"the lexicon's phrase {phrase!r} holds signs that are not part of words, so no text "
            "contains it; leave it out, or write a rule: Rules((pattern, label))."
        )
    if not isinstance(classes, Mapping):
        return {plain_label(classes): 1.0}
    if not classes:
        raise ValueError(f"the lexicon's phrase {phrase!r} has no class; pass {{class: weight}}.")
    return {
        plain_label(label): number(weight, f"the weight of {phrase!r} for {label!r}")
        for label, weight in classes.items()
    }

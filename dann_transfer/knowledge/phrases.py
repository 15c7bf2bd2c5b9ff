"""The phrases of a vocabulary that texts contain."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_JOINED = re.compile(r"[\s_-]+")


class Match(NamedTuple):
    """A phrase in a text."""

    phrase: int
    """The position of the phrase in its vocabulary."""
    start: int
    end: int
    """The places of its first word, and of the word after its last."""


def words_of(text: str) -> list[str]:
    """Return the words of a text, in small letters.

    Examples
    --------
    >>> words_of("It isn’t a four-star HOTEL.")
    ['it', "isn't", 'a', 'four', 'star', 'hotel']

    """
    return [word.replace("’", "'") for word in _WORD.findall(text.lower())]


def plain(phrase: str) -> str:
    """Return a phrase as it is looked up: small letters, with single spaces for _ and -.

    Examples
    --------
    >>> plain("Four_star  hotel")
    'four star hotel'

    """
    return _JOINED.sub(" ", phrase.lower().replace("’", "'")).strip()


def is_findable(phrase: str) -> bool:
    """Return whether a phrase consists of words, so that a text can contain it."""
    return bool(phrase.strip()) and " ".join(words_of(plain(phrase))) == plain(phrase)


class Phrases:
    """A vocabulary of phrases.

    Parameters
    ----------
    phrases : sequence of str
        Distinct, as `plain` returns them.

    Examples
    --------
    >>> phrases = Phrases(["waste", "waste of time", "time"])
    >>> [phrases.phrases[match.phrase] for match in phrases.find("A waste of time, not of money")]
    ['waste of time']

    """

    def __init__(self, phrases: Sequence[str]) -> None:
        self.phrases = phrases
        self._places = {phrase: i for i, phrase in enumerate(phrases)}
        self._longest: dict[str, int] = {}
        for phrase in phrases:
            first = phrase.partition(" ")[0]
            self._longest[first] = max(self._longest.get(first, 0), phrase.count(" ") + 1)

    def find(self, text: str) -> list[Match]:
        """Return the longest phrases of a text from its beginning to its end, without overlap."""
        return self.find_in(words_of(text))

    def find_in(self, words: Sequence[str]) -> list[Match]:
        """Return the same for the words of a text."""
        matches, start = [], 0
        while start < len(words):
            longest = min(self._longest.get(words[start], 0), len(words) - start)
            for end in range(start + longest, start, -1):
                place = self._places.get(" ".join(words[start:end]))
                if place is not None:
                    matches.append(Match(place, start, end))
                    start = end
                    break
            else:
                start += 1
        return matches

    def presence(self, texts: Sequence[str]) -> Any:
        """Return which phrases each text has, a sparse matrix of 0 and 1, shape (n, phrases)."""
        from scipy.sparse import csr_array

        rows = [np.unique([match.phrase for match in self.find(text)]) for text in texts]
        ends = np.cumsum([0, *map(len, rows)])
        places = np.concatenate([np.empty(0, int), *rows]).astype(int)
        ones = np.ones(len(places))
        return csr_array((ones, places, ends), shape=(len(texts), len(self.phrases)))

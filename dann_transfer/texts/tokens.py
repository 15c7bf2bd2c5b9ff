"""Turn checked texts into tokens: stored flat and cut to a length, with the cut ones counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from dann_transfer.ground.notices import warn


class TruncationWarning(UserWarning):
    """Some texts were longer than ``max_length`` tokens and were cut."""


@dataclass(frozen=True)
class Tokens:
    """Tokenised texts, stored flat: text i is ``ids[offsets[i]:offsets[i + 1]]``."""

    ids: np.ndarray
    offsets: np.ndarray
    pad_id: int = 0

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Number of tokens of each text, shape (n,)."""
        return np.diff(self.offsets)

    def text(self, i: int) -> np.ndarray:
        """Return the token ids of text i."""
        return self.ids[self.offsets[i] : self.offsets[i + 1]]

    def take(self, rows: Sequence[int] | np.ndarray) -> Tokens:
        """Return the texts at `rows`, in that order."""
        return Tokens.from_rows([self.text(i) for i in rows], self.pad_id)

    def same_as(self, other: Tokens) -> bool:
        """Return whether these are the same texts in the same order."""
        return (
            np.array_equal(self.offsets, other.offsets)
            and np.array_equal(self.ids, other.ids)
            and self.pad_id == other.pad_id
        )

    @classmethod
    def from_rows(cls, rows: Sequence[Any], pad_id: int = 0) -> Tokens:
        """Store texts, each a sequence of token ids, one after the other.

        Examples
        --------
        >>> Tokens.from_rows([[5, 6, 7], [8]]).lengths
        array([3, 1])

        """
        lengths = [len(row) for row in rows]
        # Every vocabulary fits in 32 bits.
        ids = np.concatenate([np.asarray(row, dtype=np.int32) for row in rows])
        return cls(ids, np.concatenate([[0], np.cumsum(lengths)]), pad_id)


def pad(rows: Sequence[np.ndarray], pad_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Stack rows of unequal length: ids and attention mask, each (rows, longest).

    Examples
    --------
    >>> ids, mask = pad([np.array([5, 6, 7]), np.array([8])], pad_id=0)
    >>> ids.tolist(), mask.tolist()
    ([[5, 6, 7], [8, 0, 0]], [[1, 1, 1], [1, 0, 0]])

    """
    longest = max(len(row) for row in rows)
    ids = np.full((len(rows), longest), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), longest), dtype=np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return ids, mask


def by_length(
    tokens: Tokens, batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield (rows, ids, mask) over all texts, longest first so that memory peaks early."""
    order = np.argsort(-tokens.lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        yield rows, *pad([tokens.text(i) for i in rows], tokens.pad_id)


def tokenize(tokenizer: Any, texts: Sequence[str], max_length: int) -> tuple[Tokens, int]:
    """Tokenise texts without padding, cutting each to max_length tokens. Safe in threads.

    Returns
    -------
    tokens : Tokens
    truncated : int
        How many texts were longer than max_length tokens.

    """
    tokens, cut = _tokenize_all(tokenizer, texts, max_length)
    return tokens, len(cut)


def _tokenize_all(
    tokenizer: Any, texts: Sequence[str], max_length: int
) -> tuple[Tokens, list[int]]:
    """Return the tokens of texts, and the positions of those that are cut."""
    with _TOKENIZING:
        return _tokenize(tokenizer, texts, max_length)


# A fast tokenizer stores its truncation setting in itself, which threads would share.
_TOKENIZING = Lock()


# More characters than a token has on average, so that few texts are tokenised twice.
_CHARACTERS = 32


def _tokenize(tokenizer: Any, texts: Sequence[str], max_length: int) -> tuple[Tokens, list[int]]:
    texts = [
        text if len(text) <= _CHARACTERS * max_length else _head(tokenizer, text, max_length)
        for text in texts
    ]
    rows = tokenizer(texts, verbose=False, return_attention_mask=False)["input_ids"]
    # The tokenizer cuts the long ones itself, because only it knows where special tokens go.
    too_long = [i for i, row in enumerate(rows) if len(row) > max_length]
    if too_long:
        cut = tokenizer(
            [texts[i] for i in too_long],
            truncation=True,
            max_length=max_length,
            return_attention_mask=False,
        )["input_ids"]
        for i, row in zip(too_long, cut, strict=True):
            rows[i] = row
    pad_id = tokenizer.pad_token_id
    pad_id = 0 if pad_id is None else pad_id
    # For an empty text some tokenizers return no token at all, but a mean needs one.
    return Tokens.from_rows([row or [pad_id] for row in rows], pad_id), too_long


def _head(tokenizer: Any, text: str, max_length: int) -> str:
    """Return enough of a very long text to give more than `max_length` tokens.

    A tokenizer that cuts still tokenises the whole text first, and a text may be a book. The cut
    is between two words, so that the tokens before it are those of the whole text.
    """
    size = _CHARACTERS * max_length
    if getattr(tokenizer, "truncation_side", "right") != "right":
        return text
    while size < len(text):
        end = text.rfind(" ", 0, size)
        if end <= 0:
            break
        ids = tokenizer(text[:end], add_special_tokens=False, verbose=False)["input_ids"]
        if len(ids) > max_length:
            return text[:end]
        size *= 4
    return text


class TokenStore:
    """The tokens of texts by text: a text that several runs or roles have is tokenised once.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
    max_length : int

    """

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self.tokenizer, self.max_length = tokenizer, max_length
        self._places: dict[str, int] = {}
        self._rows: list[np.ndarray] = []
        self._cut: list[bool] = []
        self._pad_id = 0

    def tokens(self, texts: Sequence[str]) -> tuple[Tokens, int]:
        """Return the tokens of texts, and how many of them are cut, as `tokenize` does."""
        new = [text for text in dict.fromkeys(texts) if text not in self._places]
        # In parts, since what a tokenizer returns takes many times the memory of what is kept.
        for start in range(0, len(new), _AT_ONCE):
            part = new[start : start + _AT_ONCE]
            tokens, cut = _tokenize_all(self.tokenizer, part, self.max_length)
            self._pad_id = tokens.pad_id
            for i, text in enumerate(part):
                self._places[text] = len(self._rows)
                self._rows.append(tokens.text(i))
            self._cut += np.isin(np.arange(len(part)), cut).tolist()
        places = [self._places[text] for text in texts]
        rows = Tokens.from_rows([self._rows[i] for i in places], self._pad_id)
        return rows, sum(self._cut[i] for i in places)


_AT_ONCE = 50_000


def unknown_share(tokenizer: Any, tokens: Tokens) -> float:
    """Return the share of tokens that stand for words outside the vocabulary.

    Examples
    --------
    >>> class Words:
    ...     unk_token_id, all_special_ids = 1, [0, 1, 2]
    >>> unknown_share(Words(), Tokens.from_rows([[2, 7, 1], [2, 1, 1]]))
    0.75

    """
    unknown = tokenizer.unk_token_id
    special = [i for i in tokenizer.all_special_ids if i != unknown]
    if unknown is None or len(special) == len(tokenizer.all_special_ids):
        return 0.0
    words = ~np.isin(tokens.ids, special)
    return float((tokens.ids[words] == unknown).mean()) if words.any() else 0.0


class UnknownTokensWarning(UserWarning):
    """Many words of some texts are not in the encoder's vocabulary."""


# Names and rare words make up a few; in a language unknown to the encoder, nearly all are unknown.
MANY_UNKNOWN = 0.1


def warn_unknown(unknown: dict[str, float]) -> None:
    """Warn of texts with many unknown words; `unknown` maps a kind of text to their share."""
    many = [
        f"{share:.0%} of the {name} texts'"
        for name, share in unknown.items()
        if share > MANY_UNKNOWN
    ]
    if many:
        warn(
            f"{' and '.join(many)} tokens are not in the encoder's vocabulary and look alike "
            "to it; use an encoder that was trained on their language and script.",
            UnknownTokensWarning,
        )


def warn_truncated(truncated: dict[str, tuple[int, int]], max_length: int) -> None:
    """Warn once of cut texts; `truncated` maps a kind of text to (number cut, number of all)."""
    cut = [f"{n} of {total} {name} texts" for name, (n, total) in truncated.items() if n]
    if cut:
        warn(
            f"{' and '.join(cut)} are longer than max_length={max_length} tokens and were cut; "
            "a larger max_length keeps more but takes more time.",
            TruncationWarning,
        )

"""Checked texts become tokens: stored flat, cut to a length, counted where they were cut."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np


class TruncationWarning(UserWarning):
    """Some texts were longer than ``max_length`` tokens and lost their end."""


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

    @classmethod
    def from_rows(cls, rows: Sequence[Any], pad_id: int = 0) -> Tokens:
        """Store texts, each a sequence of token ids, one after the other.

        Examples
        --------
        >>> Tokens.from_rows([[5, 6, 7], [8]]).lengths
        array([3, 1])

        """
        lengths = [len(row) for row in rows]
        ids = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows])
        return cls(ids, np.concatenate([[0], np.cumsum(lengths)]), pad_id)


def tokenize(tokenizer: Any, texts: Sequence[str], max_length: int) -> tuple[Tokens, int]:
    """Tokenise texts without padding, cutting each to max_length tokens. Safe in threads.

    Returns
    -------
    tokens : Tokens
    truncated : int
        How many texts were longer than max_length tokens.

    """
    with _TOKENIZING:
        return _tokenize(tokenizer, texts, max_length)


# A fast tokenizer keeps whether it cuts as a state of its own, which threads would share.
_TOKENIZING = Lock()


def _tokenize(tokenizer: Any, texts: Sequence[str], max_length: int) -> tuple[Tokens, int]:
    rows = tokenizer(list(texts), verbose=False, return_attention_mask=False)["input_ids"]
    # The tokenizer cuts the long ones itself, because it alone knows where special tokens go.
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
    return Tokens.from_rows(rows, 0 if pad_id is None else pad_id), len(too_long)


def warn_truncated(truncated: dict[str, tuple[int, int]], max_length: int) -> None:
    """Say once how many texts of each kind were cut; `truncated` maps a name to (cut, all)."""
    cut = [f"{n} of {total} {name} texts" for name, (n, total) in truncated.items() if n]
    if cut:
        warnings.warn(
            f"{' and '.join(cut)} are longer than max_length={max_length} tokens and lost their "
            "end; a larger max_length keeps more and costs more time.",
            TruncationWarning,
            stacklevel=3,
        )

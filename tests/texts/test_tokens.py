from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from dann_transfer.texts import tokens as corpus
from dann_transfer.texts.tokens import Tokens, tokenize, unknown_share, warn_unknown


@pytest.fixture
def tokenizer(tiny_encoder):
    return AutoTokenizer.from_pretrained(tiny_encoder)


@pytest.mark.parametrize("length", [8, 32])
def test_of_a_very_long_text_only_its_beginning_is_tokenised(length, tokenizer, monkeypatch):
    book = "good film the plot lol bad " * 40_000
    whole = tokenizer([book], truncation=True, max_length=length)["input_ids"][0]
    seen = []
    call = type(tokenizer).__call__

    def watched(self, texts, *args, **kwargs):
        seen.append(max(len(t) for t in ([texts] if isinstance(texts, str) else texts)))
        return call(self, texts, *args, **kwargs)

    monkeypatch.setattr(type(tokenizer), "__call__", watched)
    tokens, cut = tokenize(tokenizer, [book, "good film"], length)
    assert tokens.text(0).tolist() == whole
    assert tokens.text(1).tolist() == tokenizer(["good film"])["input_ids"][0]
    assert cut == 1
    assert max(seen) <= 32 * length
    # With few tokens in many characters, more text is read until there are enough.
    sparse = ("x" * 1500 + " ") * 60
    assert tokenize(tokenizer, [sparse], length)[0].lengths.tolist() == [length]
    # A single endless word has no place to be cut.
    endless = "x" * 5000
    assert tokenize(tokenizer, [endless], length)[0].lengths.tolist() == [3]


def test_an_empty_text_has_a_token(tokenizer, monkeypatch):
    assert tokenize(tokenizer, ["", "good"], 8)[0].lengths.tolist() == [2, 3]

    def bare(self, texts, **_):
        return {"input_ids": [[] for _ in texts]}

    monkeypatch.setattr(type(tokenizer), "__call__", bare)
    assert tokenize(tokenizer, ["", ""], 8)[0].lengths.tolist() == [1, 1]


def test_unknown_words_are_counted(tokenizer):
    tokens, _ = tokenize(tokenizer, ["good film", "ภาษาไทย film", "ภาษา ไทย"], 8)
    assert unknown_share(tokenizer, tokens) == pytest.approx(3 / 6)
    with pytest.warns(corpus.UnknownTokensWarning, match="^50% of the target texts' tokens are"):
        warn_unknown({"source": 0.05, "target": 0.5})


def test_a_tokenizer_that_knows_every_character_has_no_unknown_words(tokenizer, monkeypatch):
    tokens = Tokens.from_rows([[1, 2, 3]])
    tokenizer.unk_token = None
    assert unknown_share(tokenizer, tokens) == 0.0


def test_a_text_that_is_cut_at_its_beginning_is_looked_at_whole(tokenizer):
    tokenizer.truncation_side = "left"
    text = "film " * 4000 + "good " * 60
    tokens, cut = tokenize(tokenizer, [text], 16)
    assert tokens.text(0).tolist() == tokenizer(["good " * 14])["input_ids"][0]
    assert cut == 1

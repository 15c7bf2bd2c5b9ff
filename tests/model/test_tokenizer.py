"""The tokenizer that stands in a folder is the one that is used."""

from __future__ import annotations

import json
import warnings

import pytest
from conftest import make_tiny_encoder
from test_encoder import build
from tokenizers import Tokenizer, normalizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from dann_transfer.model.encoder import Encoder
from dann_transfer.model.tokenizer import (
    check_record,
    is_sentencepiece,
    probe_ids,
    probe_texts,
    read_tokenizer,
    record,
)

LOCAL = {"trust_remote_code": False, "local_files_only": True}
TEXTS = ["the (+) film", "the (-) film", "Good PLOT lol"]


def add_rules(folder, **config: object) -> str:
    """Write rules of the folder's own into tokenizer.json, and say what class reads it."""
    file = folder / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace("(+)", "good"),
            normalizers.Replace("(-)", "bad"),
            normalizers.BertNormalizer(lowercase=True),
        ]
    )
    tokenizer.save(str(file))
    settings = folder / "tokenizer_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), **config}))
    return str(folder)


def ids_of(file, texts: list[str]) -> list[list[int]]:
    return [row.ids for row in Tokenizer.from_file(str(file)).encode_batch(texts)]


@pytest.mark.parametrize(
    ("kind", "reader"),
    [
        ("bert", "BertTokenizer"),
        ("distilbert", "DistilBertTokenizer"),
        ("electra", "ElectraTokenizer"),
        ("mpnet", "MPNetTokenizer"),
        ("roberta", "RobertaTokenizer"),
        ("qwen2", "Qwen2Tokenizer"),
        ("qwen2", "PreTrainedTokenizerFast"),
        ("bert", None),
        # Their classes cannot read the file.
        ("albert", None),
        ("deberta-v2", "DebertaV2Tokenizer"),
        ("roformer", None),
    ],
)
def test_the_rules_in_tokenizer_json_act(kind, reader, tmp_path, tiny_encoder):
    plain = AutoTokenizer.from_pretrained(tiny_encoder)
    folder = build(kind, tmp_path, plain, **({"num_key_value_heads": 4} if kind == "qwen2" else {}))
    add_rules(tmp_path, tokenizer_class=reader)
    with warnings.catch_warnings():
        # Whether AutoTokenizer agrees depends on the release.
        warnings.simplefilter("ignore", UserWarning)
        tokenizer = read_tokenizer(folder, LOCAL)
    assert probe_ids(tokenizer, TEXTS) == ids_of(tmp_path / "tokenizer.json", TEXTS)
    good, bad, _ = (tokenizer.convert_ids_to_tokens(row) for row in probe_ids(tokenizer, TEXTS))
    assert (good[2], bad[2]) == ("good", "bad")


def test_a_reading_other_than_autotokenizer_s_is_said(tmp_path):
    make_tiny_encoder(tmp_path)
    folder = add_rules(tmp_path, tokenizer_class="BertTokenizer")
    usual = AutoTokenizer.from_pretrained(folder)
    if probe_ids(usual, TEXTS) == ids_of(tmp_path / "tokenizer.json", TEXTS):
        pytest.skip("this release of transformers keeps the rules")
    words = r"of transformers .* reads texts otherwise: of 'the \(\+\) film' it makes"
    with pytest.warns(UserWarning, match=words) as said:
        Encoder.from_pretrained(folder)
    assert len(said) == 1


def test_a_tokenizer_that_agrees_is_taken_without_a_word(tiny_encoder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenizer = read_tokenizer(tiny_encoder, LOCAL)
    usual = AutoTokenizer.from_pretrained(tiny_encoder)
    texts = probe_texts(tokenizer)
    assert probe_ids(tokenizer, texts) == probe_ids(usual, texts)
    assert tokenizer.special_tokens_map == usual.special_tokens_map
    assert tokenizer.model_max_length == usual.model_max_length == 64


def test_special_tokens_that_only_the_class_knows(tmp_path):
    folder = make_tiny_encoder(tmp_path)
    settings = {"tokenizer_class": "BertTokenizer", "truncation_side": "left"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = read_tokenizer(folder, LOCAL)
    assert (tokenizer.pad_token_id, tokenizer.mask_token_id, tokenizer.cls_token_id) == (0, 4, 2)
    assert tokenizer.truncation_side == "left"


def test_a_folder_without_the_file_is_read_from_its_vocabulary(tmp_path):
    folder = make_tiny_encoder(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    tokenizer = read_tokenizer(folder, LOCAL)
    assert tokenizer.convert_ids_to_tokens(probe_ids(tokenizer, ["Good"])[0])[1] == "good"


def test_a_record_finds_another_rule_another_word_and_another_token(tmp_path):
    make_tiny_encoder(tmp_path)
    tokenizer = read_tokenizer(add_rules(tmp_path), LOCAL)
    saved = json.loads(json.dumps(record(tokenizer)))
    check_record(saved, tokenizer, "here")
    file = tmp_path / "tokenizer.json"
    text = file.read_text()
    for old, new in (
        ("(+)", "(#)"),
        ('"good"', '"gut"'),
        ('"lowercase":true', '"lowercase":false'),
    ):
        body = json.loads(text)
        changed = json.dumps(body, separators=(",", ":")).replace(old, new)
        assert changed != json.dumps(body, separators=(",", ":"))
        file.write_text(changed)
        other = PreTrainedTokenizerFast(tokenizer_file=str(file))
        with pytest.raises(
            ValueError, match=r"'here' was saved with transformers .*other ids with"
        ):
            check_record(saved, other, "here")


def test_a_folder_of_a_later_release_names_that_release(tmp_path, monkeypatch):
    folder = make_tiny_encoder(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "transformers_version": "99.1"}))

    def fail(*_, **__):
        raise ValueError("Tokenizer class TokenizersBackend does not exist.")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", fail)
    with pytest.raises(
        ValueError, match=r"saved with transformers 99\.1, and this is .*: install 99 or"
    ):
        Encoder.from_pretrained(folder)


SPM = "sentencepiece"


@pytest.fixture
def sentencepiece_folder(tmp_path):
    """A DeBERTa-v2 whose only vocabulary is a sentencepiece model with rules of its own."""
    sentencepiece = pytest.importorskip(SPM)
    from transformers import DebertaV2Config, DebertaV2Model

    (tmp_path / "rules.tsv").write_text("20AC\t67 6F 6F 64\n")
    (tmp_path / "texts.txt").write_text("the good film\nthe bad film\na fine plot\n" * 50)
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "texts.txt"),
        model_prefix=str(tmp_path / "spm"),
        vocab_size=21,
        normalization_rule_tsv=str(tmp_path / "rules.tsv"),
        pad_id=0,
        unk_id=1,
        bos_id=2,
        eos_id=3,
        pad_piece="[PAD]",
        unk_piece="[UNK]",
        bos_piece="[CLS]",
        eos_piece="[SEP]",
        minloglevel=2,
    )
    for name in ("rules.tsv", "texts.txt", "spm.vocab"):
        (tmp_path / name).unlink()
    config = DebertaV2Config(
        vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16,
    )  # fmt: skip
    DebertaV2Model(config).save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "DebertaV2Tokenizer"}')
    return tmp_path


def test_a_sentencepiece_model_keeps_its_own_rules(sentencepiece_folder):
    tokenizer = read_tokenizer(str(sentencepiece_folder), LOCAL)
    rows = probe_ids(tokenizer, ["the € film", "the good film", "the bad film"])
    assert rows[0] == rows[1] != rows[2]


def test_a_sentencepiece_model_without_the_package_names_it(tmp_path, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == SPM else find(name, *a)
    )
    folder = make_tiny_encoder(tmp_path)
    (tmp_path / "tokenizer.json").unlink()

    def fail(*_, **__):
        raise ValueError("`tiktoken` is required to read a `tiktoken` file. Install it.")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", fail)
    with pytest.raises(ValueError, match=r"is a sentencepiece model: pip install sentencepiece"):
        Encoder.from_pretrained(folder)


def test_a_table_of_tiktoken_is_no_sentencepiece_model(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(b"IQ== 0\nIg== 1\n")
    assert not is_sentencepiece(tmp_path / "tokenizer.model")
    assert not is_sentencepiece(tmp_path / "absent.model")

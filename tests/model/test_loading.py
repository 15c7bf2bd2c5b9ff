"""An unsuitable encoder is refused when it is loaded, and the error names the remedy."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_encoder import KINDS, build
from transformers import AutoTokenizer

from dann_transfer.model.encoder import Encoder


@pytest.fixture
def folder(tiny_encoder, tmp_path):
    shutil.copytree(tiny_encoder, tmp_path / "encoder")
    return tmp_path / "encoder"


def change_weights(folder, change) -> None:
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_encoder_is_complete_as_saved(kind, tmp_path, tiny_encoder):
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    encoder = Encoder.from_pretrained(build(kind, tmp_path, tokenizer))
    ids = torch.tensor(tokenizer(["good film"])["input_ids"])
    assert encoder(ids, torch.ones_like(ids)).shape == (1, encoder.features)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda w: {f"model.{k}": v for k, v in w.items()},
            r"lacks weights for \d+ of \d+ tensors of a BertModel.*It has \['model\.embeddings",
        ),
        (
            lambda w: {k: v for k, v in w.items() if "layer.1." not in k},
            r"lacks weights for 16 of 55 tensors of a BertModel, such as \['encoder\.layer\.1\.",
        ),
        (
            lambda w: {k: v for k, v in w.items() if "word_embeddings" not in k},
            r"lacks weights for 1 of .*word_embeddings\.weight'\]; they would be random",
        ),
    ],
    ids=["a prefix", "no second layer", "no word embeddings"],
)
def test_weights_that_are_missing_are_an_error(change, words, folder):
    change_weights(folder, change)
    with pytest.raises(ValueError, match=words):
        Encoder.from_pretrained(folder)


def test_weights_of_another_size_are_an_error(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 48}))
    with pytest.raises(ValueError, match=r"lacks weights|cannot be loaded: "):
        Encoder.from_pretrained(folder)


def test_a_pooler_that_is_missing_matters_only_where_it_is_used(folder):
    change_weights(folder, lambda w: {k: v for k, v in w.items() if "pooler" not in k})
    Encoder.from_pretrained(folder)
    with pytest.warns(UserWarning, match="no weights for its pooler, which starts at random"):
        Encoder.from_pretrained(folder, pooling="pooler")


def test_a_folder_of_pickled_weights_says_how_to_convert_them(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    Encoder.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"only as a pickle .*convert it once: AutoModel\.from"):
        Encoder.from_pretrained(folder)


@pytest.mark.parametrize(
    "shard",
    ["pytorch_model.bin", "../outside.safetensors", "deep/in.safetensors", "no.safetensors"],
)
@pytest.mark.parametrize("by", ["index", "config"])
def test_only_safetensors_of_the_folder_itself_are_read(by, shard, folder, monkeypatch):
    monkeypatch.setattr("torch.load", lambda *a, **k: pytest.fail("torch.load was called"))
    (folder / "deep").mkdir()
    weights = load_file(folder / "model.safetensors")
    for place in ("../outside.safetensors", "deep/in.safetensors"):
        save_file(weights, folder / place, metadata={"format": "pt"})
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    if by == "index":
        index = {"metadata": {}, "weight_map": dict.fromkeys(weights, shard)}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    else:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "transformers_weights": shard}))
        # So that the error is not about a pickle.
        save_file({}, folder / "other.safetensors")
    with pytest.raises(ValueError, match=f"names the weights '{shard}'; only safetensors files"):
        Encoder.from_pretrained(folder)


def test_weights_in_several_files_are_read(folder):
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names, shards = sorted(weights), {}
    for i, part in enumerate((names[:10], names[10:])):
        save_file({k: weights[k] for k in part}, folder / f"model-{i}.safetensors")
        shards |= dict.fromkeys(part, f"model-{i}.safetensors")
    index = {"metadata": {}, "weight_map": shards}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    state = Encoder.from_pretrained(folder).model.state_dict()
    assert all(torch.equal(state[k], v) for k, v in weights.items())


def test_a_tokenizer_with_more_tokens_than_embeddings(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["hashtag"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(ValueError, match=r"ids up to 25, but the model has 25 embeddings\. Save"):
        Encoder.from_pretrained(folder)


def test_a_model_that_cannot_read_a_text(folder, monkeypatch):
    from transformers import BertModel

    monkeypatch.setattr(BertModel, "forward", lambda self, attention_mask, **_: 1 / 0)
    with pytest.raises(ValueError, match=r"\(BertModel\) cannot read a text: ZeroDivisionError"):
        Encoder.from_pretrained(folder)

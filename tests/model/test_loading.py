"""An unsuitable encoder is refused when it is loaded, and the error names the remedy."""

from __future__ import annotations

import inspect
import json
import shutil
import warnings

import numpy as np
import pytest
import torch
from conftest import make_tiny_encoder
from safetensors.torch import load_file, save_file
from test_encoder import KINDS, build
from transformers import AutoTokenizer, FunnelConfig, FunnelModel

from dann_transfer import DomainAdapter, datasets
from dann_transfer.model import loading
from dann_transfer.model.encoder import Encoder
from dann_transfer.texts.tokens import pad


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
    assert loading.load(folder).missing == ("pooler.dense.bias", "pooler.dense.weight")
    with pytest.warns(UserWarning, match="no weights for the pooler of its BertModel, which start"):
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
    with pytest.raises(
        ValueError, match=r"\(BertModel\) cannot read a text of 4 tokens: ZeroDivisionError"
    ):
        Encoder.from_pretrained(folder)


def test_weights_are_read_as_they_are_whatever_the_config_says(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))
    weights = load_file(folder / "model.safetensors")
    model = loading.load(folder).model
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_the_head_for_masked_words_is_read_as_it_is(tiny_encoder, tmp_path):
    from transformers import BertConfig, BertForMaskedLM

    from dann_transfer.methods.mlm import pretrained_head

    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    model = BertForMaskedLM(BertConfig.from_pretrained(tiny_encoder))
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))
    head = pretrained_head(Encoder.from_pretrained(tmp_path))
    assert torch.equal(head["dense.weight"], model.cls.predictions.transform.dense.weight)


def test_a_left_over_adapter_is_refused(folder):
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/model"}')
    with pytest.raises(
        ValueError, match=r"adapter_config\.json.*merge_and_unload\(\).*left over, re"
    ):
        Encoder.from_pretrained(folder)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("C:\\models\\bert", "does not exist; check the path"),
        ("D:/models", "does not exist; check the path"),
        ("models\\bert", "does not exist; check the path"),
        (
            "BertModel(\n  (embeddings)" + "x" * 9000,
            "is neither the name of a hub model nor a folder",
        ),
        ("x" * 5000, "of 5000 characters is neither"),
        (None, "not a NoneType"),
        (b"bert", "not a bytes"),
    ],
    ids=["drive", "slash", "backslash", "printed model", "long", "none", "bytes"],
)
def test_what_is_no_name_and_no_folder(name, words):
    with pytest.raises(ValueError, match=words):
        Encoder.from_pretrained(name)


def test_a_model_is_not_a_name(tiny_encoder):
    model = Encoder.from_pretrained(tiny_encoder).model
    with pytest.raises(ValueError, match="not a BertModel; save a model and its tokenizer with"):
        Encoder.from_pretrained(model)


@pytest.mark.parametrize("kind", ["BertForSequenceClassification", "BertForTokenClassification"])
def test_a_head_that_is_left_out_is_named(kind, tiny_encoder, tmp_path):
    import transformers

    config = transformers.BertConfig.from_pretrained(tiny_encoder)
    getattr(transformers, kind)(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_encoder).save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match=rf"not the head of its {kind} \(classifier\.bias") as said:
        loaded = loading.load(tmp_path)
    assert len(said) == 1
    assert "classifier.weight" in loaded.unexpected


def test_a_head_for_masked_words_is_no_news(tiny_encoder, tmp_path):
    from transformers import BertConfig, BertForMaskedLM

    BertForMaskedLM(BertConfig.from_pretrained(tiny_encoder)).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_encoder).save_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loading.load(tmp_path).unexpected


def test_an_encoder_that_cannot_read_one_token(tiny_encoder, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    config = FunnelConfig(
        vocab_size=len(tokenizer), d_model=32, n_head=4, d_head=8, d_inner=48, block_sizes=[1, 1, 1]
    )
    FunnelModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"cannot read a text of \d tokens: "):
        Encoder.from_pretrained(tmp_path)


@pytest.mark.parametrize("kind", ["convbert", "bert"])
def test_the_texts_beside_a_text_change_nothing(kind, tiny_encoder, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    encoder = Encoder.from_pretrained(build(kind, tmp_path, tokenizer)).eval()
    assert encoder.reads_padding == (kind == "convbert")
    rows = [tokenizer(text)["input_ids"] for text in ("bad", "a " * 20 + "plot", "good film")]
    ids, mask = (torch.tensor(array) for array in pad([np.array(row) for row in rows], 0))
    with torch.no_grad():
        together = encoder(ids, mask)
        alone = [encoder(torch.tensor([row]), torch.ones(1, len(row), dtype=int)) for row in rows]
        states = encoder.token_states(ids, mask)
    assert torch.allclose(together, torch.cat(alone), atol=1e-6)
    assert states.shape == (3, ids.shape[1], 32)


def test_a_text_that_is_read_differently_each_time_is_refused(folder, monkeypatch):
    from transformers import BertModel

    forward = BertModel.forward

    def noisy(self, *args, **kwargs):
        out = forward(self, *args, **kwargs)
        out.last_hidden_state = out.last_hidden_state + torch.rand(1)
        return out

    noisy.__signature__ = inspect.signature(forward)
    monkeypatch.setattr(BertModel, "forward", noisy)
    with pytest.raises(ValueError, match="gives a text other states each time"):
        Encoder.from_pretrained(folder)


def test_an_encoder_of_the_package_index_is_found_by_its_name(tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = []
    monkeypatch.setattr(datasets, "encoder", lambda name: asked.append(name) or tiny_encoder)
    assert loading.load("minilm").model.config.hidden_size == 32
    assert asked == ["minilm"]
    # A folder of that name comes first.
    make_tiny_encoder(tmp_path / "minilm", hidden_size=16)
    assert loading.load("minilm").model.config.hidden_size == 16
    assert asked == ["minilm"]


@pytest.mark.parametrize(
    ("name", "near"), [("minlm", "minilm"), ("MiniLM", "minilm"), ("mpnets", "mpnet")]
)
def test_a_name_that_is_nearly_right_is_not_looked_for_on_a_hub(name, near):
    with pytest.raises(ValueError, match=f"there is no encoder '{name}'; did you mean '{near}'"):
        DomainAdapter(name, method="source_only").fit(["good", "bad"] * 20, [0, 1] * 20)

"""Causal models as encoders: which pooling they allow, and what trains in them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from dann_transfer import DomainAdapter
from dann_transfer.model.encoder import Encoder, pool
from dann_transfer.model.tuning import merge_lora

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 8,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
KINDS = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "qwen3": SMALL,
    "gemma3_text": {**SMALL, "layer_types": ["sliding_attention", "full_attention"]},
}


@pytest.fixture(params=KINDS)
def decoder(request, tiny_encoder, tmp_path) -> str:
    """Save a tiny random causal model whose tokenizer has no token for padding."""
    from transformers import CONFIG_MAPPING, AutoModel

    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    settings = {"bos_token_id": 2, "eos_token_id": 3, **KINDS[request.param]}
    config = CONFIG_MAPPING[request.param](vocab_size=len(tokenizer), **settings)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModel.from_config(config).save_pretrained(tmp_path)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer, unk_token="[UNK]", model_max_length=64
    ).save_pretrained(tmp_path)
    return str(tmp_path)


def test_the_first_token_of_a_causal_model_is_refused(decoder):
    with pytest.raises(ValueError, match=r"pooling='cls': in \w+ a token sees only those before"):
        Encoder.from_pretrained(decoder, "cls")


def test_the_first_token_of_a_bert_that_decodes_is_refused(tiny_encoder):
    model = Encoder.from_pretrained(tiny_encoder).model
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    for module in model.modules():
        if hasattr(module, "is_decoder"):
            module.is_decoder = module.is_causal = True
    model.config.is_decoder = True
    for pooling in ("cls", "pooler"):
        with pytest.raises(ValueError, match=f"pooling='{pooling}': in BertModel a token sees"):
            Encoder(model, tokenizer, pooling)
    Encoder(model, tokenizer, "last")


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_last_token_with_padding_on_either_side(side):
    hidden = torch.arange(12.0).reshape(2, 3, 2)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0] if side == "right" else [0, 1, 1]])
    last = [8.0, 9.0] if side == "right" else [10.0, 11.0]
    assert pool(hidden, mask, "last", None).tolist() == [[4.0, 5.0], last]


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_the_texts_beside_a_text_change_nothing(decoder, pooling):
    encoder = Encoder.from_pretrained(decoder, pooling).eval()
    assert not encoder.reads_padding
    ids = torch.tensor([[2, 7, 9, 3, 0, 0], [2, 8, 6, 11, 12, 3]])
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
    with torch.no_grad():
        together, alone = encoder(ids, mask), encoder(ids[:1, :4], mask[:1, :4])
        other = encoder(torch.tensor([[2, 7, 10, 3]]), mask[:1, :4])
    assert torch.allclose(together[:1], alone, atol=1e-5)
    assert not torch.allclose(alone, other, atol=1e-3)


def test_low_rank_matrices_train_and_merge(decoder):
    pytest.importorskip("peft")
    encoder = Encoder.from_pretrained(decoder, "last", lora=2)
    names = [name for name, p in encoder.named_parameters() if p.requires_grad]
    assert names
    assert all("lora_" in name for name in names)
    with torch.no_grad():
        for p in encoder.parameters():
            if p.requires_grad:
                p.normal_(0, 0.1)
    ids = torch.tensor([[2, 7, 9, 3]])
    before = encoder.eval()(ids, torch.ones_like(ids))
    merge_lora(encoder.model)
    assert torch.allclose(encoder(ids, torch.ones_like(ids)), before, atol=1e-5)


def test_low_rank_matrices_need_linear_layers(tiny_encoder, monkeypatch):
    pytest.importorskip("peft")
    model = Encoder.from_pretrained(tiny_encoder).model
    monkeypatch.setattr(model, "named_modules", lambda: [])
    with pytest.raises(ValueError, match="but BertModel has no linear layers; leave lora out"):
        Encoder(model, AutoTokenizer.from_pretrained(tiny_encoder), lora=2)


def test_a_causal_model_is_trained_saved_and_loaded(decoder, tiny, source, target, tmp_path):
    adapter = tiny(encoder=decoder, pooling="last", epochs=1, method="mcc")
    adapter.fit(*source, X_target=target).save_pretrained(tmp_path / "saved" / "m")
    loaded = DomainAdapter.from_pretrained(Path(tmp_path, "saved", "m"))
    assert (loaded.predict_proba(target) == adapter.predict_proba(target)).all()
    # A text's answer does not depend on the texts beside it.
    alone = [loaded.predict_proba([text])[0] for text in target[:5]]
    assert abs(alone - loaded.predict_proba(target)[:5]).max() < 1e-5

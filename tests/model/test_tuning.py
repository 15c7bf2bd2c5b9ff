from __future__ import annotations

import pytest
import torch
from test_encoder import KINDS, build
from transformers import AlbertConfig, AlbertModel, AutoTokenizer

from dann_transfer.model import tuning
from dann_transfer.model.encoder import Encoder
from dann_transfer.model.tuning import stacks_of


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_what_frozen_layers_make_of_a_text_stays(kind, layers, tmp_path, tiny_encoder):
    """ELECTRA projects its embeddings, XLM keeps layers in parts, MPNet shares positions."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    encoder = Encoder.from_pretrained(build(kind, tmp_path, tokenizer), freeze_layers=layers)
    ids = tokenizer(["good film", "a bad plot today lol"], padding=True, return_tensors="pt")
    ids = {"input_ids": ids["input_ids"], "attention_mask": ids["attention_mask"]}

    def lower() -> torch.Tensor:
        with torch.no_grad():
            return encoder.eval().model(**ids, output_hidden_states=True).hidden_states[layers]

    before = lower()
    encoder.train()
    # A frozen module stays in evaluation mode, so that a text gives it the same states each time.
    assert encoder.frozen
    assert not any(module.training for part in encoder.frozen for module in part.modules())
    features = encoder(**ids)
    if layers == 3:
        # Norms after the last layer may move, but no layer does.
        stacked = {p for stack in stacks_of(encoder.model) for p in stack.parameters()}
        assert not any(p.requires_grad for p in stacked)
        return
    features.square().sum().backward()
    moved = [p for p in encoder.parameters() if p.requires_grad and p.grad is not None]
    with torch.no_grad():
        for parameter in moved:
            parameter.add_(torch.ones_like(parameter))
    assert torch.equal(lower(), before)
    # All parts of both upper layers train.
    for stack in stacks_of(encoder.model):
        for layer in stack[layers:]:
            assert any(p.grad is not None for p in layer.parameters())


def test_layers_that_share_their_weights_are_not_frozen(tmp_path, tiny_encoder):
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    small = {"vocab_size": len(tokenizer), "hidden_size": 16, "embedding_size": 8}
    config = AlbertConfig(**small, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24)
    AlbertModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="cannot find the layers of AlbertModel; use freeze_laye"):
        Encoder.from_pretrained(tmp_path, freeze_layers=1)
    encoder = Encoder.from_pretrained(tmp_path)
    encoder.model.config.num_hidden_layers = 2
    block = encoder.model.encoder.albert_layer_groups[0]
    encoder.model.encoder.albert_layer_groups = torch.nn.ModuleList([block, block])
    with pytest.raises(ValueError, match="the layers of AlbertModel share their weights; use"):
        Encoder(encoder.model, tokenizer, freeze_layers=1)


def test_more_layers_than_there_are(tiny_encoder):
    with pytest.raises(ValueError, match="freeze_layers=4, but the encoder has only 3 layers"):
        Encoder.from_pretrained(tiny_encoder, freeze_layers=4)


def test_half_of_a_large_encoder_is_frozen_unless_told(tiny_encoder, tmp_path, monkeypatch):
    assert Encoder.from_pretrained(tiny_encoder, freeze_layers=None).frozen == []
    monkeypatch.setattr(tuning, "LARGE", 100)
    encoder = Encoder.from_pretrained(tiny_encoder, freeze_layers=None)
    told = Encoder.from_pretrained(tiny_encoder, freeze_layers=1)
    trains = [{n for n, p in e.named_parameters() if p.requires_grad} for e in (encoder, told)]
    assert encoder.freeze_layers == 1
    assert trains[0] == trains[1] < {n for n, _ in encoder.named_parameters()}
    # The default freezes nothing in an encoder whose layers cannot be frozen.
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    small = {"vocab_size": len(tokenizer), "hidden_size": 16, "embedding_size": 8}
    config = AlbertConfig(**small, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24)
    shared = Encoder(AlbertModel(config), tokenizer, freeze_layers=None)
    assert shared.freeze_layers == 0
    assert all(p.requires_grad for p in shared.model.encoder.parameters())

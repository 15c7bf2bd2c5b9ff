from __future__ import annotations

import pytest
from test_encoder import KINDS, build

from dann_transfer.model.encoder import Encoder


@pytest.mark.parametrize("kind", KINDS)
def test_any_encoder_freezes_its_lower_layers(kind, tmp_path, tiny_encoder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    encoder = Encoder.from_pretrained(build(kind, tmp_path, tokenizer), freeze_layers=2)
    ids = tokenizer(["good film", "a bad plot today lol"], padding=True, return_tensors="pt")
    encoder.train()
    features = encoder(ids["input_ids"], ids["attention_mask"])
    assert features.shape == (2, 16)
    features.square().sum().backward()
    layers = {
        name: parameter.grad is not None
        for name, parameter in encoder.model.named_parameters()
        if "layer" in name and "weight" in name
    }
    for number, moves in (("0", False), ("1", False), ("2", True)):
        of_layer = [on for name, on in layers.items() if f".{number}." in f".{name}"]
        assert of_layer
        assert any(of_layer) == moves
    words = encoder.model.get_input_embeddings()
    assert words.weight.grad is None
    # Frozen layers stay in evaluation mode, so that a text gives them the same states each time.
    assert not any(module.training for part in encoder.frozen for module in part.modules())

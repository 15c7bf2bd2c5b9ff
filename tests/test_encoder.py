from __future__ import annotations

import numpy as np
import pytest
import torch

from dann_transfer.batches import pad
from dann_transfer.encoder import Encoder, cut, pool, resolve_device


def build(kind: str, folder, tokenizer) -> str:
    """Save a small random encoder of another architecture than BERT."""
    import transformers as hf

    n = len(tokenizer)
    small = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
    small |= {"intermediate_size": 24, "vocab_size": n}
    made = {
        "bert": lambda: hf.BertModel(hf.BertConfig(**small)),
        "roberta": lambda: hf.RobertaModel(hf.RobertaConfig(**small, max_position_embeddings=40)),
        "electra": lambda: hf.ElectraModel(hf.ElectraConfig(**small, embedding_size=16)),
        "distilbert": lambda: hf.DistilBertModel(
            hf.DistilBertConfig(vocab_size=n, dim=16, n_layers=3, n_heads=2, hidden_dim=24)
        ),
        "modernbert": lambda: hf.ModernBertModel(
            hf.ModernBertConfig(**small, pad_token_id=0, global_attn_every_n_layers=1)
        ),
        "deberta": lambda: hf.DebertaV2Model(hf.DebertaV2Config(**small)),
    }
    made[kind]().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


KINDS = ["bert", "roberta", "electra", "distilbert", "modernbert", "deberta"]


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


def test_roberta_positions_are_counted_from_its_padding(tmp_path, tiny_encoder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    assert Encoder.from_pretrained(build("roberta", tmp_path, tokenizer)).longest == 38


def test_pooling():
    hidden = torch.arange(12.0).reshape(2, 3, 2)
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    assert pool(hidden, mask, "mean", None).tolist() == [[2.0, 3.0], [6.0, 7.0]]
    assert pool(hidden, mask, "cls", None).tolist() == [[0.0, 1.0], [6.0, 7.0]]
    assert pool(hidden, mask, "pooler", hidden[:, 2]).tolist() == [[4.0, 5.0], [10.0, 11.0]]


def test_an_encoder_decoder_is_refused(tmp_path, tiny_encoder):
    from transformers import AutoTokenizer, T5Config, T5Model

    config = T5Config(vocab_size=30, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    T5Model(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_encoder).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"is an encoder-decoder \(t5\); pass an encoder"):
        Encoder.from_pretrained(tmp_path)


def test_devices():
    assert resolve_device("cpu").type == "cpu"
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device(None).type == expected


def test_rows_that_go_apart_give_the_same_features_and_gradient(tiny_encoder):
    encoder = Encoder.from_pretrained(tiny_encoder).eval()
    rng = np.random.default_rng(0)
    rows = [rng.integers(5, 25, n) for n in (3, 20, 4, 22, 5, 3, 19, 4)]
    ids, mask = pad(rows, 0)
    short, long = cut(mask)
    assert sorted(short.tolist()) == [0, 2, 4, 5, 7]
    assert sorted(long.tolist()) == [1, 3, 6]
    grads = []
    for forward in (encoder, encoder._pooled):
        encoder.zero_grad()
        features = forward(ids, mask)
        features.square().sum().backward()
        grads.append((features.detach(), encoder.model.encoder.layer[0].output.dense.weight.grad))
    for apart, together in zip(*grads, strict=True):
        assert torch.allclose(apart, together, atol=1e-5)
    assert not torch.equal(grads[0][0][0], grads[0][0][1])


def test_rows_of_like_length_go_together():
    assert cut(torch.ones(8, 5)) is None
    assert cut(torch.ones(1, 5)) is None
    few = torch.ones(40, 10)
    few[0, 9:] = 0
    assert cut(few) is None

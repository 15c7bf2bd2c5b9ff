from __future__ import annotations

import pytest
import torch

from dann_transfer.model.encoder import Encoder, pool

KINDS = [
    "bert", "big_bird", "camembert", "convbert", "data2vec-text", "deberta", "deberta-v2",
    "distilbert", "electra", "ernie", "esm", "flaubert", "ibert", "layoutlm", "longformer",
    "megatron-bert", "mobilebert", "modernbert", "mpnet", "mra", "nystromformer", "rembert",
    "roberta", "roberta-prelayernorm", "roformer", "t5", "xlm", "xlm-roberta", "xlnet",
]  # fmt: skip
"""The text encoders in transformers that can be made small and do not share their layers."""


def build(kind: str, folder, tokenizer, **changed: object) -> str:
    """Save a small random encoder of the given architecture."""
    from transformers import CONFIG_MAPPING, AutoModel, T5EncoderModel

    small = {
        "vocab_size": len(tokenizer),
        "pad_token_id": 0,
        "attention_window": 8,
        "embedding_size": 24,
        "max_position_embeddings": 64,
        "d_kv": 8,
        "d_head": 8,
    }
    # Architectures name these differently.
    for names, value in (
        (("hidden_size", "d_model", "dim", "emb_dim"), 32),
        (("num_hidden_layers", "n_layers", "n_layer", "num_layers"), 3),
        (("num_attention_heads", "n_heads", "n_head", "num_heads"), 4),
        (("intermediate_size", "hidden_dim", "d_inner", "d_ff"), 48),
    ):
        small |= dict.fromkeys(names, value)
    config = CONFIG_MAPPING[kind]
    own = set(config().to_dict())
    own = {k: v for k, v in small.items() if k in own}
    made = config(**own, **changed)
    (T5EncoderModel(made) if kind == "t5" else AutoModel.from_config(made)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_roberta_positions_are_counted_from_its_padding(tmp_path, tiny_encoder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    assert Encoder.from_pretrained(build("roberta", tmp_path, tokenizer)).longest == 63


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

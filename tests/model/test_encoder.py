from __future__ import annotations

import pytest
import torch

from dann_transfer.model.encoder import Encoder, pool


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

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import TINY, same, weights
from test_encoder import KINDS, build

from dann_transfer.comparison import compare
from dann_transfer.model import caching
from dann_transfer.model.caching import frozen_states
from dann_transfer.model.encoder import Encoder
from dann_transfer.texts.copies import groups_of
from dann_transfer.texts.tokens import tokenize
from dann_transfer.texts.weights import hold_out


def texts_of(encoder: Encoder):
    texts = ["good film", "the plot the actor the scene bad", "lol", "omg today good friend"]
    return tokenize(encoder.tokenizer, texts, 16)[0]


# The output of these depends on padding, or their dropout cannot be separated, or a lower layer
# passes positions to the upper ones.
NOT_CACHED = {"convbert", "flaubert", "longformer", "nystromformer", "t5", "xlm", "xlnet"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_upper_layers_make_of_the_states_what_the_whole_makes(kind, tmp_path, tiny_encoder):
    from transformers import AutoTokenizer

    folder = build(kind, tmp_path, AutoTokenizer.from_pretrained(tiny_encoder))
    encoder = Encoder.from_pretrained(folder, freeze_layers=2)
    tokens = texts_of(encoder)
    states = frozen_states(encoder, tokens)
    assert (states is None) == (kind in NOT_CACHED)
    if states is not None:
        assert states.shape == (len(tokens.ids), encoder.features)
    assert not any("forward" in vars(module) for module in encoder.modules())


def test_nothing_is_cached_where_it_does_not_pay_or_would_be_wrong(tiny_encoder, monkeypatch):
    encoder = Encoder.from_pretrained(tiny_encoder)
    assert frozen_states(encoder, texts_of(encoder)) is None
    encoder = Encoder.from_pretrained(tiny_encoder, freeze_layers=1)
    assert frozen_states(encoder, texts_of(encoder), max_bytes=100) is None
    assert frozen_states(encoder, texts_of(encoder)) is not None
    # Something between the layers that a frozen module's output does not show.
    monkeypatch.setattr(
        encoder.model.encoder.layer[1],
        "forward",
        lambda hidden, *args, **kwargs: hidden + encoder.model.embeddings.calls,
        raising=True,
    )
    encoder.model.embeddings.calls = 0.0

    def counted(module, args, kwargs, output):
        encoder.model.embeddings.calls += 1.0
        return output

    encoder.model.embeddings.register_forward_hook(counted, with_kwargs=True)
    assert frozen_states(encoder, texts_of(encoder)) is None


@pytest.mark.parametrize("method", ["dann", "source_only", "adda", "shot", "mlm+dann"])
def test_training_with_known_states_is_training(method, tiny, source, target, monkeypatch):
    params = {"method": method, "freeze_layers": 2, "epochs": 2}
    cached = tiny(**params).fit(*source, X_target=target)
    monkeypatch.setattr(frozen_states, "__defaults__", (0, None))
    plain = tiny(**params).fit(*source, X_target=target)
    for (name, a), (_, b) in zip(weights(cached).items(), weights(plain).items(), strict=True):
        assert torch.allclose(a, b, atol=2e-3), name
    losses = [
        [row["task_loss"] for row in run.history_ if "task_loss" in row] for run in (cached, plain)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)


def test_frozen_layers_are_not_run_in_training(tiny, source, target, monkeypatch):
    from transformers.models.bert.modeling_bert import BertLayer

    ran = []
    forward = BertLayer.forward

    def counted(self, *args, **kwargs):
        ran.append(self.training)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(BertLayer, "forward", counted)
    adapter = tiny(freeze_layers=2, epochs=2, validation_fraction=0)
    adapter.fit(*source, X_target=target)
    steps = len(adapter.history_)
    # One layer of three is trained; a batch may go through in two parts.
    assert steps <= sum(ran) <= 2 * steps


def test_runs_that_are_compared_compute_the_states_of_a_text_once(
    tiny, tiny_encoder, source, target, monkeypatch
):
    passed = []
    computed = caching._computed

    def counted(encoder, tokens):
        passed.append(len(tokens))
        return computed(encoder, tokens)

    monkeypatch.setattr(caching, "_computed", counted)
    params = {**TINY, "encoder": tiny_encoder, "freeze_layers": 1, "epochs": 1}
    del params["random_state"]
    result = compare(*source, X_target=target, methods=["dann", "mcc"], seeds=(0, 1), **params)
    # The target only once, and of the source the texts that each seed trains on.
    whole = [n for n in passed if n > 2]
    codes, copies = np.unique(source[1], return_inverse=True)[1], groups_of(source[0])
    sizes = [len(hold_out(codes, 0.1, seed, copies)[0]) for seed in (0, 1)]
    assert sorted(whole) == sorted([len(target), *sizes])
    passed.clear()
    alone = tiny(method="dann", freeze_layers=1, epochs=1).fit(*source, X_target=target)
    assert [n for n in passed if n > 2] == [sizes[0], len(target)]
    assert same(weights(alone), weights(result.adapters["dann"]))


def test_states_that_are_shared_take_no_more_memory_than_one_run_may(tiny_encoder):
    encoder = Encoder.from_pretrained(tiny_encoder, freeze_layers=1)
    tokens = texts_of(encoder)
    shared = {}
    first = frozen_states(encoder, tokens, shared=shared)
    assert frozen_states(encoder, tokens, shared=shared) is first
    most = first.nbytes
    other = frozen_states(encoder, tokens.take([2, 1, 0]), max_bytes=most, shared=shared)
    assert other is not first
    assert frozen_states(encoder, tokens, shared=shared) is not first
    assert frozen_states(encoder, tokens) is not frozen_states(encoder, tokens)

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import batch_of, toy_texts

from dann_transfer import methods
from dann_transfer.methods import Forward, Method
from dann_transfer.model.encoder import Encoder
from dann_transfer.texts.batches import Batch, pad


def passed(method: Method, encoder: Encoder, n_source: int, n_target: int) -> Forward:
    """Send toy texts of two source domains and of a target through the encoder."""
    texts = toy_texts(n_source, "film plot", 0)[0] + toy_texts(n_target, "tweet lol", 1)[0]
    ids, mask = pad([np.array(encoder.tokenizer(text)["input_ids"]) for text in texts], 0)
    rows = torch.arange(n_source)
    predicted = torch.randn(n_target, 6), torch.rand(n_target, 3).softmax(1)
    memory = method.remember(lambda: predicted, 0.5)
    places = {"source_domains": rows % 2, "target_rows": torch.arange(n_target)}
    batch = Batch(ids, mask, rows % 3, **places, extras=memory)
    batch = method.prepare(batch, torch.Generator())
    seen = n_source + (n_target if method.uses_target else 0)
    features = encoder(ids[:seen], mask[:seen])
    return Forward(features, features[:, :3], batch, encode=encoder.token_states)


@pytest.mark.parametrize("name", [*methods.names(), "mlm+dann", "self_training+mcc"])
@pytest.mark.parametrize(("n_source", "n_target"), [(6, 6), (5, 9)])
def test_every_method_gives_finite_named_losses(name, n_source, n_target, tiny_encoder):
    torch.manual_seed(0)
    encoder = Encoder.from_pretrained(tiny_encoder)
    method = methods.create(name)
    method.attach(encoder, 2)
    method.build(encoder.features, 3)
    forward = passed(method, encoder, n_source, n_target)
    losses = method.loss(forward, 0.7)
    assert all(isinstance(key, str) and value.ndim == 0 for key, value in losses.items())
    assert all(torch.isfinite(value) for value in losses.values())
    if losses:
        sum(losses.values()).backward()
        reached = [p.grad for p in encoder.model.encoder.parameters() if p.grad is not None]
        assert max(grad.abs().max() for grad in reached) > 0


@pytest.mark.parametrize("name", methods.names())
def test_every_method_says_when_to_use_it(name):
    doc = methods.create(name).__doc__
    assert "When to use it" in doc
    assert "Cost" in doc
    assert name == "source_only" or "Reference" in doc


def test_a_name_is_taken_once():
    with pytest.raises(ValueError, match=r"a method named 'dann' already exists \(DANN\)"):
        methods.register("dann")(methods.dann.DANN)


def test_a_method_needs_a_loss():
    class Lazy(Method):
        pass

    with pytest.raises(TypeError, match=r"Lazy does not implement \['loss'\]"):
        methods.register("lazy")(Lazy)
    with pytest.raises(TypeError, match="must be a subclass of"):
        methods.register("lazy")(dict)
    assert "lazy" not in methods.names()


def test_detached_features_carry_no_gradient():
    features = torch.randn(4, 3, requires_grad=True)
    forward = Forward(features, features * 2, batch_of(torch.zeros(2, dtype=torch.long)))
    apart = forward.detach()
    assert not apart.features.requires_grad
    assert not apart.logits.requires_grad
    assert forward.features.requires_grad
    assert apart.domains.tolist() == [1, 1, 0, 0]
    assert len(forward.source_logits) == len(forward.target_logits) == 2


def test_a_method_is_registered_for_the_length_of_a_block():
    class Own(Method):
        def loss(self, forward, strength):
            return {}

    with methods.registered("own", Own):
        assert isinstance(methods.create("own"), Own)
    assert "own" not in methods.names()
    with pytest.raises(ValueError, match="already exists"), methods.registered("dann", Own):
        pass
    assert methods.create("dann").__class__ is methods.dann.DANN

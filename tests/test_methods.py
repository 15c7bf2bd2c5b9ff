from __future__ import annotations

import pytest
import torch

from dann_transfer import methods
from dann_transfer.methods import Forward, Method
from dann_transfer.methods.base import _METHODS


@pytest.mark.parametrize("name", methods.names())
@pytest.mark.parametrize(("n_source", "n_target"), [(6, 6), (5, 9)])
def test_every_method_gives_finite_named_losses(name, n_source, n_target):
    torch.manual_seed(0)
    method = methods.create(name)
    method.build(8, 3)
    n = n_source + (n_target if method.uses_target else 0)
    features = torch.randn(n, 8, requires_grad=True)
    forward = Forward(features, features[:, :3], torch.arange(n_source) % 3)
    losses = method.loss(forward, 0.7)
    assert all(isinstance(key, str) and value.ndim == 0 for key, value in losses.items())
    assert all(torch.isfinite(value) for value in losses.values())
    if losses:
        sum(losses.values()).backward()
        assert features.grad is not None
        assert features.grad.abs().max() > 0
    assert method.__doc__
    assert "When to use it" in method.__doc__
    assert "Cost" in method.__doc__
    assert name == "source_only" or "Reference" in method.__doc__


def test_a_name_is_taken_once():
    with pytest.raises(ValueError, match=r"a method named 'dann' exists already \(DANN\)"):
        methods.register("dann")(methods.dann.DANN)


def test_a_method_needs_a_loss():
    class Lazy(Method):
        pass

    with pytest.raises(TypeError, match=r"Lazy does not implement \['loss'\]"):
        methods.register("lazy")(Lazy)
    with pytest.raises(TypeError, match="must be a subclass of"):
        methods.register("lazy")(dict)
    assert "lazy" not in _METHODS


def test_detached_features_carry_no_gradient():
    features = torch.randn(4, 3, requires_grad=True)
    forward = Forward(features, features * 2, torch.zeros(2, dtype=torch.long))
    apart = forward.detach()
    assert not apart.features.requires_grad
    assert not apart.logits.requires_grad
    assert forward.features.requires_grad
    assert apart.domains.tolist() == [1, 1, 0, 0]
    assert len(forward.source_logits) == len(forward.target_logits) == 2

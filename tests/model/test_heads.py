from __future__ import annotations

import pytest
import torch
from conftest import batch_of
from torch import nn

from dann_transfer.methods import Forward, create
from dann_transfer.methods.dann import domain_loss
from dann_transfer.model.heads import DomainDiscriminator, TaskHead, reverse_gradient


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0, 2.5])
def test_reversal_is_the_identity_forward_and_minus_strength_backward(strength):
    torch.manual_seed(0)
    x = torch.randn(5, 3, dtype=torch.double, requires_grad=True)
    weight = torch.randn(5, 3, dtype=torch.double)
    assert torch.equal(reverse_gradient(x, strength), x)
    (plain,) = torch.autograd.grad((x.sin() * weight).sum(), x)
    (turned,) = torch.autograd.grad((reverse_gradient(x, strength).sin() * weight).sum(), x)
    assert torch.allclose(turned, -strength * plain)


def test_reversal_keeps_low_precision():
    x = torch.randn(4, 2, dtype=torch.bfloat16, requires_grad=True)
    reverse_gradient(x, 0.5).sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16


def gradients(strength: float | None) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the gradients of DANN's domain loss; None leaves the reversal out."""
    torch.manual_seed(0)
    encoder = nn.Linear(6, 4).double()
    dann = create("dann")
    dann.build(4, 2)
    dann.double()
    x = torch.randn(9, 6, dtype=torch.double)
    features = encoder(x)
    forward = Forward(features, torch.zeros(9, 2), batch_of(torch.zeros(5, dtype=torch.long)))
    if strength is None:
        loss = domain_loss(dann.discriminator(features), forward.n_source)
    else:
        loss = dann.loss(forward, strength)["domain"]
    loss.backward()
    return encoder.weight.grad, [p.grad for p in dann.parameters()]


@pytest.mark.parametrize("strength", [0.0, 0.1, 1.0])
def test_strength_scales_the_encoder_gradient_alone(strength):
    plain, discriminator = gradients(None)
    turned, same = gradients(strength)
    assert torch.allclose(turned, -strength * plain, atol=1e-12)
    assert plain.abs().max() > 1e-4
    for a, b in zip(discriminator, same, strict=True):
        assert torch.equal(a, b)


def test_discriminator_gives_one_logit_a_row_and_a_gradient():
    x = torch.randn(7, 12, requires_grad=True)
    logits = DomainDiscriminator(12, 8)(x)
    assert logits.shape == (7,)
    # A softmax over one unit, as in another library, would always give 1 and no gradient.
    assert len(set(logits.tolist())) > 1
    logits.sum().backward()
    assert x.grad is not None
    assert x.grad.abs().max() > 0
    assert not any(
        isinstance(m, nn.modules.batchnorm._BatchNorm) for m in DomainDiscriminator(4).modules()
    )


def test_domain_loss_weighs_both_domains_alike_whatever_their_sizes():
    few = domain_loss(torch.tensor([2.0, -1.0]), 1)
    many = domain_loss(torch.tensor([2.0, 2.0, 2.0, -1.0]), 3)
    assert torch.allclose(few, many)
    by_hand = 0.5 * (torch.log1p(torch.tensor(-2.0).exp()) + torch.log1p(torch.tensor(-1.0).exp()))
    assert torch.allclose(few, by_hand)


def test_label_smoothing_draws_labels_to_one_half():
    logits = torch.tensor([30.0, -30.0])
    assert domain_loss(logits, 1).item() == pytest.approx(0, abs=1e-6)
    assert domain_loss(logits, 1, 0.2).item() == pytest.approx(0.1 * 30, rel=1e-4)


def test_task_head_shape():
    assert TaskHead(8, 5)(torch.zeros(3, 8)).shape == (3, 5)

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import batch_of
from torch import nn
from torch.nn import functional as F

from dann_transfer.methods import Forward, create
from dann_transfer.methods.dann import domain_loss
from dann_transfer.model.heads import DomainDiscriminator, OrdinalHead, TaskHead, reverse_gradient


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


def test_the_ordinal_head_has_the_probabilities_and_the_loss_of_proportional_odds():
    torch.manual_seed(0)
    places = np.array([2, 0, 3, 1])
    head, x = OrdinalHead(6, places, dropout=0.0), torch.randn(9, 6)
    with torch.no_grad():
        head.lowest += 0.3
        head.widths += torch.tensor([0.7, -0.9])
    codes, thresholds = torch.arange(9) % 4, head.thresholds
    assert (thresholds.diff() > 0).all()
    # McCullagh (1980): logit P(rank <= k) = threshold k - score.
    below = torch.sigmoid(thresholds - x @ head.score.weight.T)
    edges = torch.cat([torch.zeros(9, 1), below, torch.ones(9, 1)], 1)
    p = edges.diff(dim=1)[:, torch.as_tensor(places)]
    assert torch.allclose(head(x).softmax(1), p, atol=1e-6)
    assert torch.allclose(head(x).exp(), p, atol=1e-6)
    loss, expected = F.cross_entropy(head(x), codes), -p[torch.arange(9), codes].log().mean()
    assert torch.allclose(loss, expected)
    parts = list(head.parameters())
    for ours, theirs in zip(
        *(torch.autograd.grad(e, parts) for e in (loss, expected)), strict=True
    ):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_the_ordinal_head_stays_finite_and_exact_in_half_precision():
    head = OrdinalHead(2, np.arange(3), dropout=0.0)
    x = torch.tensor([[300.0, -300.0]])
    loss = F.cross_entropy(head(x), torch.tensor([0]))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(part.grad).all() for part in head.parameters())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        p = head(x / 1000).exp()
    assert p.dtype == torch.float32
    assert torch.allclose(p.sum(1), torch.ones(1), atol=1e-6)

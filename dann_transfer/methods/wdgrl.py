"""Wasserstein distance guided representation learning."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dann_transfer.methods.base import Method
from dann_transfer.methods.registry import register
from dann_transfer.model.heads import reverse_gradient
from dann_transfer.training.forward import Forward


@register("wdgrl")
class WDGRL(Method):
    """Shrink the Wasserstein distance between the domains, which a critic estimates.

    Reference: Shen et al., Wasserstein Distance Guided Representation Learning for Domain
    Adaptation, AAAI 2018, with the gradient penalty of Gulrajani et al., 2017.

    When to use it: DANN's discriminator wins so clearly that its gradient vanishes. Cost: the
    target texts' pass and several steps of a small critic.
    """

    takes_several = True

    width: int
    penalty: float

    moves_encoder_alone = True

    def build(self, features: int, classes: int) -> None:
        """Make the critic."""
        layers = nn.Linear(features, self.width), nn.ReLU(), nn.Linear(self.width, 1)
        self.critic = nn.Sequential(*layers, nn.Flatten(0))

    def gradient_penalty(self, source: Tensor, target: Tensor) -> Tensor:
        """Return the mean squared gap between the critic's gradient norm and 1, between domains."""
        n = min(len(source), len(target))
        share = torch.rand(n, 1, device=source.device)
        between = share * source[:n].detach() + (1 - share) * target[:n].detach()
        points = torch.cat([between, source.detach(), target.detach()]).requires_grad_()
        (grad,) = torch.autograd.grad(self.critic(points).sum(), points, create_graph=True)
        return (grad.norm(dim=1) - 1).square().mean()

    def loss(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return the critic's loss: minus the distance, plus the penalty.

        The critic descends it; the encoder receives the distance's gradient reversed.
        """
        scores = self.critic(reverse_gradient(forward.features, strength))
        n = forward.n_source
        distance = scores[:n].mean() - scores[n:].mean()
        forward.metrics.setdefault("wasserstein", distance.detach())
        penalty = self.penalty * self.gradient_penalty(forward.source, forward.target)
        return {"critic": -distance, "penalty": penalty}

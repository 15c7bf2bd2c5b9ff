"""Margin disparity discrepancy."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dann_transfer.methods.base import Method
from dann_transfer.methods.registry import register
from dann_transfer.model.heads import reverse_gradient
from dann_transfer.training.forward import Forward


@register("mdd")
class MDD(Method):
    """Leave no second classifier that agrees with the first on the source but not on the target.

    Reference: Zhang et al., Bridging Theory and Algorithm for Domain Adaptation, ICML 2019. The
    second classifier learns at full strength; the encoder receives its gradient reversed.

    When to use it: many classes, where a domain discriminator is too coarse. Cost: the target
    texts' pass and a small second classifier.
    """

    width: int
    margin: float

    moves_encoder_alone = True

    def build(self, features: int, classes: int) -> None:
        """Make the second classifier."""
        hidden = nn.Linear(features, self.width), nn.ReLU(), nn.Linear(self.width, classes)
        self.second = nn.Sequential(*hidden)

    def loss(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return what the second classifier minimises: margin × disagreement on the source, plus
        agreement on the target."""
        logits = self.second(reverse_gradient(forward.features, strength))
        first, n = forward.logits.detach().argmax(1), forward.n_source
        source = F.cross_entropy(logits[:n], first[:n])
        # -log(1 - p) from logits only, so that its gradient does not vanish where the two agree.
        others = logits[n:].scatter(1, first[n:, None], -torch.inf).logsumexp(1)
        target = (logits[n:].logsumexp(1) - others).mean()
        return {"disparity": self.margin * source + target}

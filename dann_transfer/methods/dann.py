"""Domain-adversarial training of neural networks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dann_transfer.methods.base import Method
from dann_transfer.methods.registry import register
from dann_transfer.model.heads import DomainDiscriminator, reverse_gradient
from dann_transfer.training.forward import Forward


def domain_loss(
    logits: Tensor, n_source: int, smoothing: float = 0.0, weights: Tensor | None = None
) -> Tensor:
    """Return the binary cross-entropy of the domain, with half the weight for each domain.

    Parameters
    ----------
    logits : Tensor, shape (rows,)
        A positive logit means source.
    n_source : int
        Number of source rows, which come first.
    smoothing : float
        Labels are moved towards 1/2 by this share.
    weights : Tensor, shape (n_source,), optional
        How much each source row weighs; 1 on average over all source texts.

    """
    parts = (logits[:n_source], 1.0, weights), (logits[n_source:], 0.0, None)
    losses = [
        F.binary_cross_entropy_with_logits(
            part, torch.full_like(part, label * (1 - smoothing) + 0.5 * smoothing), weight
        )
        for part, label, weight in parts
    ]
    return 0.5 * (losses[0] + losses[1])


def domain_accuracy(logits: Tensor, n_source: int) -> Tensor:
    """Return the share of rows whose domain the logits get right, each domain weighing half."""
    positive = logits > 0
    source, target = positive[:n_source].float(), (~positive[n_source:]).float()
    return 0.5 * (source.mean() + target.mean())


@register("dann")
class DANN(Method):
    """Learn features from which a discriminator cannot tell the domains apart.

    The encoder receives ``-strength`` times the discriminator's gradient; the discriminator
    itself always learns at full strength. Reference: Ganin et al., Domain-Adversarial Training of
    Neural Networks, JMLR 2016.

    When to use it: the domains differ in style while their class shares are alike. If the
    class shares differ, making the domains alike makes predictions worse. Cost: the target
    texts' pass through the encoder, which doubles the cost of a step, and a small discriminator.
    """

    takes_several = True

    width: int
    label_smoothing: float

    moves_encoder_alone = True

    def build(self, features: int, classes: int) -> None:
        """Make the domain discriminator."""
        self.discriminator = DomainDiscriminator(features, self.width)

    def loss(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return the domain loss, whose gradient reaches the encoder reversed."""
        logits = self.discriminator(reverse_gradient(forward.features, strength))
        # The first call in a step counts, before the discriminator has seen this batch.
        forward.metrics.setdefault("domain_accuracy", domain_accuracy(logits, forward.n_source))
        return {"domain": domain_loss(logits, forward.n_source, self.label_smoothing)}

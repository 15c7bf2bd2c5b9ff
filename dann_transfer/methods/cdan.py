"""Conditional adversarial domain adaptation."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dann_transfer.methods.base import Method
from dann_transfer.methods.dann import domain_accuracy
from dann_transfer.methods.registry import register
from dann_transfer.model.heads import DomainDiscriminator, reverse_gradient
from dann_transfer.training.forward import Forward


@register("cdan")
class CDAN(Method):
    """DANN whose discriminator sees the features crossed with the predictions.

    Reference: Long et al., Conditional Adversarial Domain Adaptation, NeurIPS 2018. The
    predictions condition the discriminator and carry no gradient, as in the authors' code. If
    width × classes is above `max_width`, the product is replaced by the paper's random map.

    When to use it: classes must stay apart while the domains come together. Cost: as DANN, with a
    discriminator input that is as many times wider as there are classes.
    """

    width: int
    max_width: int

    moves_encoder_alone = True
    entropy_weighted = False

    def build(self, features: int, classes: int) -> None:
        """Make the discriminator and, for wide inputs, the random map, which is never trained."""
        wide = features * classes
        if wide > self.max_width:
            self.register_buffer("map_features", torch.randn(features, self.max_width))
            self.register_buffer("map_classes", torch.randn(classes, self.max_width))
            wide = self.max_width
        self.discriminator = DomainDiscriminator(wide, self.width)

    def multilinear(self, features: Tensor, p: Tensor) -> Tensor:
        """Cross features (rows, width) with probabilities (rows, classes)."""
        buffers = dict(self.named_buffers())
        if "map_features" in buffers:
            crossed = (features @ buffers["map_features"]) * (p @ buffers["map_classes"])
            return crossed / self.max_width**0.5
        return torch.einsum("rc,rf->rcf", p, features).flatten(1)

    def loss(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return the conditional domain loss, whose gradient reaches the encoder reversed."""
        p = forward.logits.detach().softmax(1)
        crossed = self.multilinear(reverse_gradient(forward.features, strength), p)
        logits = self.discriminator(crossed)
        domains, n = forward.domains, forward.n_source
        weights = torch.ones_like(logits)
        if self.entropy_weighted:
            q = reverse_gradient(forward.logits, strength).softmax(1)
            entropy = -(q * torch.log(q.clamp(min=1e-12))).sum(1)
            weights = 1 + torch.exp(-entropy)
        each = weights * F.binary_cross_entropy_with_logits(logits, domains, reduction="none")
        forward.metrics.setdefault("domain_accuracy", domain_accuracy(logits, forward.n_source))
        both = slice(None, n), slice(n, None)
        source, target = (each[rows].sum() / weights[rows].sum().detach() for rows in both)
        return {"domain": 0.5 * (source + target)}


@register("cdan+e")
class CDANE(CDAN):
    """CDAN that gives more weight to texts whose class is certain.

    A text weighs 1 + exp(-entropy), and each domain's weights sum to one half. As in the authors'
    code, the entropy's gradient is reversed too, and the sums carry none. Reference: as CDAN.

    When to use it: CDAN helps, but some of the predictions are poor. Cost: as CDAN.

    """

    moves_encoder_alone = False  # the entropy moves the head too
    entropy_weighted = True

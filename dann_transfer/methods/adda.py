"""Adversarial discriminative domain adaptation, in two phases."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from dann_transfer.methods.base import Method
from dann_transfer.methods.dann import domain_accuracy, domain_loss
from dann_transfer.methods.registry import register
from dann_transfer.model.heads import DomainDiscriminator
from dann_transfer.training.forward import Forward
from dann_transfer.training.phases import Phase, SourceAlone, TargetAlone


@register("adda")
class ADDA(Method):
    """Train on the source first; then move a separate target encoder to where the source is.

    In the second phase the source's encoder and the task head stay as they are. The target's
    encoder starts as a copy and learns to pass its features off as the source's (inverted labels
    instead of a reversed gradient). The strength is a factor on the learning rate of this phase,
    whatever the strength's schedule. The model that is kept is the target's: source texts go
    through the wrong encoder, so that scores and distances on them mean little. The second phase
    starts from the epoch that the first one kept, and its own last epoch is kept; `patience` does
    not apply.
    Reference: Tzeng et al., Adversarial Discriminative Domain Adaptation, CVPR 2017.

    When to use it: a good source model exists, and only the target matters. Nothing ties the
    encoder to the source's task, so the class shares must be alike. Cost: source-only, then
    `extra_epochs` of the target's pass, and memory for a second encoder.
    """

    takes_several = True

    width: int
    extra_epochs: int

    joins = False
    moves_encoder_alone = True

    def phases(self, epochs: int) -> list[Phase]:
        """Return the source's phase, then the target's."""
        extra = self.extra_epochs or max(1, round(epochs / 3))
        return [SourceAlone(self, epochs), TargetAlone(self, extra)]

    def build(self, features: int, classes: int) -> None:
        """Make the domain discriminator."""
        self.discriminator = DomainDiscriminator(features, self.width)

    def loss(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return the discriminator's loss, and the target encoder's with the labels inverted."""
        logits = self.discriminator(forward.features.detach())
        forward.metrics.setdefault("domain_accuracy", domain_accuracy(logits, forward.n_source))
        terms = {"domain": domain_loss(logits, forward.n_source)}
        if forward.encode is not None:
            # The discriminator only judges here; it does not learn from the inverted labels.
            resting = {k: v.detach() for k, v in self.discriminator.named_parameters()}
            target = functional_call(self.discriminator, resting, (forward.target,))
            terms["mapping"] = F.binary_cross_entropy_with_logits(target, torch.ones_like(target))
        return terms

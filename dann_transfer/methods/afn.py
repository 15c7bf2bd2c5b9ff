"""Adaptive feature norm."""

from __future__ import annotations

from torch import Tensor

from dann_transfer.methods.base import Method
from dann_transfer.methods.registry import register
from dann_transfer.training.forward import Forward


def step_norm_loss(features: Tensor, step: float) -> Tensor:
    """Return the mean squared gap between each row's norm and that norm plus `step`."""
    norms = features.norm(dim=1)
    return (norms - (norms.detach() + step)).square().mean()


@register("afn")
class AFN(Method):
    """Enlarge the features' norms step by step in both domains.

    Reference: Xu et al., Larger Norm More Transferable: An Adaptive Feature Norm Approach for
    Unsupervised Domain Adaptation, ICCV 2019 (the stepwise variant).

    When to use it: target features have smaller norms than source features, which the paper finds
    in models that transfer badly. Cost: only the target texts' pass through the encoder.
    """

    takes_several = True

    step: float

    moves_encoder_alone = True

    def loss(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return strength times the gap, summed over the two domains."""
        gaps = [step_norm_loss(x, self.step) for x in (forward.source, forward.target)]
        return {"norm": strength * (gaps[0] + gaps[1])}

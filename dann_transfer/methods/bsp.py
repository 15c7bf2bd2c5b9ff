"""Batch spectral penalisation."""

from __future__ import annotations

import torch
from torch import Tensor

from dann_transfer.methods.base import Method
from dann_transfer.methods.registry import register
from dann_transfer.training.forward import Forward


def largest_squared(features: Tensor, k: int) -> Tensor:
    """Return the sum of the k largest squared singular values of features (rows, width)."""
    return torch.linalg.svdvals(features)[:k].square().sum()


@register("bsp")
class BSP(Method):
    """Keep a few directions of the features from dominating what transfers.

    Reference: Chen et al., Transferability vs. Discriminability: Batch Spectral Penalization for
    Adversarial Domain Adaptation, ICML 2019.

    When to use it: with an adversarial method that costs accuracy on the source, as ``"dann+bsp"``
    or ``"cdan+bsp"``. Cost: two singular value decompositions of the batch's features.
    """

    takes_several = True

    k: int

    moves_encoder_alone = True

    def loss(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return strength times the penalty, summed over the two domains."""
        parts = [largest_squared(x, self.k) for x in (forward.source, forward.target)]
        return {"spectral": strength * (parts[0] + parts[1])}

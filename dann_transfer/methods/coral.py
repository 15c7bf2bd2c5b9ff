"""Correlation alignment."""

from __future__ import annotations

import torch
from torch import Tensor

from dann_transfer.methods.base import Method
from dann_transfer.methods.registry import register
from dann_transfer.training.forward import Forward


def coral_loss(source: Tensor, target: Tensor) -> Tensor:
    """Return the squared Frobenius distance between the covariances, divided by 4 width².

    Parameters
    ----------
    source, target : Tensor, shapes (n, width) and (m, width)
        At least two rows of each, because a covariance needs two.

    """
    gap = torch.cov(source.T) - torch.cov(target.T)
    return gap.square().sum() / (4 * source.shape[1] ** 2)


@register("coral")
class CORAL(Method):
    """Make the covariances of the domains' features equal.

    Reference: Sun and Saenko, Deep CORAL: Correlation Alignment for Deep Domain Adaptation, ECCV
    Workshops 2016. The paper divides by 4 width², which makes the loss of a wide encoder
    tiny; the default strength makes up for it.

    When to use it: the domains differ in scale and correlation of features. Cost: two covariances
    per batch, small compared with the encoder.

    """

    takes_several = True

    moves_encoder_alone = True
    min_batch = 2

    def loss(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return strength times the covariances' distance; a domain with one row has none."""
        if min(len(forward.source), len(forward.target)) < 2:
            return {}
        return {"coral": strength * coral_loss(forward.source, forward.target)}

"""Correlation alignment."""

from __future__ import annotations

import torch
from torch import Tensor

from dann_transfer.methods.base import Forward, Method, register


def coral_loss(source: Tensor, target: Tensor) -> Tensor:
    """Return the squared Frobenius distance of the covariances, divided by 4 width².

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
    a batch, small beside the encoder.

    Measured here, at the default strength: -2.8 points of target accuracy from movies to tweets
    and +3.3 from tweets to nyt (3 seeds of 1,000 texts; benchmarks/RESULTS.md).
    """

    default_strength = 1e4

    def loss(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return strength times the distance of the covariances; 0 where a domain has one row."""
        if min(len(forward.source), len(forward.target)) < 2:
            return {"coral": forward.features.sum() * 0.0}
        return {"coral": strength * coral_loss(forward.source, forward.target)}

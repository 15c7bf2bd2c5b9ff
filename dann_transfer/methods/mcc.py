"""Minimum class confusion."""

from __future__ import annotations

import torch
from torch import Tensor

from dann_transfer.methods.base import Method
from dann_transfer.methods.registry import register
from dann_transfer.training.forward import Forward


def class_confusion(logits: Tensor, temperature: float) -> Tensor:
    """Return how much the classes are confused with each other: from 0 to 1 - 1/classes.

    Parameters
    ----------
    logits : Tensor, shape (rows, classes)
    temperature : float
        Divides the logits, so that certain predictions do not dominate.

    """
    p = (logits / temperature).softmax(1)
    entropy = -(p * torch.log(p.clamp(min=1e-12))).sum(1)
    # Texts with certain predictions weigh more. The weights carry no gradient, as in the authors'
    # code.
    certainty = (1 + torch.exp(-entropy)).detach()
    weights = len(p) * certainty / certainty.sum()
    confusion = (p * weights.unsqueeze(1)).T @ p
    confusion = confusion / confusion.sum(1, keepdim=True).clamp(min=1e-12)
    return (confusion.sum() - confusion.trace()) / p.shape[1]


@register("mcc")
class MCC(Method):
    """Make the model settle on one class for each target text, without aligning the domains.

    Reference: Jin et al., Minimum Class Confusion for Versatile Domain Adaptation, ECCV 2020.

    When to use it: the domains' class shares differ, because it does not force the domains
    together as alignment does. Cost: only the target texts' pass through the encoder.
    """

    temperature: float

    min_batch = 2

    def loss(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return strength times the class confusion on the target rows."""
        return {"confusion": strength * class_confusion(forward.target_logits, self.temperature)}

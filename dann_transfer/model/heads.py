"""The task head, gradient reversal and the domain discriminator."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * grads[0], None


def reverse_gradient(x: Tensor, strength: float) -> Tensor:
    """Return x unchanged; in the backward pass multiply its gradient by ``-strength``.

    Reference: Ganin and Lempitsky, Unsupervised Domain Adaptation by Backpropagation, ICML 2015.

    Examples
    --------
    >>> x = torch.ones(2, requires_grad=True)
    >>> reverse_gradient(x, 0.5).sum().backward()
    >>> x.grad
    tensor([-0.5000, -0.5000])

    """
    return cast(Tensor, _Reversal.apply(x, strength))


class TaskHead(nn.Sequential):
    """Dropout and one linear layer: features (rows, width) to logits (rows, classes)."""

    def __init__(self, features: int, classes: int, dropout: float = 0.1) -> None:
        super().__init__(nn.Dropout(dropout), nn.Linear(features, classes))


class DomainDiscriminator(nn.Sequential):
    """Features (rows, width) to one logit per row, positive for the source: shape (rows,).

    A layer norm at its input keeps it learning at the same pace whatever the scale of the features.
    It has no batch norm, whose statistics would differ between source and target, and no final
    sigmoid, so that its loss is safe under autocast.
    """

    def __init__(self, features: int, width: int = 512) -> None:
        super().__init__(
            nn.LayerNorm(features, elementwise_affine=False),
            nn.Linear(features, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, 1),
            nn.Flatten(0),
        )

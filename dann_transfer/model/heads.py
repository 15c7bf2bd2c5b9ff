"""The task head, gradient reversal and the domain discriminator."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


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


class OrdinalHead(nn.Sequential):
    """Dropout and a linear layer for ordered classes: features (rows, width) to log-probabilities
    (rows, classes).

    The layer has a logit for each class but the lowest: that of passing it, for a text that has
    passed all below. Whoever takes the outputs for logits gets the same probabilities, because
    they are normalised already; their cross-entropy is the sum of the conditional binary
    cross-entropies of CORN, which the paper divides by their number instead of the number of rows.

    Parameters
    ----------
    features : int
    ranks : ndarray of int, shape (classes,)
        The rank of each class, from 0 for the lowest.
    dropout : float

    References
    ----------
    Shi, Cao and Raschka, Deep Neural Networks for Rank-Consistent Ordinal Regression Based On
    Conditional Probabilities, Pattern Analysis and Applications 2023.

    Examples
    --------
    >>> OrdinalHead(8, np.array([0, 2, 1]))(torch.zeros(1, 8)).exp().sum().round(decimals=4).item()
    1.0

    """

    passes: Tensor
    stops: Tensor

    def __init__(self, features: int, ranks: np.ndarray, dropout: float = 0.1) -> None:
        super().__init__(nn.Dropout(dropout), nn.Linear(features, len(ranks) - 1))
        place, steps = torch.as_tensor(ranks), torch.arange(len(ranks) - 1)[:, None]
        # Which steps a class has passed, and at which it stops, shape (classes - 1, classes).
        self.register_buffer("passes", (steps < place).float(), persistent=False)
        self.register_buffer("stops", (steps == place).float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return log-probabilities in full precision, whatever that of the features is."""
        logits = super().forward(x).float().unsqueeze(-1)
        steps = F.logsigmoid(logits) * self.passes + F.logsigmoid(-logits) * self.stops
        return steps.sum(1)


def task_head(features: int, classes: int, ranks: np.ndarray | None = None) -> nn.Module:
    """Return a new task head, for ordered classes if they have `ranks`."""
    return TaskHead(features, classes) if ranks is None else OrdinalHead(features, ranks)


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

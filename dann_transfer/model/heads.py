"""The task head, gradient reversal and the domain discriminator."""

from __future__ import annotations

import math
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


class OrdinalHead(nn.Module):
    """Cumulative links for ordered classes: features (rows, width) to log-probabilities (rows,
    classes).

    A text has one score, and there is a threshold between each two neighbouring classes: the
    log-odds of being at or below the k-th class are the k-th threshold minus the score. Whoever
    takes the outputs for logits gets the same probabilities, because they are normalised already.

    Parameters
    ----------
    features : int
    ranks : ndarray of int, shape (classes,)
        The rank of each of at least three classes, from 0 for the lowest.
    dropout : float

    References
    ----------
    McCullagh, Regression Models for Ordinal Data, Journal of the Royal Statistical Society B 1980
    (proportional odds).

    Examples
    --------
    >>> OrdinalHead(8, np.array([0, 2, 1]))(torch.zeros(1, 8)).exp().sum().round(decimals=4).item()
    1.0

    """

    ranks: Tensor

    def __init__(self, features: int, ranks: np.ndarray, dropout: float = 0.1) -> None:
        super().__init__()
        widths = len(ranks) - 2
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(features, 1, bias=False)
        # The thresholds begin one apart and symmetric to 0, where scores begin.
        self.lowest = nn.Parameter(torch.tensor(-widths / 2))
        self.widths = nn.Parameter(torch.full((widths,), math.log(math.e - 1)))
        self.register_buffer("ranks", torch.as_tensor(ranks), persistent=False)

    @property
    def thresholds(self) -> Tensor:
        """The thresholds between classes, rising, shape (classes - 1,)."""
        return self.lowest + F.pad(F.softplus(self.widths).cumsum(0), (1, 0))

    def forward(self, x: Tensor) -> Tensor:
        """Return log-probabilities in full precision, whatever that of the features is."""
        distance = self.thresholds - self.score(self.dropout(x)).float()
        below, above = F.logsigmoid(distance), F.logsigmoid(-distance)
        # Between a and b lies sigmoid(b) - sigmoid(a), which is sigmoid(b) * sigmoid(-a) *
        # (1 - exp(a - b)); of a width that is a softplus, the last factor is a sigmoid.
        between = F.logsigmoid(self.widths)
        p = F.pad(below, (0, 1)) + F.pad(above, (1, 0)) + F.pad(between, (1, 1))
        return p.index_select(1, self.ranks)


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

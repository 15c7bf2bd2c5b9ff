"""The optimiser of a run: a learning rate for each part, weight decay where it belongs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from dann_transfer.schedules import warmup_decay
from dann_transfer.settings import Settings


def make_optimizer(
    encoder: nn.Module,
    head: nn.Module,
    method: nn.Module,
    settings: Settings,
    steps: int,
    extra: int,
) -> tuple[torch.optim.Optimizer, LambdaLR]:
    """Return AdamW with a learning rate for each part, and its schedule over the run's real steps.

    After `steps` there may be `extra` ones of a second phase, in which strength is the share of
    the learning rate: Adam's steps would not feel it as a factor of the only loss.
    """
    rates = [
        (encoder, settings.learning_rate),
        (head, settings.head_learning_rate),
        (method, settings.discriminator_learning_rate),
    ]
    groups: list[dict[str, Any]] = []
    schedules: list[Callable[[int], float]] = []

    def over(step: int, steps: int) -> float:
        return warmup_decay((step + 1) / (steps + 1), settings.warmup) if steps > 1 else 1.0

    def decaying(step: int) -> float:
        if step < steps:
            return over(step, steps)
        return settings.max_strength * over(step - steps, extra) if extra else 0.0

    def steady(step: int) -> float:
        # A discriminator whose rate decays falls behind an encoder that it no longer follows.
        return 1.0

    for module, rate in rates:
        named = [p for p in module.parameters() if p.requires_grad]
        for decay in (True, False):
            # Biases and norms are vectors; decaying them only shrinks the scale of the features.
            params = [p for p in named if (p.ndim > 1) == decay]
            if params:
                weight_decay = settings.weight_decay if decay else 0.0
                groups.append({"params": params, "lr": rate, "weight_decay": weight_decay})
                schedules.append(steady if module is method else decaying)
    optimizer = torch.optim.AdamW(groups, fused=True)
    return optimizer, LambdaLR(optimizer, schedules)

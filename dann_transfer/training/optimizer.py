"""The optimiser of a run: AdamW, a rate for each part, the loss scaler, and two clips."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dann_transfer.ground.settings import Settings
from dann_transfer.model.encoder import Encoder
from dann_transfer.model.model import Classifier
from dann_transfer.model.runtime import Runtime
from dann_transfer.model.tuning import heights


class Optimizer:
    """AdamW over the encoder, the task head and the method's own parameters.

    The discriminator's gradient is clipped separately, or a steep one would slow the encoder down;
    and its rate does not decay, or it could no longer keep up with the encoder.
    """

    def __init__(
        self, model: Classifier, method: nn.Module, settings: Settings, runtime: Runtime
    ) -> None:
        rates = [
            (layer, settings.learning_rate * settings.layer_decay**height)
            for height, layer in _layers(model.encoder, settings.layer_decay)
        ]
        rates.append((list(model.head.parameters()), settings.head_learning_rate))
        rates.append((list(method.parameters()), settings.discriminator_learning_rate))
        groups: list[dict[str, Any]] = []
        for i, (every, rate) in enumerate(rates):
            parameters = [p for p in every if p.requires_grad]
            for decay in (True, False):
                # Biases and norms are vectors; decaying them only shrinks the features' scale.
                chosen = [p for p in parameters if (p.ndim > 1) == decay]
                weight_decay = settings.weight_decay if decay else 0.0
                group = {"params": chosen, "lr": rate, "weight_decay": weight_decay}
                if chosen:
                    groups.append({**group, "base": rate, "decays": i < len(rates) - 1})
        self.adamw = torch.optim.AdamW(groups, fused=True)
        self.scaler = torch.amp.GradScaler(
            runtime.device.type, enabled=settings.precision == "fp16"
        )
        self.clips = {
            "gradient_norm": [*model.encoder.parameters(), *model.head.parameters()],
            "method_gradient_norm": list(method.parameters()),
        }
        self.max_norm = settings.max_grad_norm
        self.processes = runtime.processes
        self.encoder_rate = settings.learning_rate

    def set_rate(self, rate: float) -> float:
        """Multiply the base rates of encoder and head by `rate`, and return the encoder's."""
        for group in self.adamw.param_groups:
            group["lr"] = group["base"] * (rate if group["decays"] else 1.0)
        return self.encoder_rate * rate

    def step(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """Descend the sum of the losses; without losses, change nothing.

        Returns
        -------
        dict of str to Tensor
            The norms of the gradients of encoder and head, and of the method's own parameters,
            before they are clipped.

        """
        if not losses:
            return {}
        self.clear()
        self.scaler.scale(total(losses)).backward()
        self.processes.average([p for group in self.adamw.param_groups for p in group["params"]])
        self.scaler.unscale_(self.adamw)
        norms = {}
        for name, parameters in self.clips.items():
            norm = nn.utils.clip_grad_norm_(parameters, self.max_norm)
            if parameters:
                norms[name] = norm
        self.scaler.step(self.adamw)
        self.scaler.update()
        return norms

    def clear(self) -> None:
        """Remove all gradients."""
        self.adamw.zero_grad(set_to_none=True)

    def forget(self) -> None:
        """Forget all momentum: that of the previous phase would keep acting."""
        self.adamw.state.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"adamw": self.adamw.state_dict(), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what a checkpoint kept."""
        self.adamw.load_state_dict(state["adamw"])
        self.scaler.load_state_dict(state["scaler"])


def _layers(encoder: Encoder, layer_decay: float) -> list[tuple[int, list[nn.Parameter]]]:
    """Return the encoder's parameters by the number of layers above them.

    Reference: Howard and Ruder, Universal Language Model Fine-tuning for Text Classification,
    ACL 2018 (discriminative fine-tuning).
    """
    if layer_decay == 1.0:
        return [(0, list(encoder.parameters()))]
    layers: dict[int, list[nn.Parameter]] = {}
    for parameter, height in heights(encoder.model).items():
        layers.setdefault(height, []).append(parameter)
    return sorted(layers.items())


def total(losses: dict[str, Tensor]) -> Tensor:
    """Return the sum of named losses."""
    return torch.stack(list(losses.values())).sum()

"""What a run remembers besides the model's weights: a row a step, a row an epoch, its phases'
states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor


class Stateful(Protocol):
    """What a checkpoint can hold."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Restore what a checkpoint kept."""


OF_EVERY_RUN = ("step", "epoch", "learning_rate", "gradient_norm", "method_gradient_norm")
"""What every step records besides losses, the strength and what the method measures."""


class History:
    """A row for each step and a row for each epoch of a run."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []
        self.epochs: list[dict[str, Any]] = []

    def settle(self) -> None:
        """Turn tensors into numbers, for all steps at once."""
        for row in self.steps:
            for key, value in row.items():
                if isinstance(value, Tensor):
                    row[key] = value.item()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        self.settle()
        return {"steps": self.steps, "epochs": self.epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what a checkpoint kept."""
        self.steps, self.epochs = state["steps"], state["epochs"]

    def norms(self) -> dict[str, Tensor]:
        """Return the norms of the last step's gradients."""
        last = self.steps[-1] if self.steps else {}
        names = ("gradient_norm", "method_gradient_norm")
        return {name: torch.as_tensor(last[name]) for name in names if name in last}


class PhaseStates:
    """What the phases of a run and its method remember besides the model's weights."""

    def __init__(self, phases: Sequence[Stateful], method: Any) -> None:
        self.phases, self.method = phases, method

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        phases = {str(i): phase.state_dict() for i, phase in enumerate(self.phases)}
        return {"phases": phases, "memory": self.method.memory}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what a checkpoint kept."""
        for i, phase in enumerate(self.phases):
            phase.load_state_dict(state["phases"][str(i)])
        # Its rows go into batches, which are made on the CPU.
        self.method.memory = {name: values.cpu() for name, values in state["memory"].items()}


def ends_on_target(history: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the last step of a run learnt nothing from labelled source texts.

    Examples
    --------
    >>> ends_on_target([{"task_loss": 0.7}, {"pseudo_loss": 0.6}]), ends_on_target([])
    (True, False)

    """
    return bool(history) and "task_loss" not in history[-1]

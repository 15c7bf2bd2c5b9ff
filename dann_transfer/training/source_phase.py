"""A trained source phase, which other runs that begin with the same one go on from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from dann_transfer.model.model import trainable
from dann_transfer.training.keeping import Keeper

_MODEL = "model."
"""The prefix of the model's weights among those of a run; the others are the method's."""


@dataclass(frozen=True)
class SourcePhase:
    """What training a model on the source alone left, whatever the method of the run.

    Attributes
    ----------
    steps, epochs : list of dict
        Its part of the history.
    weights : dict of str to Tensor
        The model's trainable weights: of the epoch that was kept, or of the last step.
    best : ndarray of int or None, shape (n,)
        What the best epoch predicts for the held-out texts; None if no epoch was offered.
    scaler : dict
        The state of the loss scaler, which outlives a phase.
    seconds : float
        How long it took to train.

    """

    steps: list[dict[str, Any]]
    epochs: list[dict[str, Any]]
    weights: dict[str, Tensor]
    best: np.ndarray | None
    scaler: dict[str, Any]
    seconds: float

    @property
    def nbytes(self) -> int:
        """The memory that the weights take."""
        return sum(tensor.nbytes for tensor in self.weights.values())

    def row(self, step: int, has_parameters: bool) -> dict[str, Any]:
        """Return the history's row of a step, for a method with or without parameters."""
        row = {k: v for k, v in self.steps[step - 1].items() if k != "method_gradient_norm"}
        # They have no gradient in this phase.
        return {**row, "method_gradient_norm": 0.0} if has_parameters else row

    def restore(self, parts: nn.Module, keeper: Keeper) -> None:
        """Bring the model and the kept epoch of a run to where the phase ended."""
        parts.load_state_dict(self.weights, strict=False)
        if self.best is not None:
            keeper.best, keeper.weights = self.best, trainable(parts)


def weights_at_end(parts: nn.Module, keeper: Keeper) -> dict[str, Tensor]:
    """Return what `SourcePhase.weights` holds, at the end of the phase."""
    weights = trainable(parts) if keeper.weights is None else keeper.weights
    return {name: tensor for name, tensor in weights.items() if name.startswith(_MODEL)}

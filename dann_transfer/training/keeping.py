"""Which epoch of a run is kept: the latest that is not clearly worse than the best."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from dann_transfer.model.model import trainable


class Keeper:
    """Keeps the weights of one epoch.

    Of the epochs that are offered, the latest is kept whose accuracy is no further below the best
    than `tolerance` times the best's standard error: it is adapted further, and its learning rate
    has come to rest. With few held-out texts the best itself is a matter of chance.

    Parameters
    ----------
    module : nn.Module
        What is kept: its parameters that training changes.
    tolerance : float
    n_texts : int
        How many held-out texts the accuracy is of.

    References
    ----------
    Breiman et al., Classification and Regression Trees, 1984 (the rule of one standard error).

    """

    def __init__(self, module: nn.Module, tolerance: float, n_texts: int) -> None:
        self.module, self.tolerance, self.n_texts = module, tolerance, n_texts
        self.best = -math.inf
        self.weights: dict[str, Tensor] | None = None

    def offer(self, accuracy: float) -> None:
        """Keep the weights as they are now, if their accuracy is good enough."""
        self.best = max(accuracy, self.best)
        error = math.sqrt(self.best * (1 - self.best) / self.n_texts)
        if accuracy >= self.best - self.tolerance * error:
            self.weights = trainable(self.module)

    def restore(self) -> None:
        """Give the module the weights that were kept, if any were, and begin anew."""
        if self.weights is not None:
            self.module.load_state_dict(self.weights, strict=False)
        self.best, self.weights = -math.inf, None

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"best": self.best, "weights": self.weights or {}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what a checkpoint kept."""
        self.best, self.weights = state["best"], state["weights"] or None

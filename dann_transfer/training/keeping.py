"""Keep one epoch of a run: the latest that is not clearly worse than the best."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from dann_transfer.model.model import trainable


class Keeper:
    """Keeps the weights of one epoch.

    It keeps the latest of the offered epochs whose accuracy is no further below the best than
    `tolerance` times the standard error of the best: a later epoch is better adapted, and its
    learning rate has decayed. With few held-out texts, which epoch is best is a matter of chance.

    Parameters
    ----------
    module : nn.Module
        The module whose trainable parameters are kept.
    tolerance : float
    n_texts : int
        Number of held-out texts that the accuracy is measured on.

    References
    ----------
    Breiman et al., Classification and Regression Trees, 1984 (the rule of one standard error).

    """

    def __init__(self, module: nn.Module, tolerance: float, n_texts: int) -> None:
        self.module, self.tolerance, self.n_texts = module, tolerance, n_texts
        self.best = -math.inf
        self.weights: dict[str, Tensor] | None = None

    def offer(self, accuracy: float) -> None:
        """Keep the current weights, if their accuracy is good enough."""
        self.best = max(accuracy, self.best)
        error = math.sqrt(self.best * (1 - self.best) / self.n_texts)
        if accuracy >= self.best - self.tolerance * error:
            self.weights = trainable(self.module)

    def restore(self) -> None:
        """Give the module the kept weights, if there are any, and start over."""
        if self.weights is not None:
            self.module.load_state_dict(self.weights, strict=False)
        self.best, self.weights = -math.inf, None

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"best": self.best, "weights": self.weights or {}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what a checkpoint kept."""
        self.best, self.weights = state["best"], state["weights"] or None

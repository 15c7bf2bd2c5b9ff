"""Keep one epoch of a run: the latest that is not clearly worse than the best."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dann_transfer.judging.scores import difference_error, metric_of
from dann_transfer.model.model import trainable

DRAWS = 50
"""Draws of the bootstrap: the error is right to a tenth, and scorers take milliseconds each."""


class Keeper:
    """Keeps the weights of one epoch.

    It keeps the latest of the offered epochs whose score is no further below the best than
    `tolerance` times the standard error of their difference: a later epoch is better adapted, and
    its learning rate has decayed. With few held-out texts, which epoch is best is a matter of
    chance; that both were judged on the same texts makes their difference more certain than either.

    Parameters
    ----------
    module : nn.Module
        The module whose trainable parameters are kept.
    tolerance : float
    codes : ndarray of int, shape (n,)
        Class positions of the held-out texts' labels.
    metric : str
        As in `judging.scores.metric_of`.

    References
    ----------
    Breiman et al., Classification and Regression Trees, 1984 (the rule of one standard error);
    Efron, Bootstrap Methods, Annals of Statistics 1979.

    """

    def __init__(
        self, module: nn.Module, tolerance: float, codes: np.ndarray, metric: str = "accuracy"
    ) -> None:
        self.module, self.tolerance = module, tolerance
        self.codes, self.metric = codes, metric
        self.best: np.ndarray | None = None
        """What the best epoch predicts for the held-out texts."""
        self.weights: dict[str, Tensor] | None = None

    def offer(self, predicted: np.ndarray) -> None:
        """Keep the current weights, if what they predict (n,) is good enough."""
        if self.best is None:
            self.best = predicted
        score = metric_of(self.metric)
        behind = score(self.codes, self.best) - score(self.codes, predicted)
        if behind <= 0:
            self.best = predicted
        elif not self.tolerance or behind > self.tolerance * difference_error(
            self.metric, self.codes, self.best, predicted, DRAWS
        ):
            return
        self.weights = trainable(self.module)

    def restore(self) -> None:
        """Give the module the kept weights, if there are any, and start over."""
        if self.weights is not None:
            self.module.load_state_dict(self.weights, strict=False)
        self.best, self.weights = None, None

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        best = torch.zeros(0) if self.best is None else torch.as_tensor(self.best)
        return {"best": best, "weights": self.weights or {}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what a checkpoint kept."""
        self.best = state["best"].cpu().numpy() if len(state["best"]) else None
        self.weights = state["weights"] or None

"""Importance-weighted domain-adversarial networks: DANN where the class shares differ."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dann_transfer.methods.dann import DANN, domain_accuracy, domain_loss
from dann_transfer.methods.registry import register
from dann_transfer.model.heads import reverse_gradient
from dann_transfer.training.forward import Forward


def class_weights(confusion: np.ndarray, predicted: np.ndarray, ridge: float = 0.1) -> np.ndarray:
    """Estimate how many times as common each class is in the target as in the source.

    It minimises ``|predicted - confusion @ w|²`` over weights w that are not negative and are 1 on
    average over the source.

    Parameters
    ----------
    confusion : ndarray, shape (classes, classes)
        Mean probability of each class (rows) on source texts, by their true class (columns); all
        entries together are 1.
    predicted : ndarray, shape (classes,)
        Mean probability of each class on target texts.
    ridge : float
        How firmly the target's class shares are held at the source's: ``ridge² |prior (w - 1)|²``
        is added. Without it, predictions that hardly depend on the class, as at the start of a run,
        leave the weights to chance.

    Returns
    -------
    weights : ndarray, shape (classes,)
        NaN for a class without source texts.

    Examples
    --------
    >>> class_weights(np.diag([0.5, 0.5]), np.array([0.8, 0.2])).round(2).tolist()
    [1.59, 0.41]
    >>> class_weights(np.full((2, 2), 0.25), np.array([0.5, 0.5])).round(2).tolist()
    [1.0, 1.0]

    """
    from scipy.optimize import nnls

    prior = confusion.sum(0)
    present = prior > 0
    shares = prior[present]
    # A last row with a large factor holds the mean at 1; what it misses is scaled away.
    firm = 1e3
    rows = np.vstack([confusion[:, present], ridge * np.diag(shares), firm * shares])
    solved = nnls(rows, np.concatenate([predicted, ridge * shares, [firm]]))[0]
    weights = np.full(len(prior), np.nan)
    weights[present] = solved / (solved @ shares)
    return weights


@register("iwdan")
class IWDAN(DANN):
    """DANN that weighs the source's texts in the domain loss by their class.

    If the domains differ in their class shares, features that look alike in both must put texts of
    one class on another. A source text of class y therefore weighs w(y), the share of y in the
    target divided by that in the source, so that the weighted source has the target's shares. The
    weights start at 1, are estimated from the model's predictions, and follow each estimate by
    `momentum`. Reference: Tachet des Combes et al., Domain Adaptation with Conditional Distribution
    Matching and Generalized Label Shift, NeurIPS 2020. The paper estimates once per epoch, which
    for a BERT would be twice in a run; since the first estimates come early, a ridge holds them
    near 1 while the model knows little. The task's loss remains as the user sets it;
    ``class_weight="balanced"`` weighs it as the paper does. ``adapter.history_`` has the largest
    weight as `largest_weight`.

    When to use it: for DANN, where class shares differ and most predictions are right. Cost: as
    DANN.
    """

    takes_several = False

    estimate_every: int
    momentum: float

    def build(self, features: int, classes: int) -> None:
        """Make the discriminator, and what the weights are estimated from."""
        super().build(features, classes)
        self.register_buffer("weights", torch.ones(classes))
        self.register_buffer("confusion", torch.zeros(classes, classes))
        self.register_buffer("predicted", torch.zeros(classes))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def estimate(self, forward: Forward) -> None:
        """Count a batch's predictions, and estimate the weights if it is time."""
        buffers = dict(self.named_buffers())
        p, n = forward.logits.softmax(1), forward.n_source
        truth = F.one_hot(forward.labels, p.shape[1]).to(p.dtype)
        buffers["confusion"] += p[:n].T @ truth / n
        buffers["predicted"] += p[n:].mean(0)
        buffers["steps"] += 1
        if int(buffers["steps"]) < self.estimate_every:
            return
        confusion, predicted = (
            (buffers[name] / buffers["steps"]).double().cpu().numpy()
            for name in ("confusion", "predicted")
        )
        estimated = torch.from_numpy(class_weights(confusion, predicted))
        # A class without texts between two estimates keeps its weight.
        goal, now = estimated.to(buffers["weights"]), buffers["weights"]
        now.lerp_(torch.where(goal.isnan(), now, goal), self.momentum)
        for name in ("confusion", "predicted", "steps"):
            buffers[name].zero_()

    def loss(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return the weighted domain loss, whose gradient reaches the encoder reversed."""
        if forward.encode is not None:  # not in an extra step of the discriminator
            self.estimate(forward)
        weights = dict(self.named_buffers())["weights"]
        logits = self.discriminator(reverse_gradient(forward.features, strength))
        forward.metrics.setdefault("domain_accuracy", domain_accuracy(logits, forward.n_source))
        forward.metrics.setdefault("largest_weight", weights.max().clone())
        each = weights[forward.labels]
        return {"domain": domain_loss(logits, forward.n_source, self.label_smoothing, each)}

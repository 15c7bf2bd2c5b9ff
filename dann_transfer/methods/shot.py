"""Source hypothesis transfer, in two phases."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from dann_transfer.methods.base import Method
from dann_transfer.methods.registry import register
from dann_transfer.training.forward import Forward
from dann_transfer.training.phases import Phase, SourceAlone, TargetAlone


def centroid_labels(features: Tensor, probabilities: Tensor, rounds: int = 2) -> Tensor:
    """Label each text with the class whose centroid is nearest by cosine.

    The first centroids are means of the features, scaled to length 1 and weighted by the
    probabilities; those of later rounds are means of the texts that the previous round assigned to
    the class.

    Parameters
    ----------
    features : Tensor, shape (n, width)
    probabilities : Tensor, shape (n, classes)
    rounds : int

    Returns
    -------
    labels : Tensor of int, shape (n,)

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[1.0, 0.1], [1.0, -0.1], [0.1, 1.0], [0.3, 1.0]])
    >>> p = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.6, 0.4]])
    >>> centroid_labels(x, p).tolist()
    [0, 0, 1, 1]

    """
    x, weights = F.normalize(features, dim=1), probabilities
    for _ in range(rounds):
        cosine = x @ F.normalize(weights.T @ x, dim=1).T
        # A class without texts has no centroid, so no text can be near it.
        labels = cosine.masked_fill(weights.sum(0) < 1e-6, -2.0).argmax(1)
        weights = F.one_hot(labels, weights.shape[1]).to(x.dtype)
    return labels


@register("shot")
class SHOT(Method):
    """Train on the source first; then let the target's texts gather around the classes.

    In the second phase the source is not used and the task head stays as it is. The encoder moves
    so that each prediction for the target is certain of one class while together they use all
    classes (information maximization), and so that each text agrees with the class whose centroid,
    in the target's own feature space, is nearest; these labels are renewed before each epoch. The
    strength is a factor on the learning rate of this phase, whatever the strength's schedule. The
    second phase starts from the epoch that the first one chose and keeps its own last epoch;
    `patience` does not apply. The paper's bottleneck, weight normalisation and label smoothing are
    left out.
    Reference: Liang et al., Do We Really Need to Access the Source Data? Source Hypothesis
    Transfer for Unsupervised Domain Adaptation, ICML 2020.

    When to use it: the target's texts form groups that match the classes, as intents or topics do,
    and the classes are about equally frequent there. Do not use it if class shares are lopsided,
    because it evens them out. Cost: source-only, then `extra_epochs` of both domains' passes, the
    target's once more without gradient, and memory for a second encoder.
    """

    extra_epochs: int
    pseudo_weight: float
    diversity: float

    joins = False
    labels_target = True
    moves_encoder_alone = True

    def phases(self, epochs: int) -> list[Phase]:
        """Return the source's phase, then the target's."""
        return [SourceAlone(self, epochs), TargetAlone(self, self.extra_epochs or epochs)]

    def remember(
        self, predict_target: Callable[[], tuple[Tensor, Tensor]], progress: float
    ) -> dict[str, Tensor]:
        """Label the target's texts by their own centroids."""
        return {"centroid_labels": centroid_labels(*predict_target())}

    def loss(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return entropy minus diversity on the target rows, and the centroids' cross-entropy."""
        if "centroid_labels" not in forward.batch.extras:
            return {}
        labels = forward.batch.extras["centroid_labels"]
        logits = forward.logits[len(forward.logits) - len(labels) :]
        log_p = logits.log_softmax(1)
        entropy = -(log_p.exp() * log_p).sum(1).mean()
        mean = log_p.exp().mean(0)
        spread = -(mean * mean.clamp(min=1e-12).log()).sum()
        forward.metrics["entropy"] = entropy.detach()
        return {
            "information": entropy - self.diversity * spread,
            "pseudo": self.pseudo_weight * F.nll_loss(log_p, labels),
        }

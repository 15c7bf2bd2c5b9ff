"""Self-training on class-balanced pseudo-labels of a mean teacher."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from dann_transfer.methods.base import Method
from dann_transfer.methods.registry import register
from dann_transfer.training.forward import Forward
from dann_transfer.training.phases import Joint, Phase

NONE = -100


def pseudo_labels(probabilities: Tensor, share: float) -> Tensor:
    """Label the most certain `share` of the texts of each predicted class, and the others -100.

    Parameters
    ----------
    probabilities : Tensor, shape (n, classes)
    share : float

    Returns
    -------
    labels : Tensor of int, shape (n,)

    Examples
    --------
    >>> p = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.45, 0.55]])
    >>> pseudo_labels(p, 0.5).tolist()
    [0, -100, 0, 1]

    """
    certainty, predicted = probabilities.max(1)
    labels = torch.full_like(predicted, NONE)
    for c in predicted.unique():
        rows = torch.nonzero(predicted == c).flatten()
        # Rounded half up, so that the most certain text of a class with few texts is taken early.
        n = int(share * len(rows) + 0.5)
        labels[rows[certainty[rows].argsort(descending=True, stable=True)[:n]]] = c
    return labels


@register("self_training")
class SelfTraining(Method):
    """Train on the most certain predictions for the target, more of them every epoch.

    Before each epoch a teacher, an average of the model's weights over the last steps, labels the
    target. The most certain texts of each predicted class are trained on: none in the first epoch,
    and the share (i - 1) / n in the i-th of n epochs. The label is the likeliest class; the
    thresholds of each class only choose the texts, whereas in the first paper they also shift
    labels.
    References: Zou et al., Unsupervised Domain Adaptation for Semantic Segmentation via
    Class-Balanced Self-Training, ECCV 2018; Tarvainen and Valpola, Mean Teachers Are Better Role
    Models, NeurIPS 2017.

    When to use it: most target predictions are already right, alone or with another method, as in
    ``"mcc+self_training"``. Cost: the target texts' pass, one more without gradient each epoch,
    and memory for a second copy of the model.

    Parameters
    ----------
    max_share : float
        Factor on the curriculum's shares.
    teacher_momentum : float
        The share by which the teacher moves towards the model at each step.

    """

    default_strength = 1.0
    min_epochs = 2

    def __init__(self, max_share: float = 1.0, teacher_momentum: float = 0.05) -> None:
        super().__init__()
        if not (isinstance(max_share, int | float) and 0 < max_share <= 1):
            raise ValueError(f"max_share={max_share!r} of self_training must be in (0, 1].")
        if not (isinstance(teacher_momentum, int | float) and 0 < teacher_momentum < 1):
            raise ValueError(
                f"teacher_momentum={teacher_momentum!r} of self_training must be between 0 and 1."
            )
        self.max_share, self.teacher_momentum = max_share, teacher_momentum

    def phases(self, epochs: int) -> list[Phase]:
        """Return one phase, in which a teacher follows the model."""
        return [Joint(self, epochs, teacher_momentum=self.teacher_momentum)]

    def remember(
        self, predict_target: Callable[[], tuple[Tensor, Tensor]], progress: float
    ) -> dict[str, Tensor]:
        """Let the teacher label the target again."""
        if not progress:
            return {}
        return {"pseudo_labels": pseudo_labels(predict_target()[1], self.max_share * progress)}

    def loss(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return strength times the mean cross-entropy over the target rows with pseudo-labels."""
        labels = None if forward.batch is None else forward.batch.extras.get("pseudo_labels")
        if labels is None:
            return {}
        logits = forward.logits[len(forward.logits) - len(labels) :]
        total = F.cross_entropy(logits, labels, ignore_index=NONE, reduction="sum")
        n = (labels != NONE).sum()
        forward.metrics["pseudo_share"] = n / len(labels)
        return {"pseudo": strength * total / n.clamp(min=1)}

"""A student of the target, taught by a model of the source and by neighbours, in two phases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dann_transfer.judging.neighbors import (
    SMALL,
    Neighborhood,
    keep_surest,
    neighbors_by_class,
    with_shares,
)
from dann_transfer.methods.base import Method
from dann_transfer.methods.registry import register
from dann_transfer.training.forward import Forward
from dann_transfer.training.phases import Phase, SourceAlone, SourceAnew, TargetAnew


def neighbor_labels(
    features: np.ndarray, probabilities: np.ndarray, k: int | None = None
) -> np.ndarray:
    """Label each text from its own probabilities and those of the nearest texts.

    Without a number of neighbours, a text is averaged over ten, or fewer where its class is small;
    the classes then keep about the shares that they have among the probabilities, and a small one
    its surest texts.

    Parameters
    ----------
    features : ndarray, shape (n, width)
    probabilities : ndarray, shape (n, classes)
    k : int, optional
        Number of neighbours; 0 uses only the text's own probabilities.

    Returns
    -------
    labels : ndarray of int, shape (n,)

    Examples
    --------
    >>> x = np.array([[1, 0], [1, 0.1], [1, 0.2], [0, 1], [0.1, 1], [0.2, 1]])
    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
    >>> neighbor_labels(x, p, k=0).tolist(), neighbor_labels(x, p, k=2).tolist()
    ([0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1])

    """
    return _labels(neighbor_probabilities(features, probabilities, k), probabilities, k)


def neighbor_probabilities(
    features: np.ndarray, probabilities: np.ndarray, k: int | None = None
) -> np.ndarray:
    """Average each text's probabilities as `neighbor_labels` does, shape (n, classes).

    Examples
    --------
    >>> x = np.array([[1, 0], [1, 0.1], [1, 0.2]])
    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]])
    >>> neighbor_probabilities(x, p, k=2).round(2).tolist()
    [[0.71, 0.29], [0.71, 0.29], [0.68, 0.32]]

    """
    number = neighbors_by_class(probabilities) if k is None else np.full(len(features), k)
    near = Neighborhood.of(features, probabilities, number)
    smooth, n = near.probabilities, len(near.probabilities)
    if n < len(features):
        others = near.smooth(features[n:], probabilities[n:], number[n:])
        smooth = np.concatenate([smooth, others])
    return smooth if k is not None else with_shares(smooth, probabilities.mean(0))


def _labels(smooth: np.ndarray, probabilities: np.ndarray, k: int | None) -> np.ndarray:
    """Return the likeliest classes; without a number of neighbours, small ones keep texts."""
    labels = smooth.argmax(1)
    return labels if k is not None else keep_surest(labels, probabilities)


@register("student")
class Student(Method):
    """Train on the source, label the target, and train a new student on the target alone.

    The labels come from the teacher's probabilities, averaged over the nearest target texts before
    the likeliest class is taken. The student starts from the pretrained weights, not from the
    teacher's: where the teacher's mistakes contradict what pretraining has learnt, the student does
    not follow them all the way, and its features are those of the target. Labels are made once:
    if they were refreshed in every epoch, they would drift. The strength is a factor on the
    student's learning rate, whatever the strength's schedule. The student's last epoch is kept, and
    `patience` does not apply.

    Where the target seems to have fewer than 40 texts of a class, their labels are too few and too
    often wrong to learn the class from. The student then learns from the source's texts too, and
    from the averaged probabilities instead of the likeliest class, with the same weight for each
    class, unless the number of neighbours is set.
    References: Iscen et al., Label Propagation for Deep Semi-Supervised Learning, CVPR 2019; Xie et
    al., Self-Training with Noisy Student Improves ImageNet Classification, CVPR 2020; Sagawa et
    al., Extending the WILDS Benchmark for Unsupervised Adaptation, ICLR 2022, where pseudo-labels
    in stages helped and those renewed at each step did not.

    With `align`, a map in closed form first moves the target's features onto the source's, as the
    keyword `align` does after training. The labels and the neighbours are those of the mapped
    features. Where the estimate of the target's class shares is refused there is no map.

    With `partial`, a class that the estimate of the target's class shares finds absent there labels
    no text (`label_shift.absent`): texts that the teacher took for it have their next likely class.
    Where the estimate is refused, nothing is left out.
    Reference: Cao et al., Partial Adversarial Domain Adaptation, ECCV 2018, which weighs classes by
    their share of the target's predictions; here calibrated shares decide.

    With several members, each member is a teacher and its student, trained from the same weights
    with the texts in another order and with other dropout; a last student learns from the mean of
    the students' predictions. Which target texts are labelled wrongly is then less a matter of
    luck.

    When to use it: as the first choice with a base-size encoder. Most target predictions have to be
    right. Cost: source-only, then the same again on the target's texts, and memory for the weights
    that the student starts from; with m members, m times that and one more student.
    """

    extra_epochs: int
    neighbors: int
    members: int
    align: bool
    partial: bool

    labels_target = True
    trains_anew = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Several members train in more than the two phases that a combination has room for.
        self.joins = self.members == 1

    @property
    def keeps_source(self) -> bool:
        """Whether the student learns from the source too, because classes are small."""
        return "soft_labels" in self.memory

    @property
    def maps_target(self) -> bool:
        """Whether the labels come from mapped features."""
        return self.align

    @property
    def leaves_out_absent(self) -> bool:
        """Whether classes that seem to be absent in the target label no text."""
        return self.partial

    def phases(self, epochs: int) -> list[Phase]:
        """Return a phase of each teacher and each student."""
        extra = self.extra_epochs or epochs
        phases: list[Phase] = [SourceAlone(self, epochs), TargetAnew(self, extra)]
        for _ in range(self.members - 1):
            phases += [SourceAnew(self, epochs), TargetAnew(self, extra)]
        if self.members > 1:
            phases.append(TargetAnew(self, extra))
        return phases

    def remember(
        self, predict_target: Callable[[], tuple[Tensor, Tensor]], progress: float
    ) -> dict[str, Tensor]:
        """Let a teacher, or all students, and the neighbours label the target."""
        features, probabilities = predict_target()
        members = self.memory.get("members", probabilities[:, None][:, :0])
        # A model that has learnt from pseudo-labels is a student.
        if self.members > 1 and "pseudo_labels" in self.memory:
            members = torch.cat([members, probabilities[:, None]], 1)
            if members.shape[1] < self.members:
                return {"members": members}
            probabilities = members.mean(1)
        p = probabilities.numpy()
        smooth = neighbor_probabilities(features.numpy(), p, self.neighbors)
        labels = _labels(smooth, p, self.neighbors)
        memory = {"members": members} if 0 < members.shape[1] < self.members else {}
        memory["pseudo_labels"] = torch.from_numpy(labels)
        if self.neighbors is None and p.sum(0).min() < SMALL:
            soft = torch.from_numpy(smooth).float()
            memory |= {"soft_labels": soft, "label_weights": _equal_classes(labels)}
        return memory

    def loss(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return the cross-entropy of the target rows on their labels, given or predicted."""
        batch = forward.batch
        if "pseudo_labels" not in batch.extras:
            return {}
        labels = batch.extras["pseudo_labels"]
        # In a combination all rows pass, and the task already has those with labels.
        given = batch.target_labels
        if given is not None and len(forward.logits) == len(given) + len(labels):
            labels = torch.cat([given, labels])
        logits = forward.logits[len(forward.logits) - len(labels) :]
        if "soft_labels" in batch.extras:
            each = F.cross_entropy(logits, batch.extras["soft_labels"], reduction="none")
            return {"pseudo": (batch.extras["label_weights"] * each).mean()}
        return {"pseudo": F.cross_entropy(logits, labels)}


def _equal_classes(labels: np.ndarray) -> Tensor:
    """Return weights, 1 on average, with which the texts of each class weigh the same together."""
    weights = 1 / np.bincount(labels)[labels]
    return torch.from_numpy(weights / weights.mean()).float()

"""The output of one pass through the encoder and the task head, and the task's loss on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from dann_transfer.texts.batches import Batch


@dataclass(frozen=True)
class Forward:
    """The output of one pass through encoder and task head: source rows first, then target rows.

    Target rows with labels, if the user gave any, come before those without.
    """

    features: Tensor
    """Pooled features, shape (n_source + n_target, width)."""
    logits: Tensor
    """Logits of the task head, shape (n_source + n_target, classes)."""
    batch: Batch
    """The batch itself, with what `prepare` added."""
    metrics: dict[str, float | Tensor] = field(default_factory=dict)
    """Numbers that a method adds to the history, such as the domain accuracy."""
    encode: Callable[[Tensor, Tensor], Tensor] | None = None
    """Turns ids and mask into token states (rows, length, width); None for detached features."""

    @property
    def labels(self) -> Tensor:
        """Class positions of the source rows, shape (n_source,)."""
        return self.batch.labels

    @property
    def n_source(self) -> int:
        """Number of source rows."""
        return len(self.labels)

    @property
    def source(self) -> Tensor:
        """Features of the source rows."""
        return self.features[: self.n_source]

    @property
    def target(self) -> Tensor:
        """Features of the target rows."""
        return self.features[self.n_source :]

    @property
    def source_logits(self) -> Tensor:
        """Logits of the source rows."""
        return self.logits[: self.n_source]

    @property
    def target_logits(self) -> Tensor:
        """Logits of the target rows."""
        return self.logits[self.n_source :]

    @property
    def source_domains(self) -> Tensor:
        """The source domain of each source row, shape (n_source,); 0 if there is only one."""
        domains = self.batch.source_domains
        return torch.zeros_like(self.labels) if domains is None else domains

    @property
    def domains(self) -> Tensor:
        """1 for a source row and 0 for a target row, shape (n_source + n_target,)."""
        rows = torch.arange(len(self.features), device=self.features.device)
        return (rows < self.n_source).to(torch.float32)

    def detach(self) -> Forward:
        """Return a copy from which no gradient reaches the encoder or the task head."""
        apart = self.features.detach(), self.logits.detach()
        return replace(self, features=apart[0], logits=apart[1], encode=None)


def task_loss(logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """Return the mean over labelled rows of weight times cross-entropy.

    Labels are class positions (rows,), or for several labels a row marks of 0 and 1 (rows, labels),
    of which the binary cross-entropy is averaged over the labels.

    The weights are 1 on average over all texts, not within a batch: otherwise a batch without a
    rare class would count as much as one with it, and the classes would not balance.
    """
    if labels.ndim == 2:
        binary = F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1)
        return binary.mean() if weights is None else (weights * binary).mean()
    if weights is None:
        return F.cross_entropy(logits, labels)
    return (weights * F.cross_entropy(logits, labels, reduction="none")).mean()

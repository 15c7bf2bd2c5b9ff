"""Paired batches of source and target texts, bucketed by length and padded together.

Batch k is a function of the data, the seed and k alone, so a resumed run continues exactly where
it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dann_transfer.ground import streams
from dann_transfer.texts import tokens as corpus
from dann_transfer.texts.tokens import Tokens

# Lengths are sorted within a pool of this many batches. A wider pool pads less and mixes less. At
# 100 batches of 32 + 32 the twelve pairs of the four sentiment domains pad under 10 % on average,
# and 40 % of the texts that share a batch share one again in the next epoch (with 2,400 texts; 9 %
# with 10,000 texts). Half the pool halves that, and pads 12 %.
POOL = 100


@dataclass(frozen=True)
class Batch:
    """Source rows first, then labelled target rows if there are any, then unlabelled ones.

    They are padded together, because if the domains were padded separately, the width of the batch
    would tell the discriminator which domain it sees.
    """

    input_ids: Tensor
    """Token ids, shape (rows, longest)."""
    attention_mask: Tensor
    """1 for a token and 0 for padding, shape (rows, longest)."""
    labels: Tensor
    """Class positions of the source rows, shape (n_source,), or marks of several labels."""
    weights: Tensor | None = None
    """Weight of each source row in the task loss, shape (n_source,); None means equal weights."""
    source_domains: Tensor | None = None
    """The source domain of each source row, shape (n_source,); None if there is only one."""
    target_labels: Tensor | None = None
    """Class positions of the labelled target rows; None if the user gave none."""
    target_rows: Tensor | None = None
    """Positions of the unlabelled target rows among all target texts, shape (n_unlabelled,)."""
    states: Tensor | None = None
    """The frozen layers' output for the ids, shape (rows, longest, width); None if not computed."""
    extras: dict[str, Tensor] = field(default_factory=dict)
    """What a method's `prepare` adds for its `loss`, and what it stores of the unlabelled rows."""

    @property
    def n_source(self) -> int:
        """Number of source rows."""
        return len(self.labels)

    @property
    def n_task(self) -> int:
        """Number of rows with labels: the source rows and the labelled target rows."""
        return self.n_source + (0 if self.target_labels is None else len(self.target_labels))

    @property
    def task_labels(self) -> Tensor:
        """Class positions of the labelled rows, shape (n_task,)."""
        if self.target_labels is None:
            return self.labels
        return torch.cat([self.labels, self.target_labels])

    @property
    def task_weights(self) -> Tensor | None:
        """Weight of each labelled row, shape (n_task,); a labelled target row weighs 1."""
        if self.weights is None or self.target_labels is None:
            return self.weights
        return torch.cat([self.weights, torch.ones_like(self.target_labels, dtype=torch.float32)])

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        extras = {k: v.to(device, non_blocking=True) for k, v in tensors.pop("extras").items()}
        moved = {
            name: tensor.to(device, non_blocking=True)
            for name, tensor in tensors.items()
            if tensor is not None
        }
        return replace(self, **moved, extras=extras)


def pad(rows: Sequence[np.ndarray], pad_id: int) -> tuple[Tensor, Tensor]:
    """Stack rows as `corpus.pad` does, into tensors."""
    ids, mask = corpus.pad(rows, pad_id)
    return torch.from_numpy(ids), torch.from_numpy(mask)


def pad_states(texts: Sequence[Tensor], length: int) -> Tensor:
    """Stack the token states of texts, each (tokens, width): shape (texts, length, width)."""
    out = torch.zeros(len(texts), length, texts[0].shape[1])
    for row, states in zip(out, texts, strict=True):
        row[: len(states)] = states
    return out


def cut(mask: Tensor) -> tuple[Tensor, Tensor] | None:
    """Split rows into short and long ones where that saves the most padding.

    Parameters
    ----------
    mask : Tensor, shape (rows, length)
        1 for a token and 0 for padding, which is at the end.

    Returns
    -------
    tuple of two Tensors of row positions, or None if it would save less than 5 %.

    Examples
    --------
    >>> cut(torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]]))
    (tensor([1, 2]), tensor([0]))

    """
    lengths, order = mask.sum(1).sort(stable=True)
    n = torch.arange(1, len(order))
    cost = n * lengths[:-1] + (len(order) - n) * lengths[-1]
    if not len(cost) or cost.min() > 0.95 * mask.numel():
        return None
    at = int(cost.argmin()) + 1
    return order[:at], order[at:]


class PairedBatches:
    """Paired batches of labelled source and unlabelled target texts.

    One epoch shows each source text once. The target runs through passes of its own, each
    showing every target text once, whatever the two sizes are; each epoch continues where the
    last one stopped. A batch has as many target texts as source texts: about `batch_size`, chosen
    so that no small batch is left over: 65 texts make batches of 32 and 33, and 47 texts one.

    Parameters
    ----------
    source, target : Tokens
        `target` is None to train on the source alone.
    labels : array of int, shape (n,) or (n, labels)
        Class positions of the source texts, or marks of 0 and 1 where a text has several labels.
    batch_size : int
    seed : int
    weights : array of float, shape (n,), optional
        The weight of each source text in the task loss.
    domains : array of int, shape (n,), optional
        The source domain of each source text.
    target_labelled : (Tokens, array of int), optional
        Labelled target texts and their class positions. Every batch holds a quarter of
        `batch_size` of them, or all if there are fewer.
    states : sequence of Tensor, optional
        The token states of source, labelled target and target texts (those that exist), in that
        order, each (tokens, width), as `dann_transfer.model.caching` returns them.

    """

    def __init__(
        self,
        source: Tokens,
        labels: np.ndarray,
        target: Tokens | None,
        batch_size: int,
        seed: int,
        weights: np.ndarray | None = None,
        domains: np.ndarray | None = None,
        target_labelled: tuple[Tokens, np.ndarray] | None = None,
        states: Sequence[Tensor] | None = None,
    ) -> None:
        self.source, self.target = source, target
        # Marks of several labels, (n, labels), are what a binary cross-entropy takes.
        kind = torch.long if labels.ndim == 1 else torch.float32
        self.labels = torch.as_tensor(labels, dtype=kind)
        self.weights = None if weights is None else torch.as_tensor(weights, dtype=torch.float32)
        self.domains = None if domains is None else torch.as_tensor(domains, dtype=torch.long)
        self.target_labelled, self.states = target_labelled, states
        self.batch_size, self.seed = batch_size, seed
        self.drawn: np.ndarray | None = None
        """Positions of the target texts that batches hold; None for all."""
        self._plan: tuple[int, list[np.ndarray], list[np.ndarray]] | None = None

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return max(1, round(len(self.source) / self.batch_size))

    def draw(self, rows: np.ndarray | None) -> None:
        """Let batches hold only these target texts from here on; None for all.

        A batch then follows from the data, the seed, its number and these rows.
        """
        same = rows is self.drawn or (
            rows is not None and self.drawn is not None and np.array_equal(rows, self.drawn)
        )
        if not same:
            self.drawn, self._plan = rows, None

    def without_target(self) -> PairedBatches:
        """Return the batches of a phase in which only texts with labels pass.

        They are those of a run that has no target, whatever the target of this one is.
        """
        if self.target is None:
            return self
        labelled = self.target_labelled
        return PairedBatches(
            self.source,
            self.labels.numpy(),
            None,
            self.batch_size,
            self.seed,
            None if self.weights is None else self.weights.numpy(),
            None if self.domains is None else self.domains.numpy(),
            labelled,
            None if self.states is None else self.states[: 1 if labelled is None else 2],
        )

    @property
    def labelled_rows(self) -> int:
        """Number of labelled target rows in every batch."""
        if self.target_labelled is None:
            return 0
        return min(len(self.target_labelled[0]), max(1, self.batch_size // 4))

    def _permutation(self, stream: int, k: int, n: int) -> np.ndarray:
        return streams.generator(self.seed, stream, k).permutation(n)

    def _passes(self, stream: int, size: int, k: int, n: int) -> np.ndarray:
        """Positions n*k .. n*(k+1) of an endless run of passes over `size` texts."""
        first, last = k * n, (k + 1) * n
        passes = range(first // size, -(-last // size))
        order = np.concatenate([self._permutation(stream, k, size) for k in passes])
        start = first - passes[0] * size
        return order[start : start + n]

    def _target_rows(self, epoch: int, n: int) -> np.ndarray | None:
        """Return the target rows of an epoch of n source rows, or None without a target."""
        if self.target is None:
            return None
        if self.drawn is None:
            return self._passes(streams.TARGET_ORDER, len(self.target), epoch, n)
        return self.drawn[self._passes(streams.TARGET_ORDER, len(self.drawn), epoch, n)]

    def _epoch(self, epoch: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        if self._plan is not None and self._plan[0] == epoch:
            return self._plan[1:]
        steps, n = len(self), len(self.source)
        source = self._permutation(streams.SOURCE_ORDER, epoch, n)
        target = self._target_rows(epoch, n)
        bounds = np.linspace(0, n, steps + 1).round().astype(int)
        source_batches: list[np.ndarray] = []
        target_batches: list[np.ndarray] = []
        pool_size = POOL
        if self.target is not None:
            # If a small target filled a pool several times over, the sort would put the copies of
            # a text side by side, into one batch.
            size = len(self.target if self.drawn is None else self.drawn)
            pool_size = max(1, min(POOL, size // self.batch_size))
        for start in range(0, steps, pool_size):
            edges = bounds[start : start + pool_size + 1]
            cuts, pool = edges[1:-1] - edges[0], slice(edges[0], edges[-1])
            # Sorting both sides and pairing by rank pads least when each batch must hold equally
            # many texts of both domains. The sort is stable, so texts of the same length stay in
            # the permutation's order and meet others every epoch.
            rows = source[pool]
            rows = rows[np.argsort(self.source.lengths[rows], kind="stable")]
            source_batches += np.split(rows, cuts)
            if target is not None and self.target is not None:
                rows = target[pool]
                rows = rows[np.argsort(self.target.lengths[rows], kind="stable")]
                target_batches += np.split(rows, cuts)
        order = self._permutation(streams.BATCH_ORDER, epoch, steps)
        source_batches = [source_batches[i] for i in order]
        target_batches = [target_batches[i] for i in order] if target is not None else []
        self._plan = (epoch, source_batches, target_batches)
        return source_batches, target_batches

    def rows(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the source and target rows of batch `step`, counted from the start of the run."""
        epoch, k = divmod(step, len(self))
        source, target = self._epoch(epoch)
        return source[k], target[k] if target else np.empty(0, dtype=int)

    def __getitem__(self, step: int) -> Batch:
        """Return batch `step`, counted from the start of the run."""
        source, target = self.rows(step)
        parts = [(self.source, source)]
        columns: dict[str, Any] = {}
        if self.target_labelled is not None:
            tokens, labels = self.target_labelled
            places = self._passes(streams.LABELLED_ORDER, len(tokens), step, self.labelled_rows)
            parts.append((tokens, places))
            columns["target_labels"] = torch.as_tensor(labels[places], dtype=torch.long)
        if self.target is not None:
            parts.append((self.target, target))
            columns["target_rows"] = torch.from_numpy(target)
        texts = [tokens.text(i) for tokens, places in parts for i in places]
        ids, mask = pad(texts, self.source.pad_id)
        if self.states is not None:
            states = [
                hidden[tokens.offsets[i] : tokens.offsets[i + 1]]
                for (tokens, places), hidden in zip(parts, self.states, strict=True)
                for i in places
            ]
            columns["states"] = pad_states(states, mask.shape[1])
        for name, values in (("weights", self.weights), ("source_domains", self.domains)):
            columns[name] = None if values is None else values[source]
        return Batch(ids, mask, self.labels[source], **columns)

    def padding_share(self, steps: int) -> float:
        """Return the share of padding among the tokens of the first `steps` batches."""
        real = padded = 0
        for step in range(steps):
            mask = self[step].attention_mask
            real, padded = real + int(mask.sum()), padded + mask.numel()
        return 1.0 - real / padded


def by_length(tokens: Tokens, batch_size: int) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
    """Yield (rows, ids, mask) as `corpus.by_length` does, but as tensors."""
    for rows, ids, mask in corpus.by_length(tokens, batch_size):
        yield rows, torch.from_numpy(ids), torch.from_numpy(mask)

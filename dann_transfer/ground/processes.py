"""Several processes that train one model: each encodes its share of every batch.

Every process has all texts and plans the same batches. It passes its own rows through the encoder
and gathers the others' features, so that head, method and losses see the whole batch and need not
know about processes. Its gradient reaches the encoder only through its own rows. Multiplied by the
number of processes and averaged over them, this gradient is that of one process with the whole
batch, whatever a method adds, also for weights that encoder and method share.
``DistributedDataParallel`` is not used, since it does not see a pass through a part of the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The processes that train one model, and which of them this is.

    Parameters
    ----------
    rank : int
        From 0 to ``world - 1``; only the first writes, draws and prints.
    world : int
        Number of processes.

    """

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes, draws and prints."""
        return self.rank == 0

    @classmethod
    def current(cls) -> Processes:
        """Return those of torch's process group, or only this one if there is no group."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    def share(self, n: int) -> slice:
        """Return which of n rows are this process's: every `world`-th, or all if there are too few.

        Examples
        --------
        >>> list(range(5))[Processes(1, 2).share(5)]
        [1, 3]
        >>> list(range(2))[Processes(1, 3).share(2)]
        [0, 1]

        """
        return slice(None) if n < self.world else slice(self.rank, None, self.world)

    def gather(self, rows: Tensor, n: int) -> Tensor:
        """Return all n rows, in their order, of which `rows` are this process's share.

        Gradients reach only a process's own rows, multiplied by the number of processes.
        """
        if self.world == 1 or n < self.world:
            return rows
        return _Gather.apply(rows, self, n)

    def average(self, parameters: Sequence[Tensor]) -> None:
        """Average the gradients of the parameters over the processes, in place.

        A parameter without a gradient in any process keeps none, since AdamW would move it.
        """
        if self.world == 1:
            return
        device = _device()
        flags = torch.tensor([float(p.grad is not None) for p in parameters], device=device)
        distributed.all_reduce(flags)
        moved = [p for p, flag in zip(parameters, flags.tolist(), strict=True) if flag]
        for p in moved:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad.contiguous()
        sent = [p.grad.to(device) for p in moved if p.grad is not None]
        # In place and all at once: copying them into one tensor and back takes as long again.
        for work in [distributed.all_reduce(gradient, async_op=True) for gradient in sent]:
            work.wait()
        torch._foreach_div_(sent, self.world)
        for p, gradient in zip(moved, sent, strict=True):
            p.grad = gradient.to(p.device)

    def agreed(self, value: T) -> T:
        """Return the first process's value."""
        if self.world == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, device=_device())
        return values[0]

    def all_of(self, value: T) -> list[T]:
        """Return the value of each process."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        distributed.all_gather_object(values, value)
        return values


ALONE = Processes()
"""A single process, which is the first."""


class _Gather(torch.autograd.Function):
    """All rows of a batch from the shares of all processes."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, processes: Processes, n: int) -> Tensor:
        ctx.processes = processes
        # Every process sends the same number of rows, of which the last may be padding.
        longest = -(-n // processes.world)
        sent = rows.new_zeros(longest, *rows.shape[1:], device=_device())
        sent[: len(rows)] = rows
        received = [torch.empty_like(sent) for _ in range(processes.world)]
        distributed.all_gather(received, sent)
        return torch.stack(received, 1).flatten(0, 1)[:n].to(rows.device)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        share = gradients[0][ctx.processes.rank :: ctx.processes.world]
        return share * ctx.processes.world, None, None


def _device() -> torch.device:
    """Return the device for tensors that the processes exchange."""
    name = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    return torch.device(name)


@contextmanager
def joined() -> Iterator[None]:
    """Join the processes that ``torchrun`` or Slurm started.

    GPUs communicate over NCCL, with one GPU per process, and CPUs over gloo.
    """
    import ignite.distributed as idist

    idist.initialize("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        idist.finalize()

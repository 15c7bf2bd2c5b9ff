"""Where a model runs: device, precision, processes, random generators."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from dann_transfer.ground import streams
from dann_transfer.ground.processes import ALONE, Processes


@dataclass(frozen=True)
class Runtime:
    """A device, a precision, and the processes that share the work.

    Parameters
    ----------
    device : torch.device
    precision : {"auto", "fp32", "bf16", "fp16"}
        "auto" is bf16 on a GPU that supports it and fp32 elsewhere.
    processes : Processes
        Those that pass texts together; only this one if nothing is trained.
    micro_batch_size : int, optional
        How many texts pass through the encoder at once in training; None is the whole batch.

    Examples
    --------
    >>> Runtime.of("cpu").spares_padding
    True

    """

    device: torch.device
    precision: str = "auto"
    processes: Processes = ALONE
    micro_batch_size: int | None = None
    passes: list[int] = field(default_factory=list, repr=False, compare=False)
    """The stream positions from which passes since the last seed drew their dropout."""

    @classmethod
    def of(
        cls,
        device: str | torch.device | None,
        precision: str = "auto",
        processes: Processes = ALONE,
        micro_batch_size: int | None = None,
    ) -> Runtime:
        """Return the runtime for a device name; None means CUDA if it is available.

        Raises
        ------
        ValueError
            If torch knows no such device, or it is not available or lacks the precision.

        """
        runtime = cls(resolve_device(device), precision, processes, micro_batch_size)
        if precision == "fp16" and runtime.device.type == "cpu":
            raise ValueError("precision='fp16' needs a GPU; use 'fp32' on the CPU.")
        return runtime

    @property
    def spares_padding(self) -> bool:
        """Whether short and long rows pass separately, because padding costs as much as text."""
        return self.device.type == "cpu"

    @property
    def kind(self) -> str:
        """The precision, with "auto" replaced by what it means on the device."""
        if self.precision != "auto":
            return self.precision
        cuda = self.device.type == "cuda"
        bf16 = cuda and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if bf16 else "fp32"

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the autocast context of the precision."""
        if self.kind == "fp32":
            return nullcontext()
        dtype = torch.bfloat16 if self.kind == "bf16" else torch.float16
        return torch.autocast(self.device.type, dtype)

    def seed(self, number: int) -> torch.Generator:
        """Seed torch's generators for dropout, and return one for everything else.

        ``torch.manual_seed`` would record a stack trace for every kind of accelerator that this
        process does not use, which takes a millisecond per step.
        """
        self.passes.clear()
        self._seed(number)
        return torch.Generator().manual_seed(number)

    def _seed(self, number: int) -> None:
        torch.default_generator.manual_seed(number)
        if self.device.type != "cpu":
            module = torch.get_device_module(self.device)
            # If there are several of a kind, `manual_seed` seeds only the current one.
            getattr(module, "manual_seed_all", module.manual_seed)(number)

    @contextmanager
    def own_draws(self) -> Iterator[None]:
        """Let each process draw its own dropout within, and then continue as if none was drawn."""
        if self.processes.world == 1:
            yield
            return
        devices = [] if self.device.type == "cpu" else [self.device]
        with torch.random.fork_rng(devices, device_type=devices[0].type if devices else "cuda"):
            common = int(torch.randint(2**31, ()))
            # Each pass of a step makes new draws.
            self.passes.append(len(self.passes) * self.processes.world + self.processes.rank)
            self._seed(streams.number(common, streams.PROCESS, self.passes[-1]))
            yield


def resolve_device(device: str | torch.device | None) -> torch.device:
    """Turn a device name into a torch device; None means CUDA if available, otherwise the CPU.

    Raises
    ------
    ValueError
        If torch knows no such device or it is not available.

    Examples
    --------
    >>> resolve_device("cpu")
    device(type='cpu')

    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"device={device!r} is not a device; use 'cpu', 'cuda' or 'cuda:0'."
        ) from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={str(resolved)!r}, but torch sees no CUDA GPU; use device='cpu'.")
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device={str(resolved)!r}, but there are {torch.cuda.device_count()} GPUs."
        )
    try:
        # torch knows the name even of a kind that it was not built for, and "meta" holds no
        # numbers.
        torch.zeros(1, device=resolved).item()
    except Exception as error:  # each backend raises its own kind
        raise ValueError(
            f"device={str(resolved)!r} is not available in this torch or on this machine; "
            "use device='cpu'."
        ) from error
    return resolved


def check_compiler(device: torch.device) -> None:
    """Compile a trifle as `torch.compile` will the encoder, so that a run does not fail later.

    Raises
    ------
    ValueError
        If torch cannot compile for the device, for instance without a C++ compiler.

    """
    try:
        torch.compile(_doubled, dynamic=True)(torch.zeros(2, device=device))
    except Exception as error:  # torch and its compilers raise many kinds
        first = (str(error).strip().splitlines() or [""])[0]
        raise ValueError(
            f"torch_compile=True, but torch cannot compile for {device.type} here "
            f"({type(error).__name__}: {first[:200]}). It needs a C++ compiler, such as g++, and "
            "on a GPU also Triton: install them, or leave torch_compile out."
        ) from error


def _doubled(x: torch.Tensor) -> torch.Tensor:
    return 2 * x

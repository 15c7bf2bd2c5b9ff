"""What a checkpoint holds beside Ignite's own: the history, the memory, whose run it is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from dann_transfer.texts.corpus import Tokens


class Stateful(Protocol):
    """What a checkpoint can hold."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Take up what a checkpoint kept."""


class History:
    """A row for each step and a row for each epoch of a run."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []
        self.epochs: list[dict[str, Any]] = []

    def settle(self) -> None:
        """Turn tensors into numbers, for all steps at once."""
        for row in self.steps:
            for key, value in row.items():
                if isinstance(value, Tensor):
                    row[key] = value.item()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        self.settle()
        return {"steps": self.steps, "epochs": self.epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what a checkpoint kept."""
        self.steps, self.epochs = state["steps"], state["epochs"]


class PhaseStates:
    """What the phases of a run and its method remember beside the model's weights."""

    def __init__(self, phases: Sequence[Stateful], method: Any) -> None:
        self.phases, self.method = phases, method

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        phases = {str(i): phase.state_dict() for i, phase in enumerate(self.phases)}
        return {"phases": phases, "memory": self.method.memory}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what a checkpoint kept."""
        for i, phase in enumerate(self.phases):
            phase.load_state_dict(state["phases"][str(i)])
        # Rows of it go into batches, which are made on the CPU.
        self.method.memory = {name: values.cpu() for name, values in state["memory"].items()}


FORMAT = 2
"""Changes when a checkpoint's content does, so that none of another format is continued."""

# What may differ between a run and the one that continues it.
_IGNORED = {"checkpoint_dir", "progress", "device", "random_state", "correct_prior"}


def fingerprint(
    tokens: Mapping[str, Tokens],
    arrays: Sequence[np.ndarray | None],
    params: Mapping[str, Any],
    weights: Mapping[str, Tensor],
) -> str:
    """Return a digest of a run's data, settings and first weights: no other run continues it."""
    digest = hashlib.sha256(str(FORMAT).encode())
    for role in sorted(tokens):
        digest.update(tokens[role].ids.tobytes() + tokens[role].offsets.tobytes())
    for array in arrays:
        digest.update(b"-" if array is None else array.tobytes())
    relevant = sorted((key, repr(value)) for key, value in params.items() if key not in _IGNORED)
    digest.update(repr(relevant).encode())
    for name, values in weights.items():
        # As bytes, because numpy has no bfloat16.
        content = values.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(name.encode() + content.numpy().tobytes())
    return digest.hexdigest()


class Fingerprint:
    """Ties a checkpoint to the run that wrote it."""

    def __init__(self, value: str) -> None:
        self.value = value

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Refuse the checkpoint of another run."""
        if state["value"] != self.value:
            raise ValueError(
                "the checkpoint was written by a run with other texts, labels or settings, or from "
                "another encoder; "
                "choose another checkpoint_dir, or delete this one to start anew."
            )


def resume(folder: str, to_save: dict[str, Any], saver: Any, device: torch.device) -> None:
    """Load the newest checkpoint of `folder`, if there is one."""
    from ignite.handlers import Checkpoint

    files = sorted(
        Path(folder).glob("checkpoint_*.pt"), key=lambda p: int(p.stem.rsplit("_", 1)[1])
    )
    if not files:
        return
    state = torch.load(files[-1], map_location=device, weights_only=True)
    to_save["fingerprint"].load_state_dict(state["fingerprint"])
    # Its own state tells the saver which file to remove after it has written the next.
    saver.load_state_dict(state["checkpointer"])
    Checkpoint.load_objects(to_save, state)

"""What a checkpoint holds beside Ignite's own: the history, the best weights, whose run it is."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dann_transfer.batches import Tokens


class Record:
    """The history of a run and its best weights so far; a part of every checkpoint."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []
        self.epochs: list[dict[str, Any]] = []
        self.best: dict[str, Tensor] | None = None
        self.best_score = -math.inf

    def settle(self) -> None:
        """Turn tensors into numbers, for all steps at once."""
        for row in self.steps:
            for key, value in row.items():
                if isinstance(value, Tensor):
                    row[key] = value.item()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        self.settle()
        return {
            "steps": self.steps,
            "epochs": self.epochs,
            "best": self.best or {},
            "best_score": self.best_score,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what a checkpoint kept."""
        self.steps, self.epochs = state["steps"], state["epochs"]
        self.best, self.best_score = state["best"] or None, state["best_score"]


# What may differ between a run and the one that continues it.
_IGNORED = {"checkpoint_dir", "progress", "device", "random_state", "correct_prior"}


def fingerprint(
    tokens: dict[str, Tokens], arrays: Sequence[np.ndarray | None], params: dict[str, Any]
) -> str:
    """Return a digest of the data and settings of a run, so that no other run continues it."""
    digest = hashlib.sha256()
    for role in sorted(tokens):
        digest.update(tokens[role].ids.tobytes() + tokens[role].offsets.tobytes())
    for array in arrays:
        digest.update(b"-" if array is None else array.tobytes())
    kept = sorted((key, repr(value)) for key, value in params.items() if key not in _IGNORED)
    digest.update(repr(kept).encode())
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
                "the checkpoint was written by a run with other texts, labels or settings; "
                "choose another checkpoint_dir, or delete this one to start anew."
            )


def trainable(model: nn.Module) -> dict[str, Tensor]:
    """Copy what training changes; frozen layers need no copy."""
    moving = {name for name, p in model.named_parameters() if p.requires_grad}
    return {k: v.detach().clone() for k, v in model.state_dict().items() if k in moving}


def resume(
    folder: str, to_save: dict[str, Any], saver: Any, device: torch.device, total: int
) -> bool:
    """Load the newest checkpoint of `folder`, if any, and tell whether its run had finished."""
    from ignite.handlers import Checkpoint

    found = sorted(
        Path(folder).glob("checkpoint_*.pt"), key=lambda p: int(p.stem.rsplit("_", 1)[1])
    )
    if not found:
        return False
    state = torch.load(found[-1], map_location=device, weights_only=True)
    to_save["fingerprint"].load_state_dict(state["fingerprint"])
    # Its own state tells the saver which file to remove after it has written the next.
    saver.load_state_dict(state["checkpointer"])
    Checkpoint.load_objects(to_save, state)
    stopper = to_save.get("stopper")
    stopped = stopper is not None and stopper.counter >= stopper.patience
    return stopped or int(to_save["trainer"].state.iteration) >= total

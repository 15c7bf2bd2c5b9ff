"""The identity of a run: the settings, texts, labels and first weights that tell it from others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dann_transfer.ground.digests import sha256
from dann_transfer.texts.tokens import Tokens

# What may differ between a run and the one that continues it; the seed replaces random_state.
_IGNORED = {
    "checkpoint_dir", "checkpoint_every", "progress", "device", "random_state", "correct_prior",
    "use_knowledge", "align", "micro_batch_size", "torch_compile", "text_column", "label_column",
}  # fmt: skip


@dataclass(frozen=True)
class Identity:
    """What identifies a run: one that differs in any of it cannot continue its checkpoints."""

    settings: dict[str, str]
    """Hyperparameters by name, as they are written in Python."""
    digests: dict[str, str]
    """sha256 of texts, labels and first weights, by name."""

    @classmethod
    def of(
        cls,
        tokens: Mapping[str, Tokens],
        arrays: Mapping[str, np.ndarray | None],
        params: Mapping[str, Any],
        weights: Mapping[str, Tensor],
    ) -> Identity:
        """Return the identity of a run that is about to start.

        Parameters
        ----------
        tokens : mapping
            Texts by role.
        arrays : mapping
            Labels and weights of texts by name.
        params : mapping
            Hyperparameters.
        weights : mapping
            All weights before the first step.

        """
        parts: dict[str, list[bytes]] = {}
        for role, texts in tokens.items():
            parts[f"the {role} texts"] = [
                texts.ids.astype(np.int64).tobytes(),
                texts.offsets.tobytes(),
            ]
        for name, array in arrays.items():
            parts[f"the {name}"] = [b"-" if array is None else array.tobytes()]
        for name, values in weights.items():
            part = "the encoder's weights" if ".encoder." in name else "the first weights of heads"
            # As bytes, because numpy has no bfloat16.
            content = values.detach().cpu().contiguous().flatten().view(torch.uint8)
            parts.setdefault(part, []).extend([name.encode(), content.numpy().tobytes()])
        settings = {k: _written(v) for k, v in sorted(params.items()) if k not in _IGNORED}
        return cls(settings, {name: sha256(*content)[:16] for name, content in parts.items()})

    @property
    def digest(self) -> str:
        """Return a name for the run, 16 characters long."""
        parts = repr(sorted(self.settings.items())), repr(self.digests)
        return sha256(*map(str.encode, parts))[:16]

    def differences(self, other: Identity) -> list[str]:
        """Return how the run `other`, which is here, differs from this one, which is there.

        Examples
        --------
        >>> there = Identity({"epochs": "3"}, {"the source texts": "ab"})
        >>> there.differences(Identity({"epochs": "4"}, {"the source texts": "cd"}))
        ['epochs (3 there, 4 here)', 'the source texts']

        """
        named = [
            f"{name} ({self.settings.get(name)} there, {other.settings.get(name)} here)"
            for name in sorted({*self.settings, *other.settings})
            if self.settings.get(name) != other.settings.get(name)
        ]
        both = list(dict.fromkeys([*self.digests, *other.digests]))
        return named + [n for n in both if self.digests.get(n) != other.digests.get(n)]


def _written(value: Any) -> str:
    """Return a setting as text, such that equal settings give equal text."""
    if isinstance(value, os.PathLike):
        return repr(os.fspath(value))
    if isinstance(value, dict):
        # An empty one says the same as none, and their order says nothing.
        entries = sorted(f"{key!r}: {_written(entry)}" for key, entry in value.items())
        return f"{{{', '.join(entries)}}}" if entries else "None"
    whole = isinstance(value, float) and value.is_integer()
    return repr(int(value)) if whole else repr(value)

"""Checkpoints: what they hold, which run they belong to, and the folder that keeps them whole."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from dann_transfer.ground.folders import make_writable
from dann_transfer.ground.notices import warn
from dann_transfer.ground.settings import Settings, interval_of
from dann_transfer.texts.tokens import Tokens


class Stateful(Protocol):
    """What a checkpoint can hold."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Restore what a checkpoint kept."""


OF_EVERY_RUN = ("step", "epoch", "learning_rate", "gradient_norm", "method_gradient_norm")
"""What every step records besides losses, the strength and what the method measures."""


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
        """Restore what a checkpoint kept."""
        self.steps, self.epochs = state["steps"], state["epochs"]

    def norms(self) -> dict[str, Tensor]:
        """Return the norms of the last step's gradients."""
        last = self.steps[-1] if self.steps else {}
        names = ("gradient_norm", "method_gradient_norm")
        return {name: torch.as_tensor(last[name]) for name in names if name in last}


class PhaseStates:
    """What the phases of a run and its method remember besides the model's weights."""

    def __init__(self, phases: Sequence[Stateful], method: Any) -> None:
        self.phases, self.method = phases, method

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        phases = {str(i): phase.state_dict() for i, phase in enumerate(self.phases)}
        return {"phases": phases, "memory": self.method.memory}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what a checkpoint kept."""
        for i, phase in enumerate(self.phases):
            phase.load_state_dict(state["phases"][str(i)])
        # Its rows go into batches, which are made on the CPU.
        self.method.memory = {name: values.cpu() for name, values in state["memory"].items()}


FORMAT = 3
"""Changes with the content of checkpoints, so that none with another format is continued."""

# What may differ between a run and the one that continues it; the seed replaces random_state.
_IGNORED = {
    "checkpoint_dir", "checkpoint_every", "progress", "device", "random_state", "correct_prior",
    "micro_batch_size", "torch_compile", "text_column", "label_column",
}  # fmt: skip


class CheckpointWarning(UserWarning):
    """A checkpoint is damaged, so a run continues from an earlier one or starts again."""


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
        for role, own in tokens.items():
            parts[f"the {role} texts"] = [own.ids.astype(np.int64).tobytes(), own.offsets.tobytes()]
        for name, array in arrays.items():
            parts[f"the {name}"] = [b"-" if array is None else array.tobytes()]
        for name, values in weights.items():
            part = "the encoder's weights" if ".encoder." in name else "the first weights of heads"
            # As bytes, because numpy has no bfloat16.
            content = values.detach().cpu().contiguous().flatten().view(torch.uint8)
            parts.setdefault(part, []).extend([name.encode(), content.numpy().tobytes()])
        settings = {k: _written(v) for k, v in sorted(params.items()) if k not in _IGNORED}
        return cls(settings, {name: _sha256(*content) for name, content in parts.items()})

    @property
    def digest(self) -> str:
        """Return a name for the run, 16 characters long."""
        return _sha256(repr(sorted(self.settings.items())).encode(), repr(self.digests).encode())

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


def _sha256(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]


_WHOLE = re.compile(r"checkpoint_(\d+)_([0-9a-f]{16})\.pt")


class Checkpoints:
    """The folder of a run's last two checkpoints.

    A file is named by its step and the sha256 of its content, so that damage is detected. It is
    written beside the others, flushed to disk and then renamed, and only then is the last but one
    removed: whenever a run is killed after its first checkpoint, there is a whole one.

    Parameters
    ----------
    folder : path
    identity : Identity
        The identity of the run that writes and continues.
    every : int, str or None
        As `DomainAdapter`'s `checkpoint_every`.
    shared : bool
        Whether identical runs wait for each other; otherwise the second is refused.

    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        identity: Identity,
        every: Any,
        shared: bool = False,
    ) -> None:
        self.folder, self.identity, self.shared = Path(folder), identity, shared
        self.steps, self.seconds = interval_of(every)
        self.last: Path | None = None
        self.written = time.monotonic()

    @classmethod
    def of(cls, settings: Settings, identity: Identity, own_folder: bool) -> Checkpoints:
        """Return the checkpoints of a run.

        Parameters
        ----------
        settings : Settings
            With `checkpoint_dir` set.
        identity : Identity
        own_folder : bool
            Whether the run shares `checkpoint_dir` with others and has its own folder in it.

        """
        folder = Path(str(settings.checkpoint_dir))
        own = folder / identity.digest if own_folder else folder
        return cls(own, identity, settings.checkpoint_every, shared=own_folder)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other runs out of the folder, and remove half-written files of a killed run.

        Raises
        ------
        RuntimeError
            If another run holds it.

        """
        from filelock import FileLock, Timeout

        check_folder(self.folder)
        # If two clones are the same run, one waits, and then finds the other's checkpoints.
        lock = FileLock(self.folder / ".lock", timeout=-1 if self.shared else 0)
        try:
            lock.acquire()
        except Timeout:
            raise RuntimeError(
                f"checkpoint_dir={str(self.folder)!r} is in use by another run; "
                "wait for it, or choose another checkpoint_dir."
            ) from None
        try:
            for path in self.folder.glob(".checkpoint_*.part"):
                path.unlink(missing_ok=True)
            yield
        finally:
            lock.release()

    def due(self, step: int) -> bool:
        """Return whether to write a checkpoint after a step in the middle of an epoch."""
        if self.steps is not None:
            return step % self.steps == 0
        return self.seconds is not None and time.monotonic() - self.written >= self.seconds

    def write(self, step: int, states: Mapping[str, Stateful]) -> None:
        """Write the checkpoint of a step, and then remove the last but one.

        Raises
        ------
        OSError
            If it cannot be written. The previous one is kept.

        """
        content = {"format": FORMAT, "identity": asdict(self.identity)}
        content |= {name: state.state_dict() for name, state in states.items()}
        part = self.folder / f".checkpoint_{step}.part"
        try:
            with part.open("wb") as file:
                hashed = _Hashed(file)
                try:
                    torch.save(content, cast("IO[bytes]", hashed))
                except RuntimeError as error:
                    raise _cause(error) from None
                file.flush()
                os.fsync(file.fileno())
            whole = self.folder / f"checkpoint_{step}_{hashed.digest}.pt"
            part.replace(whole)
            _sync(self.folder)
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            kept = f"{self.last.name} is intact" if self.last else "there is none before it"
            raise OSError(
                f"the checkpoint of step {step} cannot be written to {str(self.folder)!r} "
                f"({error}); {kept}. Make room, or choose another checkpoint_dir, and fit again: "
                "a run with the same settings continues from its last checkpoint."
            ) from error
        for path in self._files():
            if path not in {whole, self.last}:
                path.unlink()
        self.last, self.written = whole, time.monotonic()

    def newest(self, device: torch.device) -> dict[str, Any] | None:
        """Return the states of the newest intact checkpoint, or None if there is none.

        Raises
        ------
        ValueError
            If it was written by another run, naming what differs.

        """
        files = self._files()
        for i, path in enumerate(files):
            state, damage = _read(path, device)
            if state is None:
                earlier = ", ".join(p.name for p in files[i + 1 :])
                warn(
                    f"checkpoint {str(path)!r} is damaged ({damage}); "
                    + (f"before it there is {earlier}." if earlier else "the run starts again."),
                    CheckpointWarning,
                )
                continue
            if state.get("format") != FORMAT:
                raise ValueError(
                    f"{str(path)!r} does not have the format of this version; choose another "
                    "checkpoint_dir, or delete it to start again."
                )
            if differ := Identity(**state["identity"]).differences(self.identity):
                raise ValueError(
                    f"checkpoint_dir={str(self.folder)!r} belongs to another run: it differs in "
                    f"{'; '.join(differ)}. Choose another checkpoint_dir, or delete this one to "
                    "start again."
                )
            self.last = path
            return state
        return None

    def _files(self) -> list[Path]:
        """Return the checkpoints in the folder, whole or not, the newest first."""
        found = [(_WHOLE.fullmatch(path.name), path) for path in self.folder.iterdir()]
        own = [(int(match[1]), path) for match, path in found if match]
        return [path for _, path in sorted(own, reverse=True)]


class _Hashed:
    """A file to write to that hashes what is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self._sha256 = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._sha256.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()

    @property
    def digest(self) -> str:
        return self._sha256.hexdigest()[:16]


def _cause(error: RuntimeError) -> BaseException:
    """Return what stopped a write, such as Ctrl-C, which torch turns into an error of its own."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) or not isinstance(cause, Exception):
            return cause
        cause = cause.__context__
    return OSError(str(error))


def _read(path: Path, device: torch.device) -> tuple[dict[str, Any] | None, str]:
    """Read a checkpoint; return None if it is damaged, and how it is damaged."""
    match = _WHOLE.fullmatch(path.name)
    assert match
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest()[:16] != match[2]:
            return None, "its content does not match its name"
    try:
        return dict(torch.load(path, map_location=device, weights_only=True)), ""
    except Exception as error:  # torch raises half a dozen kinds
        return None, str(error).splitlines()[0]


def check_folder(folder: str | os.PathLike[str]) -> None:
    """Make a folder for checkpoints if there is none, and try to write to it.

    Raises
    ------
    ValueError
        If there is a file instead, or the folder holds checkpoints that are not ours.
    OSError
        If it cannot be made or written.

    """
    path = Path(folder).expanduser()
    if path.exists() and not path.is_dir():
        raise ValueError(f"checkpoint_dir={str(path)!r} is a file; name a folder.")
    make_writable(path, f"checkpoint_dir={str(path)!r} cannot be written")
    others = sorted(p.name for p in path.glob("*.pt") if not _WHOLE.fullmatch(p.name))
    if others:
        raise ValueError(
            f"checkpoint_dir={str(path)!r} holds {others[:5]}, which this version did not write; "
            "choose another checkpoint_dir, or move them away."
        )


def _sync(folder: Path) -> None:
    """Flush a rename to disk, if the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

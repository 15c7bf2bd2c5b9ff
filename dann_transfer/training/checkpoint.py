"""The folder of a run's checkpoints, in which there is always a whole one."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, cast

import torch

from dann_transfer.ground.checks import interval_of
from dann_transfer.ground.digests import HashedFile, sha256_of_file
from dann_transfer.ground.folders import make_writable
from dann_transfer.ground.notices import warn
from dann_transfer.ground.settings import Settings
from dann_transfer.training.history import Stateful
from dann_transfer.training.identity import Identity

FORMAT = 4
"""Changes with the content of checkpoints, so that none with another format is continued."""


class CheckpointWarning(UserWarning):
    """A checkpoint is damaged, so a run continues from an earlier one or starts again."""


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
        place = folder / identity.digest if own_folder else folder
        return cls(place, identity, settings.checkpoint_every, shared=own_folder)

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
                hashed = HashedFile(file)
                try:
                    torch.save(content, cast("IO[bytes]", hashed))
                except RuntimeError as error:
                    raise _cause(error) from None
                file.flush()
                os.fsync(file.fileno())
            whole = self.folder / f"checkpoint_{step}_{hashed.digest[:16]}.pt"
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
        matches = [(_WHOLE.fullmatch(path.name), path) for path in self.folder.iterdir()]
        files = [(int(match[1]), path) for match, path in matches if match]
        return [path for _, path in sorted(files, reverse=True)]


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
    if sha256_of_file(path)[:16] != match[2]:
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

"""Write folders and files next to their destination, then move them there whole and at once."""

from __future__ import annotations

import ctypes
import glob
import os
import shutil
import stat
import sys
import tempfile
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from dann_transfer.ground.notices import is_first


def make_writable(folder: Path, said: str) -> None:
    """Make a folder if there is none, and try to write to it.

    Raises
    ------
    OSError
        If it cannot be made or written; the message begins with `said`.

    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise type(error)(error.errno, f"{said} ({error.strerror}); name another") from error


def replaceable(
    folder: str | os.PathLike[str], ours: Callable[[Path], Collection[str]], what: str
) -> Path:
    """Return a folder as a path if it may be replaced: it is new, or holds only our files.

    Parameters
    ----------
    folder : path
    ours : callable
        Returns what in the folder may be removed, as names relative to it.
    what : str
        What our files are, for errors.

    Raises
    ------
    ValueError
        If something else is there, which is left alone, or if it is the current folder.
    OSError
        If the folder above it cannot be made or written.

    """
    path = Path(folder).expanduser().resolve()
    if path.exists() and not path.is_dir():
        raise ValueError(f"{str(path)!r} is a file; name a folder to save to.")
    if Path.cwd().is_relative_to(path):
        raise ValueError(
            f"{str(path)!r} is the current folder or above it, which saving would replace; "
            "name a folder inside it."
        )
    if path.is_dir():
        allowed = ours(path)
        names = (str(p.relative_to(path)) for p in path.rglob("*"))
        others = sorted(name for name in names if name not in allowed)
        if others:
            raise ValueError(
                f"{str(path)!r} holds something other than {what} ({others[:5]}), which "
                "saving would replace; name another folder."
            )
    make_writable(path.parent, f"cannot write to {str(path.parent)!r}")
    return path


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> Path:
    """Write a file whole or not at all, text in UTF-8, and return its path.

    If there are several processes, the first one writes.
    """
    out = Path(path).expanduser()
    if not is_first():
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    with in_place_of(out) as work:
        work.write_bytes(content.encode() if isinstance(content, str) else content)
    return out


@contextmanager
def in_place_of(out: Path) -> Iterator[Path]:
    """Yield a file to write to, which replaces `out` at the end, or is removed on an error.

    A link stays one, and the file that it leads to is replaced. Its permissions stay too. A pipe or
    a device receives the content, since replacing it would remove it.

    Raises
    ------
    OSError
        If `out` is a folder or cannot be written.

    """
    if out.is_dir():
        raise IsADirectoryError(f"{str(out)!r} is a folder; name a file.")
    if out.exists() and not out.is_file():
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder, out.name)
            yield work
            with work.open("rb") as content, out.open("wb") as stream:
                shutil.copyfileobj(content, stream)
        return
    out = out.resolve()
    # Unlike tempfile's, its permissions follow the umask.
    work = out.with_name(f".{out.name}-{uuid.uuid4().hex[:12]}")
    work.touch(exist_ok=False)
    try:
        if out.exists():
            work.chmod(stat.S_IMODE(out.stat().st_mode))
        yield work
        os.replace(work, out)
    except BaseException:
        work.unlink(missing_ok=True)
        raise


@contextmanager
def held(folder: str | os.PathLike[str] | None, said: str) -> Iterator[Path | None]:
    """Make a folder and keep other processes out of it.

    Raises
    ------
    RuntimeError
        If another process holds it; the message begins with `said`.
    OSError
        If it cannot be made or written.

    """
    if folder is None:
        yield None
        return
    path = Path(folder).expanduser()
    make_writable(path, f"cannot write to {str(path)!r}")
    try:
        with FileLock(path / ".lock", timeout=0):
            yield path
    except Timeout:
        raise RuntimeError(f"{said} in {str(path)!r}.") from None


@contextmanager
def workplace(path: Path) -> Iterator[Path]:
    """Make a new folder beside `path` to work in, and remove it at the end.

    Leftover folders of killed processes are removed first: the lock beside a folder shows whether
    its process is alive.
    """
    mark = f".{path.name}-saving-"
    for lock_file in path.parent.glob(f"{glob.escape(mark)}*.lock"):
        with suppress(Timeout, OSError), FileLock(lock_file, timeout=0):
            _sweep(lock_file.with_suffix(""), path)
            lock_file.unlink()
    work = path.parent / f"{mark}{uuid.uuid4().hex[:12]}"
    lock_file = work.with_suffix(".lock")
    try:
        with FileLock(lock_file, timeout=0):
            # Unlike tempfile's, its permissions follow the umask.
            work.mkdir()
            yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        with suppress(OSError):
            lock_file.unlink()


def exchange(work: Path, path: Path) -> None:
    """Exchange a folder with the one at `path`, or move it there if there is none."""
    if not path.exists():
        # Another process may have been faster.
        with suppress(OSError):
            work.rename(path)
            return
    if _exchange_at_once(work, path):
        return
    # If the system cannot do it at once, there is no folder at `path` for a moment.
    aside = _aside(work)
    path.rename(aside)
    try:
        work.rename(path)
    except OSError:
        aside.rename(path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _aside(work: Path) -> Path:
    return work.with_name(f"{work.name}-old")


def _sweep(work: Path, path: Path) -> None:
    """Remove what a killed process left behind, and restore what it had moved away."""
    with suppress(OSError):
        if not path.exists():
            _aside(work).rename(path)
    for left in (work, _aside(work)):
        shutil.rmtree(left, ignore_errors=True)


def _exchange_at_once(one: Path, two: Path) -> bool:
    """Exchange two folders in one step of the file system; return False if it has none."""
    if os.name != "posix":
        return False
    libc = ctypes.CDLL(None)
    here, swap = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux; macOS's RENAME_SWAP is 2 too.
    names = os.fsencode(one), os.fsencode(two)
    if sys.platform == "linux" and hasattr(libc, "renameat2"):
        return bool(libc.renameat2(here, names[0], here, names[1], swap) == 0)
    if sys.platform == "darwin" and hasattr(libc, "renamex_np"):
        return bool(libc.renamex_np(*names, swap) == 0)
    return False

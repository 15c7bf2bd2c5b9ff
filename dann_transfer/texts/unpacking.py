"""Open files that may be compressed, as bytes or as text in their encoding."""

from __future__ import annotations

import codecs
import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

COMPRESSED = (".gz", ".bz2", ".zip", ".xz", ".zst")
# How compressed data begin.
_PACKED = (b"\x1f\x8b", b"BZh", b"PK\x03\x04", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def ending(path: Path) -> str:
    """Return the ending of a name, apart from that of a compression."""
    suffixes = [s.lower() for s in path.suffixes if s.lower() not in COMPRESSED]
    return suffixes[-1] if suffixes else ""


def encoding_of(path: Path, encoding: str | None = None) -> str:
    """Return the encoding, by default UTF-8; what a byte order mark says includes the mark."""
    with unpacked(path) as file:
        start = file.read(6)
    if start.startswith(_PACKED):
        raise ValueError(f"{str(path)!r} is compressed; let its name say so, as in texts.csv.gz.")
    marked = next((name for mark, name in _MARKS if start.startswith(mark)), None)
    if encoding is None:
        return marked or "utf-8"
    # Otherwise the mark would be a letter of the first column's name.
    same = marked is not None and marked[:5] == codecs.lookup(encoding).name[:5]
    return marked if marked is not None and same else encoding


def is_marked(path: Path) -> bool:
    """Return whether a file begins with a byte order mark, as Excel needs one to read UTF-8."""
    return encoding_of(path) != "utf-8"


@contextmanager
def opened(path: Path, encoding: str) -> Iterator[IO[str]]:
    """Open a file that may be compressed, in its encoding."""
    with (
        unpacked(path) as packed,
        io.TextIOWrapper(packed, encoding=encoding, newline="") as file,
    ):
        yield file


@contextmanager
def unpacked(path: Path) -> Iterator[Any]:
    """Open the bytes of a file that may be compressed."""
    from fsspec.compression import compr
    from fsspec.utils import infer_compression

    suffix = path.suffix.lower()
    if suffix == ".zip":
        with zipfile.ZipFile(path) as archive, archive.open(_only_member(path, archive)) as file:
            yield file
        return
    kind = infer_compression(str(path))
    if kind is None and suffix in COMPRESSED:
        raise ValueError(f"{str(path)!r} needs another package: pip install zstandard.")
    with path.open("rb") as packed:
        if kind is None:
            yield packed
            return
        with compr[kind](packed, mode="rb") as file:
            yield file


def _only_member(path: Path, archive: zipfile.ZipFile) -> str:
    """Return the name of the only file in an archive, apart from what macOS adds."""
    names = [n for n in archive.namelist() if not n.endswith("/") and not n.startswith("__MACOSX/")]
    if len(names) != 1:
        raise ValueError(f"{str(path)!r} holds {len(names)} files, {names[:5]}; it needs one.")
    return names[0]

"""sha256 of bytes, of files, and of what is written to a file."""

from __future__ import annotations

import hashlib
import json
from os import PathLike
from typing import IO, Any


def sha256(*parts: bytes) -> str:
    """Return the sha256 of parts, one after another, as 64 hexadecimal digits.

    Examples
    --------
    >>> sha256(b"a", b"b") == sha256(b"ab")
    True

    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def sha256_of_json(value: Any) -> str:
    """Return the sha256 of a value written as JSON with sorted keys, 64 hexadecimal digits.

    Examples
    --------
    >>> sha256_of_json({"a": 1, "b": 2}) == sha256_of_json({"b": 2, "a": 1})
    True

    """
    return sha256(json.dumps(value, sort_keys=True, default=str).encode())


def sha256_of_file(path: str | PathLike[str]) -> str:
    """Return the sha256 of a file's content, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class HashedFile:
    """A file to write to that hashes what is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self._sha256 = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Write bytes, and return how many were written."""
        self._sha256.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        """Pass on what is buffered."""
        self.file.flush()

    @property
    def digest(self) -> str:
        """The sha256 of what was written, as 64 hexadecimal digits."""
        return self._sha256.hexdigest()

"""The folder of a saved adapter: its files, what may be replaced in it, and its configuration.

It is read without torch, so that a wrong path is answered at once.
"""

from __future__ import annotations

import json
import re
from os import PathLike
from pathlib import Path
from typing import Any

from dann_transfer.ground.digests import sha256
from dann_transfer.ground.folders import replaceable

CONFIG, HEADS, CARD = "adapter.json", "heads.safetensors", "README.md"
FORMAT = 2
ON_HUB = re.compile(r"\w[\w.-]*/\w[\w.-]*")
"""The name of a model on the hub."""


def digest_of_config(config: dict[str, Any]) -> str:
    """Return the sha256 of a configuration, apart from the digest that stands in it."""
    # Through JSON and back, so that what is hashed now is what will be read later.
    body = json.loads(json.dumps({k: v for k, v in config.items() if k != "digest"}))
    return sha256(json.dumps(body, sort_keys=True).encode())


def check_destination(folder: str | PathLike[str]) -> Path:
    """Return the folder as a path if `save` may write it.

    Raises
    ------
    ValueError
        If something other than a saved adapter is there, which is left alone, or if it is the
        current folder or inside a saved adapter.
    OSError
        If the folder above it cannot be made or written.

    """
    refuse_inside(folder)
    return replaceable(folder, _ours, "a saved adapter")


def refuse_inside(folder: str | PathLike[str]) -> None:
    """Raise a ValueError for a folder inside a saved adapter, which could then not be loaded."""
    path = Path(folder).expanduser().resolve()
    if inside := [parent for parent in path.parents if (parent / CONFIG).is_file()]:
        raise ValueError(
            f"{str(path)!r} is inside the model saved in {str(inside[0])!r}, which could then not "
            "be loaded; name another folder."
        )


def _ours(folder: Path) -> set[str]:
    """Return what `save` may replace in a folder: the files that it wrote, and folders of them."""
    folders = {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_file()}
    return {CONFIG, CARD, *files_of(folder), *folders}


def files_of(folder: Path) -> list[str]:
    """Return the files of the adapter saved in `folder`, or nothing if there is none."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        return list(config["files"]) if config["format"] else []
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []


def check_model(name: str) -> None:
    """Raise a ValueError if a folder holds no saved adapter; a name on the hub is not looked up."""
    path = Path(name).expanduser()
    if path.exists() or not ON_HUB.fullmatch(name):
        read_config(path)


def read_config(path: Path) -> dict[str, Any]:
    """Return the configuration of a saved adapter.

    Raises
    ------
    ValueError
        If there is none, or it is damaged or was changed.

    """
    if not path.is_dir():
        raise ValueError(f"{str(path)!r} is not a folder; pass the one that save_pretrained wrote.")
    file = path / CONFIG
    if not file.is_file():
        raise ValueError(
            f"{str(path)!r} has no {CONFIG}: it is not a saved adapter, or only a part of one."
        )
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        intact = config["format"] == FORMAT and config["digest"] == digest_of_config(config)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{str(file)!r} is damaged ({error}); save the model again.") from error
    if not intact:
        raise ValueError(
            f"{str(file)!r} was changed since it was saved, or its format is not {FORMAT}; "
            "save the model again."
        )
    return dict(config)

"""The runs of a comparison that have ended, in a folder from which it goes on."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from dann_transfer.adapter import DomainAdapter
from dann_transfer.ground.digests import sha256_of_json
from dann_transfer.ground.folders import in_place_of, write_whole
from dann_transfer.judging.gains import Answers

_IDENTITY, _ROW, _ANSWERS, _MODEL = "comparison.json", "row.json", "answers.npz", "model"


@dataclass(frozen=True)
class Records:
    """What a folder keeps of a comparison: a folder for each run, with its row written last.

    Attributes
    ----------
    folder : Path
    device : str or None
        Where models are loaded to.
    trust_remote_code : bool
        As for ``DomainAdapter.from_pretrained``.

    """

    folder: Path
    device: str | None
    trust_remote_code: bool

    def claim(self, identity: dict[str, Any]) -> None:
        """Note what is compared, or check that it is what the folder was made for.

        Parameters
        ----------
        identity : dict
            What the rows depend on, by name; only digests are kept.

        Raises
        ------
        ValueError
            If the folder holds another comparison, or its description is damaged.

        """
        digests = {name: sha256_of_json(value) for name, value in identity.items()}
        path = self.folder / _IDENTITY
        if not path.exists():
            write_whole(path, json.dumps(digests, indent=1))
            return
        before = _read(path)
        names = {**before, **digests}
        if different := [name for name in names if before.get(name) != digests.get(name)]:
            raise ValueError(
                f"{str(self.folder)!r} holds a different comparison: {', '.join(different)} "
                "differ. Use another folder, or delete this one."
            )

    def place(self, method: str, seed: int) -> Path:
        """Return the folder of a run."""
        return self.folder / f"{method}-{seed}"

    def checkpoints(self, method: str, seed: int) -> Path:
        """Return the folder for a run's checkpoints."""
        return self.place(method, seed) / "checkpoints"

    def read(
        self, method: str, seed: int, identity: str, with_model: bool
    ) -> tuple[dict[str, Any], Answers | None, DomainAdapter | None] | None:
        """Return row, answers and model of a run, or None if it has to be trained.

        Parameters
        ----------
        method : str
        seed : int
        identity : str
            Of the method: a run of another one by the same name is trained again.
        with_model : bool
            Whether the model is needed. It is kept for the first seed alone, so that a run without
            one is trained again if it is now that of the first seed.

        Raises
        ------
        ValueError
            If a file is damaged.

        """
        place = self.place(method, seed)
        if not (place / _ROW).exists() or (with_model and not (place / _MODEL).exists()):
            return None
        kept = _read(place / _ROW)
        if set(kept) != {"row", "method"} or not isinstance(kept["row"], dict):
            raise _damaged(place / _ROW)
        if kept["method"] != identity:
            return None
        answers, adapter, row = None, None, kept["row"]
        if row.get("target_accuracy") is not None:
            try:
                with np.load(place / _ANSWERS, allow_pickle=False) as stored:
                    answers = Answers(**stored)
            except (OSError, ValueError, TypeError, EOFError, BadZipFile) as error:
                raise _damaged(place / _ANSWERS) from error
        if with_model:
            adapter = DomainAdapter.from_pretrained(
                place / _MODEL, self.device, self.trust_remote_code
            )
        return row, answers, adapter

    def write(
        self,
        method: str,
        seed: int,
        identity: str,
        row: dict[str, Any],
        answers: Answers | None,
        adapter: DomainAdapter | None,
    ) -> None:
        """Keep a run that has ended, and remove its checkpoints."""
        place = self.place(method, seed)
        if adapter is not None:
            adapter.save_pretrained(place / _MODEL)
        if answers is not None:
            place.mkdir(parents=True, exist_ok=True)
            with in_place_of(place / _ANSWERS) as work, work.open("wb") as file:
                np.savez(file, **vars(answers))
        write_whole(place / _ROW, json.dumps({"row": row, "method": identity}))
        shutil.rmtree(self.checkpoints(method, seed), ignore_errors=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(path) from error
    if not isinstance(content, dict):
        raise _damaged(path)
    return content


def _damaged(path: Path) -> ValueError:
    return ValueError(
        f"{str(path)!r} is damaged, which a kill does not leave; restore it, or delete its folder "
        f"{str(path.parent)!r} to train what is in it again."
    )

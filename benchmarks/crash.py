"""Kill real training runs, resume them, and compare their results with uninterrupted runs.

    python benchmarks/crash.py                    # all methods, 30 + 10 kills each
    python benchmarks/crash.py dann shot --kills 5 --kills-in-writes 5
    python benchmarks/crash.py --saves 60         # the saving of a fitted model

Each run is a process of its own, ended by SIGKILL at a random moment or while a checkpoint is being
written (at a random write, sync, rename or removal). It is restarted and killed several times and
finally allowed to finish; its weights, history and validation must equal those of a run that was
never stopped, bit for bit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np
import torch
from conftest import TINY, make_tiny_encoder, toy_texts, weights

from dann_transfer import DomainAdapter, methods
from dann_transfer.ground.digests import HashedFile

PARAMS = {**TINY, "epochs": 3, "checkpoint_every": 2, "batch_size": 32}


@dataclass
class Tally:
    """What was observed for one method."""

    method: str
    kills: int = 0
    kills_in_writes: int = 0
    runs: int = 0
    wrong: int = 0
    most_steps_lost: int = 0
    most_left_over: int = 0
    left_over_in_the_end: int = 0
    without_a_checkpoint: int = 0
    """Kills after the first checkpoint that left no intact checkpoint."""


def fit(
    encoder: str,
    method: str,
    on_step: Callable[[int], None],
    save: Path | None = None,
    **params: Any,
) -> str:
    """Train, and return a digest of the run's weights, history and validation."""
    warnings.simplefilter("ignore")
    source = toy_texts(160, "film plot actor scene the", 0)
    target = toy_texts(120, "tweet lol omg today friend", 1)[0]
    adapter = DomainAdapter(encoder, **{**PARAMS, "method": method, **params})
    adapter.fit(*source, X_target=target, on_step=lambda engine, _: on_step(engine.state.iteration))
    if save is not None:
        adapter.save_pretrained(save)
    digest = hashlib.sha256()
    for name, values in weights(adapter).items():
        digest.update(name.encode() + values.numpy().tobytes())
    digest.update(json.dumps([adapter.history_, adapter.validation_]).encode())
    return digest.hexdigest()


def child(work: Callable[[Callable[[str], None]], None]) -> tuple[int, int]:
    """Start work in a process; return its ID and the read end of a pipe with its messages."""
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        return pid, read
    status = 1
    try:
        work(lambda word: os.write(write, f"{word}\n".encode()))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def kill_in_a_write(rng: np.random.Generator) -> None:
    """Make this process kill itself at one of its next file operations, chosen at random."""
    countdown = int(rng.integers(1, 220))

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal countdown
            countdown -= 1
            if countdown == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    HashedFile.write = counted(HashedFile.write)  # type: ignore[method-assign]
    # Counted twice, so that the kill can also come between two operations.
    for place, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink")):
        setattr(place, name, counted(counted(getattr(place, name))))


def whole_checkpoints(folder: Path) -> int:
    """Count the checkpoints whose content matches their name."""
    return sum(
        hashlib.sha256(path.read_bytes()).hexdigest()[:16] in path.name
        for path in folder.glob("checkpoint_*.pt")
    )


def attempt(
    encoder: str, method: str, folder: Path, seconds: float | None, rng: np.random.Generator | None
) -> tuple[list[int], str | None, bool]:
    """Start or resume a run; kill it after some seconds, or in a write, or not at all.

    Returns
    -------
    steps : list of int
        The steps that it took.
    digest : str or None
        The digest of its result, if it was not killed.

    """

    def work(say: Callable[[str], None]) -> None:
        if rng is not None:
            kill_in_a_write(rng)
        say(fit(encoder, method, lambda step: say(str(step)), checkpoint_dir=folder))

    pid, pipe = child(work)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(pipe) as words:
        said = words.read().split()
    status = os.waitpid(pid, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise RuntimeError(
            f"a run of {method!r} ended with an error instead of a result, see above."
        )
    steps = [int(word) for word in said if len(word) < 20]
    digest = said[-1] if said and len(said[-1]) == 64 else None
    return steps, digest, os.WIFSIGNALED(status)


def torment(
    encoder: str, method: str, kills: int, kills_in_writes: int, seed: int, folder: Path
) -> Tally:
    """Kill runs of a method this many times, and count the outcomes."""
    rng = np.random.default_rng([seed, *method.encode()])
    tally = Tally(method)
    begun = time.perf_counter()
    # Also in a separate process, so that this one never trains and can still be forked.
    right = attempt(encoder, method, folder / "right", None, None)[1]
    span = time.perf_counter() - begun
    while tally.kills < kills or tally.kills_in_writes < kills_in_writes:
        tally.runs += 1
        run, reached, had_one = folder / str(tally.runs), 0, False
        for _ in range(6):
            in_write = bool(rng.random() < 0.3) or tally.kills >= kills
            in_write = in_write and tally.kills_in_writes < kills_in_writes
            if not in_write and tally.kills >= kills:
                break
            moment = None if in_write else float(rng.uniform(0, span))
            own = np.random.default_rng(rng.integers(2**63)) if in_write else None
            steps, digest, killed = attempt(encoder, method, run, moment, own)
            if steps:
                # The steps that were lost are repeated.
                tally.most_steps_lost = max(tally.most_steps_lost, reached - steps[0] + 1)
            reached = max([reached, *steps])
            if not killed:
                tally.wrong += digest != right
                break
            tally.kills_in_writes += in_write
            tally.kills += not in_write
            whole = whole_checkpoints(run) if run.exists() else 0
            tally.without_a_checkpoint += had_one and not whole
            had_one = had_one or whole > 0
            left = len(list(run.glob(".checkpoint_*.part"))) if run.exists() else 0
            tally.most_left_over = max(tally.most_left_over, left)
        steps, digest, _ = attempt(encoder, method, run, None, None)
        if steps:
            tally.most_steps_lost = max(tally.most_steps_lost, reached - steps[0] + 1)
        tally.wrong += digest != right
        tally.left_over_in_the_end += len(list(run.glob(".checkpoint_*.part")))
    return tally


def kill_saves(encoder: str, kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """Kill a process that saves two models in turn, and count what it leaves behind."""
    rng = np.random.default_rng(seed)
    for own in (0, 1):

        def train(say: Callable[[str], None], own: int = own) -> None:
            fit(encoder, "dann", lambda step: None, random_state=own, save=folder / str(own))

        if os.waitpid(child(train)[0], 0)[1]:
            raise RuntimeError("the model to save was not trained, see above.")
    models = [DomainAdapter.from_pretrained(folder / str(own)) for own in (0, 1)]
    texts = ["good film", "the plot the actor", "lol so bad today"]
    right = [model.predict_proba(texts) for model in models]
    place = folder / "saved" / "model"
    models[0].save_pretrained(place)
    begun = time.perf_counter()
    models[1].save_pretrained(place)
    span = time.perf_counter() - begun
    tally = {"saves": 0, "kills": 0, "not_whole": 0, "most_left_over": 0, "left_over_later": 0}
    while tally["kills"] < kills:
        model = models[tally["saves"] % 2]
        pid, pipe = child(lambda say, model=model: model.save_pretrained(place))
        os.close(pipe)
        time.sleep(rng.uniform(0, 1.2 * span))
        os.kill(pid, signal.SIGKILL)
        tally["saves"] += 1
        tally["kills"] += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
        found = DomainAdapter.from_pretrained(place).predict_proba(texts)
        tally["not_whole"] += not any(np.array_equal(found, own) for own in right)
        tally["most_left_over"] = max(
            tally["most_left_over"], len(list(place.parent.iterdir())) - 1
        )
    models[0].save_pretrained(place)
    tally["left_over_later"] = len(list(place.parent.iterdir())) - 1
    return tally


def main() -> None:
    """Kill runs of every method and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("methods", nargs="*", default=methods.names())
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--kills-in-writes", type=int, default=10)
    parser.add_argument("--saves", type=int, default=0, help="kill this many saves instead of runs")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    # A process that has started threads cannot be forked safely.
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        encoder = make_tiny_encoder(Path(folder) / "encoder")
        if arguments.saves:
            print(json.dumps(kill_saves(encoder, arguments.saves, arguments.seed, Path(folder))))
            return
        for method in arguments.methods:
            tally = torment(
                encoder,
                method,
                arguments.kills,
                arguments.kills_in_writes,
                arguments.seed,
                Path(folder) / method,
            )
            print(json.dumps(asdict(tally)), flush=True)


if __name__ == "__main__":
    main()

"""Several runs on the same texts, of which one is kept: ``method="auto"``."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dann_transfer import methods
from dann_transfer.fitting import run
from dann_transfer.fitting.predicting import Trained, predict_tokens
from dann_transfer.fitting.run import Watch
from dann_transfer.fitting.shared import Shared
from dann_transfer.ground.options import AUTO, CANDIDATES_COMPLETED
from dann_transfer.judging import choice
from dann_transfer.judging.choice import BASELINE
from dann_transfer.judging.diagnostics import CollapseWarning
from dann_transfer.judging.findings import UNLEARNT, Findings, FindingWarning
from dann_transfer.judging.selection import balanced
from dann_transfer.methods import Method
from dann_transfer.texts.roles import Texts
from dann_transfer.texts.target import sample

if TYPE_CHECKING:
    from ignite.engine import Engine

SHORTLIST = ("mcc", "student")
"""What `method="auto"` trains besides source-only."""


def candidates(
    method: str, options: Mapping[str, Any] | None, max_strength: float | None = None
) -> dict[str, Any]:
    """Return the methods that a run trains, with the options of each.

    Parameters
    ----------
    method : str
        "auto", or a method by name.
    options : mapping, optional
        For "auto": ``candidates``, the methods besides source-only.
    max_strength : float, optional
        Must be None for "auto", which leaves each method its own.

    Raises
    ------
    ValueError, TypeError
        If a method is not known or does not take its options.

    Examples
    --------
    >>> candidates("auto", {"candidates": ["mcc"]}), candidates("dann", {"width": 64})
    ({'source_only': None, 'mcc': None}, {'dann': {'width': 64}})

    """
    if not isinstance(method, str):
        raise TypeError(f"method={method!r} must be a string, one of {methods.names()}.")
    if method != AUTO:
        return {method: options}
    if max_strength is not None:
        raise ValueError(
            f"max_strength={max_strength!r} means something different to each method, and "
            "method='auto' trains several; leave it None."
        )
    if not isinstance(options, Mapping | None) or set(options or {}) - {"candidates"}:
        raise TypeError(
            f"method_options={options!r}: method='auto' takes {{'candidates': [...]}} and nothing "
            "else."
        )
    given = (options or {}).get("candidates", SHORTLIST)
    # An iterator would be empty the second time.
    listed = isinstance(given, Collection) and not isinstance(given, str | Mapping)
    listed = listed and all(isinstance(name, str) for name in given)
    names = [name for name in given if name != BASELINE] if listed else []
    if not names or AUTO in names or len(set(names)) < len(names):
        raise ValueError(
            f"candidates={given!r} of method='auto' must be a list of one or more of "
            f"{[name for name in methods.names() if name != BASELINE]}, each once."
        )
    return dict.fromkeys((BASELINE, *names))


def created(params: Mapping[str, Any]) -> dict[str, Method]:
    """Return a new method for each run that the hyperparameters ask for.

    Raises
    ------
    ValueError, TypeError
        If a method is not known, does not take its options or would have no effect.

    """
    chosen = candidates(params["method"], params["method_options"], params["max_strength"])
    return {
        name: run.create(name, options, params["epochs"], params["batch_size"])
        for name, options in chosen.items()
    }


def train(
    params: Mapping[str, Any],
    seed: int,
    texts: Texts,
    shared: Shared,
    watch: Watch = run.NOBODY,
    owns_folder: bool = True,
) -> Trained:
    """Train one method as `run.train` does, or with "auto" several, and return the chosen one.

    With "auto", ``engine.state.candidate`` names the run that is watched.
    """
    if params["method"] != AUTO:
        return run.train(params, seed, texts, shared, watch, owns_folder)
    started, methods_by_name = time.perf_counter(), created(params)
    run.check_encoder(params, seed, methods_by_name, texts, shared)
    epochs = run.epochs_of(params, texts)
    passes = max(run.passes_of(method, epochs) for method in methods_by_name.values())
    roles = texts.roles(params, seed, passes)
    even = balanced(roles.shares)
    judged_on = sample([roles.texts["target"]])[0]
    trained: dict[str, Trained] = {}
    held: dict[str, list[warnings.WarningMessage]] = {}
    pool: dict[str, np.ndarray] = {}
    severe: dict[str, list[str]] = {}
    engines: list[Engine] = []
    for name in methods_by_name:
        if not (even or UNLEARNT in severe.get(BASELINE, [UNLEARNT])):
            break
        folder = params["checkpoint_dir"]
        changes: dict[str, Any] = {"method": name, "method_options": None}
        changes["checkpoint_dir"] = None if folder is None else Path(folder, name)
        attach = watch.attach and partial(_attach_candidate, watch.attach, name, engines)
        each = replace(watch, attach=attach)
        with _warnings_held() as held[name]:
            trained[name] = run.train({**params, **changes}, seed, texts, shared, each, owns_folder)
        # As `predict` does, so that neighbours and prior affect what is judged.
        tokens, _ = shared.tokens(trained[name].model.encoder, params, judged_on)
        pool[name] = predict_tokens(trained[name], params, tokens, texts=judged_on).probabilities
        findings = trained[name].fitted.findings or Findings()
        severe[name] = [finding.name for finding in findings.severe]
    for engine in engines[-1:]:
        engine.fire_event(CANDIDATES_COMPLETED)
    if len(pool) > 1:
        chosen = choice.choose(pool, texts.classes.tolist(), severe)
    else:
        chosen = choice.lopsided(roles.shares)
    best = trained[chosen.method]
    for message in held[chosen.method]:
        _warn_again(message)
    fitted = replace(
        best.fitted,
        params={**params, "epochs": epochs, "random_state": seed},
        choice=chosen,
        trained=run.record(started, next(best.model.parameters()).device),
    )
    return replace(best, fitted=fitted)


@contextmanager
def _warnings_held() -> Iterator[list[warnings.WarningMessage]]:
    """Hold back what is wrong with a candidate, which may be rejected; warn of the rest."""
    held: list[warnings.WarningMessage] = []
    others: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield held
    finally:
        for message in caught:
            of_candidate = issubclass(message.category, CollapseWarning | FindingWarning)
            (held if of_candidate else others).append(message)
        for message in others:
            _warn_again(message)


def _warn_again(message: warnings.WarningMessage) -> None:
    """Warn at the line that a warning was held back from."""
    where = message.filename, message.lineno
    warnings.warn_explicit(message.message, message.category, *where)


def _attach_candidate(
    attach: Callable[[Engine], object], name: str, engines: list[Engine], engine: Engine
) -> None:
    """Attach handlers to one of several runs, which they can tell from the engine's state."""
    engine.state.candidate = name
    engine.register_events(CANDIDATES_COMPLETED)
    engines.append(engine)
    attach(engine)

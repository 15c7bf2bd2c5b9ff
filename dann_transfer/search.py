"""Search hyperparameters within a budget, judged without target labels."""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dann_transfer import methods
from dann_transfer.adapter import DomainAdapter, adapter_of
from dann_transfer.fitting import run
from dann_transfer.fitting.predicting import predict_tokens
from dann_transfer.fitting.shared import Shared
from dann_transfer.ground.checks import check_number
from dann_transfer.ground.digests import sha256_of_json
from dann_transfer.ground.folders import held, write_whole
from dann_transfer.ground.length import FEWEST
from dann_transfer.ground.notices import shows_bars
from dann_transfer.ground.options import AUTO, check_score
from dann_transfer.ground.processes import Processes
from dann_transfer.ground.settings import (
    ADAPTATION,
    HYPERPARAMETERS,
    as_seed,
    check_names,
    check_params,
    plain,
)
from dann_transfer.judging import tables
from dann_transfer.judging.answering import answered
from dann_transfer.judging.choice import BASELINE
from dann_transfer.judging.diagnostics import class_shares
from dann_transfer.judging.selection import MIN_TEXTS, SCORES, Evidence, balanced
from dann_transfer.judging.tables import Table
from dann_transfer.knowledge.base import check_unkept
from dann_transfer.methods import Method
from dann_transfer.texts.roles import Inputs, Roles, Texts

if TYPE_CHECKING:
    import pandas as pd
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

SPACE: dict[str, Any] = {
    "method": ["dann", "mcc", "student"],
    "learning_rate": (1e-5, 1e-4),
}
"""The search space if the user gives none."""
OWN = ("random_state", "progress", "checkpoint_dir")
"""Hyperparameters that belong to the search and not to its runs."""
SAME = ("validation_fraction", "text_column", "label_column", "device", "trust_remote_code")
"""Hyperparameters that all runs must share: they are judged on the same held-out texts."""
LOADING = {"encoder", "pooling", "freeze_layers", "lora", "max_length", "precision"}
"""What decides whether an encoder can be loaded and trained."""
ERRORS = (FloatingPointError, ValueError, RuntimeError)
"""Errors that may end a run without ending the search: a rate too large, a batch too large for
memory, or values that do not work together."""


@dataclass(frozen=True)
class Search:
    """What `tune` tried.

    Attributes
    ----------
    rows : list of dict
        One per run, in order: its hyperparameters, score, accuracy on held-out source texts, shares
        of the classes among its target predictions, seconds, and whether it failed.
    score : str
        The score that judged.
    adapter : DomainAdapter
        The fitted model of the run with the best score; source-only if none is better.
    params : dict
        The values of the searched hyperparameters in the best run.

    """

    rows: list[dict[str, Any]]
    score: str
    adapter: DomainAdapter
    params: dict[str, Any]

    def frame(self) -> pd.DataFrame:
        """Return the runs as a pandas DataFrame, the best first."""
        import pandas as pd

        return pd.DataFrame(self.rows).sort_values("score", ascending=False, kind="stable")

    def tables(self) -> list[Table]:
        """Return the runs as a table to read, the best first."""
        rows = self.rows
        rows = sorted(rows, key=lambda row: math.inf if row["failed"] else -row["score"])
        return [tables.runs(rows, self.score, self._searched())]

    def _searched(self) -> list[str]:
        """Return the names of the searched hyperparameters."""
        passed = {"run", *SCORED}
        return list(dict.fromkeys(name for row in self.rows for name in row if name not in passed))

    def __repr__(self) -> str:
        return "\n".join([*map(str, self.tables()), self.verdict()])

    def _repr_html_(self) -> str:
        return tables.page([*self.tables(), self.verdict()])

    def verdict(self) -> str:
        """State in a sentence what was chosen, and by which score."""
        best = _best(self.rows)
        before = _best([row for row in self.rows if row["method"] == BASELINE])
        assert best is not None
        chosen = ", ".join(f"{name}={value!r}" for name, value in self.params.items())
        if self.params["method"] == BASELINE:
            return f"None of {len(self.rows)} runs has a better {self.score} than {BASELINE}."
        reference = f"while the best of {BASELINE} has {before['score']:.3f}" if before else ""
        return (
            f"{chosen} has the best {self.score} of {len(self.rows)} runs: {best['score']:.3f}, "
            f"{reference or f'and no run of {BASELINE} finished'}. Whether it is right more "
            "often on the target is not known without target labels."
        )


def tune(
    X: Any,
    y: Any = None,
    *,
    X_target: Any,
    space: Mapping[str, Any] | None = None,
    score: str | None = None,
    runs: int = 20,
    minutes: float | None = None,
    folder: Path | str | None = None,
    sample_weight: Any = None,
    X_val: Any = None,
    y_val: Any = None,
    X_target_labelled: Any = None,
    y_target_labelled: Any = None,
    knowledge: Any = None,
    random_state: int = 0,
    progress: bool = True,
    **params: Any,
) -> Search:
    """Search hyperparameters of a `DomainAdapter` within a budget, without target labels.

    Source-only always runs first, at the defaults or in the middle of the space. The others are
    proposed by Optuna's estimator of the better part of the space (TPE). A run that fails is
    recorded as a row, and the search continues.

    Parameters
    ----------
    X, y, X_target, sample_weight, X_val, y_val, X_target_labelled, y_target_labelled
        As for ``DomainAdapter.fit``. Each file is read once, however many runs there are.
    space : mapping, optional
        From hyperparameters to a list of values to choose from, or a tuple ``(low, high)`` of
        numbers: whole numbers are drawn evenly, others on a logarithmic scale. By default `SPACE`,
        without what `params` holds fixed.
    score : str, optional
        The score to judge by, one of `selection.SCORES`. None is "information_maximization", or
        "source_validation" if the source's classes are not `selection.balanced`.
    runs : int
        Total number of runs, including those of an interrupted search.
    minutes : float, optional
        No run starts after this time.
    folder : path, optional
        Save the search there and continue an interrupted one, even in the middle of a run. The
        best model so far is in its ``best``, for ``DomainAdapter.from_pretrained``.
    knowledge : optional
        As for ``DomainAdapter.fit``. It cannot be kept in `folder`.
    random_state : int
        Seeds every run and the proposals.
    progress : bool
        Show a progress bar on a terminal or in a notebook, elsewhere a line for each run.
    **params
        Hyperparameters of all runs, passed on to ``DomainAdapter``.

    Raises
    ------
    TypeError, ValueError
        On bad input, before any training; if `folder` holds another search.
    ImportError
        If Optuna is not installed.
    RuntimeError
        If another process is searching in `folder`.

    References
    ----------
    Bergstra et al., Algorithms for Hyper-Parameter Optimization, NIPS 2011; Akiba et al., Optuna:
    A Next-generation Hyperparameter Optimization Framework, KDD 2019.

    Examples
    --------
    ```python
    search = tune(texts, labels, X_target=tweets, runs=10, folder="runs/search",
                  encoder="bert-base-uncased")
    print(search)
    search.adapter.predict(new_texts)
    ```

    """
    if score is not None:
        check_score(score)
    if Processes.current().world > 1:
        raise ValueError(
            "tune searches in one process; start it without torchrun, or several times, each with "
            "a folder of its own."
        )
    check_unkept(folder, knowledge)
    budget = _Budget.of(runs, minutes, progress)
    if wrong := [name for name in OWN if name in params]:
        raise ValueError(f"{wrong[0]} is set by the search; pass random_state and folder to tune.")
    if space is None:
        space = {name: values for name, values in SPACE.items() if name not in params}
    seed = as_seed(random_state)
    common = plain(params) | {"random_state": seed, "progress": False}
    check_names("tune", common)
    check_params(common)
    space = _space(dict(plain(dict(space))), common)
    params = run.full(common)
    labelled = X_target_labelled, y_target_labelled
    inputs = Inputs(X, y, X_target, sample_weight, X_val, y_val, *labelled, knowledge)
    choices = {name: _values(name, space, common) for name in ("epochs", "batch_size")}
    texts = run.check(params, inputs, _created(space, common), choices)
    texts.refuse_several("tune")
    # What every run is judged on: a search holds out the same texts in each.
    roles = texts.roles(params, seed, 0)
    if not roles.texts["validation"]:
        raise ValueError(
            "a search judges by held-out source texts, but there are none; pass X_val and y_val, "
            "or a larger validation_fraction."
        )
    if len(roles.texts["validation"]) < MIN_TEXTS or len(roles.texts["target"]) < MIN_TEXTS:
        raise ValueError(
            f"a search needs at least {MIN_TEXTS} held-out source texts and as many target texts "
            f"to judge by, but there are {len(roles.texts['validation'])} and "
            f"{len(roles.texts['target'])}; pass more."
        )
    if score is None:
        even = balanced(roles.shares)
        score = "information_maximization" if even else "source_validation"
    judge = _Judge(score, roles, common, texts, Shared())
    if not LOADING & space.keys():
        # What would fail every run is said before the search has a folder.
        baseline = {BASELINE: methods.create(BASELINE)}
        run.check_encoder(params, seed, baseline, texts, judge.shared)
    with held(folder, "another process is searching") as kept:
        study = _study(kept, seed, space, _identity(roles, space, common, score))
        return _search(study, space, judge, kept, budget)


@dataclass(frozen=True)
class _Judge:
    """Trains and scores runs."""

    score: str
    roles: Roles
    common: dict[str, Any]
    texts: Texts
    shared: Shared

    def run(
        self, changes: dict[str, Any], folder: Path | None
    ) -> tuple[DomainAdapter, dict[str, Any]]:
        """Return a fitted adapter and its row."""
        options = None if changes["method"] == BASELINE else self.common.get("method_options")
        params = run.full({**self.common, "method_options": options, **changes})
        params["checkpoint_dir"] = folder
        started = time.perf_counter()
        trained = run.train(params, run.seed_of(params), self.texts, self.shared)
        seconds = time.perf_counter() - started
        encoder, outputs = trained.model.encoder, {}
        for role in ("validation", "target"):
            texts = self.roles.texts[role]
            tokens, _ = self.shared.tokens(encoder, params, texts)
            domain = "target" if role == "target" else "source"
            outputs[role] = predict_tokens(trained, params, tokens, domain, texts)
        codes, target = self.roles.codes["validation"], outputs["target"]
        evidence = Evidence(outputs["validation"], codes, target)
        shares = class_shares(answered(target.probabilities, self.roles.ranks), self.roles.classes)
        return adapter_of(params, trained), {
            "score": SCORES[self.score](evidence),
            "source_validation": SCORES["source_validation"](evidence),
            "predicted": {str(name): round(share, 3) for name, share in shares.items()},
            "seconds": round(seconds, 1),
            "failed": None,
        }


def _search(
    study: Study, space: dict[str, Any], judge: _Judge, folder: Path | None, budget: _Budget
) -> Search:
    """Run the rest of a search, and return all of it."""
    from optuna.trial import TrialState
    from tqdm.auto import tqdm

    best: DomainAdapter | None = None
    rows = _rows(study, space)
    bars = shows_bars()
    hidden = not (budget.progress and bars)
    with tqdm(total=budget.runs, initial=len(rows), disable=hidden) as bar:
        while budget.allows(len(rows)):
            trial = study.ask()
            params = _propose(trial, space)
            row = next((_scores_of(row) for row in rows if row.items() >= params.items()), None)
            if row is None:
                place = None if folder is None else folder / "runs" / sha256_of_json(params)[:16]
                try:
                    adapter, row = judge.run(params, place)
                except ERRORS as error:
                    adapter, row = None, {**dict.fromkeys(SCORED), "failed": str(error)}
                before = _best(rows)
                if adapter is not None and (before is None or row["score"] > before["score"]):
                    best = adapter
                    if folder is not None:
                        adapter.save_pretrained(folder / "best")
                if place is not None:
                    shutil.rmtree(place, ignore_errors=True)
            trial.set_user_attr("row", row)
            if row["failed"]:
                study.tell(trial, state=TrialState.FAIL)
            else:
                study.tell(trial, row["score"])
            rows = _rows(study, space)
            bar.update()
            if budget.progress and not bars:
                said = f"failed: {row['failed']}" if row["failed"] else f"score {row['score']:.4f}"
                print(f"tune {len(rows)}/{budget.runs}: {said}", file=sys.stderr, flush=True)
    top = _best(rows)
    if top is None:
        raise RuntimeError(f"no run finished; the last one failed with: {rows[-1]['failed']}")
    if best is None:
        assert folder is not None
        common = judge.common
        best = DomainAdapter.from_pretrained(
            folder / "best", common.get("device"), common.get("trust_remote_code", False)
        )
    params = {name: top[name] for name in ("method", *space) if name in top}
    return Search(rows, judge.score, best, params)


SCORED = ("score", "source_validation", "predicted", "seconds", "failed")


def _scores_of(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in SCORED}


def _best(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the first of the runs with the best score, if any finished."""
    ended = (row for row in rows if not row["failed"])
    return max(ended, key=lambda row: row["score"], default=None)


def _rows(study: Study, space: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the runs that ended, in order."""
    ended = [t for t in study.get_trials(deepcopy=False) if "row" in t.user_attrs]
    return [
        {"run": i, **_own(trial.params, space), **trial.user_attrs["row"]}
        for i, trial in enumerate(ended)
    ]


def _own(drawn: Mapping[str, Any], space: dict[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters of a run, of which Optuna knows those from lists by position.

    It keeps a search as JSON, which has no paths, and no dicts of anything but strings.
    """
    listed = {name: values for name, values in space.items() if isinstance(values, list)}
    return {name: listed[name][x] if name in listed else x for name, x in drawn.items()}


def _propose(trial: Trial, space: dict[str, Any]) -> dict[str, Any]:
    """Draw a run's hyperparameters; for source-only, leave out those that only methods use."""
    for name, values in space.items():
        if name != "method" and name in ADAPTATION and trial.params["method"] == 0:
            continue
        if isinstance(values, list):
            trial.suggest_categorical(name, range(len(values)))
        elif HYPERPARAMETERS[name].whole:
            trial.suggest_int(name, *values)
        else:
            trial.suggest_float(name, *values, log=True)
    return _own(trial.params, space)


def _space(space: dict[str, Any], common: dict[str, Any]) -> dict[str, Any]:
    """Check a search space, and add source-only to its methods."""
    for name, values in space.items():
        if name not in HYPERPARAMETERS or name in (*OWN, *SAME):
            raise ValueError(
                f"space has {name!r}, which cannot be searched; it may have "
                f"{[h for h in HYPERPARAMETERS if h not in (*OWN, *SAME)]}."
            )
        if name in common:
            raise ValueError(f"{name} is both in space and set to {common[name]!r}; leave one out.")
        ends = values if isinstance(values, tuple) and len(values) == 2 else ()
        numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in ends)
        if ends and numbers and HYPERPARAMETERS[name].low is None:
            raise ValueError(
                f"space[{name!r}]={values!r}: {name} cannot be drawn from a range; give a list of "
                "values."
            )
        if ends and numbers and ends[0] < ends[1]:
            if not HYPERPARAMETERS[name].whole and ends[0] <= 0:
                raise ValueError(
                    f"space[{name!r}]={values!r} is drawn on a logarithmic scale: low must be "
                    "above 0."
                )
        elif not (isinstance(values, list) and values):
            raise ValueError(
                f"space[{name!r}]={values!r} must be a list of values, or (low, high) of numbers."
            )
        for value in values:
            check_params({name: value})
    names = space.pop("method", [common.pop("method", HYPERPARAMETERS["method"].default)])
    if AUTO in names:
        raise ValueError("a search itself chooses among methods; name them instead of 'auto'.")
    space = {"method": [BASELINE, *(name for name in names if name != BASELINE)], **space}
    for name, method in _created(space, common).items():
        for epochs in _values("epochs", space, common):
            for batch_size in _values("batch_size", space, common):
                methods.check_run(method, name, epochs or FEWEST, batch_size)
    return space


def _created(space: dict[str, Any], common: dict[str, Any]) -> dict[str, Method]:
    """Return each method of a search, with the options that all of its runs have."""
    options = common.get("method_options")
    names = space["method"]
    return {name: methods.create(name, None if name == BASELINE else options) for name in names}


def _values(name: str, space: dict[str, Any], common: dict[str, Any]) -> Sequence[Any]:
    """Return the values that a hyperparameter may have in a search; for a range, its two ends."""
    default: Sequence[Any] = [common.get(name, HYPERPARAMETERS[name].default)]
    return space.get(name, default)


def _first(space: dict[str, Any]) -> dict[str, Any]:
    """Return source-only at the defaults, or in the middle of ranges that exclude these.

    Values from lists are positions, as in Optuna.
    """
    params: dict[str, Any] = {"method": 0}
    for name, values in space.items():
        if name == "method" or name in ADAPTATION:
            continue
        default = HYPERPARAMETERS[name].default
        if isinstance(values, list):
            params[name] = values.index(default) if default in values else 0
        elif default is not None and values[0] <= default <= values[1]:
            params[name] = default
        else:
            low, high = values
            whole = HYPERPARAMETERS[name].whole
            params[name] = (low + high) // 2 if whole else math.sqrt(low * high)
    return params


@dataclass(frozen=True)
class _Budget:
    """How many runs there may be, and how late one may start."""

    runs: int
    deadline: float
    progress: bool

    @classmethod
    def of(cls, runs: Any, minutes: Any, progress: bool) -> _Budget:
        check_number(f"runs={runs!r}", runs, 2, whole=True)
        if minutes is not None and not (isinstance(minutes, int | float) and minutes > 0):
            raise ValueError(f"minutes={minutes!r} must be a number above 0, or None.")
        end = math.inf if minutes is None else time.monotonic() + 60 * minutes
        return cls(int(runs), end, progress)

    def allows(self, ended: int) -> bool:
        """Return whether another run may start. Source-only always may: the others need it."""
        return ended < self.runs and (not ended or time.monotonic() < self.deadline)


def _study(
    folder: Path | None, seed: int, space: dict[str, Any], identity: dict[str, str]
) -> Study:
    """Return a new study, or the one in a folder, with an interrupted run put first."""
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise ImportError("tune needs Optuna: pip install 'dann_transfer[tune]'.") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = None
    if folder is not None:
        _repaired(folder / "search.log")
        storage = JournalStorage(JournalFileBackend(str(folder / "search.log")))
    study = optuna.create_study(
        storage=storage, study_name="search", load_if_exists=True, direction="maximize"
    )
    before = study.user_attrs.get("identity", identity)
    if different := [name for name, value in identity.items() if before.get(name) != value]:
        raise ValueError(
            f"{str(folder)!r} holds a different search: {', '.join(different)} differ. "
            "Use another folder, or delete this one."
        )
    study.set_user_attr("identity", identity)
    trials = study.get_trials(deepcopy=False)
    # With the same seed and number of runs, the same proposal would be made again.
    study.sampler = optuna.samplers.TPESampler(seed=(seed + len(trials)) % 2**32)
    for trial in trials:
        if trial.state == optuna.trial.TrialState.RUNNING:
            _end(study, trial)
    trials = study.get_trials(deepcopy=False)
    waiting = any(trial.state == optuna.trial.TrialState.WAITING for trial in trials)
    if not waiting and not any(row["method"] == BASELINE for row in _rows(study, space)):
        study.enqueue_trial(_first(space))
    return study


def _end(study: Study, trial: FrozenTrial) -> None:
    """End a run that was killed: as it had ended, or by putting its proposal first again."""
    from optuna.trial import TrialState

    row = trial.user_attrs.get("row")
    if row is not None and not row["failed"]:
        study.tell(trial.number, row["score"])
        return
    # It may have been killed before all of its values were drawn.
    proposed = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    if row is None and proposed:
        study.enqueue_trial(proposed, skip_if_exists=False)
    study.tell(trial.number, state=TrialState.FAIL)


def _repaired(log: Path) -> None:
    """Remove what a kill left of a search's log: a line that was not written to its end, and locks.

    Raises
    ------
    ValueError
        If another line is damaged.

    """
    # The folder is held, so whoever made these is gone.
    for lock in log.parent.glob(f"{log.name}.lock*"):
        lock.unlink()
    if not log.is_file():
        return
    lines = log.read_bytes().splitlines(keepends=True)
    good: list[bytes] = []
    for i, line in enumerate(lines):
        if _is_record(line):
            good.append(line)
        elif any(map(_is_record, lines[i + 1 :])):
            raise ValueError(
                f"{str(log)!r}, line {i + 1} is damaged ({line[:40]!r}), which is not what a kill "
                "leaves; restore the file, or delete the folder to start the search again."
            )
    if len(good) < len(lines):
        write_whole(log, b"".join(good))


def _is_record(line: bytes) -> bool:
    try:
        return line.endswith(b"\n") and isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _identity(
    roles: Roles, space: dict[str, Any], common: dict[str, Any], score: str
) -> dict[str, str]:
    """Return what identifies a search."""
    kept = {k: v for k, v in common.items() if k != "device"}
    parts: dict[str, Any] = {f"{role} texts": texts for role, texts in roles.texts.items()}
    parts |= {f"{role} labels": codes.tolist() for role, codes in roles.codes.items()}
    parts |= {"space": space, "settings": kept, "score": score}
    return {name: sha256_of_json(value) for name, value in parts.items()}

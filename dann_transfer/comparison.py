"""Compare one or more methods with source-only, from the same seeds, and state what helped."""

from __future__ import annotations

import inspect
import os
import pickle
import sys
import time
import warnings
from collections.abc import Iterable
from contextlib import chdir
from dataclasses import dataclass, field, replace
from numbers import Integral
from os import PathLike
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from dann_transfer import methods as registry
from dann_transfer._version import __version__
from dann_transfer.adapter import DomainAdapter, adapter_of
from dann_transfer.fitting import auto, run
from dann_transfer.fitting.fitted import Fitted
from dann_transfer.fitting.predicting import Outputs, Trained, predict_tokens
from dann_transfer.fitting.shared import Shared
from dann_transfer.ground.checks import check_threshold
from dann_transfer.ground.digests import sha256_of_file, sha256_of_json
from dann_transfer.ground.folders import held
from dann_transfer.ground.notices import is_first, warn
from dann_transfer.ground.processes import Processes
from dann_transfer.ground.settings import as_seed, check_names, check_params, plain
from dann_transfer.judging import tables
from dann_transfer.judging.answering import in_order
from dann_transfer.judging.choice import BASELINE
from dann_transfer.judging.decision import decided
from dann_transfer.judging.diagnostics import alignment_measures
from dann_transfer.judging.gains import Answers, by_group, doubt, gain_error, harm
from dann_transfer.judging.scores import (
    METRICS,
    OF_ORDER,
    OF_SEVERAL,
    difference_error,
    metric_of,
    open_set,
)
from dann_transfer.judging.tables import Table
from dann_transfer.knowledge.base import check_unkept
from dann_transfer.methods import Method
from dann_transfer.methods.registry import classes_of, known
from dann_transfer.records import Records
from dann_transfer.texts.copies import warn_of_copies
from dann_transfer.texts.labels import class_positions, encode_labels, with_unknown
from dann_transfer.texts.order import ranks_of
from dann_transfer.texts.reading import as_groups, as_labelled
from dann_transfer.texts.roles import Inputs, Texts
from dann_transfer.texts.several import marks_of
from dann_transfer.texts.target import LOOKED_AT
from dann_transfer.texts.tokens import warn_truncated

if TYPE_CHECKING:
    import pandas as pd


UNADAPTED = {"align": None, "neighbors": None, "correct_prior": None, "use_knowledge": False}
"""What source-only has in place of settings that adapt a model after training: gains are measured
from a model that nothing adapts."""
KEPT = 1000
"""The most texts of a domain of which a comparison keeps the outputs, for pictures."""


@dataclass(frozen=True)
class Comparison:
    """What `compare` measured.

    Attributes
    ----------
    rows : list of dict
        One for each method and seed. A score is None where its labels were not given.
    adapters : dict
        The fitted adapters of the first seed, by method.
    answers : dict
        The answers of each method and seed on the labelled target texts.
    groups : ndarray, shape (n_target_test,), or None
        The group that each of these texts belongs to.
    metric : str
        The score that verdicts are about.
    outputs : dict
        Features and probabilities of the texts that the models of the first seed were scored on,
        by method and domain ("source", "target"), at most the first 1,000 of each. Runs that a
        folder kept have none.

    """

    rows: list[dict[str, Any]]
    adapters: dict[str, DomainAdapter]
    answers: dict[tuple[str, int], Answers] = field(default_factory=dict)
    groups: np.ndarray | None = None
    metric: str = "accuracy"
    outputs: dict[str, dict[str, Outputs]] = field(default_factory=dict)

    def frame(self) -> pd.DataFrame:
        """Return the rows as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.rows)

    def tables(self) -> list[Table]:
        """Return the scores as a table to read, and each method's gains if there are groups."""
        shown = [tables.scores(self.rows, self.metric)]
        if self.groups is not None and len(self.adapters) > 1:
            frame = self.by_group()
            for _, rows in frame.groupby("method", sort=False):
                shown.append(tables.group_gains(rows.to_dict("records")))
        return shown

    def verdicts(self) -> list[str]:
        """Return the `verdict` on each method that was compared with source-only."""
        ran = dict.fromkeys(row["method"] for row in self.rows)
        return [self.verdict(method) for method in ran if method != BASELINE]

    def __repr__(self) -> str:
        return "\n".join([*map(str, self.tables()), *self.verdicts()])

    def _repr_html_(self) -> str:
        return tables.page([*self.tables(), *self.verdicts()])

    def _of(self, method: str, key: str) -> list[float]:
        rows = [row for row in self.rows if row["method"] == method]
        if not rows:
            ran = list(dict.fromkeys(row["method"] for row in self.rows))
            raise ValueError(f"method {method!r} did not run; {ran} did.")
        if key not in rows[0]:
            raise ValueError(f"the rows have no {key!r}; they have {list(rows[0])}.")
        return [row[key] for row in rows]

    def mean(self, method: str, key: str) -> float | None:
        """Return the mean of a column over the seeds of a method, or None if it has no values."""
        values = [value for value in self._of(method, key) if value is not None]
        return mean(values) if values else None

    def verdict(self, method: str) -> str:
        """State in one sentence how much a method helped or hurt on the target.

        If the 95 % interval of the gain includes 0, the verdict is no clear difference. The
        interval covers the choice of test texts (estimated from those that only one of the two
        models gets right) and the spread over seeds, for which a few seeds, or one, are taken
        together with the spread that was seen on the benchmarks (`judging.gains.doubt`).
        """
        if method == BASELINE:
            others = [name for name in self.adapters if name != BASELINE]
            raise ValueError(f"{BASELINE} is what the others are compared with: {others}.")
        key = f"target_{self.metric}"
        before, after = (self._of(name, key) for name in (BASELINE, method))
        if before[0] is None:
            unknown = f"Whether {method} helped is not known: no labelled target texts to test on."
            distances = [self.mean(name, "a_distance") for name in (BASELINE, method)]
            if None in distances:
                return unknown
            return f"{unknown} The A-distance went from {distances[0]:.2f} to {distances[1]:.2f}."
        gains = [b - a for a, b in zip(before, after, strict=True)]
        half = doubt(gains, self._of(method, "gain_error"))
        seeds = f"{len(gains)} seed{'s' if len(gains) > 1 else ''}"
        if len(gains) > 1:
            spread = stdev(gains)
            seeds += ", standard deviation "
            seeds += f"{spread:.3f}" if self.metric.startswith("neg_") else f"{100 * spread:.1f}"
        gain = mean(gains)
        name = self.metric.replace("_", " ")
        moved = (
            f"target {name} went from {mean(before):.1%} to {mean(after):.1%} "
            f"({100 * gain:+.1f} points ± {100 * half:.1f}; {seeds})"
        )
        if name.startswith("neg "):
            # scikit-learn negates what is better when lower, and it is no share.
            moved = (
                f"target {name[4:]} went from {-mean(before):.3f} to {-mean(after):.3f} "
                f"({round(-gain, 3) + 0.0:+.3f} ± {half:.3f}; {seeds})"
            )
        helped = "helped" if gain > 0 else "HURT"
        if abs(gain) <= half:
            helped = "made no clear difference"
        return f"{method} {helped}: {moved}.{self._blind(method)}{self._harm(method)}"

    def _blind(self, method: str) -> str:
        """State which classes a model never predicts, and whether a constant answer is better."""
        said = ""
        rows = [row for row in self.rows if row["method"] == method]
        missing = dict.fromkeys(name for row in rows for name in row.get("never_predicted") or ())
        if missing:
            shown = ", ".join(repr(name) for name in list(missing)[:5])
            others = f" and {len(missing) - 5} others" if len(missing) > 5 else ""
            said = f" It NEVER predicts {shown}{others}, which the target has."
        seeds = [seed for name, seed in self.answers if name == method]
        if not seeds or not len(self.answers[method, seeds[0]].codes):
            return said
        if self.answers[method, seeds[0]].codes.ndim > 1:
            return said
        counts = np.bincount(self.answers[method, seeds[0]].codes)
        constant = float(counts.max() / counts.sum())
        if mean(self._of(method, "target_accuracy")) < constant:
            label = self.adapters[method].classes_[counts.argmax()].item()
            said += f" To answer always {label!r} gets {constant:.1%}."
        return said

    def _harm(self, method: str) -> str:
        """State which groups of texts a method harmed, if any."""
        if self.groups is None:
            return ""
        rows = by_group(self.groups, *self._pairs(method), 0.0)
        return "".join(
            f" It HURT group {row['group']!r} ({row['texts']} texts: {row['accuracy_before']:.1%} "
            f"to {row['accuracy_after']:.1%})."
            for row in harm(rows)
        )

    def _pairs(self, method: str) -> tuple[list[Answers], list[Answers]]:
        """Return the answers of source-only and of a method on labelled target texts, by seed."""
        seeds = [int(seed) for seed in self._of(method, "seed")]
        before, after = ([self.answers[name, s] for s in seeds] for name in (BASELINE, method))
        return before, after

    def by_group(self, groups: Any = None, abstain_below: float = 0.8) -> pd.DataFrame:
        """Return accuracy, gain and coverage by group of the labelled target texts.

        A method that helps on average but harms a group should not count as helpful.

        Parameters
        ----------
        groups : sequence, shape (n_target_test,), optional
            The group that each of these texts belongs to; if absent, what `compare` was passed.
        abstain_below : float
            A text counts as covered if its answer's probability is at least this.

        Returns
        -------
        DataFrame
            A row for each method and group, the largest group first: number of texts, accuracy
            before (source-only) and after, gain, half-width of its 95 % interval, coverage before
            and after.

        """
        import pandas as pd

        check_threshold("abstain_below", abstain_below)
        if not self.answers:
            raise ValueError(
                "groups need labelled target texts: pass X_target_test and y_target_test."
            )
        n = len(next(iter(self.answers.values())).hits)
        groups = (
            self.groups if groups is None else as_groups(groups, None, "groups", "X_target_test", n)
        )
        if groups is None:
            raise ValueError("pass groups, one for each text of X_target_test.")
        methods = [name for name in self.adapters if name != BASELINE]
        rows = [
            {"method": method, **row}
            for method in methods
            for row in by_group(groups, *self._pairs(method), abstain_below)
        ]
        return pd.DataFrame(rows)


def compare(
    X: Any,
    y: Any = None,
    *,
    X_target: Any,
    methods: Iterable[str] = ("dann",),
    seeds: Iterable[int] = (0,),
    X_test: Any = None,
    y_test: Any = None,
    X_target_test: Any = None,
    y_target_test: Any = None,
    groups_target_test: Any = None,
    sample_weight: Any = None,
    X_val: Any = None,
    y_val: Any = None,
    X_target_labelled: Any = None,
    y_target_labelled: Any = None,
    knowledge: Any = None,
    n_jobs: int = 1,
    folder: Path | str | None = None,
    **params: Any,
) -> Comparison:
    """Train source-only and each method from the same seeds, and score them on held-out texts.

    Target test labels are used only for scores, after training.

    Parameters
    ----------
    X, y, X_target, sample_weight, X_val, y_val
        As for ``DomainAdapter.fit``. Each file is read once, however many runs there are.
    methods : sequence of str
        Methods to compare with source-only, which always runs.
    seeds : sequence of int
        Each method runs once per seed; three or more show the spread.
    X_test, y_test : optional
        Labelled source texts that are not in X.
    X_target_test, y_target_test : optional
        Target texts to score on. Without them the A-distance is measured on texts of
        `X_target`, and whether adaptation helped remains unknown.
    groups_target_test : sequence or str, optional
        The group of each target test text (an author's dialect, a product's category), or the
        column of `X_target_test` that holds it. Verdicts then name groups that are harmed, and
        ``result.by_group()`` lists them all.
    X_target_labelled, y_target_labelled : optional
        As for ``DomainAdapter.fit``; source-only trains on them too.
    knowledge : optional
        As for ``DomainAdapter.fit``. It cannot be kept in `folder`.
    n_jobs : int
        Number of processes that train at once; -1 is one per core. If there are at least as many
        seeds as processes, each process takes one seed at a time, otherwise one run. They share the
        cores, and each needs the memory of a run and of the models that it has trained. On a GPU
        leave it at 1.
    folder : path, optional
        Keep each run there as it ends, and go on from an interrupted comparison, even in the middle
        of a run. Methods and seeds may be added later. A kept run is not trained again, and its
        adapter is loaded; only models of the first seed are kept, so that the runs of another seed
        are trained again if it becomes the first.
    **params
        Passed on to ``DomainAdapter``, except `method` and `random_state`. What adapts a model is
        not passed to source-only, from which gains are measured: `method_options`, `align`,
        `neighbors`, `correct_prior` and `use_knowledge`. Each run has its own folder in
        `checkpoint_dir`.

    Raises
    ------
    TypeError, ValueError
        On bad input, before any training; if `folder` holds another comparison.
    RuntimeError
        If another process is comparing in `folder`.

    Examples
    --------
    >>> from dann_transfer import datasets
    >>> movies = ["a moving, funny film", "dull and far too long"] * 8
    >>> tweets = ["loved it!!", "ugh, worst day ever", "so happy rn"] * 4
    >>> result = compare(
    ...     movies, ["good", "bad"] * 8, X_target=tweets, X_target_test=tweets,
    ...     y_target_test=["good", "bad", "good"] * 4, encoder=datasets.encoder("minilm"),
    ...     epochs=1, progress=False,
    ... )
    >>> [row["method"] for row in result.rows]
    ['source_only', 'dann']

    """
    methods, seeds, params = _names(methods), _seeds(seeds), plain(params)
    for wrong, right in (("method", "methods"), ("random_state", "seeds")):
        if wrong in params:
            value = params[wrong]
            raise ValueError(f"compare takes {right}=[{value!r}] and not {wrong}={value!r}.")
    options, checkpoints = params.pop("method_options", None), params.pop("checkpoint_dir", None)
    if folder is not None and checkpoints is not None:
        raise ValueError(
            f"checkpoint_dir={str(checkpoints)!r} and folder={str(folder)!r}: the folder of a "
            "comparison has its checkpoints too; leave out checkpoint_dir."
        )
    if folder is not None and Processes.current().world > 1:
        raise ValueError(
            f"folder={str(folder)!r}, but {Processes.current().world} processes train together, "
            "which would have to agree on what is kept; leave out folder, or pass checkpoint_dir."
        )
    check_unkept(folder, knowledge)
    check_names("compare", params)
    check_params(params)
    _check_jobs(n_jobs, bool(params.get("trust_remote_code", False)))
    params = run.full(params)
    created: dict[str, Method] = {BASELINE: registry.create(BASELINE)}
    for method in methods:
        method_options = None if method == BASELINE else options
        created |= auto.created({**params, "method": method, "method_options": method_options})
    labelled = X_target_labelled, y_target_labelled
    inputs = Inputs(X, y, X_target, sample_weight, X_val, y_val, *labelled, knowledge)
    texts = run.check({**params, "method": (methods or [BASELINE])[0]}, inputs, created)
    tests = _tests(texts, params, (X_test, y_test), (X_target_test, y_target_test))
    if texts.form is not None and groups_target_test is not None:
        raise ValueError(
            "groups_target_test takes one class a text, and y has several labels a text; leave it "
            "out."
        )
    groups = _groups(groups_target_test, X_target_test, tests["target"])
    texts.roles(params, seeds[0], 1)
    shared = Shared()
    run.check_encoder(params, seeds[0], created, texts, shared)
    names = [BASELINE, *(method for method in methods if method != BASELINE)]
    with held(folder, "another process is comparing") as place:
        records = None
        if place is not None:
            trusted = bool(params["trust_remote_code"])
            records = Records(place, params["device"], trusted)
            records.claim(_identity(texts, tests, params))
        plan = _Plan(texts, tests, params, options, checkpoints, seeds[0], records)
        done = _all_runs(plan, [(m, seed) for seed in seeds for m in names], shared, n_jobs)
    rows = {(d.row["method"], d.row["seed"]): d.row for d in done}
    answers = {key: d.answers for key, d in zip(rows, done, strict=True) if d.answers is not None}
    for (method, seed), answer in answers.items():
        before = answers[BASELINE, seed]
        error = _gain_error(params["metric"], before, answer, ranks_of(texts.order, texts.classes))
        rows[method, seed]["gain_error"] = error
    adapters = {d.row["method"]: d.adapter for d in done if d.adapter is not None}
    outputs = {d.row["method"]: d.outputs for d in done if d.outputs}
    return Comparison(list(rows.values()), adapters, answers, groups, params["metric"], outputs)


def _identity(texts: Texts, tests: dict[str, _TestSet], params: dict[str, Any]) -> dict[str, Any]:
    """Return what the rows of a comparison depend on, besides methods and seeds."""
    # The same number may be written in two ways.
    kept = {
        name: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for name, value in params.items()
        if name not in _MAY_DIFFER
    }
    parts: dict[str, Any] = {
        "source texts": [texts.source, texts.sizes],
        "source labels": texts.labels.tolist(),
        "sample_weight": None if texts.sample_weight is None else texts.sample_weight.tolist(),
        "target texts": [texts.n_target, texts.sample_of_target(LOOKED_AT)],
    }
    for name, pair in (("validation", texts.validation), ("labelled target", texts.labelled)):
        parts[f"{name} texts"] = None if pair is None else [pair[0], pair[1].tolist()]
    for name, test in tests.items():
        if test.labels is not None:
            parts[f"{name} test texts"] = [test.texts, test.labels.tolist()]
    encoder = Path(params["encoder"]).expanduser()
    if encoder.is_dir():
        # Another encoder may have been saved to the same folder.
        files = [path for path in sorted(encoder.rglob("*")) if path.is_file()]
        parts["files of the encoder"] = {
            str(path.relative_to(encoder)): sha256_of_file(path)
            for path in files
            if path.suffix != ".md" and not path.name.startswith(".")
        }
    return parts | kept


def _gain_error(metric: str, before: Answers, after: Answers, ranks: np.ndarray | None) -> float:
    """Return the standard error of a gain that is due to the choice of test texts."""
    if metric == "accuracy":
        return gain_error(after.hits, before.hits)
    codes, first, second = (
        in_order(each, ranks) for each in (after.codes, before.predicted, after.predicted)
    )
    return difference_error(metric, codes, first, second)


_MAY_DIFFER = (
    "device", "progress", "checkpoint_every", "checkpoint_dir", "method", "method_options",
    "random_state", "micro_batch_size", "torch_compile", "text_column", "label_column",
)  # fmt: skip
"""Hyperparameters that may differ when a comparison goes on; each run has its method's options."""


def _identity_of(method: str, options: dict[str, Any] | None) -> str:
    """Return what tells a method from another of the same name: options, version and code."""
    code = []
    for candidate in auto.candidates(method, options):
        for name, kind in classes_of(candidate).items():
            if not kind.__module__.startswith("dann_transfer."):
                try:
                    code.append([name, inspect.getsource(kind)])
                except (OSError, TypeError):
                    # Typed into an interpreter that keeps no lines.
                    code.append([name, kind.__qualname__])
    return sha256_of_json([__version__, options or None, code])


class _Done(NamedTuple):
    """The results of one run."""

    row: dict[str, Any]
    answers: Answers | None
    adapter: DomainAdapter | None
    """For the first seed only: the others would fill the memory."""
    outputs: dict[str, Outputs] | None = None
    """By domain, as `Comparison` has them; likewise for the first seed only."""
    heard: list[tuple[str, type[Warning]]] = []  # noqa: RUF012
    """Warnings from another process."""


@dataclass(frozen=True)
class _Plan:
    """What all runs of a comparison have in common."""

    texts: Texts
    tests: dict[str, _TestSet]
    params: dict[str, Any]
    options: dict[str, Any] | None
    checkpoints: str | PathLike[str] | None
    first: int
    records: Records | None

    def kept(self, method: str, seed: int) -> _Done | None:
        """Return a run that ended before, if there is one."""
        if self.records is None:
            return None
        identity = _identity_of(method, self._options(method))
        kept = self.records.read(method, seed, identity, seed == self.first)
        return _Done(*kept) if kept else None

    def _options(self, method: str) -> dict[str, Any] | None:
        return None if method == BASELINE else self.options

    def run(self, method: str, seed: int, shared: Shared) -> _Done:
        """Train one method from one seed, and score it."""
        params = {**self.params, "method": method, "random_state": seed}
        params["method_options"] = self._options(method)
        params |= UNADAPTED if method == BASELINE else {}
        if self.records is not None:
            params["checkpoint_dir"] = self.records.checkpoints(method, seed)
        elif self.checkpoints is not None:
            params["checkpoint_dir"] = Path(self.checkpoints, f"{method}-{seed}")
        started = time.perf_counter()
        trained = auto.train(params, run.seed_of(params), self.texts, shared)
        others = trained.fitted.trained.get("shared_seconds", 0.0)
        seconds = time.perf_counter() - started + others
        row = {"method": method, "seed": seed, "seconds": seconds, "shared_seconds": others}
        if params["progress"] and is_first():
            n = sum(len(test.texts) for test in self.tests.values())
            print(f"{method}, seed {seed}: scoring {n:,} texts", file=sys.stderr, flush=True)
        scores, answers, outputs = _scores(trained, params, self.tests, shared)
        if self.records is not None:
            # The folder of checkpoints is removed.
            params["checkpoint_dir"] = None
            fitted = replace(
                trained.fitted, params={**trained.fitted.params, "checkpoint_dir": None}
            )
            trained = replace(trained, fitted=fitted)
        adapter = adapter_of(params, trained) if seed == self.first else None
        kept = {name: Outputs(*(part[:KEPT] for part in both)) for name, both in outputs.items()}
        if self.records is not None:
            identity = _identity_of(method, self._options(method))
            self.records.write(method, seed, identity, row | scores, answers, adapter)
        return _Done({**row, **scores}, answers, adapter, None if adapter is None else kept)


def _all_runs(plan: _Plan, runs: list[tuple[str, int]], shared: Shared, n_jobs: int) -> list[_Done]:
    """Return the runs of methods from seeds, in order; those that are not kept are trained."""
    done = {each: plan.kept(*each) for each in runs}
    missing = [each for each in runs if done[each] is None]
    done |= zip(missing, _new_runs(plan, missing, shared, n_jobs), strict=True)
    return [each for each in done.values() if each is not None]


def _new_runs(plan: _Plan, runs: list[tuple[str, int]], shared: Shared, n_jobs: int) -> list[_Done]:
    """Run methods from seeds, in this process or in several, and return them in order."""
    jobs = effective_n_jobs(n_jobs)
    if jobs == 1 or not runs:
        return [plan.run(*each, shared) for each in runs]
    seeds = dict.fromkeys(seed for _, seed in runs)
    # The runs of a seed share what they can, if there are enough seeds.
    shares = [[each] for each in runs]
    if len(seeds) >= jobs:
        shares = [[each for each in runs if each[1] == seed] for seed in seeds]
    classes: dict[str, type[Method]] = {}
    for name in dict.fromkeys(method for method, _ in runs):
        for candidate in auto.candidates(name, plan.options if name != BASELINE else None):
            classes |= classes_of(candidate)
    # No more processes than shares, which divide the cores among them.
    parallel = Parallel(min(jobs, len(shares)), backend="loky")
    try:
        here = os.getcwd()
        results = parallel(delayed(_elsewhere)(plan, share, classes, here) for share in shares)
    except pickle.PicklingError as error:
        raise TypeError(
            f"n_jobs={n_jobs}, but what was passed cannot be sent to another process ({error}); "
            "pass lists or paths, or leave n_jobs at 1."
        ) from error
    done = [each for result in results for each in result]
    for message, category in dict.fromkeys(w for each in done for w in each.heard):
        warn(message, category)
    return done


def _elsewhere(
    plan: _Plan, runs: list[tuple[str, int]], classes: dict[str, type[Method]], here: str
) -> list[_Done]:
    """Run in a process that may have done other runs before, and collect its warnings."""
    done, shared = [], Shared(several=len(runs) > 1)
    with known(classes), chdir(here):
        for each in runs:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                warnings.simplefilter("ignore", DeprecationWarning)
                one = plan.run(*each, shared)
            done.append(one._replace(heard=[(str(w.message), w.category) for w in caught]))
    return done


def _names(methods: Iterable[str]) -> list[str]:
    """Return the methods to compare with source-only, each once."""
    if isinstance(methods, str):
        raise TypeError(f"methods={methods!r} is a single string; pass methods=[{methods!r}].")
    names = list(methods)
    if twice := sorted({str(name) for name in names if names.count(name) > 1}):
        raise ValueError(f"methods={names!r} names {twice[0]!r} more than once.")
    return names


def _check_jobs(n_jobs: int, remote_code: bool) -> None:
    """Raise if `n_jobs` is not a number of processes, or conflicts with the rest."""
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, Integral) or n_jobs == 0:
        raise ValueError(
            f"n_jobs={n_jobs!r} is not a number of processes; pass 1 or more, or -1 for all cores."
        )
    world = Processes.current().world
    if n_jobs != 1 and world > 1:
        raise ValueError(
            f"n_jobs={n_jobs}, but {world} processes already train together; leave n_jobs at 1."
        )
    if n_jobs != 1 and remote_code:
        raise ValueError(
            f"n_jobs={n_jobs}, but models with code of their own (trust_remote_code=True) cannot "
            "be returned from another process; leave n_jobs at 1."
        )


def _seeds(seeds: Iterable[int]) -> list[int]:
    """Return the seeds, each once."""
    if isinstance(seeds, Integral):
        raise TypeError(
            f"seeds={seeds!r} is a number; pass the seeds themselves, such as seeds=[0, 1, 2]."
        )
    numbers = [as_seed(seed) for seed in seeds]
    if not numbers:
        raise ValueError("seeds is empty; pass at least one, such as seeds=(0, 1, 2).")
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"seeds={numbers!r} repeats a seed, which repeats a run; pass each once.")
    return numbers


class _TestSet(NamedTuple):
    """Texts to score on; without labels they serve only for the A-distance."""

    texts: list[str]
    labels: np.ndarray | None


def _tests(
    texts: Texts, params: dict[str, Any], source: tuple[Any, Any], target: tuple[Any, Any]
) -> dict[str, _TestSet]:
    """Check the texts to score on, by domain."""
    columns = params["text_column"], params["label_column"]
    looked_at = texts.sample_of_target(LOOKED_AT)
    if texts.form is not None:
        return {
            "source": _several_test_set(*source, "test", texts.source, texts, columns),
            "target": _several_test_set(*target, "target_test", looked_at, texts, columns),
        }
    tests = {
        "source": _test_set(*source, "test", texts.source, texts.classes, columns),
        "target": _test_set(
            *target, "target_test", looked_at, texts.classes, columns, params["unknown"]
        ),
    }
    learnt = {"X": texts.source}
    if texts.labelled is not None:
        learnt["X_target_labelled"] = texts.labelled[0]
    for name, test in (("X_test", tests["source"]), ("X_target_test", tests["target"])):
        if test.labels is not None:
            for where, labelled in learnt.items():
                warn_of_copies(name, test.texts, labelled, where)
    return tests


def _test_set(
    X: Any,
    y: Any,
    suffix: str,
    training: list[str],
    classes: np.ndarray,
    columns: tuple[str, str],
    unknown: Any = None,
) -> _TestSet:
    """Check a labelled test set; if the user passed none, take the training texts."""
    if X is None:
        if y is not None:
            raise ValueError(f"y_{suffix} was passed without X_{suffix}; pass both or neither.")
        return _TestSet(training, None)
    texts, labels = as_labelled(X, y, f"X_{suffix}", f"y_{suffix}", *columns)
    # A class 1 may be written "1" in a file.
    codes = encode_labels(labels, classes, f"y_{suffix}", unknown)
    return _TestSet(texts, with_unknown(classes, unknown)[codes])


def _several_test_set(
    X: Any, y: Any, suffix: str, training: list[str], texts: Texts, columns: tuple[str, str]
) -> _TestSet:
    """Do the same as `_test_set` where a text has several labels: labels are marks."""
    if X is None:
        if y is not None:
            raise ValueError(f"y_{suffix} was passed without X_{suffix}; pass both or neither.")
        return _TestSet(training, None)
    assert texts.form is not None
    names = f"X_{suffix}", f"y_{suffix}"
    tested, marks = marks_of(X, y, *names, columns, texts.classes, texts.form)
    warn_of_copies(names[0], tested, texts.source, "X")
    return _TestSet(tested, marks)


def _groups(groups: Any, X: Any, test: _TestSet) -> np.ndarray | None:
    """Return the group of each labelled target text, if the user gave groups."""
    if groups is None:
        return None
    if test.labels is None:
        raise ValueError(
            "groups_target_test needs labelled target texts: pass X_target_test and y_target_test."
        )
    return as_groups(groups, X, "groups_target_test", "X_target_test", len(test.texts))


def _labelled_scores(
    domain: str,
    codes: np.ndarray | None,
    predicted: np.ndarray,
    ranks: np.ndarray | None,
    metric: str,
) -> dict[str, float | None]:
    """Return the scores of predictions by name, each None where there are no labels."""
    scorers = {name: metric_of(name) for name in (*METRICS, metric)}
    scorers |= {} if ranks is None else OF_ORDER
    if codes is None:
        return {f"{domain}_{name}": None for name in scorers}
    both = in_order(codes, ranks), in_order(predicted, ranks)
    return {f"{domain}_{name}": score(*both) for name, score in scorers.items()}


def _scores_of_several(
    domain: str, marks: np.ndarray | None, p: np.ndarray, fitted: Fitted, metric: str
) -> tuple[dict[str, Any], Answers | None]:
    """Return the scores of several labels a text in a domain, and the answers if it has labels."""
    predicted = (p >= fitted.thresholds).astype(np.uint8)
    names = dict.fromkeys((*OF_SEVERAL, metric))
    if marks is None:
        return {f"{domain}_{name}": None for name in names}, None
    scores: dict[str, Any] = {f"{domain}_{n}": metric_of(n)(marks, predicted) for n in names}
    if domain == "target":
        missing = marks.any(0) & ~predicted.any(0)
        scores["never_predicted"] = fitted.classes[missing].tolist()
    return scores, Answers.of_several(marks, predicted) if domain == "target" else None


def _scores(
    trained: Trained, params: dict[str, Any], tests: dict[str, _TestSet], shared: Shared
) -> tuple[dict[str, Any], Answers | None, dict[str, Outputs]]:
    """Return a run's scores, its answers on the labelled target texts, and its outputs."""
    scores: dict[str, Any] = {}
    outputs: dict[str, Outputs] = {}
    labels: list[np.ndarray] = []
    answers = None
    classes = with_unknown(trained.fitted.classes, params["unknown"])
    ranks = trained.fitted.ranks
    for name, test in tests.items():
        tokens, cut = shared.tokens(trained.model.encoder, params, test.texts)
        if test.labels is not None:
            counts = {f"{name} test": (cut, len(tokens))}
            length = params["max_length"]
            warn_truncated(shared.unheard(f"max_length={length}", counts), length)
        outputs[name] = predict_tokens(trained, params, tokens, name, test.texts)
        if trained.fitted.form is not None:
            p, metric = outputs[name].probabilities, params["metric"]
            measured, answered = _scores_of_several(name, test.labels, p, trained.fitted, metric)
            scores, answers = scores | measured, answered or answers
            continue
        new = None
        if name == "target" and trained.novelty is not None:
            new = trained.novelty.is_new(outputs[name].features)
        codes, predicted = None, decided(outputs[name].probabilities, new, ranks)
        if test.labels is not None:
            codes = class_positions(test.labels, classes)
            labels.append(codes)
        scores |= _labelled_scores(name, codes, predicted, ranks, params["metric"])
        if name == "target" and codes is not None:
            answers = Answers.of(outputs[name].probabilities, codes, new, ranks)
            missing = np.setdiff1d(codes, predicted)
            if params["unknown"] is not None:
                rates = open_set(codes, predicted, len(classes) - 1)
                # A rate over no text is NaN, which JSON does not have.
                named = {k: None if np.isnan(rate) else rate for k, rate in rates.items()}
                scores |= {f"target_{rate}": value for rate, value in named.items()}
            scores["never_predicted"] = classes[missing].tolist()
    both = labels if len(labels) == len(outputs) else (None, None)
    scores |= alignment_measures(outputs["source"].features, outputs["target"].features, *both)
    history = trained.fitted.history
    last = history[-max(1, len(history) // 10) :]
    accuracies = [step["domain_accuracy"] for step in last if "domain_accuracy" in step]
    scores["domain_accuracy"] = mean(accuracies) if accuracies else None
    return scores, answers, outputs

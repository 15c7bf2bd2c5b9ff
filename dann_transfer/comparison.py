"""Train source-only beside one or more methods, from the same seeds, and say whether it helped."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.stats import t as student_t
from sklearn.metrics import accuracy_score, f1_score

from dann_transfer import decision
from dann_transfer import methods as registry
from dann_transfer.adapter import DomainAdapter
from dann_transfer.diagnostics import proxy_a_distance
from dann_transfer.settings import HYPERPARAMETERS, as_seed, check_params
from dann_transfer.texts.reading import as_labelled, as_sources, as_texts, encode_labels

if TYPE_CHECKING:
    import pandas as pd

BASELINE = "source_only"


def interval(gains: Sequence[float]) -> tuple[float, float]:
    """Return the mean of gains and the half-width of its 95 % interval, by Student's t.

    Of a single gain the half-width is NaN.

    Examples
    --------
    >>> interval([3.0]), [round(x, 1) for x in interval([1.0, 2.0, 3.0])]
    ((3.0, nan), [2.0, 2.5])

    """
    n = len(gains)
    if n == 1:
        return float(gains[0]), float("nan")
    half = student_t.ppf(0.975, n - 1) * np.std(gains, ddof=1) / n**0.5
    return float(np.mean(gains)), float(half)


@dataclass(frozen=True)
class Comparison:
    """What `compare` measured.

    Attributes
    ----------
    rows : list of dict
        One for each method and seed. A score is None where its labels were not given.
    adapters : dict
        The fitted adapters of the first seed, by method.

    """

    rows: list[dict[str, Any]]
    adapters: dict[str, DomainAdapter]

    def frame(self) -> pd.DataFrame:
        """Return the rows as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.rows)

    def _of(self, method: str, key: str) -> list[float]:
        own = [row for row in self.rows if row["method"] == method]
        if not own:
            ran = list(dict.fromkeys(row["method"] for row in self.rows))
            raise ValueError(f"method {method!r} did not run; {ran} did.")
        if key not in own[0]:
            raise ValueError(f"the rows have no {key!r}; they have {list(own[0])}.")
        return [row[key] for row in own]

    def mean(self, method: str, key: str) -> float | None:
        """Return the mean of a column over the seeds of a method, or None where it has none."""
        values = [value for value in self._of(method, key) if value is not None]
        return mean(values) if values else None

    def verdict(self, method: str) -> str:
        """Say in one sentence how much a method helped or hurt on the target.

        A gain within its 95 % interval of 0 is called no clear difference. The interval covers
        the choice of test texts (by those on which the two models differ in being right) and,
        over several seeds, their spread, by Student's t because seeds are few. With one seed the
        spread over seeds is unknown and left out.
        """
        if method == BASELINE:
            others = [name for name in self.adapters if name != BASELINE]
            raise ValueError(f"{BASELINE} is what the others are compared with: {others}.")
        before, after = (self._of(name, "target_accuracy") for name in (BASELINE, method))
        if before[0] is None:
            unknown = f"Whether {method} helped is not known: no labelled target texts to test on."
            distances = [self.mean(name, "a_distance") for name in (BASELINE, method)]
            if None in distances:
                return unknown
            return f"{unknown} The A-distance went from {distances[0]:.2f} to {distances[1]:.2f}."
        gains = [b - a for a, b in zip(before, after, strict=True)]
        error = mean(self._of(method, "gain_error"))
        seeds = f"{len(gains)} seed{'s' if len(gains) > 1 else ''}"
        if len(gains) > 1:
            error = math.hypot(error, interval(gains)[1] / 2)
            seeds += f", standard deviation {100 * stdev(gains):.1f}"
        gain = mean(gains)
        moved = (
            f"target accuracy went from {mean(before):.1%} to {mean(after):.1%} "
            f"({100 * gain:+.1f} points ± {200 * error:.1f}; {seeds})"
        )
        if abs(gain) <= 2 * error:
            return f"{method} made no clear difference: {moved}."
        return f"{method} {'helped' if gain > 0 else 'HURT'}: {moved}."


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
    X_target_labelled: Any = None,
    y_target_labelled: Any = None,
    **params: Any,
) -> Comparison:
    """Train source-only and each method from the same seeds, and score them on held-out texts.

    Target test labels are used for scores alone, after training.

    Parameters
    ----------
    X, y, X_target
        As for ``DomainAdapter.fit``.
    methods : sequence of str
        Methods to set beside source-only, which always runs.
    seeds : sequence of int
        One run of each method a seed; three or more show the spread.
    X_test, y_test : optional
        Labelled source texts that are not in X.
    X_target_test, y_target_test : optional
        Target texts to score on. Without them the A-distance is taken on `X_target`, and
        whether adaptation helped remains unknown.
    X_target_labelled, y_target_labelled : optional
        As for ``DomainAdapter.fit``; source-only trains on them too.
    **params
        Passed on to ``DomainAdapter``, `method` and `random_state` excepted; `method_options` to
        the methods alone, and under `checkpoint_dir` each run has a folder of its own.

    Raises
    ------
    TypeError, ValueError
        On bad input, before any training.

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
    methods, seeds = _names(methods), _seeds(seeds)
    for wrong, right in (("method", "methods"), ("random_state", "seeds")):
        if wrong in params:
            value = params[wrong]
            raise ValueError(f"compare takes {right}=[{value!r}] and not {wrong}={value!r}.")
    columns = params.get("text_column", "text"), params.get("label_column", "label")
    texts, labels, _ = as_sources(X, y, *columns)
    target = as_texts(X_target, "X_target", columns[0])
    classes = np.unique(labels)
    tests = {
        "source": _test_set(X_test, y_test, "test", texts, classes, columns),
        "target": _test_set(X_target_test, y_target_test, "target_test", target, classes, columns),
    }
    options, folder = params.pop("method_options", None), params.pop("checkpoint_dir", None)
    check_params(params)
    epochs, batch_size = (
        params.get(name, HYPERPARAMETERS[name].default) for name in ("epochs", "batch_size")
    )
    for method in methods:
        created = registry.create(method, None if method == BASELINE else options)
        registry.check_run(created, method, epochs, batch_size)
    rows: list[dict[str, Any]] = []
    adapters: dict[str, DomainAdapter] = {}
    for seed in seeds:
        baseline: np.ndarray | None = None
        for method in (BASELINE, *(m for m in methods if m != BASELINE)):
            own: dict[str, Any] = {"method": method, "random_state": seed}
            own["method_options"] = None if method == BASELINE else options
            own["checkpoint_dir"] = None if folder is None else Path(folder, f"{method}-{seed}")
            adapter = DomainAdapter(**{**params, **own})
            started = time.perf_counter()
            adapter.fit(
                X,
                y,
                X_target=target,
                X_target_labelled=X_target_labelled,
                y_target_labelled=y_target_labelled,
            )
            row = {"method": method, "seed": seed, "seconds": time.perf_counter() - started}
            scores, hits = _scores(adapter, tests)
            if hits is not None:
                baseline = hits if method == BASELINE else baseline
                scores["gain_error"] = _gain_error(hits, baseline)
            rows.append({**row, **scores})
            adapters.setdefault(method, adapter)
    return Comparison(rows, adapters)


def _names(methods: Iterable[str]) -> list[str]:
    """Return the methods to set beside source-only, each once."""
    if isinstance(methods, str):
        raise TypeError(f"methods={methods!r} is a single string; pass methods=[{methods!r}].")
    names = list(methods)
    if twice := sorted({str(name) for name in names if names.count(name) > 1}):
        raise ValueError(f"methods={names!r} names {twice[0]!r} more than once.")
    return names


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
        raise ValueError(f"seeds={numbers!r} repeats a seed: the same run again is not another.")
    return numbers


class _TestSet(NamedTuple):
    """Texts to score on; without labels they serve the A-distance alone."""

    texts: list[str]
    labels: np.ndarray | None


def _test_set(
    X: Any,
    y: Any,
    suffix: str,
    training: list[str],
    classes: np.ndarray,
    columns: tuple[str, str],
) -> _TestSet:
    """Check a labelled test set; where the user passed none, take the training texts."""
    if X is None:
        if y is not None:
            raise ValueError(f"y_{suffix} was passed without X_{suffix}; pass both or neither.")
        return _TestSet(training, None)
    texts, labels = as_labelled(X, y, f"X_{suffix}", f"y_{suffix}", *columns)
    encode_labels(labels, classes, f"y_{suffix}")
    return _TestSet(texts, labels)


def _scores(
    adapter: DomainAdapter, tests: dict[str, _TestSet]
) -> tuple[dict[str, Any], np.ndarray | None]:
    """Return a run's scores, and which of the labelled target texts it predicts right."""
    scores: dict[str, Any] = {}
    features: list[np.ndarray] = []
    hits = None
    for name, test in tests.items():
        outputs = adapter.outputs(test.texts)
        features.append(outputs.features)
        accuracy = macro_f1 = None
        if test.labels is not None:
            predicted = decision.labels(outputs.probabilities, adapter.classes_)
            accuracy = float(accuracy_score(test.labels, predicted))
            macro_f1 = float(f1_score(test.labels, predicted, average="macro"))
            hits = (predicted == test.labels).astype(float) if name == "target" else hits
        scores[f"{name}_accuracy"], scores[f"{name}_macro_f1"] = accuracy, macro_f1
    scores["a_distance"] = None
    if min(map(len, features)) >= 10:
        scores["a_distance"] = proxy_a_distance(features[0], features[1])
    last = adapter.history_[-max(1, len(adapter.history_) // 10) :]
    accuracies = [step["domain_accuracy"] for step in last if "domain_accuracy" in step]
    scores["domain_accuracy"] = mean(accuracies) if accuracies else None
    return scores, hits


def _gain_error(hits: np.ndarray, baseline: np.ndarray | None) -> float:
    """Return the standard error of a gain that the choice of test texts brings."""
    assert baseline is not None
    changed = hits - baseline
    # Taken about 0 and not about the mean, so that a few texts that all changed for
    # the better do not look like certainty.
    return float((changed**2).mean() / len(changed)) ** 0.5

"""What a method gains over source-only, how certain that is, and for which groups of texts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

import numpy as np
from scipy.stats import binomtest, norm
from scipy.stats import t as student_t

from dann_transfer.judging.answering import answered, confidence_of
from dann_transfer.judging.decision import decided


def interval(gains: Sequence[float]) -> tuple[float, float]:
    """Return the mean of gains and the half-width of its 95 % interval, by Student's t.

    For a single gain the half-width is NaN.

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


def gain_error(hits: np.ndarray, baseline: np.ndarray) -> float:
    """Return the standard error of a gain that is due to the choice of test texts.

    Parameters
    ----------
    hits, baseline : ndarray of float, shape (n,)
        1 where a model is right, 0 where it is not.

    Examples
    --------
    >>> round(gain_error(np.array([1.0, 1, 1, 0]), np.array([1.0, 0, 1, 0])), 2)
    0.25

    """
    changed = hits - baseline
    # Taken about 0, not about the mean, so that a few texts that all changed for the better do
    # not look like certainty.
    return float((changed**2).mean() / len(changed)) ** 0.5


SPREAD = 0.012
"""How much a gain varies over seeds, as a standard deviation; on the boards 0.7 to 1.6 points."""
FREEDOM = 4
"""How many degrees of freedom this is worth beside those of the seeds at hand."""


def doubt(gains: Sequence[float], errors: Sequence[float]) -> float:
    """Return the half-width of a mean gain's 95 % interval, over test texts and seeds.

    The spread over one, two or three seeds says little about that over all, so it is taken together
    with the spread that gains had on the benchmarks (`SPREAD`).

    Parameters
    ----------
    gains : sequence of float
        One per seed, as shares: 0.05 is five points.
    errors : sequence of float
        The `gain_error` of each.

    References
    ----------
    Gelman et al., Bayesian Data Analysis, third edition, 2013, section 2.6: the scaled inverse
    chi-squared prior of a variance.

    Examples
    --------
    >>> doubt([0.05], [0.01]), doubt([0.05, 0.06, 0.04], [0.01] * 3)
    (0.038..., 0.025...)

    """
    n = len(gains)
    freedom = FREEDOM + n - 1
    observed = float(np.var(gains)) * n
    spread = ((FREEDOM * SPREAD**2 + observed) / freedom) ** 0.5
    return math.hypot(2 * mean(errors), float(student_t.ppf(0.975, freedom)) * spread / n**0.5)


@dataclass(frozen=True)
class Answers:
    """A model's answers on labelled texts.

    Attributes
    ----------
    hits : ndarray of float, shape (n,)
        1 where the model is right, 0 where it is not.
    confidence : ndarray, shape (n,)
        The probability of the class that it predicts.
    codes, predicted : ndarray of int, shape (n,)
        Class positions of labels and predictions; empty if only hits are known.

    """

    hits: np.ndarray
    confidence: np.ndarray
    codes: np.ndarray = field(default_factory=lambda: np.empty(0, int))
    predicted: np.ndarray = field(default_factory=lambda: np.empty(0, int))

    @classmethod
    def of(
        cls,
        probabilities: np.ndarray,
        codes: np.ndarray,
        new: np.ndarray | None = None,
        ranks: np.ndarray | None = None,
    ) -> Answers:
        """Compare probabilities (n, classes) with class positions (n,).

        Texts that are `new`, (n,), are answered with the position after the last class. With the
        `ranks` of ordered classes, (classes,), the answer is their median.
        """
        predicted = decided(probabilities, new, ranks)
        confidence = confidence_of(probabilities, answered(probabilities, ranks))
        return cls((predicted == codes).astype(float), confidence, codes, predicted)

    @classmethod
    def of_several(cls, marks: np.ndarray, predicted: np.ndarray) -> Answers:
        """Compare predicted labels with marks, both (n, labels): a text is right if all are.

        No single probability says how sure such an answer is.
        """
        hits = (marks == predicted).all(1).astype(float)
        return cls(hits, np.full(len(hits), np.nan), marks, predicted)


def _members(groups: np.ndarray) -> Iterator[tuple[Any, np.ndarray]]:
    """Yield each group's name and which texts belong to it, the largest group first."""
    names, counts = np.unique(groups, return_counts=True)
    for i in np.argsort(-counts, kind="stable"):
        yield names[i].item(), groups == names[i]


def by_group(
    groups: np.ndarray,
    before: Sequence[Answers],
    after: Sequence[Answers],
    abstain_below: float,
) -> list[dict[str, Any]]:
    """Return a row for each group of texts, the largest group first.

    Parameters
    ----------
    groups : ndarray, shape (n,)
        The group of each text.
    before, after : sequence of Answers
        The answers of source-only and of a method, one per seed.
    abstain_below : float
        A text counts as covered if the model's largest probability is at least this.

    Returns
    -------
    list of dict
        Group, number of texts, accuracy before and after, gain, half-width of its 95 % interval,
        and coverage before and after.

    Examples
    --------
    >>> sure = np.full(4, 0.9)
    >>> rows = by_group(
    ...     np.array(["a", "a", "a", "b"]),
    ...     [Answers(np.array([1.0, 0, 0, 1]), sure)],
    ...     [Answers(np.array([1.0, 1, 1, 0]), sure)],
    ...     0.8,
    ... )
    >>> [(row["group"], row["texts"], round(row["gain"], 2)) for row in rows]
    [('a', 3, 0.67), ('b', 1, -1.0)]

    """
    rows = []
    for name, members in _members(groups):
        pairs = list(zip(before, after, strict=True))
        gains = [float((b.hits[members] - a.hits[members]).mean()) for a, b in pairs]
        errors = [gain_error(b.hits[members], a.hits[members]) for a, b in pairs]
        row = {"group": name, "texts": int(members.sum())}
        for when, answers in (("before", before), ("after", after)):
            row[f"accuracy_{when}"] = mean(float(a.hits[members].mean()) for a in answers)
        row |= {"gain": mean(gains), "half_width": doubt(gains, errors)}
        for when, answers in (("before", before), ("after", after)):
            covered = (float((a.confidence[members] >= abstain_below).mean()) for a in answers)
            row[f"coverage_{when}"] = mean(covered)
        rows.append(row)
    return rows


def accuracy_rows(
    groups: np.ndarray, answers: Answers, abstain_below: float
) -> list[dict[str, Any]]:
    """Return accuracy and coverage of each group of texts, the largest group first.

    The 95 % interval is Wilson's, which also holds for few texts and for accuracies near 1.

    References
    ----------
    Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 1927.

    Examples
    --------
    >>> rows = accuracy_rows(np.array(["a"] * 10), Answers(np.ones(10), np.full(10, 0.9)), 0.8)
    >>> rows[0]["accuracy"], round(rows[0]["low"], 2), round(rows[0]["high"], 2)
    (1.0, 0.72, 1.0)

    """
    rows = []
    for name, members in _members(groups):
        right, n = int(answers.hits[members].sum()), int(members.sum())
        low, high = binomtest(right, n).proportion_ci(method="wilson")
        covered = float((answers.confidence[members] >= abstain_below).mean())
        rows.append(
            {
                "group": name,
                "texts": n,
                "accuracy": right / n,
                "low": float(low),
                "high": float(high),
                "coverage": covered,
            }
        )
    return rows


def harm(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of groups whose accuracy clearly fell: the whole interval is below 0.

    With many groups some seem harmed by chance, so the interval is widened for their number, by
    Bonferroni's correction with normal quantiles. Where the spread over few seeds makes up most of
    it, that is too little.

    Examples
    --------
    >>> harm([{"gain": -0.05, "half_width": 0.02}, {"gain": -0.05, "half_width": 0.06}])
    [{'gain': -0.05, 'half_width': 0.02}]

    """
    wider = norm.ppf(1 - 0.025 / max(1, len(rows))) / norm.ppf(0.975)
    return [row for row in rows if row["gain"] + wider * row["half_width"] < 0]

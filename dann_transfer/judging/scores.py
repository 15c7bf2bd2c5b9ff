"""Scores of predictions on labelled texts."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator


def accuracy(codes: np.ndarray, predicted: np.ndarray) -> float:
    """Return the share of texts that are right.

    Examples
    --------
    >>> accuracy(np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1]))
    0.75

    """
    return float(np.mean(codes == predicted))


def macro_f1(codes: np.ndarray, predicted: np.ndarray) -> float:
    """Return the mean F1 of the classes that occur among the labels.

    A class that occurs only among the predictions has no F1 of its own: its texts lower that of
    their classes. Two models are therefore compared over the same classes.

    Examples
    --------
    >>> round(macro_f1(np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])), 3)
    0.833

    """
    from sklearn.metrics import f1_score

    present = np.unique(codes)
    return float(f1_score(codes, predicted, labels=present, average="macro", zero_division=0.0))


def balanced_accuracy(codes: np.ndarray, predicted: np.ndarray) -> float:
    """Return the mean recall of the classes that occur among the labels.

    Examples
    --------
    >>> balanced_accuracy(np.array([0, 1, 1, 1]), np.array([0, 0, 0, 1])).__round__(3)
    0.667

    """
    hits = codes == predicted
    return float(np.mean([hits[codes == code].mean() for code in np.unique(codes)]))


def open_set(codes: np.ndarray, predicted: np.ndarray, new: int) -> dict[str, float]:
    """Return how well texts of the source's classes and of new ones are answered.

    Parameters
    ----------
    codes, predicted : ndarray of int, shape (n,)
        Positions of classes; `new` stands for all classes that the source does not have.
    new : int

    Returns
    -------
    dict of str to float
        "known_accuracy", the share of texts of the source's classes that are right, "new_recall",
        the share of the other texts that are answered so, and "h_score", the harmonic mean of the
        two; NaN where there are no such texts.

    References
    ----------
    Fu et al., Learning to Detect Open Classes for Universal Domain Adaptation, ECCV 2020.

    Examples
    --------
    >>> open_set(np.array([0, 1, 2, 2]), np.array([0, 0, 2, 2]), new=2)
    {'known_accuracy': 0.5, 'new_recall': 1.0, 'h_score': 0.666...}

    """
    hits, is_new = codes == predicted, codes == new
    known, recall = (
        float(hits[rows].mean()) if rows.any() else np.nan for rows in (~is_new, is_new)
    )
    both = known + recall
    return {
        "known_accuracy": known,
        "new_recall": recall,
        "h_score": 2 * known * recall / both if both else 0.0,
    }


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "balanced_accuracy": balanced_accuracy,
}
"""By name; each takes class positions of labels and of predictions, shape (n,)."""


class _Answers(BaseEstimator):
    """What scorers of scikit-learn ask for predictions: its texts are the answers themselves."""

    def predict(self, X: np.ndarray) -> np.ndarray:
        return X


@cache
def metric_of(name: str) -> Callable[[np.ndarray, np.ndarray], float]:
    """Return a metric by its name: one of `METRICS`, or a scorer of scikit-learn.

    Parameters
    ----------
    name : str
        As in `METRICS` or `sklearn.metrics.get_scorer_names`. The scorer is of predicted labels,
        not of probabilities, and works on positions of classes; the second of two is the positive.

    Examples
    --------
    >>> round(metric_of("matthews_corrcoef")(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])), 3)
    0.577

    """
    if name in METRICS:
        return METRICS[name]
    from sklearn.metrics import get_scorer

    scorer: Any = get_scorer(name)
    answers = _Answers()
    return lambda codes, predicted: float(scorer(answers, predicted, codes))


def check_metric(name: str, classes: int) -> None:
    """Raise a ValueError if a metric cannot score predicted labels of this many classes.

    Examples
    --------
    >>> check_metric("f1", 3)
    Traceback (most recent call last):
    ...
    ValueError: metric='f1' cannot score labels of 3 classes (Target is multiclass but ...

    """
    codes = np.repeat(np.arange(classes), 2)
    try:
        metric_of(name)(codes, codes)
    except (ValueError, AttributeError) as error:
        # Scorers of probabilities look for methods that labels alone do not have.
        why = error if isinstance(error, ValueError) else "it needs probabilities"
        raise ValueError(
            f"metric={name!r} cannot score labels of {classes} classes ({why}); use one of "
            f"{list(METRICS)}, or a scorer of scikit-learn that takes such labels, such as "
            "'f1_weighted'."
        ) from error


def difference_error(
    metric: str,
    codes: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    draws: int = 200,
) -> float:
    """Return the standard error of the gain of one model over another on the same texts.

    The texts are drawn anew with replacement (the bootstrap of Efron, 1979).

    Parameters
    ----------
    metric : str
        As in `metric_of`.
    codes, before, after : ndarray of int, shape (n,)
        Class positions of labels and of both models' predictions.
    draws : int

    Examples
    --------
    >>> codes = np.arange(100) % 2
    >>> difference_error("macro_f1", codes, codes, codes)
    0.0

    """
    score, rng = metric_of(metric), np.random.default_rng(0)
    gains = []
    for _ in range(draws):
        rows = rng.integers(len(codes), size=len(codes))
        gains.append(score(codes[rows], after[rows]) - score(codes[rows], before[rows]))
    return float(np.std(gains))

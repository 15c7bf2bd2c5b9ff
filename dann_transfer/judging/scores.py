"""Scores of predictions on labelled texts."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator


def accuracy(codes: np.ndarray, predicted: np.ndarray) -> float:
    """Return the share of texts that are right, with all of their labels if they have several.

    Examples
    --------
    >>> accuracy(np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1]))
    0.75

    """
    hits = codes == predicted
    return float(np.mean(hits if hits.ndim == 1 else hits.all(1)))


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

    if codes.ndim == 2:
        return float(f1_score(codes, predicted, average="macro", zero_division=0.0))
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


def mean_absolute_error(ranks: np.ndarray, predicted: np.ndarray) -> float:
    """Return how many steps between ordered classes answers are off on average: 0 is best.

    Examples
    --------
    >>> mean_absolute_error(np.array([0, 1, 4]), np.array([0, 2, 2]))
    1.0

    """
    from sklearn.metrics import mean_absolute_error as error

    return float(error(ranks, predicted))


def quadratic_kappa(ranks: np.ndarray, predicted: np.ndarray) -> float:
    """Return how far ordered answers agree beyond chance, by the squares of the steps: 1 is best.

    Cohen, Weighted Kappa, Psychological Bulletin 1968. Answers that are all the same agree no
    better than by chance: 0.

    Examples
    --------
    >>> quadratic_kappa(np.array([0, 1, 4]), np.array([0, 1, 4]))
    1.0
    >>> quadratic_kappa(np.array([1, 1]), np.array([1, 1]))
    0.0

    """
    from sklearn.metrics import cohen_kappa_score

    if len(np.unique(np.append(ranks, predicted))) == 1:
        return 0.0
    # Steps are counted over all ranks, those without a text included.
    steps = np.arange(max(ranks.max(), predicted.max()) + 1)
    return float(cohen_kappa_score(ranks, predicted, labels=steps, weights="quadratic"))


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

OF_SEVERAL = ("accuracy", "macro_f1", "f1_micro")
"""Names of the scores of several labels a text, of which accuracy is that of whole sets."""

OF_ORDER: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "mean_absolute_error": mean_absolute_error,
    "quadratic_kappa": quadratic_kappa,
}
"""By name, for ordered classes; each takes ranks of labels and of predictions, shape (n,)."""
NEED_ORDER = ("quadratic_kappa", "neg_mean_absolute_error")
"""What `metric` may name of these, for all of which higher is better."""


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
        As in `METRICS`, `NEED_ORDER` or `sklearn.metrics.get_scorer_names`. The scorer is of
        predicted labels, not of probabilities, and works on positions of classes, or on their ranks
        if they are ordered; the second of two is the positive.

    Examples
    --------
    >>> round(metric_of("matthews_corrcoef")(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])), 3)
    0.577

    """
    if name in METRICS:
        return METRICS[name]
    if name == "quadratic_kappa":
        return quadratic_kappa
    from sklearn.metrics import get_scorer

    scorer: Any = get_scorer(name)
    answers = _Answers()
    return lambda codes, predicted: float(scorer(answers, predicted, codes))


def check_metric(name: str, classes: int, in_steps: bool = True) -> None:
    """Raise a ValueError if a metric cannot score predicted labels of this many classes.

    Parameters
    ----------
    name : str
    classes : int
    in_steps : bool
        Whether the classes are ordered, or numbers, so that there are steps between them.

    Examples
    --------
    >>> check_metric("quadratic_kappa", 3, in_steps=False)
    Traceback (most recent call last):
    ...
    ValueError: metric='quadratic_kappa' counts steps between ordered classes, and ...
    >>> check_metric("f1", 3)
    Traceback (most recent call last):
    ...
    ValueError: metric='f1' cannot score labels of 3 classes (Target is multiclass but ...

    """
    if name in NEED_ORDER and not in_steps:
        raise ValueError(
            f"metric={name!r} counts steps between ordered classes, and these are words without an "
            "order; list it: ordinal=[...], from the lowest to the highest."
        )
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


def check_metric_of_several(name: str, labels: int) -> None:
    """Raise a ValueError if a metric cannot score several labels a text.

    Examples
    --------
    >>> check_metric_of_several("f1_micro", 3)
    >>> check_metric_of_several("balanced_accuracy", 3)
    Traceback (most recent call last):
    ...
    ValueError: metric='balanced_accuracy' cannot score several labels a text; use 'accuracy', ...

    """
    marks = np.eye(labels, dtype=np.uint8)
    try:
        if name in ("balanced_accuracy", *NEED_ORDER):
            raise ValueError("one class a text")
        metric_of(name)(marks, marks)
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f"metric={name!r} cannot score several labels a text; use 'accuracy', the share of "
            "texts all of whose labels are right, 'f1_micro', 'macro_f1', or another scorer of "
            "scikit-learn for several labels, such as 'f1_samples'."
        ) from error


def several_scores(marks: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return micro- and macro-F1 and subset accuracy of marks and predictions, (n, labels).

    Examples
    --------
    >>> scores = several_scores(np.array([[1, 0], [1, 1]]), np.array([[1, 0], [0, 1]]))
    >>> {name: round(score, 3) for name, score in scores.items()}
    {'micro_f1': 0.8, 'macro_f1': 0.833, 'subset_accuracy': 0.5}

    """
    from sklearn.metrics import accuracy_score, f1_score

    return {
        "micro_f1": float(f1_score(marks, predicted, average="micro", zero_division=0.0)),
        "macro_f1": float(f1_score(marks, predicted, average="macro", zero_division=0.0)),
        "subset_accuracy": float(accuracy_score(marks, predicted)),
    }


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

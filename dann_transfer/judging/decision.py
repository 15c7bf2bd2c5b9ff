"""Turn logits into probabilities and labels, or into no label if none is certain enough.

The largest probability is a model's confidence, which need not be how often it is right. On the
source the two agree after calibration (`Fitted.calibration`), as far as the held-out texts show. On
the target nothing ensures that they agree: measure `calibration_error` and `coverage_curve` on
labelled target texts before you trust a threshold there.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor

from dann_transfer.ground.checks import check_threshold
from dann_transfer.ground.notices import warn
from dann_transfer.judging.answering import answered, confidence_of
from dann_transfer.judging.arrays import one_each, positions_of, probabilities_of
from dann_transfer.judging.label_shift import Calibration, correct


class PriorWarning(UserWarning):
    """The target's class shares could not be estimated, so predictions are not corrected."""


class Estimates(Protocol):
    """What was estimated about the target when a model was fitted; `Fitted` has it."""

    target_prior: dict[str, np.ndarray]
    refused_prior: dict[str, str]
    calibration: Calibration | None


def prior_for(correct_prior: str | bool | None, fitted: Estimates) -> np.ndarray | None:
    """Return the target's class prior to correct predictions by, or None.

    If the estimate was refused there is no prior, and a warning explains why.

    Parameters
    ----------
    correct_prior : bool or {"bbse", "em"}, optional
        True is "em".
    fitted : Estimates

    Raises
    ------
    ValueError
        If the model was fitted without a target.

    """
    if not correct_prior:
        return None
    kind = "em" if correct_prior is True else str(correct_prior)
    if kind in fitted.target_prior:
        return fitted.target_prior[kind]
    if kind not in fitted.refused_prior:
        raise ValueError(
            f"correct_prior={correct_prior!r} was not estimated when the model was "
            "fitted; fit it with X_target and this setting."
        )
    warn(
        f"correct_prior={correct_prior!r} changes nothing: the estimate of the target's class "
        f"shares was refused ({fitted.refused_prior[kind]}).",
        PriorWarning,
    )
    return None


def probabilities(logits: Tensor, fitted: Estimates, target_prior: np.ndarray | None) -> np.ndarray:
    """Turn logits (n, classes) into probabilities (n, classes).

    Parameters
    ----------
    logits : Tensor, shape (n, classes)
    fitted : Estimates
    target_prior : ndarray, shape (classes,), or None
        The target's class shares, for which the model's calibrated probabilities are corrected.
        None leaves the probabilities as the model gives them; ``fitted.calibration.prior``
        calibrates them without a correction.

    """
    if target_prior is None or fitted.calibration is None:
        return logits.softmax(1).numpy()
    calibration = fitted.calibration
    return correct(calibration.probabilities(logits.numpy()), calibration.prior, target_prior)


def labels(
    p: np.ndarray,
    classes: np.ndarray,
    new: np.ndarray | None = None,
    unknown: Any = None,
    ranks: np.ndarray | None = None,
) -> np.ndarray:
    """Return the class that each row is answered with, or `unknown` for a new class: (n,).

    Parameters
    ----------
    p : ndarray, shape (n, classes)
    classes : ndarray, shape (classes,)
    new : ndarray of bool, shape (n,), optional
        Which texts seem to be of none of the classes.
    unknown : str or int, optional
        Their label.
    ranks : ndarray of int, shape (classes,), optional
        The ranks of ordered classes, of which the median is answered (`answering.answered`);
        otherwise the likeliest class is.

    Examples
    --------
    >>> p, classes = np.array([[0.1, 0.9], [0.6, 0.4]]), np.array(["no", "yes"])
    >>> labels(p, classes).tolist()
    ['yes', 'no']
    >>> labels(p, classes, np.array([False, True]), "other").tolist()
    ['yes', 'other']

    """
    predicted = classes[answered(p, ranks)]
    return predicted if new is None else _placed(predicted, new, unknown)


def decided(
    p: np.ndarray, new: np.ndarray | None = None, ranks: np.ndarray | None = None
) -> np.ndarray:
    """Return the position of the answered class, or that after the last for a new one: (n,).

    The arguments are those of `labels`.

    Examples
    --------
    >>> decided(np.array([[0.1, 0.9], [0.6, 0.4]]), np.array([False, True])).tolist()
    [1, 2]

    """
    answers = answered(p, ranks)
    return answers if new is None else np.where(new, p.shape[1], answers)


def _placed(answers: np.ndarray, rows: np.ndarray, label: Any) -> np.ndarray:
    """Return answers with a label in the place of some, shape (n,)."""
    dtype = np.asarray(label).dtype
    # Strings are widened; numpy would turn numbers beside a string into strings, and True into 1.
    answers = answers.astype(
        np.promote_types(answers.dtype, dtype) if dtype.kind == answers.dtype.kind else object
    )
    answers[rows] = label
    return answers


def abstain(
    p: np.ndarray,
    classes: np.ndarray,
    below: float,
    label: Any = None,
    new: np.ndarray | None = None,
    unknown: Any = None,
    ranks: np.ndarray | None = None,
) -> np.ndarray:
    """Return the class that each row is answered with, or withhold it if it is too improbable.

    Parameters
    ----------
    p : ndarray, shape (n, classes)
        Probabilities.
    classes : ndarray, shape (classes,)
    below : float
        Labels with a smaller probability are withheld: 0 withholds none.
    label : object, optional
        What to return in place of withheld labels. It is returned unchanged: if it is not of the
        same kind as the classes, the array has dtype object.
    new, unknown, ranks
        As for `labels`; the answer `unknown` is not withheld.

    Returns
    -------
    ndarray or numpy.ma.MaskedArray, shape (n,)
        A masked array if no `label` is given, with its mask true where labels are withheld.

    Raises
    ------
    ValueError
        If `below` is not a probability.
    TypeError
        If `label` is a list or the like.

    References
    ----------
    Chow, On Optimum Recognition Error and Reject Tradeoff, IEEE Transactions on Information Theory
    1970.

    Examples
    --------
    >>> p, classes = np.array([[0.1, 0.9], [0.6, 0.4]]), np.array(["no", "yes"])
    >>> abstain(p, classes, below=0.8, label="unsure").tolist()
    ['yes', 'unsure']
    >>> abstain(p, classes, below=0.8).mask.tolist()
    [False, True]

    """
    check_threshold("below", below)
    if isinstance(label, Collection) and not isinstance(label, str | bytes):
        raise TypeError(f"label={label!r} must be a single value, such as 'unsure' or -1.")
    predicted = labels(p, classes, new, unknown, ranks)
    withheld = confidence_of(p, answered(p, ranks)) < below
    if new is not None:
        withheld &= ~new
    if label is None:
        return np.ma.masked_array(predicted, withheld)
    return _placed(predicted, withheld, label)


def labelled(p: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities (n, classes) and true class positions (n,), after checking them.

    Raises
    ------
    ValueError
        If the shapes do not match, rows do not sum to 1, or `codes` are not class positions.

    Examples
    --------
    >>> labelled(np.array([[0.1, 0.9]]), np.array(["yes"]))
    Traceback (most recent call last):
    ...
    ValueError: codes must be whole numbers from 0 to 1, the positions of classes; got ['yes']. ...

    """
    p = probabilities_of(p)
    codes = one_each("codes", codes, len(p), "labelled")
    remedy = " For labels y, pass np.searchsorted(classes, y)."
    return p, positions_of("codes", codes, p.shape[1], "classes", remedy)


def calibration_error(p: np.ndarray, codes: np.ndarray, bins: int = 15) -> float:
    """Return how much confidence and accuracy differ on labelled texts: 0 is calibrated.

    It is the expected calibration error: the mean over texts of the gap between the mean confidence
    and the accuracy of their bin. With few texts it is above 0 even if nothing is wrong, because
    the accuracy of a bin with few texts is off by chance.

    Parameters
    ----------
    p : ndarray, shape (n, classes)
        Probabilities of labelled texts.
    codes : ndarray of int, shape (n,)
        Positions of their true classes.
    bins : int
        Number of bins, of equal width, each including its upper bound.

    Raises
    ------
    ValueError
        If the shapes do not fit, or `codes` are no class positions.

    References
    ----------
    Guo et al., On Calibration of Modern Neural Networks, ICML 2017.

    Examples
    --------
    >>> p = np.array([[0.2, 0.8]] * 10)
    >>> round(calibration_error(p, np.repeat([0, 1], [2, 8])), 3)
    0.0
    >>> round(calibration_error(p, np.repeat([0, 1], [5, 5])), 3)
    0.3

    """
    if bins < 1:
        raise ValueError(f"bins={bins!r} must be at least 1; 15 is usual.")
    p, codes = labelled(p, codes)
    confidence = p.max(1).clip(max=1)  # rounded, it may be above
    place = np.ceil(confidence * bins).astype(int) - 1
    gaps = np.bincount(place, (p.argmax(1) == codes) - confidence)
    return float(np.abs(gaps).sum() / len(p))


class CoverageCurve(NamedTuple):
    """How many texts are answered, and how many of these correctly, as the threshold rises.

    The arrays have an entry for each confidence that occurs, from full coverage downwards.
    """

    thresholds: np.ndarray
    """What `abstain` takes as `below`."""
    coverage: np.ndarray
    """The share of texts answered, which starts at 1."""
    accuracy: np.ndarray
    """The share of answered texts that are right."""
    area: float
    """The area under risk (1 - accuracy) over coverage: 0 is best, and with answers withheld at
    random it would be the error of all texts."""


def coverage_curve(
    p: np.ndarray, codes: np.ndarray, ranks: np.ndarray | None = None
) -> CoverageCurve:
    """Return what withholding uncertain answers gains on labelled texts.

    A threshold gains as much on other texts only if they are of the same domain, and less if it was
    chosen as the best of many on these texts.

    Parameters
    ----------
    p : ndarray, shape (n, classes)
        Probabilities of labelled texts.
    codes : ndarray of int, shape (n,)
        Positions of their true classes.
    ranks : ndarray of int, shape (classes,), optional
        The ranks of ordered classes, of which the median is answered.

    Raises
    ------
    ValueError
        If the shapes do not fit, or `codes` are no class positions.

    References
    ----------
    Geifman and El-Yaniv, Selective Classification for Deep Neural Networks, NIPS 2017; the area:
    Geifman, Uziel and El-Yaniv, Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers,
    ICLR 2019.

    Examples
    --------
    >>> curve = coverage_curve(np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]]), np.array([0, 0, 0]))
    >>> curve.thresholds.tolist(), curve.coverage.round(2).tolist()
    ([0.6, 0.8, 0.9], [1.0, 0.67, 0.33])
    >>> curve.accuracy.round(2).tolist()
    [0.67, 1.0, 1.0]
    >>> round(curve.area, 2)
    0.11

    """
    p, codes = labelled(p, codes)
    answers = answered(p, ranks)
    # Either all texts with the same confidence are answered or none, so they share an entry.
    thresholds, place = np.unique(confidence_of(p, answers), return_inverse=True)
    counts = np.bincount(place)
    covered = counts[::-1].cumsum()[::-1]
    accuracy = np.bincount(place, answers == codes)[::-1].cumsum()[::-1] / covered
    area = float((counts * (1 - accuracy)).sum() / len(p))
    return CoverageCurve(thresholds, covered / len(p), accuracy, area)

"""How common each class is in the target, from predictions alone, and predictions corrected by it.

Alignment forces the target's predictions towards the source's class shares. Where the true shares
differ, that is harm, which no source validation shows.
"""

from __future__ import annotations

import numpy as np


def bbse(source: np.ndarray, labels: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Estimate the target's class prior from how predictions confuse classes on the source.

    Solves ``C w = mu`` with C the joint shares of (predicted, true) on held-out source texts and
    mu the predicted shares on the target; the prior is w times the source's, cut at 0.

    Parameters
    ----------
    source : ndarray, shape (n, classes)
        Probabilities of labelled source texts that training has not seen.
    labels : ndarray of int, shape (n,)
        Their class positions. Every class must occur.
    target : ndarray, shape (m, classes)
        Probabilities of target texts.

    Raises
    ------
    ValueError
        If a class does not occur among the labels.

    References
    ----------
    Lipton, Wang and Smola, Detecting and Correcting for Label Shift with Black Box Predictors,
    ICML 2018.

    Examples
    --------
    >>> sure = np.eye(2)
    >>> bbse(sure[[0, 1] * 50], np.array([0, 1] * 50), sure[[0, 0, 0, 1]])
    array([0.75, 0.25])

    """
    classes = source.shape[1]
    prior = np.bincount(labels, minlength=classes) / len(labels)
    if not prior.all():
        raise ValueError(f"classes {np.flatnonzero(prior == 0).tolist()} have no labelled text.")
    confusion = np.zeros((classes, classes))
    np.add.at(confusion, (source.argmax(1), labels), 1 / len(labels))
    predicted = np.bincount(target.argmax(1), minlength=classes) / len(target)
    # Least squares, because a class that is never predicted makes the matrix singular.
    weights = np.linalg.lstsq(confusion, predicted, rcond=None)[0]
    estimate = np.clip(weights, 0, None) * prior
    return estimate / estimate.sum() if estimate.sum() else prior


def em(prior: np.ndarray, target: np.ndarray, steps: int = 1000) -> np.ndarray:
    """Estimate the target's class prior by expectation and maximisation.

    Parameters
    ----------
    prior : ndarray, shape (classes,)
        Class shares of the texts that the model was trained on.
    target : ndarray, shape (m, classes)
        Probabilities of target texts under that prior. The estimate is as good as they are
        calibrated.
    steps : int
        At most this many; it ends once nothing moves.

    References
    ----------
    Saerens, Latinne and Decaestecker, Adjusting the Outputs of a Classifier to New a Priori
    Probabilities, Neural Computation 2002.

    Examples
    --------
    >>> em(np.array([0.5, 0.5]), np.eye(2)[[0, 0, 0, 1]])
    array([0.75, 0.25])

    """
    estimate = prior
    for _ in range(steps):
        before, estimate = estimate, correct(target, prior, estimate).mean(0)
        if np.abs(estimate - before).max() < 1e-8:
            break
    return estimate


def correct(probabilities: np.ndarray, prior: np.ndarray, target_prior: np.ndarray) -> np.ndarray:
    """Turn probabilities under one class prior into those under another: shape (n, classes).

    Examples
    --------
    >>> correct(np.array([[0.5, 0.5]]), np.array([0.5, 0.5]), np.array([0.8, 0.2]))
    array([[0.8, 0.2]])

    """
    # A class that weighed nothing in training is never predicted, and stays so.
    ratio = np.divide(target_prior, prior, out=np.zeros(len(prior)), where=prior > 0)
    weighted = probabilities * ratio
    return np.asarray(weighted / weighted.sum(1, keepdims=True).clip(min=1e-300))

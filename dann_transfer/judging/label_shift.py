"""Estimate how common each class is in the target, from predictions alone, and correct them by it.

Alignment forces the target's predictions towards the source's class shares. If the true shares
differ, this does harm that validation on the source does not show.

The estimates assume label shift: the domains differ in their class shares, but texts of the same
class are alike in both. If that is false, the estimates are wrong, however many texts there are.
`contradiction` detects some of these cases. An interval detects none: it shows how far the estimate
would move with other texts of the same two domains, but not how wrong the assumption is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.special import log_softmax, softmax

MAX_DRAWN = 3000
"""At most this many target texts are drawn per resample: the held-out texts, which are fewer,
determine its width."""


ABSENT = 0.1
"""A class with less than this part of its share of the source counts as absent: on the benchmarks'
targets that have all classes this never held but for classes of few texts."""


def bbse(source: np.ndarray, labels: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Estimate the target's class prior from how predictions confuse classes on the source.

    It solves ``C w = mu``, where C holds the joint shares of (predicted, true) on held-out source
    texts and mu the predicted shares on the target. The prior is w times the source's, cut at 0.

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


def em(
    prior: np.ndarray, target: np.ndarray, steps: int = 1000, tolerance: float = 1e-8
) -> np.ndarray:
    """Estimate the target's class prior by expectation and maximisation.

    Parameters
    ----------
    prior : ndarray, shape (classes,)
        Class shares of the texts that the model was trained on.
    target : ndarray, shape (m, classes)
        Probabilities of target texts under that prior. The estimate is only as good as their
        calibration.
    steps : int
        The largest number of steps.
    tolerance : float
        The estimate ends once a step moves every share by less than this.

    References
    ----------
    Saerens, Latinne and Decaestecker, Adjusting the Outputs of a Classifier to New a Priori
    Probabilities, Neural Computation 2002.

    Examples
    --------
    >>> em(np.array([0.5, 0.5]), np.eye(2)[[0, 0, 0, 1]])
    array([0.75, 0.25])

    """
    # The mean of `correct`, as two products of a matrix and a vector, in a tenth of the time.
    ratios = np.divide(target, prior, out=np.zeros(target.shape), where=prior > 0)
    estimate = prior
    for _ in range(steps):
        evidence = (ratios @ estimate).clip(min=1e-300)
        before, estimate = estimate, estimate * ((1 / evidence) @ ratios) / len(target)
        if np.abs(estimate - before).max() < tolerance:
            break
    return estimate


def correct(probabilities: np.ndarray, prior: np.ndarray, target_prior: np.ndarray) -> np.ndarray:
    """Turn probabilities under one class prior into those under another: shape (n, classes).

    Examples
    --------
    >>> correct(np.array([[0.5, 0.5]]), np.array([0.5, 0.5]), np.array([0.8, 0.2]))
    array([[0.8, 0.2]])

    """
    # A class without weight in training is never predicted, and that stays so.
    ratio = np.divide(target_prior, prior, out=np.zeros(len(prior)), where=prior > 0)
    weighted = probabilities * ratio
    return np.asarray(weighted / weighted.sum(1, keepdims=True).clip(min=1e-300))


def _truth(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return the targets that probabilities are fitted to, shape (n, classes)."""
    # Platt's targets: n correct texts do not make the next one certain. He counts the texts of a
    # class; with many classes of a few texts each, no prediction would then remain certain.
    doubt = 1 / (len(labels) + 2)
    return np.where(np.eye(classes)[labels] > 0, 1 - doubt, doubt / max(1, classes - 1))


@dataclass(frozen=True)
class Calibration:
    """Turns logits into probabilities that are calibrated on the source.

    Logits are divided by a temperature and shifted by a bias for each class, both fitted to
    labelled texts that training has not seen: networks are overconfident, and estimates of class
    shares rely on their probabilities. Nothing makes the calibration hold on the target too, where
    a model is mostly even more overconfident.

    A temperature alone (Guo et al. 2017) would not correct a model's bias towards some classes.

    References
    ----------
    Guo et al., On Calibration of Modern Neural Networks, ICML 2017;
    Platt, Probabilistic Outputs for Support Vector Machines, 1999, for the targets of the fit;
    Alexandari, Kundaje and Shrikumar, Maximum Likelihood with Bias-Corrected Calibration is
    Hard-To-Beat at Label Shift Adaptation, ICML 2020.

    Examples
    --------
    >>> logits, labels = np.array([[9.0, 0.0], [0.0, 9.0]] * 50), np.array([0, 1, 0, 0] * 25)
    >>> Calibration.fit(logits, labels).probabilities(logits[:2]).round(1).tolist()
    [[1.0, 0.0], [0.5, 0.5]]

    """

    temperature: float
    bias: np.ndarray
    """Shape (classes,)."""
    prior: np.ndarray
    """Class shares of the texts that it was fitted to, under which its probabilities hold."""

    @classmethod
    def fit(cls, logits: np.ndarray, labels: np.ndarray) -> Calibration:
        """Fit temperature and biases by maximum likelihood.

        Parameters
        ----------
        logits : ndarray, shape (n, classes)
            Logits of texts that training has not seen.
        labels : ndarray of int, shape (n,)
            Their class positions.

        """
        from scipy.optimize import minimize

        logits = np.asarray(logits, dtype=float)
        n, classes = logits.shape
        truth = _truth(labels, classes)

        def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
            scaled = logits * np.exp(-x[0])
            z = log_softmax(scaled + x[1:], axis=1)
            p = np.exp(z)
            likelihood = -(truth * z).sum() / n
            slope = np.concatenate([[((truth - p) * scaled).sum() / n], (p - truth).mean(0)])
            # Weak priors of temperature 1 and no bias, which count as much as one text.
            return float(likelihood + x @ x / (2 * n)), slope + x / n

        best = minimize(loss, np.zeros(classes + 1), jac=True, method="L-BFGS-B").x
        return cls(float(np.exp(best[0])), best[1:], np.bincount(labels, minlength=classes) / n)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Turn logits into probabilities, both of shape (n, classes)."""
        return np.asarray(
            softmax(np.asarray(logits, dtype=float) / self.temperature + self.bias, 1)
        )

    def influence(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return how far each text moved the fit: log temperature and biases, (n, 1 + classes).

        This is one Newton step: the slope of the text's loss divided by the curvature of all. The
        texts are those of the fit, so without text i the fit would be smaller by about row i.
        """
        scaled = np.asarray(logits, dtype=float) / self.temperature
        p = self.probabilities(logits)
        wrong = p - _truth(labels, p.shape[1])
        slopes = np.column_stack([-(wrong * scaled).sum(1), wrong])
        centred = p * (scaled - (p * scaled).sum(1, keepdims=True))
        curvature = np.eye(slopes.shape[1])  # of the weak priors
        curvature[0, 0] += (centred * scaled).sum()
        curvature[0, 1:] = curvature[1:, 0] = -centred.sum(0)
        curvature[1:, 1:] += np.diag(p.sum(0)) - p.T @ p
        return np.asarray(-np.linalg.solve(curvature, slopes.T).T)


def calibration_of(logits: np.ndarray, labels: np.ndarray) -> Calibration | None:
    """Fit a calibration if there is a held-out text of every class, or return None.

    Parameters
    ----------
    logits : ndarray, shape (n, classes)
    labels : ndarray of int, shape (n,)

    """
    counts = np.bincount(labels, minlength=logits.shape[1])
    return Calibration.fit(logits, labels) if counts.all() else None


def prior_interval(
    source: np.ndarray,
    labels: np.ndarray,
    target: np.ndarray,
    level: float = 0.95,
    resamples: int = 200,
    random_state: int = 0,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return how far estimates of the target's class prior would move with other texts.

    This is a percentile bootstrap over held-out source texts (within each class, so that none is
    lost) and target texts. The calibration is refitted to every resample, by one Newton step from
    the fit to all texts: if it were fixed, intervals of "em" would be far too narrow.

    Parameters
    ----------
    source : ndarray, shape (n, classes)
        Logits of labelled source texts that training has not seen.
    labels : ndarray of int, shape (n,)
        Their class positions. Every class must occur; one with a single text never varies.
    target : ndarray, shape (m, classes)
        Logits of target texts.
    level : float
        The share of the resampled estimates inside the interval, between 0 and 1.
    resamples : int
    random_state : int

    Returns
    -------
    dict of str to (low, high)
        For "em" and for "bbse", two arrays of shape (classes,). Each interval is for one class: all
        of them hold at once less often.

    Raises
    ------
    ValueError
        If `level` or `resamples` is out of bounds, or a class does not occur among the labels.

    References
    ----------
    Efron and Tibshirani, An Introduction to the Bootstrap, 1993;
    Andrews, Higher-Order Improvements of a Computationally Attractive k-Step Bootstrap for Extremum
    Estimators, Econometrica 2002.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels, unknown = np.repeat([0, 1], 150), np.repeat([0, 1], [1600, 400])
    >>> x, z = rng.normal(3 * labels - 1.5), rng.normal(3 * unknown - 1.5)
    >>> source, target = np.stack([-x, x], axis=1), np.stack([-z, z], axis=1)
    >>> low, high = prior_interval(source, labels, target)["em"]
    >>> low.round(2).tolist(), high.round(2).tolist()
    ([0.78, 0.18], [0.82, 0.22])

    """
    if not 0 < level < 1:
        raise ValueError(f"level={level!r} must lie between 0 and 1; 0.95 is usual.")
    if resamples < 1:
        raise ValueError(f"resamples={resamples!r} must be at least 1; 200 is usual.")
    rng = np.random.default_rng(random_state)
    calibration = Calibration.fit(source, labels)
    influence = calibration.influence(source, labels)
    drawn = min(len(target), MAX_DRAWN)
    order = np.argsort(labels, kind="stable")
    size = np.bincount(labels, minlength=source.shape[1])
    first = size.cumsum() - size
    draws: dict[str, list[np.ndarray]] = {"em": [], "bbse": []}
    for _ in range(resamples):
        # Each text is replaced by one of its class, so `labels` still apply.
        rows = order[first[labels] + (rng.random(len(labels)) * size[labels]).astype(int)]
        moved = influence[rows].sum(0) - influence.sum(0)
        temperature = calibration.temperature * float(np.exp(moved[0]))
        refitted = Calibration(temperature, calibration.bias + moved[1:], calibration.prior)
        q = refitted.probabilities(target[rng.integers(len(target), size=drawn)])
        draws["bbse"].append(bbse(refitted.probabilities(source[rows]), labels, q))
        draws["em"].append(em(calibration.prior, q, tolerance=1e-5))
    tail = (1 - level) / 2
    bounds = {kind: np.quantile(each, [tail, 1 - tail], axis=0) for kind, each in draws.items()}
    return {kind: (low, high) for kind, (low, high) in bounds.items()}


def contradiction(
    estimate: np.ndarray, source: np.ndarray, labels: np.ndarray, target: np.ndarray
) -> str | None:
    """State how an estimate of the target's class prior contradicts the confusion on the source.

    If the estimate were right, and classes were confused on the target as they are on the source,
    predictions on the target would have certain class shares. The actual shares may differ from
    these by 10 points, or by three standard errors if that is more; if the limit is above 25 points
    nothing can be checked.

    Parameters
    ----------
    estimate : ndarray, shape (classes,)
    source : ndarray, shape (n, classes)
        Probabilities of labelled source texts that training has not seen.
    labels : ndarray of int, shape (n,)
        Their class positions. Every class must occur.
    target : ndarray, shape (m, classes)
        Probabilities of target texts.

    Returns
    -------
    str or None

    Examples
    --------
    >>> sure, labels = np.eye(2)[[0, 1] * 50], np.array([0, 1] * 50)
    >>> contradiction(np.array([0.0, 1.0]), sure, labels, sure)
    'class 0 would be predicted for 2% of the target texts, but is predicted for 50%: ...'
    >>> contradiction(np.array([0.5, 0.5]), sure, labels, sure)

    """
    classes = source.shape[1]
    sizes = np.bincount(labels, minlength=classes)
    counts = np.zeros((classes, classes))
    np.add.at(counts, (source.argmax(1), labels), 1)
    # Add two texts' worth of doubt, or a class never confused in a few texts would have no error.
    rates = (counts + 2 / classes) / (sizes + 2)
    expected = rates @ estimate
    seen = np.bincount(target.argmax(1), minlength=classes) / len(target)
    variance = (rates * (1 - rates) / sizes) @ estimate**2 + seen * (1 - seen) / len(target)
    allowed = np.maximum(0.1, 3 * np.sqrt(variance))
    if allowed.max() > 0.25:
        return f"{len(labels)} held-out source texts are too few to check it against"
    excess = np.abs(expected - seen) - allowed
    worst = int(excess.argmax())
    if excess[worst] <= 0:
        return None
    return (
        f"class {worst} would be predicted for {expected[worst]:.0%} of the target texts, but is "
        f"predicted for {seen[worst]:.0%}: more than class shares differs"
    )


@dataclass(frozen=True)
class Estimates:
    """The target's class prior, as far as it can be estimated."""

    priors: dict[str, np.ndarray]
    """For "em" and for "bbse", each of shape (classes,)."""
    refused: dict[str, str]
    """Why there is no estimate, for those that are not in `priors`."""
    calibration: Calibration | None
    intervals: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    """How far those in `priors` would move with other texts, from `prior_interval`: (low, high),
    each of shape (classes,)."""


def absent(high: np.ndarray, source: np.ndarray, share: float = ABSENT) -> np.ndarray:
    """Return which classes the target seems to lack, shape (classes,).

    Parameters
    ----------
    high : ndarray, shape (classes,)
        Upper ends of the intervals of the target's class shares, from `prior_interval`.
    source : ndarray, shape (classes,)
        The source's class shares.
    share : float
        A class seems absent if even the upper end is below this part of its share of the source.

    Examples
    --------
    >>> absent(np.array([0.7, 0.3, 0.001]), np.array([0.5, 0.3, 0.2])).tolist()
    [False, False, True]

    """
    return np.asarray(high < share * source)


def estimate(
    source: np.ndarray, labels: np.ndarray, target: np.ndarray, resamples: int = 100
) -> Estimates:
    """Estimate the target's class prior from logits, and refuse what contradicts the source.

    Parameters
    ----------
    source : ndarray, shape (n, classes)
        Logits of labelled source texts that training has not seen.
    labels : ndarray of int, shape (n,)
        Their class positions.
    target : ndarray, shape (m, classes)
        Logits of target texts.
    resamples : int
        For the intervals; 0 leaves them out. They take nearly all of the time, but none if both
        estimates are refused.

    """
    missing = np.flatnonzero(np.bincount(labels, minlength=target.shape[1]) == 0)
    if len(missing):
        why = f"there is no held-out source text of class {missing[0]}"
        return Estimates({}, dict.fromkeys(("em", "bbse"), why), None)
    calibration = Calibration.fit(source, labels)
    p, q = calibration.probabilities(source), calibration.probabilities(target)
    estimates = {"em": em(calibration.prior, q), "bbse": bbse(p, labels, q)}
    against = {kind: contradiction(prior, p, labels, q) for kind, prior in estimates.items()}
    priors = {kind: prior for kind, prior in estimates.items() if against[kind] is None}
    refused = {kind: why for kind, why in against.items() if why is not None}
    intervals = {}
    if priors and resamples:
        bounds = prior_interval(source, labels, target, resamples=resamples)
        intervals = {kind: bounds[kind] for kind in priors}
    return Estimates(priors, refused, calibration, intervals)

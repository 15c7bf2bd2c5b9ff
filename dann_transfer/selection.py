"""Which of several models is best on the target, judged without a target label.

None of these is sure: compare them on data whose target labels you know before you trust one.
"""

from __future__ import annotations

import numpy as np

from dann_transfer.diagnostics import domain_classifier


def _probabilities(p: np.ndarray) -> np.ndarray:
    p = np.asarray(p, dtype=float)
    if p.ndim != 2 or not len(p) or not np.allclose(p.sum(1), 1, atol=1e-3):
        raise ValueError(
            f"probabilities of shape {p.shape} must be (texts, classes) with rows that sum to 1; "
            "pass what predict_proba returns."
        )
    return p


def _entropy(p: np.ndarray) -> np.ndarray:
    return -(p * np.log(np.clip(p, 1e-12, None))).sum(-1)


def information_maximization(p: np.ndarray) -> float:
    """Return how sure predictions are and how many classes they use: higher is better.

    It is the entropy of the mean prediction minus the mean entropy of predictions, which lies
    between 0 and log(classes). It favours equal class shares.

    Parameters
    ----------
    p : ndarray, shape (n, classes)
        Probabilities of target texts.

    References
    ----------
    Shi and Sha, Information-Theoretical Learning of Discriminative Clusters for Unsupervised
    Domain Adaptation, ICML 2012.

    Examples
    --------
    >>> round(information_maximization(np.eye(2)[[0, 1, 0, 1]]), 3)
    0.693
    >>> abs(round(information_maximization(np.full((4, 2), 0.5)), 3))
    0.0

    """
    p = _probabilities(p)
    return float(_entropy(p.mean(0)) - _entropy(p).mean())


def neighborhood_density(p: np.ndarray, temperature: float = 0.05, max_texts: int = 3000) -> float:
    """Return how densely each text's neighbours lie by prediction: higher is better.

    It is the mean entropy of the soft-max over each text's similarities to the others.

    Parameters
    ----------
    p : ndarray, shape (n, classes)
        Probabilities of target texts, at least two.
    temperature : float
    max_texts : int
        Only the first ones are used, up to this many: memory grows with the square.

    References
    ----------
    Saito et al., Tune It the Right Way: Unsupervised Validation of Domain Adaptation via Soft
    Neighborhood Density, ICCV 2021.

    Examples
    --------
    >>> sure, unsure = np.eye(2)[[0, 1] * 50], np.linspace(0, 1, 100)
    >>> unsure = np.stack([unsure, 1 - unsure], 1)
    >>> neighborhood_density(sure) > neighborhood_density(unsure)
    True

    """
    p = _probabilities(p)[:max_texts]
    if len(p) < 2:
        raise ValueError("the density needs the predictions of at least two texts.")
    p = p / np.linalg.norm(p, axis=1, keepdims=True)
    n = len(p)
    near = (p @ p.T / temperature)[~np.eye(n, dtype=bool)].reshape(n, n - 1)
    near = np.exp(near - near.max(1, keepdims=True))
    return float(_entropy(near / near.sum(1, keepdims=True)).mean())


def deep_embedded_validation(
    source: np.ndarray, correct: np.ndarray, target: np.ndarray, random_state: int = 0
) -> float:
    """Estimate the accuracy on the target from labelled source texts that look like its texts.

    Source texts weigh by how much likelier the target is to have their features, as a logistic
    regression tells; a control variate keeps the estimate from being ruled by a few.

    Parameters
    ----------
    source, target : ndarray, shapes (n, width) and (m, width)
        Features of source texts that training has not seen, and of target texts.
    correct : ndarray of bool, shape (n,)
        Whether each source text is predicted right.
    random_state : int
        Chooses the folds in which weights are computed for texts not fitted to.

    References
    ----------
    You et al., Towards Accurate Model Selection in Deep Unsupervised Domain Adaptation, ICML 2019.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, z = rng.normal(size=(2000, 1)), rng.normal(1, 1, size=(2000, 1))
    >>> right = x[:, 0] > 0  # right where the target mostly lies
    >>> float(right.mean().round(1)), round(deep_embedded_validation(x, right, z), 1)
    (0.5, 0.8)

    """
    from sklearn.model_selection import cross_val_predict

    source, target = np.asarray(source, dtype=float), np.asarray(target, dtype=float)
    correct = np.asarray(correct, dtype=float)
    if correct.shape != (len(source),):
        raise ValueError(
            f"correct has shape {correct.shape}; it needs one entry for each of the "
            f"{len(source)} source texts."
        )
    X, domains = np.concatenate([source, target]), np.repeat([0, 1], [len(source), len(target)])
    model, folds = domain_classifier(random_state)
    p = cross_val_predict(model, X, domains, cv=folds, method="predict_proba")[: len(source)]
    weights = p[:, 1] / np.clip(p[:, 0], 1e-6, None) * len(source) / len(target)
    weighted = weights * correct
    spread = weights.var()
    slope = np.cov(weighted, weights, ddof=0)[0, 1] / spread if spread else 0.0
    # The control variate may carry the estimate past what an accuracy can be.
    return float(np.clip(weighted.mean() - slope * (weights.mean() - 1), 0, 1))

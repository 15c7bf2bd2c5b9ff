"""Judge which of several models is best on the target, without a target label.

None of these scores is certain: compare them on data whose target labels you know before you trust
one. `SCORES` names those that judge one model, and `scorer` passes them to ``GridSearchCV``;
`ensemble_agreement` and `seed_agreement` judge several models together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from dann_transfer.ground.options import check_score
from dann_transfer.judging.arrays import features_of, one_each, probabilities_of, weights_of
from dann_transfer.judging.diagnostics import domain_classifier
from dann_transfer.texts.labels import class_positions
from dann_transfer.texts.reading import as_labelled

MIN_TEXTS = 5
"""Texts needed of each domain, for weights that are computed in five folds."""

BALANCED = 0.9
"""On the boards `information_maximization` chose well if the source's classes have at least this
share of the largest entropy, and did harm if they have less (`docs/results.md`)."""


def _pool(pool: Sequence[np.ndarray]) -> np.ndarray:
    arrays = [probabilities_of(p) for p in pool]
    if len(arrays) < 2 or len({p.shape for p in arrays}) > 1:
        raise ValueError(
            f"the pool has probabilities of shapes {[p.shape for p in arrays]}; pass those of at "
            "least two models, for the same texts and classes."
        )
    return np.stack(arrays)


def _predicted(p: np.ndarray, n: int) -> np.ndarray:
    """Return the class positions that are predicted for n target texts, shape (n,)."""
    return one_each("the prediction", probabilities_of(p).argmax(1), n, "target")


def _entropy(p: np.ndarray) -> np.ndarray:
    return -(p * np.log(np.clip(p, 1e-12, None))).sum(-1)


def balanced(shares: np.ndarray) -> bool:
    """Return whether classes are about equally common, as `information_maximization` assumes.

    They are if their entropy is at least `BALANCED` of its largest possible value. Two classes with
    the positive one at 68 % are balanced, three classes at 13, 28 and 59 % are not.

    Parameters
    ----------
    shares : ndarray, shape (classes,)
        Class shares in the source.

    Examples
    --------
    >>> balanced(np.array([0.32, 0.68])), balanced(np.array([0.13, 0.28, 0.59]))
    (True, False)

    """
    shares = np.asarray(shares, dtype=float)
    return bool(_entropy(shares) >= BALANCED * np.log(max(2, len(shares))))


def information_maximization(p: np.ndarray) -> float:
    """Return how certain predictions are and how many classes they use: higher is better.

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
    p = probabilities_of(p)
    return float(_entropy(p.mean(0)) - _entropy(p).mean())


def neighborhood_density(p: np.ndarray, temperature: float = 0.05, max_texts: int = 3000) -> float:
    """Return how densely texts with similar predictions lie together: higher is better.

    It is the mean entropy of the soft-max over each text's similarities to the others.

    Parameters
    ----------
    p : ndarray, shape (n, classes)
        Probabilities of target texts, at least two.
    temperature : float
    max_texts : int
        Only the first texts are used, up to this many: memory grows with the square.

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
    p = probabilities_of(p)[:max_texts]
    if len(p) < 2:
        raise ValueError("the density needs the predictions of at least two texts.")
    p = p / np.linalg.norm(p, axis=1, keepdims=True)
    n = len(p)
    near = (p @ p.T / temperature)[~np.eye(n, dtype=bool)].reshape(n, n - 1)
    near = np.exp(near - near.max(1, keepdims=True))
    return float(_entropy(near / near.sum(1, keepdims=True)).mean())


def batch_nuclear_norm(p: np.ndarray) -> float:
    """Return how certain and varied predictions are, by their nuclear norm: higher is better.

    It is the nuclear norm of the matrix of predictions, divided by the largest that n texts can
    have, ``sqrt(n * min(n, classes))``. It is above 0 and at most 1, which certain predictions with
    equal class shares reach.

    Parameters
    ----------
    p : ndarray, shape (n, classes)
        Probabilities of target texts.

    Raises
    ------
    ValueError
        If `p` does not hold probabilities.

    References
    ----------
    Cui et al., Towards Discriminability and Diversity: Batch Nuclear-norm Maximization under Label
    Insufficient Situations, CVPR 2020, as a loss; Musgrave et al., Three New Validators and a
    Large-Scale Benchmark Ranking for Unsupervised Domain Adaptation, 2022, as a score.

    Examples
    --------
    >>> round(batch_nuclear_norm(np.eye(2)[[0, 1, 0, 1]]), 3)
    1.0
    >>> round(batch_nuclear_norm(np.full((4, 2), 0.5)), 3)
    0.5

    """
    p = probabilities_of(p)
    return float(np.linalg.norm(p, "nuc") / np.sqrt(len(p) * min(p.shape)))


def cluster_agreement(features: np.ndarray, p: np.ndarray, random_state: int = 0) -> float:
    """Return how well predicted labels agree with clusters of the features: higher is better.

    It is the adjusted mutual information between predicted labels and k-means clusters, as many as
    there are classes, of features scaled to unit length. 1 is the same partition, 0 is chance.

    Parameters
    ----------
    features : ndarray, shape (n, width)
        Features of target texts, at least as many as classes.
    p : ndarray, shape (n, classes)
        Their probabilities.
    random_state : int
        Seeds the ten starts of k-means.

    Raises
    ------
    ValueError
        If the shapes do not fit, or there are fewer texts than classes.

    References
    ----------
    Musgrave et al., Three New Validators and a Large-Scale Benchmark Ranking for Unsupervised
    Domain Adaptation, 2022 (ClassAMI). Ericsson et al., Better Practices for Domain Adaptation,
    AutoML 2023, compare scores of this kind.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> codes = np.arange(100) % 2
    >>> features = np.eye(2)[codes] + 0.1 * rng.normal(size=(100, 2))
    >>> round(cluster_agreement(features, np.eye(2)[codes]), 3)
    1.0
    >>> abs(cluster_agreement(features, np.eye(2)[rng.permutation(codes)])) < 0.1
    True

    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_mutual_info_score
    from sklearn.preprocessing import normalize

    (features,) = features_of(features)
    predicted, classes = _predicted(p, len(features)), np.shape(p)[1]
    if len(features) < classes:
        raise ValueError(
            f"{len(features)} texts cannot form {classes} clusters; pass at least one per class."
        )
    means = KMeans(classes, n_init=10, random_state=random_state)
    clusters = means.fit_predict(normalize(features))
    return float(adjusted_mutual_info_score(predicted, clusters))


def density_ratios(
    source: np.ndarray, target: np.ndarray, random_state: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return how much likelier the target is to have each text's features, shapes (n,) and (m,).

    It is the ratio of the two densities, estimated by a logistic regression of the domains for
    texts that it was not fitted to (five folds).

    Parameters
    ----------
    source, target : ndarray, shapes (n, width) and (m, width)
        Features of at least five texts each: source texts that training has not seen.
    random_state : int
        Chooses the folds.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a domain has fewer than five texts.

    References
    ----------
    Bickel et al., Discriminative Learning for Differing Training and Test Distributions, ICML 2007.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, z = rng.normal(size=(2000, 1)), rng.normal(1, 1, size=(2000, 1))
    >>> of_source, of_target = density_ratios(x, z)
    >>> bool(of_source.mean() < 1.1 < 1.5 < of_target.mean())
    True

    """
    from sklearn.model_selection import cross_val_predict

    source, target = features_of(source, target)
    if min(len(source), len(target)) < MIN_TEXTS:
        raise ValueError(
            f"got features of {len(source)} source and {len(target)} target texts; "
            f"weights need at least {MIN_TEXTS} of each."
        )
    X, domains = np.concatenate([source, target]), np.repeat([0, 1], [len(source), len(target)])
    model, folds = domain_classifier(random_state)
    p = cross_val_predict(model, X, domains, cv=folds, method="predict_proba")
    ratios = np.asarray(p[:, 1] / np.clip(p[:, 0], 1e-6, None) * len(source) / len(target))
    return ratios[: len(source)], ratios[len(source) :]


def importance_weights(source: np.ndarray, target: np.ndarray, random_state: int = 0) -> np.ndarray:
    """Return the `density_ratios` of the source texts, shape (n,), to weight them like the target.

    Parameters
    ----------
    source, target, random_state
        As for `density_ratios`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, z = rng.normal(size=(2000, 1)), rng.normal(1, 1, size=(2000, 1))
    >>> weights = importance_weights(x, z)
    >>> float(weights.mean().round(1)), bool(weights[x.argmax()] > 9 > 0.1 > weights[x.argmin()])
    (1.0, True)

    """
    return density_ratios(source, target, random_state)[0]


def effective_size(weights: np.ndarray) -> float:
    """Return how many equally weighted texts carry as much information: ``(Σw)² / Σw²``.

    It lies between 1 and the number of texts. If it is small, `importance_weighted_validation` and
    `deep_embedded_validation` depend on a few texts and should not be trusted.

    Parameters
    ----------
    weights : ndarray, shape (n,)
        What `importance_weights` returns.

    Raises
    ------
    ValueError
        If a weight is negative or not finite, or none is above 0.

    References
    ----------
    Kish, Survey Sampling, 1965.

    Examples
    --------
    >>> effective_size(np.ones(50)), effective_size(np.array([9.0, 0.0, 0.0]))
    (50.0, 1.0)

    """
    remedy = " Pass what importance_weights returns."
    weights = weights_of("weights", weights, remedy)
    if not weights.any():
        raise ValueError(f"weights are all 0.{remedy}")
    # Scaled first, so that no square is too small or too large for a float.
    weights = weights / weights.max()
    return float(weights.sum() ** 2 / (weights**2).sum())


def _weighted_accuracy(weights: np.ndarray, correct: np.ndarray) -> float:
    return float(np.average(correct, weights=weights))


def _controlled_accuracy(weights: np.ndarray, correct: np.ndarray) -> float:
    weighted = weights * correct
    spread = weights.var()
    slope = np.cov(weighted, weights, ddof=0)[0, 1] / spread if spread else 0.0
    # The control variate may take the estimate outside the range of an accuracy.
    return float(np.clip(weighted.mean() - slope * (weights.mean() - 1), 0, 1))


def importance_weighted_validation(
    source: np.ndarray, correct: np.ndarray, target: np.ndarray, random_state: int = 0
) -> float:
    """Estimate the accuracy on the target as the source's, weighted by `importance_weights`.

    It is divided by the sum of the weights, not by their number as in the paper, so that it is an
    accuracy, between 0 and 1. `effective_size` of the weights shows how many texts it depends on.

    Parameters
    ----------
    source, target : ndarray, shapes (n, width) and (m, width)
        Features of source texts that training has not seen, and of target texts.
    correct : ndarray of bool, shape (n,)
        Whether each source text is predicted correctly.
    random_state : int
        Chooses the folds, in which weights are computed for texts not fitted to.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a domain has fewer than five texts.

    References
    ----------
    Sugiyama et al., Covariate Shift Adaptation by Importance Weighted Cross Validation, JMLR 2007.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, z = rng.normal(size=(2000, 1)), rng.normal(1, 1, size=(2000, 1))
    >>> right = x[:, 0] > 0  # right where the target mostly lies
    >>> float(right.mean().round(1)), round(importance_weighted_validation(x, right, z), 1)
    (0.5, 0.8)

    """
    correct = one_each("correct", correct, len(source), "source")
    return _weighted_accuracy(importance_weights(source, target, random_state), correct)


def deep_embedded_validation(
    source: np.ndarray, correct: np.ndarray, target: np.ndarray, random_state: int = 0
) -> float:
    """Estimate the accuracy on the target from labelled source texts that look like its texts.

    It is `importance_weighted_validation` with a control variate, which keeps a few texts from
    dominating the estimate.

    Parameters
    ----------
    source, correct, target, random_state
        As for `importance_weighted_validation`, with the same errors.

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
    correct = one_each("correct", correct, len(source), "source")
    return _controlled_accuracy(importance_weights(source, target, random_state), correct)


def reverse_validation(
    source_features: np.ndarray,
    source_codes: np.ndarray,
    target_features: np.ndarray,
    p: np.ndarray,
) -> float:
    """Return the accuracy on the source of a classifier trained on the target's predictions.

    A logistic regression learns the predicted labels from the target's features, and then labels
    the source. In the paper a whole network is trained back from the target to the source; this one
    is linear and the features stay as they are, which takes a second. If only one class is
    predicted, the score is that class's share of the source.

    Parameters
    ----------
    source_features, target_features : ndarray, shapes (n, width) and (m, width)
        Features of labelled source texts that training has not seen, and of target texts.
    source_codes : ndarray of int, shape (n,)
        Class positions of the source texts, as columns of `p`.
    p : ndarray, shape (m, classes)
        Probabilities of the target texts.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    References
    ----------
    Zhong et al., Cross Validation Framework to Choose amongst Models and Datasets for Transfer
    Learning, ECML PKDD 2010; Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR
    2016, section 5.1.2.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> codes = np.arange(100) % 2
    >>> x, z = (rng.normal(size=(100, 2)) + 4 * np.eye(2)[codes] for _ in range(2))
    >>> reverse_validation(x, codes, z, np.eye(2)[codes]) > 0.95
    True
    >>> reverse_validation(x, codes, z, np.eye(2)[1 - codes]) < 0.05
    True

    """
    source_features, target_features = features_of(source_features, target_features)
    codes = one_each("source_codes", source_codes, len(source_features), "source")
    predicted = _predicted(p, len(target_features))
    if (predicted == predicted[0]).all():
        return float((codes == predicted[0]).mean())
    model, _ = domain_classifier()
    return float(model.fit(target_features, predicted).score(source_features, codes))


def ensemble_agreement(pool: Sequence[np.ndarray]) -> np.ndarray:
    """Return the share of texts on which each candidate agrees with the mean of all of them.

    The likeliest class of the mean prediction stands in for the label (EnsV). A candidate that
    differs from all others scores low, whether it is better or worse than they are.

    Parameters
    ----------
    pool : sequence of ndarray, each of shape (n, classes)
        Probabilities of the same target texts, of at least two candidates.

    Returns
    -------
    ndarray, shape (candidates,)

    Raises
    ------
    ValueError
        If there are fewer than two, or their shapes differ.

    References
    ----------
    Hu et al., Towards Reliable Model Selection for Unsupervised Domain Adaptation: An Empirical
    Study and A Certified Baseline, NeurIPS 2024 (Datasets and Benchmarks).

    Examples
    --------
    >>> a, b, c = np.eye(2)[[[0, 1, 0, 1], [0, 1, 0, 0], [1, 0, 0, 1]]]
    >>> ensemble_agreement([a, b, c])
    array([1.  , 0.75, 0.5 ])

    """
    p = _pool(pool)
    return np.asarray((p.argmax(2) == p.mean(0).argmax(1)).mean(1))


def seed_agreement(pool: Sequence[np.ndarray]) -> float:
    """Return the share of texts that models of different seeds label alike: higher is better.

    It is the mean over all pairs of models.

    Parameters
    ----------
    pool : sequence of ndarray, each of shape (n, classes)
        Probabilities of the same target texts, of one method with at least two seeds.

    Raises
    ------
    ValueError
        If there are fewer than two, or their shapes differ.

    References
    ----------
    Jiang et al., Assessing Generalization of SGD via Disagreement, ICLR 2022: where the mean over
    seeds is calibrated, two runs differ on as many texts as they get wrong.

    Examples
    --------
    >>> a, b, c = np.eye(2)[[[0, 1, 0, 1], [0, 1, 0, 0], [0, 1, 0, 1]]]
    >>> seed_agreement([a, b]), round(seed_agreement([a, b, c]), 3)
    (0.75, 0.833)

    """
    labels = _pool(pool).argmax(2)
    return float(np.mean([(a == b).mean() for a, b in combinations(labels, 2)]))


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a model is judged by: its outputs on labelled source texts and on target texts.

    Parameters
    ----------
    source, target : tuple of ndarray, shapes (n, width) and (n, classes)
        Features and probabilities, as `outputs` returns them: of source texts that training has
        not seen, and of target texts.
    codes : ndarray of int, shape (n,)
        Class positions of the source texts; -1 stands for a class that the model does not have.

    Raises
    ------
    ValueError
        If there is not one code for each source text.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> codes = np.arange(20) % 2
    >>> outputs = rng.normal(size=(20, 3)), np.eye(2)[codes]
    >>> evidence = Evidence(outputs, codes, outputs)
    >>> SCORES["source_validation"](evidence), 1 <= effective_size(evidence.weights) <= 20
    (1.0, True)

    """

    source: tuple[np.ndarray, np.ndarray]
    codes: np.ndarray
    target: tuple[np.ndarray, np.ndarray]

    def __post_init__(self) -> None:
        one_each("codes", self.codes, len(self.source[1]), "source")

    @classmethod
    def of(cls, estimator: Any, X: Any, y: Any, X_target: Any) -> Evidence:
        """Return the outputs of a fitted `DomainAdapter` on held-out source and on target texts.

        Parameters
        ----------
        estimator : DomainAdapter
        X, y : sequence, or table that has both
            Source texts that it was not trained on, and their labels.
        X_target : sequence
            Target texts; any labels that come with them are not read.

        """
        columns = estimator.text_column, estimator.label_column
        texts, labels = as_labelled(X, y, "X", "y", *columns)
        # A fold of few texts may have a class that the model never saw.
        codes = class_positions(labels, estimator.classes_)
        return cls(estimator.outputs(texts, domain="source"), codes, estimator.outputs(X_target))

    @property
    def correct(self) -> np.ndarray:
        """Whether each source text is predicted correctly, shape (n,)."""
        return np.asarray(self.source[1].argmax(1) == self.codes)

    @cached_property
    def weights(self) -> np.ndarray:
        """The `importance_weights` of the source texts, shape (n,)."""
        return importance_weights(self.source[0], self.target[0])


SCORES: dict[str, Callable[[Evidence], float]] = {
    "source_validation": lambda e: float(e.correct.mean()),
    "information_maximization": lambda e: information_maximization(e.target[1]),
    "neighborhood_density": lambda e: neighborhood_density(e.target[1]),
    "batch_nuclear_norm": lambda e: batch_nuclear_norm(e.target[1]),
    "cluster_agreement": lambda e: cluster_agreement(*e.target),
    # Through their parts, since both need the same weights.
    "importance_weighted_validation": lambda e: _weighted_accuracy(e.weights, e.correct),
    "deep_embedded_validation": lambda e: _controlled_accuracy(e.weights, e.correct),
    "reverse_validation": lambda e: reverse_validation(e.source[0], e.codes, *e.target),
}
"""Scores that judge one model, by name; higher is better for each. "source_validation" is the
accuracy on the source."""


def scorer(name: str, X_target: Any) -> Callable[[Any, Any, Any], float]:
    """Return a score to pass as scikit-learn's ``scoring=``, which needs no target label.

    The fold that ``GridSearchCV`` holds out provides the source texts that training has not seen.

    Parameters
    ----------
    name : str
        One of `SCORES`.
    X_target : sequence
        Target texts, which may be those that the model adapts to.

    Returns
    -------
    callable
        ``score(estimator, X, y)`` for a fitted `DomainAdapter`.

    Raises
    ------
    ValueError
        If there is no such score.

    Examples
    --------
    >>> score = scorer("cluster_agreement", ["loved it!!", "ugh, worst day ever"])

    ```python
    search = GridSearchCV(adapter, {"max_strength": [0.1, 1.0]}, scoring=score)
    search.fit(texts, labels, X_target=Domain(tweets))
    ```

    """
    check_score(name)

    def score(estimator: Any, X: Any, y: Any = None) -> float:
        return SCORES[name](Evidence.of(estimator, X, y, X_target))

    return score

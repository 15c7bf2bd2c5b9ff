"""Measure alignment and health of a model in feature space, without target labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from dann_transfer.ground.checks import check_number
from dann_transfer.ground.notices import warn
from dann_transfer.judging.arrays import features_of, one_each

EXPECTED = 10
"""A class with this many expected texts is hardly missing by chance (e to the -10)."""
COLLAPSED, FAVOURED, MIN_PREDICTED = 0.95, 0.9, 20
"""Share of one predicted class that is a collapse, its share in the source from which it is not,
and the fewest target texts that can show it."""
FEWEST = 10
"""Texts of each domain that the proxy A-distance and the mixing need."""
NEAREST = 15
"""Neighbours by which mixing is measured."""
MOST_TEXTS, MOST_CURVED = 2000, 500
"""Texts of a domain that a linear classifier of domains uses, and one with curved boundaries, whose
time grows with their square."""
MOSTLY_UNKNOWN = 0.5
"""Above this share of unknown tokens a model reads hardly anything."""


class CollapseWarning(UserWarning):
    """Nearly all target texts are predicted to be of one class."""


def domain_classifier(random_state: int = 0, kernel: str = "linear") -> tuple[Any, Any]:
    """Return a classifier of two domains, and the five folds that it is judged in.

    The linear one is a logistic regression on features scaled to unit variance, with strong
    regularisation, because features may have many more dimensions than there are texts; "rbf" is a
    support vector machine on them, whose boundary may be curved.
    """
    # Imported here, so that `import dann_transfer` stays light.
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    if kernel not in ("linear", "rbf"):
        raise ValueError(f"kernel={kernel!r} must be 'linear' or 'rbf'.")
    linear = kernel == "linear"
    classifier = LogisticRegression(C=0.1, max_iter=1000) if linear else SVC(kernel="rbf")
    folds = StratifiedKFold(5, shuffle=True, random_state=random_state)
    return make_pipeline(StandardScaler(), classifier), folds


def proxy_a_distance(
    source: np.ndarray,
    target: np.ndarray,
    random_state: int = 0,
    max_texts: int | None = None,
    kernel: str = "linear",
) -> float:
    """Return how well a classifier tells the domains apart: 0 not at all, 2 always.

    It is ``2 * (1 - 2 * error)``, with the error on features that the classifier was not fitted to
    (five folds). Both domains are cut to the same number of texts, so that chance is an error of
    one half. A result below 0 by chance counts as 0.

    Parameters
    ----------
    source, target : ndarray, shapes (n, width) and (m, width)
        Features of at least 10 texts each, preferably texts that training has not seen.
    random_state : int
        Chooses the texts and the folds.
    max_texts : int, optional
        At most this many texts of each domain are used: by default 2,000, and 500 with "rbf".
    kernel : {"linear", "rbf"}
        "linear" asks whether a plane separates the domains, which is the usual distance; a map or
        a discriminator that aligns means and covariances leaves no such plane. "rbf" asks whether a
        curved surface does: a support vector machine with a Gaussian kernel.

    Raises
    ------
    ValueError
        If the shapes do not match, a domain has fewer than 10 texts, features are not finite or
        there is no such kernel.

    References
    ----------
    Ben-David et al., Analysis of Representations for Domain Adaptation, NIPS 2006.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.normal(size=(200, 5)), rng.normal(size=(300, 5))
    >>> proxy_a_distance(a, b) < 0.4, proxy_a_distance(a, b + 9) > 1.9
    (True, True)

    A shell around a ball has its mean, and no plane lies between them:

    >>> shell = 5 * b / np.linalg.norm(b, axis=1, keepdims=True)
    >>> proxy_a_distance(a, shell) < 0.4, proxy_a_distance(a, shell, kernel="rbf") > 1.8
    (True, True)

    """
    from sklearn.model_selection import cross_val_score

    model, folds = domain_classifier(random_state, kernel)
    most = MOST_CURVED if kernel == "rbf" else MOST_TEXTS
    most = most if max_texts is None else max_texts
    X, domains = _equally_many(source, target, random_state, most, "the distance")
    accuracy = cross_val_score(model, X, domains, cv=folds).mean()
    return float(max(0.0, 2 * (2 * accuracy - 1)))


def _equally_many(
    source: np.ndarray, target: np.ndarray, random_state: int, max_texts: int, measure: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return features of equally many texts of two domains, and 0 for source and 1 for target."""
    source, target = features_of(source, target)
    n = min(len(source), len(target), max_texts)
    if n < FEWEST:
        raise ValueError(
            f"got features of {len(source)} source and {len(target)} target texts; "
            f"{measure} needs at least {FEWEST} of each."
        )
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        raise ValueError("features hold NaN or infinite values; the model has diverged.")
    rng = np.random.default_rng(random_state)
    both = [domain[rng.choice(len(domain), n, replace=False)] for domain in (source, target)]
    return np.concatenate(both), np.repeat([0, 1], n)


def mixing(
    source: np.ndarray,
    target: np.ndarray,
    nearest: int = NEAREST,
    random_state: int = 0,
    max_texts: int = 2000,
) -> float:
    """Return how far the domains are mixed among nearest texts: 0 not at all, 1 fully.

    It is twice the share of texts of the other domain among a text's nearest by cosine, in the mean
    over equally many texts of both domains, and at most 1. The A-distance asks whether one plane
    separates the domains; features without such a plane may still lie apart, which this shows.

    Parameters
    ----------
    source, target : ndarray, shapes (n, width) and (m, width)
        Features of at least 10 texts each, preferably texts that training has not seen.
    nearest : int
        How many neighbours a text has; half as many as a domain's texts if these are fewer.
    random_state : int
        Chooses the texts.
    max_texts : int
        At most this many texts of each domain are used.

    Raises
    ------
    ValueError
        If the shapes do not match, a domain has fewer than 10 texts, features are not finite or
        `nearest` is below 1.

    References
    ----------
    Korsunsky et al., Fast, Sensitive and Accurate Integration of Single-cell Data with Harmony,
    Nature Methods 2019, whose local inverse Simpson index measures the same.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.normal(size=(200, 5)), rng.normal(size=(300, 5))
    >>> mixing(a, b) > 0.9, mixing(a, b + 9) < 0.1
    (True, True)

    """
    from sklearn.neighbors import NearestNeighbors

    check_number(f"nearest={nearest!r}", nearest, 1, whole=True)
    X, domains = _equally_many(source, target, random_state, max_texts, "the mixing")
    k = min(nearest, len(X) // 4)
    index = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(X)
    # Without queries, a text is no neighbour of itself.
    places = index.kneighbors(return_distance=False)
    return float(min(1.0, 2 * (domains[places] != domains[:, None]).mean()))


def mixing_by_class(
    source: np.ndarray,
    source_labels: np.ndarray,
    target: np.ndarray,
    target_labels: np.ndarray,
    **settings: Any,
) -> dict[Any, float]:
    """Return the mixing among the texts of each class, for classes that are in both domains.

    A map can mix the domains and still lay one class on another: then the texts of each class are
    mixed less than all texts are.

    Parameters
    ----------
    source, target : ndarray, shapes (n, width) and (m, width)
        Features.
    source_labels, target_labels : ndarray, shapes (n,) and (m,)
    **settings
        As for `mixing`.

    Returns
    -------
    dict of label to float
        Classes with fewer than 10 texts in one of the domains are left out.

    Raises
    ------
    ValueError
        As `mixing`, or if there is not one label for each text.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, z, labels = rng.normal(size=(200, 5)), rng.normal(size=(200, 5)), np.arange(200) % 2
    >>> values = mixing_by_class(x, labels, z, labels)
    >>> list(values), min(values.values()) > 0.9
    ([0, 1], True)

    """
    source, target = features_of(source, target)
    one = one_each("source_labels", source_labels, len(source), "source")
    two = one_each("target_labels", target_labels, len(target), "target")
    values = {}
    for label in np.intersect1d(one, two).tolist():
        parts = source[one == label], target[two == label]
        if min(map(len, parts)) >= FEWEST:
            values[label] = mixing(*parts, **settings)
    return values


def alignment_measures(
    source: np.ndarray,
    target: np.ndarray,
    source_labels: np.ndarray | None = None,
    target_labels: np.ndarray | None = None,
) -> dict[str, float | None]:
    """Return the proxy A-distances, the mixing, and the mean of the mixing within each class.

    Parameters
    ----------
    source, target : ndarray, shapes (n, width) and (m, width)
        Features.
    source_labels, target_labels : ndarray, shapes (n,) and (m,), optional
        Without both, the mixing within classes is None.

    Returns
    -------
    dict of str to float or None
        "a_distance", "rbf_a_distance" (of a classifier with a curved boundary), "mixing" and
        "class_mixing"; all are None if a domain has fewer than 10 texts.

    Raises
    ------
    ValueError
        As `mixing` and `mixing_by_class`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, z = rng.normal(size=(200, 5)) - 10, rng.normal(size=(200, 5)) + 10
    >>> alignment_measures(x, z)
    {'a_distance': 2.0, 'rbf_a_distance': 2.0, 'mixing': 0.0, 'class_mixing': None}

    """
    names = ("a_distance", "rbf_a_distance", "mixing", "class_mixing")
    measures: dict[str, float | None] = dict.fromkeys(names)
    if min(len(source), len(target)) < FEWEST:
        return measures
    measures["a_distance"] = proxy_a_distance(source, target)
    measures["rbf_a_distance"] = proxy_a_distance(source, target, kernel="rbf")
    measures["mixing"] = mixing(source, target)
    if source_labels is not None and target_labels is not None:
        by_class = mixing_by_class(source, source_labels, target, target_labels)
        measures["class_mixing"] = float(np.mean([*by_class.values()])) if by_class else None
    return measures


def class_shares(codes: np.ndarray, classes: np.ndarray) -> dict[Any, float]:
    """Return the share of each class among class positions.

    Examples
    --------
    >>> class_shares(np.array([0, 1, 1, 1]), np.array(["a", "b"]))
    {'a': 0.25, 'b': 0.75}

    """
    counts = np.bincount(codes, minlength=len(classes)) / len(codes)
    return dict(zip(classes.tolist(), counts.tolist(), strict=True))


def collapse_on(predicted: np.ndarray, source: np.ndarray, n: int) -> int | None:
    """Return the position of the class on which a model has collapsed, or None if it has not.

    Nearly all of n target texts are then predicted to be of a class that the source does not
    favour as much, or all of them although ten or more of other classes are to be expected.

    Parameters
    ----------
    predicted, source : ndarray, shape (classes,)
        Shares of the classes among predictions on the target, and in the source.
    n : int
        Number of target texts.

    Examples
    --------
    >>> collapse_on(np.array([0.01, 0.99]), np.array([0.5, 0.5]), n=100)
    1
    >>> collapse_on(np.array([0.01, 0.99]), np.array([0.5, 0.5]), n=10) is None
    True

    """
    top = int(np.argmax(predicted))
    # Where the source favours the class too, not one text of all others is no accident either.
    others = (1 - source[top]) * n
    alone = source[top] < FAVOURED or (predicted[top] == 1 and others >= EXPECTED)
    return top if n >= MIN_PREDICTED and predicted[top] > COLLAPSED and alone else None


def warn_of_collapse(
    predicted: dict[Any, float], source: dict[Any, float], n: int, method: str, unknown: float
) -> None:
    """Warn if nearly all of n target texts get one class that the source does not favour.

    Parameters
    ----------
    predicted, source : dict
        Shares of the classes among predictions on the target, and in the source.
    n : int
        Number of target texts.
    method : str
    unknown : float
        The share of the target's tokens that the encoder does not know.

    """
    labels = list(predicted)
    rows = [np.array([shares[label] for label in labels]) for shares in (predicted, source)]
    position = collapse_on(rows[0], rows[1], n)
    if position is None:
        return
    top = labels[position]
    if unknown > MOSTLY_UNKNOWN:
        why = (
            f"{unknown:.0%} of their tokens are unknown to the encoder and look alike to it: "
            "use an encoder that was trained on their language."
        )
    elif method == "source_only":
        why = (
            "the model has not learnt the task, or does not recognise it in these texts. Look at "
            "validation_; train for more epochs, or with another learning_rate."
        )
    else:
        why = (
            f"training with {method!r} has probably collapsed. Lower max_strength, freeze more "
            "layers, or compare with method='source_only'."
        )
    warn(
        f"{predicted[top]:.0%} of the target texts are predicted to be {top!r}, a class that "
        f"{source[top]:.0%} of the source texts have: {why}",
        CollapseWarning,
    )

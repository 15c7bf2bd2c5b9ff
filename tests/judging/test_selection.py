from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy, hypergeom
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.preprocessing import StandardScaler

from dann_transfer import Domain
from dann_transfer.ground import options
from dann_transfer.judging.selection import (
    SCORES,
    Evidence,
    batch_nuclear_norm,
    cluster_agreement,
    deep_embedded_validation,
    density_ratios,
    effective_size,
    ensemble_agreement,
    importance_weighted_validation,
    importance_weights,
    information_maximization,
    neighborhood_density,
    reverse_validation,
    scorer,
    seed_agreement,
)
from dann_transfer.texts.labels import encode_labels


@pytest.fixture
def p() -> np.ndarray:
    return softmax(np.random.default_rng(0).normal(size=(40, 3)) * 2, axis=1)


@pytest.fixture
def pool() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [softmax(rng.normal(size=(30, 3)) * 2, axis=1) for _ in range(4)]


def shifted(n: int, by: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2)), rng.normal([by, 0], 1, size=(n, 2))


def test_the_names_of_scores_are_known_without_torch():
    assert tuple(SCORES) == options.SCORES


def test_information_maximization_is_the_mutual_information(p):
    assert information_maximization(p) == pytest.approx(
        entropy(p.mean(0)) - entropy(p, axis=1).mean()
    )
    # Predicting one class for all says nothing about the texts, however sure it is.
    assert information_maximization(np.eye(3)[[0] * 10]) == pytest.approx(0)


def test_neighborhood_density_is_the_papers(p):
    found = []
    for i in range(len(p)):
        cosines = [
            p[i] @ p[j] / np.linalg.norm(p[i]) / np.linalg.norm(p[j])
            for j in range(len(p))
            if j != i
        ]
        found.append(entropy(softmax(np.array(cosines) / 0.05)))
    assert neighborhood_density(p) == pytest.approx(np.mean(found))


def test_batch_nuclear_norm_is_the_sum_of_singular_values(p):
    # Singular values as roots of the eigenvalues of p'p.
    values = np.sqrt(np.linalg.eigvalsh(p.T @ p))
    assert batch_nuclear_norm(p) == pytest.approx(values.sum() / np.sqrt(40 * 3))
    # Fewer texts than classes have fewer singular values.
    values = np.sqrt(np.linalg.eigvalsh(p[:2] @ p[:2].T))
    assert batch_nuclear_norm(p[:2]) == pytest.approx(values.sum() / 2)


def test_batch_nuclear_norm_reaches_1_and_no_more(p):
    assert batch_nuclear_norm(np.eye(3)[[0, 1, 2] * 5]) == pytest.approx(1)
    assert batch_nuclear_norm(np.eye(3)[:2]) == pytest.approx(1)
    # All alike, sure or unsure: one singular value.
    assert batch_nuclear_norm(np.eye(3)[[0] * 15]) == pytest.approx(1 / np.sqrt(3))
    assert batch_nuclear_norm(np.full((15, 3), 1 / 3)) == pytest.approx(1 / 3)
    for sharpness in (0.0, 1.0, 5.0):
        assert 0 < batch_nuclear_norm(p**sharpness / (p**sharpness).sum(1, keepdims=True)) <= 1


def adjusted_mutual_information(a: np.ndarray, b: np.ndarray) -> float:
    """Adjust for chance: subtract the mean over all ways to shuffle the labels."""
    n, sizes = len(a), [np.bincount(codes) for codes in (a, b)]
    chance = 0.0
    for x in sizes[0]:
        for y in sizes[1]:
            both = np.arange(1, min(x, y) + 1)
            information = both / n * np.log(n * both / (x * y))
            chance += hypergeom.pmf(both, n, x, y) @ information
    entropies = [entropy(size) for size in sizes]
    return (mutual_info_score(a, b) - chance) / (np.mean(entropies) - chance)


def test_cluster_agreement_is_that_of_directions():
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 3, 90)
    # Classes differ by direction; lengths say nothing about them.
    features = (np.eye(3)[codes] + 0.05 * rng.normal(size=(90, 3))) * rng.uniform(1, 30, (90, 1))
    p = np.eye(3)[codes]
    assert cluster_agreement(features, p) == pytest.approx(1)
    plain = KMeans(3, n_init=10, random_state=0).fit_predict(features)
    assert adjusted_mutual_information(plain, codes) < 0.8, "lengths must mislead k-means here"
    # Twenty texts are labelled wrongly, but the clusters are still the classes.
    predicted = codes.copy()
    predicted[:20] = (predicted[:20] + 1) % 3
    agreement = cluster_agreement(features, np.eye(3)[predicted])
    assert agreement == pytest.approx(adjusted_mutual_information(predicted, codes))
    # The names of the classes do not matter, and one class for all texts agrees with nothing.
    assert cluster_agreement(features, p[:, ::-1]) == pytest.approx(1)
    assert cluster_agreement(features, np.eye(3)[[1] * 90]) == pytest.approx(0)


def test_importance_weights_are_ratios_of_densities():
    source, target = shifted(4000, 0.8)
    weights = importance_weights(source, target[:2000])
    # For two normal distributions at 0 and 0.8, the ratio is exp(0.8 x - 0.32).
    truth = np.exp(0.8 * source[:, 0] - 0.32)
    assert np.corrcoef(np.log(weights), np.log(truth))[0, 1] > 0.99
    assert weights.mean() == pytest.approx(1, abs=0.05), "twice as many source texts cancel out"
    assert np.array_equal(weights, importance_weights(source, target[:2000], random_state=0))
    assert not np.array_equal(weights, importance_weights(source, target[:2000], random_state=1))


def test_effective_size():
    weights = np.array([1.0, 2.0, 3.0])
    assert effective_size(weights) == pytest.approx(36 / 14)
    assert effective_size(weights * 1e-200) == pytest.approx(36 / 14)
    assert effective_size(np.array([0.0, 5.0, 5.0])) == pytest.approx(2)
    sizes = [effective_size(importance_weights(*shifted(400, by))) for by in (0.0, 1.0, 2.0)]
    assert 400 >= sizes[0] > sizes[1] > sizes[2] >= 1
    assert sizes[0] > 350


def right(x: np.ndarray) -> np.ndarray:
    return np.random.default_rng(3).random(len(x)) < 1 / (1 + np.exp(-2 * x[:, 0]))


@pytest.mark.parametrize("validation", [deep_embedded_validation, importance_weighted_validation])
def test_a_weighted_validation_finds_the_targets_accuracy(validation):
    source, target = shifted(4000, 0.8)
    truth = right(target).mean()
    assert truth > right(source).mean() + 0.15
    assert validation(source, right(source), target) == pytest.approx(truth, abs=0.05)
    # If the domains are alike, it is the source's own accuracy.
    correct = right(source)
    same = validation(source, correct, shifted(4000, 0, seed=4)[1])
    assert same == pytest.approx(correct.mean(), abs=0.02)


def test_weighted_validations_are_the_papers():
    source, target = shifted(60, 0.5)
    correct = right(source)
    weights = importance_weights(source, target, random_state=5)
    share = sum(w for w, c in zip(weights, correct, strict=True) if c) / sum(weights)
    assert importance_weighted_validation(source, correct, target, 5) == pytest.approx(share)
    weighted = weights * correct
    covariance = np.mean((weighted - weighted.mean()) * (weights - weights.mean()))
    slope = -covariance / np.mean((weights - weights.mean()) ** 2)
    controlled = weighted.mean() + slope * weights.mean() - slope
    assert 0 < controlled < 1
    assert deep_embedded_validation(source, correct, target, 5) == pytest.approx(controlled)


def test_reverse_validation_is_a_classifier_back_to_the_source():
    rng = np.random.default_rng(6)
    source, target = (rng.normal(size=(80, 3)) * [1, 5, 30] for _ in range(2))
    codes = (source[:, 0] > 0).astype(int)
    p = np.eye(2)[(target[:, 0] + 0.3 * target[:, 1] > 0).astype(int)]
    scaler = StandardScaler().fit(target)
    model = LogisticRegression(C=0.1, max_iter=1000).fit(scaler.transform(target), p[:, 1])
    accuracy = np.mean(model.predict(scaler.transform(source)) == codes)
    assert 0.5 < accuracy < 1
    assert reverse_validation(source, codes, target, p) == pytest.approx(accuracy)
    # If the labels are swapped, they come back swapped.
    flipped = reverse_validation(source, codes, target, p[:, ::-1])
    assert flipped == pytest.approx(1 - accuracy)
    for code in (0, 1):
        alone = reverse_validation(source, codes, target, np.eye(2)[[code] * 80])
        assert alone == pytest.approx((codes == code).mean())


def test_ensemble_agreement_is_counted(pool):
    agreements = []
    for candidate in pool:
        alike = 0
        for i in range(30):
            mean = [sum(q[i, k] for q in pool) for k in range(3)]
            alike += int(np.argmax(candidate[i]) == np.argmax(mean))
        agreements.append(alike / 30)
    assert ensemble_agreement(pool) == pytest.approx(agreements)
    # Probabilities are averaged instead of counting votes: one sure candidate outweighs two unsure.
    sure, unsure = np.array([[0.9, 0.1]]), np.array([[0.4, 0.6]])
    assert ensemble_agreement([sure, unsure, unsure]).tolist() == [1, 0, 0]


def test_seed_agreement_is_counted(pool):
    alike = []
    for a in range(4):
        for b in range(a):
            pairs = zip(pool[a], pool[b], strict=True)
            alike.append(sum(x.argmax() == y.argmax() for x, y in pairs) / 30)
    assert len(alike) == 6
    assert seed_agreement(pool) == pytest.approx(sum(alike) / 6)
    assert seed_agreement([pool[0], pool[0]]) == 1


def test_bad_input_is_named(p, pool):
    with pytest.raises(ValueError, match=r"shape \(40, 3\).*pass what predict_proba returns"):
        information_maximization(p * 2)
    with pytest.raises(ValueError, match=r"shape \(40, 3\).*pass what predict_proba returns"):
        batch_nuclear_norm(p * 2)
    with pytest.raises(ValueError, match="at least two texts"):
        neighborhood_density(p[:1])
    for validation in (deep_embedded_validation, importance_weighted_validation):
        with pytest.raises(ValueError, match=r"correct has shape \(3,\).* 40 source texts"):
            validation(p, np.ones(3), p)
    with pytest.raises(ValueError, match=r"shapes \(40, 3\) and \(40, 2\); .*with the same width"):
        importance_weights(p, p[:, :2])
    with pytest.raises(ValueError, match="4 source and 40 target texts; weights need at least 5"):
        importance_weights(p[:4], p)
    for weights in ([1.0, -1.0], [0.0, 0.0], [1.0, np.inf], []):
        with pytest.raises(ValueError, match="Pass what importance_weights returns"):
            effective_size(np.array(weights))
    with pytest.raises(ValueError, match=r"shape \(40,\).* 7 target texts"):
        cluster_agreement(p[:7], p)
    with pytest.raises(ValueError, match="2 texts cannot form 3 clusters"):
        cluster_agreement(p[:2], p[:2])
    with pytest.raises(ValueError, match=r"source_codes has shape \(7,\).* 40 source texts"):
        reverse_validation(p, np.zeros(7), p, p)
    with pytest.raises(ValueError, match=r"shape \(7,\).* 40 target texts"):
        reverse_validation(p, np.zeros(40), p, p[:7])
    for agreement in (ensemble_agreement, seed_agreement):
        with pytest.raises(ValueError, match=r"\[\(30, 3\)\].* at least two models"):
            agreement(pool[:1])
        with pytest.raises(ValueError, match=r"\[\(30, 3\), \(9, 3\)\].* for the same texts"):
            agreement([pool[0], pool[1][:9]])
    with pytest.raises(ValueError, match=r"codes has shape \(7,\).* 40 source texts"):
        Evidence((p, p), np.zeros(7), (p, p))
    with pytest.raises(ValueError, match=r"score='snd' is not known; choose one of .*source"):
        scorer("snd", [])


@pytest.mark.parametrize("validation", [deep_embedded_validation, importance_weighted_validation])
def test_an_estimate_of_accuracy_is_one(validation):
    """With very different weights, the control variate could push it below 0 or above 1."""
    rng = np.random.default_rng(0)
    for shift in (1.0, 3.0, 6.0):
        source, target = rng.normal(size=(40, 2)), rng.normal(shift, 1, size=(40, 2))
        for right in (source[:, 0] > 0, source[:, 0] < 0, source[:, 0] < 9):
            assert 0 <= validation(source, right, target) <= 1


def test_the_table_of_scores_is_what_the_functions_give():
    rng = np.random.default_rng(7)
    source, target = rng.normal(size=(50, 4)), rng.normal(0.5, 1, size=(60, 4))
    p_source, p_target = (softmax(x[:, :3] * 2, axis=1) for x in (source, target))
    codes = rng.integers(0, 3, 50)
    correct = p_source.argmax(1) == codes
    evidence = Evidence((source, p_source), codes, (target, p_target))
    scores = {name: score(evidence) for name, score in SCORES.items()}
    assert scores == {
        "source_validation": correct.sum() / 50,
        "information_maximization": information_maximization(p_target),
        "neighborhood_density": neighborhood_density(p_target),
        "batch_nuclear_norm": batch_nuclear_norm(p_target),
        "cluster_agreement": cluster_agreement(target, p_target),
        "importance_weighted_validation": importance_weighted_validation(source, correct, target),
        "deep_embedded_validation": deep_embedded_validation(source, correct, target),
        "reverse_validation": reverse_validation(source, codes, target, p_target),
    }
    assert len(set(scores.values())) == len(scores), "no two are the same"


class Counting:
    """Stands in for a fitted adapter: a text is its class, given with certainty."""

    classes_ = np.array(["a", "b"])
    text_column, label_column = "text", "label"

    def outputs(self, texts, domain="target"):
        p = np.eye(2)[[int(text == "b") for text in texts]]
        return p, p


def test_labels_become_class_positions():
    evidence = Evidence.of(Counting(), ["a", "b", "a", "b"], ["a", "b", "b", "c"], ["b"])
    # A class that training never saw is never predicted correctly.
    assert evidence.codes.tolist() == [0, 1, 1, -1]
    assert evidence.correct.tolist() == [True, True, False, False]
    assert SCORES["source_validation"](evidence) == 0.5


@pytest.mark.parametrize(
    ("classes", "labels"), [([0, 1], ["0", "1", "1"]), (["0", "1"], [0, 1, 1])], ids=str
)
def test_a_scorer_reads_labels_as_evaluate_does(classes, labels, tmp_path):
    """A class 1 may be written "1", as in a file."""
    model = Counting()
    model.classes_ = np.array(classes)
    file = tmp_path / "texts.csv"
    file.write_text("text,label\na,0\nb,1\nc,1\n")
    score = scorer("source_validation", ["b"])
    assert score(model, ["a", "b", "c"], labels) == pytest.approx(2 / 3)
    assert score(model, file) == pytest.approx(2 / 3)
    codes = encode_labels(np.array(labels), model.classes_, "y")
    assert Evidence.of(model, file, None, ["b"]).codes.tolist() == codes.tolist() == [0, 1, 1]


@pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning")
def test_grid_search_chooses_by_every_score(tiny, source, target):
    """Each fold's score is that of a model fitted by hand, on the fold it did not see."""
    texts, labels = (np.array(values) for values in source)
    adapter, strengths = tiny(epochs=1), [0.0, 0.2]

    def search(hidden_labels: list[str], refit: str | bool) -> GridSearchCV:
        X_target = Domain(target, hidden_labels)
        scoring = {name: scorer(name, X_target) for name in SCORES}
        grid = {"max_strength": strengths}
        kinds = {"scoring": scoring, "refit": refit, "error_score": "raise"}
        return GridSearchCV(adapter, grid, cv=2, **kinds).fit(texts, labels, X_target=X_target)

    chosen = search(["neg", "pos"] * (len(target) // 2), refit="batch_nuclear_norm")
    found = chosen.cv_results_
    means = found["mean_test_batch_nuclear_norm"]
    assert means[0] != means[1]
    assert chosen.best_params_ == {"max_strength": strengths[int(np.argmax(means))]}
    # The target's labels are not used.
    corrupted = search(["neg"] * len(target), refit=False).cv_results_
    for number, (train, held_out) in enumerate(StratifiedKFold(2).split(texts, labels)):
        for place, strength in enumerate(strengths):
            model = clone(adapter).set_params(max_strength=strength)
            model.fit(texts[train], labels[train], X_target=Domain(target))
            (x, p), (z, q) = model.outputs(texts[held_out]), model.outputs(target)
            codes = np.array([["neg", "pos"].index(label) for label in labels[held_out]])
            evidence = Evidence((x, p), codes, (z, q))
            accuracy = model.score(texts[held_out], labels[held_out])
            assert SCORES["source_validation"](evidence) == pytest.approx(accuracy)
            for name, score in SCORES.items():
                key = f"split{number}_test_{name}"
                assert found[key][place] == pytest.approx(score(evidence)), name
                assert found[key][place] == corrupted[key][place], name


def test_density_ratios_are_those_of_both_domains():
    """For two normals whose means are 1 apart, the log-ratio is linear: x - 1/2."""
    rng = np.random.default_rng(3)
    x, z = rng.normal(size=(3000, 1)), rng.normal(1, 1, size=(2000, 1))
    of_source, of_target = density_ratios(x, z)
    assert (of_source == importance_weights(x, z)).all()
    for ratios, texts in ((of_source, x), (of_target, z)):
        error = np.log(ratios) - (texts[:, 0] - 0.5)
        assert np.abs(error).mean() < 0.15


@pytest.mark.parametrize(
    "p", [[[1.5, -0.5], [0.5, 0.5]], [[np.nan, 1.0]], [[0.5, 0.6]], [0.5, 0.5]]
)
def test_what_are_no_probabilities_are_refused(p):
    for score in (information_maximization, batch_nuclear_norm):
        with pytest.raises(ValueError, match=r"must be \(texts, classes\), between 0 and 1"):
            score(np.array(p))

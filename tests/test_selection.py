from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy

from dann_transfer.selection import (
    deep_embedded_validation,
    information_maximization,
    neighborhood_density,
)


@pytest.fixture
def p() -> np.ndarray:
    return softmax(np.random.default_rng(0).normal(size=(40, 3)) * 2, axis=1)


def test_information_maximization_is_the_mutual_information(p):
    assert information_maximization(p) == pytest.approx(
        entropy(p.mean(0)) - entropy(p, axis=1).mean()
    )
    # All of one class tells nothing of the text, however sure it is.
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


def test_deep_embedded_validation_finds_the_targets_accuracy():
    rng = np.random.default_rng(1)
    source, target = rng.normal(size=(4000, 2)), rng.normal([0.8, 0], 1, size=(4000, 2))

    def right(x: np.ndarray) -> np.ndarray:
        return rng.random(len(x)) < 1 / (1 + np.exp(-2 * x[:, 0]))

    truth = right(target).mean()
    assert truth > right(source).mean() + 0.15
    assert deep_embedded_validation(source, right(source), target) == pytest.approx(truth, abs=0.05)
    # Where the domains are alike it is the source's own accuracy.
    correct = right(source)
    same = deep_embedded_validation(source, correct, rng.normal(size=(4000, 2)))
    assert same == pytest.approx(correct.mean(), abs=0.02)


def test_bad_input_is_named(p):
    with pytest.raises(ValueError, match=r"shape \(40, 3\).*pass what predict_proba returns"):
        information_maximization(p * 2)
    with pytest.raises(ValueError, match="at least two texts"):
        neighborhood_density(p[:1])
    with pytest.raises(ValueError, match=r"correct has shape \(3,\).* 40 source texts"):
        deep_embedded_validation(p, np.ones(3), p)


def test_an_estimate_of_accuracy_is_one():
    """Weights that differ a lot let the control variate carry it below 0 or above 1."""
    rng = np.random.default_rng(0)
    for shift in (1.0, 3.0, 6.0):
        source, target = rng.normal(size=(40, 2)), rng.normal(shift, 1, size=(40, 2))
        for right in (source[:, 0] > 0, source[:, 0] < 0, source[:, 0] < 9):
            assert 0 <= deep_embedded_validation(source, right, target) <= 1

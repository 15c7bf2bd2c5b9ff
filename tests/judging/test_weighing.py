from __future__ import annotations

import numpy as np

from dann_transfer.judging.weighing import alone


def evidence_of(codes: np.ndarray, accuracy: float, seed: int) -> np.ndarray:
    """Return evidence for two classes that is right about a share of texts, shape (n, classes)."""
    right = np.random.default_rng(seed).random(len(codes)) < accuracy
    return (np.eye(2)[codes] - 0.5) * np.where(right, 1, -1)[:, None]


def test_of_two_kinds_that_say_the_same_one_counts():
    codes = np.arange(60) % 2
    one = evidence_of(codes, 0.75, 0)
    by_itself = alone(one[:, :, None], codes)
    assert by_itself[0] > 0.5
    for others in ([one], [one, one]):
        weights = alone(np.stack([one, *others], 2), codes)
        assert np.count_nonzero(weights) == 1
        assert np.isclose(weights.sum(), by_itself[0])
    noise = evidence_of(codes, 0.5, 3)
    assert np.allclose(alone(np.stack([noise, one], 2), codes), [0, by_itself[0]])


def test_kinds_that_complete_each_other_both_count():
    codes = np.arange(300) % 2
    weights = alone(np.stack([evidence_of(codes, 0.75, seed) for seed in (0, 1)], 2), codes)
    assert (weights > 0.5).all()


def test_what_is_not_more_than_chance_counts_for_nothing():
    codes = np.arange(60) % 2
    noise = np.stack([evidence_of(codes, 0.5, seed) for seed in range(4)], 2)
    assert not alone(noise, codes).any()
    assert not alone(np.zeros((60, 2, 2)), codes).any()
    assert not alone(noise[:0], codes[:0]).any()

from __future__ import annotations

import numpy as np

from dann_transfer.judging.weighing import weigh


def evidence_of(codes: np.ndarray, accuracy: float, seed: int) -> np.ndarray:
    """Return evidence for two classes that is right about a share of texts, shape (n, classes)."""
    right = np.random.default_rng(seed).random(len(codes)) < accuracy
    return (np.eye(2)[codes] - 0.5) * np.where(right, 1, -1)[:, None]


def test_of_two_kinds_that_say_the_same_one_counts():
    codes = np.arange(60) % 2
    one = evidence_of(codes, 0.75, 0)
    by_itself = weigh(one[:, :, None], codes)
    assert by_itself[0] > 0.5
    for others in ([one], [one, one]):
        weights = weigh(np.stack([one, *others], 2), codes)
        assert np.count_nonzero(weights) == 1
        assert np.isclose(weights.sum(), by_itself[0])
    noise = evidence_of(codes, 0.5, 3)
    assert np.allclose(weigh(np.stack([noise, one], 2), codes), [0, by_itself[0]])


def test_kinds_that_complete_each_other_both_count():
    codes = np.arange(300) % 2
    weights = weigh(np.stack([evidence_of(codes, 0.75, seed) for seed in (0, 1)], 2), codes)
    assert (weights > 0.5).all()


def test_what_is_not_more_than_chance_counts_for_nothing():
    codes = np.arange(60) % 2
    noise = np.stack([evidence_of(codes, 0.5, seed) for seed in range(4)], 2)
    assert not weigh(noise, codes).any()
    assert not weigh(np.zeros((60, 2, 2)), codes).any()
    assert not weigh(noise[:0], codes[:0]).any()


def predictions(codes: np.ndarray, accuracy: float, seed: int) -> np.ndarray:
    """Return what a model predicts that is right about a share of texts, and sure of it."""
    right = np.random.default_rng(seed).random(len(codes)) < accuracy
    return np.where(np.eye(2)[np.where(right, codes, 1 - codes)] > 0, 0.9, 0.1)


def test_agreement_on_the_target_shows_what_few_labels_cannot():
    codes, few = np.arange(1000) % 2, np.arange(10) % 2
    good, noise = (evidence_of(codes, a, 5)[:, :, None] for a in (0.7, 0.5))
    p = predictions(codes, 0.7, 6)
    labelled = evidence_of(few, 0.7, 7)[:, :, None]
    assert not weigh(labelled, few).any()
    found = weigh(labelled, few, good, p)
    # Independent evidence that is right about 70 % deserves 0.85; errors of the model lower it.
    assert 0.1 < found[0] < 0.85
    assert weigh(labelled, few, good, predictions(codes, 0.9, 6)) > found
    assert not weigh(labelled, few, noise, p).any()


def test_beside_a_model_that_tells_nothing_the_labels_decide():
    codes = np.arange(300) % 2
    evidence = evidence_of(codes, 0.8, 8)[:, :, None]
    by_labels = weigh(evidence, codes)
    assert by_labels > 1
    ignorant = np.tile([0.7, 0.3], (300, 1))
    assert np.allclose(weigh(evidence, codes, evidence, ignorant), by_labels, rtol=0.02)
    # What labels show and the target contradicts counts for less.
    contrary = weigh(evidence, codes, evidence, predictions(1 - codes, 0.9, 9))
    assert contrary < 0.5 * by_labels


def test_a_class_that_the_evidence_favours_costs_it_nothing():
    codes = np.arange(400) % 2
    evidence = evidence_of(codes, 0.75, 10)
    p = predictions(codes, 0.8, 11)
    shifted = evidence + np.array([1.0, 0.0])
    plain, favouring = (
        weigh(each[:, :, None], codes, each[:, :, None], p)[0] for each in (evidence, shifted)
    )
    assert np.isclose(plain, favouring, rtol=0.15)

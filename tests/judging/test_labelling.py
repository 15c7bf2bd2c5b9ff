from __future__ import annotations

import numpy as np
import pytest
import sklearn
from scipy.stats import entropy

from dann_transfer.judging import labelling
from dann_transfer.judging.labelling import spread_labels, suggest
from dann_transfer.judging.neighbors import Neighborhood, spread


def blobs(rng, n: int, number: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Return texts around perpendicular directions, and the direction of each."""
    blob = np.arange(n) % number
    return np.eye(number, 8)[blob] + rng.normal(0, 0.05, (n, 8)), blob


def unsure(rng, n: int) -> np.ndarray:
    return rng.dirichlet([5, 5], n)


def test_suggestions_are_distinct_texts_and_the_same_for_a_seed():
    rng = np.random.default_rng(0)
    x, p = rng.normal(size=(120, 5)), unsure(rng, 120)
    for n in (1, 7, 120):
        positions = suggest(x, p, n, random_state=3)
        assert positions.shape == (n,)
        assert positions.dtype.kind == "i"
        assert len(set(positions)) == n
        assert set(positions) <= set(range(120))
        assert (positions == suggest(x, p, n, random_state=3)).all()
    assert set(suggest(x, p, 7, 0)) != set(suggest(x, p, 7, 1))


def test_one_suggestion_a_blob_whatever_the_features_lengths():
    rng = np.random.default_rng(1)
    x, blob = blobs(rng, 300)
    x *= rng.uniform(0.1, 10, (300, 1))
    assert sorted(blob[suggest(x, unsure(rng, 300), 6)]) == list(range(6))


def test_a_suggestion_is_the_text_nearest_to_the_weighted_centre():
    rng = np.random.default_rng(2)
    x, blob = blobs(rng, 90, 3)
    p = unsure(rng, 90)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    weights = entropy(spread(x, p, 10), axis=1) + 0.1
    nearest, masses = [], []
    for i in range(3):
        own = np.flatnonzero(blob == i)
        centre = weights[own] @ unit[own] / weights[own].sum()
        nearest.append(own[np.linalg.norm(unit[own] - centre, axis=1).argmin()])
        masses.append(weights[own].sum())
    # The heaviest cluster comes first.
    assert suggest(x, p, 3).tolist() == [nearest[i] for i in np.argsort(masses)[::-1]]


def test_uncertain_blobs_come_first_and_sure_ones_are_not_forgotten():
    rng = np.random.default_rng(3)
    x, blob = blobs(rng, 240, 4)
    p = np.where(blob[:, None] == 2, [0.5, 0.5], [1.0, 0.0])
    chosen = blob[suggest(x, p, 4)]
    assert chosen[0] == 2
    assert sorted(chosen) == [0, 1, 2, 3]


# Copies of texts cause no warning.
@pytest.mark.filterwarnings("error")
def test_copies_of_texts_are_suggested_once_each():
    x = np.repeat(np.eye(3), 4, axis=0)
    p = np.full((12, 2), 0.5)
    positions = suggest(x, p, 5)
    assert len(set(positions)) == 5
    assert set(positions // 4) == {0, 1, 2}
    assert sorted(suggest(np.zeros((4, 3)), p[:4], 4)) == [0, 1, 2, 3]


def test_labels_mend_a_blob_that_the_model_is_wrong_on():
    rng = np.random.default_rng(4)
    x, blob = blobs(rng, 300)
    truth = blob % 2
    # The model assigns all of blob 1 to the wrong class.
    p = np.where(np.where(blob == 1, 0, truth)[:, None], [0.1, 0.9], [0.9, 0.1])
    assert (spread(x, p, 10).argmax(1) == truth).mean() == pytest.approx(5 / 6)
    positions = suggest(x, p, 6)
    corrected = spread_labels(x, p, positions, truth[positions])
    assert (corrected.argmax(1) == truth).all()
    z, other = blobs(rng, 120)
    q = np.where(np.where(other == 1, 0, other % 2)[:, None], [0.1, 0.9], [0.9, 0.1])
    assert (Neighborhood(x, corrected).smooth(z, q, 10).argmax(1) == other % 2).all()


def test_the_correction_is_the_formula():
    rng = np.random.default_rng(5)
    x, p = rng.normal(size=(40, 6)), rng.dirichlet([1, 1, 1], 40)
    positions, codes = np.array([3, 30, 11, 8]), np.array([0, 2, 2, 1])
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    smooth, truth = spread(x, p, 5), np.eye(3)[codes]
    gram = np.exp(-2 * ((unit[:, None] - unit[positions]) ** 2).sum(2))
    residuals = truth - smooth[positions]
    expected = smooth + gram @ np.linalg.solve(gram[positions] + 0.1 * np.eye(4), residuals)
    expected = np.maximum(expected, 0)
    expected /= expected.sum(1, keepdims=True)
    expected[positions] = truth
    assert np.allclose(spread_labels(x, p, positions, codes, k=5), expected)
    assert np.allclose(expected.sum(1), 1)


def test_a_label_does_not_reach_far():
    rng = np.random.default_rng(7)
    turn = np.repeat([0, np.pi / 3], 50)
    x = np.stack([np.cos(turn), np.sin(turn), np.zeros(100)], 1) + rng.normal(0, 0.02, (100, 3))
    p = np.where(turn[:, None] == 0, [0.95, 0.05], [0.65, 0.35])
    corrected = spread_labels(x, p, np.array([0]), np.array([1]))
    # The model is sure of one blob, and wrong. A linear kernel, which is 1/2 at 60 degrees, would
    # flip the other blob as well.
    assert (corrected.argmax(1) == (turn == 0)).all()


def test_without_labels_probabilities_are_spread_and_nothing_else():
    rng = np.random.default_rng(6)
    x, p = rng.normal(size=(30, 4)), unsure(rng, 30)
    assert (spread_labels(x, p, np.array([], int), np.array([], int)) == spread(x, p, 10)).all()


@pytest.mark.parametrize(
    ("x", "p", "n", "words"),
    [
        (np.ones((5, 3)), np.full((5, 2), 0.5), 0, "n=0 texts to label out of 5"),
        (np.ones((5, 3)), np.full((5, 2), 0.5), True, "n=True texts to label"),
        (np.ones((5, 3)), np.full((5, 2), 0.5), 6, "n=6 texts to label out of 5"),
        (np.ones((5, 3)), np.full((4, 2), 0.5), 2, r"features of shape \(5, 3\) and .* \(4, 2\)"),
        (np.ones((5, 3)), np.ones(5), 2, r"probabilities of shape \(5,\) must be"),
        (np.ones(5), np.full((5, 2), 0.5), 2, r"features of shape \(5,\)"),
    ],
)
def test_what_cannot_be_suggested(x, p, n, words):
    with pytest.raises(ValueError, match=words):
        suggest(x, p, n)


@pytest.mark.parametrize(
    ("positions", "codes", "words"),
    [
        (
            [5],
            [0],
            r"positions must be whole numbers from 0 to 4, the positions of texts; got \[5\]",
        ),
        ([-1], [0], r"positions must be .* got \[-1\]"),
        ([0], [2], r"codes must be whole numbers from 0 to 1, the positions of classes; got \[2\]"),
        ([0, 1], [1], "2 positions and 1 codes"),
        ([3, 3], [0, 1], "text 3 is labelled more than once"),
        ([0.0], [0], r"positions must be whole numbers .* got \[0\.0\]"),
        ([0], ["negative"], r"codes must be whole numbers .* got \['negative'\]"),
        ([[0]], [0], r"positions has shape \(1, 1\)"),
    ],
)
def test_labels_that_cannot_be_spread(positions, codes, words):
    with pytest.raises(ValueError, match=words):
        spread_labels(np.ones((5, 3)), np.full((5, 2), 0.5), np.array(positions), np.array(codes))
    with pytest.raises(ValueError, match="do not match"):
        spread_labels(np.ones((5, 3)), np.full((4, 2), 0.5), np.array([0]), np.array([0]))


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_suggestions_do_not_depend_on_how_sklearn_returns_tables(kind):
    x, p = np.random.default_rng(0).normal(size=(30, 4)), np.full((30, 2), 0.5)
    expected = suggest(x, p, 3).tolist()
    with sklearn.config_context(transform_output=kind):
        assert suggest(x, p, 3).tolist() == expected


@pytest.mark.parametrize("n", [3, 8, 9, 20, 40])
def test_distinct_texts_come_before_copies_whatever_their_rounding(n):
    """With more clusters than distinct texts, k-means took minutes."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(8, 30))[np.arange(40) % 8]
    # Texts passed in batches of different lengths, which changes the last digits.
    x += 1e-7 * rng.normal(size=x.shape)
    p = unsure(rng, 8)[np.arange(40) % 8]
    positions = suggest(x, p, n)
    assert len(set(positions.tolist())) == n
    # As many of each text as n allows, the first copies first.
    counts = np.bincount(positions % 8, minlength=8)
    assert np.ptp(counts) <= 1
    assert counts.max() == -(-n // 8)


def test_a_text_weighs_as_much_as_its_copies():
    rng = np.random.default_rng(6)
    x, blob = blobs(rng, 60, 3)
    p = np.full((60, 2), 0.5)
    rare = np.flatnonzero(blob == 1)
    copies = np.repeat(rare[:1], 200)
    positions = suggest(np.concatenate([x, x[copies]]), np.concatenate([p, p[copies]]), 3)
    # Its cluster is the heaviest, its centre is the text.
    assert positions[0] == rare[0]


def test_many_suggestions_take_no_k_means_with_as_many_clusters(monkeypatch):
    monkeypatch.setattr(labelling, "MANY", 5)
    monkeypatch.setattr("sklearn.cluster.KMeans", None)
    rng = np.random.default_rng(7)
    x, blob = blobs(rng, 90)
    positions = suggest(x, unsure(rng, 90), 12)
    assert len(set(positions.tolist())) == 12
    assert set(blob[positions]) == set(range(6))

from __future__ import annotations

from fractions import Fraction
from math import ceil

import numpy as np
import pytest

from dann_transfer.judging.conformal import ConformalSets


def limits(conformal: ConformalSets, weights: np.ndarray, alpha: float) -> np.ndarray:
    """Return the largest score in the set of a text of each weight, found on a fine grid."""
    grid = np.concatenate([conformal.scores, [1.0]])
    inside = conformal.sets(1 - np.tile(grid, (len(weights), 1)), weights, alpha)
    return np.where(inside[:, -1], np.inf, np.where(inside, grid, -1).max(1))


def of_scores(scores: list[float], weights: list[float]) -> ConformalSets:
    p = np.stack([1 - np.array(scores), np.array(scores)], 1)
    return ConformalSets.fit(p, np.zeros(len(p), dtype=int), np.array(weights, dtype=float))


def test_the_weighted_quantile_by_hand():
    """Scores 0.1 to 0.4 weigh 1 to 4, in any order: their cumulative weights are 1, 3, 6 and 10."""
    conformal = of_scores([0.3, 0.1, 0.4, 0.2], [3, 1, 4, 2])
    # With 2 at infinity the total is 12, and half of it, 6, is reached at 0.3 but not at 0.2. With
    # 3, half is 6.5, reached at 0.4; with 10 it is 10, still at 0.4; with 11 it is never reached.
    found = limits(conformal, np.array([2.0, 3.0, 10.0, 11.0]), 0.5)
    assert found == pytest.approx([0.3, 0.4, 0.4, np.inf])
    assert conformal.sets(np.array([[0.7, 0.25, 0.05]]), np.array([2.0]), 0.5).tolist() == [
        [True, False, False]
    ]
    assert conformal.sets(np.array([[0.7, 0.25, 0.05]]), np.array([11.0]), 0.5).all()


def test_the_weighted_quantile_is_the_papers():
    """The smallest score up to which the normalised weights sum to 1 - alpha, computed exactly."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        scores = rng.choice(np.arange(1, 16) / 16, 12).tolist()
        weights, own = rng.integers(0, 9, 12).tolist(), int(rng.integers(0, 20))
        level = 1 - Fraction(int(rng.integers(1, 8)), 8)
        expected = np.inf
        for score in sorted(scores, reverse=True):
            mass = sum(w for s, w in zip(scores, weights, strict=True) if s <= score)
            if Fraction(mass, sum(weights) + own) >= level:
                expected = score
        found = limits(of_scores(scores, weights), np.array([float(own)]), float(1 - level))
        assert found[0] == pytest.approx(expected)


@pytest.mark.parametrize("n", [9, 19, 20, 57])
@pytest.mark.parametrize("alpha", ["0.05", "0.1", "0.3", "0.7", "0.9"])
def test_equal_weights_give_the_ordinary_quantile(n, alpha):
    """Also where (n + 1)(1 - alpha) is whole, and where 1 - 0.7 is a little more than 0.3."""
    scores = np.random.default_rng(n).permutation(np.arange(1, n + 1) / (n + 1))
    place = ceil((n + 1) * (1 - Fraction(alpha)))
    expected = place / (n + 1) if place <= n else np.inf
    for weight in (1.0, 0.3):
        conformal = of_scores(scores.tolist(), [weight] * n)
        found = limits(conformal, np.array([weight]), float(alpha))
        assert found[0] == pytest.approx(expected)


def guesses(rng, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities of a model that is much too sure, and the true classes."""
    logits = rng.normal(size=(n, 3))
    codes = (logits + rng.gumbel(size=(n, 3))).argmax(1)
    p = np.exp(4 * logits)
    return p / p.sum(1, keepdims=True), codes


def coverage(rng, n: int, alpha: float, draws: int) -> float:
    hits = []
    for _ in range(draws):
        conformal = ConformalSets.fit(*guesses(rng, n), np.ones(n))
        p, codes = guesses(rng, 50)
        hits.append(conformal.sets(p, np.ones(50), alpha)[np.arange(50), codes].mean())
    return float(np.mean(hits))


def test_without_shift_coverage_is_exact():
    """The true class's score is equally likely to have each of the n + 1 ranks."""
    rng = np.random.default_rng(0)
    # 18 of 20 ranks and 27 of 30; 1500 draws have a standard error of 0.002.
    assert coverage(rng, 19, 0.1, 1500) == pytest.approx(18 / 20, abs=0.008)
    assert coverage(rng, 29, 0.1, 1500) == pytest.approx(27 / 30, abs=0.008)
    # Never less than requested, and more where the ranks do not divide evenly: 12 of 13.
    assert coverage(rng, 12, 0.1, 1500) == pytest.approx(12 / 13, abs=0.008)


def shifted(rng, n: int, mean: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return positions of texts, probabilities and true classes, harder further right."""
    x = rng.normal(mean, 1, n)
    q = rng.uniform(0, 1, n)
    codes = (rng.random(n) < np.where(x > 0.8, 0.5, q)).astype(int)
    return x, np.stack([1 - q, q], 1), codes


def test_under_covariate_shift_weights_restore_coverage():
    """The model knows the class to the left of 0.8, and nothing about it to the right."""
    rng = np.random.default_rng(0)
    plain, weighted = [], []
    for _ in range(150):
        x, p, codes = shifted(rng, 500, 0.0)
        z, q, truth = shifted(rng, 200, 1.0)
        rows = np.arange(200)
        even = ConformalSets.fit(p, codes, np.ones(500)).sets(q, np.ones(200), 0.1)
        # The ratio of normal densities at means 1 and 0, times a factor that must not matter.
        ratio = 7 * np.exp(x - 0.5)
        conformal = ConformalSets.fit(p, codes, ratio)
        sets = conformal.sets(q, 7 * np.exp(z - 0.5), 0.1)
        plain.append(even[rows, truth].mean())
        weighted.append(sets[rows, truth].mean())
    assert np.mean(plain) < 0.87
    assert 0.895 < np.mean(weighted) < 0.92


def test_where_no_source_text_looks_like_the_target_all_classes_remain():
    rng = np.random.default_rng(0)
    _, p, codes = shifted(rng, 300, 0.0)
    conformal = ConformalSets.fit(p, codes, np.full(300, 1e-6))
    assert conformal.sets(p, np.full(300, 1e3), 0.1).all()


def test_effective_texts():
    scores = [0.1, 0.2, 0.3, 0.4]
    assert of_scores(scores, [2, 2, 2, 2]).effective_texts == pytest.approx(4)
    assert of_scores(scores, [0, 0, 5, 0]).effective_texts == pytest.approx(1)
    assert of_scores(scores, [1, 2, 3, 4]).effective_texts == pytest.approx(100 / 30)


def test_bad_input_is_named():
    p, codes = np.full((3, 2), 0.5), np.array([0, 1, 0])
    with pytest.raises(ValueError, match=r"whole numbers from 0 to 1.*got \[2\]"):
        ConformalSets.fit(p, np.array([0, 2, 0]), np.ones(3))
    with pytest.raises(
        ValueError, match=r"weights has shape \(2,\).* 3 held-out source texts.*np.ones\(3\)"
    ):
        ConformalSets.fit(p, codes, np.ones(2))
    with pytest.raises(ValueError, match="3 held-out source texts are all 0"):
        ConformalSets.fit(p, codes, np.zeros(3))
    conformal = ConformalSets.fit(p, codes, np.ones(3))
    with pytest.raises(ValueError, match=r"weights has shape \(2,\).* target texts"):
        conformal.sets(p, np.ones(2), 0.1)
    with pytest.raises(ValueError, match=r"target texts must be finite.*between -1.0 and 1.0"):
        conformal.sets(p, np.array([1.0, -1.0, 1.0]), 0.1)
    for alpha in (0, 1, 90):
        with pytest.raises(ValueError, match=rf"alpha={alpha} must lie between 0 and 1"):
            conformal.sets(p, np.ones(3), alpha)
    with pytest.raises(ValueError, match=r"shape \(2,\) must be \(texts, classes\)"):
        conformal.sets(p[0], np.ones(2), 0.1)
    for wrong in (np.array([[3.0, -2.0]]), np.array([[np.nan, 0.5]])):
        with pytest.raises(ValueError, match="between 0 and 1; pass what predict_proba returns"):
            conformal.sets(wrong, np.ones(1), 0.1)

from __future__ import annotations

import numpy as np
import pytest

from dann_transfer.label_shift import bbse, correct, em


def draw(rng, prior: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of Gaussian classes at -1 and 1 (and 3), and their labels."""
    labels = rng.choice(len(prior), n, p=prior)
    return rng.normal(size=n) + 2 * labels - 1, labels


def posterior(x: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """The exact class probabilities of a point."""
    means = 2 * np.arange(len(prior)) - 1
    density = np.exp(-0.5 * (x[:, None] - means) ** 2) * prior
    return density / density.sum(1, keepdims=True)


@pytest.mark.parametrize(
    ("source", "target"),
    [([0.5, 0.5], [0.8, 0.2]), ([0.7, 0.3], [0.3, 0.7]), ([0.4, 0.3, 0.3], [0.1, 0.2, 0.7])],
)
def test_known_priors_are_found(source, target):
    rng = np.random.default_rng(0)
    source, target = np.array(source), np.array(target)
    x, y = draw(rng, source, 20_000)
    z, _ = draw(rng, target, 20_000)
    p, q = posterior(x, source), posterior(z, source)
    assert bbse(p, y, q) == pytest.approx(target, abs=0.03)
    assert em(source, q) == pytest.approx(target, abs=0.03)
    # What it is for: the naive shares are far off.
    assert np.abs(q.mean(0) - target).max() > 0.05


def test_correction_gives_the_exact_posterior_and_more_right_answers():
    rng = np.random.default_rng(1)
    source, target = np.array([0.5, 0.5]), np.array([0.9, 0.1])
    z, y = draw(rng, target, 5000)
    corrected = correct(posterior(z, source), source, target)
    assert np.allclose(corrected, posterior(z, target))
    before = (posterior(z, source).argmax(1) == y).mean()
    assert (corrected.argmax(1) == y).mean() > before + 0.03


def test_no_shift_changes_nothing():
    p = np.array([[0.3, 0.7], [0.9, 0.1]])
    prior = np.array([0.6, 0.4])
    assert np.allclose(correct(p, prior, prior), p)


def test_a_class_that_is_never_predicted_does_not_break_bbse():
    always = np.tile([0.9, 0.1], (20, 1))
    found = bbse(always, np.array([0, 1] * 10), always)
    assert np.isfinite(found).all()
    assert found.sum() == pytest.approx(1)
    with pytest.raises(ValueError, match=r"classes \[1\] have no labelled text"):
        bbse(always, np.zeros(20, dtype=int), always)


def test_correct_prior_true_is_em(tiny, source, target):
    skewed = [text for text in target if "good" in text or "bad" not in text]
    adapter = tiny(epochs=4).fit(*source, X_target=skewed)
    plain, prior = adapter.predict_proba(skewed), adapter.target_prior_["em"]
    corrected = adapter.set_params(correct_prior=True).predict_proba(skewed)
    assert np.allclose(corrected, correct(plain, adapter.source_prior_, prior))
    assert not np.allclose(corrected, plain)
    off = adapter.set_params(correct_prior=False).predict_proba(skewed)
    assert (off == plain).all()

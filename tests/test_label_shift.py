from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from dann_transfer.decision import PriorWarning
from dann_transfer.label_shift import Calibration, bbse, correct, em, estimate


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


def overconfident(rng, prior: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a model that is five times surer than it should be, and leans to one class."""
    x, labels = draw(rng, prior, n)
    exact = np.log(posterior(x, np.array([0.5, 0.5])))
    return 5 * exact + [0.0, 2.0], labels


def test_overconfident_probabilities_are_calibrated():
    rng = np.random.default_rng(0)
    logits, labels = overconfident(rng, np.array([0.5, 0.5]), 20_000)
    found = Calibration.fit(logits, labels)
    assert found.temperature == pytest.approx(5, rel=0.05)
    assert found.bias[0] - found.bias[1] == pytest.approx(0.4, abs=0.05)
    p = found.probabilities(logits)
    sure = p.max(1) > 0.9
    assert (p.argmax(1) == labels)[sure].mean() == pytest.approx(p.max(1)[sure].mean(), abs=0.01)


def test_em_on_calibrated_probabilities_finds_what_it_misses_on_raw_ones():
    """It said 1e-8 against 1 where predictions were half and half."""
    rng = np.random.default_rng(0)
    prior = np.array([0.8, 0.2])
    source, labels = overconfident(rng, np.array([0.5, 0.5]), 400)
    target, _ = overconfident(rng, prior, 2000)
    raw = em(np.array([0.5, 0.5]), softmax(target, axis=1))
    assert np.abs(raw - prior).max() > 0.08
    found = estimate(source, labels, target)
    assert found.priors["em"] == pytest.approx(prior, abs=0.05)
    assert found.priors["bbse"] == pytest.approx(prior, abs=0.05)
    assert found.refused == {}


def test_an_estimate_that_the_source_contradicts_is_refused():
    """The target's texts lie where the source has none: its shares are not what differs."""
    rng = np.random.default_rng(0)
    even = np.array([0.5, 0.5])
    x, labels = draw(rng, even, 400)
    source = np.log(posterior(x, even))
    # All of them look a little like class 1, and half are predicted to be of it.
    target = np.log(posterior(rng.choice([-0.05, 0.4], 1000), even))
    found = estimate(source, labels, target)
    assert "em" in found.refused
    assert "would be predicted for" in found.refused["em"]
    # Of a class that no held-out text is of nothing is known.
    lone = estimate(source[labels == 0], labels[labels == 0], target)
    assert lone.priors == {}
    assert lone.refused["bbse"] == "of class 1 there is no held-out source text"


def test_too_few_held_out_texts_check_nothing():
    """Of ten held-out texts EM's 0 against 1 was within what their confusion allows."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        source, labels = overconfident(rng, np.array([0.5, 0.5]), 10)
        if len(set(labels)) == 2:
            found = estimate(source, labels, overconfident(rng, np.array([0.5, 0.5]), 300)[0])
            assert found.priors == {}
            assert found.refused["em"] == "10 held-out source texts are too few to check it against"


@pytest.mark.parametrize("n", [80, 200, 1000])
def test_an_estimate_that_is_right_is_rarely_refused(n):
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(40):
        prior = np.array([rng.uniform(0.1, 0.9)] * 2)
        prior[1] = 1 - prior[0]
        source, labels = overconfident(rng, np.array([0.5, 0.5]), n)
        refused += "em" in estimate(source, labels, overconfident(rng, prior, 300)[0]).refused
    assert refused <= 2


def test_where_the_estimate_was_refused_predictions_stay_and_it_is_said(tiny, source, target):
    adapter = tiny(epochs=1).fit(*source, X_target=target)
    plain = adapter.predict_proba(target)
    adapter.fitted_.target_prior.pop("em", None)
    adapter.fitted_.refused_prior["em"] = "the reason"
    adapter.set_params(correct_prior="em")
    with pytest.warns(PriorWarning, match=r"changes nothing: .*refused \(the reason\)"):
        assert (adapter.predict_proba(target) == plain).all()


def test_correct_prior_true_is_em(tiny, source, target):
    skewed = [text for text in target if "good" in text or "bad" not in text]
    adapter = tiny(method="source_only", epochs=8, validation_fraction=0.4)
    adapter.fit(*source, X_target=skewed)
    plain, prior = adapter.predict_proba(skewed), adapter.target_prior_["em"]
    corrected = adapter.set_params(correct_prior=True).predict_proba(skewed)
    calibration = adapter.calibration_
    calibrated = calibration.probabilities(np.log(plain))
    assert np.allclose(corrected, correct(calibrated, calibration.prior, prior), atol=1e-6)
    assert not np.allclose(corrected, plain)
    off = adapter.set_params(correct_prior=False).predict_proba(skewed)
    assert (off == plain).all()

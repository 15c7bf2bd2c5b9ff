from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from dann_transfer.judging.decision import PriorWarning, calibration_error
from dann_transfer.judging.label_shift import (
    Calibration,
    bbse,
    correct,
    em,
    estimate,
    prior_interval,
)


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
    # This is why it is needed: the naive shares are far off.
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
    """Return logits of a model that is five times too sure and leans towards one class."""
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
    """It once gave 1e-8 against 1 where predictions were half and half."""
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


def test_em_is_the_mean_of_corrected_probabilities_again_and_again():
    rng = np.random.default_rng(0)
    q, prior = rng.dirichlet([1, 1, 1, 1], 60), np.array([0.5, 0.3, 0.2, 0.0])
    expected = prior
    for _ in range(7):
        ratio = np.array([e / p if p else 0 for e, p in zip(expected, prior, strict=True)])
        expected = np.mean([row * ratio / (row * ratio).sum() for row in q], axis=0)
    assert np.allclose(em(prior, q, steps=7), expected)
    assert expected[3] == 0
    # With a larger tolerance it stops earlier, close to the same estimate.
    early = em(prior, q, tolerance=1e-3)
    assert np.abs(early - em(prior, q)).max() < 0.05
    assert (early != em(prior, q)).any()


def many_classes(rng, n: int, classes: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Return logits of a model that is three times too sure, and labels with balanced classes."""
    labels = np.arange(n) % classes
    x = rng.normal(size=(n, classes)) + 3 * np.eye(classes)[labels]
    return 9 * x, labels


def test_a_few_texts_of_each_of_many_classes_calibrate():
    """A doubt of 1 in 6 for each class of four texts once left a sure model at only 60 %."""
    rng = np.random.default_rng(0)
    found = Calibration.fit(*many_classes(rng, 160))
    logits, labels = many_classes(rng, 8000)
    assert calibration_error(softmax(logits, axis=1), labels) > 0.1
    assert calibration_error(found.probabilities(logits), labels) < 0.05


@pytest.mark.parametrize("classes", [2, 3])
def test_influence_says_what_a_fit_to_a_resample_gives(classes):
    rng = np.random.default_rng(0)
    shares = np.arange(1, classes + 1) ** 2
    x, labels = draw(rng, shares / shares.sum(), 2000)
    # The model leans far towards the last class, so its bias and its temperature are correlated.
    logits = 3 * np.log(posterior(x, np.ones(classes))) + 6 * np.arange(classes)

    def parameters(rows: np.ndarray) -> np.ndarray:
        found = Calibration.fit(logits[rows], labels[rows])
        return np.array([np.log(found.temperature), *found.bias])

    whole = parameters(np.arange(2000))
    influence = Calibration.fit(logits, labels).influence(logits, labels)
    for _ in range(20):
        rows = rng.integers(0, 2000, 2000)
        counts = np.bincount(rows, minlength=2000)
        moved, said = parameters(rows) - whole, (counts - 1) @ influence
        assert np.linalg.norm(said - moved) < 0.2 * np.linalg.norm(moved)


def test_an_interval_holds_the_true_prior_as_often_as_it_says():
    """Without refitting the calibration, EM's intervals held it in only half of the cases."""
    rng = np.random.default_rng(0)
    prior, hits, widths = np.array([0.8, 0.2]), [], []
    for seed in range(60):
        source, labels = overconfident(rng, np.array([0.5, 0.5]), 150)
        target, _ = overconfident(rng, prior, 600)
        bounds = prior_interval(source, labels, target, 0.9, 60, random_state=seed)
        hits.append(
            [(low <= prior).all() and (prior <= high).all() for low, high in bounds.values()]
        )
        widths.append([high[0] - low[0] for low, high in bounds.values()])
    # With 60 runs, a share of 0.9 has a standard error of 0.04.
    assert bounds.keys() == {"em", "bbse"}
    assert (np.mean(hits, axis=0) > 0.78).all()
    assert (np.mean(hits, axis=0) < 1).all()
    assert (np.mean(widths, axis=0) < 0.25).all()


def test_an_interval_shrinks_with_more_texts_of_both_domains():
    rng = np.random.default_rng(0)

    def widths(n: int, m: int) -> np.ndarray:
        source, labels = overconfident(rng, np.array([0.5, 0.5]), n)
        target, _ = overconfident(rng, np.array([0.7, 0.3]), m)
        bounds = prior_interval(source, labels, target)
        return np.array([bounds[kind][1][0] - bounds[kind][0][0] for kind in ("em", "bbse")])

    few, source, both = widths(100, 200), widths(3000, 200), widths(3000, 6000)
    assert (few > 1.3 * source).all()
    assert (source > 2 * both).all()


def test_an_interval_depends_on_its_seed_alone_and_level_widens_it():
    rng = np.random.default_rng(0)
    data = (
        *overconfident(rng, np.array([0.5, 0.5]), 100),
        overconfident(rng, np.ones(2) / 2, 300)[0],
    )
    once, again, other = (prior_interval(*data, resamples=40, random_state=s) for s in (0, 0, 1))
    narrow = prior_interval(*data, level=0.5, resamples=40)
    for kind in ("em", "bbse"):
        assert np.array_equal(once[kind], again[kind])
        assert not np.array_equal(once[kind], other[kind])
        assert (narrow[kind][0] > once[kind][0]).all()
        assert (narrow[kind][1] < once[kind][1]).all()


def test_a_class_of_one_text_stays_in_every_resample():
    rng = np.random.default_rng(0)
    source, labels = overconfident(rng, np.array([0.5, 0.5]), 60)
    rows = np.concatenate([np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)[:1]])
    bounds = prior_interval(source[rows], labels[rows], source, resamples=30)
    assert np.isfinite([bounds[kind] for kind in ("em", "bbse")]).all()
    with pytest.raises(ValueError, match=r"classes \[1\] have no labelled text"):
        prior_interval(source[rows[:-1]], labels[rows[:-1]], source)


def test_bounds_of_an_interval_are_checked():
    logits, labels = np.eye(2)[[0, 1] * 5], np.array([0, 1] * 5)
    with pytest.raises(ValueError, match="level=95 must lie between 0 and 1"):
        prior_interval(logits, labels, logits, level=95)
    with pytest.raises(ValueError, match="resamples=0 must be at least 1"):
        prior_interval(logits, labels, logits, resamples=0)


def test_estimates_have_the_intervals_of_those_that_are_not_refused():
    rng = np.random.default_rng(0)
    source, labels = overconfident(rng, np.array([0.5, 0.5]), 400)
    target, _ = overconfident(rng, np.array([0.8, 0.2]), 2000)
    found = estimate(source, labels, target)
    expected = prior_interval(source, labels, target, resamples=100)
    assert found.intervals.keys() == found.priors.keys() == {"em", "bbse"}
    for kind, (low, high) in found.intervals.items():
        assert np.array_equal([low, high], expected[kind])
        assert (low < found.priors[kind]).all()
        assert (found.priors[kind] < high).all()
    assert estimate(source, labels, target, resamples=0).intervals == {}
    assert estimate(source[:10], labels[:10], target).intervals == {}


def test_an_estimate_that_the_source_contradicts_is_refused():
    """The target's texts lie where the source has none: the difference is not in class shares."""
    rng = np.random.default_rng(0)
    even = np.array([0.5, 0.5])
    x, labels = draw(rng, even, 400)
    source = np.log(posterior(x, even))
    # All target texts look a little like class 1, and half are predicted to be class 1.
    target = np.log(posterior(rng.choice([-0.05, 0.4], 1000), even))
    found = estimate(source, labels, target)
    assert "em" in found.refused
    assert "would be predicted for" in found.refused["em"]
    # Nothing is known about a class without held-out texts.
    lone = estimate(source[labels == 0], labels[labels == 0], target)
    assert lone.priors == {}
    assert lone.refused["bbse"] == "there is no held-out source text of class 1"


def test_too_few_held_out_texts_check_nothing():
    """With ten held-out texts, their confusion once allowed even EM's 0 against 1."""
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
        target, _ = overconfident(rng, prior, 300)
        refused += "em" in estimate(source, labels, target, resamples=0).refused
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

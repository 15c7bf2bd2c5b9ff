from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax

from dann_transfer.fitting.fitted import Fitted
from dann_transfer.judging import decision
from dann_transfer.judging.label_shift import Calibration


@pytest.fixture
def texts() -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities of 400 texts, many alike, and true classes drawn from softer ones."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(400, 3)).round(1)
    p = softmax(3 * logits, axis=1).round(2)
    return p / p.sum(1, keepdims=True), (logits + rng.gumbel(size=(400, 3))).argmax(1)


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_the_calibration_error_is_the_papers(texts, bins):
    p, codes = texts
    expected = 0.0
    for b in range(bins):
        rows = [i for i in range(400) if b / bins < p[i].max() <= (b + 1) / bins]
        if rows:
            accuracy = np.mean([p[i].argmax() == codes[i] for i in rows])
            expected += len(rows) / 400 * abs(accuracy - np.mean([p[i].max() for i in rows]))
    assert decision.calibration_error(p, codes, bins) == pytest.approx(expected)
    assert expected > 0.05


def test_the_calibration_error_of_known_probabilities():
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 1, 1], 50_000)
    codes = (np.log(p) + rng.gumbel(size=p.shape)).argmax(1)
    assert decision.calibration_error(p, codes) < 0.01
    # A model that is sure of everything is off by its error.
    sure = np.eye(3)[p.argmax(1)]
    error = (p.argmax(1) != codes).mean()
    assert decision.calibration_error(sure, codes) == pytest.approx(error)
    # A rounded probability above 1 falls into the last bin with those just below.
    p = np.array([[1 + 1e-7, 0], [0.98, 0.02]])
    assert decision.calibration_error(p, np.array([0, 1])) == pytest.approx(0.49, abs=1e-6)


def test_the_calibrations_own_prior_calibrates_and_corrects_nothing():
    rng = np.random.default_rng(0)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        logits = rng.normal(size=(n, 3))
        codes = (logits + rng.gumbel(size=(n, 3))).argmax(1)
        # Four times too sure, and leaning to the first class.
        return 4 * logits + [3.0, 0.0, 0.0], codes

    held_out, labels = draw(500)
    calibration = Calibration.fit(held_out, labels)
    fitted = Fitted(np.arange(3), 0, 0.2, 5e-5, 8, 8, np.ones(3) / 3, [], [], {})
    fitted.calibration = calibration
    logits, codes = draw(5000)
    plain = decision.probabilities(torch.tensor(logits), fitted, None)
    p = decision.probabilities(torch.tensor(logits), fitted, calibration.prior)
    assert np.allclose(plain, softmax(logits, axis=1))
    assert np.allclose(p, softmax(logits / calibration.temperature + calibration.bias, axis=1))
    assert decision.calibration_error(plain, codes) > 0.2
    assert decision.calibration_error(p, codes) < 0.04


def test_abstain_masks_what_is_not_sure_enough():
    p = np.array([[0.1, 0.9], [0.6, 0.4], [0.3, 0.7]])
    answers = decision.abstain(p, np.array(["no", "yes"]), below=0.7)
    # A text exactly at the threshold is answered.
    assert answers.tolist() == ["yes", None, "yes"]
    assert isinstance(answers, np.ma.MaskedArray)
    assert decision.abstain(p, np.array(["no", "yes"]), below=0).mask.tolist() == [False] * 3
    assert decision.abstain(p, np.array(["no", "yes"]), below=1).mask.all()


@pytest.mark.parametrize(
    ("classes", "label", "dtype"),
    [
        (["no", "yes"], "unsure", np.dtype("<U6")),
        (["negative", "yes"], "?", np.dtype("<U8")),
        ([0, 1], "unsure", object),
        ([0, 1], -1, np.int64),
        (np.array([0, 1], dtype=np.int8), 300, np.int64),
        ([0, 1], float("nan"), object),
        ([0.5, 1.5], -1.0, np.float64),
        ([False, True], -1, object),
        (["no", "yes"], 0, object),
        (np.array(["no", "yes"], dtype=object), "unsure", object),
    ],
)
def test_a_label_for_what_is_withheld_comes_back_whole(classes, label, dtype):
    classes = np.array(classes)
    answers = decision.abstain(np.array([[0.1, 0.9], [0.6, 0.4]]), classes, 0.8, label)
    assert answers.dtype == dtype
    assert answers[0] == classes[1]
    assert answers.tolist()[1] is label or answers.tolist()[1] == label
    assert type(answers.tolist()[1]) is type(label)
    assert type(answers.tolist()[0]) is type(classes.tolist()[1])


@pytest.mark.parametrize("label", [["ask", "me"], ("ask",), np.array(["ask", "me"])])
def test_a_withheld_answer_is_one_value(label):
    with pytest.raises(TypeError, match="must be a single value, such as 'unsure'"):
        decision.abstain(np.full((2, 2), 0.5), np.array(["no", "yes"]), 0.9, label)


@pytest.mark.parametrize("below", [-0.1, 1.5, 80, float("nan")])
def test_a_threshold_that_is_no_probability_is_named(below):
    with pytest.raises(ValueError, match=rf"below={below} must be a probability"):
        decision.abstain(np.array([[0.1, 0.9]]), np.array([0, 1]), below)


def test_the_coverage_curve_is_what_abstain_does(texts):
    p, codes = texts
    curve = decision.coverage_curve(p, codes)
    assert len(curve.thresholds) < 100  # many texts share a confidence
    assert curve.thresholds.tolist() == sorted({row.max() for row in p})
    for below, coverage, accuracy in zip(*curve[:3], strict=True):
        answers = decision.abstain(p, np.arange(3), below)
        assert coverage == pytest.approx((~answers.mask).mean())
        assert accuracy == pytest.approx((answers == codes).mean())
    assert curve.coverage[0] == 1
    assert (np.diff(curve.coverage) < 0).all()


def test_the_area_is_the_mean_risk_over_texts(texts):
    p, codes = texts
    confidence, wrong = p.max(1), p.argmax(1) != codes
    risks = [wrong[confidence >= own].mean() for own in confidence]
    assert decision.coverage_curve(p, codes).area == pytest.approx(np.mean(risks))


def test_the_area_of_known_curves():
    error = 0.25
    confidence = np.linspace(0.6, 0.99, 10_000)
    p = np.stack([confidence, 1 - confidence], 1)
    rng = np.random.default_rng(0)
    blind = decision.coverage_curve(p, (rng.random(10_000) < error).astype(int))
    assert blind.area == pytest.approx(error, abs=0.02)
    # All errors are among the least sure, which gives the smallest possible area.
    best = decision.coverage_curve(p, (np.arange(10_000) < 2500).astype(int))
    assert best.area == pytest.approx(error + (1 - error) * np.log(1 - error), abs=1e-3)
    # If all confidences are equal, there is one point.
    one = decision.coverage_curve(np.array([[0.8, 0.2]] * 4), np.array([0, 0, 0, 1]))
    assert one.coverage.tolist() == [1]
    assert one.area == pytest.approx(0.25)


@pytest.mark.parametrize("measure", [decision.calibration_error, decision.coverage_curve])
def test_bad_input_is_named(measure, texts):
    p, codes = texts
    with pytest.raises(ValueError, match=r"shape \(400, 3\).*pass what predict_proba returns"):
        measure(p * 2, codes)
    with pytest.raises(ValueError, match=r"codes has shape \(7,\).* 400 labelled texts"):
        measure(p, codes[:7])
    for wrong, name in ((codes + 1, "3"), (codes - 1, "-1")):
        with pytest.raises(ValueError, match=rf"whole numbers from 0 to 2.*got \[{name}, "):
            measure(p, wrong)
    with pytest.raises(ValueError, match=r"got \['a', 'a', 'a'\]. For labels y, pass"):
        measure(p, np.array(["a"] * 400))


def test_bins_are_at_least_one(texts):
    with pytest.raises(ValueError, match="bins=0 must be at least 1"):
        decision.calibration_error(*texts, bins=0)

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    f1_score,
    mean_absolute_error,
)

from dann_transfer.ground import checks
from dann_transfer.ground.settings import check_params
from dann_transfer.judging.scores import (
    METRICS,
    OF_ORDER,
    balanced_accuracy,
    check_metric,
    difference_error,
    macro_f1,
    metric_of,
)


def test_macro_f1_is_over_the_classes_of_the_labels():
    """One stray text of a class that the labels lack costs a text and not a class."""
    codes = np.repeat([0, 1], 50)
    stray = codes.copy()
    stray[0] = 2
    wrong = codes.copy()
    wrong[0] = 1
    assert f1_score(codes, stray, average="macro") < 0.67
    assert macro_f1(codes, stray) == pytest.approx(macro_f1(codes, wrong), abs=0.01)
    assert macro_f1(codes, stray) > 0.99


def test_scores_equal_scikit_learn_where_all_classes_occur():
    rng = np.random.default_rng(0)
    codes, predicted = rng.integers(4, size=(2, 200))
    assert macro_f1(codes, predicted) == pytest.approx(f1_score(codes, predicted, average="macro"))
    expected = balanced_accuracy_score(codes, predicted)
    assert balanced_accuracy(codes, predicted) == pytest.approx(expected)


@pytest.mark.parametrize("metric", METRICS)
def test_the_error_of_a_gain_is_its_spread_over_samples(metric):
    """Against gains on texts that are really drawn anew."""
    rng, score = np.random.default_rng(0), METRICS[metric]

    def draw(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        codes = rng.integers(3, size=n)
        before, after = (
            np.where(rng.random(n) < share, codes, rng.integers(3, size=n)) for share in (0.6, 0.7)
        )
        return codes, before, after

    gains = [score(c, a) - score(c, b) for c, b, a in (draw(400) for _ in range(300))]
    errors = [difference_error(metric, *draw(400)) for _ in range(5)]
    assert np.mean(errors) == pytest.approx(np.std(gains), rel=0.2)


def test_the_names_of_metrics_are_those_of_the_check():
    assert (*METRICS, "quadratic_kappa") == checks.METRICS


@pytest.mark.parametrize("metric", [*METRICS, "f1_weighted", "matthews_corrcoef", "f1"])
def test_a_metric_is_found_by_its_name(metric):
    codes, predicted = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0])
    known = {
        "accuracy": 3 / 5,
        "macro_f1": (1 / 2 + 2 / 3) / 2,
        "balanced_accuracy": (1 / 2 + 2 / 3) / 2,
        "f1_weighted": (2 * 1 / 2 + 3 * 2 / 3) / 5,
        "matthews_corrcoef": 1 / 6,
        "f1": 2 / 3,
    }
    assert metric_of(metric)(codes, predicted) == pytest.approx(known[metric])


@pytest.mark.parametrize(
    ("metric", "error"),
    [
        ("f1_macor", r"metric='f1_macor' is unknown; did you mean 'f1_macro'\?"),
        (None, "metric=None must be one of .*'macro_f1'.* or the name of a scorer"),
        (accuracy_score, "metric=<function accuracy_score .* must be one of"),
    ],
)
def test_an_unknown_metric_is_refused_before_texts_are_read(metric, error):
    with pytest.raises(ValueError, match=error):
        check_params({"metric": metric})


@pytest.mark.parametrize("metric", ["f1", "roc_auc", "neg_log_loss", "average_precision"])
def test_a_metric_that_cannot_score_the_labels_is_refused(metric):
    with pytest.raises(ValueError, match=f"metric='{metric}' cannot score labels of 3 classes"):
        check_metric(metric, 3)


def test_scores_of_order_equal_scikit_learn_and_count_ranks_without_a_text():
    rng = np.random.default_rng(0)
    ranks, answers = rng.integers(5, size=(2, 60))
    error, kappa = OF_ORDER["mean_absolute_error"], OF_ORDER["quadratic_kappa"]
    assert error(ranks, answers) == pytest.approx(mean_absolute_error(ranks, answers))
    assert metric_of("neg_mean_absolute_error")(ranks, answers) == -error(ranks, answers)
    expected = cohen_kappa_score(ranks, answers, weights="quadratic")
    assert kappa(ranks, answers) == metric_of("quadratic_kappa")(ranks, answers)
    assert kappa(ranks, answers) == pytest.approx(expected)
    # Between 0 and 4 there are four steps, although no text is in between.
    ranks, answers = np.array([0, 1, 4, 4]), np.array([0, 0, 4, 4])
    assert kappa(ranks, answers) > kappa(ranks.clip(max=2), answers.clip(max=2))
    # Answers that are all alike are no better than chance.
    assert kappa(np.array([0, 1, 2]), np.array([1, 1, 1])) == 0
    assert kappa(np.array([1, 1]), np.array([1, 1])) == 0

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from dann_transfer.judging.scores import METRICS, balanced_accuracy, difference_error, macro_f1


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

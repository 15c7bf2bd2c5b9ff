from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import accuracy_score, f1_score

from dann_transfer.evaluation import Evaluation, evaluate
from dann_transfer.judging.decision import calibration_error
from dann_transfer.judging.gains import (
    Answers,
    accuracy_rows,
    by_group,
    doubt,
    gain_error,
)

CODES = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
P = np.array([0.9, 0.8, 0.7, 0.4, 0.1, 0.2, 0.3, 0.45, 0.6, 0.05])
P = np.stack([P, 1 - P], axis=1)


@pytest.fixture
def result() -> Evaluation:
    groups = np.array(["a"] * 7 + ["b"] * 3)
    return Evaluation(np.array(["neg", "pos"]), CODES, P, groups, 0.8)


def test_the_scores_are_scikit_learns(result):
    scores = result.scores()
    predicted = P.argmax(1)
    assert scores["accuracy"] == accuracy_score(CODES, predicted) == 0.8
    assert scores["macro_f1"] == f1_score(CODES, predicted, average="macro")
    assert scores["calibration_error"] == calibration_error(P, CODES)
    # 0.9, 0.8, 0.1, 0.2 and 0.05 are sure enough, and right.
    assert scores["coverage"] == 0.5
    assert scores["covered_accuracy"] == 1
    assert "80.0% of 10 texts are right" in result.summary()
    assert "50.0% of the texts are answered, 100.0% correctly." in result.summary()
    table = result.classes().set_index("class")
    assert table.loc["neg", "recall"] == 3 / 4
    assert table.loc["pos", "precision"] == 5 / 6
    assert table.texts.tolist() == [4, 6]
    assert result.curve().coverage[0] == 1


def test_nothing_covered_is_said(result):
    none = Evaluation(result.names, CODES, P, None, 1.0)
    assert np.isnan(none.scores()["covered_accuracy"])
    assert none.summary().endswith("0.0% of the texts are answered.")
    with pytest.raises(ValueError, match="pass groups to evaluate"):
        none.groups()


def test_the_interval_of_a_group_is_wilsons(result):
    row = result.groups().set_index("group").loc["a"]
    n, share, z = 7, 6 / 7, norm.ppf(0.975)
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    assert row.accuracy == pytest.approx(share)
    assert (row.low, row.high) == pytest.approx((middle - half, middle + half))
    assert row.coverage == 4 / 7
    assert [r["group"] for r in accuracy_rows(result.group_names, result.answers, 0.8)] == [
        "a",
        "b",
    ]


def test_gains_by_group_over_seeds():
    rng = np.random.default_rng(0)
    groups = np.repeat(["x", "y"], [60, 40])
    before, after = (
        [Answers((rng.random(100) < share).astype(float), rng.random(100)) for _ in range(3)]
        for share in (0.6, 0.8)
    )
    for row in by_group(groups, before, after, 0.5):
        own = groups == row["group"]
        gains = [(b.hits[own] - a.hits[own]).mean() for a, b in zip(before, after, strict=True)]
        assert row["gain"] == pytest.approx(np.mean(gains))
        errors = [gain_error(b.hits[own], a.hits[own]) for a, b in zip(before, after, strict=True)]
        assert row["half_width"] == pytest.approx(doubt(gains, errors))
        assert row["coverage_after"] == pytest.approx(
            np.mean([(a.confidence[own] >= 0.5).mean() for a in after])
        )


@pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning")
def test_evaluate_reads_what_fit_reads(tiny, source, target):
    import pandas as pd

    adapter = tiny(epochs=1).fit(*source, X_target=target)
    frame = pd.DataFrame({"text": source[0][:20], "label": source[1][:20], "who": ["a", "b"] * 10})
    result = evaluate(adapter, frame, groups="who")
    assert result.scores()["accuracy"] == adapter.score(source[0][:20], source[1][:20])
    assert result.groups().texts.tolist() == [10, 10]
    for arguments, words in (
        ({"groups": ["a"]}, "groups has 1 values for the 20 texts of X"),
        ({"groups": "whom"}, "has no column 'whom'"),
        ({"abstain_below": 80}, "abstain_below=80 must be"),
    ):
        with pytest.raises(ValueError, match=words):
            evaluate(adapter, frame, **arguments)
    with pytest.raises(ValueError, match="y has labels that the source does not"):
        evaluate(adapter, ["a"], ["unheard"])

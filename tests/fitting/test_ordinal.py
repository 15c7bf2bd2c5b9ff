"""Ordered classes in a fit: the head, the median class, the scores, and models that are saved."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from conftest import TINY, toy_texts
from fastapi.testclient import TestClient
from sklearn.base import clone
from sklearn.metrics import cohen_kappa_score, mean_absolute_error
from sklearn.model_selection import GridSearchCV

from dann_transfer import DomainAdapter, compare, evaluate
from dann_transfer.judging.answering import answered
from dann_transfer.model.heads import OrdinalHead
from dann_transfer.plots.predictions import ConfusionDisplay
from dann_transfer.serving.http import create_app
from dann_transfer.serving.onnx import OnnxModel, to_onnx
from dann_transfer.serving.tables import Predictor

pytestmark = [
    pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning"),
    pytest.mark.filterwarnings("ignore::dann_transfer.judging.findings.FindingWarning"),
]
ORDER = ["bad", "ok", "good"]


def ordered_texts(n: int, words: str, seed: int) -> tuple[list[str], list[str]]:
    """Return texts of three ordered classes, the middle one with a good word and a bad one."""
    texts, sides = toy_texts(2 * n, words, seed)
    rows = [(a, b) for a, b in zip(texts, sides, strict=True)]
    middle = [f"{a[0]} {b[0]}" for a, b in zip(rows[::2], rows[1::2], strict=True)][: n // 3]
    ends = rows[: n - len(middle)]
    names = {"neg": "bad", "pos": "good"}
    return [t for t, _ in ends] + middle, [names[s] for _, s in ends] + ["ok"] * len(middle)


@pytest.fixture(scope="module")
def source():
    return ordered_texts(90, "film plot actor scene the", 0)


@pytest.fixture(scope="module")
def target():
    return ordered_texts(60, "tweet lol omg today friend", 1)


@pytest.fixture(scope="module")
def fitted(tiny_encoder, source, target):
    settings = {**TINY, "method": "mcc", "epochs": 4, "ordinal": ORDER}
    return DomainAdapter(tiny_encoder, **settings).fit(*source, X_target=target[0])


def test_classes_stay_sorted_and_the_order_is_kept(fitted, target):
    assert fitted.classes_.tolist() == ["bad", "good", "ok"]
    assert fitted.order_.tolist() == ORDER
    p = fitted.predict_proba(target[0])
    assert np.allclose(p.sum(1), 1, atol=1e-5)
    steps = p[:, [0, 2, 1]].cumsum(1)
    medians = np.array(ORDER)[(steps >= 0.5).argmax(1)]
    assert (fitted.predict(target[0]) == medians).all()
    sure = p[np.arange(len(p)), np.searchsorted(fitted.classes_, medians)]
    threshold = float(np.median(sure))
    assert (fitted.predict(target[0], threshold).mask == (sure < threshold)).all()
    counts = {label: round(share * len(p)) for label, share in fitted.target_shares_.items()}
    assert counts == {label: int((medians == label).sum()) for label in fitted.classes_}


def test_scores_count_steps(fitted, target):
    texts, labels = target
    ranks = [[ORDER.index(label) for label in each] for each in (labels, fitted.predict(texts))]
    result = evaluate(fitted, texts, labels)
    scores = result.scores()
    assert scores["mean_absolute_error"] == pytest.approx(mean_absolute_error(*ranks))
    assert scores["quadratic_kappa"] == pytest.approx(cohen_kappa_score(*ranks, weights="quadratic"))
    assert f"{scores['mean_absolute_error']:.2f} classes off" in result.summary()
    assert result.classes()["class"].tolist() == ORDER
    hits = np.equal(*map(np.array, ranks))
    assert scores["accuracy"] == hits.mean() == result.curve().accuracy[0]
    matrix = ConfusionDisplay.from_estimator(fitted, texts, labels)
    assert matrix.classes == ORDER
    assert np.trace(next(iter(matrix.counts.values()))) == hits.sum()


@pytest.mark.parametrize("metric", ["neg_mean_absolute_error", "quadratic_kappa"])
def test_a_comparison_judges_by_steps(tiny_encoder, source, target, metric):
    settings = {k: v for k, v in TINY.items() if k != "random_state"}
    result = compare(
        *source, X_target=target[0], X_target_test=target[0], y_target_test=target[1],
        methods=["coral"], encoder=tiny_encoder, ordinal=ORDER, metric=metric, **settings,
    )  # fmt: skip
    for row in result.rows:
        predicted = result.adapters[row["method"]].predict(target[0])
        error = np.mean([abs(ORDER.index(a) - ORDER.index(b)) for a, b in zip(predicted, target[1], strict=True)])
        assert row["target_mean_absolute_error"] == pytest.approx(error)
        assert row["source_mean_absolute_error"] is None
    head = "target mean absolute error went from 0." if metric[0] == "n" else "target quadratic kappa"
    assert head in result.verdict("coral")
    assert "MAE" in repr(result)
    assert "kappa" in repr(result)
    rows = result.adapters["coral"].validation_
    assert f"validation_{metric}" in rows[0]


def test_a_saved_model_keeps_the_order(fitted, target, tmp_path):
    fitted.save_pretrained(tmp_path / "model")
    loaded = DomainAdapter.from_pretrained(tmp_path / "model")
    assert isinstance(loaded.model_.head, OrdinalHead)
    assert loaded.order_.tolist() == ORDER
    assert np.array_equal(loaded.predict_proba(target[0]), fitted.predict_proba(target[0]))
    assert (loaded.predict(target[0]) == fitted.predict(target[0])).all()
    config = tmp_path / "model" / "dann_transfer.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps({**values, "order": ["bad", "ok"]}))
    with pytest.raises(ValueError, match="order does not list each class once"):
        DomainAdapter.from_pretrained(tmp_path / "model")

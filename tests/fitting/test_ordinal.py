"""Ordered classes in a fit: the head, the median class, the scores, and models that are saved."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import TINY, toy_texts
from fastapi.testclient import TestClient
from sklearn.base import clone
from sklearn.metrics import cohen_kappa_score, mean_absolute_error
from sklearn.model_selection import GridSearchCV
from typer.testing import CliRunner

from dann_transfer import DomainAdapter, cli, compare, evaluate
from dann_transfer.fitting.fitted import Fitted
from dann_transfer.model.heads import OrdinalHead
from dann_transfer.plots.predictions import ConfusionDisplay
from dann_transfer.serving.http import create_app
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
    assert scores["quadratic_kappa"] == pytest.approx(
        cohen_kappa_score(*ranks, weights="quadratic")
    )
    assert f"{scores['mean_absolute_error']:.2f} classes off" in result.summary()
    assert result.classes()["class"].tolist() == ORDER
    hits = np.equal(*map(np.array, ranks))
    assert scores["accuracy"] == hits.mean() == result.curve().accuracy[0]
    matrix = ConfusionDisplay.from_estimator(fitted, texts, labels)
    assert matrix.classes == ORDER
    assert np.trace(next(iter(matrix.counts.values()))) == hits.sum()


def test_a_comparison_judges_by_steps(tiny_encoder, source, target):
    settings = {**TINY, "epochs": 1, "metric": "neg_mean_absolute_error", "ordinal": ORDER}
    del settings["random_state"]
    test = {"X_target_test": target[0], "y_target_test": target[1]}
    result = compare(
        *source, X_target=target[0], methods=["coral"], encoder=tiny_encoder, **test, **settings
    )
    places = np.array([ORDER.index(label) for label in target[1]])
    for row in result.rows:
        predicted = result.adapters[row["method"]].predict(target[0])
        error = abs(np.array([ORDER.index(label) for label in predicted]) - places).mean()
        assert row["target_mean_absolute_error"] == pytest.approx(error)
        assert row["target_neg_mean_absolute_error"] == pytest.approx(-error)
        assert row["source_quadratic_kappa"] is None
    assert "target mean absolute error went from 0." in result.verdict("coral")
    assert all(head in str(result.tables()[0]) for head in ("MAE", "kappa"))
    assert -2 <= result.adapters["coral"].validation_[0]["validation_neg_mean_absolute_error"] <= 0


def test_the_epoch_is_chosen_by_the_answers_and_steps_of_predict(tiny_encoder, source):
    settings = {**TINY, "epochs": 1, "ordinal": ORDER, "metric": "neg_mean_absolute_error"}
    X_val, y_val = ordered_texts(40, "tweet lol", 3)
    adapter = DomainAdapter(tiny_encoder, method="source_only", **settings)
    adapter.fit(*source, X_val=X_val, y_val=y_val)
    places = [[ORDER.index(label) for label in each] for each in (y_val, adapter.predict(X_val))]
    row = adapter.validation_[0]
    assert row["validation_accuracy"] == pytest.approx(np.mean(np.equal(*places)))
    error = mean_absolute_error(*places)
    assert row["validation_neg_mean_absolute_error"] == pytest.approx(-error)


def test_a_saved_model_keeps_the_order(fitted, target, tmp_path):
    fitted.save_pretrained(tmp_path / "model")
    loaded = DomainAdapter.from_pretrained(tmp_path / "model")
    assert isinstance(loaded.model_.head, OrdinalHead)
    assert loaded.order_.tolist() == ORDER
    assert np.array_equal(loaded.predict_proba(target[0]), fitted.predict_proba(target[0]))
    assert (loaded.predict(target[0]) == fitted.predict(target[0])).all()
    card = (tmp_path / "model" / "README.md").read_text()
    assert "Classes, from the lowest to the highest: `'bad'`, `'ok'`, `'good'`" in card
    values = loaded.fitted_.to_json()
    with pytest.raises(ValueError, match="order does not list each class once"):
        Fitted.from_json({**values, "order": ["bad", "ok"]})


def test_service_tables_and_commands_answer_with_the_median(fitted, target, tmp_path):
    fitted.save_pretrained(tmp_path / "model")
    texts, expected = target[0][:20], fitted.predict(target[0][:20]).tolist()
    p = fitted.predict_proba(texts)
    sure = p[np.arange(20), np.searchsorted(fitted.classes_, expected)]
    table = Predictor(tmp_path / "model")({"text": texts})
    assert table["label"].tolist() == expected
    assert np.allclose(table["confidence"], sure, atol=1e-5)
    with TestClient(create_app(fitted)) as client:
        rows = client.post("/predict", json={"texts": texts}).json()["predictions"]
    assert [row["label"] for row in rows] == expected
    assert np.allclose([row["probability"] for row in rows], sure, atol=1e-5)
    frame = pd.DataFrame({"text": texts, "label": target[1][:20]})
    frame.to_csv(tmp_path / "test.csv", index=False)
    arguments = [str(tmp_path / "model"), str(tmp_path / "test.csv")]
    run = CliRunner().invoke
    done = run(cli.app, ["predict", *arguments, "--out", str(tmp_path / "out.csv")])
    assert done.exit_code == 0, done.output
    answers = pd.read_csv(tmp_path / "out.csv")
    assert answers["predicted"].tolist() == expected
    assert np.allclose(answers["probability"], sure, atol=1e-4)
    assert "classes off on average" in run(cli.app, ["evaluate", *arguments]).stdout


def test_it_is_cloned_and_searched(tiny_encoder, source):
    adapter = DomainAdapter(tiny_encoder, **{**TINY, "epochs": 1, "method": "source_only"})
    X, y = source[0], pd.Series(source[1]).astype(pd.CategoricalDtype(ORDER, ordered=True))
    assert clone(adapter.set_params(ordinal=ORDER)).ordinal == ORDER
    search = GridSearchCV(adapter, {"ordinal": [True, False]}, cv=2, error_score="raise").fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert isinstance(adapter.set_params(ordinal=True).fit(X, y).model_.head, OrdinalHead)
    assert adapter.order_.tolist() == ORDER


@pytest.mark.parametrize(
    ("labels", "params", "error"),
    [
        (["a", "b", "c"], {"ordinal": True}, r"words without an order .*ordinal=\['a', 'b', 'c'\]"),
        (["a", "b", "b"], {"ordinal": True}, "needs at least 3 classes, and there are 2"),
        (["a", "b", "c"], {"ordinal": ["a", "b"]}, r"lacks classes of y: \['c'\]"),
        ([1, 2, 3], {"ordinal": [1, 2, "1", 3]}, "has 1 more than once"),
        (["1", "2", "2.0"], {"ordinal": True}, "same number in different writing"),
        (["a", "b", "c"], {"ordinal": ["a", "a"]}, "'a' more than once"),
        (["a", "b", "c"], {"ordinal": "a"}, "must be True, False, or the classes"),
        (["a", "b", "c"], {"ordinal": None}, "must be True, False, or the classes"),
        ([1, 2, 3], {"ordinal": True, "unknown": -1}, "has no place among ordered classes"),
        (["a", "b", "c"], {"metric": "quadratic_kappa"}, "words without an order; list it"),
        (["a", "b", "c"], {"metric": "neg_mean_absolute_error"}, "words without an order"),
        ([1, 2, 3], {"metric": "mean_absolute_error"}, "did you mean 'neg_mean_absolute_error'"),
    ],
)
@pytest.mark.filterwarnings("ignore::dann_transfer.texts.labels.LabelWarning")
def test_what_has_no_order_is_refused_before_training(tiny_encoder, labels, params, error):
    settings = {**TINY, "method": "source_only", **params}
    texts = [f"film {i}" for i in range(30)]
    with pytest.raises(ValueError, match=error):
        DomainAdapter(tiny_encoder, **settings).fit(texts, labels * 10, X_target=texts)

"""Several labels a text: a fit, its predictions in the form of y, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import BAD, GOOD, TINY
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import GridSearchCV
from typer.testing import CliRunner

from dann_transfer import DomainAdapter, advise, cli, compare, evaluate, methods, tune
from dann_transfer.judging.thresholds import thresholds_of
from dann_transfer.model.heads import TaskHead
from dann_transfer.serving.http import create_app
from dann_transfer.serving.onnx import to_onnx
from dann_transfer.serving.tables import Predictor
from dann_transfer.texts.labels import LabelWarning
from dann_transfer.texts.reading import LeftOutWarning
from dann_transfer.texts.several import Several, warn_of_oddities
from dann_transfer.training.forward import task_loss

LABELS = ["bad", "good", "long"]


def marked_texts(n: int, words: str, seed: int) -> tuple[list[str], np.ndarray]:
    """Return texts with any of three labels: a good word, a bad word, and more than four words."""
    rng = np.random.default_rng(seed)
    marks = rng.integers(0, 2, (n, 3))
    texts = []
    for bad, good, long in marks:
        chosen = rng.choice(words.split(), 4 if long else 1).tolist()
        chosen += [rng.choice(BAD)] * bad + [rng.choice(GOOD)] * good
        texts.append(" ".join(chosen))
    return texts, marks


@pytest.fixture(scope="module")
def source():
    return marked_texts(120, "film plot actor scene the", 0)


@pytest.fixture(scope="module")
def target():
    return marked_texts(60, "tweet lol omg today friend", 1)


@pytest.fixture(scope="module")
def fitted(tiny_encoder, source, target):
    settings = {**TINY, "epochs": 8, "method": "dann", "metric": "f1_micro"}
    y = pd.DataFrame(source[1], columns=LABELS)
    return DomainAdapter(tiny_encoder, **settings).fit(source[0], y, X_target=target[0])


def test_it_learns_each_label_by_itself(fitted, target):
    assert fitted.classes_.tolist() == LABELS
    p, predicted = fitted.predict_proba(target[0]), fitted.predict(target[0])
    assert p.shape == predicted.shape == (60, 3)
    assert np.abs(p.sum(1) - 1).max() > 0.2
    assert ((p >= fitted.thresholds_) == predicted).all()
    assert f1_score(target[1], predicted, average="micro") > 0.75
    assert list(fitted.target_shares_.values()) == pytest.approx(predicted.mean(0).tolist())
    assert set(fitted.validation_[0]) == {"epoch", "validation_accuracy", "validation_f1_micro"}
    assert fitted.score(*target) == accuracy_score(target[1], predicted)


def test_evaluate_has_the_scores_of_several_labels(fitted, target):
    frame = pd.DataFrame(target[1], columns=LABELS)
    result = evaluate(fitted, target[0], frame[["long", "bad", "good"]])
    predicted, scores = fitted.predict(target[0]), result.scores()
    assert scores["subset_accuracy"] == accuracy_score(target[1], predicted)
    for average in ("micro", "macro"):
        assert scores[f"{average}_f1"] == f1_score(target[1], predicted, average=average)
    assert result.classes()["class"].tolist() == LABELS
    assert "exactly the predicted labels" in repr(result)
    assert result.classes()["texts"].tolist() == target[1].sum(0).tolist()
    with pytest.raises(ValueError, match="no single answer"):
        result.curve()


def as_lists(marks: np.ndarray) -> list[list[str]]:
    return [[LABELS[i] for i in np.flatnonzero(row)] for row in marks]


@pytest.mark.parametrize("form", ["array", "sparse", "nested", "lists", "column"])
def test_predictions_have_the_form_of_y(tiny_encoder, source, form):
    texts, marks = source
    forms = {"array": marks, "sparse": csr_matrix(marks), "nested": marks.tolist()}
    X, y = texts, forms.get(form, as_lists(marks))
    if form == "column":
        X, y = pd.DataFrame({"text": texts, "label": as_lists(marks)}), None
    settings = {**TINY, "epochs": 1, "method": "source_only"}
    adapter = DomainAdapter(tiny_encoder, **settings).fit(X, y)
    predicted = adapter.predict(texts[:5])
    if form in ("lists", "column"):
        assert adapter.classes_.tolist() == LABELS
        rows = adapter.predict_proba(texts[:5]) >= adapter.thresholds_
        assert predicted == as_lists(rows)
        # One label each is no other form once the fit has lists.
        one = evaluate(adapter, texts[:3], [["bad"], ["good"], ["long"]])
        assert one.codes.tolist() == np.eye(3).tolist()
    else:
        assert adapter.classes_.tolist() == [0, 1, 2]
        assert predicted.dtype.kind == "i"
        assert predicted.shape == (5, 3)


def test_it_is_saved_cloned_and_searched(fitted, source, target, tmp_path):
    fitted.save_pretrained(tmp_path / "model")
    loaded = DomainAdapter.from_pretrained(tmp_path / "model")
    assert isinstance(loaded.model_.head, TaskHead)
    assert (loaded.thresholds_, loaded.form_) == (pytest.approx(fitted.thresholds_), "matrix")
    assert (loaded.predict(target[0]) == fitted.predict(target[0])).all()
    twin = clone(fitted).set_params(epochs=1, method="source_only")
    search = GridSearchCV(twin, {"warmup": [0.0, 0.1]}, cv=2, error_score="raise")
    assert np.isfinite(search.fit(*source).cv_results_["mean_test_score"]).all()


def test_what_takes_one_class_a_text_refuses_a_model_of_several(fitted, source, target, tmp_path):
    fitted.save_pretrained(tmp_path / "model")
    (tmp_path / "texts.csv").write_text("text\ngood film\n")
    refused = [
        lambda: fitted.predict(target[0], abstain_below=0.5),
        lambda: fitted.predict(target[0], label="unsure"),
        lambda: fitted.suggest(target[0], 3),
        fitted.diagnose,
        lambda: fitted.retarget(*source, X_target=target[0]),
        lambda: evaluate(fitted, *target, groups=["a"] * 60),
        lambda: create_app(fitted),
        lambda: to_onnx(fitted, tmp_path / "onnx"),
        lambda: Predictor(tmp_path / "model"),
    ]
    for each in refused:
        with pytest.raises(ValueError, match="gives several labels a text"):
            each()
    arguments = [str(tmp_path / "model"), str(tmp_path / "texts.csv")]
    done = CliRunner().invoke(cli.app, ["predict", *arguments])
    assert done.exit_code == 2
    assert "gives several labels a text" in done.stderr


def test_methods_that_need_one_class_are_refused_before_training(tiny_encoder, source, target):
    """Every method either takes several labels, or is refused by name."""
    refused = [n for n in methods.names() if not methods.create(n).takes_several]
    assert {"mcc", "cdan", "mdd", "student", "shot", "iwdan", "jan"} <= set(refused)
    for name in [*refused, "mcc+dann"]:
        adapter = DomainAdapter(tiny_encoder, **{**TINY, "epochs": 4, "method": name})
        with pytest.raises(
            ValueError, match=rf"method='{name}'.*several labels.*'dann'".replace("+", r"\+")
        ):
            adapter.fit(*source, X_target=target[0])


@pytest.mark.parametrize("name", [n for n in methods.names() if methods.create(n).takes_several])
def test_methods_that_look_at_features_train(tiny_encoder, source, target, name):
    adapter = DomainAdapter(tiny_encoder, **{**TINY, "epochs": 1, "method": name})
    adapter.fit(source[0][:40], source[1][:40], X_target=target[0][:40])
    assert np.isfinite(adapter.predict_proba(target[0])).all()


@pytest.mark.parametrize(
    ("params", "fit", "error"),
    [
        ({"class_weight": "balanced"}, {}, "class_weight='balanced' takes one class a text"),
        ({"correct_prior": "em"}, {}, "correct_prior='em' takes one class"),
        ({"neighbors": 5}, {}, "neighbors=5 takes one class"),
        ({"align": "transport"}, {}, "align='transport' takes one class"),
        ({"unknown": 0}, {}, "unknown=0 takes one class"),
        ({"ordinal": True}, {}, "ordinal=True takes one class"),
        ({"use_knowledge": True}, {}, "use_knowledge=True takes one class"),
        ({"metric": "balanced_accuracy"}, {}, "cannot score several labels a text; use 'accuracy'"),
        ({"method": "auto"}, {}, "method='auto' chooses among methods of one class"),
        ({"method": None}, {}, "method=None chooses among methods of one class"),
        ({}, {"knowledge": [1]}, "knowledge takes one of each"),
        ({}, {"X_target_labelled": ["x"]}, "X_target_labelled takes one of each"),
        ({}, {"X_val": ["x", "z"], "y_val": [0, 1]}, "y_val is not; pass it in the same form"),
        ({}, {"X_val": ["x"], "y_val": [[1, 0]]}, r"y_val has the labels \[0, 1\], and the source"),
        ({}, {"y_val": [[1, 0, 1]]}, "y_val was passed without X_val"),
    ],
)
def test_settings_that_take_one_class_are_refused(tiny_encoder, source, params, fit, error):
    adapter = DomainAdapter(tiny_encoder, **{**TINY, "method": "source_only", **params})
    with pytest.raises(ValueError, match=error):
        adapter.fit(*source, **{"X_target": source[0], **fit})


def test_a_comparison_scores_several_labels(tiny_encoder, source, target, tmp_path):
    settings = {**TINY, "epochs": 1, "metric": "f1_micro", "encoder": tiny_encoder}
    del settings["random_state"]
    test = {"X_target_test": target[0], "y_target_test": target[1]}
    common = {"X_target": target[0][:40], "methods": ["coral"], "folder": tmp_path / "runs"}
    result = compare(*source, **common, **test, **settings)
    for row in result.rows:
        predicted = result.adapters[row["method"]].predict(target[0])
        assert row["target_f1_micro"] == f1_score(target[1], predicted, average="micro")
        assert row["target_accuracy"] == accuracy_score(target[1], predicted)
        assert row["source_macro_f1"] is None
    assert "target f1 micro went from" in result.verdict("coral")
    # What the folder kept is the same.
    again = compare(*source, **common, **test, **settings)
    assert again.rows == result.rows
    assert again.verdicts() == result.verdicts()
    with pytest.raises(ValueError, match=r"y_target_test has the labels \[0, 1\], and the source"):
        compare(*source, **common, X_target_test=["x"], y_target_test=[[1, 0]], **settings)


def test_functions_that_take_one_class_say_so(tiny_encoder, source, target):
    settings = {"X_target": target[0], "encoder": tiny_encoder, "progress": False}
    test = {"X_target_test": target[0], "y_target_test": target[1]}
    with pytest.raises(ValueError, match="groups_target_test takes one class a text"):
        compare(*source, **settings, **test, methods=["dann"], groups_target_test=["a"] * 60)
    with pytest.raises(ValueError, match="tune takes one class a text"):
        tune(*source, **settings, runs=2, space={"method": ["dann", "coral"]})
    with pytest.raises(ValueError, match="advise chooses among methods of one class a text"):
        advise(*source, X_target=target[0])


@pytest.mark.parametrize(
    ("y", "error"),
    [
        ([["a"], ["b", None], []], r"y\[1\] is missing"),
        ([["a"], ["a", "b"]], "X has 3 texts but y has 2 rows"),
        ([["a", "a"], ["a"], []], "only one label, 'a'"),
        ([["a"], ["b"], []], "lists of several lengths"),
        ([["a", 1], ["b"], []], "mixes label types"),
        (
            {"a": (["x"], [["a", "b"]])},
            r"X\['a'\] has several labels a text; of such",
        ),
    ],
)
def test_labels_that_are_no_labels_are_named(tiny_encoder, y, error):
    adapter = DomainAdapter(tiny_encoder, **{**TINY, "method": "source_only"})
    X, labels = (y, None) if isinstance(y, dict) else (["x", "y", "z"], y)
    with pytest.raises((TypeError, ValueError), match=error):
        adapter.fit(X, labels)


def test_a_table_of_answers_with_gaps_is_no_table_of_several_labels(tiny_encoder):
    adapter = DomainAdapter(tiny_encoder, **{**TINY, "method": "source_only"})
    frame = pd.DataFrame({"text": ["x", "y", "z"], "label": [["a"], ["b"], []]})
    with pytest.raises(ValueError, match=r"y\[2\] is missing"):
        adapter.fit(frame)
    # Which rows count is said by another column.
    frame = frame.assign(label=[["a"], ["a", "b"], ["b"]], answer=["accept", "reject", "accept"])
    with pytest.warns(LeftOutWarning, match='1 answer "reject"'):
        adapter.set_params(epochs=1, validation_fraction=0).fit(frame)
    assert adapter.form_ is None


def test_rare_marks_and_labels_that_nothing_shows_are_warned_of():
    marks = np.eye(3, dtype=np.uint8)[np.arange(40) % 2]
    marks[0] = [1, 1, 0]
    with pytest.warns(LabelWarning) as said:
        warn_of_oddities(Several(np.array(LABELS), marks, "matrix"), "y")
    words = [str(w.message) for w in said]
    assert any("only 1 of 40 texts of y have several labels" in w for w in words)
    assert any("on no text, or on every one: ['long']" in w for w in words)


def test_thresholds_are_those_of_the_best_f1_on_held_out_texts():
    rng = np.random.default_rng(0)
    marks = (rng.random((200, 2)) < [0.2, 0.01]).astype(int)
    p = 0.3 * marks + 0.4 * rng.random((200, 2))
    chosen = thresholds_of(p, marks)
    # Too few texts have the second label.
    assert chosen[1] == 0.5
    best = max(f1_score(marks[:, 0], p[:, 0] >= t) for t in np.linspace(0, 1, 101))
    assert f1_score(marks[:, 0], p[:, 0] >= chosen[0]) >= best
    assert f1_score(marks[:, 0], p[:, 0] >= 0.5) < best


def test_the_loss_is_binary_cross_entropy():
    logits, marks = torch.tensor([[0.5, -1.0], [2.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    p = torch.sigmoid(logits)
    each = -(marks * p.log() + (1 - marks) * (1 - p).log()).mean(1)
    assert torch.allclose(task_loss(logits, marks, None), each.mean())
    weights = torch.tensor([0.5, 1.5])
    assert torch.allclose(task_loss(logits, marks, weights), (weights * each).mean())

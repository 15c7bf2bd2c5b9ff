"""Target texts of classes that the source does not have, in a fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import TINY, toy_texts
from fastapi.testclient import TestClient

from dann_transfer import DomainAdapter, compare, evaluate
from dann_transfer.judging.novelty import Novelty
from dann_transfer.serving.http import create_app
from dann_transfer.serving.onnx import to_onnx
from dann_transfer.serving.tables import Predictor
from dann_transfer.training import loop
from dann_transfer.training.phases import KNOWN

pytestmark = [
    pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning"),
    pytest.mark.filterwarnings("ignore::dann_transfer.judging.findings.FindingWarning"),
]
NEW = ["today today friend omg", "friend lol today", "omg friend today lol"] * 8


@pytest.fixture(scope="module")
def target():
    """Texts of both classes, then of a new one, and all labels."""
    texts, labels = toy_texts(60, "tweet lol omg", 1)
    return texts + NEW, labels + ["other"] * len(NEW)


@pytest.fixture(scope="module")
def fitted(tiny_encoder, target):
    settings = {**TINY, "method": "source_only", "epochs": 6}
    source = toy_texts(120, "film plot actor scene the", 0)
    return DomainAdapter(tiny_encoder, **settings, unknown="other").fit(*source, X_target=target[0])


@pytest.fixture
def split_at(monkeypatch):
    """Let the known texts be the first n, whatever the features are."""

    def split(n: int) -> None:
        def first(_, features: np.ndarray) -> np.ndarray:
            return np.arange(len(features)) >= n

        monkeypatch.setattr(Novelty, "is_new", first)

    return split


def test_new_texts_get_the_label_and_probabilities_keep_their_columns(fitted, target, split_at):
    split_at(60)
    texts, labels = target
    answers = fitted.predict(texts)
    assert (answers[60:] == "other").all()
    assert set(answers[:60]) <= {"pos", "neg"}
    assert fitted.predict_proba(texts).shape == (len(texts), 2)
    # Texts of the source are of its classes, and an answer about a new class is not withheld.
    assert "other" not in fitted.predict(texts, domain="source")
    kept = fitted.predict(texts, abstain_below=1.0)
    assert kept.mask.tolist() == [True] * 60 + [False] * len(NEW)
    batch = _predictor(fitted)({"text": texts})
    assert (batch["label"] == answers).all()
    result = evaluate(fitted, texts, labels)
    scores = result.scores()
    known = (answers[:60] == np.array(labels[:60])).mean()
    assert scores["new_recall"] == 1
    assert scores["known_accuracy"] == known
    assert scores["h_score"] == pytest.approx(2 * known / (1 + known))
    assert scores["accuracy"] == pytest.approx(fitted.score(texts, labels))
    assert "answered 'other': H-score" in result.summary()
    assert result.classes()["class"].tolist() == ["neg", "pos", "other"]


def _predictor(adapter: DomainAdapter) -> Predictor:
    predictor = object.__new__(Predictor)
    predictor.adapter, predictor.domain, predictor.domain_column = adapter, "target", None
    predictor.text_column, predictor.label_column = "text", "label"
    predictor.confidence_column = "confidence"
    return predictor


def test_the_label_can_be_renamed_and_left_out(fitted, target, split_at):
    split_at(60)
    texts = target[0]
    before = fitted.predict_proba(texts)
    assert (fitted.set_params(unknown="none of these").predict(texts)[60:] == "none of these").all()
    assert "other" not in fitted.set_params(unknown=None).predict(texts)
    fitted.set_params(unknown="pos")
    with pytest.raises(ValueError, match="unknown='pos' is a class of the source"):
        fitted.predict(texts)
    fitted.set_params(unknown="other")
    assert np.array_equal(fitted.predict_proba(texts), before)


def test_saved_and_loaded_it_answers_the_same(fitted, target, tmp_path):
    fitted.save_pretrained(tmp_path / "model")
    loaded = DomainAdapter.from_pretrained(tmp_path / "model")
    assert loaded.novelty_.threshold == fitted.novelty_.threshold
    assert (loaded.predict(target[0]) == fitted.predict(target[0])).all()


def test_the_service_answers_it(fitted, split_at):
    split_at(2)
    with TestClient(create_app(fitted)) as client:
        rows = client.post("/predict", json={"texts": ["good", "bad", *NEW[:2]]}).json()
        assert client.get("/model").json()["unknown"] == "other"
    labels = [row["label"] for row in rows["predictions"]]
    assert labels[2:] == ["other", "other"]
    assert set(labels[:2]) <= {"pos", "neg"}


def test_an_export_without_its_new_classes_is_refused(fitted, tmp_path):
    with pytest.raises(ValueError, match="unknown='other' changes predictions after the model"):
        to_onnx(fitted, tmp_path / "onnx")


def test_other_labels_are_still_refused(fitted):
    with pytest.raises(ValueError, match=r"\['mixed'\].*texts of other classes have 'other'"):
        evaluate(fitted, ["good"], ["mixed"])


def test_a_comparison_counts_it(tiny_encoder, target):
    texts, labels = target
    result = compare(
        *toy_texts(60, "film plot", 0),
        X_target=texts,
        X_target_test=texts,
        y_target_test=labels,
        methods=["student"],
        encoder=tiny_encoder,
        epochs=1,
        max_length=32,
        device="cpu",
        progress=False,
        unknown="other",
    )
    for row in result.rows:
        known, new = row["target_known_accuracy"], row["target_new_recall"]
        assert row["target_h_score"] == (2 * known * new / (known + new) if known + new else 0)
        both = (60 * known + len(NEW) * new) / len(texts)
        assert row["target_accuracy"] == pytest.approx(both)


@pytest.mark.parametrize("method", ["student", "shot", "dann", "self_training", "student+dann"])
def test_new_texts_are_left_out_of_adaptation(method, tiny_encoder, target, split_at, monkeypatch):
    split_at(60)
    seen: list[tuple[bool, np.ndarray]] = []
    step = loop.Trainer.step

    def watched(self, engine, _=None):
        row = step(self, engine)
        phase = self.phases[self.timeline.at(engine.state.iteration).phase]
        memory = getattr(phase.method, "memory", {}) if phase.adapts else {}
        seen.append((KNOWN in memory, self.batches.rows(engine.state.iteration - 1)[1]))
        return row

    monkeypatch.setattr(loop.Trainer, "step", watched)
    settings = {**TINY, "method": method, "epochs": 2, "max_strength": None}
    adapter = DomainAdapter(tiny_encoder, **settings, unknown="other")
    adapter.fit(*toy_texts(60, "film plot", 0), X_target=target[0])
    rows = np.concatenate([rows for tells, rows in seen if tells])
    assert len(rows)
    assert rows.max() < 60


@pytest.mark.parametrize(("method", "votes"), [("student", True), ("shot", True), ("dann", False)])
def test_what_a_teacher_took_for_new_is_what_its_student_answers_by(
    method, votes, tiny_encoder, target, split_at
):
    split_at(60)
    settings = {**TINY, "method": method, "epochs": 1, "max_strength": None}
    adapter = DomainAdapter(tiny_encoder, **settings, unknown="other")
    adapter.fit(*toy_texts(60, "film plot", 0), X_target=target[0])
    marks = adapter.novelty_.novelties
    assert (marks.tolist() == [0] * 60 + [1] * len(NEW)) == votes
    assert (adapter.novelty_.threshold == 0.5) == votes


def test_where_nothing_is_known_nothing_is_left_out(tiny_encoder, target, split_at):
    split_at(0)
    settings = {**TINY, "method": "shot", "epochs": 1, "max_strength": None}
    with pytest.warns(UserWarning, match="all 84 target texts seem to be of classes that"):
        DomainAdapter(tiny_encoder, **settings, unknown="other").fit(
            *toy_texts(60, "film plot", 0), X_target=target[0]
        )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unknown": "pos"}, "unknown='pos' is a class of the source; name one that it does not"),
        ({"unknown": -1}, "unknown=-1 is of another kind than the labels.*type str"),
        ({"unknown": 0.5}, "unknown=0.5 must be a label"),
        ({"unknown": ["a"]}, r"unknown=\['a'\] must be a label"),
        ({"unknown": " "}, "unknown=' ' must be a label"),
        ({"unknown": "x", "validation_fraction": 0}, "unknown='x' needs held-out source texts"),
    ],
)
def test_what_cannot_be_a_new_label_is_refused(changes, said, tiny_encoder):
    adapter = DomainAdapter(tiny_encoder, **{**TINY, "method": "source_only", **changes})
    with pytest.raises(ValueError, match=said):
        adapter.fit(["good", "bad"] * 20, ["pos", "neg"] * 20, X_target=["lol"] * 20)


def test_it_needs_a_target_and_labels_that_leave_room(tiny_encoder):
    adapter = DomainAdapter(tiny_encoder, **{**TINY, "method": "source_only", "unknown": "x"})
    with pytest.raises(ValueError, match=r"unknown='x' is found among target texts: pass X_target"):
        adapter.fit(["good", "bad"] * 20, ["pos", "neg"] * 20)
    adapter.set_params(unknown=2)
    with pytest.raises(ValueError, match="use strings as labels"):
        adapter.fit(["good", "bad"] * 20, [True, False] * 20, X_target=["lol"] * 20)


def test_a_model_without_it_says_so(tiny, source, target):
    adapter = tiny(method="source_only", epochs=1).fit(*source, X_target=target[0])
    adapter.set_params(unknown="other")
    with pytest.raises(ValueError, match="was fitted without it; fit it so, or retarget"):
        adapter.predict(target[0])
    before = torch.get_rng_state()
    adapter.retarget(*source, X_target=target[0])
    assert adapter.novelty_ is not None
    assert torch.equal(before, torch.get_rng_state())

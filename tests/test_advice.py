from __future__ import annotations

import pytest
from conftest import TINY, same, toy_texts, weights

from dann_transfer import DomainAdapter, advise
from dann_transfer.advice import ENOUGH, MANY_CLASSES


def texts_of(n: int, classes: int) -> tuple[list[str], list[str]]:
    return [f"text {i}" for i in range(n)], [f"class {i % classes}" for i in range(n)]


TARGET = ["another text", "one more"] * 8


@pytest.mark.parametrize(
    ("n", "classes", "method"),
    [
        (100, 2, "mcc"),
        (ENOUGH, 2, "student"),
        (100, MANY_CLASSES, "student"),
        (300, 22, "student"),
    ],
)
def test_the_method_follows_from_texts_and_classes(n, classes, method):
    advice = advise(*texts_of(n, classes), X_target=TARGET)
    assert advice.method == method
    assert str(advice.epochs) in str(advice)
    assert advice.reason in str(advice)


def test_without_a_target_nothing_is_adapted():
    advice = advise(*texts_of(100, 2))
    assert (advice.method, advice.target_texts) == ("source_only", 0)


def test_lopsided_classes_are_adapted_only_if_source_only_fails():
    X, _ = texts_of(200, 2)
    advice = advise(X, ["ham"] * 180 + ["spam"] * 20, X_target=TARGET)
    assert advice.method == "auto"
    assert "lopsided" in advice.reason
    assert advice.smallest == pytest.approx(0.1)


def test_the_number_of_epochs_is_that_of_the_run(tiny, source, target):
    advised = advise(*source, X_target=target, batch_size=16)
    adapter = tiny(method=None, max_strength=None, epochs=None).fit(*source, X_target=target)
    assert adapter.params_["epochs"] == advised.epochs
    assert adapter.params_["method"] == advised.method
    assert adapter.advice_ == str(advised)
    assert adapter.method is None


def test_an_advised_run_is_the_run_of_that_method(tiny, source, target, tmp_path):
    adapter = tiny(method=None, max_strength=None).fit(*source, X_target=target)
    named = tiny(method="mcc", max_strength=None).fit(*source, X_target=target)
    assert same(weights(adapter), weights(named))
    assert named.advice_ is None
    adapter.save_pretrained(tmp_path / "model")
    loaded = DomainAdapter.from_pretrained(tmp_path / "model")
    assert loaded.advice_ == adapter.advice_
    assert (loaded.predict(target) == adapter.predict(target)).all()


def test_lopsided_classes_are_trained_as_auto_trains_them(tiny, target):
    texts = toy_texts(200, "film plot actor scene the", 0)[0]
    labels = ["spam"] * 20 + ["ham"] * 180
    adapter = tiny(method=None, max_strength=None, epochs=1).fit(texts, labels, X_target=target)
    assert adapter.params_["method"] == "auto"
    assert adapter.choice_.method == "source_only"


def test_the_reason_is_said_before_training(tiny, source, target, capsys):
    adapter = tiny(method=None, max_strength=None, progress=True, epochs=1)
    adapter.fit(*source, X_target=target)
    line = capsys.readouterr().err.splitlines()[0]
    assert line == adapter.advice_
    assert "too few to teach a student" in line


@pytest.mark.parametrize(
    "change", [{"method_options": {"width": 4}}, {"max_strength": 0.5}], ids=str
)
def test_what_belongs_to_a_method_needs_its_name(tiny, source, target, change):
    params = {**TINY, "max_strength": None, **change}
    with pytest.raises(ValueError, match=rf"{next(iter(change))}=.* name the method"):
        tiny(method=None, **params).fit(*source, X_target=target)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="y has only one class"):
        advise(["a text", "another"], ["x", "x"])
    with pytest.raises(TypeError, match="advise has no keyword 'epoch'"):
        advise(*toy_texts(10, "film", 0), epoch=3)

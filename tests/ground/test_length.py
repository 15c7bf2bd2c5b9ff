from __future__ import annotations

import pytest
from conftest import toy_texts

from dann_transfer.ground.length import FEWEST, epochs_for, steps_for


def test_a_thousand_texts_of_two_classes_take_no_more_steps_than_three_epochs():
    for texts in range(870, 1001):
        batches = round(texts / 32)
        assert epochs_for(texts, 2, 32) == 3, texts
        assert batches * 3 <= 93


@pytest.mark.parametrize("texts", [9, 45, 90, 270, 900, 2700, 90_000])
@pytest.mark.parametrize("classes", [2, 4, 12, 22, 77, 150])
@pytest.mark.parametrize("batch_size", [8, 32, 256])
def test_a_run_has_the_steps_that_its_classes_need_and_three_epochs(texts, classes, batch_size):
    batches = max(1, round(texts / batch_size))
    epochs = epochs_for(texts, classes, batch_size)
    assert epochs >= FEWEST
    assert epochs * batches >= steps_for(classes) - batches / 2
    # No epoch more than that.
    assert epochs == FEWEST or (epochs - 0.5) * batches <= steps_for(classes)


def test_more_classes_take_more_steps():
    steps = [steps_for(classes) for classes in (2, 3, 10, 100, 1000)]
    assert steps == sorted(set(steps))


def test_a_run_s_length_is_fixed_before_it_starts(tiny, target):
    """Ninety texts are three batches: 28 epochs, as the history and the parameters say."""
    X, y = toy_texts(90, "film plot actor scene the", 0)
    X = [f"{text} {'the ' * (i % 7)}film" for i, text in enumerate(X)]
    adapter = tiny(method="source_only", epochs=None, batch_size=32).fit(X, y)
    batches = len(adapter.history_) // adapter.params_["epochs"]
    assert adapter.params_["epochs"] == epochs_for(81, 2, 32)
    assert batches * adapter.params_["epochs"] == len(adapter.history_)
    assert adapter.epochs is None
    assert len(adapter.validation_) == adapter.params_["epochs"]


@pytest.mark.parametrize(("method", "phases"), [("student", 2), ("shot", 2)])
def test_a_second_phase_is_as_long_as_the_first(tiny, source, target, method, phases):
    adapter = tiny(method=method, epochs=2, max_strength=None).fit(*source, X_target=target)
    assert adapter.history_[-1]["epoch"] == 2 * phases
    longer = tiny(method=method, epochs=2, method_options={"extra_epochs": 3}, max_strength=None)
    assert longer.fit(*source, X_target=target).history_[-1]["epoch"] == 5

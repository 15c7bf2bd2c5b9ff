from __future__ import annotations

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from dann_transfer import plots
from dann_transfer.fitting.fitted import Fitted
from dann_transfer.judging.decision import calibration_error
from dann_transfer.plots.predictions import ConfusionDisplay, CoverageDisplay, ReliabilityDisplay

pytestmark = pytest.mark.usefixtures("no_figure_shown_or_left")


class Sure:
    """Returns the given probabilities."""

    method = "sure"
    classes_ = np.array(["neg", "pos"])
    text_column, label_column = "text", "label"
    fitted_ = Fitted(classes_, 0, 0.1, 1e-3, 8, 8, np.full(2, 0.5), [], [], {})

    def __init__(self, p: np.ndarray) -> None:
        self.p = p

    def predict_proba(self, X):
        return self.p

    def predict(self, X):
        return self.classes_[self.p.argmax(1)]


LABELS = ["neg"] * 4 + ["pos"] * 6


TEXTS = [f"text {i}" for i in range(10)]


# One of four "neg" and three of six "pos" are predicted to be the other class.
P = np.array([[0.9, 0.1]] * 3 + [[0.2, 0.8]] + [[0.1, 0.9]] * 3 + [[0.7, 0.3]] * 3)


def test_confusion_shows_shares_of_the_true_class():
    models = {"before": Sure(P), "after": Sure(np.eye(2)[[0] * 4 + [1] * 6])}
    display = ConfusionDisplay.from_estimator(models, TEXTS, LABELS)
    assert display.counts["before"].tolist() == [[3, 1], [3, 3]]
    frame = display.frame()
    assert frame.groupby("model").texts.sum().tolist() == [10, 10]
    found = frame.query("model == 'before' and true == 'neg' and predicted == 'pos'").texts.item()
    assert found == 1
    axes = plots.confusion(models, TEXTS, LABELS)
    assert [[t.get_text() for t in ax.texts] for ax in axes] == [
        ["75%", "25%", "50%", "50%"],
        ["100%", "0%", "0%", "100%"],
    ]
    assert axes[0].get_title() == "before\n60.0% of 10 texts right"
    assert axes[0].images[0].get_clim() == axes[1].images[0].get_clim() == (0, 1)
    _, ax = plt.subplots()
    assert plots.confusion(Sure(P), TEXTS, LABELS, ax=ax) == [ax]
    with pytest.raises(ValueError, match="ax holds 1 Axes; this picture needs 2"):
        display.plot(ax)
    with pytest.raises(ValueError, match=r"y has labels that the source does not have: \['meh'\]"):
        ConfusionDisplay.from_estimator(models, TEXTS, ["meh"] * 10)


def test_confusion_of_many_classes_leaves_the_zeros_out():
    class Five(Sure):
        classes_ = np.array(list("abcde"))

    labels = list("abcdeabcde")
    p = np.eye(5)[[0, 1, 2, 3, 4, 0, 1, 2, 3, 0]]
    (ax,) = plots.confusion(Five(p), TEXTS, labels)
    shown = sorted(t.get_text() for t in ax.texts if t.get_visible())
    assert shown == ["100%"] * 4 + ["50%"] * 2


def test_reliability_is_accuracy_by_confidence():
    display = ReliabilityDisplay.from_estimator(Sure(P), TEXTS, LABELS)
    rows = {round(row["confidence"], 2): row for row in display.bins["sure"]}
    assert {c: (row["accuracy"], row["texts"]) for c, row in rows.items()} == {
        0.7: (0.0, 3),
        0.8: (0.0, 1),
        0.9: (1.0, 6),
    }
    assert display.errors["sure"] == pytest.approx((0.7 * 3 + 0.8 + 0.1 * 6) / 10)
    ax = plots.reliability({"a": Sure(P)}, TEXTS, LABELS)
    assert ax.lines[1].get_xdata() == pytest.approx([0.7, 0.8, 0.9])
    labels = [t.get_text() for t in ax.get_legend().get_texts()]
    assert labels == ["as sure as right", "a (calibration error 0.35)"]
    assert display.frame().texts.sum() == 10


def test_models_with_other_classes_are_refused():
    other = Sure(P)
    other.classes_ = np.array(["neg", "neutral"])
    with pytest.raises(ValueError, match=r"'b' has the classes \['neg', 'neutral'\], not"):
        ConfusionDisplay.from_estimator({"a": Sure(P), "b": other}, TEXTS, LABELS)


def test_coverage_is_that_of_the_curve():
    models = {"before": Sure(P), "after": Sure(np.eye(2)[[0] * 4 + [1] * 6])}
    display = CoverageDisplay.from_estimator(models, TEXTS, LABELS)
    frame = display.frame().query("model == 'before'")
    # Six of ten are right; all of the six surest are right; the seventh surest is wrong.
    assert frame.coverage.round(1).tolist() == [1.0, 0.7, 0.6]
    assert frame.accuracy.round(3).tolist() == [0.6, 0.857, 1.0]
    ax = plots.coverage(models, TEXTS, LABELS)
    assert [line.get_label() for line in ax.lines] == ["before", "after"]
    assert ax.lines[0].get_ydata().round(1).tolist() == [60.0, 85.7, 100.0]


def test_every_model_has_a_line_and_an_entry():
    models = {f"_{i}": Sure(P) for i in range(8)}
    for draw in (plots.reliability, plots.coverage):
        ax = draw(models, TEXTS, LABELS)
        entries = [text.get_text().split(" ")[0] for text in ax.get_legend().get_texts()]
        assert [entry for entry in entries if entry.startswith("_")] == list(models)
        own = ax.lines[-8:]
        assert len({(line.get_color(), line.get_linestyle()) for line in own}) == 8


def test_calibration_is_that_of_the_evaluation():
    rng = np.random.default_rng(0)
    p = rng.dirichlet([2, 2], 300)
    codes = rng.integers(0, 2, 300)
    display = ReliabilityDisplay.from_predictions(codes, {"m": p})
    assert display.errors["m"] == calibration_error(p, codes)
    gaps = [abs(r["confidence"] - r["accuracy"]) * r["texts"] for r in display.bins["m"]]
    assert sum(gaps) / 300 == pytest.approx(display.errors["m"])


def test_a_model_that_is_equally_sure_of_all_is_a_dot():
    ax = plots.coverage({"same": Sure(np.tile([0.8, 0.2], (10, 1)))}, TEXTS, LABELS)
    assert ax.lines[0].get_marker() == "o"


def test_names_are_drawn_as_they_are():
    names = ["$10% - $20%", "a\\frac$\\foo{$", "A$AP and Ke$ha"]
    codes = np.arange(3)
    display = ConfusionDisplay.from_predictions(np.array(names), codes, {"$m$ $": np.eye(3)})
    (ax,) = display.plot().axes_
    ax.figure.draw_without_rendering()
    for text, name in zip(ax.get_xticklabels(), names, strict=True):
        # What matplotlib makes of it: not a formula, and with its dollars.
        assert text._preprocess_math(text.get_text()) == (name, False)


def test_names_of_classes_do_not_overlap():
    for names in (["neg", "pos"], ["cardiovascular", "digestive", "neoplasms", "nervous"]):
        codes = np.arange(len(names))
        p = {"m": np.eye(len(names))}
        (ax,) = ConfusionDisplay.from_predictions(np.array(names), codes, p).plot().axes_
        ax.figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in ax.get_xticklabels()]
        assert not any(a.overlaps(b) for a, b in pairwise(boxes))
        assert ax.get_xticklabels()[0].get_rotation() == (0 if len(names) == 2 else 90)


def test_axes_may_come_in_a_grid():
    models = {f"m{i}": Sure(P) for i in range(4)}
    grid = plt.subplots(2, 2)[1]
    assert plots.confusion(models, TEXTS, LABELS, ax=grid) == list(grid.flat)


def test_a_table_is_read_by_the_adapters_columns():
    model = Sure(P)
    model.text_column, model.label_column = "t", "l"
    frame = pd.DataFrame({"t": TEXTS, "l": LABELS})
    assert ConfusionDisplay.from_estimator(model, frame).counts["sure"].trace() == 6


@pytest.mark.parametrize(
    ("models", "words"),
    [({}, "the mapping holds no adapter"), ([Sure(P)], "a list is neither an adapter nor a map")],
)
def test_what_is_no_model_is_refused(models, words):
    with pytest.raises((TypeError, ValueError), match=words):
        plots.confusion(models, TEXTS, LABELS)


@pytest.mark.parametrize(
    "names",
    [
        ["a" * 1000, "b" * 1000],
        [f"{'c' * 1000} {i}" for i in range(200)],
        [f"class {i}" for i in range(200)],
    ],
)
def test_long_names_and_many_classes_keep_a_picture_s_size(names):
    """Two names of a thousand characters made a picture of 83 inches, which took a minute."""
    rng = np.random.default_rng(0)
    codes, p = rng.integers(0, len(names), 300), rng.dirichlet(np.ones(len(names)), 300)
    display = ConfusionDisplay.from_predictions(np.array(names), codes, {"model" * 500: p})
    axes = display.plot().ax_
    assert max(display.figure_.get_size_inches()) < 20
    ticks = [tick.get_text() for tick in axes.get_yticklabels()]
    assert 2 <= len(ticks) <= 60
    assert max(map(len, [*ticks, *axes.get_title().splitlines()])) <= 48
    # The first and the last characters of a name tell it from others.
    assert (ticks[0][0], ticks[0][-1]) == (names[0][0], names[0][-1])
    # Tables have names whole.
    assert set(display.frame()["true"]) == set(names)

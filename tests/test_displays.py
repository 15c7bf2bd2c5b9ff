from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import toy_texts
from matplotlib.colors import to_hex

from dann_transfer import plots
from dann_transfer.displays import ConfusionDisplay, ReliabilityDisplay
from dann_transfer.scores import GAIN, LOSS, GainDisplay, TransferMatrixDisplay


@pytest.fixture(autouse=True)
def close_figures(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: pytest.fail("a library never shows"))
    yield
    plt.close("all")


class Sure:
    """Predicts what it was told, and as sure as it was told."""

    method = "sure"
    classes_ = np.array(["neg", "pos"])

    def __init__(self, p: np.ndarray) -> None:
        self.p = p

    def predict_proba(self, X):
        return self.p

    def predict(self, X):
        return self.classes_[self.p.argmax(1)]


LABELS = ["neg"] * 4 + ["pos"] * 6
TEXTS = [f"text {i}" for i in range(10)]
# One of four "neg" and three of six "pos" are taken for the other.
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
    with pytest.raises(ValueError, match=r"y has labels that the source does not: \['meh'\]"):
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


def rows(**accuracies: list[float]) -> list[dict]:
    return [
        {"source": "a", "target": "b", "method": m, "seed": s, "target_accuracy": x}
        for m, values in accuracies.items()
        for s, x in enumerate(values)
    ]


def test_gains_are_paired_by_seed_and_losses_stand_out():
    runs = rows(source_only=[0.5, 0.7], dann=[0.6, 0.8], mcc=[0.5, 0.6])
    runs += rows(target_trained=[0.9, 0.9])
    frame = GainDisplay.from_rows(runs).frame()
    assert frame.method.tolist() == ["dann", "mcc", "target_trained"]
    assert frame.gain.tolist() == pytest.approx([10, -5, 30])
    # The interval of dann is 0 wide: both seeds gain ten points.
    assert frame.half_width.tolist() == pytest.approx([0, 63.53, 127.06], abs=0.01)
    ax = plots.gain(runs)
    assert [t.get_text() for t in ax.get_yticklabels()] == frame.method.tolist()
    colours = [to_hex(c.lines[0].get_color()).upper() for c in ax.containers]
    assert colours == [GAIN, LOSS, to_hex("grey").upper()]
    faces = [to_hex(c.lines[0].get_markerfacecolor()).upper() for c in ax.containers]
    assert faces == [GAIN, "#FFFFFF", "#FFFFFF"], "hollow where the interval includes zero"
    assert ax.texts[0].get_text() == "a → b"
    with pytest.raises(ValueError, match="no gain can be taken"):
        GainDisplay.from_rows(rows(dann=[0.5]))


def test_transfer_matrix_has_target_trained_on_its_diagonal():
    runs = rows(source_only=[0.5, 0.7], target_trained=[0.9], dann=[0.1])
    display = TransferMatrixDisplay.from_rows(runs)
    assert display.frame().loc["a", "b"] == pytest.approx(0.6)
    assert display.frame().loc["b", "b"] == 0.9
    assert np.isnan(display.frame().loc["a", "a"])
    ax = plots.transfer_matrix(runs)
    assert sorted(t.get_text() for t in ax.texts) == ["60.0%", "90.0%"]
    with pytest.raises(ValueError, match=r"no run of method 'mmd'; the methods of the rows are"):
        TransferMatrixDisplay.from_rows(runs, "mmd")


def test_a_comparison_can_be_drawn(fitted):
    texts, labels = toy_texts(20, "tweet lol", 4)
    assert len(plots.confusion(fitted, texts, labels)) == 1
    runs = [
        {k: v for k, v in row.items() if k not in {"source", "target"}}
        for row in rows(source_only=[0.5], dann=[0.6])
    ]
    assert len(plots.gain(runs).texts) == 0

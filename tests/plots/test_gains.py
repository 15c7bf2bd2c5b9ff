from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import toy_texts
from matplotlib.colors import to_hex

from dann_transfer import plots
from dann_transfer.comparison import Comparison
from dann_transfer.plots.gains import GAIN, LOSS, GainDisplay, TransferMatrixDisplay

pytestmark = pytest.mark.usefixtures("no_figure_shown_or_left")


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
    # The largest gain comes first, and training on the target's own labels above all.
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert names == ["target_trained", "dann", "mcc"]
    colours = [to_hex(c.lines[0].get_color()).upper() for c in ax.containers]
    assert colours == [to_hex("grey").upper(), GAIN, LOSS]
    faces = [to_hex(c.lines[0].get_markerfacecolor()).upper() for c in ax.containers]
    assert faces == ["#FFFFFF", GAIN, "#FFFFFF"], "hollow where the interval includes zero"
    assert ax.texts[0].get_text() == "a → b"
    with pytest.raises(ValueError, match="no gain can be computed"):
        GainDisplay.from_rows(rows(dann=[0.5]))


def test_an_axis_that_is_cut_says_so():
    steady = {f"m{i}": [0.5 + i / 100, 0.51 + i / 100] for i in range(12)}
    whole = plots.gain(rows(source_only=[0.5, 0.5], **steady))
    assert "cut" not in whole.get_xlabel()
    ax = plots.gain(rows(source_only=[0.5, 0.5], **steady, wild=[0.2, 0.9]))
    assert ax.get_xlabel().endswith("(the axis is cut: 1 interval reaches farther, see arrows)")
    assert ax.get_xlim()[1] - ax.get_xlim()[0] < 100, "the wild interval is 890 points wide"
    arrows = [line.get_marker() for line in ax.lines if line.get_marker() in "<>"]
    assert arrows == ["<", ">"]


def test_zero_stays_on_the_axis():
    ax = plots.gain(rows(source_only=[0.5, 0.5], dann=[0.5, 0.5]))
    assert ax.get_xlim()[0] < 0 < ax.get_xlim()[1]
    assert "cut" not in ax.get_xlabel()
    same = {f"m{i}": [0.7, 0.7] for i in range(20)}
    ax = plots.gain(rows(source_only=[0.5, 0.5], **same, wild=[0.0, 1.0]))
    assert ax.get_xlim()[0] < 0
    assert "cut" in ax.get_xlabel()


def test_transfer_matrix_has_target_trained_on_its_diagonal():
    runs = rows(source_only=[0.5, 0.7], target_trained=[0.9], dann=[0.1])
    display = TransferMatrixDisplay.from_rows(runs)
    assert display.frame().loc["a", "b"] == pytest.approx(0.6)
    assert display.frame().loc["b", "b"] == 0.9
    assert np.isnan(display.frame().loc["a", "a"])
    ax = plots.transfer_matrix(runs)
    assert sorted(t.get_text() for t in ax.texts) == ["60.0%", "90.0%"]
    with pytest.raises(ValueError, match=r"no run of method 'mmd'; the rows have the methods"):
        TransferMatrixDisplay.from_rows(runs, "mmd")


def test_a_comparison_can_be_drawn(fitted):
    texts, labels = toy_texts(20, "tweet lol", 4)
    assert len(plots.confusion(fitted, texts, labels)) == 1
    runs = [
        {k: v for k, v in row.items() if k not in {"source", "target"}}
        for row in rows(source_only=[0.5], dann=[0.6])
    ]
    assert len(plots.gain(runs).texts) == 0


def test_what_is_missing_in_a_table_is_left_out():
    runs = rows(source_only=[0.5, 0.5, 0.5], dann=[0.6, 0.6, float("nan")], mcc=[0.6, 0.7, None])
    frame = GainDisplay.from_rows(pd.DataFrame(runs)).frame()
    assert frame.gain.tolist() == pytest.approx([10, 15])
    assert frame.seeds.tolist() == [2, 2]
    with pytest.raises(ValueError, match="no gain can be computed"):
        plots.gain(pd.DataFrame(rows(source_only=[float("nan")], dann=[float("nan")])))
    matrix = TransferMatrixDisplay.from_rows(rows(source_only=[0.5, None]))
    assert matrix.frame().loc["a", "b"] == 0.5
    with pytest.raises(ValueError, match="the rows have no 'source'; they have"):
        plots.transfer_matrix([{"method": "dann", "seed": 0, "target_accuracy": 0.5}])


def test_an_interval_is_that_of_the_verdict():
    runs = [
        {"method": m, "seed": s, "target_accuracy": x, "gain_error": e}
        for m, x, e in (("source_only", 0.80, None), ("dann", 0.82, 0.025))
        for s in (0, 1)
    ]
    comparison = Comparison(runs, {})
    assert "dann made no clear difference" in comparison.verdict("dann")
    assert "(+2.0 points ± 5.4;" in comparison.verdict("dann")
    ax = plots.gain(comparison)
    (row,) = GainDisplay.from_rows(comparison).rows
    assert row["half_width"] == pytest.approx(5.37, abs=0.01)
    assert to_hex(ax.containers[0].lines[0].get_markerfacecolor()) == "#ffffff"


def test_a_hollow_mark_has_the_colour_behind_it():
    _, ax = plt.subplots()
    ax.set_facecolor("black")
    plots.gain(rows(source_only=[0.5, 0.7], mcc=[0.5, 0.6]), ax=ax)
    assert to_hex(ax.containers[0].lines[0].get_markerfacecolor()) == "#000000"


def test_long_names_of_domains_leave_the_axis_its_width():
    names = "hospital discharge letters from 2010 to 2015", "discharge letters from 2016 to 2020"
    runs = rows(source_only=[0.5, 0.7], dann=[0.6, 0.8])
    for row in runs:
        row["source"], row["target"] = names
    ax = plots.gain(runs)
    ax.figure.draw_without_rendering()
    assert ax.get_window_extent().width > 0.7 * ax.figure.bbox.width
    assert ax.texts[0].get_text() == "\n→ ".join(names)
    ax = plots.transfer_matrix(runs)
    ax.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.get_xticklabels()]
    assert not boxes[0].overlaps(boxes[1])


def test_long_names_of_domains_keep_a_picture_s_size():
    long = "electronics " * 90
    runs = [
        {"source": f"{long}{i}", "target": long, "method": method, "seed": seed}
        | {"target_accuracy": 0.5}
        for i in range(3)
        for method in ("source_only", "mcc")
        for seed in (0, 1)
    ]
    figure = plots.gain(runs).figure
    assert max(figure.get_size_inches()) < 20
    assert max(len(text.get_text()) for text in figure.axes[0].texts) < 110

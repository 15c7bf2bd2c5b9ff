"""The interactive page, in a real browser."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from dann_transfer.plots.alignment import AlignmentDisplay
from dann_transfer.plots.explore import RIGHT, WRONG, explore, figure, hover

EVIL = "<script>document.title='stolen'</script><img src=x onerror=\"document.title='stolen'\">"


@pytest.fixture(scope="module")
def display() -> AlignmentDisplay:
    rng = np.random.default_rng(0)
    texts = [f"text number {i}" for i in range(39)] + [EVIL]
    return AlignmentDisplay(
        {"before": rng.normal(size=(40, 2)), "after <b>": rng.normal(size=(40, 2))},
        {"before": 1.9, "after <b>": 1.2},
        texts,
        ["movies"] * 20 + ["tweets"] * 20,
        ["good", "bad"] * 20,
        {"before": ["good"] * 40, "after <b>": ["bad"] * 40},
    )


def test_every_text_is_drawn_in_every_panel(display):
    drawn = figure(display)
    assert len(drawn.data) == 8
    assert sum(len(trace.x) for trace in drawn.data) == 80
    assert [trace.name for trace in drawn.data if trace.showlegend] == [
        "movies: bad",
        "movies: good",
        "tweets: bad",
        "tweets: good",
    ]
    assert [a.text for a in drawn.layout.annotations] == [
        "before<br><sup>A-distance 1.90 of 2</sup>",
        "after &lt;b&gt;<br><sup>A-distance 1.20 of 2</sup>",
    ]
    colours = {trace.name.split(":")[0]: trace.marker.color for trace in drawn.data}
    assert colours == {"movies": "#0072B2", "tweets": "#D55E00"}


def test_long_texts_are_wrapped_and_cut():
    shown = hover("word " * 400).split("<br>")
    assert len(shown) == 8
    assert shown[-1].endswith(" …")
    assert max(map(len, shown)) <= 60


def test_a_page_that_cannot_be_written_leaves_the_old_one(display, tmp_path, monkeypatch):
    page = explore(display, tmp_path / "page.html")
    before = page.read_bytes()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        explore(display, page)
    assert page.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.browser
def test_the_page_in_chromium(browser, display, tmp_path):
    path = explore(display, tmp_path / "page.html", "Movies & tweets")
    page, errors, requests = browser(path, 1200, 700)
    page.wait_for_selector(".points path.point")
    assert page.locator(".points path.point").count() == 80

    # Hovering shows the text, its classes and its domain, and does not execute the text.
    point = page.locator(".subplot.xy .points path.point").first
    at = point.bounding_box()
    page.mouse.move(at["x"] + at["width"] / 2, at["y"] + at["height"] / 2)
    page.wait_for_selector(".hoverlayer .hovertext")
    shown = page.locator(".hoverlayer .hovertext").text_content()
    assert "text number" in shown
    assert "movies: labelled" in shown
    assert "predicted good" in shown
    last = page.evaluate(
        """() => {
            const plot = document.querySelector('.js-plotly-plot');
            const curve = plot.data.findIndex(t => t.customdata.some(c => c[0].includes('script')));
            const point = plot.data[curve].customdata.findIndex(c => c[0].includes('script'));
            Plotly.Fx.hover(plot, [{curveNumber: curve, pointNumber: point}]);
        }"""
    )
    assert last is None
    page.wait_for_timeout(300)
    assert "<script>document.title" in page.locator(".hoverlayer .hovertext").first.text_content()
    assert page.title() == "Movies & tweets"

    # The legend removes a class of a domain from both panels.
    page.locator(".legend .traces").first.click()
    page.wait_for_timeout(700)
    assert page.locator(".points path.point").count() == 60
    assert errors == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    page.close()


def test_wrong_predictions_can_be_shown(display):
    drawn = figure(display)
    (menu,) = drawn.layout.updatemenus
    by_domain, wrong = (button.args[0]["marker.color"] for button in menu.buttons)
    assert list(by_domain) == [trace.marker.color for trace in drawn.data]
    for trace, colours in zip(drawn.data, wrong, strict=True):
        # "before" predicts good for every text, "after" predicts bad.
        panel_says = "good" if trace.xaxis == "x" else "bad"
        right = trace.name.endswith(panel_says)
        assert set(colours) == {RIGHT if right else WRONG}
    for change in ({"labels": None}, {"predicted": {}}):
        without = figure(replace(display, **change))
        assert not without.layout.updatemenus
        assert not any("None" in trace.hovertemplate for trace in without.data)
    assert not any("predicted" in trace.hovertemplate for trace in without.data)


def test_equal_numbers_of_two_types_are_right(display):
    labels, predicted = [0.0, 1.0] * 20, {"before": [0] * 40, "after <b>": [1] * 40}
    drawn = figure(replace(display, labels=labels, predicted=predicted))
    hits = [row[3] for trace in drawn.data for row in trace.customdata]
    assert sum(hits) == 40


@pytest.mark.browser
def test_panels_stack_on_a_phone(browser, display, tmp_path):
    page, errors, _ = browser(explore(display, tmp_path / "page.html", "Movies"), 390, 800)
    page.wait_for_selector(".points path.point")
    page.wait_for_timeout(500)

    def boxes():
        return [page.locator(f".subplot.{name}").bounding_box() for name in ("xy", "x2y2")]

    above, below = boxes()
    assert below["y"] > above["y"] + above["height"] * 0.9
    assert abs(below["x"] - above["x"]) < 30
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert "Hover over a point" in page.locator(".gtitle").text_content()
    page.set_viewport_size({"width": 1100, "height": 700})
    page.wait_for_timeout(700)
    left, right = boxes()
    assert right["x"] > left["x"] + left["width"] * 0.9
    page.get_by_text("wrong in red").click()
    page.wait_for_timeout(500)
    fills = set(
        page.evaluate("[...document.querySelectorAll('.points path.point')].map(p => p.style.fill)")
    )
    assert fills == {"rgb(200, 200, 200)", "rgb(212, 0, 0)"}
    assert errors == []
    page.close()


def test_long_names_are_shortened(display):
    long = "movies " * 300
    shown = replace(
        display,
        domains=[long] * 20 + ["tweets"] * 20,
        labels=[long, "bad"] * 20,
        points={long: display.points["before"]},
        distances={long: 1.0},
        predicted={long: [long] * 40},
    )
    drawing = figure(shown)
    assert max(len(trace.name) for trace in drawing.data) <= 98
    assert len(drawing.layout.annotations[0].text) < 100
    assert max(len(row[1]) for trace in drawing.data for row in trace.customdata) <= 48


def test_a_far_text_does_not_empty_the_page(display):
    points = {title: xy.copy() for title, xy in display.points.items()}
    first = next(iter(points.values()))
    first[0] += 1000 * np.ptp(first, axis=0)
    page = figure(replace(display, points=points))
    ranges = {tuple(axis.range) for axis in page.select_xaxes()}
    assert len(ranges) == 1
    low, high = ranges.pop()
    assert np.ptp(first[1:, 0]) > 0.3 * (high - low)
    assert sum(len(trace.x) for trace in page.data) == sum(map(len, points.values()))

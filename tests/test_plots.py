from __future__ import annotations

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import toy_texts
from sklearn.neighbors import NearestNeighbors

from dann_transfer import Domain, maps, plots
from dann_transfer.alignment import AlignmentDisplay
from dann_transfer.diagnostics import proxy_a_distance
from dann_transfer.displays import TrainingDisplay


@pytest.fixture(autouse=True)
def close_figures(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: pytest.fail("a library never shows"))
    yield
    plt.close("all")


def drawn(ax) -> dict[tuple, int]:
    """Count points by colour."""
    counts: dict[tuple, int] = {}
    for collection in ax.collections:
        colours = collection.get_facecolors()
        for i in range(len(collection.get_offsets())):
            key = tuple(np.round(colours[i % len(colours)][:3], 3).tolist())
            counts[key] = counts.get(key, 0) + 1
    return counts


def rgb(colour: str) -> tuple:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))


def test_feature_map_draws_every_point_in_its_domains_colour():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(450, 2))
    domains = ["movies"] * 300 + ["tweets"] * 150
    labels = rng.choice(["bad", "good"], 450)
    _, ax = plt.subplots()
    assert plots.feature_map(points, domains, labels, "title", ax=ax) is ax
    counts = {tuple(np.round(c, 2)): n for c, n in drawn(ax).items()}
    assert counts == {
        tuple(np.round(rgb("#0072B2"), 2)): 300,
        tuple(np.round(rgb("#D55E00"), 2)): 150,
    }
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [
        "movies",
        "tweets",
        "bad",
        "good",
    ]
    assert ax.get_title() == "title"
    assert plots.feature_map(points, domains).get_legend() is not None


def test_alignment_shows_each_model_with_its_distance(fitted, tiny, source, target):
    other = tiny(method="source_only", epochs=1).fit(*source)
    shown = Domain(*toy_texts(60, "film plot actor scene the", 5))
    unseen = Domain(*toy_texts(50, "tweet lol omg today friend", 6))
    axes = plots.alignment(
        {"before": other, "after": fitted}, shown, unseen, names=("movies", "tweets"), max_texts=40
    )
    assert len(axes) == 2
    for ax, title, adapter in zip(axes, ("before", "after"), (other, fitted), strict=True):
        distance = proxy_a_distance(adapter.transform(shown.texts), adapter.transform(unseen.texts))
        assert ax.get_title() == f"{title}\nA-distance {distance:.2f} of 2"
        assert sorted(drawn(ax).values()) == [40, 40]
    assert axes[0].get_xlim() == axes[1].get_xlim()
    (legend,) = axes[0].figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["movies", "tweets", "neg", "pos"]


def test_labels_of_a_series_are_taken_by_place(fitted, monkeypatch):
    monkeypatch.setattr(maps, "embed_all", lambda parts, *_: [x[:, :2] for x in parts])
    texts, labels = toy_texts(40, "film plot", 5)
    shuffled = pd.DataFrame({"text": texts, "label": labels}).sample(frac=1, random_state=0)
    domain = Domain(shuffled.text, shuffled.label)
    display = AlignmentDisplay.from_estimator(fitted, domain, domain)
    rng = np.random.default_rng(0)
    expected = [shuffled.label.iloc[i] for _ in range(2) for i in rng.permutation(40)]
    assert display.labels == expected


def test_features_are_computed_once_for_many_pictures(fitted, tiny, source, monkeypatch):
    other = tiny(method="source_only", epochs=1).fit(*source)
    shown = Domain(*toy_texts(60, "film plot actor scene the", 5))
    unseen = Domain(*toy_texts(50, "tweet lol omg today friend", 6))
    models = {"before": other, "after": fitted}
    at_once = AlignmentDisplay.from_estimator(models, shown, unseen, max_texts=40, layout="pca")
    frame = plots.features_frame(models, shown, unseen)
    assert list(frame) == ["model", "domain", "text", "label", "predicted", "features"]
    assert len(frame) == 2 * (60 + 50)
    monkeypatch.setattr(type(fitted), "_forward", lambda *_: pytest.fail("encoded again"))
    again = AlignmentDisplay.from_frame(frame, max_texts=40, layout="pca")
    pd.testing.assert_frame_equal(again.frame(), at_once.frame())
    assert again.distances == at_once.distances
    axes = plots.alignment(frame[["domain", "features"]][:110], layout="pca")
    assert [ax.get_title().split("\n")[0] for ax in axes] == ["features"]
    assert sorted(drawn(axes[0]).values()) == [50, 60]


def test_a_features_frame_that_cannot_be_drawn_is_refused(fitted):
    frame = pd.DataFrame({"domain": ["a", "b", "a", "b"], "features": list(np.eye(4))})
    with pytest.raises(ValueError, match="no column 'features'; it has"):
        plots.alignment(frame[["domain"]])
    with pytest.raises(ValueError, match="a source and a target are needed"):
        plots.alignment(frame[frame.domain == "a"])
    with pytest.raises(ValueError, match="leave out source and target"):
        plots.alignment(frame, Domain(["x"]), Domain(["y"]))
    with pytest.raises(ValueError, match="model 'n' has other texts than 'm'"):
        plots.alignment(frame.assign(model=["m", "m", "m", "n"]))
    with pytest.raises(ValueError, match="pass source=Domain"):
        plots.alignment(fitted)
    with pytest.raises(TypeError, match="a list is no adapter"):
        plots.alignment([fitted], Domain(["x"]), Domain(["y"]))
    with pytest.raises(ValueError, match="calls both domains alike"):
        plots.features_frame(fitted, Domain(["x"]), Domain(["y"]), names=("a", "a"))


def test_training_draws_history(fitted):
    losses, others = plots.training(fitted)
    shown = [[t.get_text() for t in ax.get_legend().get_texts()] for ax in (losses, others)]
    assert shown == [["task loss", "domain loss"], ["strength λ", "domain accuracy"]]
    raw = losses.lines[1].get_ydata()
    assert raw.tolist() == [row["task_loss"] for row in fitted.history_]
    smooth = others.lines[0].get_ydata()
    strengths = [row["strength"] for row in fitted.history_]
    assert min(strengths) <= smooth.min()
    assert smooth.max() <= max(strengths) + 1e-9
    (ax,) = plots.training(fitted, panels=[("domain_accuracy",)])
    assert ax.lines[1].get_ydata().tolist() == [row["domain_accuracy"] for row in fitted.history_]


def test_what_a_method_does_not_record_is_not_drawn(tiny, source):
    alone = tiny(method="source_only", epochs=1).fit(*source)
    (ax,) = plots.training(alone)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["task loss"]
    with pytest.raises(ValueError, match="no 'domain_loss'; it has \\['strength', 'task_loss'\\]"):
        plots.training(alone, panels=[("domain_loss",)])
    with pytest.raises(ValueError, match=r"as in \[\['task_loss'\]\]"):
        plots.training(alone, panels=["task_loss"])


def test_a_history_is_read_as_a_table(fitted, tiny):
    frame = TrainingDisplay.from_estimator(fitted).frame()
    assert frame["step"].tolist() == list(range(1, len(fitted.history_) + 1))
    assert frame["task_loss"].iloc[-1] == fitted.history_[-1]["task_loss"]
    with pytest.raises(ValueError, match="fit it first"):
        TrainingDisplay.from_estimator(tiny())


def test_embedding_is_repeatable_and_leaves_torch_its_threads():
    features = np.random.default_rng(0).normal(size=(60, 8))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert (plots.embed(features, 1) == plots.embed(features, 1)).all()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_many_points_are_laid_out_without_a_compiled_search(monkeypatch):
    """UMAP compiles its approximate search for most of a minute; exact neighbours need none."""

    class Never:
        def __init__(self, *args, **kwargs):
            raise AssertionError("the approximate search was called")

    monkeypatch.setattr("umap.umap_.NNDescent", Never)
    x = np.random.default_rng(0).normal(size=(4200, 6)).astype(np.float32)
    x[:2100, 0] += 12
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        points = plots.embed(x)
    # Two clouds stay two: nobody's nearest neighbour in the map is of the other.
    nearest = NearestNeighbors(n_neighbors=2).fit(points).kneighbors(points)[1][:, 1]
    assert points.shape == (4200, 2)
    assert np.mean((nearest < 2100) == (np.arange(4200) < 2100)) > 0.99


@pytest.mark.parametrize("layout", ["umap", "aligned_umap", "tsne", "pca"])
def test_a_display_is_drawn_again_and_read_as_a_table(layout, fitted, tiny, source):
    other = tiny(method="source_only", epochs=1).fit(*source)
    shown = Domain(*toy_texts(40, "film plot actor scene the", 5))
    unseen = Domain(toy_texts(30, "tweet lol omg today friend", 6)[0])
    models = {"before": other, "after": fitted}
    display, again = (
        AlignmentDisplay.from_estimator(models, shown, unseen, max_texts=25, layout=layout)
        for _ in range(2)
    )
    frame = display.frame()
    assert (frame[["x", "y"]].to_numpy() == again.frame()[["x", "y"]].to_numpy()).all()
    assert frame.groupby(["model", "domain"]).size().tolist() == [25] * 4
    # Labels of one domain alone are no labels of the picture.
    assert display.labels is None
    row = frame[frame.model == "after"].iloc[3]
    assert row.predicted == fitted.predict([row.text])[0]
    for _ in range(2):
        assert len(display.plot().axes_) == 2
    with pytest.raises(ValueError, match="colour='class' must be 'domain', or 'class' where"):
        display.plot(colour="class")


def test_colour_can_tell_the_class():
    rng = np.random.default_rng(0)
    labels = ["bad"] * 60 + ["good"] * 40
    ax = plots.feature_map(rng.normal(size=(100, 2)), ["a", "b"] * 50, labels, colour="class")
    assert sorted(drawn(ax).values()) == [40, 60]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["bad", "good", "a", "b"]


def test_a_crowd_gets_lines_around_its_densest_parts():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(size=(5000, 2)), rng.normal(9, 1, size=(5000, 2))])
    ax = plots.feature_map(points, ["a"] * 5000 + ["b"] * 5000)
    lines = [c for c in ax.collections if type(c).__name__.endswith("ContourSet")]
    assert len(lines) == 2
    # Of a normal cloud, half lies within 1.18 of its middle and nine tenths within 2.15.
    sizes = [np.ptp(path.vertices[:, 0]) for path in lines[0].get_paths()]
    assert sizes[0] == pytest.approx(2 * 2.15, rel=0.2)
    assert sizes[1] == pytest.approx(2 * 1.18, rel=0.2)
    few = plots.feature_map(points[:100], ["a"] * 100)
    assert not [c for c in few.collections if type(c).__name__.endswith("ContourSet")]


def test_unknown_layout_is_named():
    with pytest.raises(ValueError, match=r"layout='mds' must be one of \['umap', 'aligned_umap'"):
        plots.embed(np.zeros((5, 3)), layout="mds")

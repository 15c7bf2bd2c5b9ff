from __future__ import annotations

import sys
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from drawn import drawn, rgb
from numba import config
from sklearn.neighbors import NearestNeighbors

from dann_transfer import plots
from dann_transfer.plots import maps

pytestmark = pytest.mark.usefixtures("no_figure_shown_or_left")


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


def test_embedding_is_repeatable_and_leaves_torch_its_threads():
    features = np.random.default_rng(0).normal(size=(60, 8))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert (plots.embed(features, 1) == plots.embed(features, 1)).all()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_map_compiles_no_search_and_leaves_imports_as_they_were(monkeypatch):
    """Others who import UMAP after a map get it, and its search, compiled."""
    for name in [*sys.modules]:
        if name.partition(".")[0] in ("umap", "pynndescent"):
            monkeypatch.delitem(sys.modules, name)
    maps._umap_module.cache_clear()
    before = config.DISABLE_JIT, config.CACHE_DIR
    umap = maps._umap_module(False)
    assert not {"umap", "pynndescent"} & set(sys.modules)
    assert before == (config.DISABLE_JIT, config.CACHE_DIR)
    # Its code is compiled, and kept from process to process; that of the search is not.
    assert umap.umap_.smooth_knn_dist.stats.cache_path
    assert not hasattr(umap.umap_.NNDescent.__init__.__globals__["tau_rand_int"], "signatures")

    class Never:
        def __init__(self, *args, **kwargs):
            raise AssertionError("UMAP searched for neighbours")

    for name in ("NNDescent", "fast_knn_indices"):
        monkeypatch.setattr(umap.umap_, name, Never)
    x = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
    x[:150, 0] += 12
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        points = plots.embed(x)
    # Two clouds stay two: no point's nearest neighbour in the map is in the other cloud.
    nearest = NearestNeighbors(n_neighbors=2).fit(points).kneighbors(points)[1][:, 1]
    assert points.shape == (300, 2)
    assert np.mean((nearest < 150) == (np.arange(300) < 150)) > 0.99


def test_colour_can_tell_the_class():
    rng = np.random.default_rng(0)
    labels = ["bad"] * 60 + ["good"] * 40
    ax = plots.feature_map(rng.normal(size=(100, 2)), ["a", "b"] * 50, labels, colour="class")
    assert sorted(drawn(ax).values()) == [40, 60]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["bad", "good", "a", "b"]
    # The colours of the two domains are used for nothing else.
    by_domain = plots.feature_map(rng.normal(size=(100, 2)), ["a", "b"] * 50, labels)
    assert not set(drawn(ax)) & set(drawn(by_domain))


def test_a_crowd_gets_lines_around_its_densest_parts():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(size=(5000, 2)), rng.normal(9, 1, size=(5000, 2))])
    ax = plots.feature_map(points, ["a"] * 5000 + ["b"] * 5000)
    lines = [c for c in ax.collections if type(c).__name__.endswith("ContourSet")]
    assert len(lines) == 2
    # Half of a normal cloud lies within 1.18 of its centre, and nine tenths within 2.15.
    sizes = [np.ptp(path.vertices[:, 0]) for path in lines[0].get_paths()]
    assert sizes[0] == pytest.approx(2 * 2.15, rel=0.2)
    assert sizes[1] == pytest.approx(2 * 1.18, rel=0.2)
    few = plots.feature_map(points[:100], ["a"] * 100)
    assert not [c for c in few.collections if type(c).__name__.endswith("ContourSet")]


def test_unknown_layout_is_named():
    with pytest.raises(ValueError, match=r"layout='mds' must be one of \['umap', 'aligned_umap'"):
        plots.embed(np.zeros((5, 3)), layout="mds")


def test_more_classes_than_markers_share_one(recwarn):
    points = np.random.default_rng(0).normal(size=(300, 2))
    labels = [f"class {i % 30}" for i in range(300)]
    ax = plots.feature_map(points, ["a", "b"] * 150, labels)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["a", "b"]
    shapes = {c.get_paths()[0].vertices.tobytes() for c in ax.collections}
    assert len(shapes) == 1


def test_a_legend_is_as_wide_as_its_figure():
    points = np.random.default_rng(0).normal(size=(40, 2))
    labels = ["card_payment_declined", "top_up_failed", "a class with a long name", "other"] * 10
    ax = plots.feature_map(points, ["customer service e-mails", "$ tweets $"] * 20, labels)
    ax.figure.draw_without_rendering()
    box = ax.get_legend().get_window_extent()
    assert ax.figure.bbox.x0 <= box.x0
    assert box.x1 <= ax.figure.bbox.x1


def test_labels_that_are_partly_missing_are_not_drawn():
    points = np.random.default_rng(0).normal(size=(4, 2))
    ax = plots.feature_map(points, ["a", "a", "b", "b"], ["x", None, "y", "x"])
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["a", "b"]


def test_an_error_leaves_no_figure():
    points = np.random.default_rng(0).normal(size=(30, 2))
    for change in ({"colour": "class", "labels": [str(i) for i in range(30)]}, {"colour": "foo"}):
        with pytest.raises(ValueError, match="colour"):
            plots.feature_map(points, ["a"] * 30, **change)
    assert not plt.get_fignums()


def test_what_cannot_be_laid_out_is_refused():
    for features in (np.zeros((3, 5)), np.zeros((10, 1))):
        for layout in ("umap", "pca", "tsne"):
            with pytest.raises(ValueError, match="cannot be laid out: a map needs at least 4"):
                plots.embed(features, layout=layout)


def test_aligned_maps_of_one_model_are_its_map():
    features = np.random.default_rng(0).normal(size=(40, 5))
    one = plots.embed(features, layout="aligned_umap")
    assert (one == plots.embed(features)).all()


def alike(n: int) -> dict[str, np.ndarray]:
    """Features that no map can show, by what is said of them."""
    x = np.random.default_rng(0).normal(size=(n, 5)).astype(np.float32)
    lost = x.copy()
    lost[3, 2] = np.nan
    return {
        "only 3 rows differ": x[np.arange(n) % 3],
        "which 32 bits do not resolve": x * np.float32(1e-20),
        "which 32 bits do not resolve either": x * np.float32(1e20),
        "row 3 is not finite": lost,
    }


@pytest.mark.parametrize("layout", ["umap", "aligned_umap", "tsne", "pca"])
@pytest.mark.parametrize("said", list(alike(4)))
def test_features_without_spread_reach_no_layout(layout, said, monkeypatch):
    """A layout in native code may end the process, so it must never be called with these."""

    def never(*args, **settings):
        pytest.fail("a layout was called")

    for name in ("sklearn.manifold.TSNE", "sklearn.decomposition.PCA"):
        monkeypatch.setattr(name, never)
    monkeypatch.setattr(maps, "_umap", never)
    with pytest.raises(maps.LayoutError, match=said.removesuffix(" either")):
        plots.embed(alike(20)[said], layout=layout)


def test_few_different_rows_are_enough_for_a_map():
    x = np.random.default_rng(0).normal(size=(4, 5))[np.arange(12) % 4]
    assert np.isfinite(plots.embed(x, layout="pca")).all()


@pytest.mark.parametrize("far", [[[60, 0]], [[0, -40], [0.5, 50], [30, 30]]])
def test_a_few_far_points_do_not_empty_a_map(far):
    points = np.concatenate([np.random.default_rng(0).normal(size=(700, 2)), far])
    names = ["source"] * 350 + ["target"] * (350 + len(far))
    ax = plots.feature_map(points, names)
    for axis, (low, high) in enumerate((ax.get_xlim(), ax.get_ylim())):
        near = points[:700, axis]
        assert np.ptp(near) > 0.7 * (high - low)
    # Every point is drawn, inside.
    places = np.concatenate([np.asarray(part.get_offsets()) for part in ax.collections])
    assert len(places) == len(points)
    for axis, (low, high) in enumerate((ax.get_xlim(), ax.get_ylim())):
        assert ((places[:, axis] >= low) & (places[:, axis] <= high)).all()
    outside = int(ax.get_xlabel().split()[0])
    assert len(far) <= outside <= len(far) + 7
    assert ax.get_xlabel().endswith("outside, drawn at the edge")


@pytest.mark.parametrize(
    "points",
    [np.random.default_rng(0).uniform(size=(300, 2)), np.zeros((5, 2)), np.empty((0, 2))],
)
def test_without_far_points_a_map_holds_all(points, recwarn):
    names = ["source", "target", *["target"] * len(points)][: len(points)]
    ax = plots.feature_map(points, names, legend=False)
    assert ax.get_xlabel() == ""
    for axis, (low, high) in enumerate((ax.get_xlim(), ax.get_ylim())):
        assert low < high
        assert ((points[:, axis] > low) & (points[:, axis] < high)).all()
    assert not recwarn.list


@pytest.mark.parametrize("n", [50, 500, 5000])
def test_an_ordinary_cloud_keeps_its_outermost_points(n):
    clouds = [np.random.default_rng(seed).normal(size=(n, 2)) for seed in range(40)]
    cut = [
        (cloud.min(0) < low).any() or (cloud.max(0) > high).any()
        for cloud in clouds
        for low, high in [maps.limits_of(cloud)]
    ]
    assert np.mean(cut) < 0.2


def test_points_that_are_not_finite_are_left_out():
    points = np.random.default_rng(0).normal(size=(100, 2))
    points[3] = np.nan
    low, high = maps.limits_of(points)
    assert np.isfinite([low, high]).all()
    assert plots.feature_map(points, ["source"] * 50 + ["target"] * 50).get_xlabel() == ""


def test_a_map_of_one_scale_is_drawn_without_a_word(caplog, recwarn):
    points = np.random.default_rng(0).normal(size=(400, 2)) * [5, 1]
    ax = plots.feature_map(points, ["source"] * 200 + ["target"] * 200)
    ax.figure.canvas.draw()
    assert not caplog.records
    assert not recwarn.list
    box = ax.get_window_extent()
    scales = [size / np.ptp(ends) for size, ends in (
        (box.width, ax.get_xlim()), (box.height, ax.get_ylim())
    )]  # fmt: skip
    assert scales[0] == pytest.approx(scales[1], rel=0.01)


def test_a_clump_far_away_stays_in_the_map():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(size=(600, 2)), rng.normal(size=(60, 2)) + 40])
    ax = plots.feature_map(points, ["source"] * 600 + ["target"] * 60)
    assert ax.get_xlim()[1] > 39

"""The film of a training shows what was trained, and leaves the training as it is."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from conftest import same, toy_texts, weights
from PIL import Image

from dann_transfer import Domain, plots
from dann_transfer.judging.diagnostics import proxy_a_distance
from dann_transfer.plots.animation import AnimationDisplay, FeatureWatcher

SHOWN = Domain(*toy_texts(40, "film plot actor", 7)), Domain(*toy_texts(30, "lol omg tweet", 8))


@pytest.fixture(scope="module")
def watched(tiny, source, target):
    watcher = FeatureWatcher(*SHOWN, names=("films", "tweets"), frames=4, max_length=32)
    adapter = tiny(method="dann").fit(*source, X_target=target, on_step=watcher)
    return adapter, AnimationDisplay.from_watcher(watcher)


def test_watching_does_not_change_the_training(watched, tiny, source, target):
    alone = tiny(method="dann").fit(*source, X_target=target)
    assert same(weights(watched[0]), weights(alone))


def test_the_first_and_the_last_step_are_seen(watched):
    adapter, display = watched
    assert display.steps[0] == 1
    assert display.steps[-1] == adapter.history_[-1]["step"]
    assert len(display.steps) == len(display.points) == 4
    table = display.frame()
    assert table.groupby(["step", "domain"]).size().unstack().to_numpy().tolist() == [[40, 30]] * 4
    assert set(table["label"]) == {"neg", "pos"}
    assert not np.allclose(display.points[0], display.points[-1])


def test_the_title_tells_the_distance_in_feature_space(tiny, source, target):
    # Without validation the last step's weights are the model's.
    adapter = tiny(method="dann", validation_fraction=0.0)
    watcher = FeatureWatcher(*SHOWN, frames=2, max_length=32)
    adapter.fit(*source, X_target=target, on_step=watcher)
    display = AnimationDisplay.from_watcher(watcher)
    expected = proxy_a_distance(*(adapter.transform(domain.texts) for domain in SHOWN))
    assert display.distances[-1] == pytest.approx(expected, abs=0.15)
    title = display.plot().ax_.get_title()
    assert title == f"step {display.steps[-1]}: A-distance {display.distances[-1]:.2f} of 2"
    with pytest.raises(ValueError, match="step=99 is not one of the recorded steps"):
        display.plot(step=99)


def test_the_gif_has_a_picture_for_each_step(watched, tmp_path):
    out = watched[1].save(tmp_path / "training.gif", seconds=0.2)
    assert [p.name for p in tmp_path.iterdir()] == ["training.gif"]
    with Image.open(out) as gif:
        assert gif.n_frames == 4
        seen = []
        for i in range(4):
            gif.seek(i)
            seen.append((gif.info["duration"], np.asarray(gif.convert("RGB"))))
        assert gif.info["loop"] == 0
    assert [time for time, _ in seen] == [200, 200, 200, 800]
    assert all((a != b).any() for (_, a), (_, b) in pairwise(seen))


def test_of_several_runs_the_last_is_seen(tiny, source, tmp_path):
    watcher = plots.FeatureWatcher(*SHOWN, frames=2, max_length=32)
    for epochs in (3, 1):
        run = tiny(method="source_only", epochs=epochs, validation_fraction=0)
        adapter = run.fit(*source, on_step=watcher)
    last = adapter.history_[-1]["step"]
    assert list(watcher.features) == [1, last]
    seen = watcher.features[last][: len(SHOWN[0].texts)]
    shown = dict(zip(watcher.texts, seen, strict=False))
    text = next(iter(shown))
    assert np.allclose(adapter.transform([text])[0], shown[text], atol=1e-4)
    film = plots.animation(watcher, tmp_path / "new" / "a.gif")
    assert (tmp_path / "new" / "a.gif").is_file()
    assert film.steps == [1, last]
    assert list(pickle.loads(pickle.dumps(watcher)).features) == [1, last]


def test_plots_animation_writes_what_a_watcher_saw(tiny, source, target, tmp_path):
    watcher = plots.FeatureWatcher(SHOWN[0], Domain(target), frames=2, max_length=32)
    tiny(method="source_only", epochs=1).fit(*source, on_step=watcher)
    display = plots.animation(watcher, tmp_path / "a.gif")
    assert (tmp_path / "a.gif").is_file()
    assert display.steps == list(watcher.features)
    with pytest.raises(ValueError, match="frames=1 must be a whole number of at least 2"):
        plots.FeatureWatcher(*SHOWN, frames=1)


def test_a_finished_run_has_nothing_to_show(tiny, source, tmp_path):
    params = {"method": "source_only", "epochs": 1, "checkpoint_dir": tmp_path}
    tiny(**params).fit(*source)
    watcher = FeatureWatcher(*SHOWN, frames=2)
    tiny(**params).fit(*source, on_step=watcher)
    with pytest.raises(ValueError, match="the watcher saw no step"):
        AnimationDisplay.from_watcher(watcher)


def test_what_could_not_be_drawn_is_refused_before_training():
    texts, labels = toy_texts(30, "film plot actor", 7)
    for change, words in (
        ({"frames": 2.5}, "frames=2.5 must be a whole number"),
        ({"max_texts": 3}, "max_texts=3 must be a whole number of at least 10"),
        ({"names": ("a", "a")}, "gives both domains the same name"),
        ({"target": texts[:9]}, "the target domain has 9 texts; the A-distance needs at least 10"),
        ({"target": Domain(texts, labels[:5])}, "the target domain has 30 texts and 5 labels"),
        ({"target": [*texts, 3]}, "a string"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            FeatureWatcher(**{"source": texts, "target": texts, **change})
    watcher = FeatureWatcher(pd.DataFrame({"text": texts, "label": labels}), Domain(texts, labels))
    assert set(watcher.texts) == set(texts)
    assert sorted(watcher.labels) == sorted(labels * 2)
    some = Domain(texts, [None, *labels[1:]])
    assert FeatureWatcher(some, Domain(texts, labels)).labels is None


def test_a_film_of_no_length_is_refused(watched, tmp_path):
    with pytest.raises(ValueError, match="seconds=-1 must be a number above 0"):
        watched[1].save(tmp_path / "a.gif", seconds=-1)
    assert not list(tmp_path.iterdir())

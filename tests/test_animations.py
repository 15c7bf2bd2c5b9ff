"""The film of a training shows what was trained, and leaves the training as it is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import toy_texts
from PIL import Image

from dann_transfer import Domain, plots
from dann_transfer.animations import AnimationDisplay
from dann_transfer.diagnostics import proxy_a_distance

SHOWN = Domain(*toy_texts(40, "film plot actor", 7)), Domain(*toy_texts(30, "lol omg tweet", 8))


@pytest.fixture(scope="module")
def watched(tiny, source, target):
    adapter = tiny(method="dann")
    display = AnimationDisplay.from_training(
        adapter,
        *source,
        X_target=target,
        source=SHOWN[0],
        target=SHOWN[1],
        names=("films", "tweets"),
        frames=4,
        layout="pca",
    )
    return adapter, display


def test_watching_does_not_change_the_training(watched, tiny, source, target):
    alone = tiny(method="dann").fit(*source, X_target=target)
    for a, b in zip(watched[0]._model.parameters(), alone._model.parameters(), strict=True):
        assert torch.equal(a, b)


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
    display = AnimationDisplay.from_training(
        adapter, *source, X_target=target, source=SHOWN[0], target=SHOWN[1], frames=2,
        layout="pca",
    )  # fmt: skip
    expected = proxy_a_distance(*(adapter.transform(domain.texts) for domain in SHOWN))
    assert display.distances[-1] == pytest.approx(expected, abs=0.15)
    title = display.plot().ax_.get_title()
    assert title == f"step {display.steps[-1]}: A-distance {display.distances[-1]:.2f} of 2"
    with pytest.raises(ValueError, match="step=99 is none of those seen"):
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


def test_plots_animation_fits_and_writes(tiny, source, target, tmp_path):
    adapter = tiny(method="source_only", epochs=1)
    path = tmp_path / "a.gif"
    plots.animation(
        adapter, *source, source=SHOWN[0], target=Domain(target), path=path, frames=2,
        layout="pca",
    )  # fmt: skip
    assert path.is_file()
    assert len(adapter.predict(["a good film"])) == 1
    with pytest.raises(ValueError, match="frames=1 must be at least 2"):
        plots.animation(adapter, *source, source=SHOWN[0], target=SHOWN[1], path=path, frames=1)


def test_a_finished_run_has_nothing_to_show(tiny, source, tmp_path):
    params = {"method": "source_only", "epochs": 1, "checkpoint_dir": tmp_path}
    tiny(**params).fit(*source)
    with pytest.raises(ValueError, match="the run in checkpoint_dir was finished"):
        AnimationDisplay.from_training(
            tiny(**params), *source, source=SHOWN[0], target=SHOWN[1], frames=2
        )

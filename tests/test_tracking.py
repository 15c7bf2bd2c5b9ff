from __future__ import annotations

import numpy as np
import pytest
from ignite.engine import Events
from ignite.handlers import TensorboardLogger

from dann_transfer.tracking import log_to

pytestmark = pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning")


def scalars(folder) -> dict[str, dict[int, float]]:
    """Read what TensorBoard would show."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {
        tag: {event.step: event.value for event in events.Scalars(tag)}
        for tag in events.Tags()["scalars"]
    }


@pytest.mark.parametrize("method", ["dann", "student"])
def test_tensorboard_shows_the_history(method, tiny, source, target, tmp_path):
    adapter = tiny(method=method)
    watch = log_to(TensorboardLogger(log_dir=tmp_path))
    adapter.fit(*source, X_target=target, attach=watch)
    found = scalars(tmp_path)
    for key in ("strength", "learning_rate", "gradient_norm"):
        expected = {row["step"]: row[key] for row in adapter.history_}
        assert found[f"training/{key}"] == pytest.approx(expected)
    losses = {row["step"]: row["task_loss"] for row in adapter.history_ if "task_loss" in row}
    assert found["training/task_loss"] == pytest.approx(losses)
    accuracies = [row["validation_accuracy"] for row in adapter.validation_]
    assert list(found["validation/validation_accuracy"].values()) == pytest.approx(accuracies)


def test_one_step_of_so_many_is_written(tiny, source, target, tmp_path):
    watch = log_to(TensorboardLogger(log_dir=tmp_path), every=5)
    adapter = tiny(validation_fraction=0).fit(*source, X_target=target, attach=watch)
    found = scalars(tmp_path)
    steps = [row["step"] for row in adapter.history_ if row["step"] % 5 == 0]
    assert list(found["training/task_loss"]) == steps
    assert not [tag for tag in found if tag.startswith("validation")]


@pytest.mark.parametrize("every", [0, -1, 1.5, True, "2"])
def test_a_bad_interval_is_refused(every, tmp_path):
    with pytest.raises(ValueError, match="every="):
        log_to(TensorboardLogger(log_dir=tmp_path), every=every)


def test_handlers_of_ones_own_see_every_step_and_change_nothing(tiny, source, target):
    seen = []

    def attach(engine):
        engine.add_event_handler(Events.ITERATION_COMPLETED, lambda e: seen.append(e.state.output))

    watched = tiny().fit(*source, X_target=target, attach=attach)
    plain = tiny().fit(*source, X_target=target)
    assert [row["step"] for row in seen] == list(range(1, len(watched.history_) + 1))
    assert watched.history_ == plain.history_


def test_tensorboard_shows_each_candidate_of_auto(tiny, source, target, tmp_path):
    logger = TensorboardLogger(log_dir=tmp_path)
    engines, closings = [], []
    close = logger.close
    logger.close = lambda: closings.append(engines[-1].state.candidate) or close()

    def attach(engine):
        engines.append(engine)
        log_to(logger)(engine)

    adapter = tiny(method="auto", max_strength=None, epochs=1)
    adapter.fit(*source, X_target=target, attach=attach)
    found = scalars(tmp_path)
    kept = adapter.choice_.method
    for key in ("task_loss", "learning_rate"):
        expected = {row["step"]: row[key] for row in adapter.history_ if key in row}
        assert found[f"{kept}/training/{key}"] == pytest.approx(expected)
    names = [engine.state.candidate for engine in engines]
    assert names == ["source_only", "mcc", "student"]
    assert {tag.split("/")[0] for tag in found} == set(names)
    assert all(f"{name}/validation/validation_accuracy" in found for name in names)
    assert closings == ["student"]


def test_auto_hands_over_the_engine_of_each_candidate(tiny, source, target):
    engines = []
    adapter = tiny(method="auto", max_strength=None)
    adapter.fit(*source, X_target=target, attach=engines.append)
    assert len(set(map(id, engines))) == 3


def test_the_history_is_a_table(tiny, source, target):
    adapter = tiny(epochs=3).fit(*source, X_target=target)
    frame = adapter.history_frame()
    assert frame.index.tolist() == list(range(1, len(frame) + 1))
    assert frame["epoch"].max() == 3
    found = frame["validation_accuracy"].dropna()
    assert found.tolist() == [row["validation_accuracy"] for row in adapter.validation_]
    assert found.index.tolist() == [len(frame) // 3 * k for k in (1, 2, 3)]
    assert np.isfinite(frame["gradient_norm"]).all()
    # It warms up, then decays.
    rates = frame["learning_rate"].to_numpy()
    assert rates.argmax() < len(rates) // 2
    assert rates[-1] < rates.max()

from __future__ import annotations

import pytest

from dann_transfer import plots
from dann_transfer.plots.training import TrainingDisplay

pytestmark = pytest.mark.usefixtures("no_figure_shown_or_left")


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
    known = "'epoch', 'gradient_norm', 'learning_rate', 'strength', 'task_loss'"
    with pytest.raises(ValueError, match=rf"no 'domain_loss'; it has \[{known}\]"):
        plots.training(alone, panels=[("domain_loss",)])
    with pytest.raises(ValueError, match=r"pass \[\['task_loss'\]\]"):
        plots.training(alone, panels=["task_loss"])


def test_a_history_is_read_as_a_table(fitted, tiny):
    frame = TrainingDisplay.from_estimator(fitted).frame()
    assert frame["step"].tolist() == list(range(1, len(fitted.history_) + 1))
    assert frame["task_loss"].iloc[-1] == fitted.history_[-1]["task_loss"]
    with pytest.raises(ValueError, match="fit it first"):
        TrainingDisplay.from_estimator(tiny())


def test_epochs_and_chance_are_marked(fitted):
    losses, others = plots.training(fitted)
    ends = {row["epoch"]: row["step"] for row in fitted.history_}
    for ax in (losses, others):
        marks = ax.collections[0].get_segments()
        assert [segment[0][0] for segment in marks] == list(ends.values())[:-1]
    ((chance,),) = [line.get_segments() for line in others.collections[1:]]
    assert chance[:, 1].tolist() == [0.5, 0.5]
    assert len(losses.collections) == 1


def test_each_of_many_losses_has_a_line_of_its_own(fitted):
    history = [{"step": i, **{f"{c}_loss": 1.0 for c in "abcdefgh"}} for i in (1, 2)]
    (ax,) = TrainingDisplay(history).plot().axes_
    smooth = ax.lines[::2]
    assert len({(line.get_color(), line.get_linestyle()) for line in smooth}) == 8
    with pytest.raises(ValueError, match="names no panel"):
        plots.training(fitted, panels=[])


def test_a_single_step_is_a_dot():
    (ax,) = TrainingDisplay([{"step": 1, "task_loss": 0.5}]).plot().axes_
    assert ax.lines[0].get_marker() == "o"

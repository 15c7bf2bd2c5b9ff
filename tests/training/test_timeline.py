from __future__ import annotations

import pytest

from dann_transfer import methods
from dann_transfer.ground.settings import Settings
from dann_transfer.training.schedules import dann
from dann_transfer.training.timeline import Timeline


def timeline(name: str, epochs: int = 3, length: int = 4, **params: object) -> Timeline:
    options = params.pop("method_options", None)
    method = methods.create(name, options)
    settings = Settings.of({"epochs": epochs, **params}, 0, method.default_strength)
    return Timeline(method.phases(epochs), length, settings)


def test_it_is_a_pure_function_of_the_step():
    line = timeline("dann")
    in_order = [line.at(k) for k in range(1, line.total + 1)]
    assert [line.at(k) for k in range(line.total, 0, -1)] == in_order[::-1]
    assert (line.total, line.epochs) == (12, 3)


def test_epochs_and_phases_begin_where_they_begin():
    line = timeline("adda", epochs=2, method_options={"extra_epochs": 3})
    moments = [line.at(k) for k in range(1, line.total + 1)]
    assert [m.step for m in moments if m.starts_epoch] == [1, 5, 9, 13, 17]
    assert [m.step for m in moments if m.starts_phase] == [1, 9]
    assert [m.phase for m in moments] == [0] * 8 + [1] * 12


def test_strength_grows_over_the_steps_in_which_the_method_acts():
    joint = timeline("dann", max_strength=0.3)
    assert joint.at(6).strength == pytest.approx(0.3 * dann(0.5))
    assert joint.at(12).strength == pytest.approx(0.3 * dann(1.0))
    assert [joint.at(k).progress for k in (1, 5, 9)] == [
        0,
        pytest.approx(1 / 3),
        pytest.approx(2 / 3),
    ]
    two = timeline("adda", epochs=2, max_strength=0.3, method_options={"extra_epochs": 2})
    assert {two.at(k).strength for k in range(1, 9)} == {0.0}
    assert two.at(12).strength == pytest.approx(0.3 * dann(0.5))
    assert {timeline("source_only", max_strength=0.3).at(k).strength for k in range(1, 13)} == {0.0}


def test_rates_rise_and_fall_in_each_phase():
    line = timeline("adda", epochs=2, max_strength=0.5, method_options={"extra_epochs": 2})
    rates = [line.at(k).rate for k in range(1, 17)]
    # One in nine steps is warm-up; a phase ends one step before zero.
    assert rates[0] == pytest.approx((1 - 1 / 9) / 0.9)
    assert rates[7] == pytest.approx((1 / 9) / 0.9)
    assert rates[8:] == pytest.approx([0.5 * rate for rate in rates[:8]])
    assert timeline("dann", epochs=1, length=1).at(1).rate == 1


@pytest.mark.parametrize(
    ("name", "params", "epochs"),
    [
        ("dann", {"strength_schedule": "linear"}, [9, 10]),
        ("dann", {"strength_schedule": "constant"}, list(range(1, 11))),
        ("dann", {"strength_schedule": "linear", "max_strength": 0.0}, list(range(1, 11))),
        ("source_only", {"strength_schedule": "linear"}, list(range(1, 11))),
        ("shot", {}, list(range(1, 11))),
    ],
)
def test_an_epoch_may_be_kept_once_it_is_adapted(name, params, epochs):
    line = timeline(name, epochs=10, **params)
    kept = [e for e in range(1, line.epochs + 1) if line.may_be_kept(e * line.length)]
    assert kept == epochs

from __future__ import annotations

import warnings

import numpy as np
import pytest

from dann_transfer.judging.diagnostics import CollapseWarning, proxy_a_distance, warn_of_collapse
from dann_transfer.model.runtime import resolve_device


def test_known_distances():
    rng = np.random.default_rng(0)
    near, far = rng.normal(size=(400, 4)), rng.normal(size=(400, 4)) + 10
    assert proxy_a_distance(near, far) == 2.0
    assert proxy_a_distance(near, rng.normal(size=(400, 4))) < 0.25
    # Two unit normals whose means are 2 apart can be separated with error Phi(-1) = 0.159.
    apart = rng.normal(size=(2000, 1)) + 2
    expected = 2 * (1 - 2 * 0.1587)
    assert proxy_a_distance(rng.normal(size=(2000, 1)), apart) == pytest.approx(expected, abs=0.06)


def test_unequal_sizes_do_not_look_like_a_distance():
    rng = np.random.default_rng(1)
    many, few = rng.normal(size=(3000, 4)), rng.normal(size=(150, 4))
    assert proxy_a_distance(many, few) < 0.4


def test_it_is_symmetric_in_scale_and_repeatable():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(200, 3)), rng.normal(size=(200, 3)) + 0.5
    assert proxy_a_distance(a, b) == proxy_a_distance(a, b)
    assert proxy_a_distance(a * 1000, b * 1000) == pytest.approx(proxy_a_distance(a, b))


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((20, 3)), np.zeros((20, 4)), r"shapes \(20, 3\) and \(20, 4\)"),
        (np.zeros(20), np.zeros(20), "each must be"),
        (np.zeros((5, 3)), np.zeros((20, 3)), "features of 5 source and 20 target texts"),
        (np.full((20, 3), np.nan), np.zeros((20, 3)), "NaN or infinite"),
    ],
)
def test_bad_features(a, b, message):
    with pytest.raises(ValueError, match=message):
        proxy_a_distance(a, b)


@pytest.mark.parametrize(
    ("method", "unknown", "words"),
    [
        (
            "dann",
            0.0,
            r"99% .* 'a', .* 50% .*: training with 'dann' has probably collapsed\.",
        ),
        ("source_only", 0.0, "the model has not learnt the task, or does not recognise it"),
        ("mcc", 0.8, "80% of their tokens are unknown to the encoder"),
    ],
)
def test_a_collapse_is_told_with_what_helps(method, unknown, words):
    even = {"a": 0.5, "b": 0.5}
    with pytest.warns(CollapseWarning, match=words):
        warn_of_collapse({"a": 0.99, "b": 0.01}, even, 100, method, unknown)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_collapse({"a": 0.9, "b": 0.1}, even, 100, method, unknown)
        warn_of_collapse({"a": 0.99, "b": 0.01}, even, 10, method, unknown)
        warn_of_collapse({"a": 0.99, "b": 0.01}, {"a": 0.95, "b": 0.05}, 100, method, unknown)


@pytest.mark.filterwarnings("ignore::dann_transfer.texts.tokens.UnknownTokensWarning")
def test_a_warning_points_at_the_line_that_called(tiny, source):
    thai = [f"ภาษา {'ก' * i}" for i in range(1, 41)]
    with pytest.warns(CollapseWarning) as seen:
        tiny(epochs=1).fit(*source, X_target=thai)
    assert {w.filename for w in seen if w.category is CollapseWarning} == {__file__}


@pytest.mark.parametrize("device", ["hpu", "meta", "vulkan", "cuda:99", "ipu"])
def test_a_device_that_is_not_there_is_named(device):
    with pytest.raises(ValueError, match=rf"device='{device}'.*(use device='cpu'|there are)"):
        resolve_device(device)

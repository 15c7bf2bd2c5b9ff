from __future__ import annotations

import numpy as np
import pytest

from dann_transfer.diagnostics import proxy_a_distance


def test_known_distances():
    rng = np.random.default_rng(0)
    near, far = rng.normal(size=(400, 4)), rng.normal(size=(400, 4)) + 10
    assert proxy_a_distance(near, far) == 2.0
    assert proxy_a_distance(near, rng.normal(size=(400, 4))) < 0.25
    # Two unit normals whose means are 2 apart are told apart with error Phi(-1) = 0.159.
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
        (np.zeros(20), np.zeros(20), "both must be"),
        (np.zeros((5, 3)), np.zeros((20, 3)), "features of 5 source and 20 target texts"),
        (np.full((20, 3), np.nan), np.zeros((20, 3)), "NaN or infinite"),
    ],
)
def test_bad_features(a, b, message):
    with pytest.raises(ValueError, match=message):
        proxy_a_distance(a, b)

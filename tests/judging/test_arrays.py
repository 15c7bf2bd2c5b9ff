from __future__ import annotations

import numpy as np
import pytest

from dann_transfer.judging.arrays import (
    check_rows,
    features_of,
    one_each,
    positions_of,
    probabilities_of,
    weights_of,
)


@pytest.mark.parametrize(
    "p", [[0.5, 0.5], np.empty((0, 2)), [[0.5, 0.6]], [[-0.1, 1.1]], [[np.nan, 1.0]]]
)
def test_what_is_no_probability_is_refused_with_its_shape(p):
    with pytest.raises(ValueError, match=r"probabilities of shape \(.*sum to 1; pass what"):
        probabilities_of(np.array(p))


def test_rounding_of_probabilities_is_cut():
    assert probabilities_of([[-1e-4, 1.0001]]).tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("other", [np.ones(3), np.ones((3, 4)), np.empty((0, 3))])
def test_features_of_other_shapes_are_refused(other):
    with pytest.raises(ValueError, match=r"shapes \(2, 3\) and .*each must be"):
        features_of(np.ones((2, 3)), other)
    assert [x.dtype.kind for x in features_of(np.ones((2, 3), int), np.ones((1, 3)))] == ["f", "f"]


def test_one_value_for_each_text():
    assert one_each("codes", [1, 2], 2, "source").tolist() == [1, 2]
    for values in ([1, 2], [[1], [2], [3]], 1):
        with pytest.raises(ValueError, match=r"^codes has shape .* 3 source texts\. Do this\.$"):
            one_each("codes", values, 3, "source", " Do this.")


@pytest.mark.parametrize("features", [np.ones((3, 4)), np.ones(2)])
def test_features_and_probabilities_are_of_the_same_texts(features):
    p = np.full((2, 3), 1 / 3)
    check_rows(np.ones((2, 4)), p)
    with pytest.raises(ValueError, match=r"features of shape .* shape \(2, 3\) do not match; pass"):
        check_rows(features, p)
    with pytest.raises(ValueError, match="sum to 1"):
        check_rows(np.ones((2, 4)), 2 * p)


def test_positions_are_whole_numbers_of_something_that_exists():
    assert positions_of("codes", [2, 0], 3, "classes").tolist() == [2, 0]
    assert positions_of("codes", [], 3, "classes").dtype.kind == "i"
    for values in ([0, 3], [-1], ["a"], [0.0], [True]):
        with pytest.raises(
            ValueError, match=r"from 0 to 2, the positions of classes; got .*\]\. Do"
        ):
            positions_of("codes", values, 3, "classes", " Do this.")
    with pytest.raises(ValueError, match=r"codes has shape \(1, 2\); pass a flat list"):
        positions_of("codes", [[0, 1]], 3, "classes")


@pytest.mark.parametrize("weights", [[1.0, -1.0], [np.inf, 1.0], [np.nan, 1.0]])
def test_weights_are_finite_and_not_below_0(weights):
    with pytest.raises(ValueError, match=r"^weights must be finite and not below 0; they lie"):
        weights_of("weights", weights)
    assert weights_of("weights", [0, 2]).tolist() == [0.0, 2.0]

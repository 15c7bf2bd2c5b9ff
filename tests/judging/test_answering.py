from __future__ import annotations

import numpy as np

from dann_transfer.judging.answering import answered, confidence_of


def test_the_median_has_the_smallest_expected_error():
    rng = np.random.default_rng(0)
    p, ranks = rng.dirichlet(np.full(5, 0.5), 200), rng.permutation(5)
    answers = answered(p, ranks)
    errors = p @ abs(ranks[:, None] - ranks[None, :])
    assert np.allclose(errors[np.arange(200), answers], errors.min(1))
    assert (answers != answered(p)).any()
    assert np.allclose(
        confidence_of(p, answers), [row[a] for row, a in zip(p, answers, strict=True)]
    )


def test_a_median_between_two_classes_is_the_lower():
    # Rounded, a row may sum to less than 1.
    p = np.array([[0.5, 0.0, 0.5], [0.0, 0.4999999, 0.4999999]], np.float32)
    assert answered(p, np.arange(3)).tolist() == [0, 1]
    assert answered(p, np.array([2, 1, 0])).tolist() == [2, 2]

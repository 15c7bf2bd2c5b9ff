"""Which target texts are of new classes."""

from __future__ import annotations

import numpy as np
import pytest

from dann_transfer.judging.novelty import Novelty
from dann_transfer.judging.scores import open_set


def groups(n: int = 40, new: int = 20, seed: int = 0):
    """Return features and logits of two known groups and a new one, which lies between them."""
    rng = np.random.default_rng(seed)
    centres = np.array([[6.0, 0, 0], [0, 6.0, 0], [2.5, 2.5, 5.0]])
    x = np.repeat(centres, [n, n, new], 0) + rng.normal(size=(2 * n + new, 3))
    return x, 2 * x[:, :2] + rng.normal(scale=2, size=(len(x), 2))


def test_neighbours_tell_a_new_class_better_than_a_text_alone():
    (x, logits), (held_out, _) = groups(), groups(new=0, seed=1)
    is_new = np.arange(100) >= 80
    novelty = Novelty.of(x, logits, held_out)
    rates = open_set(is_new.astype(int), novelty.is_new(x).astype(int), new=1)
    # With the threshold that is best on these very texts.
    largest = np.exp(logits - np.logaddexp.reduce(logits, axis=1)[:, None]).max(1)
    oracle = max(
        open_set(is_new.astype(int), (largest < t).astype(int), new=1)["h_score"] for t in largest
    )
    assert rates["h_score"] > max(0.9, oracle)
    # The same texts, whatever they are asked about with.
    assert novelty.is_new(x[85:86]).tolist() == novelty.is_new(x)[85:86].tolist()
    assert novelty.is_new(x[:0]).shape == (0,)


def test_without_new_classes_few_texts_are_taken_for_new():
    (x, logits), (held_out, _) = groups(new=0), groups(new=0, seed=1)
    assert Novelty.of(x, logits, held_out).is_new(x).mean() <= 0.15


@pytest.mark.parametrize("codes", [[0, 1, 1], [2, 2, 2]])
def test_a_rate_over_no_text_is_not_a_number(codes):
    rates = open_set(np.array(codes), np.array([0, 1, 2]), new=2)
    assert np.isnan(rates["h_score"])
    assert np.isnan(rates["new_recall"]) == (2 not in codes)

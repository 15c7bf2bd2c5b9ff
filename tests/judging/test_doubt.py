"""The interval of a gain covers what it says, also with few seeds."""

from __future__ import annotations

import numpy as np
import pytest

from dann_transfer.judging.gains import doubt

# The standard error that some 500 test texts give a gain.
ERROR = 0.0133


def coverage(seeds: int, spread: float, runs: int = 4000) -> float:
    """Return how often an interval holds the true gain, which is 0 here."""
    rng = np.random.default_rng([seeds, int(1000 * spread)])
    # The texts are the same for all seeds.
    gains = rng.normal(0, ERROR, (runs, 1)) + rng.normal(0, spread, (runs, seeds))
    return float(np.mean([abs(each.mean()) <= doubt(each, [ERROR] * seeds) for each in gains]))


@pytest.mark.parametrize(
    ("seeds", "spread", "low", "high"),
    [
        # With one seed nothing tells a small spread from a large one.
        (1, 0.005, 0.99, 1.0),
        (1, 0.01, 0.97, 1.0),
        (1, 0.02, 0.91, 0.95),
        (2, 0.005, 0.97, 0.995),
        (2, 0.01, 0.96, 0.985),
        (2, 0.02, 0.92, 0.96),
        (3, 0.005, 0.96, 0.985),
        (3, 0.01, 0.95, 0.98),
        (3, 0.02, 0.925, 0.96),
    ],
)
def test_the_interval_covers_the_gain(seeds, spread, low, high):
    assert low <= coverage(seeds, spread) <= high


def test_two_seeds_that_agree_leave_little_doubt():
    assert doubt([-0.128, -0.148], [0.008, 0.008]) < 0.03


def test_many_seeds_speak_for_themselves():
    rng = np.random.default_rng(0)
    gains = rng.normal(0, 0.05, 400).tolist()
    assert doubt(gains, [0.0]) == pytest.approx(1.96 * 0.05 / 20, rel=0.1)

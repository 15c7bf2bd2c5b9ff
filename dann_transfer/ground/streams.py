"""The random streams of a run: each number depends only on the seed, its stream and the step.

If they were seeded by ``seed + step``, seeds 0, 1 and 2 would draw the same dropout one step apart.
"""

from __future__ import annotations

import numpy as np

SOURCE_ORDER, TARGET_ORDER, BATCH_ORDER, LABELLED_ORDER, HELD_OUT = range(5)
ENCODER, HEADS, STEP, PROCESS, SAMPLE = range(5, 10)


def generator(seed: int, stream: int, step: int = 0) -> np.random.Generator:
    """Return numpy's generator for a step of a stream.

    Examples
    --------
    >>> generator(0, SOURCE_ORDER, 1).permutation(4).shape
    (4,)

    """
    return np.random.default_rng([seed, stream, step])


def number(seed: int, stream: int, step: int = 0, bits: int = 63) -> int:
    """Return a seed for another library's generator.

    Examples
    --------
    >>> number(1, STEP, 0) == number(0, STEP, 1)
    False

    """
    return int(generator(seed, stream, step).integers(2**bits, dtype=np.uint64))

"""How long a run trains: in steps, from the number of classes, and not in passes over the texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FEWEST = 3
"""The fewest passes over the source texts, however many there are."""
STEPS = 84
"""Steps that two classes need, whatever the number of texts."""
GROWTH = 0.4
"""The exponent with which the steps grow with the number of classes."""


def steps_for(classes: int) -> int:
    """Return how many steps a pretrained encoder needs to learn so many classes.

    Examples
    --------
    >>> [steps_for(classes) for classes in (2, 4, 12, 22, 77, 150)]
    [84, 111, 172, 219, 362, 472]

    """
    return round(STEPS * (classes / 2) ** GROWTH)


def epochs_for(texts: float, classes: int, batch_size: int) -> int:
    """Return how many passes over the source make a run of enough steps.

    What a model needs is steps: with a hundred texts, three passes are nine of them, after which it
    has hardly begun.

    Parameters
    ----------
    texts : float
        Number of labelled source texts to train on.
    classes, batch_size : int

    References
    ----------
    Mosbach et al., On the Stability of Fine-tuning BERT, ICLR 2021; Zhang et al., Revisiting
    Few-sample BERT Fine-tuning, ICLR 2021.

    Examples
    --------
    >>> epochs_for(900, 2, 32), epochs_for(90, 2, 32), epochs_for(540, 22, 32)
    (3, 28, 13)

    """
    batches = max(1, round(texts / batch_size))
    return max(FEWEST, round(steps_for(classes) / batches))


def epochs_of(params: Mapping[str, Any], texts: int, classes: int, validated: bool) -> int:
    """Return a run's epochs: those that the user set, or as many as its texts and classes need.

    Parameters
    ----------
    params : mapping
        Hyperparameters.
    texts : int
        Number of labelled source texts.
    classes : int
    validated : bool
        Whether validation texts were passed, so that none are held out.

    """
    if params["epochs"] is not None:
        return int(params["epochs"])
    share = 0.0 if validated else params["validation_fraction"]
    return epochs_for((1 - share) * texts, classes, params["batch_size"])

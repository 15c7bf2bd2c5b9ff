"""The hyperparameters of a run, checked before anything is loaded or trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from dann_transfer.encoder import POOLINGS
from dann_transfer.schedules import STRENGTH

PRECISIONS = ("auto", "fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Settings:
    """What `engine.train` needs to know; `DomainAdapter` documents each."""

    epochs: int
    batch_size: int
    learning_rate: float
    head_learning_rate: float
    discriminator_learning_rate: float
    max_strength: float
    strength_schedule: str
    warmup: float
    weight_decay: float
    max_grad_norm: float
    patience: int | None
    validation_tolerance: float
    precision: str
    seed: int
    checkpoint_dir: str | None
    progress: bool


def _number(name: str, value: Any, low: float, high: float, whole: bool, open_low: bool) -> None:
    kind = "a whole number" if whole else "a number"
    span = f"{'above' if open_low else 'of at least'} {low:g}"
    if math.isfinite(high):
        span += f" and at most {high:g}"
    wanted = Integral if whole else Real
    good = isinstance(value, wanted) and not isinstance(value, bool) and math.isfinite(value)
    if not good or value < low or value > high or (open_low and value <= low):
        raise ValueError(f"{name}={value!r} must be {kind} {span}.")


# name: (lowest, highest, whole, whether the lowest itself is excluded)
_NUMBERS: dict[str, tuple[float, float, bool, bool]] = {
    "epochs": (1, math.inf, True, False),
    "batch_size": (1, math.inf, True, False),
    "learning_rate": (0, math.inf, False, True),
    "head_learning_rate": (0, math.inf, False, True),
    "discriminator_learning_rate": (0, math.inf, False, True),
    "max_strength": (0, math.inf, False, False),
    "max_length": (3, math.inf, True, False),
    "freeze_layers": (0, math.inf, True, False),
    "warmup": (0, 0.9, False, False),
    "weight_decay": (0, math.inf, False, False),
    "max_grad_norm": (0, math.inf, False, True),
    "validation_fraction": (0, 0.5, False, False),
    "patience": (1, math.inf, True, False),
    "validation_tolerance": (0, math.inf, False, False),
}
_OPTIONAL = {"patience", "max_strength"}
_CHOICES: dict[str, tuple[str | bool | None, ...]] = {
    "pooling": POOLINGS,
    "precision": PRECISIONS,
    "strength_schedule": tuple(STRENGTH),
    "correct_prior": (None, False, True, "bbse", "em"),
}


def check_params(params: dict[str, Any]) -> None:
    """Check every hyperparameter of a `DomainAdapter`.

    Raises
    ------
    ValueError
        Naming the first keyword that is off, what it is and what it may be.

    Examples
    --------
    >>> check_params({"epochs": 0})
    Traceback (most recent call last):
    ValueError: epochs=0 must be a whole number of at least 1.

    """
    for name, value in params.items():
        if name == "correct_prior" and not isinstance(value, bool | str | None):
            raise ValueError(f"correct_prior={value!r} must be True, False, None, 'bbse' or 'em'.")
        if name in _NUMBERS and not (value is None and name in _OPTIONAL):
            _number(name, value, *_NUMBERS[name])
        elif name in _CHOICES and value not in _CHOICES[name]:
            raise ValueError(f"{name}={value!r} must be one of {list(_CHOICES[name])}.")


def as_seed(random_state: int | np.random.RandomState | None) -> int:
    """Turn scikit-learn's kinds of random state into one integer seed.

    Raises
    ------
    ValueError
        If it is none of an integer from 0 to 2**32 - 1, a RandomState and None.

    Examples
    --------
    >>> as_seed(7)
    7

    """
    if isinstance(random_state, Integral) and not isinstance(random_state, bool):
        if not 0 <= random_state < 2**32:
            raise ValueError(f"random_state={random_state!r} must be between 0 and 2**32 - 1.")
        return int(random_state)
    try:
        return int(check_random_state(random_state).randint(2**31))
    except ValueError as error:
        raise ValueError(f"random_state={random_state!r}: {error}") from error

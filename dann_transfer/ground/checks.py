"""Checks of single values, whose errors quote the value and name those that are allowed."""

from __future__ import annotations

import math
import re
from numbers import Integral, Real
from typing import Any


def check_number(
    said: str,
    value: Any,
    low: float,
    high: float = math.inf,
    whole: bool = False,
    above: bool = False,
) -> None:
    """Raise a ValueError if a value is not a finite number in bounds.

    Parameters
    ----------
    said : str
        What was given, for the error: "epochs=0".
    value : object
    low, high : float
    whole : bool
        Whether it must be a whole number.
    above : bool
        Whether `low` itself is excluded.

    """
    kind = "a whole number" if whole else "a number"
    span = f"{'above' if above else 'of at least'} {low:g}"
    if math.isfinite(high):
        span += f" and at most {high:g}"
    number_type = Integral if whole else Real
    good = isinstance(value, number_type) and not isinstance(value, bool) and math.isfinite(value)
    if not good or not low <= value <= high or (above and value == low):
        raise ValueError(f"{said} must be {kind} {span}.")


def check_flag(value: Any) -> None:
    """Raise a ValueError if `progress` is a word."""
    # A word that says no would count as yes.
    if isinstance(value, str):
        raise ValueError(f"progress={value!r} must be one of [False, True].")


def check_lora(value: Any) -> None:
    """Raise a ValueError if `lora` is neither a rank nor keywords of peft."""
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if not (value is None or isinstance(value, dict) or whole):
        raise ValueError(
            f"lora={value!r} must be a rank, a whole number of at least 1, or a dict of keywords "
            "of peft.LoraConfig."
        )


def interval_of(checkpoint_every: int | str | None) -> tuple[int | None, float | None]:
    """Turn `checkpoint_every` into steps and seconds, of which at most one is not None.

    Raises
    ------
    ValueError
        If it is neither a number of steps nor a number of minutes.

    Examples
    --------
    >>> interval_of(200), interval_of("10 min"), interval_of(None)
    ((200, None), (None, 600.0), (None, None))

    """
    if checkpoint_every is None:
        return None, None
    if isinstance(checkpoint_every, Integral) and not isinstance(checkpoint_every, bool):
        if checkpoint_every >= 1:
            return int(checkpoint_every), None
    elif isinstance(checkpoint_every, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?) ?min(?:utes?)?", checkpoint_every.strip())
        if match and float(match[1]) > 0:
            return None, 60 * float(match[1])
    raise ValueError(
        f"checkpoint_every={checkpoint_every!r} must be a whole number of steps of at least 1, "
        "minutes such as '10 min', or None."
    )

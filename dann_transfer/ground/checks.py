"""Checks of single values, whose errors quote the value and name those that are allowed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any


def bounds_of(low: float, high: float, whole: bool, above: bool, below: bool) -> str:
    """Return in words which numbers are allowed; the arguments are those of `check_number`.

    Examples
    --------
    >>> bounds_of(0, 1, whole=False, above=True, below=False)
    'a number above 0 and at most 1'

    """
    words = f"a {'whole ' if whole else ''}number {'above' if above else 'of at least'} {low:g}"
    if math.isfinite(high):
        words += f" and {'below' if below else 'at most'} {high:g}"
    return words


def is_no_number(value: Any) -> bool:
    """Return whether a value only counts as a number: a truth value, or numpy's span of time."""
    return isinstance(value, bool) or type(value).__name__ == "timedelta64"


def check_number(
    said: str,
    value: Any,
    low: float,
    high: float = math.inf,
    whole: bool = False,
    above: bool = False,
    below: bool = False,
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
    above, below : bool
        Whether `low` itself, or `high` itself, is excluded.

    """
    number_type = Integral if whole else Real
    good = isinstance(value, number_type) and not is_no_number(value)
    try:
        good = good and math.isfinite(value)
    except OverflowError:
        # An integer beyond all floats, with too many digits to quote them.
        said, good = f"{said[:40]}..." if len(said) > 60 else said, False
    at_limit = good and ((above and value == low) or (below and value == high))
    if not good or at_limit or not low <= value <= high:
        raise ValueError(f"{said} must be {bounds_of(low, high, whole, above, below)}.")


@dataclass(frozen=True)
class Hyperparameter:
    """One keyword: its default, its meaning and the values that it may have.

    Attributes
    ----------
    default : object
    meaning : str
        What it does, as docs/ has it.
    low, high : float or None
        The bounds of a number; None where it is not one.
    whole : bool
        Whether it must be a whole number.
    above, below : bool
        Whether `low` itself, or `high` itself, is excluded.
    choices : tuple
        The values that it may have, if these are few.
    optional : bool
        Whether a number may be None.
    verify : callable, optional
        Raises a ValueError for a wrong value that none of the above can detect.

    """

    default: Any
    meaning: str
    low: float | None = None
    high: float = math.inf
    whole: bool = False
    above: bool = False
    below: bool = False
    choices: tuple[Any, ...] = ()
    optional: bool = False
    verify: Callable[[Any], object] | None = None

    @property
    def bounds(self) -> str:
        """Which values are allowed, in words; empty if a number has no bounds or it is none."""
        if self.low is None:
            return ""
        return bounds_of(self.low, self.high, self.whole, self.above, self.below)

    def check(self, name: str, value: Any, whose: str = "") -> None:
        """Raise a ValueError that quotes a wrong value and names the allowed ones."""
        said = f"{name}={value!r}{whose}"
        if self.choices:
            # A bool equals a number, and an array equals nothing.
            good = isinstance(value, str | bool | None) and value in self.choices
            if not good:
                raise ValueError(f"{said} must be one of {list(self.choices)}.")
        elif self.low is not None and not (value is None and self.optional):
            check_number(said, value, self.low, self.high, self.whole, self.above, self.below)
        if self.verify is not None:
            self.verify(value)


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


def check_metric_name(value: Any) -> None:
    """Raise a ValueError if `metric` is neither a metric of the package nor of scikit-learn.

    Examples
    --------
    >>> check_metric_name("f1_macor")
    Traceback (most recent call last):
    ...
    ValueError: metric='f1_macor' is unknown; did you mean 'f1_macro'?

    """
    names = ["accuracy", "macro_f1", "balanced_accuracy"]
    if isinstance(value, str) and value in names:
        return
    # Here, because the command line checks settings before scikit-learn is imported.
    from sklearn.metrics import get_scorer_names

    scorers = get_scorer_names()
    if isinstance(value, str) and value in scorers:
        return
    near = get_close_matches(value, [*names, *scorers], 1) if isinstance(value, str) else []
    if near:
        raise ValueError(f"metric={value!r} is unknown; did you mean {near[0]!r}?")
    raise ValueError(
        f"metric={value!r} must be one of {names}, or the name of a scorer of scikit-learn for "
        "predicted labels, such as 'f1_weighted'."
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
    if isinstance(checkpoint_every, Integral) and not is_no_number(checkpoint_every):
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

"""Checks of single values, whose errors quote the value and name those that are allowed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any


def nearest(word: str, names: Iterable[str]) -> str | None:
    """Return the name that was probably meant by a word that is none of them, or None.

    Letter case does not count, nor which marks join words; initials and beginnings stand for a
    name as well.

    Examples
    --------
    >>> nearest("DANN", ["cdan", "dann"]), nearest("lr", ["lora", "learning_rate"])
    ('dann', 'learning_rate')
    >>> nearest("max-len", ["max_length", "max_strength"]), nearest("nothing", ["dann"])
    ('max_length', None)

    """
    folded: dict[str, str] = {}
    initials: dict[str, str] = {}
    for name in names:
        key = name.casefold().replace("-", "_")
        folded.setdefault(key, name)
        if "_" in key:
            initials.setdefault("".join(part[:1] for part in key.split("_")), name)
    wanted = str(word).casefold().strip().replace("-", "_")
    if wanted in folded:
        return folded[wanted]
    if wanted in initials:
        return initials[wanted]
    begin = [name for key, name in folded.items() if len(wanted) > 2 and key.startswith(wanted)]
    if len(begin) == 1:
        return begin[0]
    near = get_close_matches(wanted, folded, 1)
    return folded[near[0]] if near else None


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """Return a question with the name that was probably meant, or nothing.

    Examples
    --------
    >>> did_you_mean("epoch", ["epochs"]), did_you_mean("x", ["epochs"])
    (" Did you mean 'epochs'?", '')

    """
    near = nearest(word, names)
    return "" if near is None else f" Did you mean {near!r}?"


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


def check_threshold(name: str, value: Any) -> None:
    """Raise a ValueError if a threshold is not a probability.

    Examples
    --------
    >>> check_threshold("abstain_below", 80)
    Traceback (most recent call last):
    ...
    ValueError: abstain_below=80 must be a probability, a number between 0 and 1.

    """
    number = isinstance(value, Real) and not is_no_number(value)
    if not number or not 0 <= value <= 1:
        raise ValueError(f"{name}={value!r} must be a probability, a number between 0 and 1.")


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
                words = [choice for choice in self.choices if isinstance(choice, str)]
                hint = did_you_mean(value, words) if isinstance(value, str) else ""
                raise ValueError(f"{said} must be one of {list(self.choices)}.{hint}")
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


def check_unknown(value: Any) -> None:
    """Raise a ValueError if `unknown` can be no label: a word, or a whole number.

    Examples
    --------
    >>> check_unknown(0.5)
    Traceback (most recent call last):
    ...
    ValueError: unknown=0.5 must be a label such as 'other' or -1, or None.

    """
    whole = isinstance(value, Real) and not is_no_number(value) and value == value // 1
    word = isinstance(value, str) and value.strip() == value != ""
    if not (value is None or word or whole):
        raise ValueError(f"unknown={value!r} must be a label such as 'other' or -1, or None.")


def check_ordinal(value: Any) -> None:
    """Raise a ValueError if `ordinal` is neither a truth value nor classes in order.

    Examples
    --------
    >>> check_ordinal(["low", "high", "low"])
    Traceback (most recent call last):
    ...
    ValueError: ordinal=['low', 'high', 'low'] has 'low' more than once; list each class once.

    """
    if isinstance(value, bool):
        return
    labels = value if isinstance(value, list | tuple) else []
    if not labels or not all(isinstance(label, str | int | float) for label in labels):
        raise ValueError(
            f"ordinal={value!r} must be True, False, or the classes from the lowest to the "
            "highest, such as ['bad', 'ok', 'good']."
        )
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise ValueError(
            f"ordinal={value!r} has {twice[0]!r} more than once; list each class once."
        )


METRICS = ("accuracy", "macro_f1", "balanced_accuracy", "quadratic_kappa")
"""The names of `scores.METRICS` and `scores.OF_ORDER`."""


def check_metric_name(value: Any) -> None:
    """Raise a ValueError if `metric` is neither a metric of the package nor of scikit-learn.

    Examples
    --------
    >>> check_metric_name("f1_macor")
    Traceback (most recent call last):
    ...
    ValueError: metric='f1_macor' is unknown; did you mean 'f1_macro'?

    """
    if isinstance(value, str) and value in METRICS:
        return
    # Here, because the command line checks settings before scikit-learn is imported.
    from sklearn.metrics import get_scorer_names

    scorers = get_scorer_names()
    if isinstance(value, str) and value in scorers:
        return
    if isinstance(value, str) and (near := nearest(value, [*METRICS, *scorers])):
        raise ValueError(f"metric={value!r} is unknown; did you mean {near!r}?")
    raise ValueError(
        f"metric={value!r} must be one of {list(METRICS)}, or the name of a scorer of scikit-learn "
        "for predicted labels, such as 'f1_weighted'."
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

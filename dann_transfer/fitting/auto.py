"""Several runs on the same texts, of which one is kept: ``method="auto"``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from dann_transfer import methods
from dann_transfer.judging.choice import BASELINE

AUTO = "auto"
SHORTLIST = ("mcc", "student")
"""What `method="auto"` trains besides source-only."""


def candidates(
    method: str, options: Mapping[str, Any] | None, max_strength: float | None = None
) -> dict[str, Any]:
    """Return the methods that a run trains, with the options of each.

    Parameters
    ----------
    method : str
        "auto", or a method by name.
    options : mapping, optional
        For "auto": ``candidates``, the methods besides source-only.
    max_strength : float, optional
        Must be None for "auto", which leaves each method its own.

    Raises
    ------
    ValueError, TypeError
        If a method is not known or does not take its options.

    Examples
    --------
    >>> candidates("auto", {"candidates": ["mcc"]}), candidates("dann", {"width": 64})
    ({'source_only': None, 'mcc': None}, {'dann': {'width': 64}})

    """
    if not isinstance(method, str):
        raise TypeError(f"method={method!r} must be a string, one of {methods.names()}.")
    if method != AUTO:
        return {method: options}
    if max_strength is not None:
        raise ValueError(
            f"max_strength={max_strength!r} means something different to each method, and "
            "method='auto' trains several; leave it None."
        )
    if not isinstance(options, Mapping | None) or set(options or {}) - {"candidates"}:
        raise TypeError(
            f"method_options={options!r}: method='auto' takes {{'candidates': [...]}} and nothing "
            "else."
        )
    given = (options or {}).get("candidates", SHORTLIST)
    # An iterator would be empty the second time.
    listed = isinstance(given, Collection) and not isinstance(given, str | Mapping)
    listed = listed and all(isinstance(name, str) for name in given)
    names = [name for name in given if name != BASELINE] if listed else []
    if not names or AUTO in names or len(set(names)) < len(names):
        raise ValueError(
            f"candidates={given!r} of method='auto' must be a list of one or more of "
            f"{[name for name in methods.names() if name != BASELINE]}, each once."
        )
    return dict.fromkeys((BASELINE, *names))

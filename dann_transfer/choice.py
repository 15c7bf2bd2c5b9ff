"""Which of several models of one run is kept, chosen without target labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dann_transfer import methods
from dann_transfer.gains import gain_error
from dann_transfer.selection import ensemble_agreement

AUTO = "auto"
BASELINE = "source_only"
SHORTLIST = ("mcc", "student")
"""What `method="auto"` trains beside source-only."""


def candidates(
    method: str, options: Mapping[str, Any] | None, max_strength: float | None = None
) -> dict[str, Any]:
    """Return the methods that a run trains, with the options of each.

    Parameters
    ----------
    method : str
        "auto", or a method by name.
    options : mapping, optional
        Of "auto": ``candidates``, the methods beside source-only.
    max_strength : float, optional
        "auto" leaves each method its own.

    Raises
    ------
    ValueError, TypeError
        If a method is not known or does not take its options.

    Examples
    --------
    >>> candidates("auto", {"candidates": ["mcc"]}), candidates("dann", {"width": 64})
    ({'source_only': None, 'mcc': None}, {'dann': {'width': 64}})

    """
    if method != AUTO:
        return {method: options}
    if max_strength is not None:
        raise ValueError(
            f"max_strength={max_strength!r} means something else to each method, and "
            "method='auto' trains several; leave it None."
        )
    if not isinstance(options, Mapping | None) or set(options or {}) - {"candidates"}:
        raise TypeError(
            f"method_options={options!r}: method='auto' takes {{'candidates': [...]}} and nothing "
            "else."
        )
    given = (options or {}).get("candidates", SHORTLIST)
    names = [] if isinstance(given, str) or given is None else [n for n in given if n != BASELINE]
    if not names or AUTO in names or len(set(names)) < len(names):
        raise ValueError(
            f"candidates={given!r} of method='auto' must be a list of one or more of "
            f"{methods.names()}, each once."
        )
    return dict.fromkeys((BASELINE, *names))


@dataclass(frozen=True)
class Choice:
    """What was chosen, and why.

    Attributes
    ----------
    method : str
    reason : str
        In words.
    rows : list of dict
        Each candidate: method, its agreement with the mean prediction of all, and the share of the
        target texts that it labels otherwise than source-only does.

    """

    method: str
    reason: str
    rows: list[dict[str, Any]]

    def __str__(self) -> str:
        return self.reason

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them."""
        return asdict(self)


def choose(pool: Mapping[str, np.ndarray]) -> Choice:
    """Choose the model that agrees best with the mean prediction of all, or source-only.

    The mean of several models is right more often than most of them, and the model nearest to it
    is seldom a bad one. Source-only is kept where another is not nearer by more than two standard
    errors.

    Parameters
    ----------
    pool : mapping of str to ndarray, shape (n, classes)
        Probabilities of the same target texts, by method; source-only among them.

    References
    ----------
    Hu et al., Towards Reliable Model Selection for Unsupervised Domain Adaptation: An Empirical
    Study and A Certified Baseline, NeurIPS 2024.

    Examples
    --------
    >>> sure, unsure = np.tile([0.9, 0.1], (50, 1)), np.tile([0.4, 0.6], (50, 1))
    >>> print(choose({"source_only": unsure, "mcc": sure, "student": sure}))
    mcc is kept: 100.0% of its labels are those of the mean of 3 models, and 0.0% of source_only's.
    >>> choose({"source_only": unsure, "mcc": unsure}).method
    'source_only'

    """
    names = list(pool)
    agreement = dict(zip(names, ensemble_agreement(list(pool.values())), strict=True))
    labels = {name: p.argmax(1) for name, p in pool.items()}
    mean = np.mean(list(pool.values()), axis=0).argmax(1)
    hits = {name: (own == mean).astype(float) for name, own in labels.items()}
    best = max(names, key=lambda name: agreement[name])
    rows = [
        {
            "method": name,
            "agreement": float(agreement[name]),
            "changed": float((labels[name] != labels[BASELINE]).mean()),
        }
        for name in names
    ]
    edge = agreement[best] - agreement[BASELINE]
    figures = (
        f"{agreement[best]:.1%} of its labels are those of the mean of {len(pool)} models, and "
        f"{agreement[BASELINE]:.1%} of {BASELINE}'s."
    )
    if edge > 2 * gain_error(hits[best], hits[BASELINE]):
        return Choice(best, f"{best} is kept: {figures}", rows)
    if best == BASELINE:
        return Choice(BASELINE, f"{BASELINE} is kept: none agrees more with the mean.", rows)
    return Choice(
        BASELINE, f"{BASELINE} is kept. {best} is nearer, but not for sure: {figures}", rows
    )

"""Choose which of several models of one run to keep, without target labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import log
from typing import Any

import numpy as np
from scipy.stats import entropy

from dann_transfer.judging.findings import UNLEARNT
from dann_transfer.judging.selection import ensemble_agreement, information_maximization

BASELINE = "source_only"
SURE = 0.25
"""A choice is made from this share of the largest information maximisation, log(classes), upwards.

Of 75 groups of models on the benchmarks, the ten whose best was below it gained 0.3 points at most
and lost up to 7; of the others, two lost more than 0.2, namely 0.8 and 1.3."""


@dataclass(frozen=True)
class Choice:
    """What was chosen, and why.

    Attributes
    ----------
    method : str
    reason : str
        In words.
    rows : list of dict
        For each candidate: method, information maximisation, agreement with the mean prediction of
        all, the share of the target texts that it labels differently from source-only, and why it
        was refused, if it was.

    """

    method: str
    reason: str
    rows: list[dict[str, Any]]

    def __str__(self) -> str:
        return self.reason

    def to_json(self) -> dict[str, Any]:
        """Return the fields in a form that JSON can hold."""
        return asdict(self)


def lopsided(shares: np.ndarray) -> Choice:
    """Keep source-only, because the source's classes are too unequal to trust a score."""
    return Choice(
        BASELINE,
        f"{BASELINE} is kept, and nothing else was trained: of the source's classes the smallest "
        f"has {shares.min():.1%} of the texts and the largest {shares.max():.1%}, and where they "
        "are so unequal no score without target labels was found to tell gain from harm.",
        [],
    )


def _divergence(p: np.ndarray) -> np.ndarray:
    """Return how much each text's probabilities (n, classes) diverge from their mean, shape (n,).

    Their mean is the information maximisation, so their spread gives its standard error.
    """
    return np.asarray(entropy(p, p.mean(0)[None], axis=1))


LOST = 0.25
"""A class of which a model predicts at most this share of source-only's texts is lost."""
SEEN = 5
"""Texts of a class that source-only has to find for it to count."""
CHANGED = 0.2
"""The most labels that may change among the half of the texts of which source-only is surest."""


def refusal(
    candidate: np.ndarray,
    baseline: np.ndarray,
    classes: Sequence[Any] | None = None,
    findings: Sequence[str] = (),
) -> str:
    """Say why a model must not replace source-only, however sure it is; "" if it may.

    Parameters
    ----------
    candidate, baseline : ndarray, shape (n, classes)
        Probabilities of the same target texts.
    classes : sequence, optional
        Names of the classes.
    findings : sequence of str
        What the doctor finds severe about the model.

    Examples
    --------
    >>> sure = np.repeat(np.eye(3), 20, axis=0)
    >>> refusal(sure, sure), refusal(sure[:, [0, 1, 1]] * [1, 1, 0], sure, ["a", "b", "c"])
    ('', "it hardly predicts 'c', which source_only finds in 20 texts")

    """
    if findings:
        return f"the doctor finds: {', '.join(findings)}"
    k = baseline.shape[1]
    before, after = (np.bincount(p.argmax(1), minlength=k) for p in (baseline, candidate))
    lost = np.flatnonzero((before >= SEEN) & (after <= LOST * before))
    if len(lost):
        worst = lost[before[lost].argmax()]
        name = worst.item() if classes is None else classes[worst]
        more = f" and {len(lost) - 1} other classes" if len(lost) > 1 else ""
        return f"it hardly predicts {name!r}{more}, which {BASELINE} finds in {before[worst]} texts"
    surest = np.argsort(-baseline.max(1), kind="stable")[: max(1, len(baseline) // 2)]
    changed = float((candidate[surest].argmax(1) != baseline[surest].argmax(1)).mean())
    if changed > CHANGED:
        return (
            f"it labels {changed:.0%} of the texts differently of which {BASELINE} is surest, "
            "and adapting seldom corrects as many"
        )
    return ""


def choose(
    pool: Mapping[str, np.ndarray],
    classes: Sequence[Any] | None = None,
    findings: Mapping[str, Sequence[str]] | None = None,
) -> Choice:
    """Choose the model with the highest information maximisation, or source-only.

    Information maximisation rises with sureness, also where that is unfounded: models that
    `refusal` speaks against are left out. Source-only is kept if no other's is higher by more than
    two standard errors (over the target's texts), if it has not learnt the source, and also if even
    the highest is small: among models that hardly separate the classes, the one that separates them
    most may do so along anything (`SURE`).

    Parameters
    ----------
    pool : mapping of str to ndarray, shape (n, classes)
        Probabilities of the same target texts, by method, including source-only.
    classes : sequence, optional
        Names of the classes, for the reason.
    findings : mapping of str to sequence of str, optional
        Names of the doctor's severe findings, by method.

    References
    ----------
    Shi and Sha, Information-Theoretical Learning of Discriminative Clusters for Unsupervised
    Domain Adaptation, ICML 2012.

    Examples
    --------
    >>> sure, unsure = np.tile([[0.9, 0.1], [0.1, 0.9]], (25, 1)), np.tile([0.4, 0.6], (50, 1))
    >>> print(choose({"source_only": unsure, "mcc": sure}))
    source_only is kept: mcc was left out, because it labels 52% of the texts differently ...
    >>> even = np.tile([[0.6, 0.4], [0.4, 0.6]], (25, 1))
    >>> print(choose({"source_only": even, "mcc": sure}))
    mcc is kept: its information maximisation is 0.368, and 0.020 that of source_only.

    """
    names, findings = list(pool), findings or {}
    agreement = ensemble_agreement(list(pool.values()))
    labels = {name: p.argmax(1) for name, p in pool.items()}
    refused = {
        name: refusal(pool[name], pool[BASELINE], classes, findings.get(name, ()))
        for name in names
        if name != BASELINE
    }
    rows: list[dict[str, Any]] = [
        {
            "method": name,
            # Rounding may carry it below 0.
            "information_maximization": max(0.0, information_maximization(pool[name])),
            "agreement": float(share),
            "changed": float((labels[name] != labels[BASELINE]).mean()),
            "refused": refused.get(name, ""),
        }
        for name, share in zip(names, agreement, strict=True)
    ]
    method, reason = _decision(pool, rows, findings)
    return Choice(method, reason, rows)


def _decision(
    pool: Mapping[str, np.ndarray],
    rows: Sequence[Mapping[str, Any]],
    severe: Mapping[str, Sequence[str]],
) -> tuple[str, str]:
    """Return which model is kept, and why."""
    score = {r["method"]: r["information_maximization"] for r in rows if not r["refused"]}
    left_out = [f"{r['method']} was left out, because {r['refused']}" for r in rows if r["refused"]]
    also = "".join(f" {said}." for said in left_out)
    if UNLEARNT in severe.get(BASELINE, ()):
        return _rescue(rows, severe)
    # Among equals source-only.
    best = max(score, key=lambda name: (score[name], name == BASELINE))
    if best == BASELINE:
        why = "; ".join(left_out) if len(score) == 1 else "no other has more information"
        return BASELINE, f"{BASELINE} is kept: {why}.{also if len(score) > 1 else ''}"
    ahead = _divergence(pool[best]) - _divergence(pool[BASELINE])
    error = float(ahead.std() / len(ahead) ** 0.5)
    figures = (
        f"its information maximisation is {score[best]:.3f}, and {score[BASELINE]:.3f} that of "
        f"{BASELINE}.{also}"
    )
    most = log(pool[best].shape[1])
    if score[best] < SURE * most:
        return BASELINE, (
            f"{BASELINE} is kept: {best} is the surest, but its information maximisation is "
            f"{score[best]:.3f} of at most {most:.3f}, and no choice below {SURE:.0%} of that has "
            f"proved reliable. More texts or epochs may help.{also}"
        )
    if score[best] - score[BASELINE] > 2 * error:
        return best, f"{best} is kept: {figures}"
    return BASELINE, f"{BASELINE} is kept. {best} is ahead, but not clearly: {figures}"


def _rescue(
    rows: Sequence[Mapping[str, Any]], severe: Mapping[str, Sequence[str]]
) -> tuple[str, str]:
    """Return a model that has learnt the source's task where source-only has not, and why.

    What it has in common with source-only says nothing then, and so does how much surer it is.
    """
    learnt = [r for r in rows if r["method"] != BASELINE and not severe.get(r["method"])]
    if not learnt:
        return BASELINE, (
            f"{BASELINE} is kept: it has not learnt the source's task itself, and no other has "
            "without something else that is severely wrong."
        )
    best = max(learnt, key=lambda r: r["information_maximization"])["method"]
    return best, f"{best} is kept: {BASELINE} has not learnt the source's task, and {best} has."

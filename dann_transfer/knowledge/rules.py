"""Rules that vote for a class or abstain."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dann_transfer.knowledge.base import (
    Knowledge,
    Reason,
    State,
    check_state,
    plain_label,
    positions,
    reason_of,
)
from dann_transfer.knowledge.votes import ABSTAINS, accuracies, log_likelihood

_FLAGS = re.IGNORECASE


@dataclass(frozen=True)
class _Pattern:
    """A regular expression that votes for one class."""

    pattern: re.Pattern[str]
    label: Any

    @property
    def name(self) -> str:
        return self.pattern.pattern

    def __call__(self, text: str) -> Any:
        return self.label if self.pattern.search(text) else None


@dataclass(frozen=True)
class _Function:
    """A function of a user's."""

    function: Callable[[str], Any]

    @property
    def name(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)

    def __call__(self, text: str) -> Any:
        return self.function(text)


class Rules(Knowledge):
    """Rules, each of which votes for a class or says nothing about a text.

    How often each rule is right is estimated on the labelled source and from the agreement of the
    rules on the target; its votes weigh accordingly. Rules are taken to err independently of each
    other, so two that say the same count twice.

    Parameters
    ----------
    *rules : (pattern, label) or callable
        A regular expression, as a string, which then ignores case, or compiled, and the class for
        which it votes where it occurs; or a function of a text that returns a class or None. A
        function cannot be saved with a model.

    Raises
    ------
    TypeError, ValueError
        If there is no rule, or one is neither, or its pattern is wrong.

    References
    ----------
    Ratner et al., Training Complex Models with Multi-Task Weak Supervision, AAAI 2019.

    Examples
    --------
    >>> rules = Rules((r"\\brefund", "returns"), (r"\\btrack", "delivery"))
    >>> source = ["refund it", "no refund?", "track it", "refund my tracked parcel"]
    >>> rules.fit(source, ["returns", "returns", "delivery", "delivery"]).accuracies_.round(2)
    array([0.68, 0.85])
    >>> rules.evidence(["Where can I TRACK it?", "Hello"]).values.round(2).tolist()
    [[0.87, -0.87], [0.0, 0.0]]
    >>> print(*rules.explain("Where can I track it?"))
    delivery: +0.87 by '\\\\btrack' (right in 85% of its votes, as estimated)

    """

    accuracies_: np.ndarray
    """How often each rule is right where it votes, as estimated, shape (rules,)."""

    def __init__(self, *rules: tuple[str | re.Pattern[str], Any] | Callable[[str], Any]) -> None:
        if not rules:
            raise ValueError("Rules without a rule say nothing; pass (pattern, label) at least.")
        self._rules = [_rule(each, i) for i, each in enumerate(rules)]

    def __len__(self) -> int:
        return len(self._rules)

    @property
    def names(self) -> list[str]:
        """The pattern of each rule, or the name of its function."""
        return [rule.name for rule in self._rules]

    def labels(self) -> Collection[Any]:
        """Return the classes of its patterns; those of functions are seen when they vote."""
        return [rule.label for rule in self._rules if isinstance(rule, _Pattern)]

    def unsaved(self) -> str:
        """Say which rule is a function, and so cannot be saved."""
        for i, rule in enumerate(self._rules):
            if isinstance(rule, _Function):
                return (
                    f"rule {i}, {rule.name!r}, is a function, and only regular expressions are data"
                )
        return ""

    def votes(self, texts: Sequence[str]) -> np.ndarray:
        """Return the class position for which each rule votes, or -1, shape (n, rules)."""
        places = positions(self._fitted().classes_)
        votes = np.full((len(texts), len(self._rules)), ABSTAINS)
        for row, text in zip(votes, texts, strict=True):
            for j, rule in enumerate(self._rules):
                label = plain_label(rule(text))
                if label is None:
                    continue
                if label not in places:
                    raise ValueError(
                        f"rule {j}, {rule.name!r}, votes {label!r} for the text {text[:60]!r}, a "
                        "class that the source does not have; it has "
                        f"{self.classes_.tolist()[:20]!r}. Return one of these, or None to abstain."
                    )
                row[j] = places[label]
        return votes

    def learn(self, texts: Sequence[str], codes: np.ndarray, target: Sequence[str]) -> None:
        """Estimate how often each rule is right."""
        seen, unseen = self.votes(texts), self.votes(target)
        self.accuracies_ = accuracies(seen, codes, unseen, len(self.classes_))

    def values(self, texts: Sequence[str]) -> np.ndarray:
        """Return how likely the votes for each text are in each class."""
        return log_likelihood(self.votes(texts), self.accuracies_, len(self.classes_))

    def reasons(self, text: str) -> list[Reason]:
        """Return the rules that voted."""
        votes = self.votes([text])[0]
        return [
            reason_of(
                self.classes_,
                log_likelihood(votes[None, [j]], self.accuracies_[[j]], len(self.classes_))[0],
                self.names[j],
                f"right in {self.accuracies_[j]:.0%} of its votes, as estimated",
            )
            for j in np.flatnonzero(votes != ABSTAINS)
        ]

    def state(self) -> State:
        """Return what saves it."""
        rules = [
            [rule.pattern.pattern, rule.pattern.flags, rule.label]
            for rule in self._rules
            if isinstance(rule, _Pattern)
        ]
        return {"rules": rules}, {"accuracies": self.accuracies_}

    @classmethod
    def from_state(
        cls, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray], classes: np.ndarray
    ) -> Rules:
        """Return the object that `state` was taken of."""
        rules = cls(
            *((re.compile(pattern, flags), label) for pattern, flags, label in values["rules"])
        )
        rules.classes_, rules.accuracies_ = classes, arrays["accuracies"]
        check_state({"accuracies": (rules.accuracies_, (len(rules),))})
        return rules


def _rule(rule: Any, i: int) -> _Pattern | _Function:
    """Check one rule."""
    if isinstance(rule, tuple) and len(rule) == 2:
        pattern, label = rule[0], plain_label(rule[1])
        if isinstance(pattern, str) and pattern:
            try:
                return _Pattern(re.compile(pattern, _FLAGS), label)
            except re.error as error:
                raise ValueError(
                    f"rule {i}: the pattern {pattern!r} is no regular expression ({error}); "
                    "re.escape makes one of plain text."
                ) from error
        if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):
            return _Pattern(pattern, label)
    elif callable(rule):
        return _Function(rule)
    raise TypeError(
        f"rule {i} is {rule!r:.80}; pass (pattern, label), such as (r'\\brefund', 'returns'), or a "
        "function of a text that returns a class or None."
    )

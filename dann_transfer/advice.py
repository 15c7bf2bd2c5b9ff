"""Which method to try first, and for how long: advice from what the user has."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dann_transfer.fitting import auto, run
from dann_transfer.ground.length import STEPS, steps_for
from dann_transfer.ground.notices import is_first
from dann_transfer.ground.options import AUTO
from dann_transfer.ground.settings import check_names, check_params, plain
from dann_transfer.judging.choice import BASELINE
from dann_transfer.judging.selection import balanced
from dann_transfer.texts.roles import Inputs, Texts
from dann_transfer.texts.several import several_of

ENOUGH = 1000
"""Labelled source texts from which two or three classes are better taught to a student."""
MANY_CLASSES = 5
"""Classes from which they are topics or intents rather than opinions."""


@dataclass(frozen=True)
class Advice:
    """What to try first, and why.

    Attributes
    ----------
    method : str
    epochs : int
    reason : str
    texts, classes, target_texts : int
        Labelled source texts, their classes, and unlabelled target texts.
    smallest, largest : float
        Shares of the rarest and of the commonest class among the source's texts.

    """

    method: str
    epochs: int
    reason: str
    texts: int
    classes: int
    target_texts: int
    smallest: float
    largest: float

    def __str__(self) -> str:
        return f"method {self.method!r}, {self.epochs} epochs: {self.reason}"

    def to_json(self) -> dict[str, Any]:
        """Return the fields in a form that JSON can hold."""
        return asdict(self)


def advise(X: Any, y: Any = None, *, X_target: Any = None, **params: Any) -> Advice:
    """Say which method to try first on these texts, and for how many epochs.

    ``DomainAdapter(method=None)`` and the command line follow the same advice. It is a rule of
    thumb from the benchmarks of this package: `compare` measures on your texts.

    Parameters
    ----------
    X, y, X_target
        As for ``DomainAdapter.fit``.
    **params
        Hyperparameters of `DomainAdapter` that the advice depends on, such as `batch_size` and
        `text_column`.

    Raises
    ------
    TypeError, ValueError
        On bad input.

    Examples
    --------
    >>> films = ["a moving, funny film", "dull and far too long"] * 8
    >>> advice = advise(films, ["good", "bad"] * 8, X_target=["loved it!!", "ugh, no"] * 8)
    >>> advice.method, advice.epochs
    ('mcc', 84)
    >>> print(advise(films, ["good", "bad"] * 8).method)
    source_only

    """
    params = run.full(plain(params))
    check_names("advise", params)
    check_params(params)
    texts = read(params, Inputs(X, y, X_target))
    return advice_for(texts, params)


def read(params: Mapping[str, Any], inputs: Inputs) -> Texts:
    """Read what a user passed for whatever method is advised."""
    names = (BASELINE, *auto.SHORTLIST) if inputs.X_target is not None else (BASELINE,)
    batch_size, epochs = params["batch_size"], params["epochs"]
    created = {name: run.create(name, None, epochs, batch_size) for name in names}
    columns = params["text_column"], params["label_column"]
    if several_of(inputs.X, inputs.y, "X", "y", *columns) is not None:
        raise ValueError(
            "advise chooses among methods of one class a text, and y has several labels a text; "
            "name a method, such as 'dann' or 'source_only'."
        )
    return run.check({**params, "method": "advised"}, inputs, created)


def advice_for(texts: Texts, params: Mapping[str, Any]) -> Advice:
    """Return the advice on texts that are read."""
    n, classes, shares = len(texts.source), len(texts.classes), texts.shares
    method, reason = _method(n, classes, balanced(shares), texts.n_target)
    epochs = run.epochs_of(params, texts)
    if params["epochs"] is None:
        steps = steps_for(classes)
        length = f"{classes} classes take about {steps} steps"
        reason += f"; {length}" if classes > 2 else f"; two classes take about {STEPS} steps"
    return Advice(
        method=method,
        epochs=epochs,
        reason=reason,
        texts=n,
        classes=classes,
        target_texts=texts.n_target,
        smallest=float(shares.min()),
        largest=float(shares.max()),
    )


def _method(n: int, classes: int, even: bool, n_target: int) -> tuple[str, str]:
    """Return the method to try first, and why."""
    if not n_target:
        return BASELINE, "there are no target texts to adapt to"
    if not even:
        return AUTO, (
            f"the classes are lopsided, and no method helps reliably there: {BASELINE} is kept "
            "unless it does not learn the source's task and another does; compare shows on "
            "labelled target texts whether one helps"
        )
    if classes >= MANY_CLASSES:
        return "student", f"{classes} classes of about equal size are mostly topics or intents"
    if n < ENOUGH:
        return "mcc", f"{n:,} labelled texts are too few to teach a student well"
    return "student", f"{n:,} labelled texts of {classes} classes teach a student well"


def announce(advice: Advice) -> None:
    """Say what was advised, in a line before training."""
    if is_first():
        print(advice, file=sys.stderr)

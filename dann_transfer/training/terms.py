"""What a method's loss may be: named scalars with a gradient, beside those of every run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dann_transfer.training.forward import Forward
from dann_transfer.training.history import OF_EVERY_RUN

TASK = "task"
"""The name of the task's loss, which no method may use."""
RECORDED = {*OF_EVERY_RUN, "strength", f"{TASK}_loss"}
"""What a step's row of the history has in any run."""


def check_terms(terms: Any, forward: Forward, name: str) -> None:
    """Check what a method's `loss` returned.

    Parameters
    ----------
    terms : object
        A dict of str to scalar tensors, if it is right.
    forward : Forward
        With the metrics that the method added.
    name : str
        The method's name.

    Raises
    ------
    TypeError
        If it is not a dict of str to scalar tensors.
    ValueError
        If a term or a metric has a name that the run itself uses.

    """
    if not isinstance(terms, Mapping):
        raise TypeError(
            f"the loss of method {name!r} is {type(terms).__name__}; return a dict of named terms, "
            'such as {"distance": value}.'
        )
    for key, value in terms.items():
        if not isinstance(key, str):
            raise TypeError(f"the loss of method {name!r} has the key {key!r}; name it by a str.")
        if not isinstance(value, Tensor) or value.ndim:
            shape = f" of shape {tuple(value.shape)}" if isinstance(value, Tensor) else ""
            raise TypeError(
                f"the term {key!r} of method {name!r} is {type(value).__name__}{shape}; return a "
                "tensor with a single number, such as a mean over the batch."
            )
        if key == TASK:
            raise ValueError(
                f"method {name!r} has a term named {TASK!r}, which would replace the task's own "
                "loss; give it another name. The two are added."
            )
    if taken := sorted(RECORDED & forward.metrics.keys()):
        raise ValueError(
            f"method {name!r} has a metric named {taken[0]!r}, which the history holds in any run; "
            "give it another name."
        )


def check_gradient(terms: Mapping[str, Tensor], name: str) -> None:
    """Raise a ValueError if no gradient would flow from a term that the run minimises."""
    if still := [key for key, value in terms.items() if not value.requires_grad]:
        raise ValueError(
            f"the term {still[0]!r} of method {name!r} has no gradient and would change nothing; "
            "compute it from forward.features or forward.logits without detach(), or, if it is "
            "only to be recorded, put it into forward.metrics."
        )

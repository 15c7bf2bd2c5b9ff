"""From logits to probabilities to labels."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from dann_transfer.fitted import Fitted
from dann_transfer.label_shift import correct


def prior_for(correct_prior: str | bool | None, fitted: Fitted) -> np.ndarray | None:
    """Return the target's class prior that predictions are corrected by, or None.

    Parameters
    ----------
    correct_prior : bool or {"bbse", "em"}, optional
        True is "em".
    fitted : Fitted

    Raises
    ------
    ValueError
        If the prior was not estimated in the fit.

    """
    if not correct_prior:
        return None
    kind = "em" if correct_prior is True else str(correct_prior)
    if kind not in fitted.target_prior:
        raise ValueError(
            f"correct_prior={correct_prior!r} was not estimated when the model was "
            "fitted; fit it with X_target and this setting."
        )
    return fitted.target_prior[kind]


def probabilities(
    logits: Tensor, source_prior: np.ndarray, target_prior: np.ndarray | None = None
) -> np.ndarray:
    """Turn logits (n, classes) into probabilities (n, classes), under the target's class prior.

    Parameters
    ----------
    logits : Tensor, shape (n, classes)
    source_prior, target_prior : ndarray, shape (classes,)
        Without a target prior the source's is taken to hold.

    Examples
    --------
    >>> import torch
    >>> even = np.array([0.5, 0.5])
    >>> probabilities(torch.zeros(1, 2), even, np.array([0.8, 0.2]))
    array([[0.8, 0.2]])

    """
    p = logits.softmax(1).numpy()
    return p if target_prior is None else correct(p, source_prior, target_prior)


def labels(p: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the likeliest class of each row, shape (n,).

    Examples
    --------
    >>> labels(np.array([[0.1, 0.9]]), np.array(["no", "yes"])).tolist()
    ['yes']

    """
    return classes[p.argmax(1)]

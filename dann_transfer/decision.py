"""From logits to probabilities to labels."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from dann_transfer.fitted import Fitted
from dann_transfer.label_shift import correct
from dann_transfer.notices import warn


class PriorWarning(UserWarning):
    """The target's class shares could not be estimated, so predictions are not corrected."""


def prior_for(correct_prior: str | bool | None, fitted: Fitted) -> np.ndarray | None:
    """Return the target's class prior that predictions are corrected by, or None.

    Where the estimate was refused there is none, and a warning says why.

    Parameters
    ----------
    correct_prior : bool or {"bbse", "em"}, optional
        True is "em".
    fitted : Fitted

    Raises
    ------
    ValueError
        If the model was fitted without a target.

    """
    if not correct_prior:
        return None
    kind = "em" if correct_prior is True else str(correct_prior)
    if kind in fitted.target_prior:
        return fitted.target_prior[kind]
    if kind not in fitted.refused_prior:
        raise ValueError(
            f"correct_prior={correct_prior!r} was not estimated when the model was "
            "fitted; fit it with X_target and this setting."
        )
    warn(
        f"correct_prior={correct_prior!r} changes nothing: the estimate of the target's class "
        f"shares was refused ({fitted.refused_prior[kind]}).",
        PriorWarning,
    )
    return None


def probabilities(logits: Tensor, fitted: Fitted, target_prior: np.ndarray | None) -> np.ndarray:
    """Turn logits (n, classes) into probabilities (n, classes).

    Parameters
    ----------
    logits : Tensor, shape (n, classes)
    fitted : Fitted
    target_prior : ndarray, shape (classes,), or None
        The target's class shares, for which the model's calibrated probabilities are corrected.
        None leaves them as the model gives them.

    """
    if target_prior is None or fitted.calibration is None:
        return logits.softmax(1).numpy()
    calibration = fitted.calibration
    return correct(calibration.probabilities(logits.numpy()), calibration.prior, target_prior)


def labels(p: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the likeliest class of each row, shape (n,).

    Examples
    --------
    >>> labels(np.array([[0.1, 0.9]]), np.array(["no", "yes"])).tolist()
    ['yes']

    """
    return classes[p.argmax(1)]

"""Checks of the arrays that judging takes: probabilities, features, weights and positions."""

from __future__ import annotations

import numpy as np


def probabilities_of(p: np.ndarray) -> np.ndarray:
    """Return p as an array of floats, after checking that it holds probabilities (n, classes)."""
    p = np.asarray(p, dtype=float)
    fits = p.ndim == 2 and len(p) and np.allclose(p.sum(1), 1, atol=1e-3)
    if not fits or p.min() < -1e-3 or p.max() > 1 + 1e-3:
        raise ValueError(
            f"probabilities of shape {p.shape} must be (texts, classes), between 0 and 1, with "
            "rows that sum to 1; pass what predict_proba returns."
        )
    return p.clip(0, 1)


def features_of(*domains: np.ndarray) -> list[np.ndarray]:
    """Return each domain's features as floats, if all are (texts, width) with the same width."""
    arrays = [np.asarray(domain, dtype=float) for domain in domains]
    if any(x.ndim != 2 or not len(x) for x in arrays) or len({x.shape[1] for x in arrays}) > 1:
        raise ValueError(
            f"features have shapes {' and '.join(str(x.shape) for x in arrays)}; each must be "
            "(texts, width), with the same width. Pass what transform returns."
        )
    return arrays


def one_each(name: str, values: np.ndarray, n: int, kind: str, remedy: str = "") -> np.ndarray:
    """Return values as an array, if there is one for each of n texts of a kind."""
    values = np.asarray(values)
    if values.shape != (n,):
        raise ValueError(
            f"{name} has shape {values.shape}; it needs one entry for each of the "
            f"{n} {kind} texts.{remedy}"
        )
    return values


def check_rows(features: np.ndarray, p: np.ndarray) -> None:
    """Raise a ValueError unless features (n, width) and probabilities (n, classes) match."""
    probabilities_of(p)
    if np.ndim(features) != 2 or len(features) != len(p):
        raise ValueError(
            f"features of shape {np.shape(features)} and probabilities of shape {np.shape(p)} do "
            "not match; pass one row per text of each, as adapter.outputs(texts) returns them."
        )


def positions_of(name: str, values: np.ndarray, n: int, kind: str, remedy: str = "") -> np.ndarray:
    """Return values as an array, shape (m,), if each is the position of one of n things."""
    values = np.asarray(values)
    if values.ndim != 1:
        raise ValueError(f"{name} has shape {values.shape}; pass a flat list of whole numbers.")
    if not values.size:
        return values.astype(int)
    whole = values.dtype.kind in "iu"
    wrong = values[(values < 0) | (values >= n)] if whole else values
    if wrong.size:
        raise ValueError(
            f"{name} must be whole numbers from 0 to {n - 1}, the positions of {kind}; got "
            f"{wrong[:3].tolist()}.{remedy}"
        )
    return values


def weights_of(name: str, weights: np.ndarray, remedy: str = "") -> np.ndarray:
    """Return weights as an array of floats, if all are finite and none is below 0."""
    weights = np.asarray(weights, dtype=float)
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError(
            f"{name} must be finite and not below 0; they lie between {weights.min()} and "
            f"{weights.max()}.{remedy}"
        )
    return weights

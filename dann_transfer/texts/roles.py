"""Everything that a user passed to `fit`, checked before anything is loaded: texts by role.

Roles are "source" (to train on), "validation", "target" and "labelled target".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dann_transfer.texts.labels import encode_labels
from dann_transfer.texts.reading import as_labelled, as_sources
from dann_transfer.texts.target import LOOKED_AT, as_target
from dann_transfer.texts.weights import hold_out, scaled, text_weights


@dataclass(frozen=True)
class Roles:
    """Texts and class positions by role; what is absent is an empty list."""

    classes: np.ndarray
    texts: dict[str, list[str]]
    codes: dict[str, np.ndarray]
    weights: np.ndarray | None
    """Weight of each training text."""
    domains: np.ndarray | None
    """The source domain of each training text; None if there is only one."""
    names: list[str]
    """Names of the source domains."""
    n_source: int
    """Number of source texts, including those held out."""
    n_target: int
    """Number of target texts without labels, of which `texts` may hold a sample."""

    @property
    def shares(self) -> np.ndarray:
        """Class shares of the source texts to train on, without weights, shape (classes,)."""
        codes = self.codes["source"]
        return np.bincount(codes, minlength=len(self.classes)) / len(codes)


def read(
    params: dict[str, Any],
    seed: int,
    uses_target: bool,
    passes: int,
    *,
    X: Any,
    y: Any,
    X_target: Any,
    sample_weight: Any,
    X_val: Any,
    y_val: Any,
    X_target_labelled: Any,
    y_target_labelled: Any,
) -> Roles:
    """Check the arguments of ``DomainAdapter.fit`` against its parameters and each other.

    Parameters
    ----------
    params : dict
        The adapter's parameters.
    seed : int
    uses_target : bool
        Whether the method trains on target texts.
    passes : int
        The run's passes over the source. Each draws as many target texts as there are source
        texts. If the target has more texts than the run draws, a sample of it does as well and
        fits in memory.
    X, y, X_target, sample_weight, X_val, y_val, X_target_labelled, y_target_labelled
        As for ``DomainAdapter.fit``.

    Raises
    ------
    TypeError, ValueError
        Naming what was wrong and the remedy.

    """
    columns = params["text_column"], params["label_column"]
    texts, labels, sizes = as_sources(X, y, *columns)
    target: list[str] = []
    n_target = 0
    if X_target is not None:
        most = max(LOOKED_AT, passes * len(texts))
        # That it is another domain matters only if it is trained on, not merely examined.
        others = texts if uses_target else []
        target, n_target = as_target(X_target, others, params["text_column"], most)
    elif uses_target:
        raise ValueError(
            f"method={params['method']!r} adapts to a target domain: pass its unlabelled texts "
            "as X_target=..., or use method='source_only'."
        )
    classes, codes = np.unique(labels, return_inverse=True)
    labelled = _labelled(X_target_labelled, y_target_labelled, "target_labelled", classes, columns)
    val = _labelled(X_val, y_val, "val", classes, columns)
    weights = text_weights(labels, params["class_weight"], sample_weight)
    rows = np.arange(len(texts))
    if val is None:
        if X_val is None and params["patience"] is not None and not params["validation_fraction"]:
            raise ValueError(
                f"patience={params['patience']} needs validation texts: pass X_val and y_val, or "
                "a validation_fraction above 0."
            )
        if params["validation_fraction"]:
            _check_enough(classes, codes)
        rows, held_out = hold_out(codes, params["validation_fraction"], seed)
        val = ([texts[i] for i in held_out], codes[held_out])
    _check_prediction(params, target, val[1], len(classes))
    return Roles(
        classes=classes,
        texts={
            "source": [texts[i] for i in rows],
            "validation": val[0],
            "target": target,
            "labelled target": labelled[0] if labelled else [],
        },
        codes={
            "source": codes[rows],
            "validation": val[1],
            "labelled target": labelled[1] if labelled else np.empty(0, dtype=int),
        },
        weights=None if weights is None else scaled(weights[rows]),
        domains=np.repeat(np.arange(len(sizes)), list(sizes.values()))[rows] if sizes else None,
        names=list(sizes),
        n_source=len(texts),
        n_target=n_target,
    )


def _check_enough(classes: np.ndarray, codes: np.ndarray) -> None:
    """Raise if a class has too few texts to hold one out."""
    counts = np.bincount(codes)
    if counts.min() < 2:
        rare = classes[counts.argmin()].item()
        raise ValueError(
            f"class {rare!r} has a single text; every class needs two, one to train on and "
            "one to hold out. Add a text, merge the class with another, drop it, pass X_val and "
            "y_val, or set validation_fraction=0."
        )


def _check_prediction(
    params: dict[str, Any], target: list[str], held_out: np.ndarray, classes: int
) -> None:
    """Raise if the texts that a correction of predictions needs are missing."""
    if params["neighbors"] and not target:
        raise ValueError(
            f"neighbors={params['neighbors']} needs target texts to search in: pass X_target=..."
        )
    if params["neighbors"] and params["correct_prior"]:
        raise ValueError(
            f"neighbors={params['neighbors']} and correct_prior={params['correct_prior']!r} both "
            "change predictions, and were never measured together; set only one of them."
        )
    if params["correct_prior"] and not target:
        raise ValueError(
            f"correct_prior={params['correct_prior']!r} needs target texts: pass X_target=..."
        )
    if params["correct_prior"] and len(np.unique(held_out)) < classes:
        raise ValueError(
            f"correct_prior={params['correct_prior']!r} needs a held-out source text of every "
            "class, to calibrate on; pass X_val and y_val, or a larger validation_fraction."
        )


def _labelled(
    X: Any, y: Any, suffix: str, classes: np.ndarray, columns: tuple[str, str]
) -> tuple[list[str], np.ndarray] | None:
    """Return optional labelled texts and their class positions."""
    names = f"X_{suffix}", f"y_{suffix}"
    if X is None:
        if y is not None:
            raise ValueError(f"{names[1]} was passed without {names[0]}; pass both or neither.")
        return None
    texts, labels = as_labelled(X, y, *names, *columns)
    return texts, encode_labels(labels, classes, names[1])

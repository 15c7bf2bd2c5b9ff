"""Everything that a user passes about texts: as it was passed, checked, and divided for a run.

`Inputs` become `Texts` once, whatever is trained on them; `Texts` become the `Roles` of a run,
which depend on its seed and its hyperparameters. Roles are "source" (to train on), "validation",
"target" and "labelled target".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dann_transfer.ground import streams
from dann_transfer.ground.settings import FEWEST_ALIGNED
from dann_transfer.knowledge.base import Knowledge, as_knowledge
from dann_transfer.texts.copies import groups_of, warn_of_copies
from dann_transfer.texts.labels import check_unknown_kind, encode_labels
from dann_transfer.texts.order import order_of, ranks_of, stated
from dann_transfer.texts.reading import as_labelled, as_sources
from dann_transfer.texts.several import Several, marks_of, several_of, warn_of_oddities
from dann_transfer.texts.target import LOOKED_AT, as_target, smallest
from dann_transfer.texts.weights import hold_out, scaled, text_weights


@dataclass(frozen=True)
class Inputs:
    """What `fit`, `compare` and `tune` take about texts; ``DomainAdapter.fit`` describes each."""

    X: Any
    y: Any = None
    X_target: Any = None
    sample_weight: Any = None
    X_val: Any = None
    y_val: Any = None
    X_target_labelled: Any = None
    y_target_labelled: Any = None
    knowledge: Any = None


@dataclass(frozen=True)
class Roles:
    """Texts and class positions of a run by role; what is absent is an empty list."""

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
    order: np.ndarray | None = None
    """The classes from the lowest to the highest, if they are ordered."""
    form: str | None = None
    """`several.MATRIX` or `several.LISTS`, if a text has several labels; codes are marks then."""

    @property
    def ranks(self) -> np.ndarray | None:
        """The rank of each class, if they are ordered."""
        return ranks_of(self.order, self.classes)

    @property
    def shares(self) -> np.ndarray:
        """Class shares of the source texts to train on, without weights, shape (classes,)."""
        codes = self.codes["source"]
        if self.form is not None:
            return np.asarray(codes.mean(0))
        return np.bincount(codes, minlength=len(self.classes)) / len(codes)


@dataclass(frozen=True)
class Texts:
    """Checked texts, whatever is trained on them and from whatever seed."""

    classes: np.ndarray
    """The labels, sorted, shape (n_classes,)."""
    source: list[str]
    codes: np.ndarray
    """Class positions of the source texts, including those that a run will hold out."""
    sizes: dict[str, int]
    """Number of texts of each source domain; empty if X was not a mapping."""
    sample_weight: np.ndarray | None
    validation: tuple[list[str], np.ndarray] | None
    """Texts and class positions; None if a run holds out some of the source."""
    target: list[str]
    """All target texts, or a sample of as many as the longest run draws."""
    n_target: int
    """Number of all target texts."""
    labelled: tuple[list[str], np.ndarray] | None
    """Labelled target texts and their class positions."""
    knowledge: tuple[Knowledge, ...] = ()
    order: np.ndarray | None = None
    """The classes from the lowest to the highest, if they are ordered."""
    form: str | None = None
    """`several.MATRIX` or `several.LISTS`, if a text has several labels; codes are marks then,
    shape (n_source, n_labels)."""

    @cached_property
    def copies(self) -> np.ndarray:
        """The position of each source text's first copy, shape (n_source,)."""
        return groups_of(self.source)

    @property
    def shares(self) -> np.ndarray:
        """Class shares of the source texts, shape (classes,)."""
        return np.bincount(self.codes, minlength=len(self.classes)) / len(self.codes)

    @property
    def labels(self) -> np.ndarray:
        """The labels of the source texts, shape (n_source,), or marks where each has several."""
        return self.classes[self.codes] if self.form is None else self.codes

    def refuse_several(self, what: str) -> None:
        """Raise a ValueError if a text has several labels, and `what` takes one class a text."""
        if self.form is not None:
            raise ValueError(
                f"{what} takes one class a text, and y has several labels a text; fit a model with "
                "each method and score it with evaluate."
            )

    def sample_of_target(self, most: int) -> list[str]:
        """Return the sample that reading the target for at most this many texts would give."""
        n, size = self.n_target, len(self.target)
        if size <= most:
            return self.target
        drawn = streams.generator(0, streams.SAMPLE).random(n)
        larger, smaller = (smallest(drawn, count) for count in (size, most))
        return [self.target[i] for i in np.searchsorted(larger, smaller)]

    def roles(self, params: Mapping[str, Any], seed: int, passes: int) -> Roles:
        """Divide the texts for a run.

        Parameters
        ----------
        params : mapping
            The run's hyperparameters.
        seed : int
            Draws the texts that are held out.
        passes : int
            The run's passes over the source. Each draws as many target texts as there are source
            texts.

        Raises
        ------
        ValueError
            If the texts do not suffice for the hyperparameters.

        """
        if self.form is None:
            weights = text_weights(self.labels, params["class_weight"], self.sample_weight)
        else:
            # Weights of classes were refused.
            weights = self.sample_weight
        rows, validation = np.arange(len(self.source)), self.validation
        if validation is None:
            if params["patience"] is not None and not params["validation_fraction"]:
                raise ValueError(
                    f"patience={params['patience']} needs validation texts: pass X_val and y_val, "
                    "or a validation_fraction above 0."
                )
            fraction = params["validation_fraction"]
            # Texts with several labels are held out at random.
            strata = self.codes if self.form is None else np.zeros(len(self.source), int)
            rows, held_out = hold_out(strata, fraction, seed, self.copies if fraction else None)
            validation = ([self.source[i] for i in held_out], self.codes[held_out])
        target = self.sample_of_target(target_texts(passes, len(self.source)))
        _check_prediction(params, target, validation[1], len(self.classes))
        _check_knowledge(params, self.knowledge)
        _check_unknown(params, self.classes, len(target), len(validation[0]))
        _check_alignment(params, len(rows), len(target), validation[1], len(self.classes))
        labelled = self.labelled or ([], np.empty(0, dtype=int))
        sizes = list(self.sizes.values())
        return Roles(
            classes=self.classes,
            texts={
                "source": [self.source[i] for i in rows],
                "validation": validation[0],
                "target": target,
                "labelled target": labelled[0],
            },
            codes={
                "source": self.codes[rows],
                "validation": validation[1],
                "labelled target": labelled[1],
            },
            weights=None if weights is None else scaled(weights[rows]),
            domains=np.repeat(np.arange(len(sizes)), sizes)[rows] if sizes else None,
            names=list(self.sizes),
            n_source=len(self.source),
            n_target=self.n_target,
            order=self.order,
            form=self.form,
        )


def target_texts(passes: int, n_source: int) -> int:
    """Return how many target texts suffice for a run of so many passes over the source."""
    return max(LOOKED_AT, passes * n_source)


def read(
    inputs: Inputs,
    columns: tuple[str, str],
    needs_target: str,
    passes_over: Callable[[int, int], int],
    ordinal: bool | list[Any] = False,
) -> Texts:
    """Read and check what a user passed, each file once.

    Parameters
    ----------
    inputs : Inputs
    columns : tuple of str
        The columns of texts and of labels in tables.
    needs_target : str
        Who needs a target, in words, for the error if there is none; "" if nobody does.
    passes_over : callable
        Returns the longest run's passes over the source, for its numbers of texts and classes. If
        the target has more texts than such a run draws, a sample of it does as well and fits in
        memory.
    ordinal : bool or list
        Whether the classes are ordered, or their order.

    Raises
    ------
    TypeError, ValueError
        Naming what was wrong and the remedy.

    """
    if (marked := several_of(inputs.X, inputs.y, "X", "y", *columns)) is not None:
        return _read_several(inputs, marked, columns, needs_target, passes_over)
    source, labels, sizes = as_sources(inputs.X, inputs.y, *columns)
    classes, codes = np.unique(labels, return_inverse=True)
    order = order_of(ordinal, classes, stated(inputs.X, inputs.y, columns[1]))
    passes = passes_over(len(source), len(classes))
    target, n_target = _target(inputs.X_target, source, columns[0], needs_target, passes)
    labelled = _labelled(
        inputs.X_target_labelled, inputs.y_target_labelled, "target_labelled", classes, columns
    )
    validation = _labelled(inputs.X_val, inputs.y_val, "val", classes, columns)
    if validation is not None:
        warn_of_copies("X_val", validation[0], source, "X")
        if labelled is not None:
            warn_of_copies("X_val", validation[0], labelled[0], "X_target_labelled")
    # They are combined with the weights of classes, which may differ from run to run.
    text_weights(labels, None, inputs.sample_weight)
    weights = inputs.sample_weight
    knowledge = as_knowledge(inputs.knowledge, classes)
    return Texts(
        classes=classes,
        source=source,
        codes=codes,
        sizes=sizes,
        sample_weight=None if weights is None else np.asarray(weights, dtype=float),
        validation=validation,
        target=target,
        n_target=n_target,
        labelled=labelled,
        knowledge=knowledge,
        order=order,
    )


def _target(
    X_target: Any, source: list[str], text_column: str, needs_target: str, passes: int
) -> tuple[list[str], int]:
    """Return the target's texts, or a sample, and their number."""
    if X_target is None:
        if needs_target:
            raise ValueError(
                f"{needs_target} adapts to a target domain: pass its unlabelled texts "
                "as X_target=..., or use method='source_only'."
            )
        return [], 0
    # That it is another domain matters only if it is trained on, not merely examined.
    others = source if needs_target else []
    return as_target(X_target, others, text_column, target_texts(passes, len(source)))


def _read_several(
    inputs: Inputs,
    marked: tuple[list[str], Several],
    columns: tuple[str, str],
    needs_target: str,
    passes_over: Callable[[int, int], int],
) -> Texts:
    """Read the rest of what a user passed with several labels a text."""
    for name in ("X_target_labelled", "y_target_labelled", "knowledge"):
        if getattr(inputs, name) is not None:
            raise ValueError(
                f"y has several labels a text, and {name} takes one of each; leave it out."
            )
    source, several = marked
    warn_of_oddities(several, "y")
    passes = passes_over(len(source), len(several.classes))
    target, n_target = _target(inputs.X_target, source, columns[0], needs_target, passes)
    validation = None
    if inputs.X_val is not None:
        kept = several.classes, several.form
        validation = marks_of(inputs.X_val, inputs.y_val, "X_val", "y_val", columns, *kept)
        warn_of_copies("X_val", validation[0], source, "X")
    elif inputs.y_val is not None:
        raise ValueError("y_val was passed without X_val; pass both or neither.")
    text_weights(np.zeros(len(source)), None, inputs.sample_weight)
    weights = inputs.sample_weight
    return Texts(
        classes=several.classes,
        source=source,
        codes=several.marks,
        sizes={},
        sample_weight=None if weights is None else np.asarray(weights, dtype=float),
        validation=validation,
        target=target,
        n_target=n_target,
        labelled=None,
        form=several.form,
    )


def _check_prediction(
    params: Mapping[str, Any], target: list[str], held_out: np.ndarray, classes: int
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


def _check_knowledge(params: Mapping[str, Any], knowledge: tuple[Knowledge, ...]) -> None:
    """Raise if predictions are to be informed by knowledge that is missing, or changed twice."""
    if not params["use_knowledge"]:
        return
    if not knowledge:
        raise ValueError("use_knowledge=True needs knowledge: pass fit(..., knowledge=...)")
    for name in ("neighbors", "correct_prior"):
        if params[name]:
            raise ValueError(
                f"use_knowledge=True and {name}={params[name]!r} both change predictions, and were "
                "never measured together; set only one of them."
            )


def _check_unknown(
    params: Mapping[str, Any], classes: np.ndarray, n_target: int, n_held_out: int
) -> None:
    """Raise if the texts by which new classes are found are missing, or the label is no new one."""
    unknown = params["unknown"]
    check_unknown_kind(unknown, classes)
    if unknown is not None and params.get("ordinal"):
        raise ValueError(
            f"unknown={unknown!r} has no place among ordered classes, so that answers with it are "
            "no number of steps from any other; leave out unknown or ordinal."
        )
    if unknown is not None and not n_target:
        raise ValueError(f"unknown={unknown!r} is found among target texts: pass X_target=...")
    if unknown is not None and not n_held_out:
        raise ValueError(
            f"unknown={unknown!r} needs held-out source texts, by which known texts are told; pass "
            "X_val and y_val, or a validation_fraction above 0."
        )


def _check_alignment(
    params: Mapping[str, Any], n_source: int, n_target: int, held_out: np.ndarray, classes: int
) -> None:
    """Raise if the texts that a map of the target's features needs are missing."""
    if params["align"] is None:
        return
    setting = f"align={params['align']!r}"
    if not n_target:
        raise ValueError(f"{setting} maps the features of target texts: pass X_target=...")
    for name, n in (("source", n_source), ("target", n_target)):
        if n < FEWEST_ALIGNED:
            raise ValueError(
                f"{setting} needs {FEWEST_ALIGNED} texts of each domain, and there are {n} "
                f"{name} texts; pass more, or leave align=None."
            )
    if len(np.unique(held_out)) < classes:
        raise ValueError(
            f"{setting} needs a held-out source text of every class, to check the target's class "
            "shares by; pass X_val and y_val, or a larger validation_fraction."
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

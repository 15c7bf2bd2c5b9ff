"""What knowledge is: something that turns texts into evidence for classes, and says why."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike


class KnowledgeWarning(UserWarning):
    """Knowledge will not act, or will not be saved, as a user may expect."""


class Evidence(NamedTuple):
    """What knowledge says about texts."""

    values: np.ndarray
    """Shape (n, classes), in the order of the classes: what is to be added to log-probabilities, at
    a weight. Each row adds up to 0, and is 0 where nothing is said about a text."""
    coverage: float
    """The share of the texts about which something is said."""


class Reason(NamedTuple):
    """One thing that spoke for a class."""

    label: Any
    """The class that it spoke for most."""
    amount: float
    """How much more it spoke for this class than for the classes on average."""
    what: str
    """The phrase or rule."""
    because: str
    """Why it speaks for this class."""

    def __str__(self) -> str:
        return f"{self.label}: {self.amount:+.2f} by {self.what!r} ({self.because})"


class Knowledge(ABC):
    """Knowledge about what texts say. Subclass it, and implement `values`.

    `fit` says which classes there are; knowledge that learns from the source implements `learn`
    too. Only the kinds of this package are saved with a model.
    """

    classes_: np.ndarray
    """The labels, sorted, shape (classes,), once it is fitted."""

    @abstractmethod
    def values(self, texts: Sequence[str]) -> ArrayLike:
        """Return evidence for the classes, shape (n, classes); 0 where nothing is said."""

    def learn(self, texts: Sequence[str], codes: np.ndarray, target: Sequence[str]) -> None:
        """Learn from labelled source texts, class positions of shape (n,), and target texts."""

    def labels(self) -> Collection[Any]:
        """Return the classes that it names itself, all of which the source must have."""
        return ()

    def unsaved(self) -> str:
        """Say why it cannot be saved; "" if it can."""
        return f"{type(self).__name__} is not a kind of knowledge that this package saves"

    def reasons(self, text: str) -> list[Reason]:
        """Return what spoke for which class."""
        return []

    def fit(
        self,
        X: Sequence[str],
        y: Sequence[Any],
        X_target: Sequence[str] = (),
        classes: Sequence[Any] | None = None,
    ) -> Self:
        """Learn from labelled source texts and, where it helps, from unlabelled target texts.

        Parameters
        ----------
        X, y : sequence, shape (n,)
            Source texts and their labels.
        X_target : sequence of str, optional
        classes : sequence, optional
            All classes, sorted, if some may be missing in y.

        Returns
        -------
        Knowledge
            Itself.

        Raises
        ------
        TypeError, ValueError
            If there is not one label for each text, or it names a class that is not among these.

        """
        texts, target = texts_of(X, "X"), texts_of(X_target, "X_target")
        labels = np.asarray(y)
        if labels.shape != (len(texts),) or not texts:
            raise ValueError(
                f"X has {len(texts)} texts and y the shape {labels.shape}; pass one label a text."
            )
        known = np.unique(labels) if classes is None else np.asarray(classes)
        check_labels(self, known)
        self.classes_ = known
        self.learn(texts, np.searchsorted(known, labels), target)
        return self

    def evidence(self, X: Sequence[str]) -> Evidence:
        """Return what is said about texts, and about which share of them.

        Raises
        ------
        ValueError
            If it is not fitted, or `values` gives another shape or values that are not finite.

        """
        texts, classes = texts_of(X, "X"), len(self._fitted().classes_)
        values = np.asarray(self.values(texts), dtype=float)
        name = type(self).__name__
        if values.shape != (len(texts), classes):
            raise ValueError(
                f"{name} gives evidence of shape {values.shape}, but there are {len(texts)} texts "
                f"and {classes} classes; its values must have shape ({len(texts)}, {classes})."
            )
        wrong = np.flatnonzero(~np.isfinite(values).all(1))
        if len(wrong):
            raise ValueError(
                f"{name} gives evidence {values[wrong[0]].tolist()} for the text "
                f"{texts[wrong[0]][:60]!r}; it must be finite, and 0 where nothing is said."
            )
        values = values - values.mean(1, keepdims=True)
        # Rounding leaves traces where a text has the same evidence for each class.
        values[np.abs(values).max(1, initial=0) < 1e-9] = 0
        return Evidence(values, float(values.any(1).mean()) if len(texts) else 0.0)

    def explain(self, text: str) -> list[Reason]:
        """Return what in a text spoke for which class, the strongest first."""
        (checked,) = texts_of([text], "text")
        return sorted(self._fitted().reasons(checked), key=lambda reason: -reason.amount)

    def _fitted(self) -> Self:
        if not hasattr(self, "classes_"):
            raise ValueError(
                f"this {type(self).__name__} is not fitted; call fit(X, y) with labelled texts, or "
                "pass it to DomainAdapter.fit(..., knowledge=...)."
            )
        return self


def reason_of(classes: np.ndarray, values: np.ndarray, what: str, because: str) -> Reason:
    """Return the reason that evidence (classes,) is, for the class that it favours."""
    centred = values - values.mean()
    top = int(centred.argmax())
    return Reason(classes[top].item(), float(centred[top]), what, because)


def texts_of(X: Any, name: str) -> list[str]:
    """Return texts as a list, if they are strings."""
    if isinstance(X, str | bytes):
        raise TypeError(f"{name} is a single {type(X).__name__}, {X[:40]!r}; pass a list of texts.")
    texts = list(X)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            kind = type(text).__name__
            raise TypeError(f"{name}[{i}] is {text!r} ({kind}), not a string; remove it.")
    return texts


def positions(classes: np.ndarray) -> dict[Any, int]:
    """Return the position of each class by its label, and by the label as a file would spell it.

    Examples
    --------
    >>> positions(np.array([0, 1]))
    {'0': 0, '1': 1, 0: 0, 1: 1}

    """
    labels = classes.tolist()
    return {str(label): i for i, label in enumerate(labels)} | {
        label: i for i, label in enumerate(labels)
    }


def check_labels(knowledge: Knowledge, classes: np.ndarray) -> None:
    """Raise a ValueError if knowledge names a class that is not among those of the source."""
    present = positions(classes)
    if others := sorted({label for label in knowledge.labels() if label not in present}, key=repr):
        raise ValueError(
            f"{type(knowledge).__name__} names classes that the source does not have: "
            f"{others[:5]!r}; it has {classes.tolist()[:20]!r}. Rename or remove them."
        )


def as_knowledge(knowledge: Any, classes: np.ndarray) -> tuple[Knowledge, ...]:
    """Return what a user passed as a tuple, after checking each object.

    Raises
    ------
    TypeError
        If an object is no `Knowledge`.
    ValueError
        If one names a class that the source does not have, or is there twice.

    """
    if knowledge is None:
        return ()
    single = isinstance(knowledge, Knowledge) or not isinstance(knowledge, list | tuple)
    objects = (knowledge,) if single else tuple(knowledge)
    for i, each in enumerate(objects):
        if not isinstance(each, Knowledge):
            hint = " (the class itself; call it)" if isinstance(each, type) else ""
            raise TypeError(
                f"knowledge is {each!r:.80}{hint}, no Lexicon, Rules or Graph; pass one of these, "
                "or a list of them."
            )
        if any(each is other for other in objects[:i]):
            raise ValueError(f"knowledge has the same {type(each).__name__} twice; pass each once.")
        check_labels(each, classes)
    return objects


def plain_label(label: Any) -> Any:
    """Return a class as JSON can hold it: numbers of numpy as Python's."""
    return label.item() if isinstance(label, np.generic) else label


def check_unkept(folder: Any, knowledge: Any) -> None:
    """Raise a ValueError if runs with knowledge are to be kept in a folder.

    Nothing in it would tell one knowledge from another.

    Examples
    --------
    >>> check_unkept("runs/search", None)

    """
    if folder is not None and knowledge is not None:
        raise ValueError(
            f"folder={str(folder)!r} cannot keep runs with knowledge, since nothing there tells it "
            "from other knowledge; leave out one of them."
        )


def number(value: Any, said: str) -> float:
    """Return a finite number, or raise a ValueError that quotes what it is."""
    good = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not good or not np.isfinite(value):
        raise ValueError(f"{said} is {value!r}; it must be a finite number.")
    return float(value)


def check_state(arrays: Mapping[str, tuple[np.ndarray, tuple[int, ...]]]) -> None:
    """Raise a ValueError if an array that was saved does not have its shape."""
    for name, (numbers, shape) in arrays.items():
        if numbers.shape != shape:
            raise ValueError(f"{name} has shape {numbers.shape}, not {shape}")


State = tuple[dict[str, Any], Mapping[str, np.ndarray]]
"""What saves an object: values for JSON, and arrays of numbers by name."""

"""Knowledge with its weights beside a model: what a fit leaves behind, and what is saved of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dann_transfer.knowledge.base import Evidence, Knowledge, Reason, check_state
from dann_transfer.knowledge.graph import Graph
from dann_transfer.knowledge.lexicon import Lexicon
from dann_transfer.knowledge.rules import Rules

_KINDS: dict[str, type[Graph] | type[Lexicon] | type[Rules]] = {
    "Graph": Graph,
    "Lexicon": Lexicon,
    "Rules": Rules,
}
_NUMBERS = ("weights", "alone", "source_coverage", "target_coverage")


@dataclass(frozen=True, eq=False)
class Weighted:
    """Knowledge, and how much it counts beside a model; ``adapter.knowledge_`` is one.

    Attributes
    ----------
    parts : tuple of Knowledge
        What was passed to `fit`, fitted to its texts.
    weights : ndarray, shape (parts,)
        What the evidence of each is multiplied by, before it is added to log-probabilities of
        target texts. 0 is a weight like any other: the evidence was not shown to add anything.
    alone : ndarray, shape (parts,)
        What the weights would be by the source's labels alone, without a model.
    source_coverage, target_coverage : ndarray, shape (parts,)
        The share of the texts about which each says something.

    """

    parts: tuple[Knowledge, ...]
    weights: np.ndarray
    alone: np.ndarray
    source_coverage: np.ndarray
    target_coverage: np.ndarray

    def evidence(self, X: Sequence[str]) -> Evidence:
        """Return what all parts say about texts, each at its weight."""
        each = [part.evidence(X) for part in self.parts]
        values = sum(weight * one.values for weight, one in zip(self.weights, each, strict=True))
        array = np.asarray(values)
        return Evidence(array, float(array.any(1).mean()) if len(array) else 0.0)

    def named(self) -> list[tuple[str, float]]:
        """Return the name of each kind and its weight."""
        names = (type(part).__name__ for part in self.parts)
        return list(zip(names, self.weights.tolist(), strict=True))

    def explain(self, text: str) -> list[Reason]:
        """Return what in a text spoke for which class, at its weight, the strongest first."""
        reasons = [
            reason._replace(amount=float(weight) * reason.amount)
            for weight, part in zip(self.weights, self.parts, strict=True)
            for reason in part.explain(text)
        ]
        return sorted(reasons, key=lambda reason: -reason.amount)

    def __str__(self) -> str:
        return "\n".join(
            f"{type(part).__name__}: weight {weight:.2f} ({alone:.2f} by the source's labels "
            f"alone); it says something about {source:.0%} of the source's texts and "
            f"{target:.0%} of the target's"
            for part, weight, alone, source, target in zip(
                self.parts, *(getattr(self, name) for name in _NUMBERS), strict=True
            )
        )

    def unsaved(self) -> str:
        """Say why it cannot be saved; "" if it can."""
        return next((why for part in self.parts if (why := part.unsaved())), "")

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return what saves it: values for JSON, and arrays by name."""
        rows: list[dict[str, Any]] = []
        arrays: dict[str, np.ndarray] = {}
        for i, part in enumerate(self.parts):
            assert isinstance(part, Graph | Lexicon | Rules)
            values, numbers = part.state()
            rows.append({"kind": type(part).__name__, **values})
            arrays |= {f"{i}.{name}": array for name, array in numbers.items()}
        return {"parts": rows, **{name: getattr(self, name).tolist() for name in _NUMBERS}}, arrays

    @classmethod
    def from_state(
        cls, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray], classes: np.ndarray
    ) -> Weighted:
        """Return the object that `state` was taken of."""
        parts = []
        for i, row in enumerate(values["parts"]):
            prefix = f"{i}."
            state = {
                name.removeprefix(prefix): array
                for name, array in arrays.items()
                if name.startswith(prefix)
            }
            parts.append(_KINDS[row["kind"]].from_state(row, state, classes))
        numbers = {name: np.asarray(values[name], dtype=float) for name in _NUMBERS}
        check_state({name: (array, (len(parts),)) for name, array in numbers.items()})
        if not all(np.isfinite(array).all() and (array >= 0).all() for array in numbers.values()):
            raise ValueError(f"its numbers must be finite and not below 0: {numbers}")
        return cls(tuple(parts), **numbers)

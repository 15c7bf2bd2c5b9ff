"""What a fit leaves behind besides the model: one dataclass, to and from JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from dann_transfer.judging.choice import Choice
from dann_transfer.judging.findings import Findings
from dann_transfer.judging.label_shift import Calibration
from dann_transfer.texts.order import ranks_of


@dataclass
class Fitted:
    """What a `DomainAdapter` learnt about the data and records about its run.

    Each field is an attribute of a fitted adapter, with a trailing underscore:
    ``adapter.classes_``, ``adapter.history_``.
    """

    classes: np.ndarray
    """The labels, sorted, shape (n_classes,)."""
    seed: int
    """The seed of the run."""
    max_strength: float
    """The strength that the schedule ended at."""
    learning_rate: float
    """The encoder's peak learning rate."""
    n_source: int
    """Number of source texts, including those held out."""
    n_target: int
    """Number of target texts without labels."""
    source_prior: np.ndarray
    """Class shares of the texts that the task trained on, with their weights."""
    history: list[dict[str, Any]]
    """Step, strength, losses and the method's own numbers, one entry per step."""
    validation: list[dict[str, Any]]
    """Epoch and accuracy on held-out source texts, one entry per epoch."""
    truncated: dict[str, int]
    """How many texts were cut to `max_length`, by role."""
    unknown: dict[str, float] = field(default_factory=dict)
    """The share of tokens that are not in the encoder's vocabulary, by role."""
    source_domains: list[str] = field(default_factory=list)
    """Names of the source domains, if X was a mapping."""
    form: str | None = None
    """"matrix" or "lists", in which several labels a text were passed and are predicted; None for
    one label a text."""
    thresholds: np.ndarray | None = None
    """The probability from which each label is predicted, where a text has several."""
    order: np.ndarray | None = None
    """The classes from the lowest to the highest, if `ordinal` is set."""
    target_prior: dict[str, np.ndarray] = field(default_factory=dict)
    """The target's class shares as "em" and "bbse" estimate them, in the order of the classes."""
    prior_intervals: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    """Low and high ends of their 95 % intervals, from `label_shift.prior_interval`."""
    refused_prior: dict[str, str] = field(default_factory=dict)
    """Why one of these estimates is missing: the confusion of classes on the source contradicts it,
    or there is nothing to estimate it from."""
    calibration: Calibration | None = None
    """Turns logits into the probabilities that are corrected for the target's shares."""
    target_shares: dict[Any, float] | None = None
    """Share of the target texts that are predicted to be of each class."""
    findings: Findings | None = None
    """What looks wrong with the run; None if it had no target texts."""
    choice: Choice | None = None
    """What ``method="auto"`` chose, and why."""
    advice: str | None = None
    """Which method was advised, and why, if the user named none."""
    n_target_sampled: int = 0
    """Number of target texts that the run drew from: all, or a sample if there are very many."""
    trained: dict[str, Any] = field(default_factory=dict)
    """When the run ended ("date", UTC), how long it took ("seconds"), on what ("device"), and how
    much of the time was in another run that began alike ("shared_seconds"), if any."""
    params: dict[str, Any] = field(default_factory=dict)
    """The hyperparameters of the fit, whatever was set since."""

    @property
    def ranks(self) -> np.ndarray | None:
        """The rank of each class, from 0 for the lowest, if `ordinal` is set."""
        return ranks_of(self.order, self.classes)

    def refuse_several(self, what: str) -> None:
        """Raise a ValueError if a text has several labels, and `what` takes one class a text."""
        if self.form is not None:
            raise ValueError(
                f"{what} takes one class a text, and this model gives several labels a text; use "
                "predict, predict_proba, transform and evaluate."
            )

    def to_json(self) -> dict[str, Any]:
        """Return the fields except `params`, in a form that JSON can hold.

        Examples
        --------
        >>> prior = np.array([0.5, 0.5])
        >>> fitted = Fitted(np.array(["no", "yes"]), 0, 0.2, 5e-5, 8, 8, prior, [], [], {})
        >>> Fitted.from_json(fitted.to_json()).classes.tolist()
        ['no', 'yes']

        """
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "params"}
        values["classes"] = self.classes.tolist()
        values["order"] = None if self.order is None else self.order.tolist()
        values["thresholds"] = None if self.thresholds is None else self.thresholds.tolist()
        values["source_prior"] = self.source_prior.tolist()
        values["target_prior"] = {name: prior.tolist() for name, prior in self.target_prior.items()}
        values["prior_intervals"] = {
            name: [low.tolist(), high.tolist()]
            for name, (low, high) in self.prior_intervals.items()
        }
        values["choice"] = None if self.choice is None else self.choice.to_json()
        values["findings"] = None if self.findings is None else self.findings.to_json()
        if (calibration := self.calibration) is not None:
            values["calibration"] = {
                "temperature": calibration.temperature,
                "bias": calibration.bias.tolist(),
                "prior": calibration.prior.tolist(),
            }
        # In the order of the classes, because the keys of a JSON object are strings.
        shares = self.target_shares
        values["target_shares"] = None if shares is None else list(shares.values())
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Fitted:
        """Rebuild the object from what `to_json` returned; other keys are ignored."""
        state = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        # JSON keeps str, int, float and bool apart, so the labels keep their types.
        state["classes"] = np.asarray(state["classes"])
        if state.get("thresholds") is not None:
            state["thresholds"] = np.asarray(state["thresholds"], dtype=float)
            if state["thresholds"].shape != state["classes"].shape:
                raise ValueError("thresholds are not one for each label")
        if state.get("order") is not None:
            state["order"] = np.asarray(state["order"])
            if sorted(state["order"].tolist()) != sorted(state["classes"].tolist()):
                raise ValueError("order does not list each class once")
        state["source_prior"] = np.asarray(state["source_prior"])
        state["target_prior"] = {k: np.asarray(prior) for k, prior in state["target_prior"].items()}
        intervals = state.get("prior_intervals", {}).items()
        state["prior_intervals"] = {k: (np.asarray(a), np.asarray(b)) for k, (a, b) in intervals}
        if state.get("choice") is not None:
            state["choice"] = Choice(**state["choice"])
        if state.get("findings") is not None:
            state["findings"] = Findings.from_json(state["findings"])
        if state.get("calibration") is not None:
            kept = state["calibration"]
            state["calibration"] = Calibration(
                kept["temperature"], np.asarray(kept["bias"]), np.asarray(kept["prior"])
            )
        if state["target_shares"] is not None:
            shares = zip(state["classes"].tolist(), state["target_shares"], strict=True)
            state["target_shares"] = dict(shares)
        return cls(**state)

"""The phases of a run: what passes through the model in each, and what is minimised."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from dann_transfer.model.model import (
    Classifier,
    check_outputs,
    encode_batch,
    in_parts,
    infer,
    trainable,
    weights_of,
)
from dann_transfer.model.runtime import Runtime
from dann_transfer.texts.batches import Batch
from dann_transfer.texts.tokens import Tokens
from dann_transfer.training.forward import Forward, task_loss
from dann_transfer.training.keeping import Keeper
from dann_transfer.training.terms import check_gradient, check_terms

KNOWN = "known"
"""What a method's memory calls whether each target text seems to be of a class of the source."""


class Adaptation(Protocol):
    """What a phase asks of a method; `dann_transfer.methods.Method` is one."""

    name: str
    memory: dict[str, Tensor]
    discriminator_steps: int

    @property
    def keeps_source(self) -> bool:
        """Whether a model that is trained anew also learns from the source."""

    @property
    def maps_target(self) -> bool:
        """Whether it remembers what follows from the target's features as a map makes them."""

    @property
    def leaves_out_absent(self) -> bool:
        """Whether it remembers what follows without classes that seem absent in the target."""

    def remember(
        self, predict_target: Callable[[], tuple[Tensor, Tensor]], progress: float
    ) -> dict[str, Tensor]:
        """Return data about each target text, to use from here on."""

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Change a batch before the encoder sees it."""

    def loss(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return named loss terms."""


class Phase(ABC):
    """Some epochs of a run in which the same texts pass and the same losses are minimised.

    Parameters
    ----------
    method : Method
    epochs : int
        Passes over the source texts.

    """

    adapts: ClassVar[bool]
    """Whether the method acts and its strength grows."""
    chooses_epoch: ClassVar[bool]
    """Whether an epoch other than its last may be kept, because accuracy on held-out source texts
    is informative about the model."""
    passes_target: ClassVar[bool] = True
    """Whether batches hold target texts without labels."""
    strength_is_rate: ClassVar[bool] = False
    """Whether strength scales the learning rate instead of the loss: a factor on the only loss does
    not change Adam's step."""
    runs_at_zero: ClassVar[bool] = True
    """Whether a run at strength 0, which is source-only, includes the phase."""

    def __init__(self, method: Adaptation, epochs: int) -> None:
        self.method, self.epochs = method, epochs
        self.teacher: dict[str, Tensor] = {}
        """The weights whose predictions the method remembers; empty for the model's own."""
        self.map_target: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
        """Returns the target's features, (n_target, width), and logits through a map."""
        self.inform: Callable[[Tensor], Tensor] | None = None
        """Adds what knowledge says to the target's probabilities, shape (n_target, classes)."""
        self.find_known: Callable[[Tensor, Tensor], Tensor] | None = None
        """Returns which target texts seem to be of the source's classes, (n_target,), by their
        features, (n_target, width), and logits, (n_target, classes)."""
        self.find_absent: Callable[[Tensor], Tensor] | None = None
        """Returns which classes seem to be absent, (classes,), by the target's logits."""
        self.learns = False
        """Whether the method's loss was seen to have a gradient."""

    @property
    def discriminator_steps(self) -> int:
        """How often the method's own parameters move before the actual step."""
        return self.method.discriminator_steps if self.adapts else 0

    def attach(self, model: Classifier, runtime: Runtime) -> None:
        """Receive the model to train; called once, before the run or its checkpoint starts."""
        self.model, self.runtime = model, runtime

    def begin(self, keeper: Keeper) -> None:
        """Make the changes that are needed before the phase's first step."""

    def start_epoch(self, target: Tokens | None, progress: float) -> None:
        """Pass the target's predictions to the method, at `progress` through the adaptation."""
        if self.adapts and target is not None:
            self._remember(target, progress)

    def learnt(self, progress: float) -> bool:
        """Return whether the model has learnt enough to tell new classes from the source's."""
        return True

    @property
    def drawn(self) -> np.ndarray | None:
        """Positions of the target texts that batches hold; None for all."""
        known = self.method.memory.get(KNOWN) if self.adapts else None
        return None if known is None else known.nonzero()[:, 0].numpy()

    def _remember(self, target: Tokens, progress: float) -> None:
        method = self.method
        if self.find_known is None or not self.learnt(progress):
            method.memory = method.remember(lambda: self._predict(target)[:2], progress)
            return
        features, p, known = self._predict(target)
        # After a source phase the first answer stands: that of the model of the source.
        if not isinstance(self, Joint):
            known = method.memory.get(KNOWN, known)
        method.memory = {name: values[known] for name, values in method.memory.items()}
        memory = method.remember(lambda: (features[known], p[known]), progress)
        method.memory = {name: _placed(values, known) for name, values in memory.items()}
        method.memory[KNOWN] = known

    def _predict(self, target: Tokens) -> tuple[Tensor, Tensor, Tensor]:
        """Return features and probabilities of the target's texts, and which seem to be known."""
        with weights_of(self.model, self.teacher):
            features, logits = infer(self.model, target, self.runtime)
            check_outputs(features, logits)
            if self.method.maps_target and self.map_target is not None:
                features, logits = self.map_target(features, logits)
            p = logits.softmax(1)
            known = torch.ones(len(p), dtype=torch.bool)
            if self.find_known is not None:
                known = self.find_known(features, logits)
            if self.method.leaves_out_absent and self.find_absent is not None:
                p = logits.masked_fill(self.find_absent(logits), -torch.inf).softmax(1)
            return features, p if self.inform is None else self.inform(p), known

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Add the batch's rows of the method's memory to it, and let the method change it."""
        if not self.adapts:
            return batch
        rows = batch.target_rows
        if rows is not None and self.method.memory:
            memory = {name: values[rows] for name, values in self.method.memory.items()}
            batch = replace(batch, extras={**batch.extras, **memory})
        return self.method.prepare(batch, generator)

    @abstractmethod
    def forward(self, batch: Batch) -> Forward:
        """Pass a batch through encoder and head."""

    @abstractmethod
    def losses(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return the named losses whose sum the step minimises."""

    def losses_apart(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return the losses of an extra discriminator step, whose gradients reach neither the
        encoder nor the head."""
        return self._terms(forward.detach(), strength)

    def _terms(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return the method's loss terms, once they are seen to be such."""
        terms = self.method.loss(forward, strength)
        check_terms(terms, forward, self.method.name or type(self.method).__name__)
        if terms and strength > 0 and forward.encode is not None and not self.learns:
            check_gradient(terms, self.method.name or type(self.method).__name__)
            self.learns = True
        return terms

    def end_step(self, step: int) -> None:
        """Update what follows the model after a step, counted from 1."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the phase."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what a checkpoint kept."""

    def _pass(self, batch: Batch, rows: slice) -> Forward:
        """Send some rows of a batch through the encoder and the head."""
        states = None if batch.states is None else batch.states[rows]
        ids, mask = batch.input_ids[rows], batch.attention_mask[rows]
        with self.runtime.autocast():
            features = encode_batch(self.model.encoder, ids, mask, states, self.runtime)
            logits = self.model.head(features)
        return self._full_precision(features, logits, batch)

    def _full_precision(self, features: Tensor, logits: Tensor, batch: Batch) -> Forward:
        # Losses are computed in full precision: that is cheap, and small differences matter.
        return Forward(features.float(), logits.float(), batch, encode=self._token_states)

    def _token_states(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        encoder = self.model.encoder

        def run(rows: Tensor | slice) -> Tensor:
            return encoder.token_states(input_ids[rows], attention_mask[rows])

        with self.runtime.autocast():
            return in_parts(run, attention_mask, self.runtime).float()


class SourceAlone(Phase):
    """Only the task, on all rows with labels: the same whatever the method and the target are."""

    adapts = False
    chooses_epoch = True
    passes_target = False

    def forward(self, batch: Batch) -> Forward:
        """Pass the rows with labels."""
        return self._pass(batch, slice(batch.n_task))

    def losses(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return the task's loss."""
        return {"task": _task(forward)}


class Joint(Phase):
    """The task and the method together.

    Parameters
    ----------
    method, epochs
        As for `Phase`.
    target_pass : bool
        Whether target texts without labels pass with the others; False if the method passes them
        itself.
    teacher_momentum : float, optional
        If set, the method remembers the predictions of a teacher: an average of the model's weights
        over the steps, which moves towards the model by this share at each step.

    """

    adapts = True
    chooses_epoch = True

    def __init__(
        self,
        method: Adaptation,
        epochs: int,
        target_pass: bool = True,
        teacher_momentum: float | None = None,
    ) -> None:
        super().__init__(method, epochs)
        self.target_pass, self.teacher_momentum = target_pass, teacher_momentum

    def attach(self, model: Classifier, runtime: Runtime) -> None:
        """Receive the model, and let the teacher start from it."""
        super().attach(model, runtime)
        if self.teacher_momentum is not None:
            self.teacher = trainable(model)

    def forward(self, batch: Batch) -> Forward:
        """Pass source and target texts at once: same padding, same dropout."""
        return self._pass(batch, slice(None if self.target_pass else batch.n_task))

    def losses(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return the task's loss and the method's."""
        return {"task": _task(forward), **self._terms(forward, strength)}

    def learnt(self, progress: float) -> bool:
        """Return whether an epoch has passed: before that, the model is as it was pretrained."""
        return progress > 0

    @torch.no_grad()
    def end_step(self, step: int) -> None:
        """Move the teacher: at first as a plain mean, so that the untrained model has no weight."""
        if self.teacher_momentum is None:
            return
        share = max(self.teacher_momentum, 1 / step)
        for name, parameter in self.model.named_parameters():
            if name in self.teacher:
                self.teacher[name].mul_(1.0 - share).add_(parameter, alpha=share)

    def state_dict(self) -> dict[str, Any]:
        """Return the teacher."""
        return {"teacher": self.teacher}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the teacher."""
        self.teacher = state["teacher"]


class AfterSource(Phase):
    """Only the method, after the source phase: from the epoch that was kept there.

    The last epoch is kept, because the score on the source is expected to fall.
    """

    adapts = True
    chooses_epoch = False
    strength_is_rate = True

    def begin(self, keeper: Keeper) -> None:
        """Start from the epoch that was kept."""
        keeper.restore()

    def losses(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return the method's loss."""
        return self._terms(forward, strength)


class TargetAlone(AfterSource):
    """The target's texts move the encoder, and the task is not trained.

    The source's texts pass through the encoder as it was when the phase began (the anchor), and
    the head stays as it is.
    """

    def attach(self, model: Classifier, runtime: Runtime) -> None:
        """Receive the model."""
        super().attach(model, runtime)
        self.anchor = trainable(model.encoder)

    def begin(self, keeper: Keeper) -> None:
        """Start from the epoch that was kept, and anchor the source there."""
        super().begin(keeper)
        self.anchor = trainable(self.model.encoder)

    def forward(self, batch: Batch) -> Forward:
        """Pass the source's texts through the anchor and the target's through the encoder."""
        n, encoder, runtime = batch.n_source, self.model.encoder, self.runtime
        states = (None, None) if batch.states is None else (batch.states[:n], batch.states[n:])
        ids, mask = batch.input_ids, batch.attention_mask
        with runtime.autocast():
            # With dropout, as for the target: otherwise dropout itself would tell the discriminator
            # which domain it sees.
            source = encode_batch(encoder, ids[:n], mask[:n], states[0], runtime, self.anchor)
            target = encode_batch(encoder, ids[n:], mask[n:], states[1], runtime)
            features = torch.cat([source, target])
            resting = {k: v.detach() for k, v in self.model.head.named_parameters()}
            logits = functional_call(self.model.head, resting, (features,))
        return self._full_precision(features, logits, batch)

    def state_dict(self) -> dict[str, Any]:
        """Return the anchor."""
        return {"anchor": self.anchor}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the anchor."""
        self.anchor = state["anchor"]


class Anew(Phase):
    """A new model that starts as the run did, once the method has seen the previous model's
    predictions of the target."""

    start: dict[str, Tensor]
    """The weights that the run started from."""

    def attach(self, model: Classifier, runtime: Runtime) -> None:
        """Receive the model."""
        super().attach(model, runtime)
        self.begins = False

    def begin(self, keeper: Keeper) -> None:
        """Restore the epoch that was kept of the previous model."""
        keeper.restore()
        self.begins = True

    def start_epoch(self, target: Tokens | None, progress: float) -> None:
        """Pass the target's predictions to the method once, and start a new model."""
        if self.begins:
            if target is not None:
                self._remember(target, progress)
            self.model.load_state_dict(self.start, strict=False)
            self.begins = False


class SourceAnew(Anew, SourceAlone):
    """A new model, on the task alone."""

    runs_at_zero = False


class TargetAnew(Anew, AfterSource):
    """A new model, on the previous models' labels of the target.

    The source's texts are used only if the method asks for them, having seen those labels.
    """

    def forward(self, batch: Batch) -> Forward:
        """Pass the target's texts, after the source's if these are used."""
        return self._pass(batch, slice(0 if self.method.keeps_source else batch.n_source, None))

    def losses(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return the method's loss, and the task's if the source's texts passed."""
        terms = self._terms(forward, strength)
        return {"task": _task(forward), **terms} if self.method.keeps_source else terms


class BothAnew(TargetAnew):
    """A new model, on the source's labels and the previous model's labels of the target, while
    other methods act."""

    strength_is_rate = False


def _placed(values: Tensor, known: Tensor) -> Tensor:
    """Return what is remembered of known texts in the places that they have among all."""
    every = values.new_zeros(len(known), *values.shape[1:])
    every[known] = values
    return every


def _task(forward: Forward) -> Tensor:
    batch = forward.batch
    return task_loss(forward.logits[: batch.n_task], batch.task_labels, batch.task_weights)

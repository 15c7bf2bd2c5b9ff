"""The training loop: one step, read from top to bottom, and the Ignite engine that repeats it."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping, ProgressBar
from torch import Tensor, nn

from dann_transfer.ground import streams
from dann_transfer.ground.notices import shows_bars, warn
from dann_transfer.ground.settings import Settings
from dann_transfer.judging.alignment import AlignmentWarning
from dann_transfer.judging.answering import answered, in_order
from dann_transfer.judging.decision import PriorWarning
from dann_transfer.judging.label_shift import absent, estimate
from dann_transfer.judging.novelty import Novelty, NoveltyWarning
from dann_transfer.judging.scores import metric_of
from dann_transfer.model.model import Classifier, check_outputs, infer, trainable
from dann_transfer.model.runtime import Runtime
from dann_transfer.model.tuning import merge_lora
from dann_transfer.texts.batches import PairedBatches
from dann_transfer.texts.target import sample
from dann_transfer.texts.tokens import Tokens
from dann_transfer.training.checkpoint import Checkpoints
from dann_transfer.training.history import OF_EVERY_RUN, History, PhaseStates, Stateful
from dann_transfer.training.keeping import Keeper
from dann_transfer.training.mapping import map_onto_source, through
from dann_transfer.training.optimizer import Optimizer
from dann_transfer.training.phases import Anew, Phase, SourceAlone
from dann_transfer.training.source_phase import SourcePhase, weights_at_end
from dann_transfer.training.timeline import Moment, Timeline


class Trainer:
    """One run over batches of texts.

    Parameters
    ----------
    model : Classifier
        Trained in place.
    method : Method
        Its own parameters are trained too.
    phases : sequence of Phase
    batches : PairedBatches
    settings : Settings
    runtime : Runtime
    validation : (Tokens, ndarray of int), optional
        Held-out source texts and their class positions, for choosing the epoch.
    counsel : callable, optional
        Returns the target's probabilities, (n_target, classes), with what knowledge says about its
        texts.
    ranks : ndarray of int, shape (classes,), optional
        The ranks of ordered classes.

    """

    def __init__(
        self,
        model: Classifier,
        method: nn.Module,
        phases: Sequence[Phase],
        batches: PairedBatches,
        settings: Settings,
        runtime: Runtime,
        validation: tuple[Tokens, np.ndarray] | None = None,
        counsel: Callable[[np.ndarray], np.ndarray] | None = None,
        ranks: np.ndarray | None = None,
    ) -> None:
        # At strength 0, a phase in which strength scales the rate would move nothing.
        phases = [
            p
            for p in phases
            if settings.max_strength or (p.runs_at_zero and not p.strength_is_rate)
        ]
        self.model, self.phases, self.batches = model, phases, batches
        self.source_batches = batches.without_target()
        self.settings, self.runtime, self.validation = settings, runtime, validation
        anew = [phase for phase in phases if isinstance(phase, Anew)]
        start = trainable(model) if anew else {}
        for phase in phases:
            phase.attach(model, runtime)
            # Without the trainer itself, which would then be freed by the collector alone.
            phase.map_target = partial(_mapped, model, batches, validation, runtime)
            phase.find_absent = partial(_absent, model, batches, validation, runtime)
            if counsel is not None:
                phase.inform = partial(_informed, counsel)
            if settings.unknown is not None:
                phase.find_known = partial(_known, model, validation, runtime)
        for phase in anew:
            phase.start = start
        self.timeline = Timeline(phases, len(batches), settings)
        self.optimizer = Optimizer(model, method, settings, runtime)
        self.parts = nn.ModuleDict({"model": model, "method": method})
        self.ranks = ranks
        codes = np.zeros(0, int) if validation is None else in_order(validation[1], ranks)
        self.keeper = Keeper(self.parts, settings.validation_tolerance, codes, settings.metric)
        self.history = History()
        self.norms: dict[str, Tensor] = {}
        """Norms of the last step's gradients."""
        self.passed = 0
        """Number of texts that passed in this epoch."""
        self.source_phase: SourcePhase | None = None
        """The source phase of this run, once it is trained, or of another that is repeated."""
        self.repeated = 0
        """Number of steps that are taken from another run."""
        self.engine = Engine(self.step)
        # Ignite logs each error before it raises it, so a user would see it twice.
        self.engine.logger = logging.getLogger(__name__)
        self.engine.logger.setLevel(logging.CRITICAL)
        self.states: dict[str, Stateful] = {
            "parts": self.parts,
            "optimizer": self.optimizer,
            "history": self.history,
            "keeper": self.keeper,
            "phases": PhaseStates(phases, method),
            "engine": self.engine,
        }
        """What a run that continues this one restores, after any step."""

    def step(self, engine: Engine, _: object = None) -> dict[str, Any]:
        """Train on one batch, and return its row of the history."""
        now = self.timeline.at(engine.state.iteration)
        if now.step <= self.repeated:
            return self.repeat(now.step)
        phase = self.phases[now.phase]
        if now.starts_phase:
            self.optimizer.forget()
            phase.begin(self.keeper)
        if now.starts_epoch:
            phase.start_epoch(self.batches.target, now.progress)
        # A step's dropout depends only on the seed and the step, so a resumed run is exact.
        generator = self.runtime.seed(streams.number(self.settings.seed, streams.STEP, now.step))
        batches = self.batches if phase.passes_target else self.source_batches
        batches.draw(phase.drawn)
        batch = phase.prepare(batches[now.step - 1], generator).to(self.runtime.device)
        forward = phase.forward(batch)
        self.passed += len(forward.logits)
        known = {"epoch": engine.state.epoch, "learning_rate": self.optimizer.set_rate(now.rate)}
        for _ in range(phase.discriminator_steps):
            # On detached features a loss moves only the method's own parameters.
            self.optimizer.step(phase.losses_apart(forward, now.strength))
        try:
            losses = phase.losses(forward, now.strength)
        except (RuntimeError, ValueError):
            # Some losses decompose the features, and fail where these are not finite.
            check_outputs(forward.features, forward.logits)
            raise
        self.check_finite(now.step, losses)
        self.norms = self.optimizer.step(losses)
        phase.end_step(now.step)
        return {**row_of(now, losses, forward.metrics), **known, **self.norms}

    @property
    def begins_with_source(self) -> bool:
        """Whether the run begins with a phase that is the same for every method."""
        first = self.phases[0]
        alone = isinstance(first, SourceAlone) and not isinstance(first, Anew)
        # Patience ends only runs of one phase, and may end them early.
        return alone and self._stopper_patience is None

    @property
    def seconds_of_others(self) -> float:
        """How long the repeated steps took where they were trained."""
        return self.source_phase.seconds if self.repeated and self.source_phase else 0.0

    def repeat(self, step: int) -> dict[str, Any]:
        """Return a step's row from a source phase that another run has trained."""
        assert self.source_phase is not None
        if step == self.repeated:
            self.source_phase.restore(self.parts, self.keeper)
            self.optimizer.scaler.load_state_dict(self.source_phase.scaler)
        return self.source_phase.row(step, bool(self.optimizer.clips["method_gradient_norm"]))

    def note_source_phase(self, engine: Engine) -> None:
        """Keep the source phase for other runs, at its end."""
        if engine.state.iteration != self.timeline.ends[0] or self.repeated:
            return
        self.history.settle()
        self.source_phase = SourcePhase(
            steps=[dict(row) for row in self.history.steps],
            epochs=[dict(row) for row in self.history.epochs],
            weights=weights_at_end(self.parts, self.keeper),
            best=None if self.keeper.weights is None else self.keeper.best,
            scaler=self.optimizer.scaler.state_dict(),
            seconds=time.perf_counter() - self.started,
        )

    def check_finite(self, step: int, losses: dict[str, Tensor]) -> None:
        """Raise FloatingPointError if a loss of this step or a gradient of the last is not finite.

        Clipping turns a gradient without bound into none, so a run would go on and learn nothing.
        Both are looked at together, since each look makes a GPU wait for its queue to empty. In
        half precision the loss scaler skips such steps, and finds a scale at which there are none.
        """
        norms = {} if self.optimizer.scaler.is_enabled() else self.norms
        # Where no parameter has a gradient, torch gives a norm of 0 that lies on the CPU.
        scalars = [one.to(self.runtime.device) for one in (*losses.values(), *norms.values())]
        if not scalars or torch.isfinite(torch.stack(scalars)).all():
            return
        what, at, values = "loss", step, losses
        if not all(norm.isfinite() for norm in norms.values()):
            what, at, values = "gradient", step - 1, norms
        listed = ", ".join(f"{name}={value.item():g}" for name, value in values.items())
        raise FloatingPointError(
            f"the {what} is not finite at step {at} ({listed}); "
            "lower learning_rate, discriminator_learning_rate or max_strength."
        )

    def end_epoch(self, engine: Engine) -> None:
        """Score the model on held-out source texts, and keep it if it is good enough."""
        if self.validation is None:
            return
        epoch = engine.state.epoch
        if engine.state.iteration <= self.repeated:
            assert self.source_phase is not None
            row = dict(self.source_phase.epochs[epoch - 1])
            self.history.epochs.append(row)
            self.show_scores(engine, row)
            return
        tokens, codes = self.validation
        logits = infer(self.model, tokens, self.runtime)[1]
        answers = logits.argmax(1).numpy()
        if codes.ndim == 2:
            # Thresholds are chosen after training.
            answers = (logits > 0).to(torch.uint8).numpy()
        elif self.ranks is not None:
            answers = answered(logits.softmax(1).numpy(), self.ranks)
        labels, predicted = in_order(codes, self.ranks), in_order(answers, self.ranks)
        names = dict.fromkeys(("accuracy", self.settings.metric))
        scores = {name: metric_of(name)(labels, predicted) for name in names}
        row = {"epoch": epoch, **{f"validation_{k}": score for k, score in scores.items()}}
        self.history.epochs.append(row)
        self.show_scores(engine, row)
        if self.timeline.may_be_kept(engine.state.iteration):
            self.keeper.offer(predicted)

    def show_scores(self, engine: Engine, row: dict[str, Any]) -> None:
        """Put an epoch's scores where handlers find them."""
        engine.state.metrics |= {k: v for k, v in row.items() if k != "epoch"}

    def epoch_line(self, engine: Engine) -> str:
        """Return a line about a finished epoch: mean losses, validation accuracy and speed."""
        epoch = engine.state.epoch
        rows = [row for row in self.history.steps if row["epoch"] == epoch]
        losses: dict[str, list[float]] = {}
        for row in rows:
            for name, value in row.items():
                if name.endswith("_loss"):
                    losses.setdefault(name.removesuffix("_loss"), []).append(float(value))
        parts = [f"{name} {np.mean(values):.3f}" for name, values in losses.items()]
        if self.validation is not None:
            parts.append(f"validation {self.history.epochs[-1]['validation_accuracy']:.1%}")
        speed = f"{self.passed / engine.state.times['EPOCH_COMPLETED']:.0f} texts/s"
        parts.append(speed if self.passed else "as another run trained it")
        self.passed = 0
        name = type(self.parts["method"]).__name__
        return f"{name} {epoch}/{self.timeline.epochs}: {', '.join(parts)}"

    def run(
        self,
        checkpoints: Checkpoints | None = None,
        on_step: Callable[[Engine], None] | None = None,
        attach: Callable[[Engine], object] | None = None,
        source_phase: SourcePhase | None = None,
        keeps_source_phase: bool = False,
    ) -> History:
        """Train, from the newest checkpoint if there is one, and return the history.

        Parameters
        ----------
        checkpoints : Checkpoints, optional
            Where the run is saved and continued from.
        on_step : callable, optional
            Called with the engine after each step.
        attach : callable, optional
            Called with the engine before the first step.
        source_phase : SourcePhase, optional
            The first phase as another run has trained it. Its steps are repeated from there, so
            that whoever watches the engine sees them.
        keeps_source_phase : bool
            Whether to keep this run's first phase for others, as the attribute `source_phase`.

        Raises
        ------
        FloatingPointError
            If a loss, a gradient, or a weight at the end, is not finite.
        ValueError, RuntimeError
            If the checkpoints belong to another run, or are in use by another run.
        OSError
            If a checkpoint cannot be written.

        """
        with nullcontext() if checkpoints is None else self._held(checkpoints):
            self.started = time.perf_counter()
            finished = self._attach_handlers(checkpoints, on_step)
            if source_phase is not None and not self.engine.state.iteration:
                self.source_phase, self.repeated = source_phase, self.timeline.ends[0]
            if keeps_source_phase:
                # A run that goes on from a checkpoint may be there already.
                self.note_source_phase(self.engine)
                self.engine.add_event_handler(Events.EPOCH_COMPLETED, self.note_source_phase)
            if attach is not None:
                attach(self.engine)
            self.model.train()
            self.norms = self.history.norms()
            if not finished:
                self.engine.run(epoch_length=len(self.batches), max_epochs=self.timeline.epochs)
            self.check_finite(self.engine.state.iteration + 1, {})
        if not all(torch.isfinite(p).all() for p in self.parts.parameters() if p.requires_grad):
            raise FloatingPointError(
                "the weights are not finite after the last step; lower learning_rate, "
                "discriminator_learning_rate or max_strength."
            )
        self.history.settle()
        self.keeper.restore()
        merge_lora(self.model.encoder)
        self.model.eval()
        self.optimizer.clear()
        # The engine holds this object's methods; without it, a dropped run is freed at once.
        del self.engine
        self.states.clear()
        return self.history

    @contextmanager
    def _held(self, checkpoints: Checkpoints) -> Iterator[None]:
        """Lock the folder, in the first process for all of them, so that they fail together."""
        processes = self.runtime.processes
        with ExitStack() as stack:
            problem: Exception | None = None
            if processes.first:
                try:
                    stack.enter_context(checkpoints.held())
                except Exception as error:
                    problem = error
            # The others look at the folder after the first process has made it.
            problem = processes.agreed(problem)
            if problem is not None:
                raise problem
            yield

    def _attach_handlers(
        self, checkpoints: Checkpoints | None, on_step: Callable[[Engine], None] | None
    ) -> bool:
        """Attach what happens between steps, and return whether the run is already finished."""
        engine = self.engine

        @engine.on(Events.ITERATION_COMPLETED)
        def _end_step(engine: Engine) -> None:
            self.history.steps.append(engine.state.output)
            if on_step is not None:
                on_step(engine)

        engine.add_event_handler(Events.EPOCH_COMPLETED, self.end_epoch)
        if self.settings.progress and self.runtime.processes.first:
            name = type(self.parts["method"]).__name__
            say: Callable[[str], object] = partial(print, file=sys.stderr, flush=True)
            if shows_bars():
                bar = ProgressBar(desc=name, mininterval=0.5, file=sys.stderr)
                bar.attach(engine, output_transform=_bar_numbers)
                say = bar.log_message

            @engine.on(Events.EPOCH_COMPLETED)
            def _say_epoch(engine: Engine) -> None:
                say(self.epoch_line(engine))

        stopper = self._stopper()
        if stopper is not None:
            self.states["stopper"] = stopper
        if checkpoints is not None:
            self._keep_checkpoints(checkpoints)
        stopped = stopper is not None and stopper.counter >= stopper.patience
        return stopped or int(engine.state.iteration) >= self.timeline.total

    def _keep_checkpoints(self, checkpoints: Checkpoints) -> None:
        """Continue from the newest checkpoint, and write others."""
        processes = self.runtime.processes
        state = checkpoints.newest(self.runtime.device)
        files = processes.all_of(None if checkpoints.last is None else checkpoints.last.name)
        if len(set(files)) > 1:
            raise ValueError(
                f"checkpoint_dir={str(checkpoints.folder)!r} is not the same folder for all "
                f"processes, which find {files} there; name one that every machine sees."
            )
        if state is not None:
            for name, part in self.states.items():
                part.load_state_dict(state[name])
        if not processes.first:
            return

        @self.engine.on(Events.ITERATION_COMPLETED)
        def _in_epoch(engine: Engine) -> None:
            step = engine.state.iteration
            if step < self.repeated:
                return
            # At an epoch's end the model is scored first, or a continued run would not score it.
            if step % len(self.batches) and checkpoints.due(step):
                checkpoints.write(step, self.states)

        @self.engine.on(Events.EPOCH_COMPLETED)
        def _after_epoch(engine: Engine) -> None:
            # Before their end, repeated steps have no weights of their own.
            if engine.state.iteration >= self.repeated:
                checkpoints.write(engine.state.iteration, self.states)

    @property
    def _stopper_patience(self) -> int | None:
        """The user's `patience`, if it can end this run."""
        # With two phases the second has to follow, whatever the scores in the first are.
        ends = self.validation is not None and len(self.phases) == 1
        return self.settings.patience if ends else None

    def _stopper(self) -> EarlyStopping | None:
        """Return what ends a run that no longer improves, if the user set `patience`."""
        patience = self._stopper_patience
        if patience is None:
            return None
        stopper = EarlyStopping(
            patience,
            lambda _: self.history.epochs[-1][f"validation_{self.settings.metric}"],
            self.engine,
        )
        stopper.logger.setLevel("WARNING")

        @self.engine.on(Events.EPOCH_COMPLETED)
        def _stop(engine: Engine) -> None:
            # It considers only epochs that may be kept, or it would end a run for not improving
            # while the strength still grows.
            if self.timeline.may_be_kept(engine.state.iteration):
                stopper(engine)

        return stopper


def _mapped(
    model: Classifier,
    batches: PairedBatches,
    validation: tuple[Tokens, np.ndarray] | None,
    runtime: Runtime,
    features: Tensor,
    logits: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the target's features and logits through a map onto the source's, or as they are if
    something speaks against a map."""
    refused: str | None = "there are no held-out source texts"
    if validation is not None:
        tokens, codes = validation
        held_out = infer(model, tokens, runtime)[1].numpy()
        refused = estimate(held_out, codes, logits.numpy(), resamples=0).refused.get("em")
    weights = None if batches.weights is None else batches.weights.numpy()
    source = batches.source, batches.labels.numpy(), weights
    rows = sample([list(range(len(features)))])[0]
    target = features[rows], logits[rows]
    affine, why = map_onto_source(model, source, target, refused, runtime)
    if affine is None:
        warn(
            f"target texts are labelled without a map: {why}. Hold out more source texts, or leave "
            "out the option align.",
            AlignmentWarning,
        )
        return features, logits
    return through(affine, model, features, runtime)


def _absent(
    model: Classifier,
    batches: PairedBatches,
    validation: tuple[Tokens, np.ndarray] | None,
    runtime: Runtime,
    logits: Tensor,
) -> Tensor:
    """Return which classes the target seems to lack, (classes,), or none if that is not known."""
    nothing, why = torch.zeros(logits.shape[1], dtype=torch.bool), "there are no held-out texts"
    if validation is not None:
        held_out = infer(model, validation[0], runtime)[1].numpy()
        rows = sample([list(range(len(logits)))])[0]
        estimates = estimate(held_out, validation[1], logits[rows].numpy())
        if "em" in estimates.intervals:
            shares = np.bincount(batches.labels.numpy(), minlength=logits.shape[1])
            high = estimates.intervals["em"][1]
            return torch.from_numpy(absent(high, shares / shares.sum()))
        why = f"the estimate of the target's class shares was refused ({estimates.refused['em']})"
    warn(
        f"partial=True leaves out no class: {why}. Hold out more source texts, or leave it False.",
        PriorWarning,
    )
    return nothing


def _informed(counsel: Callable[[np.ndarray], np.ndarray], p: Tensor) -> Tensor:
    """Return the target's probabilities with what knowledge says about its texts."""
    return torch.from_numpy(counsel(p.numpy())).to(p.dtype)


def _known(
    model: Classifier,
    validation: tuple[Tokens, np.ndarray] | None,
    runtime: Runtime,
    features: Tensor,
    logits: Tensor,
) -> Tensor:
    """Return which target texts seem to be of the source's classes, or all if none does."""
    assert validation is not None
    held_out = infer(model, validation[0], runtime)[0].numpy()
    known = ~Novelty.of(features.numpy(), logits.numpy(), held_out).is_new(features.numpy())
    if not known.any():
        warn(
            f"all {len(known)} target texts seem to be of classes that the source does not have, "
            "and none is left out of adaptation. Check that the target is about the same task.",
            NoveltyWarning,
        )
        known[:] = True
    return torch.from_numpy(known)


def row_of(
    now: Moment, losses: dict[str, Tensor], metrics: dict[str, float | Tensor]
) -> dict[str, Any]:
    """Return a step's row of the history."""
    named = {f"{name}_loss": value.detach() for name, value in losses.items()}
    return {"step": now.step, "strength": now.strength, **named, **metrics}


def _bar_numbers(row: dict[str, Any]) -> dict[str, float]:
    """Return what the progress bar shows: losses, and what a method measures besides them."""
    return {k: float(v) for k, v in row.items() if k not in {*OF_EVERY_RUN, "strength"}}

"""One Ignite trainer: the step, the strength schedule, validation, checkpoints, exact resume."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, DiskSaver, EarlyStopping, EMAHandler, ProgressBar
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from dann_transfer.batches import Batch, FromStep, PairedBatches, Tokens, by_length
from dann_transfer.checkpoints import Fingerprint, Record, resume, trainable
from dann_transfer.encoder import Encoder
from dann_transfer.methods import Forward, Method
from dann_transfer.optimization import make_optimizer
from dann_transfer.schedules import STRENGTH
from dann_transfer.settings import Settings


class AdaptationModel(nn.Module):
    """The encoder, the task head and the method's own parameters."""

    def __init__(self, encoder: Encoder, head: nn.Module, method: Method) -> None:
        super().__init__()
        self.encoder, self.head, self.method = encoder, head, method
        self.unread: dict[str, Tensor] = {}
        """Weights of a method that was not registered when the model was loaded."""

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, states: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return features (rows, width) and logits (rows, classes)."""
        features = self.encoder(input_ids, attention_mask, states)
        return features, self.head(features)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Return the autocast context of a precision; ``auto`` is bf16 where the GPU has it."""
    if precision == "auto":
        bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bf16" if bf16 else "fp32"
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)


@torch.inference_mode()
def infer(
    model: AdaptationModel, tokens: Tokens, batch_size: int, device: torch.device, precision: str
) -> tuple[Tensor, Tensor]:
    """Return features (n, width) and logits (n, classes) on the CPU, in the order of `tokens`."""
    training = model.training
    model.eval()
    rows, features, logits = [], [], []
    with autocast(device, precision):
        for index, ids, mask in by_length(tokens, batch_size):
            x, z = model(ids.to(device), mask.to(device))
            rows.append(torch.from_numpy(index))
            features.append(x.float().cpu())
            logits.append(z.float().cpu())
    model.train(training)
    back = torch.cat(rows).argsort()
    return torch.cat(features)[back], torch.cat(logits)[back]


def task_loss(logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """Return the mean over labelled rows of weight times cross-entropy.

    The weights are 1 on average over all texts and not within a batch: a batch without a rare
    class would else count as much as one with it, and the classes would not balance.
    """
    if weights is None:
        return F.cross_entropy(logits, labels)
    return (weights * F.cross_entropy(logits, labels, reduction="none")).mean()


def train(
    model: AdaptationModel,
    batches: PairedBatches,
    settings: Settings,
    device: torch.device,
    validate: Callable[[], float] | None = None,
    fingerprint: str = "",
    on_step: Callable[[Engine], None] | None = None,
    n_validation: int = 0,
) -> Record:
    """Train `model` in place and return the history.

    Parameters
    ----------
    model : AdaptationModel
    batches : PairedBatches
    settings : Settings
    device : torch.device
    validate : callable, optional
        Gives the accuracy of the model as it stands on labelled source texts. With it the weights
        of the latest epoch are kept that is no further below the best than the settings'
        `validation_tolerance` times the best's standard error, among the epochs trained at nearly
        full strength: an earlier epoch scores well on the source because it is not adapted yet.
    fingerprint : str
        Identifies data and settings, so that a checkpoint is not continued by another run.
    on_step : callable, optional
        Called with the engine after each step.
    n_validation : int
        How many texts `validate` looks at, for the standard error; 0 keeps the best epoch.

    Raises
    ------
    FloatingPointError
        If a loss, or in the end a weight, is not finite.

    """
    length, method = len(batches), model.method
    task_steps, extra_steps = settings.epochs * length, method.extra_epochs * length
    total = task_steps + extra_steps
    # The step from which on the method acts.
    first = task_steps if extra_steps else 0
    optimizer, scheduler = make_optimizer(
        model.encoder, model.head, method, settings, task_steps, extra_steps
    )
    scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16")
    # The discriminator's gradient is clipped apart, or a steep one would slow the encoder down.
    own = list(method.parameters())
    shared = [*model.encoder.parameters(), *model.head.parameters()]
    generator = torch.Generator()
    record = Record()

    to_save: dict[str, Any] = {
        "fingerprint": Fingerprint(fingerprint),
        "model": model,
        "optimizer": optimizer,
        "scheduler": scheduler,
        "scaler": scaler,
        "record": record,
    }
    anchor: Encoder | None = None
    if extra_steps:
        # Holds still what the second phase starts from. It is in every checkpoint.
        anchor = to_save["anchor"] = copy.deepcopy(model.encoder).requires_grad_(False)
        # With dropout, as the encoder that moves has it: without, dropout itself would tell the
        # discriminator which domain it sees.
        anchor.train()
    teacher = None
    if method.teacher_momentum is not None:
        teacher = EMAHandler(model, momentum=method.teacher_momentum)
        to_save["teacher"] = teacher.ema_model

    def update(losses: dict[str, Tensor], engine: Engine, proper: bool = False) -> None:
        loss = torch.stack(list(losses.values())).sum()
        # Asked of the step proper alone, since the answer makes a GPU's queue run empty.
        if proper and not torch.isfinite(loss):
            seen = ", ".join(f"{k}={v.item():g}" for k, v in losses.items())
            raise FloatingPointError(
                f"the loss is not finite at step {engine.state.iteration} ({seen}); "
                "lower learning_rate, discriminator_learning_rate or max_strength."
            )
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        for parameters in (shared, own):
            nn.utils.clip_grad_norm_(parameters, settings.max_grad_norm)
        scaler.step(optimizer)
        scaler.update()

    def encode(input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        with autocast(device, settings.precision):
            return model.encoder.token_states(input_ids, attention_mask).float()

    def passed(batch: Batch, second: bool) -> Forward:
        with autocast(device, settings.precision):
            ids, mask, states = batch.input_ids, batch.attention_mask, batch.states
            if second and anchor is not None:
                n = batch.n_source
                known = (None, None) if states is None else (states[:n], states[n:])
                source = anchor(ids[:n], mask[:n], known[0])
                target = model.encoder(ids[n:], mask[n:], known[1])
                features = torch.cat([source, target])
                # The task rests: whatever moves the encoder, the head stays as it is.
                still = {k: v.detach() for k, v in model.head.named_parameters()}
                logits = functional_call(model.head, still, (features,))
            else:
                rows = len(ids) if method.target_pass else batch.n_task
                known_rows = None if states is None else states[:rows]
                features, logits = model(ids[:rows], mask[:rows], known_rows)
        # Losses are computed in full precision: they are cheap, and small differences matter.
        return Forward(features.float(), logits.float(), batch.labels, batch=batch, encode=encode)

    def step(engine: Engine, batch: Batch) -> dict[str, Any]:
        strength, second = engine.state.strength, engine.state.iteration > task_steps
        batch = method.prepare(batch, generator).to(device)
        forward = passed(batch, second)
        losses: dict[str, Tensor] = {}
        if not second:
            n = batch.n_task
            losses["task"] = task_loss(forward.logits[:n], batch.task_labels, batch.task_weights)
        if second or not extra_steps:
            # On detached features a loss moves the method's own parameters alone, since an
            # optimiser passes over parameters without a gradient.
            for _ in range(method.discriminator_steps):
                update(method.loss(forward.detach(), strength), engine)
            losses |= method.loss(forward, strength)
        update(losses, engine, proper=True)
        named = {f"{name}_loss": value.detach() for name, value in losses.items()}
        return {"step": engine.state.iteration, "strength": strength, **named, **forward.metrics}

    trainer = to_save["trainer"] = Engine(step)

    def grown(iteration: int) -> float:
        """How far strength has grown, from 0 to 1, over the steps in which the method acts."""
        if iteration <= first:
            return 0.0
        return STRENGTH[settings.strength_schedule]((iteration - first) / (total - first))

    @trainer.on(Events.ITERATION_STARTED)
    def _begin(engine: Engine) -> None:
        # Dropout of step k depends on the seed and k alone, which makes a resumed run exact.
        # `torch.manual_seed` would write down a stack trace for every kind of accelerator that
        # this process does not use: a millisecond a step.
        now = settings.seed + engine.state.iteration
        torch.default_generator.manual_seed(now)
        if device.type != "cpu":
            module = torch.get_device_module(device)
            # Where there are several of a kind, `manual_seed` is that of the current one alone.
            getattr(module, "manual_seed_all", module.manual_seed)(now)
        generator.manual_seed(now)
        engine.state.strength = settings.max_strength * grown(engine.state.iteration)

    @trainer.on(Events.ITERATION_COMPLETED)
    def _end(engine: Engine) -> None:
        scheduler.step()
        record.steps.append(engine.state.output)
        if on_step is not None:
            on_step(engine)

    if teacher is not None:
        momentum = teacher.momentum

        @trainer.on(Events.ITERATION_COMPLETED)
        def _warm_up(engine: Engine) -> None:
            # A plain mean at first, or the untrained model would long weigh in it.
            engine.state.teacher_momentum = max(momentum, 1 / engine.state.iteration)

        teacher.attach(trainer, "teacher_momentum", warn_if_exists=False)
    if anchor is not None:
        start_from = anchor

        @trainer.on(Events.EPOCH_STARTED(once=int(settings.epochs) + 1))
        def _second_phase(_: Engine) -> None:
            if record.best is not None:
                model.load_state_dict(record.best, strict=False)
                record.best = None
            start_from.load_state_dict(model.encoder.state_dict())
            # The task's momentum would go on pulling.
            optimizer.state.clear()

    if method.uses_target and batches.target is not None:
        target = batches.target
        predicts = model if teacher is None else teacher.ema_model

        @trainer.on(Events.EPOCH_STARTED)
        def _refresh(engine: Engine) -> None:
            def predict_target() -> tuple[Tensor, Tensor]:
                features, logits = infer(predicts, target, 64, device, settings.precision)
                return features, logits.softmax(1)

            done = (engine.state.epoch - 1) * length
            if done >= first:
                method.on_epoch_start(predict_target, (done - first) / (total - first))

    if settings.progress:
        bar = ProgressBar(desc=type(method).__name__, mininterval=0.5)

        def shown(output: dict[str, Any]) -> dict[str, Any]:
            return {k: float(v) for k, v in output.items() if k not in {"step", "strength"}}

        bar.attach(trainer, output_transform=shown)

    if validate is not None:
        full = grown(total)
        stopper = None
        if settings.patience is not None and not extra_steps:
            # It looks at the eligible epochs alone; else it would end a run for not improving
            # while strength still grows.
            stopper = EarlyStopping(
                settings.patience, lambda _: record.epochs[-1]["validation_accuracy"], trainer
            )
            stopper.logger.setLevel("WARNING")
            to_save["stopper"] = stopper

        @trainer.on(Events.EPOCH_COMPLETED)
        def _validate(engine: Engine) -> None:
            score = validate()
            record.epochs.append({"epoch": engine.state.epoch, "validation_accuracy": score})
            if extra_steps:
                # The second phase starts from the first one's chosen epoch and ends with its last:
                # on the source its score falls for good reason.
                eligible = engine.state.iteration <= task_steps
            else:
                adapted = grown(engine.state.iteration) >= 0.9 * full
                eligible = adapted or not (method.uses_target and settings.max_strength)
            if not eligible:
                return
            # The later one is adapted further, and its learning rate has come to rest.
            best = max(score, record.best_score)
            error = math.sqrt(best * (1 - best) / n_validation) if n_validation else 0.0
            if score >= best - settings.validation_tolerance * error:
                record.best_score, record.best = best, trainable(model)
            if stopper is not None:
                stopper(engine)

    finished = False
    if settings.checkpoint_dir is not None:
        saver = Checkpoint(
            to_save,
            DiskSaver(settings.checkpoint_dir, require_empty=False),
            n_saved=1,
            global_step_transform=lambda engine, _: engine.state.iteration,
            include_self=True,
        )
        trainer.add_event_handler(Events.EPOCH_COMPLETED, saver)
        finished = resume(settings.checkpoint_dir, to_save, saver, device, total)

    model.train()
    if not finished:
        trainer.run(
            FromStep(batches, lambda: trainer.state.iteration),
            max_epochs=settings.epochs + method.extra_epochs,
            epoch_length=length,
        )
    if not all(torch.isfinite(p).all() for p in model.parameters() if p.requires_grad):
        raise FloatingPointError(
            "the weights are not finite after the last step; lower learning_rate, "
            "discriminator_learning_rate or max_strength."
        )
    record.settle()
    if record.best is not None:
        model.load_state_dict(record.best, strict=False)
    model.eval()
    optimizer.zero_grad(set_to_none=True)
    return record

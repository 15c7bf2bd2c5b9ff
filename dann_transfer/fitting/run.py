"""One run: checked texts and hyperparameters in, a fitted model out."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import product
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dann_transfer import methods
from dann_transfer.fitting import afterwards
from dann_transfer.fitting.fitted import Fitted
from dann_transfer.fitting.predicting import Trained
from dann_transfer.fitting.shared import Shared
from dann_transfer.ground import length, streams
from dann_transfer.ground.notices import warn
from dann_transfer.ground.processes import Processes
from dann_transfer.ground.settings import HYPERPARAMETERS, Settings, as_seed, check_params
from dann_transfer.judging.scores import check_metric, check_metric_of_several
from dann_transfer.judging.weighing import Counsel
from dann_transfer.knowledge import KnowledgeWarning
from dann_transfer.methods import Method
from dann_transfer.model.caching import all_frozen_states
from dann_transfer.model.encoder import Encoder
from dann_transfer.model.heads import task_head
from dann_transfer.model.model import Classifier
from dann_transfer.model.runtime import Runtime, check_compiler
from dann_transfer.texts.batches import PairedBatches
from dann_transfer.texts.roles import Inputs, Roles, Texts, read
from dann_transfer.texts.tokens import Tokens, unknown_share, warn_truncated, warn_unknown
from dann_transfer.training.checkpoint import Checkpoints, check_folder
from dann_transfer.training.identity import Identity
from dann_transfer.training.phases import KNOWN, Joint

if TYPE_CHECKING:
    from ignite.engine import Engine

# A run seeds torch's generators, which are the process's: runs in other threads wait.
_TRAINING = RLock()


@dataclass(frozen=True)
class Watch:
    """Who looks on while a run trains; ``DomainAdapter.fit`` describes both."""

    on_step: Callable[[Engine, Classifier], None] | None = None
    attach: Callable[[Engine], object] | None = None


NOBODY = Watch()


def seed_of(params: Mapping[str, Any]) -> int:
    """Check a run's hyperparameters before any text is read, and return its seed.

    Raises
    ------
    ValueError
        Naming the wrong keyword.
    OSError
        If `checkpoint_dir` cannot be written.

    """
    check_params(params)
    folder, random_state = params["checkpoint_dir"], params["random_state"]
    if folder is not None:
        if not str(folder):
            raise ValueError(
                "checkpoint_dir='' is no folder; name one, such as 'runs/checkpoints'."
            )
        if not isinstance(random_state, int | np.integer):
            raise ValueError(
                f"checkpoint_dir needs an integer random_state, not {random_state!r}: a run "
                "with another seed cannot continue this one."
            )
        check_folder(folder)
    return Processes.current().agreed(as_seed(random_state))


def create(name: str, options: Any, epochs: int | None, batch_size: int) -> Method:
    """Return a new method, or raise a ValueError or TypeError if it would have no effect."""
    method = methods.create(name, options)
    methods.check_run(method, name, length.FEWEST if epochs is None else epochs, batch_size)
    return method


def check(
    params: Mapping[str, Any],
    inputs: Inputs,
    created: Mapping[str, Method],
    choices: Mapping[str, Sequence[Any]] | None = None,
) -> Texts:
    """Read what a user passed, for one run or for several on the same texts.

    Parameters
    ----------
    params : mapping
        Every hyperparameter.
    inputs : Inputs
    created : mapping of str to Method
        The methods of all runs.
    choices : mapping, optional
        Values of "epochs" and "batch_size" that runs have in place of those of `params`.

    Raises
    ------
    TypeError, ValueError
        Naming what was wrong and the remedy.

    """
    choices = {name: [params[name]] for name in ("epochs", "batch_size")} | dict(choices or {})

    def passes_over(n_source: int, classes: int) -> int:
        return max(
            passes_of(method, length.epochs_of(each, n_source, classes, inputs.X_val is not None))
            for epochs, batch_size in product(choices["epochs"], choices["batch_size"])
            for method in created.values()
            for each in ({**params, "epochs": epochs, "batch_size": batch_size},)
        )

    columns = params["text_column"], params["label_column"]
    adapts = any(method.uses_target for method in created.values())
    needs_target = f"method={params['method']!r}" if adapts else ""
    # A model that was saved before there were ordered classes has no such hyperparameter.
    ordinal = params.get("ordinal", False)
    texts = read(inputs, columns, needs_target, passes_over, ordinal)
    if texts.form is not None:
        check_several(params, texts, created)
        return texts
    in_steps = texts.order is not None or texts.classes.dtype.kind != "U"
    check_metric(params["metric"], len(texts.classes), in_steps)
    _warn_of_knowledge(params, texts, created)
    return texts


ONE_LABEL = {
    "class_weight": None,
    "ordinal": False,
    "correct_prior": None,
    "neighbors": None,
    "align": None,
    "use_knowledge": False,
    "unknown": None,
}
"""Settings that take one class a text, and what leaves them off."""


def check_several(params: Mapping[str, Any], texts: Texts, created: Mapping[str, Method]) -> None:
    """Raise a ValueError if a setting or method takes one class a text, and texts have several."""
    for name, off in ONE_LABEL.items():
        # Not by equality: a label may be 0.
        if not (params.get(name) is None or params[name] is False):
            raise ValueError(
                f"{name}={params[name]!r} takes one class a text, of which all shares sum to 1, "
                f"and y has several labels a text; leave {name}={off!r}."
            )
    for name, method in created.items():
        if not method.takes_several:
            able = [each for each in methods.names() if methods.create(each).takes_several]
            raise ValueError(
                f"method={name!r} looks at classes of which one is right, and y has several labels "
                f"a text; name one of {able}, or several of these joined with a plus."
            )
    check_metric_of_several(params["metric"], len(texts.classes))


def _warn_of_knowledge(
    params: Mapping[str, Any], texts: Texts, created: Mapping[str, Method]
) -> None:
    """Say before training what knowledge will not do."""
    for why in filter(None, (each.unsaved() for each in texts.knowledge)):
        effect = (
            "save_pretrained will refuse the model while use_knowledge=True"
            if params["use_knowledge"]
            else "a saved model will be without it"
        )
        warn(f"{why}: {effect}.", KnowledgeWarning)
    acts = params["use_knowledge"] or any(method.labels_target for method in created.values())
    if texts.knowledge and not acts:
        warn(
            f"knowledge does not act while method={params['method']!r} trains, which labels no "
            "target texts; set use_knowledge=True to predict with it, or train 'student'.",
            KnowledgeWarning,
        )


def epochs_of(params: Mapping[str, Any], texts: Texts) -> int:
    """Return how many epochs a run on these texts has."""
    n, classes = len(texts.source), len(texts.classes)
    return length.epochs_of(params, n, classes, texts.validation is not None)


def passes_of(method: Method, epochs: int) -> int:
    """Return the passes over the source of a run's longest phase."""
    return max(phase.epochs for phase in method.phases(epochs))


def check_encoder(
    params: Mapping[str, Any],
    seed: int,
    created: Mapping[str, Method],
    texts: Texts,
    shared: Shared,
) -> None:
    """Raise a ValueError if the encoder does not suit one of several runs, before any trains."""
    runtime_of(params)
    with torch.random.fork_rng(list(range(torch.cuda.device_count()))):
        encoder = shared.encoder(params, seed)
        for name, method in created.items():
            _attach(name, method, encoder, len(texts.sizes))
        _check_length(params, encoder)


def _attach(name: str, method: Method, encoder: Encoder, n_domains: int) -> None:
    method.attach(encoder, max(1, n_domains))
    if method.moves_encoder_alone:
        methods.check_encoder_moves(name, encoder)


def _check_length(params: Mapping[str, Any], encoder: Encoder) -> None:
    longest = encoder.longest
    if longest is not None and params["max_length"] > longest:
        raise ValueError(
            f"max_length={params['max_length']}, but the encoder takes at most {longest} tokens."
        )


def runtime_of(params: Mapping[str, Any]) -> Runtime:
    """Return where a run trains, with all processes that take part in it."""
    processes = Processes.current()
    return Runtime.of(params["device"], params["precision"], processes, params["micro_batch_size"])


def train(
    params: Mapping[str, Any],
    seed: int,
    texts: Texts,
    shared: Shared,
    watch: Watch = NOBODY,
    owns_folder: bool = True,
) -> Trained:
    """Train one method from one seed, and look at what it predicts for the target.

    Parameters
    ----------
    params : mapping
        Every hyperparameter of `DomainAdapter`, checked.
    seed : int
    texts : Texts
    shared : Shared
        What other runs on the same texts left, to which this one adds.
    watch : Watch
    owns_folder : bool
        Whether `checkpoint_dir` belongs to this run; otherwise it has a folder in it.

    Raises
    ------
    ValueError
        If texts, method and encoder do not suit each other.
    FloatingPointError, OSError, RuntimeError
        As ``DomainAdapter.fit``.

    """
    # Training needs Ignite; prediction does not.
    from dann_transfer.training.loop import Trainer

    started = time.perf_counter()
    name = str(params["method"])
    params = {**params, "epochs": epochs_of(params, texts)}
    method = create(name, params["method_options"], params["epochs"], params["batch_size"])
    phases = method.phases(params["epochs"])
    roles = texts.roles(params, seed, passes_of(method, params["epochs"]))
    runtime = runtime_of(params)
    with _TRAINING, torch.random.fork_rng(list(range(torch.cuda.device_count()))):
        model, pretrained = _build(params, seed, method, roles, shared)
        model.to(runtime.device)
        method.to(runtime.device)
        settings = Settings.of(params, seed, method.default_strength, size_of(model.encoder))
        tokens, truncated, unknown = _tokenize(params, model.encoder, roles, shared)
        batches = _batches(params, seed, model.encoder, method, roles, tokens, runtime, shared)
        validation = None
        if "validation" in tokens:
            validation = tokens["validation"], roles.codes["validation"]
        counsel, knowledge = shared.counsel(texts, roles)
        trainer = Trainer(
            model, method, phases, batches, settings, runtime, validation, counsel, roles.ranks
        )
        shares = shared.several and pretrained and trainer.begins_with_source
        on_step = watch.on_step
        # Who looks at the model's weights at every step cannot be shown those of another run.
        known = shared.source_phase(params, seed) if shares and on_step is None else None
        history = trainer.run(
            _checkpoints(settings, params, roles, tokens, trainer.parts, owns_folder, counsel),
            None if on_step is None else lambda engine: on_step(engine, model),
            watch.attach,
            known,
            shares,
        )
        if shares and trainer.source_phase is not None:
            shared.keep(params, seed, trainer.source_phase)
    fitted = Fitted(
        classes=roles.classes,
        seed=seed,
        max_strength=settings.max_strength,
        learning_rate=settings.learning_rate,
        n_source=roles.n_source,
        n_target=roles.n_target,
        n_target_sampled=len(roles.texts["target"]),
        trained=record(started, runtime.device, trainer.seconds_of_others),
        source_prior=_trained_prior(roles, batches),
        history=history.steps,
        validation=history.epochs,
        truncated=truncated,
        unknown=unknown,
        source_domains=roles.names,
        order=roles.order,
        form=roles.form,
        params={**params, "random_state": seed},
    )
    trained = Trained(model, method.state_dict(), fitted, knowledge=knowledge)
    # In other phases the model itself looks again at every epoch.
    known_texts = None if isinstance(phases[-1], Joint) else method.memory.get(KNOWN)
    new = None if known_texts is None else ~known_texts.cpu().numpy()
    return afterwards.look(trained, tokens, roles, runtime, counsel, new)


def retarget(
    trained: Trained, params: Mapping[str, Any], texts: Texts, created: Mapping[str, Method]
) -> Trained:
    """Look at what a trained model predicts for target texts, which may be others than it saw.

    Parameters
    ----------
    trained : Trained
    params : mapping
        Those of the fit, and what is set now of that which needs no training.
    texts : Texts
    created : mapping of str to Method
        The methods of the fit.

    Raises
    ------
    ValueError
        If the source's classes are not those of the model, or if there are no target texts.

    """
    fitted = trained.fitted
    if not np.array_equal(texts.classes, fitted.classes):
        raise ValueError(
            f"the labels are {texts.classes.tolist()}, but the model knows "
            f"{fitted.classes.tolist()}; pass the source texts that it was fitted on."
        )
    passes = max(passes_of(method, params["epochs"]) for method in created.values())
    roles = texts.roles(params, fitted.seed, passes)
    if roles.n_source != fitted.n_source:
        raise ValueError(
            f"there are {roles.n_source} source texts, but the model was fitted on "
            f"{fitted.n_source}; pass the same, of which the same ones are held out."
        )
    if not roles.texts["target"]:
        raise ValueError("retarget needs target texts; pass X_target.")
    shared = Shared(several=False)
    tokens, truncated, unknown = _tokenize(params, trained.model.encoder, roles, shared)
    fitted = replace(
        fitted,
        n_target=roles.n_target,
        n_target_sampled=len(roles.texts["target"]),
        truncated={**fitted.truncated, **truncated},
        unknown={**fitted.unknown, **unknown},
        params={**params, "random_state": fitted.seed},
    )
    runtime = runtime_of(params)
    trained.model.to(runtime.device)
    counsel, knowledge = shared.counsel(texts, roles)
    blank = Trained(trained.model, trained.method_weights, fitted, knowledge=knowledge)
    return afterwards.look(blank, tokens, roles, runtime, counsel)


def full(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return all hyperparameters, with the defaults of those that are not in `params`."""
    return {name: h.default for name, h in HYPERPARAMETERS.items()} | dict(params)


def _build(
    params: Mapping[str, Any], seed: int, method: Method, roles: Roles, shared: Shared
) -> tuple[Classifier, bool]:
    """Load the encoder, and make the task head and the method's own parameters.

    Returns
    -------
    model : Classifier
    pretrained : bool
        Whether the method has left the encoder's weights as they were loaded.

    """
    encoder = shared.encoder(params, seed)
    _check_length(params, encoder)
    before = _versions(encoder)
    _attach(str(params["method"]), method, encoder, len(roles.names))
    pretrained = _versions(encoder) == before
    if params["torch_compile"]:
        check_compiler(runtime_of(params).device)
        # In place: the names of the weights stay, and copies are not compiled.
        encoder.model.compile(dynamic=True)
    # Heads and method draw from the same state whichever method is trained, so that
    # two methods with the same seed start from the same task head.
    torch.manual_seed(streams.number(seed, streams.HEADS))
    head = task_head(encoder.features, len(roles.classes), roles.ranks)
    method.build(encoder.features, len(roles.classes))
    return Classifier(encoder, head), pretrained


def _versions(encoder: Encoder) -> list[tuple[int, int]]:
    """Return which tensors an encoder has, and how often each was changed in place."""
    return [(id(p), p._version) for p in encoder.parameters()]


def _tokenize(
    params: Mapping[str, Any], encoder: Encoder, roles: Roles, shared: Shared
) -> tuple[dict[str, Tokens], dict[str, int], dict[str, float]]:
    """Return tokens, how many texts were cut and the share of unknown tokens, by role."""
    tokens, cut = {}, {}
    for role, texts in roles.texts.items():
        if texts:
            tokens[role], cut[role] = shared.tokens(encoder, params, texts)
    max_length = params["max_length"]
    counts = {role: (n, len(tokens[role])) for role, n in cut.items() if n}
    warn_truncated(shared.unheard(f"max_length={max_length}", counts), max_length)
    unknown = {role: unknown_share(encoder.tokenizer, part) for role, part in tokens.items()}
    warn_unknown(shared.unheard(f"unknown to {params['encoder']}", unknown))
    return tokens, cut, unknown


def _batches(
    params: Mapping[str, Any],
    seed: int,
    encoder: Encoder,
    method: Method,
    roles: Roles,
    tokens: Mapping[str, Tokens],
    runtime: Runtime,
    shared: Shared,
) -> PairedBatches:
    """Pair source and target, with the output of frozen layers where that saves time."""
    target = tokens.get("target") if method.uses_target else None
    labelled = tokens.get("labelled target")
    parts = [part for part in (tokens["source"], labelled, target) if part is not None]
    states = None
    # Precomputed states cannot be passed into compiled code.
    if not params["torch_compile"]:
        states = all_frozen_states(encoder, parts, runtime, shared.states)
    return PairedBatches(
        tokens["source"],
        roles.codes["source"],
        target,
        params["batch_size"],
        seed,
        roles.weights,
        roles.domains,
        None if labelled is None else (labelled, roles.codes["labelled target"]),
        states,
    )


def _checkpoints(
    settings: Settings,
    params: Mapping[str, Any],
    roles: Roles,
    tokens: Mapping[str, Tokens],
    parts: torch.nn.Module,
    owns_folder: bool,
    counsel: Counsel | None,
) -> Checkpoints | None:
    """Return where the run is saved, if anywhere, and check that all processes share it."""
    processes = Processes.current()
    if settings.checkpoint_dir is None and processes.world == 1:
        return None
    arrays = {"weights of texts": roles.weights, "source domains": roles.domains}
    arrays |= {f"{role} labels": codes for role, codes in roles.codes.items()}
    if counsel is not None:
        arrays |= {
            "evidence of knowledge": counsel.source,
            "evidence about the target": counsel.target,
        }
    identity = Identity.of(tokens, arrays, {**params, "seed": settings.seed}, parts.state_dict())
    for rank, other in enumerate(processes.all_of(identity)):
        if differ := identity.differences(other):
            raise ValueError(
                f"process {rank} was given a different run from process {processes.rank}: it "
                f"differs in {'; '.join(differ)}. Pass the same to all processes."
            )
    if settings.checkpoint_dir is None:
        return None
    return Checkpoints.of(settings, identity, not owns_folder)


def record(started: float, device: torch.device, shared: float = 0.0) -> dict[str, Any]:
    """Return when, for how long and on what a run trained, `shared` seconds of it in another."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    times = {"seconds": round(time.perf_counter() - started + shared, 1)}
    if shared:
        times["shared_seconds"] = round(shared, 1)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **times,
        "device": f"{device.type}: {name}",
    }


def size_of(module: torch.nn.Module) -> int:
    """Return the number of a module's parameters."""
    return sum(p.numel() for p in module.parameters())


def _trained_prior(roles: Roles, batches: PairedBatches) -> np.ndarray:
    """Return the class shares of the texts that the task trains on, with their weights."""
    classes = len(roles.classes)
    if roles.form is not None:
        return np.average(roles.codes["source"], axis=0, weights=roles.weights)
    mass = np.bincount(roles.codes["source"], roles.weights, classes).astype(float)
    if batches.target_labelled is not None:
        labelled = np.bincount(roles.codes["labelled target"], minlength=classes)
        share = labelled / len(roles.codes["labelled target"])
        mass = mass + share * batches.labelled_rows * len(batches)
    return np.asarray(mass / mass.sum())

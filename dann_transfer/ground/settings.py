"""The hyperparameters: name, default, bounds and meaning of each, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

from dann_transfer.ground.checks import (
    Hyperparameter,
    check_flag,
    check_lora,
    check_metric_name,
    check_ordinal,
    check_unknown,
    interval_of,
    is_no_number,
    nearest,
)

if TYPE_CHECKING:
    import numpy as np

INFERENCE_BATCH = 64
"""Texts that go through the model at once when nothing is trained."""
FEWEST_ALIGNED = 20
"""Texts of each domain that `align` needs."""


H = Hyperparameter
HYPERPARAMETERS: dict[str, Hyperparameter] = {
    "encoder": H(
        "bert-base-uncased", "a Hugging Face encoder: the name of a hub model, or a folder"
    ),
    "method": H(
        None,
        "how to adapt: one of `methods.names()`, or several joined with a plus, such as "
        '"mlm+dann", whose losses are added, each at its own strength (any but "adda" and '
        '"shot"); "auto" trains source-only, "mcc" and "student" and keeps one of them; None is '
        "what `advise` names",
    ),
    "epochs": H(
        None,
        "passes over the source texts; None is as many as make some hundred steps, more with more "
        "classes, and at least 3",
        low=1,
        whole=True,
        optional=True,
    ),
    "batch_size": H(
        32, "source texts per batch; as many target texts are added", low=1, whole=True
    ),
    "micro_batch_size": H(
        None,
        "pass at most this many texts through the encoder at once in training; larger batches are "
        "split into parts, whose states are computed again for the gradient: the same gradient, "
        "less memory, more time; None passes all at once",
        low=1,
        whole=True,
        optional=True,
    ),
    "learning_rate": H(
        None,
        "AdamW's step size for the encoder, which warms up and then decays; None is 5e-5 for an "
        "encoder of fewer than 50 million parameters and 2e-5 for a larger one, or 20 times that "
        "with `lora`",
        low=0,
        above=True,
        optional=True,
    ),
    "head_learning_rate": H(1e-3, "the same for the task head", low=0, above=True),
    "discriminator_learning_rate": H(
        1e-3, "the same for the method's own parameters, but without decay", low=0, above=True
    ),
    "max_strength": H(
        None,
        "the strength at the end of its schedule: λ of the reversed gradient, or the weight of the "
        "method's loss; None takes the method's default; for a combination, this multiplies the "
        "default of each part",
        low=0,
        optional=True,
    ),
    "strength_schedule": H(
        "dann",
        "how the strength grows over the run's steps",
        choices=("dann", "linear", "constant"),
    ),
    "max_length": H(
        256, "tokens per text; longer texts are cut, and a warning counts them", low=3, whole=True
    ),
    "pooling": H(
        None,
        "how token states become one feature vector: their mean, the first token's state, what the "
        "encoder's pooler makes of that, or the last token's state; None is what the encoder's "
        'folder declares in the files of sentence-transformers, and otherwise "mean"',
        choices=(None, "mean", "cls", "pooler", "last"),
    ),
    "freeze_layers": H(
        None,
        "leave the embeddings and this many of the lowest layers untrained, which is faster and "
        "needs less memory; None is half of the layers for an encoder of 50 million parameters or "
        "more, and 0 for a smaller one",
        low=0,
        whole=True,
        optional=True,
    ),
    "lora": H(
        None,
        "train low-rank matrices of this rank beside the layers, and merge them at the end; a dict "
        "holds keywords of `peft.LoraConfig`",
        verify=check_lora,
    ),
    "layer_decay": H(
        1.0,
        "multiply the encoder's learning rate by this for each layer below the highest",
        low=0,
        high=1,
        above=True,
    ),
    "device": H(None, '"cpu", "cuda", "cuda:1" ...; None uses CUDA if it is available'),
    "precision": H(
        "auto",
        '"auto" is bf16 on a GPU that supports it and fp32 elsewhere',
        choices=("auto", "fp32", "bf16", "fp16"),
    ),
    "torch_compile": H(
        False,
        "compile the encoder with `torch.compile` on the first texts, which takes a minute or "
        "more; useful on a GPU that spends its time on many small kernels; on a CPU it gains "
        "nothing",
        choices=(False, True),
    ),
    "warmup": H(0.1, "the share of the steps over which learning rates rise", low=0, high=0.9),
    "weight_decay": H(0.01, "AdamW's weight decay, on matrices only", low=0),
    "max_grad_norm": H(1.0, "gradients are clipped to this norm", low=0, above=True),
    "class_weight": H(
        None, 'a weight for the texts of each class; "balanced" makes up for rare classes'
    ),
    "ordinal": H(
        False,
        "whether the classes are ordered, as stars are: True takes numbers by value and ordered "
        "categories of pandas in their order, a list names the classes from the lowest to the "
        "highest; the head then learns the order, and the answer is the median class",
        verify=check_ordinal,
    ),
    "correct_prior": H(
        None,
        "correct predictions for the target's class shares, estimated without its labels; "
        'True is "em"',
        choices=(None, False, True, "bbse", "em"),
    ),
    "neighbors": H(
        None,
        "average each prediction with those of this many nearest target texts of the fit, which "
        "needs no training; None does not average",
        low=1,
        whole=True,
        optional=True,
    ),
    "align": H(
        None,
        "map the features of target texts onto the source's after training, so that they no longer "
        'tell the domains apart: "transport" is the linear map of optimal transport, with every '
        "class weighted alike in both domains; None maps nothing",
        choices=(None, "transport"),
    ),
    "use_knowledge": H(
        False,
        "add what the `knowledge` of the fit says about target texts to their predictions, at the "
        "weight that the fit estimated",
        choices=(False, True),
    ),
    "unknown": H(
        None,
        "the label to answer for target texts of classes that the source does not have, which are "
        "found without labels and left out of adaptation; None takes every text for one of the "
        "source's classes",
        verify=check_unknown,
    ),
    "validation_fraction": H(
        0.1,
        "the share of the source that is held out for choosing the epoch; 0 keeps the last epoch",
        low=0,
        high=0.5,
    ),
    "validation_tolerance": H(
        2.0,
        "how far below the best validation score a later epoch may lie and still be kept, in "
        "standard errors of their difference, since on few held-out texts epochs differ by chance; "
        "0 keeps the best",
        low=0,
    ),
    "metric": H(
        "accuracy",
        "the score by which the epoch is chosen on held-out source texts, and by which `compare` "
        'judges: "accuracy", "macro_f1", "balanced_accuracy", "quadratic_kappa" for ordered '
        "classes, or the name of a scorer of scikit-learn for predicted labels, such as "
        '"neg_mean_absolute_error"',
        verify=check_metric_name,
    ),
    "patience": H(
        None,
        "stop after this many epochs without a better validation score; None never stops",
        low=1,
        whole=True,
        optional=True,
    ),
    "method_options": H(None, 'keywords of the method, such as `{"width": 256}` for "dann"'),
    "text_column": H("text", "the column of texts in a table"),
    "label_column": H("label", "the column of labels in a table"),
    "checkpoint_dir": H(
        None,
        "save the run there at the end of every epoch and at every `checkpoint_every`, and "
        "continue exactly where it stopped",
    ),
    "checkpoint_every": H(
        "10 min",
        'how often a run is saved within an epoch: a number of steps, or minutes such as "10 min"; '
        "None saves only at the end of the epoch",
        verify=interval_of,
    ),
    "progress": H(
        True,
        "show a progress bar on a terminal or in a notebook, elsewhere a line for each epoch",
        verify=check_flag,
    ),
    "random_state": H(
        None,
        "the same integer gives the same weights, bit for bit, on the same CPU with the same "
        "number of threads",
    ),
    "trust_remote_code": H(
        False, "let the encoder run code from its repository", choices=(False, True)
    ),
}
"""Every keyword of `DomainAdapter`, in the order of its signature."""


ADAPTATION = (
    "max_strength",
    "strength_schedule",
    "method_options",
    "discriminator_learning_rate",
)
"""Hyperparameters that act only through a method, and not on source-only."""


AT_PREDICTION = (
    "correct_prior",
    "use_knowledge",
    "unknown",
    "text_column",
    "label_column",
    "device",
    "precision",
    "progress",
)
"""What can be changed on a fitted adapter with effect; all else stays as it was fitted."""


AFTER_TRAINING = ("align", "neighbors", "unknown")
"""What can be changed on a fitted adapter with effect if it is then retargeted."""


def plain(value: Any) -> Any:
    """Turn numbers and arrays of numpy and torch into Python values, and sets into lists, at any
    depth.

    Examples
    --------
    >>> import numpy as np
    >>> plain({np.int64(1): [np.float64(0.5), np.array([1, 2])]})
    {1: [0.5, [1, 2]]}

    """
    # Neither is imported here: a typo on the command line is answered without waiting for them.
    if not {"numpy", "torch"}.isdisjoint(kind.__module__ for kind in type(value).__mro__):
        return value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, dict):
        return {plain(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(plain(entry) for entry in value)
    if isinstance(value, set | frozenset):
        # In an order that does not depend on the process.
        return sorted((plain(entry) for entry in value), key=repr)
    return value


def public_name(encoder: Any) -> str:
    """Return the name of an encoder, without the folders above it, which are nobody's business.

    Examples
    --------
    >>> public_name("user/model"), public_name("/home/me/encoders/mine"), public_name("./mine/")
    ('user/model', 'mine', 'mine')

    """
    text = str(encoder)
    windows = "\\" in text or text[1:2] == ":"
    folder = Path(text).expanduser()
    if windows:
        return PureWindowsPath(text).name
    if folder.is_dir() or folder.is_absolute() or text[:1] in (".", "~") or text.count("/") > 1:
        return folder.name or folder.resolve().name
    return text


def check_names(function: str, params: Mapping[str, Any]) -> None:
    """Raise a TypeError if a function was passed a keyword that is no hyperparameter.

    Examples
    --------
    >>> check_names("compare", {"epoch": 3})
    Traceback (most recent call last):
    ...
    TypeError: compare has no keyword 'epoch'; did you mean 'epochs'?

    """
    for name in params:
        if name not in HYPERPARAMETERS:
            near = nearest(name, HYPERPARAMETERS)
            others = f"hyperparameters that it takes are {list(HYPERPARAMETERS)}."
            hint = f"did you mean {near!r}?" if near else others
            raise TypeError(f"{function} has no keyword {name!r}; {hint}")


def check_params(params: Mapping[str, Any]) -> None:
    """Check every hyperparameter of a `DomainAdapter`.

    Raises
    ------
    ValueError
        Naming the first wrong keyword, its value and the allowed values.

    Examples
    --------
    >>> check_params({"epochs": 0})
    Traceback (most recent call last):
    ValueError: epochs=0 must be a whole number of at least 1.

    """
    for name, value in params.items():
        if name in HYPERPARAMETERS:
            HYPERPARAMETERS[name].check(name, value)
    if params.get("torch_compile") and params.get("micro_batch_size") is not None:
        raise ValueError(
            f"torch_compile=True and micro_batch_size={params['micro_batch_size']} do not work "
            "together: torch cannot recompute the parts as they were compiled. Leave one out."
        )


LARGE = 50_000_000
"""An encoder with this many parameters or more is large."""
LORA_FACTOR = 20
"""Factor on the default rate for low-rank matrices: the best of those measured."""


@dataclass(frozen=True)
class Settings:
    """The settings of a training run; `HYPERPARAMETERS` explains each."""

    epochs: int
    batch_size: int
    learning_rate: float
    head_learning_rate: float
    discriminator_learning_rate: float
    max_strength: float
    strength_schedule: str
    warmup: float
    weight_decay: float
    layer_decay: float
    max_grad_norm: float
    patience: int | None
    validation_tolerance: float
    metric: str
    precision: str
    unknown: str | float | None
    seed: int
    checkpoint_dir: str | None
    checkpoint_every: int | str | None
    progress: bool

    @classmethod
    def of(
        cls, params: Mapping[str, Any], seed: int, default_strength: float, size: int = 0
    ) -> Settings:
        """Return a run's settings from an adapter's parameters.

        Parameters
        ----------
        params : mapping
            Hyperparameters by name; those left out have their defaults.
        seed : int
        default_strength : float
            The method's own `max_strength`, used if none is set.
        size : int
            Number of the encoder's parameters, which determines `learning_rate` if none is set.

        Examples
        --------
        >>> small = Settings.of({"epochs": 5}, seed=0, default_strength=0.2)
        >>> small.max_strength, small.learning_rate
        (0.2, 5e-05)
        >>> Settings.of({}, seed=0, default_strength=0.2, size=110_000_000).learning_rate
        2e-05
        >>> Settings.of({"lora": 8}, seed=0, default_strength=0.2).learning_rate
        0.001

        """
        full = {name: h.default for name, h in HYPERPARAMETERS.items()} | dict(params)
        values = {name: full[name] for name in cls.__dataclass_fields__ if name != "seed"}
        if full["max_strength"] is None:
            values["max_strength"] = default_strength
        if full["learning_rate"] is None:
            # With 5e-5, a larger encoder is good with one seed and bad with the next.
            rate = 5e-5 if size < LARGE else 2e-5
            values["learning_rate"] = rate if full["lora"] is None else LORA_FACTOR * rate
        folder = full["checkpoint_dir"]
        values["checkpoint_dir"] = None if folder is None else str(Path(folder).expanduser())
        return cls(seed=seed, **values)


def as_seed(random_state: int | np.random.RandomState | None) -> int:
    """Turn any random state that scikit-learn accepts into one integer seed.

    Raises
    ------
    ValueError
        If it is not an integer from 0 to 2**32 - 1, a RandomState or None.

    Examples
    --------
    >>> as_seed(7)
    7

    """
    if isinstance(random_state, Integral) and not is_no_number(random_state):
        if not 0 <= random_state < 2**32:
            raise ValueError(f"random_state={random_state!r} must be between 0 and 2**32 - 1.")
        return int(random_state)
    try:
        if is_no_number(random_state):
            kind = type(random_state).__name__
            raise ValueError(f"a {kind} is no seed; pass a whole number.")
        # Here, because it takes most of a second, and the names of hyperparameters need none of it.
        from sklearn.utils import check_random_state

        return int(check_random_state(random_state).randint(2**31))
    except ValueError as error:
        raise ValueError(f"random_state={random_state!r}: {error}") from error

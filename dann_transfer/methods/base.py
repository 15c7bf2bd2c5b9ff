"""What an adaptation method is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dann_transfer.ground.options import Option, checked_options
from dann_transfer.model.encoder import Encoder
from dann_transfer.texts.batches import Batch
from dann_transfer.training.forward import Forward
from dann_transfer.training.phases import Joint, Phase


class Method(nn.Module, ABC):
    """One adaptation method. Subclass it, implement `loss`, and `register` it.

    Of the hooks only `loss` is required; methods with parameters need `build`, and few need the
    others. Options can be set through ``DomainAdapter(method_options=...)``: those that `options`
    declares become attributes, and so may keyword arguments of an ``__init__`` of your own.
    """

    name: str = ""
    """The name under which the class was registered first."""
    options: ClassVar[Mapping[str, Option]] = {}
    """The options by name; for the package's methods, those of `dann_transfer.ground.options`."""
    joins: bool = True
    """Whether the method can be a part of a combination."""
    labels_target: ClassVar[bool] = False
    """Whether the method labels target texts: a combination may have one such part."""
    trains_anew: ClassVar[bool] = False
    """Whether its last phase trains a new model on labels of the target; in a combination, the
    other parts act in that phase."""
    uses_target: ClassVar[bool] = True
    """Whether batches include target texts."""
    takes_several: ClassVar[bool] = False
    """Whether it works where a text has several labels: it looks at features, and not at classes of
    which one is right."""
    moves_encoder_alone: ClassVar[bool] = False
    """Whether the loss acts only on the encoder: if all its layers are frozen it does nothing."""
    min_epochs: ClassVar[int] = 1
    """The smallest number of epochs in which the method has an effect."""
    min_batch: ClassVar[int] = 1
    """The smallest number of texts per domain in a batch with which it has an effect: a method that
    compares texts has no gradient with a single one."""
    default_strength: ClassVar[float] = 1.0
    """The `max_strength` used if the user sets none."""
    discriminator_steps: int = 0
    """Extra steps per batch, on detached features, of the method's own parameters."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        values = checked_options(self.name or type(self).__name__, self.options, options)
        for option, value in values.items():
            setattr(self, option, value)
        self.memory: dict[str, Tensor] = {}
        """What `remember` returned last. It is in every checkpoint but not in saved models."""

    @property
    def keeps_source(self) -> bool:
        """Whether a model that is trained anew on labels of the target also learns from the source;
        asked once `remember` has returned the labels."""
        return False

    @property
    def maps_target(self) -> bool:
        """Whether `remember` is given the target's features as a map onto the source's makes them,
        and the probabilities that follow from them."""
        return False

    @property
    def leaves_out_absent(self) -> bool:
        """Whether the probabilities that `remember` is given leave out classes that the estimate of
        the target's class shares finds absent there."""
        return False

    def attach(self, encoder: Encoder, n_domains: int) -> None:
        """Receive the encoder and the number of source domains, before `build`."""

    def build(self, features: int, classes: int) -> None:
        """Make the method's own parameters, for this feature width and number of classes."""

    def phases(self, epochs: int) -> list[Phase]:
        """Return the phases of a run of `epochs` epochs: by default one, with task and method."""
        return [Joint(self, epochs)]

    def remember(
        self, predict_target: Callable[[], tuple[Tensor, Tensor]], progress: float
    ) -> dict[str, Tensor]:
        """Return data about each target text, at the start of an epoch in which `loss` acts.

        Each batch then has its own rows of them in ``forward.batch.extras``, under the same names.

        Parameters
        ----------
        predict_target : callable
            Returns the features of all target texts, shape (n_target, width), and their
            probabilities, shape (n_target, classes).
        progress : float
            From 0 to 1 through these epochs.

        Returns
        -------
        dict of str to Tensor, shape (n_target, ...)

        """
        return {}

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Change a batch before the encoder sees it; the generator is seeded by step."""
        return batch

    @abstractmethod
    def loss(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return named loss terms, which are added to the task loss; ``{}`` adds nothing.

        `strength` is the value of the schedule at this step, between 0 and ``max_strength``.
        """


def check_run(method: Method, name: str, epochs: int, batch_size: int) -> None:
    """Raise a ValueError if a method can have no effect in a run.

    Parameters
    ----------
    method : Method
    name : str
        The name that the user gave it.
    epochs, batch_size : int

    """
    if epochs < method.min_epochs:
        raise ValueError(
            f"epochs={epochs!r}, but method={name!r} acts only from epoch "
            f"{method.min_epochs} onwards; use more epochs."
        )
    if batch_size < method.min_batch:
        raise ValueError(
            f"batch_size={batch_size!r}, but method={name!r} compares texts of a batch and has no "
            f"effect with fewer than {method.min_batch} per domain; use a larger batch_size."
        )


def check_encoder_moves(name: str, encoder: Encoder) -> None:
    """Raise if a method that moves only the encoder has nothing to move."""
    if not any(p.requires_grad for p in encoder.parameters()):
        raise ValueError(
            f"method={name!r} moves the encoder, but freeze_layers leaves none of it to train; "
            "lower freeze_layers."
        )

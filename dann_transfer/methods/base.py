"""What an adaptation method is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dann_transfer.model.encoder import Encoder
from dann_transfer.texts.batches import Batch
from dann_transfer.training.forward import Forward
from dann_transfer.training.phases import Joint, Phase


class Method(nn.Module, ABC):
    """One adaptation method. Subclass it, implement `loss`, and `register` it.

    Of the hooks only `loss` must be written; `build` is needed by methods with parameters, the
    others by few. Keyword arguments of ``__init__`` can be set through
    ``DomainAdapter(method_options=...)``.
    """

    uses_target: ClassVar[bool] = True
    """Whether batches carry target texts."""
    min_epochs: ClassVar[int] = 1
    """The fewest epochs in which the method can do something."""
    min_batch: ClassVar[int] = 1
    """The fewest texts of a domain in a batch with which it can: of a single one, what compares
    texts has no gradient."""
    default_strength: ClassVar[float] = 1.0
    """The `max_strength` used where the user names none."""
    discriminator_steps: int = 0
    """How often `loss` is first minimised on detached features in the method's own parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.memory: dict[str, Tensor] = {}
        """What `remember` returned last. It is in every checkpoint and in no saved model."""

    def attach(self, encoder: Encoder, n_domains: int) -> None:
        """Take note of the encoder and of the number of source domains, before `build`."""

    def build(self, features: int, classes: int) -> None:
        """Make the method's own parameters, for features of that width and that many classes."""

    def phases(self, epochs: int) -> list[Phase]:
        """Return the phases of a run of that many epochs: task and method together in one."""
        return [Joint(self, epochs)]

    def remember(
        self, predict_target: Callable[[], tuple[Tensor, Tensor]], progress: float
    ) -> dict[str, Tensor]:
        """Return what is known of each target text, at the start of an epoch in which `loss` acts.

        Each batch then has its own rows of it in ``forward.batch.extras``, under the same names.

        Parameters
        ----------
        predict_target : callable
            Gives the features of all target texts, shape (n_target, width), and their
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

        `strength` is what the schedule gives at this step, between 0 and ``max_strength``.
        """


def check_run(method: Method, name: str, epochs: int, batch_size: int) -> None:
    """Raise a ValueError if a method can do nothing in a run.

    Parameters
    ----------
    method : Method
    name : str
        What the user calls it.
    epochs, batch_size : int

    """
    if epochs < method.min_epochs:
        raise ValueError(
            f"epochs={epochs!r}, but method={name!r} acts only from epoch "
            f"{method.min_epochs} on; use more epochs."
        )
    if batch_size < method.min_batch:
        raise ValueError(
            f"batch_size={batch_size!r}, but method={name!r} compares texts of a batch and does "
            f"nothing with fewer than {method.min_batch} of a domain; use a larger batch_size."
        )


def check_extra_epochs(name: str, value: Any) -> int:
    """Return the length of a second phase, or say what is wrong with it."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"extra_epochs={value!r} of {name} must be a whole number of at least 1.")
    return value


def check_encoder_moves(name: str, encoder: Encoder) -> None:
    """Raise if a second phase, which moves only the encoder, has nothing to move."""
    if not any(p.requires_grad for p in encoder.parameters()):
        raise ValueError(
            f"method={name!r} moves the encoder, of which freeze_layers leaves nothing to train; "
            "lower freeze_layers."
        )

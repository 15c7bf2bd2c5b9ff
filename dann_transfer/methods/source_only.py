"""No adaptation: the baseline that every other method must beat."""

from __future__ import annotations

from torch import Tensor

from dann_transfer.methods.base import Method
from dann_transfer.methods.registry import register
from dann_transfer.training.forward import Forward
from dann_transfer.training.phases import Phase, SourceAlone


@register("source_only")
class SourceOnly(Method):
    """Train on the labelled source alone.

    When to use it: always, to compare with any other method. Cost: half that of an adapted run,
    because no target text goes through the encoder.
    """

    takes_several = True

    uses_target = False

    def phases(self, epochs: int) -> list[Phase]:
        """Return one phase, with only the task."""
        return [SourceAlone(self, epochs)]

    def loss(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Add nothing to the task loss."""
        return {}

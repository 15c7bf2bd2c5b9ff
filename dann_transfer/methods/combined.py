"""Several methods at once, by names joined with a plus: ``"mmd+mcc"``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dann_transfer.methods.base import Method
from dann_transfer.model.encoder import Encoder
from dann_transfer.texts.batches import Batch
from dann_transfer.training.forward import Forward
from dann_transfer.training.phases import BothAnew, Joint, Phase, SourceAlone


class Combined(Method):
    """The sum of several methods' losses, each at a strength of its own.

    The run's strength multiplies each part's: its `default_strength`, or the "strength" among
    the part's options. The number of extra discriminator steps is the largest of any part.

    With "student" among them, as in ``"student+dann"``, a model of the source labels the target,
    and another, trained from scratch, learns from the labels of both domains while the other parts
    act: the alignment then cannot map one class onto another unnoticed, as it can without labels.
    The run's strength then applies only to the other parts.

    Parameters
    ----------
    parts : dict of str to Method
    strengths : dict of str to float
        What strength 1 means for each part.

    """

    default_strength = 1.0

    def __init__(self, parts: dict[str, Method], strengths: dict[str, float]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)
        self.strengths = strengths
        each = parts.values()
        self.name = "+".join(parts)
        self.discriminator_steps = max(part.discriminator_steps for part in each)
        # Set on the instance, because here they depend on the parts.
        for name, value in (
            ("takes_several", all(part.takes_several for part in each)),
            ("uses_target", any(part.uses_target for part in each)),
            ("moves_encoder_alone", any(part.moves_encoder_alone for part in each)),
            ("min_epochs", max(part.min_epochs for part in each)),
            ("min_batch", max(part.min_batch for part in each)),
        ):
            setattr(self, name, value)

    def _each(self) -> list[tuple[str, Method]]:
        return [(name, part) for name, part in self.parts.items() if isinstance(part, Method)]

    def attach(self, encoder: Encoder, n_domains: int) -> None:
        """Show each part the encoder."""
        for _, part in self._each():
            part.attach(encoder, n_domains)

    @property
    def keeps_source(self) -> bool:
        """Always, because the other parts need the texts of both domains."""
        return True

    @property
    def maps_target(self) -> bool:
        """Whether a part labels the target through a map."""
        return any(part.maps_target for _, part in self._each())

    @property
    def leaves_out_absent(self) -> bool:
        """Whether a part labels the target without classes that seem to be absent there."""
        return any(part.leaves_out_absent for _, part in self._each())

    def build(self, features: int, classes: int) -> None:
        """Build each part."""
        for _, part in self._each():
            part.build(features, classes)

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Let each part change the batch in turn."""
        for _, part in self._each():
            batch = part.prepare(batch, generator)
        return batch

    def phases(self, epochs: int) -> list[Phase]:
        """Return one phase, in which all parts act, or two with a student, as it has on its own."""
        for _, part in self._each():
            if part.trains_anew:
                return [SourceAlone(self, epochs), BothAnew(self, part.phases(epochs)[-1].epochs)]
        phases = [phase for _, part in self._each() for phase in part.phases(epochs)]
        joint = [phase for phase in phases if isinstance(phase, Joint)]
        momenta = [m for phase in joint if (m := phase.teacher_momentum) is not None]
        return [
            Joint(
                self,
                epochs,
                target_pass=any(phase.target_pass for phase in joint),
                teacher_momentum=min(momenta, default=None),
            )
        ]

    def remember(
        self, predict_target: Callable[[], tuple[Tensor, Tensor]], progress: float
    ) -> dict[str, Tensor]:
        """Return what the parts remember."""
        memory: dict[str, Tensor] = {}
        for _, part in self._each():
            memory |= part.remember(predict_target, progress)
        return memory

    def loss(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return the terms of all parts; if two use the same name, the part's name is prefixed."""
        terms: dict[str, Tensor] = {}
        for name, part in self._each():
            for key, value in part.loss(forward, strength * self.strengths[name]).items():
                # On its own a student has its own rate; here its loss has a constant weight,
                # because its labels are as good at the first step as at the last.
                weighted = self.strengths[name] * value if part.trains_anew else value
                terms[f"{name} {key}" if key in terms else key] = weighted
        return terms

"""Maximum classifier discrepancy."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from dann_transfer.methods.base import Method
from dann_transfer.methods.registry import register
from dann_transfer.model.heads import reverse_gradient
from dann_transfer.training.forward import Forward


@register("mcd")
class MCD(Method):
    """Leave no target text on which two classifiers that fit the source disagree.

    Reference: Saito et al., Maximum Classifier Discrepancy for Unsupervised Domain Adaptation, CVPR
    2018, in the authors' one-step variant: two classifiers learn the source's task and learn to
    disagree on the target, and the encoder receives the disagreement's gradient reversed. Here
    they exist beside the task head, which makes the predictions.

    When to use it: target texts lie near the decision boundary. Cost: the target texts' pass and
    two small classifiers.
    """

    width: int

    moves_encoder_alone = True

    def build(self, features: int, classes: int) -> None:
        """Make the two classifiers, which start out different."""

        def classifier() -> nn.Sequential:
            hidden = nn.Linear(features, self.width), nn.ReLU(), nn.Linear(self.width, classes)
            return nn.Sequential(*hidden)

        self.one, self.other = classifier(), classifier()

    def loss(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return the classifiers' source loss, and minus their mean disagreement on the target.

        On the source the classifiers learn from detached features: what the encoder learns of the
        task comes only from the task head, so that strength 0 is source-only.
        """
        source, target = forward.source.detach(), reverse_gradient(forward.target, strength)
        fits = [F.cross_entropy(part(source), forward.labels) for part in (self.one, self.other)]
        gap = (self.one(target).softmax(1) - self.other(target).softmax(1)).abs().mean()
        forward.metrics.setdefault("disagreement", gap.detach())
        return {"classifiers": fits[0] + fits[1], "disagreement": -gap}

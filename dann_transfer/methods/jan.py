"""Joint maximum mean discrepancy."""

from __future__ import annotations

from torch import Tensor

from dann_transfer.methods.base import Method
from dann_transfer.methods.mmd import gaussian_kernel, squared_mmd
from dann_transfer.methods.registry import register
from dann_transfer.training.forward import Forward


@register("jan")
class JAN(Method):
    """Make the joint distribution of features and predictions equal in both domains.

    The kernel over (features, predictions) is the product of a kernel over each. Reference: Long
    et al., Deep Transfer Learning with Joint Adaptation Networks, ICML 2017.

    When to use it: like MMD, if classes must stay apart while the domains come together. Cost:
    two kernels over the batch, small compared with the encoder.

    """

    def loss(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return strength times the squared joint discrepancy."""
        kernel = gaussian_kernel(forward.features) * gaussian_kernel(forward.logits.softmax(1))
        return {"jmmd": strength * squared_mmd(kernel, forward.n_source)}

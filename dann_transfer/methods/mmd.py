"""Maximum mean discrepancy with several kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from dann_transfer.methods.base import Method
from dann_transfer.methods.registry import register
from dann_transfer.training.forward import Forward

SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)


def gaussian_kernel(x: Tensor) -> Tensor:
    """Return the mean of five Gaussian kernels between the rows of x: shape (rows, rows).

    Their bandwidths are the mean squared distance between rows, times 1/4, 1/2, 1, 2 and 4. The
    bandwidth depends on the features but carries no gradient, as in the authors' code.
    """
    squared = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").square()
    n = len(x)
    bandwidth = (squared.detach().sum() / max(n * n - n, 1)).clamp(min=1e-12)
    kernels = [torch.exp(-squared / (scale * bandwidth)) for scale in SCALES]
    return torch.stack(kernels).mean(0)


def squared_mmd(kernel: Tensor, n_source: int) -> Tensor:
    """Return the squared discrepancy from a kernel over source rows, then target rows.

    It is the biased estimate, which is never negative: the mean of the kernel within the source,
    plus that within the target, minus twice that between them.
    """
    within = kernel[:n_source, :n_source].mean() + kernel[n_source:, n_source:].mean()
    return within - 2 * kernel[:n_source, n_source:].mean()


@register("mmd")
class MMD(Method):
    """Make the domains' features equal in all moments that Gaussian kernels see.

    Reference: Long et al., Learning Transferable Features with Deep Adaptation Networks, ICML
    2015; Gretton et al., A Kernel Two-Sample Test, JMLR 2012, for the estimate.

    When to use it: like DANN, if class shares are alike; there is no discriminator that has to
    keep up, and nothing to tune but the strength. Cost: a kernel over the batch, small compared
    with the encoder.

    """

    takes_several = True

    moves_encoder_alone = True

    def loss(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return strength times the squared discrepancy of the features."""
        kernel = gaussian_kernel(forward.features)
        return {"mmd": strength * squared_mmd(kernel, forward.n_source)}

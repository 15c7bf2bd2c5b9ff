"""Our losses compared with pytorch-adapt's on random inputs: values and gradients.

    python benchmarks/peer_losses.py

The peer is installed without its dependencies into its own environment, which sees the packages of
the environment that runs this script; nothing is added to the latter.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

PEER = [
    "pytorch-adapt==0.0.83",
    "pytorch-metric-learning==2.9.0",
    "torchmetrics==1.9.0",
    "lightning-utilities==0.15.2",
    "setuptools<80",
]


def both() -> dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], list[Tensor]]]:
    """Return ours, theirs and the inputs of each loss that both have."""
    from pytorch_adapt import layers

    from dann_transfer import methods
    from dann_transfer.methods import Forward, afn, bsp, coral, mcc, mmd
    from dann_transfer.model.heads import reverse_gradient
    from dann_transfer.texts.batches import Batch

    def batch_of(n: int) -> Batch:
        nothing = torch.zeros(0, 0).long()
        return Batch(nothing, nothing, torch.zeros(n).long())

    torch.manual_seed(0)
    # Both domains have the same number of rows, because the peer takes the bandwidth from one.
    x, y = torch.randn(9, 6).double(), 1.5 * torch.randn(9, 6).double() + 0.3
    logits, other = 2 * torch.randn(9, 3).double(), 2 * torch.randn(9, 3).double()
    scales = torch.tensor([1 / s for s in mmd.SCALES]).double()

    def bandwidth(z: Tensor) -> float:
        squared = torch.cdist(z, z).square()
        return float(squared.sum() / (len(z) * (len(z) - 1)))

    def their_mmd(a: Tensor, b: Tensor) -> Tensor:
        z = torch.cat([a, b]).detach()
        loss = layers.MMDLoss(scales, "quadratic", bandwidth=bandwidth(z))
        return loss(a, b)

    def our_mmd(a: Tensor, b: Tensor) -> Tensor:
        return unbiased(mmd.gaussian_kernel(torch.cat([a, b])), len(a))

    def unbiased(kernel: Tensor, n: int) -> Tensor:
        # The peer leaves the kernel of each row with itself (which is 1) out of the means.
        m = len(kernel) - n
        ours = mmd.squared_mmd(kernel, n)
        within = kernel[:n, :n].mean(), kernel[n:, n:].mean()
        return ours + (within[0] - 1) / (n - 1) + (within[1] - 1) / (m - 1)

    def our_jmmd(a: Tensor, b: Tensor, p: Tensor, q: Tensor) -> Tensor:
        features, logits = torch.cat([a, b]), torch.cat([p, q])
        forward = Forward(features, logits, batch_of(len(a)))
        kernel = mmd.gaussian_kernel(features) * mmd.gaussian_kernel(logits.softmax(1))
        rest = unbiased(kernel, len(a)) - mmd.squared_mmd(kernel, len(a))
        return methods.create("jan").loss(forward, 1.0)["jmmd"] + rest

    def their_jmmd(a: Tensor, b: Tensor, p: Tensor, q: Tensor) -> Tensor:
        # The peer uses one bandwidth for both kernels, so distances are scaled beforehand.
        p, q = p.softmax(1), q.softmax(1)
        pairs = [(a, b), (p, q)]
        roots = [bandwidth(torch.cat(pair).detach()) ** 0.5 for pair in pairs]
        xs, ys = zip(*[(s / r, t / r) for (s, t), r in zip(pairs, roots, strict=True)], strict=True)
        return layers.MMDLoss(scales, "quadratic", bandwidth=1.0)(list(xs), list(ys))

    def disagreement(p: Tensor, q: Tensor) -> Tensor:
        method = methods.create("mcd")
        # Its classifiers are replaced by functions that return the given logits.
        method.one, method.other = (lambda _: p), (lambda _: q)
        forward = Forward(torch.cat([p, q]), torch.cat([p, q]), batch_of(len(p)))
        return -method.loss(forward, 1.0)["disagreement"]

    return {
        "mmd": (our_mmd, their_mmd, [x, y]),
        "jan": (our_jmmd, their_jmmd, [x, y, logits, other]),
        "coral": (coral.coral_loss, layers.CORALLoss(), [x, y]),
        "mcc": (lambda z: mcc.class_confusion(z, 2.5), layers.MCCLoss(T=2.5), [logits]),
        "bsp": (lambda z: bsp.largest_squared(z, 2), layers.BatchSpectralLoss(k=2), [x]),
        "afn": (lambda z: afn.step_norm_loss(z, 0.7), layers.AdaptiveFeatureNorm(0.7), [x]),
        "mcd": (disagreement, layers.MCDLoss(), [logits, other]),
        "gradient reversal": (
            lambda z: reverse_gradient(z, 0.3).square().sum(),
            lambda z: layers.GradientReversal(0.3)(z).square().sum(),
            [x],
        ),
    }


def compare() -> None:
    """Print one JSON line per loss; run this in the peer's environment."""
    for name, (ours, theirs, inputs) in both().items():
        values, grads = [], []
        for loss in (ours, theirs):
            given = [z.clone().requires_grad_() for z in inputs]
            value = loss(*given)
            values.append(value.item())
            grads.append(torch.cat([g.flatten() for g in torch.autograd.grad(value, given)]))
        gap = (grads[0] - grads[1]).abs().max() / grads[1].abs().max()
        row = {"loss": name, "ours": values[0], "theirs": values[1], "gradient_gap": gap.item()}
        print(json.dumps(row))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compare", action="store_true", help=argparse.SUPPRESS)
    if parser.parse_args().compare:
        compare()
        return
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = Path(folder, "bin", "python")
        minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
        paths = [sysconfig.get_paths()["purelib"], str(Path(__file__).parents[1])]
        site = Path(folder, "lib", minor, "site-packages")
        (site / "ours.pth").write_text("\n".join(paths))
        install = [python, "-m", "pip", "install", "-q", "--no-deps", *PEER]
        subprocess.run(install, check=True)
        out = subprocess.run(
            [python, __file__, "--compare"], check=True, capture_output=True, text=True
        ).stdout
    worst = 0.0
    for line in out.splitlines():
        row = json.loads(line)
        gap = abs(row["ours"] - row["theirs"]) / max(abs(row["theirs"]), 1e-12)
        worst = max(worst, gap, row["gradient_gap"])
        print(
            f"{row['loss']:18} ours {row['ours']:.9f}  theirs {row['theirs']:.9f}  "
            f"relative gap {gap:.0e}, of the gradient {row['gradient_gap']:.0e}"
        )
    if worst > 1e-6:
        raise SystemExit(f"the losses differ by up to {worst:.0e}")


if __name__ == "__main__":
    main()

"""Adversarial adaptation from several sources."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dann_transfer.methods.base import Method
from dann_transfer.methods.dann import domain_accuracy, domain_loss
from dann_transfer.methods.registry import register
from dann_transfer.model.encoder import Encoder
from dann_transfer.model.heads import DomainDiscriminator, reverse_gradient
from dann_transfer.training.forward import Forward


def domain_weights(shares: Tensor, tasks: Tensor, domains: Tensor, sharpness: float) -> Tensor:
    """Weigh source domains, giving more to those with a high task loss and far from the target.

    It is the gradient of ``log(sum(shares * exp(sharpness * (tasks - domains)))) / sharpness``,
    the paper's bound on the worst domain, with the domains' shares of the batch as prior.

    Parameters
    ----------
    shares, tasks, domains : Tensor, shape (k,)
        Share of the batch's source rows, task loss and domain loss of each source domain.
    sharpness : float
        The paper's γ.

    """
    return (shares.log() + sharpness * (tasks - domains)).softmax(0)


@register("mdan")
class MDAN(Method):
    """DANN from several sources: a discriminator for each, and more weight on the harder ones.

    At strength 1 the gradient that reaches the encoder is that of the paper's soft bound, with each
    domain's share of the batch as its prior (in the paper the prior is uniform). At a lower
    strength, the weights of the task are interpolated between these shares (strength 0) and the
    bound's weights. Reference: Zhao et al., Adversarial Multiple Source Domain Adaptation, NeurIPS
    2018 (the soft version).

    When to use it: `X` maps the names of source domains that differ to their texts and labels.
    With one source it is DANN. Cost: as DANN, with a small discriminator for each source.
    """

    width: int
    sharpness: float
    n_domains: int = 1

    def attach(self, encoder: Encoder, n_domains: int) -> None:
        """Store the number of source domains."""
        self.n_domains = n_domains

    def build(self, features: int, classes: int) -> None:
        """Make a discriminator for each source domain."""
        self.discriminators = nn.ModuleList(
            DomainDiscriminator(features, self.width) for _ in range(self.n_domains)
        )

    def loss(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return the discriminators' losses, and what the domains' weights add to the task loss."""
        places, target = forward.source_domains, forward.target
        each = F.cross_entropy(forward.source_logits, forward.labels, reduction="none")
        if forward.batch.weights is not None:
            each = each * forward.batch.weights
        # A domain may have no rows in this batch.
        present = [i for i in range(self.n_domains) if (places == i).any()]
        rows = [torch.nonzero(places == i).flatten() for i in present]
        shares = torch.stack([(places == i).float().mean() for i in present])
        tasks = torch.stack([each[r].mean() for r in rows])
        with torch.no_grad():
            domain_losses = torch.stack(
                [
                    domain_loss(
                        self.discriminators[i](torch.cat([forward.source[r], target])), len(r)
                    )
                    for i, r in zip(present, rows, strict=True)
                ]
            )
            weights = domain_weights(shares, tasks, domain_losses, self.sharpness)
        losses, hits = [], []
        for i, r, weight in zip(present, rows, weights, strict=True):
            # The weight affects only the encoder: every discriminator learns at full strength.
            x = reverse_gradient(torch.cat([forward.source[r], target]), strength * weight.item())
            logits = self.discriminators[i](x)
            losses.append(domain_loss(logits, len(r)))
            hits.append(domain_accuracy(logits, len(r)))
            forward.metrics.setdefault(f"source_weight_{i}", weight)
        forward.metrics.setdefault("domain_accuracy", torch.stack(hits).mean())
        # The task loss is a mean that includes labelled target rows, if there are any.
        part = forward.n_source / forward.batch.n_task
        task = min(strength, 1.0) * part * ((weights - shares) * tasks).sum()
        return {"domain": torch.stack(losses).sum(), "weighing": task}

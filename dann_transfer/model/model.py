"""The classifier: an encoder and a task head, and how texts pass through them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from dann_transfer.ground.settings import INFERENCE_BATCH
from dann_transfer.model.caching import handed_on
from dann_transfer.model.encoder import Encoder
from dann_transfer.model.runtime import Runtime
from dann_transfer.texts.batches import by_length, cut
from dann_transfer.texts.tokens import Tokens


class Classifier(nn.Module):
    """An encoder and the task head on its features."""

    def __init__(self, encoder: Encoder, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (rows, width) and logits (rows, classes)."""
        features = self.encoder(input_ids, attention_mask)
        return features, self.head(features)


class MappedClassifier(nn.Module):
    """A classifier whose features pass through an affine map before the head: ``x @ A + b``."""

    matrix: Tensor
    offset: Tensor

    def __init__(self, classifier: Classifier, matrix: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.encoder, self.head = classifier.encoder, classifier.head
        self.register_buffer("matrix", matrix)
        self.register_buffer("offset", offset)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return mapped features (rows, width) and their logits (rows, classes)."""
        features = self.encoder(input_ids, attention_mask) @ self.matrix + self.offset
        return features, self.head(features)


def encode(
    encoder: Encoder,
    input_ids: Tensor,
    attention_mask: Tensor,
    states: Tensor | None,
    runtime: Runtime,
    weights: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Turn ids and mask, each (rows, length), into features (rows, width).

    Padding is at the end of a row. Where it costs as much as text, short and long rows pass
    separately; since the mask keeps padding out of the features, this changes only rounding.

    Parameters
    ----------
    encoder : Encoder
    input_ids, attention_mask : Tensor, shape (rows, length)
    states : Tensor, shape (rows, length, width), or None
        The frozen layers' output for the ids, if it was computed before.
    runtime : Runtime
    weights : mapping of str to Tensor, optional
        Parameters to use in place of the encoder's own.

    """
    run = encoder if weights is None else partial(_call_with, encoder, dict(weights))
    parts = cut(attention_mask) if runtime.spares_padding else None
    if parts is None:
        with handed_on(encoder, states):
            return run(input_ids, attention_mask)
    features = []
    for rows in parts:
        mask = attention_mask[rows]
        width = max(1, int(mask.sum(1).max()))
        with handed_on(encoder, None if states is None else states[rows, :width]):
            features.append(run(input_ids[rows, :width], mask[:, :width]))
    return torch.cat(features)[torch.cat(parts).argsort()]


def encode_batch(
    encoder: Encoder,
    input_ids: Tensor,
    attention_mask: Tensor,
    states: Tensor | None,
    runtime: Runtime,
    weights: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Do the same as `encode` for this process's share of a training batch, in parts.

    What a part needs for its gradient is recomputed during the backward pass, so that the memory is
    that of one part, although the loss is that of the whole batch.
    Reference: Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup,
    2021, whose caching of feature gradients this is, by means of torch's checkpoints.
    """

    def run(rows: Tensor | slice) -> Tensor:
        mask = attention_mask[rows]
        # A part with short texts need not be padded to the longest of the batch.
        width = mask.shape[1] if isinstance(rows, slice) else max(1, int(mask.sum(1).max()))
        part = None if states is None else states[rows, :width]
        return encode(encoder, input_ids[rows, :width], mask[:, :width], part, runtime, weights)

    return in_parts(run, attention_mask, runtime)


def in_parts(run: Callable[[Tensor | slice], Tensor], mask: Tensor, runtime: Runtime) -> Tensor:
    """Pass this process's rows of a batch in parts, and return the output for all rows.

    Parameters
    ----------
    run : callable
        Turns positions of rows into the encoder's output for these rows.
    mask : Tensor, shape (rows, length)
    runtime : Runtime

    """
    n, size = len(mask), runtime.micro_batch_size
    share = runtime.processes.share(n)
    mine = torch.arange(n, device=mask.device)[share]
    with runtime.own_draws():
        if size is None or len(mine) <= size:
            features = run(share)
        else:
            order = mask[mine].sum(1).argsort(stable=True)
            parts = [checkpoint(run, rows, use_reentrant=False) for rows in mine[order].split(size)]
            features = torch.cat(parts)[order.argsort()]
    return runtime.processes.gather(features, n)


def _call_with(encoder: Encoder, weights: dict[str, Tensor], *inputs: Tensor) -> Tensor:
    return functional_call(encoder, weights, inputs)


def infer(model: Classifier, tokens: Tokens, runtime: Runtime) -> tuple[Tensor, Tensor]:
    """Return features (n, width) and logits (n, classes) on the CPU, in the order of `tokens`."""
    n, processes = len(tokens), runtime.processes
    rows = np.arange(n)[processes.share(n)]
    parts = _infer(model, tokens if len(rows) == n else tokens.take(rows), runtime)
    features, logits = (processes.gather(part, n) for part in parts)
    return features, logits


@torch.inference_mode()
def logits_of(model: Classifier, features: Tensor, runtime: Runtime) -> Tensor:
    """Return the task head's logits (n, classes) for features (n, width), both on the CPU."""
    training = model.training
    model.eval()
    with runtime.autocast():
        logits = model.head(features.to(runtime.device)).float().cpu()
    model.train(training)
    return logits


def check_outputs(features: Tensor, logits: Tensor) -> None:
    """Raise a FloatingPointError if a model's outputs are not finite, though its weights may be."""
    if not (torch.isfinite(features).all() and torch.isfinite(logits).all()):
        raise FloatingPointError(
            "the model's features or logits are not finite, so it predicts nothing. If its "
            "training has diverged, lower learning_rate, discriminator_learning_rate or "
            "max_strength; in half precision use precision='fp32'."
        )


@torch.inference_mode()
def _infer(model: Classifier, tokens: Tokens, runtime: Runtime) -> tuple[Tensor, Tensor]:
    training = model.training
    model.eval()
    rows, features, logits = [], [], []
    with runtime.autocast():
        for index, ids, mask in by_length(tokens, INFERENCE_BATCH):
            ids, mask = ids.to(runtime.device), mask.to(runtime.device)
            x = encode(model.encoder, ids, mask, None, runtime)
            rows.append(torch.from_numpy(index))
            features.append(x.float().cpu())
            logits.append(model.head(x).float().cpu())
    model.train(training)
    back = torch.cat(rows).argsort()
    return torch.cat(features)[back], torch.cat(logits)[back]


def trainable(module: nn.Module) -> dict[str, Tensor]:
    """Copy the parameters that training changes, by name."""
    return {name: p.detach().clone() for name, p in module.named_parameters() if p.requires_grad}


@contextmanager
def weights_of(module: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Give a module other weights, and its own back at the end."""
    before = {name: p.detach().clone() for name, p in module.named_parameters() if name in weights}
    try:
        module.load_state_dict(dict(weights), strict=False)
        yield
    finally:
        module.load_state_dict(before, strict=False)

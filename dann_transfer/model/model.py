"""The classifier: an encoder and a task head, and how texts pass through them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from dann_transfer.model.caching import handed_on
from dann_transfer.model.encoder import Encoder
from dann_transfer.model.runtime import Runtime
from dann_transfer.settings import INFERENCE_BATCH
from dann_transfer.texts.batches import by_length, cut
from dann_transfer.texts.corpus import Tokens


class Classifier(nn.Module):
    """An encoder and the task head on its features."""

    def __init__(self, encoder: Encoder, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (rows, width) and logits (rows, classes)."""
        features = self.encoder(input_ids, attention_mask)
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

    Padding stands at the end of a row. Where it costs as much as text, short rows and long ones
    go through apart; the mask keeps padding out of the features, so that changes only rounding.

    Parameters
    ----------
    encoder : Encoder
    input_ids, attention_mask : Tensor, shape (rows, length)
    states : Tensor, shape (rows, length, width), or None
        What the frozen layers make of the ids, where that was computed before.
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


def _call_with(encoder: Encoder, weights: dict[str, Tensor], *inputs: Tensor) -> Tensor:
    return functional_call(encoder, weights, inputs)


@torch.inference_mode()
def infer(model: Classifier, tokens: Tokens, runtime: Runtime) -> tuple[Tensor, Tensor]:
    """Return features (n, width) and logits (n, classes) on the CPU, in the order of `tokens`."""
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
    """Give a module other weights, and its own back in the end."""
    own = {name: p.detach().clone() for name, p in module.named_parameters() if name in weights}
    try:
        module.load_state_dict(dict(weights), strict=False)
        yield
    finally:
        module.load_state_dict(own, strict=False)

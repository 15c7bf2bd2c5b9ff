"""What frozen layers make of a text, computed once instead of at every step."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from dann_transfer.batches import Tokens, by_length, pad_states
from dann_transfer.encoder import Encoder

# Above this the memory is worth more than the time.
MAX_BYTES = 2**30


class _Reached(Exception):
    def __init__(self, output: object) -> None:
        self.output = output


def frozen_states(encoder: Encoder, tokens: Tokens, max_bytes: int = MAX_BYTES) -> Tensor | None:
    """Return the token states after the last frozen layer, to pass on as ``encoder(states=...)``.

    Returns
    -------
    Tensor, shape (tokens of all texts, width), in the order of ``tokens.ids``
        Or None: no layer is frozen, the states would take more than `max_bytes`, or the encoder
        does something between its layers that would be left out.

    """
    if not encoder.frozen or len(tokens.ids) * encoder.features * 4 > max_bytes:
        return None
    training = encoder.training
    encoder.eval()
    try:
        states = _run(encoder, tokens)
        return states if states is not None and _same(encoder, tokens, states) else None
    finally:
        encoder.train(training)


@torch.no_grad()
def _run(encoder: Encoder, tokens: Tokens) -> Tensor | None:
    def stop(module: nn.Module, args: object, output: object) -> None:
        raise _Reached(output)

    flat = torch.empty(len(tokens.ids), encoder.features)
    hook = encoder.frozen[-1].register_forward_hook(stop)
    try:
        for rows, ids, mask in by_length(tokens, 64):
            try:
                encoder.token_states(ids, mask)
            except _Reached as reached:
                output = reached.output
            encoder.outputs = len(output) if isinstance(output, tuple) else 0
            hidden = output[0] if isinstance(output, tuple) else output
            if not isinstance(hidden, Tensor) or hidden.shape[2] != encoder.features:
                return None
            for row, states in zip(rows, hidden, strict=True):
                first, last = tokens.offsets[row], tokens.offsets[row + 1]
                flat[first:last] = states[: last - first]
    finally:
        hook.remove()
    return flat


@torch.no_grad()
def _same(encoder: Encoder, tokens: Tokens, states: Tensor) -> bool:
    """Tell whether the upper layers make of the states what the whole makes of the tokens."""
    rows = np.arange(min(2, len(tokens)))
    _, ids, mask = next(by_length(tokens.take(rows), len(rows)))
    order = np.argsort(-tokens.lengths[rows], kind="stable")
    parts = [states[tokens.offsets[row] : tokens.offsets[row + 1]] for row in order]
    given = pad_states(parts, mask.shape[1])
    try:
        found = encoder(ids, mask, given)
    except (RuntimeError, TypeError, ValueError, AttributeError):
        return False
    return torch.allclose(found, encoder(ids, mask), atol=1e-4)


def known_states(
    encoder: Encoder, parts: list[Tokens], device: torch.device
) -> list[Tensor] | None:
    """Return the `frozen_states` of several domains, or None where that does not pay for each.

    On a GPU moving the states takes longer than the layers do.
    """
    if device.type != "cpu":
        return None
    found = []
    for tokens in parts:
        states = frozen_states(encoder, tokens)
        if states is None:
            return None
        found.append(states)
    return found

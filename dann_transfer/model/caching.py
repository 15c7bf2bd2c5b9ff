"""What frozen layers make of a text, computed once instead of at every step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dann_transfer.model.encoder import Encoder
from dann_transfer.model.runtime import Runtime
from dann_transfer.settings import INFERENCE_BATCH
from dann_transfer.texts.batches import by_length, pad_states
from dann_transfer.texts.corpus import Tokens

# Above this the memory is worth more than the time.
MAX_BYTES = 2**30


class _Reached(Exception):
    """The last frozen layer has given its output, so the layers above it need not run."""

    def __init__(self, output: Any) -> None:
        self.output = output


@contextmanager
def handed_on(encoder: Encoder, states: Tensor | None) -> Iterator[None]:
    """Let the frozen modules of an encoder hand on `states` instead of computing them.

    Parameters
    ----------
    encoder : Encoder
    states : Tensor, shape (rows, length, width), or None
        None changes nothing.

    """
    if states is None:
        yield
        return
    frozen = encoder.frozen

    def begin(*args: Any, **kwargs: Any) -> Tensor:
        return states

    def go_on(*args: Any, **kwargs: Any) -> Any:
        hidden = args[0] if args else kwargs["hidden_states"]
        return (hidden, *[None] * (encoder.outputs - 1)) if encoder.outputs else hidden

    try:
        for module in frozen:
            # Python finds it before the method of the class, and it is gone after the pass.
            vars(module)["forward"] = begin if module is frozen[0] else go_on
        yield
    finally:
        for module in frozen:
            vars(module).pop("forward", None)


def frozen_states(encoder: Encoder, tokens: Tokens, max_bytes: int = MAX_BYTES) -> Tensor | None:
    """Return the token states after the last frozen layer, as `handed_on` takes them.

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
        states = _computed(encoder, tokens)
        return states if states is not None and _same(encoder, tokens, states) else None
    finally:
        encoder.train(training)


@torch.no_grad()
def _computed(encoder: Encoder, tokens: Tokens) -> Tensor | None:
    def stop(module: nn.Module, args: object, output: object) -> None:
        raise _Reached(output)

    flat = torch.empty(len(tokens.ids), encoder.features)
    hook = encoder.frozen[-1].register_forward_hook(stop)
    try:
        for rows, ids, mask in by_length(tokens, INFERENCE_BATCH):
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
    try:
        with handed_on(encoder, pad_states(parts, mask.shape[1])):
            features = encoder(ids, mask)
    except (RuntimeError, TypeError, ValueError, AttributeError):
        return False
    return torch.allclose(features, encoder(ids, mask), atol=1e-4)


def all_frozen_states(
    encoder: Encoder, parts: list[Tokens], runtime: Runtime
) -> list[Tensor] | None:
    """Return the `frozen_states` of several domains, or None where one of them has none.

    On a GPU moving the states takes longer than the layers do.
    """
    if runtime.device.type != "cpu":
        return None
    states = []
    for tokens in parts:
        own = frozen_states(encoder, tokens)
        if own is None:
            return None
        states.append(own)
    return states

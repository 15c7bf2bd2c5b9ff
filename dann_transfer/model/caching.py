"""The output of frozen layers for each text, computed once instead of at every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dann_transfer.ground.digests import sha256
from dann_transfer.ground.settings import INFERENCE_BATCH
from dann_transfer.model.encoder import Encoder
from dann_transfer.model.runtime import Runtime
from dann_transfer.texts.batches import by_length, pad_states
from dann_transfer.texts.tokens import Tokens

# Above this size the memory is worth more than the time.
MAX_BYTES = 2**30


class _Reached(Exception):
    """The last frozen layer has given its output, so the layers above it need not run."""

    def __init__(self, output: Any) -> None:
        self.output = output


@contextmanager
def handed_on(encoder: Encoder, states: Tensor | None) -> Iterator[None]:
    """Let the frozen modules of an encoder pass on `states` instead of computing them.

    Parameters
    ----------
    encoder : Encoder
    states : Tensor, shape (rows, length, width), or None
        None changes nothing.

    """
    if states is None:
        yield
        return
    modules = encoder.handing_on

    def replaced(first: bool, outputs: int) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            hidden = states if first else args[0] if args else kwargs["hidden_states"]
            return (hidden, *[None] * (outputs - 1)) if outputs else hidden

        return forward

    try:
        for i, (module, outputs) in enumerate(modules):
            # Python finds it before the method of the class; it is removed after the pass.
            vars(module)["forward"] = replaced(i == 0, outputs)
        yield
    finally:
        for module, _ in modules:
            vars(module).pop("forward", None)


def frozen_states(
    encoder: Encoder,
    tokens: Tokens,
    max_bytes: int = MAX_BYTES,
    shared: dict[str, Tensor] | None = None,
) -> Tensor | None:
    """Return the token states after the last frozen layer, as `handed_on` takes them.

    Parameters
    ----------
    encoder : Encoder
    tokens : Tokens
    max_bytes : int
    shared : dict, optional
        States of earlier runs, to which these are added.

    Returns
    -------
    Tensor, shape (tokens of all texts, width), in the order of ``tokens.ids``
        Or None: no layer is frozen, the states would take more than `max_bytes`, or in a trial the
        upper layers do not give the same output from them as the whole encoder does from the
        tokens.

    """
    if not encoder.frozen or len(tokens.ids) * encoder.features * 4 > max_bytes:
        return None
    training = encoder.training
    try:
        # Without padding, with padding, and a single text: all kinds of batch that there are.
        trial = tokens.take(np.argsort(tokens.lengths, kind="stable")[[0, -1]])
        # An architecture may do anything between its layers; if it raises an error, no states.
        with suppress(Exception):
            if _can_hand_on(encoder, trial):
                return _shared(encoder.eval(), tokens, max_bytes, shared)
        return None
    finally:
        encoder.train(training)


def _shared(
    encoder: Encoder, tokens: Tokens, max_bytes: int, shared: dict[str, Tensor] | None
) -> Tensor:
    """Return the states of texts, from an earlier run if one had them."""
    if shared is None or encoder.origin is None:
        return _computed(encoder, tokens)
    made_by = repr((encoder.origin, encoder.freeze_layers)).encode()
    key = sha256(made_by, tokens.ids.tobytes(), tokens.offsets.tobytes())
    if key not in shared:
        states = _computed(encoder, tokens)
        # The oldest are dropped: the next seed does not need those of this seed's source.
        while shared and sum(s.nbytes for s in shared.values()) + states.nbytes > max_bytes:
            shared.pop(next(iter(shared)))
        shared[key] = states
    return shared[key]


@torch.no_grad()
def _computed(encoder: Encoder, tokens: Tokens) -> Tensor:
    """Run the frozen part on all texts."""
    flat = torch.empty(len(tokens.ids), encoder.features)
    with _stopped_after(encoder.frozen[-1]):
        for rows, ids, mask in by_length(tokens, INFERENCE_BATCH):
            try:
                encoder.token_states(ids, mask)
            except _Reached as reached:
                output = reached.output
            hidden = _first(output)
            if hidden.shape != (*ids.shape, encoder.features):
                raise ValueError(f"the frozen part passes on states of shape {hidden.shape}.")
            for row, states in zip(rows, hidden, strict=True):
                first, last = tokens.offsets[row], tokens.offsets[row + 1]
                flat[first:last] = states[: last - first]
    return flat


@contextmanager
def _stopped_after(module: nn.Module) -> Iterator[None]:
    def stop(module: nn.Module, args: object, output: object) -> None:
        raise _Reached(output)

    hook = module.register_forward_hook(stop)
    try:
        yield
    finally:
        hook.remove()


@torch.no_grad()
def _can_hand_on(encoder: Encoder, tokens: Tokens) -> bool:
    """Find the frozen modules that can pass states on, and return whether there are any."""
    states = _computed(encoder.eval(), tokens)
    if not torch.equal(states, _computed(encoder.train(), tokens)):
        # Dropout outside the frozen modules stays active below them.
        return False
    encoder.eval()
    encoder.handing_on = _chain(encoder, tokens)
    if _same(encoder, tokens, states):
        return True
    encoder.handing_on = []
    return False


def _chain(encoder: Encoder, tokens: Tokens) -> list[tuple[nn.Module, int]]:
    """Return the chain of frozen modules, each of which takes the output of the one before it.

    Modules outside this chain, such as those that give positions to all layers, are left out.
    """
    calls: list[tuple[nn.Module, Any, Any]] = []

    def note(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        calls.append((module, args[0] if args else kwargs.get("hidden_states"), output))

    handles = [m.register_forward_hook(note, with_kwargs=True) for m in encoder.frozen]
    try:
        _, ids, mask = next(by_length(tokens, 1))
        encoder.token_states(ids, mask)
    finally:
        for handle in handles:
            handle.remove()
    chain: list[tuple[nn.Module, int]] = []
    wanted = _first(calls[-1][2])
    for module, given, output in reversed(calls):
        if _first(output) is wanted:
            chain.append((module, len(output) if isinstance(output, tuple) else 0))
            wanted = given
    return chain[::-1]


def _first(output: Any) -> Any:
    return output[0] if isinstance(output, tuple) else output


def _same(encoder: Encoder, tokens: Tokens, states: Tensor) -> bool:
    """Return whether states give the same output as the tokens they were computed from."""
    for rows in ([0, 1], [0], [1]):
        order = [rows[i] for i in np.argsort(-tokens.lengths[rows], kind="stable")]
        _, ids, mask = next(by_length(tokens.take(rows), len(rows)))
        parts = [states[tokens.offsets[row] : tokens.offsets[row + 1]] for row in order]
        with handed_on(encoder, pad_states(parts, mask.shape[1])):
            features = encoder(ids, mask)
        if not torch.allclose(features, encoder(ids, mask), atol=1e-4):
            return False
    return True


def all_frozen_states(
    encoder: Encoder,
    parts: list[Tokens],
    runtime: Runtime,
    shared: dict[str, Tensor] | None = None,
) -> list[Tensor] | None:
    """Return the `frozen_states` of several domains, or None if one of them has none.

    It is None on a GPU, where moving the states takes longer than computing them.
    """
    if runtime.device.type != "cpu":
        return None
    states = []
    for tokens in parts:
        computed = frozen_states(encoder, tokens, shared=shared)
        if computed is None:
            return None
        states.append(computed)
    return states

"""Which parts of an encoder train: its embeddings and lowest layers may be frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def _layers(model: nn.Module, n: int) -> nn.ModuleList | None:
    """Find the stack of transformer layers, whatever the architecture calls it."""
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == n:
            return module
    return None


def freeze(model: PreTrainedModel, k: int) -> list[nn.Module]:
    """Freeze the embeddings and the k lowest layers of a model, and return them; 0 freezes nothing.

    Raises
    ------
    ValueError
        If the model has fewer layers, or they cannot be found.

    """
    if not k:
        return []
    n = model.config.num_hidden_layers
    layers = _layers(model, n)
    if layers is None:
        raise ValueError(
            f"freeze_layers={k}: cannot find the layers of {type(model).__name__}; "
            "use freeze_layers=0."
        )
    if k > n:
        raise ValueError(f"freeze_layers={k}, but the encoder has {n} layers only.")
    words = model.get_input_embeddings()
    # The embeddings proper sit beside position embeddings and a norm; freeze the whole block.
    block = next(
        child for child in model.children() if any(module is words for module in child.modules())
    )
    # Where words and layers share one child (a `transformer`), only the words are set apart.
    if any(module is layers for module in block.modules()):
        block = words
    frozen = [block, *layers[:k]]
    for module in frozen:
        module.requires_grad_(False)
    return frozen

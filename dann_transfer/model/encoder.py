"""A Hugging Face encoder and pooling: token ids in, one feature vector per text out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from dann_transfer.model import loading
from dann_transfer.model.tuning import add_lora, freeze, freeze_by_size

if TYPE_CHECKING:
    from os import PathLike

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Tokenizers without a limit report an absurdly large number.
_NO_LIMIT = 1_000_000


def pool(hidden: Tensor, mask: Tensor, pooling: str, pooler_output: Tensor | None) -> Tensor:
    """Reduce hidden states (rows, length, width) to features (rows, width).

    Padding never reaches the result: ``mean`` averages over the tokens that `mask` marks.

    Examples
    --------
    >>> import torch
    >>> hidden = torch.tensor([[[1.0], [3.0], [100.0]]])
    >>> pool(hidden, torch.tensor([[1, 1, 0]]), "mean", None)
    tensor([[2.]])

    """
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "pooler":
        assert pooler_output is not None
        return pooler_output
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)


class Encoder(nn.Module):
    """A pretrained transformer with pooling, whose lowest layers may be frozen.

    Frozen layers stay in evaluation mode: without dropout they give each text the same states
    at every step.

    Parameters
    ----------
    model : PreTrainedModel
        Any Hugging Face encoder that returns ``last_hidden_state``.
    tokenizer : PreTrainedTokenizerBase
    pooling : {"mean", "cls", "pooler"}
    freeze_layers : int, optional
        0 trains everything; k > 0 keeps the embeddings and the k lowest layers as they are; None
        keeps the lower half of a model of 50 million parameters or more.
    lora : int or dict, optional
        As for `tuning.add_lora`; None trains the layers themselves.

    Raises
    ------
    ValueError
        If the model has fewer layers, or has no pooler and ``pooling="pooler"``.

    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        pooling: str = "mean",
        freeze_layers: int | None = 0,
        lora: int | dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.model, self.tokenizer, self.pooling = model, tokenizer, pooling
        self.features: int = model.config.hidden_size
        pooler = getattr(model, "pooler", None)
        if pooling == "pooler" and pooler is None:
            raise ValueError(
                f"pooling='pooler' needs a pooler, which {type(model).__name__} does not have; "
                "use pooling='mean' or 'cls'."
            )
        if pooling != "pooler" and isinstance(pooler, nn.Module):
            # It is computed but not used; if left trainable it would stall distributed training.
            pooler.requires_grad_(False)
        self.origin: tuple[str, dict[str, Any]] | None = None
        """The name and the options that the encoder was loaded with; None if it was not loaded."""
        trial = loading.trial_ids(tokenizer)
        self.freeze_layers: int
        """How many of the lowest layers stay as they are."""
        self.frozen: list[nn.Module]
        """The modules that run only below the lowest trained layer, in the order in which they run;
        empty if nothing is frozen."""
        if freeze_layers is None:
            self.freeze_layers, self.frozen = freeze_by_size(model, trial)
        else:
            self.freeze_layers, self.frozen = freeze_layers, freeze(model, freeze_layers, trial)
        if lora is not None:
            add_lora(model, lora)
            for module in self.frozen:
                # Whatever layers a configuration names.
                module.requires_grad_(False)
        self.handing_on: list[tuple[nn.Module, int]] = []
        """Those of `frozen` that can pass on precomputed states, with the length of the tuple that
        each returns; 0 means no tuple."""

    def train(self, mode: bool = True) -> Encoder:
        """Set training mode, leaving the frozen layers in evaluation mode."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Turn ids and mask, each (rows, length), into features (rows, width)."""
        out = self.model(input_ids=input_ids, attention_mask=attention_mask)
        pooled = getattr(out, "pooler_output", None)
        return pool(out.last_hidden_state, attention_mask, self.pooling, pooled)

    def token_states(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Turn ids and mask, each (rows, length), into token states (rows, length, width)."""
        out = self.model(input_ids=input_ids, attention_mask=attention_mask)
        return out.last_hidden_state

    @property
    def longest(self) -> int | None:
        """The largest number of tokens that the encoder takes, or None if it has no limit."""
        config, tokenizer = self.model.config, self.tokenizer
        positions = getattr(config, "max_position_embeddings", None)
        # RoBERTa and similar models count positions from pad_token_id + 1.
        table = getattr(getattr(self.model, "embeddings", None), "position_embeddings", None)
        padding = getattr(table, "padding_idx", None)
        if positions and padding is not None:
            positions -= padding + 1
        limits = [x for x in (positions, tokenizer.model_max_length) if x and 0 < x < _NO_LIMIT]
        return int(min(limits)) if limits else None

    @classmethod
    def from_pretrained(
        cls,
        name: str | PathLike[str],
        pooling: str = "mean",
        freeze_layers: int | None = 0,
        trust_remote_code: bool = False,
        local_files_only: bool = False,
        lora: int | dict[str, Any] | None = None,
    ) -> Encoder:
        """Load an encoder by the name of a hub model or from a folder.

        Raises
        ------
        ValueError
            If there is no such model, it has no tokenizer, weights are missing, it is not an
            encoder, or its layers cannot be frozen.

        """
        loaded = loading.load(name, pooling, trust_remote_code, local_files_only)
        encoder = cls(loaded.model, loaded.tokenizer, pooling, freeze_layers, lora)
        encoder.origin = loaded.origin
        return encoder

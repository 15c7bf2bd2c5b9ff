"""A Hugging Face encoder and pooling: token ids in, one feature vector per text out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dann_transfer.ground.notices import warn
from dann_transfer.model import loading
from dann_transfer.model.tuning import add_lora, freeze, freeze_by_size

if TYPE_CHECKING:
    from os import PathLike

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Tokenizers without a limit report an absurdly large number.
_NO_LIMIT = 1_000_000


def pool(hidden: Tensor, mask: Tensor, pooling: str, pooler_output: Tensor | None) -> Tensor:
    """Reduce hidden states (rows, length, width) to features (rows, width).

    Padding never reaches the result: ``mean`` averages over the tokens that `mask` marks, and
    ``last`` takes the last of them.

    Examples
    --------
    >>> import torch
    >>> hidden = torch.tensor([[[1.0], [3.0], [100.0]]])
    >>> pool(hidden, torch.tensor([[1, 1, 0]]), "mean", None)
    tensor([[2.]])

    """
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        # The highest position that the mask marks, on whichever side the padding is.
        positions = torch.arange(1, mask.shape[1] + 1, device=mask.device)
        last = (mask * positions).argmax(1)
        return hidden[torch.arange(len(hidden), device=hidden.device), last]
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
    pooling : {"mean", "cls", "pooler", "last"}, optional
        None is `declared`, or otherwise "mean".
    freeze_layers : int, optional
        0 trains everything; k > 0 keeps the embeddings and the k lowest layers as they are; None
        keeps the lower half of a model of 50 million parameters or more.
    lora : int or dict, optional
        As for `tuning.add_lora`; None trains the layers themselves.
    declared : str, optional
        The pooling that the model's folder declares.
    missing : tuple of str
        Names of the model's tensors that its folder lacks.
    reads_padding : bool
        Whether texts of different lengths have to pass one length at a time.

    Raises
    ------
    ValueError
        If the model has fewer layers, has no pooler and ``pooling="pooler"``, or its first token
        never sees the others and ``pooling="cls"``.

    Warns
    -----
    UserWarning
        If the folder declares another pooling, or has no weights for the pooler that is used.

    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        pooling: str | None = None,
        freeze_layers: int | None = 0,
        lora: int | dict[str, Any] | None = None,
        declared: str | None = None,
        missing: tuple[str, ...] = (),
        reads_padding: bool = False,
    ) -> None:
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        self.pooling: str = pooling or declared or "mean"
        self.reads_padding = reads_padding
        self.features: int = model.config.hidden_size
        self._check_pooling(declared, missing)
        pooler = getattr(model, "pooler", None)
        if self.pooling != "pooler" and isinstance(pooler, nn.Module):
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

    def _check_pooling(self, declared: str | None, missing: tuple[str, ...]) -> None:
        name = type(self.model).__name__
        if self.pooling == "pooler" and getattr(self.model, "pooler", None) is None:
            raise ValueError(
                f"pooling='pooler' needs a pooler, which {name} does not have; "
                "use pooling='mean' or 'cls'."
            )
        if self.pooling in ("cls", "pooler") and self._first_token_is_blind():
            raise ValueError(
                f"pooling={self.pooling!r}: in {name} a token sees only those before it, so the "
                "first token is the same for all texts that begin alike; use pooling='last' or "
                "'mean'."
            )
        if declared is not None and declared != self.pooling:
            warn(
                f"pooling={self.pooling!r} is used, but the encoder's folder declares "
                f"{declared!r}; leave pooling out to use that.",
                UserWarning,
            )
        if self.pooling == "pooler" and any(key.startswith("pooler.") for key in missing):
            warn(
                f"the encoder's folder has no weights for the pooler of its {name}, which starts "
                "at random. pooling='mean' needs none.",
                UserWarning,
            )

    @torch.no_grad()
    def _first_token_is_blind(self) -> bool:
        """Return whether what follows the first token leaves its state as it is."""
        ids = loading.trial_ids(self.tokenizer)
        # Several tokens, and others after the first.
        ids = ids[:, :1].repeat(2, 4)
        ids[1, 1:] = loading.trial_ids(self.tokenizer)[0, -1] + 1
        ids[1, 1:] %= len(self.tokenizer)
        training = self.model.training
        states = self.model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids))
        self.model.train(training)
        first, second = states.last_hidden_state[:, 0]
        return bool(torch.allclose(first, second, atol=1e-6))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Turn ids and mask, each (rows, length), into features (rows, width)."""
        hidden, pooled = self._outputs(input_ids, attention_mask)
        return pool(hidden, attention_mask, self.pooling, pooled)

    def token_states(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Turn ids and mask, each (rows, length), into token states (rows, length, width)."""
        return self._outputs(input_ids, attention_mask)[0]

    def _outputs(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return token states and what the model's pooler makes of them, if it has one."""
        if not self.reads_padding:
            out = self.model(input_ids=ids, attention_mask=mask)
            return out.last_hidden_state, getattr(out, "pooler_output", None)
        lengths = mask.sum(1)
        rows, states, pooled = [], [], []
        for length in lengths.unique().tolist():
            rows.append((lengths == length).nonzero().squeeze(1))
            part, few = ids[rows[-1], :length], mask[rows[-1], :length]
            out = self.model(input_ids=part, attention_mask=few)
            room = ids.shape[1] - length
            states.append(nn.functional.pad(out.last_hidden_state, (0, 0, 0, room)))
            pooled.append(getattr(out, "pooler_output", None))
        order = torch.cat(rows).argsort()
        whole = [p for p in pooled if p is not None]
        return torch.cat(states)[order], torch.cat(whole)[order] if whole else None

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
        pooling: str | None = None,
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
        loaded = loading.load(name, trust_remote_code, local_files_only)
        return cls.of(loaded, pooling, freeze_layers, lora)

    @classmethod
    def of(
        cls,
        loaded: loading.Loaded,
        pooling: str | None = None,
        freeze_layers: int | None = 0,
        lora: int | dict[str, Any] | None = None,
    ) -> Encoder:
        """Return the encoder of a run from what was loaded, whose model it changes.

        Raises
        ------
        ValueError
            As the class.

        """
        encoder = cls(
            loaded.model,
            loaded.tokenizer,
            pooling,
            freeze_layers,
            lora,
            loaded.pooling,
            loaded.missing,
            loaded.reads_padding,
        )
        encoder.origin = loaded.origin
        return encoder

"""A Hugging Face encoder and pooling: token ids in, one feature vector a text out."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from dann_transfer.model.tuning import freeze

if TYPE_CHECKING:
    from os import PathLike

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Tokenizers without a limit of their own report an absurdly large number.
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
    """A pretrained transformer with pooling, of which the lowest layers may be frozen.

    Frozen layers stay in evaluation mode: without dropout they give each text the same states
    at every step.

    Parameters
    ----------
    model : PreTrainedModel
        Any Hugging Face encoder that returns ``last_hidden_state``.
    tokenizer : PreTrainedTokenizerBase
    pooling : {"mean", "cls", "pooler"}
    freeze_layers : int
        0 trains everything; k > 0 keeps the embeddings and the k lowest layers as they are.

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
        freeze_layers: int = 0,
    ) -> None:
        super().__init__()
        self.model, self.tokenizer, self.pooling = model, tokenizer, pooling
        self.features: int = model.config.hidden_size
        pooler = getattr(model, "pooler", None)
        if pooling == "pooler" and pooler is None:
            raise ValueError(
                f"pooling='pooler' needs a pooler, which {type(model).__name__} has not; "
                "use pooling='mean' or 'cls'."
            )
        if pooling != "pooler" and isinstance(pooler, nn.Module):
            # It is computed but not used; left trainable it would stall distributed training.
            pooler.requires_grad_(False)
        self.origin: tuple[str, dict[str, Any]] | None = None
        """The name and the options that the encoder was loaded with; None where it was not."""
        self.frozen: list[nn.Module] = freeze(model, freeze_layers)
        """The embeddings and the frozen layers; the words alone where a model keeps its
        embeddings and layers together; empty if nothing is frozen."""
        self.outputs = 0
        """How long a tuple the layers return, as those of some models do; 0 is no tuple."""

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
        """The most tokens the encoder takes, or None where it has no limit."""
        config, tokenizer = self.model.config, self.tokenizer
        positions = getattr(config, "max_position_embeddings", None)
        # RoBERTa and its kin count positions from pad_token_id + 1.
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
        freeze_layers: int = 0,
        trust_remote_code: bool = False,
        local_files_only: bool = False,
    ) -> Encoder:
        """Load an encoder by the name of a hub model or from a folder.

        Raises
        ------
        ValueError
            If there is no such model, it has no tokenizer, or it is no encoder.

        """
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        name = str(name)
        folder = Path(name).expanduser()
        if folder.is_dir():
            if not (folder / "config.json").is_file():
                files = sorted(p.name for p in folder.iterdir())[:8]
                raise ValueError(
                    f"encoder folder {name!r} has no config.json (it holds {files}); "
                    "pass the folder that save_pretrained wrote."
                )
            _require_tokenizer(folder)
            name = str(folder)
        elif folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
            raise ValueError(f"encoder folder {name!r} does not exist; check the path.")
        options: dict[str, Any] = {
            "trust_remote_code": trust_remote_code,
            "local_files_only": local_files_only,
        }
        try:
            config = AutoConfig.from_pretrained(name, **options)
            if "/" in str(getattr(config, "_attn_implementation", "")):
                raise ValueError(
                    f"encoder {name!r} asks for attention code from a hub; "
                    "remove the entry from its config.json."
                )
            if getattr(config, "is_encoder_decoder", False):
                raise ValueError(
                    f"encoder {name!r} is an encoder-decoder ({config.model_type}); "
                    "pass an encoder such as BERT."
                )
            tokenizer = AutoTokenizer.from_pretrained(name, **options)
            with quiet_loading():
                # Weights are read from safetensors alone: a .bin file is a pickle.
                model = AutoModel.from_pretrained(name, use_safetensors=True, **options)
        except ValueError as error:
            if str(error).startswith("encoder "):
                raise
            raise ValueError(f"encoder {name!r} cannot be loaded: {error}") from error
        except Exception as error:  # the loaders raise OSError, SafetensorError, KeyError and more
            where = "" if folder.is_dir() else "no local folder has that name, and the hub gave "
            first = (str(error).splitlines() or [""])[0]
            raise ValueError(
                f"encoder {name!r} cannot be loaded: {where}{type(error).__name__}: {first} "
                "Pass a Hugging Face folder, "
                "a model name that the hub knows, or dann_transfer.datasets.encoder('minilm')."
            ) from error
        if "attention_mask" not in inspect.signature(model.forward).parameters:
            raise ValueError(f"encoder {name!r} ({type(model).__name__}) takes no attention mask.")
        encoder = cls(model.float(), tokenizer, pooling, freeze_layers)
        encoder.origin = name, options
        return encoder


def _require_tokenizer(folder: Path) -> None:
    """Raise if a folder has no tokenizer: transformers would build an empty one and go on."""
    # Character models such as CANINE have a tokenizer without a vocabulary.
    marks = ("tokenizer*", "vocab*", "*.model")
    if not any(path.is_file() for mark in marks for path in folder.glob(mark)):
        raise ValueError(
            f"encoder folder {str(folder)!r} has no tokenizer (no {', '.join(marks)}); "
            "save one beside the model with tokenizer.save_pretrained(folder)."
        )


class quiet_loading:
    """Silence the bars of loading and saving, and the report on weights left unused."""

    def __enter__(self) -> None:
        from transformers.utils import logging as hf

        self._bars = hf.is_progress_bar_enabled()
        self._level = hf.get_verbosity()
        hf.disable_progress_bar()
        hf.set_verbosity(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        from transformers.utils import logging as hf

        if self._bars:
            hf.enable_progress_bar()
        hf.set_verbosity(self._level)

"""A Hugging Face encoder and pooling: token ids in, one feature vector a text out."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from os import PathLike

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

POOLINGS = ("mean", "cls", "pooler")
# Tokenizers without a limit of their own report an absurdly large number.
_NO_LIMIT = 1_000_000
# What BERT, RoBERTa and DistilBERT call the dense layer, the norm and the bias of their heads.
_MLM_HEADS = (
    (
        "cls.predictions.transform.dense",
        "cls.predictions.transform.LayerNorm",
        "cls.predictions.bias",
    ),
    ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
    ("vocab_transform", "vocab_layer_norm", "vocab_projector.bias"),
)


def pool(hidden: Tensor, mask: Tensor, pooling: str, pooler_output: Tensor | None) -> Tensor:
    """Reduce hidden states (rows, length, width) to features (rows, width).

    Padding never reaches the result: ``mean`` averages over the tokens that `mask` marks.

    Examples
    --------
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


def cut(mask: Tensor) -> tuple[Tensor, Tensor] | None:
    """Part rows into short ones and long ones where that spares most padding.

    Parameters
    ----------
    mask : Tensor, shape (rows, length)
        1 for a token and 0 for padding, which stands at the end.

    Returns
    -------
    tuple of two Tensors of row positions, or None where it would spare less than 5 %.

    Examples
    --------
    >>> cut(torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]]))
    (tensor([1, 2]), tensor([0]))

    """
    lengths, order = mask.sum(1).sort(stable=True)
    n = torch.arange(1, len(order))
    cost = n * lengths[:-1] + (len(order) - n) * lengths[-1]
    if not len(cost) or cost.min() > 0.95 * mask.numel():
        return None
    at = int(cost.argmin()) + 1
    return order[:at], order[at:]


def _layers(model: nn.Module, n: int) -> nn.ModuleList | None:
    """Find the stack of transformer layers, whatever the architecture calls it."""
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == n:
            return module
    return None


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
        self._origin: tuple[str, dict[str, Any]] | None = None
        self.frozen: list[nn.Module] = []
        """The embeddings and the frozen layers; the words alone where a model keeps its
        embeddings and layers together; empty if nothing is frozen."""
        self.outputs = 0
        """How long a tuple the layers return, as those of some models do; 0 is no tuple."""
        if freeze_layers:
            self._freeze(freeze_layers)

    def _freeze(self, k: int) -> None:
        n = self.model.config.num_hidden_layers
        layers = _layers(self.model, n)
        if layers is None:
            raise ValueError(
                f"freeze_layers={k}: cannot find the layers of {type(self.model).__name__}; "
                "use freeze_layers=0."
            )
        if k > n:
            raise ValueError(f"freeze_layers={k}, but the encoder has {n} layers only.")
        words = self.model.get_input_embeddings()
        # The embeddings proper sit beside position embeddings and a norm; freeze the whole block.
        block = next(
            child
            for child in self.model.children()
            if any(module is words for module in child.modules())
        )
        # Where words and layers share one child (a `transformer`), only the words are set apart.
        if any(module is layers for module in block.modules()):
            block = words
        self.frozen = [block, *layers[:k]]
        for module in self.frozen:
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> Encoder:
        """Set training mode, leaving the frozen layers in evaluation mode."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, states: Tensor | None = None
    ) -> Tensor:
        """Turn ids and mask, each (rows, length), into features (rows, width).

        Padding stands at the end of a row, where there is any.
        `states`, shape (rows, length, width), are what the frozen layers make of the ids, where
        that is known already (`dann_transfer.caching`).

        On the CPU, where padding costs as much as text, short rows and long ones may go through
        apart. The mask keeps padding out of the features, so that changes rounding alone.
        """
        parts = cut(attention_mask) if input_ids.device.type == "cpu" else None
        if parts is None:
            return self._pooled(input_ids, attention_mask, states)
        features = []
        for rows in parts:
            mask = attention_mask[rows]
            width = max(1, int(mask.sum(1).max()))
            known = None if states is None else states[rows, :width]
            features.append(self._pooled(input_ids[rows, :width], mask[:, :width], known))
        return torch.cat(features)[torch.cat(parts).argsort()]

    @contextmanager
    def _handing_on(self, states: Tensor | None) -> Iterator[None]:
        """Let the frozen modules hand on `states` instead of computing them."""
        if states is None:
            yield
            return

        def begin(*args: Any, **kwargs: Any) -> Tensor:
            return states

        def go_on(*args: Any, **kwargs: Any) -> Any:
            hidden = args[0] if args else kwargs["hidden_states"]
            return (hidden, *[None] * (self.outputs - 1)) if self.outputs else hidden

        try:
            for module in self.frozen:
                # Found before the method of the class, and gone when the pass is over.
                vars(module)["forward"] = begin if module is self.frozen[0] else go_on
            yield
        finally:
            for module in self.frozen:
                vars(module).pop("forward", None)

    def _pooled(
        self, input_ids: Tensor, attention_mask: Tensor, states: Tensor | None = None
    ) -> Tensor:
        with self._handing_on(states):
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
                found = sorted(p.name for p in folder.iterdir())[:8]
                raise ValueError(
                    f"encoder folder {name!r} has no config.json (it holds {found}); "
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
        encoder._origin = name, options
        return encoder

    def mlm_head(self) -> dict[str, Tensor] | None:
        """Return the checkpoint's own head for masked words, or None where it has none.

        Keys are ``dense.weight``, ``dense.bias``, ``norm.weight``, ``norm.bias`` and ``bias``.
        """
        from transformers import AutoModelForMaskedLM

        if self._origin is None:
            return None
        name, options = self._origin
        try:
            with quiet_loading():
                model, found = AutoModelForMaskedLM.from_pretrained(
                    name, use_safetensors=True, output_loading_info=True, **options
                )
        except ValueError:  # an architecture that was never trained on masked words
            return None
        state = {k: v for k, v in model.state_dict().items() if k not in found["missing_keys"]}
        for dense, norm, bias in _MLM_HEADS:
            names = {f"dense.{x}": f"{dense}.{x}" for x in ("weight", "bias")}
            names |= {f"norm.{x}": f"{norm}.{x}" for x in ("weight", "bias")} | {"bias": bias}
            if all(key in state for key in names.values()):
                return {own: state[key].float() for own, key in names.items()}
        return None


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


def resolve_device(device: str | torch.device | None) -> torch.device:
    """Turn a device name into a torch device; None means CUDA where there is one, else the CPU.

    Raises
    ------
    ValueError
        If torch knows no such device or it is not available.

    Examples
    --------
    >>> resolve_device("cpu")
    device(type='cpu')

    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device={device!r} is not a device; use 'cpu', 'cuda' or 'cuda:0'."
        ) from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={str(found)!r}, but torch sees no CUDA GPU; use device='cpu'.")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device={str(found)!r}, but there are {torch.cuda.device_count()} GPUs.")
    return found

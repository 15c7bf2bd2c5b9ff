"""Load a Hugging Face encoder and its tokenizer, or explain why they cannot be used."""

from __future__ import annotations

import importlib.util
import inspect
import json
import logging
from collections.abc import Sequence
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from dann_transfer import datasets
from dann_transfer.ground.notices import warn
from dann_transfer.model.modules import Declared, place_of
from dann_transfer.model.modules import read as read_declared
from dann_transfer.model.tokenizer import part_of, read_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Loaded(NamedTuple):
    """What was loaded."""

    model: PreTrainedModel
    """In float32 and evaluation mode."""
    tokenizer: PreTrainedTokenizerBase
    origin: tuple[str, dict[str, Any]]
    """The name and the options that they were loaded with."""
    missing: tuple[str, ...] = ()
    """Names of tensors that the folder lacks, a pooler's, which `draw` gives values."""
    unexpected: tuple[str, ...] = ()
    """Names of tensors in the folder that the encoder does not have."""
    pooling: str | None = None
    """The pooling that the folder declares."""
    reads_padding: bool = False
    """Whether a text's states change with the padding beside it."""


def load(
    name: str | PathLike[str], trust_remote_code: bool = False, local_files_only: bool = False
) -> Loaded:
    """Load an encoder from a folder, the package index or a hub, and try texts on it.

    A name of `datasets.ENCODERS`, such as "minilm", is of the package index, unless a folder has
    that name.

    Weights are read only from safetensors, and those of a folder only from files in it.

    Raises
    ------
    ValueError
        If there is no such model, it has no tokenizer or lacks weights, or is not an encoder.

    Warns
    -----
    UserWarning
        If parts of the folder are not used.

    """
    root = _name_of(name)
    if root in datasets.ENCODERS and not Path(root).is_dir():
        root = datasets.encoder(root)
    options: dict[str, Any] = {
        "trust_remote_code": trust_remote_code,
        "local_files_only": local_files_only,
    }
    if Path(root).is_dir():
        name = str(place_of(Path(root)))
        check_folder(Path(name))
    else:
        name = root
    if part_of(name, "adapter_config.json", options) is not None:
        raise ValueError(
            f"encoder {name!r} has an adapter_config.json, from which transformers attaches an "
            "adapter to an encoder that the file names and freezes that. If the adapter is meant, "
            "merge it: PeftModel.from_pretrained(encoder, folder).merge_and_unload()"
            ".save_pretrained(new_folder). If it was left over, remove adapter_config.json."
        )
    model, tokenizer, report = _read(name, options)
    _check_complete(name, model, report)
    _check_vocabulary(name, model, tokenizer)
    _try_a_text(name, model, tokenizer)
    declared = read_declared(root, options)
    unexpected = tuple(sorted(str(key) for key in report.get("unexpected_keys", ())))
    _say_unused(name, model, unexpected, declared)
    return Loaded(
        model,
        tokenizer,
        (name, options),
        tuple(sorted(report.get("missing_keys", ()))),
        unexpected,
        declared.pooling,
        _reads_padding(name, model, tokenizer),
    )


def _name_of(name: object) -> str:
    """Return a folder that exists or a hub name as a string, or raise a ValueError."""
    if not isinstance(name, str | PathLike):
        raise ValueError(
            f"encoder must be the name of a hub model or a folder, not a {type(name).__name__}; "
            "save a model and its tokenizer with save_pretrained, and pass the folder."
        )
    text = str(name)
    # Such as a model that was turned into a string.
    if len(text) > _LONGEST_NAME or "\n" in text or "\0" in text:
        raise ValueError(
            f"encoder {text[:40]!r}... of {len(text)} characters is neither the name of a hub "
            "model nor a folder; pass one of these."
        )
    folder = Path(text).expanduser()
    if folder.is_dir():
        return str(folder)
    windows = "\\" in text or text[1:2] == ":"
    if folder.is_absolute() or windows or text.startswith((".", "~")) or text.count("/") > 1:
        raise ValueError(f"encoder folder {text!r} does not exist; check the path.")
    near = get_close_matches(text.lower(), datasets.ENCODERS, 1, 0.8)
    if near and text not in datasets.ENCODERS:
        raise ValueError(f"there is no encoder {text!r}; did you mean {near[0]!r}?")
    return text


def _read(name: str, options: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Return model, tokenizer and the loader's report on weights."""
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding

    try:
        config = AutoConfig.from_pretrained(name, **options)
        if "/" in str(getattr(config, "_attn_implementation", "")):
            raise ValueError(
                f"encoder {name!r} requests attention code from a hub; "
                "remove the entry from its config.json."
            )
        # Such as T5EncoderModel: the encoder half of an encoder-decoder.
        half = any(a.endswith("EncoderModel") for a in getattr(config, "architectures", None) or [])
        if getattr(config, "is_encoder_decoder", False) and not half:
            raise ValueError(
                f"encoder {name!r} is an encoder-decoder ({config.model_type}); "
                "pass an encoder such as BERT."
            )
        with quiet_loading():
            tokenizer = read_tokenizer(name, options)
            model, report = (AutoModelForTextEncoding if half else AutoModel).from_pretrained(
                name, use_safetensors=True, output_loading_info=True, **options, **in_float32()
            )
        return model.float(), tokenizer, report
    except ValueError as error:
        if str(error).startswith("encoder "):
            raise
        if "trust_remote_code" in str(error):
            raise ValueError(
                f"encoder {name!r} cannot be loaded: it has code of its own, which is not run. If "
                "you trust it, pass trust_remote_code=True, or --trust-remote-code to a command "
                "that uses a saved model and --set trust_remote_code=true to one that trains."
            ) from error
        raise ValueError(
            f"encoder {name!r} cannot be loaded: {error}{_hint(name, error, options)}"
        ) from error
    except Exception as error:  # the loaders raise OSError, SafetensorError, KeyError and more
        local = Path(name).is_dir()
        where = "" if local else "no local folder has that name, and the hub raised "
        raise ValueError(
            f"encoder {name!r} cannot be loaded: {where}{type(error).__name__}: "
            f"{_first_line(error)}{_hint(name, error, options)} Pass a Hugging Face folder, "
            "a model name that the hub knows, or 'minilm', which comes from the package index."
        ) from error


@torch.no_grad()
def draw(model: PreTrainedModel, missing: Sequence[str]) -> None:
    """Give tensors that a folder lacks values from torch's generator, as the model starts them."""
    for name in sorted({name.rpartition(".")[0] for name in missing}):
        module = model.get_submodule(name)
        for tensor in (*module.parameters(), *module.buffers()):
            # transformers leaves alone what it has marked as read from a file.
            vars(tensor).pop("_is_hf_initialized", None)
        model._init_weights(module)


def in_float32() -> dict[str, Any]:
    """Return the keyword with which a loader reads weights as they are, whatever a config says.

    transformers 5 reads weights in the precision that the config names, which rounds others.
    """
    import transformers

    major = int(transformers.__version__.partition(".")[0])
    return {"dtype" if major >= 5 else "torch_dtype": torch.float32}


def _hint(name: str, error: Exception, options: dict[str, Any]) -> str:
    """Return what an error of the loaders leaves unsaid about the remedy."""
    import transformers

    if "tiktoken" in str(error).lower() and importlib.util.find_spec("sentencepiece") is None:
        return " Its vocabulary is a sentencepiece model: pip install sentencepiece."
    config = part_of(name, "config.json", options)
    saved = str(_json(config).get("transformers_version", "")) if config else ""
    if is_newer(saved):
        return (
            f" It was saved with transformers {saved}, and this is {transformers.__version__}: "
            f"install {saved.partition('.')[0]} or newer."
        )
    return ""


def is_newer(saved: str) -> bool:
    """Return whether a version of transformers has a higher major number than the installed."""
    import transformers

    major = saved.partition(".")[0]
    return major.isdecimal() and int(major) > int(transformers.__version__.partition(".")[0])


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


def check_folder(folder: Path) -> None:
    """Raise a ValueError if a folder has no encoder, or names weights outside the folder."""
    if not (folder / "config.json").is_file():
        files = sorted(p.name for p in folder.iterdir())[:8]
        raise ValueError(
            f"encoder folder {str(folder)!r} has no config.json (it holds {files}); "
            "pass the folder that save_pretrained wrote."
        )
    # transformers would build an empty tokenizer and carry on. Character models such as CANINE
    # have one without a vocabulary.
    marks = ("tokenizer*", "vocab*", "*.model")
    if not any(path.is_file() for mark in marks for path in folder.glob(mark)):
        raise ValueError(
            f"encoder folder {str(folder)!r} has no tokenizer (no {', '.join(marks)}); "
            "save one beside the model with tokenizer.save_pretrained(folder)."
        )
    if (folder / "pytorch_model.bin").is_file() and not any(folder.glob("*.safetensors*")):
        raise ValueError(
            f"encoder folder {str(folder)!r} has its weights only as a pickle "
            "(pytorch_model.bin), which can run code and is not read. If you trust it, convert it "
            "once: AutoModel.from_pretrained(folder).save_pretrained(folder)."
        )
    for index in folder.glob("*.safetensors.index.json"):
        _check_index(index)
    named = _json(folder / "config.json").get("transformers_weights")
    if named is not None:
        _check_own(folder / "config.json", str(named))


def _check_index(index: Path) -> None:
    """Raise if an index of weights names a file other than a safetensors file beside it."""
    shards = _json(index).get("weight_map")
    if not isinstance(shards, dict):
        raise ValueError(f"encoder file {str(index)!r} has no weight_map; save the model again.")
    for shard in set(shards.values()):
        _check_own(index, str(shard))


def _check_own(file: Path, name: str) -> None:
    good = Path(name).name == name and name.endswith((".safetensors", ".safetensors.index.json"))
    if not good or "\\" in name or not (file.parent / name).is_file():
        raise ValueError(
            f"encoder file {str(file)!r} names the weights {name!r}; only safetensors files beside "
            "it are read."
        )


def _json(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"encoder file {str(file)!r} is damaged ({error}).") from error


def _check_complete(name: str, model: Any, report: dict[str, Any]) -> None:
    """Raise if weights were missing and made at random; only a pooler's may be."""
    missing = sorted(report.get("missing_keys", ()))
    others = [key for key in missing if not key.startswith("pooler.")]
    unlike = [str(key) for key in report.get("mismatched_keys", ())]
    if others or unlike:
        unused = sorted(report.get("unexpected_keys", ()))[:3]
        hint = f" It has {unused} and more, which the model does not know." if unused else ""
        raise ValueError(
            f"encoder {name!r} lacks weights for {len(others) + len(unlike)} of "
            f"{len(model.state_dict())} tensors of a {type(model).__name__}, such as "
            f"{(others + unlike)[:3]}; they would be random.{hint} Save the encoder again with "
            "save_pretrained, and its weights under the names that the model uses."
        )


def _say_unused(name: str, model: Any, unexpected: tuple[str, ...], declared: Declared) -> None:
    """Warn of parts of a folder that change its outputs elsewhere and are not used here."""
    unused = list(declared.unused)
    # A head for masked words is no part of an encoder, nor is its loss a loss for the user.
    tasks = [
        kind
        for kind in getattr(model.config, "architectures", None) or []
        if "For" in kind and not kind.endswith(_PRETRAINING)
    ]
    if unexpected and tasks:
        unused.insert(0, f"the head of its {tasks[0]} ({', '.join(unexpected[:3])})")
    if unused:
        warn(
            f"encoder {name!r}: only the encoder is used, and not {', nor '.join(unused)}.",
            UserWarning,
        )


def _check_vocabulary(name: str, model: Any, tokenizer: Any) -> None:
    """Raise if the tokenizer has tokens that the model has no embedding for."""
    try:
        rows = getattr(model.get_input_embeddings(), "num_embeddings", None)
    except NotImplementedError:
        return
    if rows is None:
        return
    highest = max(tokenizer.get_vocab().values(), default=0)
    if highest >= rows:
        raise ValueError(
            f"encoder {name!r}: its tokenizer gives ids up to {highest}, but the model has "
            f"{rows} embeddings. Save the tokenizer that the model was trained with, or call "
            "model.resize_token_embeddings(len(tokenizer)) and save the model."
        )


_PRETRAINING = ("ForMaskedLM", "ForPreTraining", "ForCausalLM", "ForConditionalGeneration")
"""Endings of architectures whose heads predict words."""
_LONGEST_NAME = 4096
"""More characters than a path or a hub name has."""
_PADDING = 20
"""How many tokens of padding a text has in a trial, or some more."""
_TOLERANCE = 2e-4
"""How much of the largest state a rounding error may be."""


@torch.no_grad()
def _try_a_text(name: str, model: Any, tokenizer: Any) -> None:
    """Raise if the encoder does not turn a text into states, one per token."""
    if "attention_mask" not in inspect.signature(model.forward).parameters:
        raise ValueError(f"encoder {name!r} ({type(model).__name__}) takes no attention mask.")
    ids = trial_ids(tokenizer)
    # An empty text is one token where the tokenizer adds none.
    for trial in (ids, ids[:, :1]):
        try:
            states = _states(model, trial, torch.ones_like(trial))
            right = (*trial.shape, model.config.hidden_size)
        except Exception as error:
            raise ValueError(
                f"encoder {name!r} ({type(model).__name__}) cannot read a text of "
                f"{trial.shape[1]} tokens: {type(error).__name__}: {_first_line(error)}"
            ) from error
        if states.shape != right:
            raise ValueError(
                f"encoder {name!r} ({type(model).__name__}) returns states of shape "
                f"{tuple(states.shape)} for {trial.shape[1]} tokens, not {right}; "
                "pass an encoder such as BERT."
            )
        if not torch.isfinite(states).all():
            raise ValueError(
                f"encoder {name!r} ({type(model).__name__}) returns states that are not finite; "
                "its weights are damaged."
            )


def _states(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    states: torch.Tensor = model(input_ids=ids, attention_mask=mask).last_hidden_state
    return states


@torch.no_grad()
def _reads_padding(name: str, model: Any, tokenizer: Any) -> bool:
    """Return whether a text has other states beside a longer one, with padding, than alone.

    Raises
    ------
    ValueError
        If a text has other states each time, or the model cannot read texts of unequal length.

    """
    short = trial_ids(tokenizer)
    n, pad_id = short.shape[1], tokenizer.pad_token_id or 0
    alone = _states(model, short, torch.ones_like(short))
    least = _TOLERANCE * float(alone.abs().max())
    if not torch.allclose(alone, _states(model, short, torch.ones_like(short)), 0, least):
        raise ValueError(
            f"encoder {name!r} ({type(model).__name__}) gives a text other states each time that "
            "it reads it; pass an encoder such as BERT."
        )
    longer = short.repeat(1, 1 + _PADDING // n)
    ids = torch.full((2, longer.shape[1]), pad_id)
    ids[0, :n], ids[1] = short, longer
    mask = torch.zeros_like(ids)
    mask[0, :n], mask[1] = 1, 1
    try:
        padded = _states(model, ids, mask)[:1, :n]
    except Exception as error:
        raise ValueError(
            f"encoder {name!r} ({type(model).__name__}) cannot read texts of {n} and "
            f"{longer.shape[1]} tokens together: {type(error).__name__}: {_first_line(error)}"
        ) from error
    return not torch.allclose(alone, padded, 0, least)


def trial_ids(tokenizer: Any) -> torch.Tensor:
    """Return the ids of a short text, shape (1, length)."""
    return torch.tensor([tokenizer(["a text"])["input_ids"][0] or [0]])


class quiet_loading:
    """Silence the progress bars of loading and saving, and the report on unused weights."""

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

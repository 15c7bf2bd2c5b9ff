"""Load a Hugging Face encoder and its tokenizer, or explain why they cannot be used."""

from __future__ import annotations

import importlib.util
import inspect
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from dann_transfer.ground.notices import warn
from dann_transfer.model.tokenizer import part_of, read_tokenizer

if TYPE_CHECKING:
    from os import PathLike

    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Loaded(NamedTuple):
    """What was loaded."""

    model: PreTrainedModel
    """In float32 and evaluation mode."""
    tokenizer: PreTrainedTokenizerBase
    origin: tuple[str, dict[str, Any]]
    """The name and the options that they were loaded with."""


def load(
    name: str | PathLike[str],
    pooling: str = "mean",
    trust_remote_code: bool = False,
    local_files_only: bool = False,
) -> Loaded:
    """Load an encoder by the name of a hub model or from a folder, and try one text on it.

    Weights are read only from safetensors, and those of a folder only from files in it.

    Raises
    ------
    ValueError
        If there is no such model, it has no tokenizer or lacks weights, or is not an encoder.

    """
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding

    name = str(name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        check_folder(folder)
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
                name, use_safetensors=True, output_loading_info=True, **options
            )
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
        where = "" if folder.is_dir() else "no local folder has that name, and the hub raised "
        raise ValueError(
            f"encoder {name!r} cannot be loaded: {where}{type(error).__name__}: "
            f"{_first_line(error)}{_hint(name, error, options)} Pass a Hugging Face folder, "
            "a model name that the hub knows, or dann_transfer.datasets.encoder('minilm')."
        ) from error
    _check_complete(name, model, report, pooling)
    _check_vocabulary(name, model, tokenizer)
    _try_a_text(name, model, tokenizer)
    return Loaded(model.float(), tokenizer, (name, options))


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
    except (ValueError, TypeError) as error:
        raise ValueError(f"encoder file {str(file)!r} is damaged ({error}).") from error


def _check_complete(name: str, model: Any, report: dict[str, Any], pooling: str) -> None:
    """Raise if weights were missing and made at random; only a pooler's may be."""
    missing = sorted(report.get("missing_keys", ()))
    pooler = [key for key in missing if key.startswith("pooler.")]
    others = [key for key in missing if key not in set(pooler)]
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
    if pooler and pooling == "pooler":
        warn(
            f"encoder {name!r} has no weights for its pooler, which starts at random. "
            "pooling='mean' needs none.",
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


@torch.no_grad()
def _try_a_text(name: str, model: Any, tokenizer: Any) -> None:
    """Raise if the encoder does not turn a text into states, one per token."""
    if "attention_mask" not in inspect.signature(model.forward).parameters:
        raise ValueError(f"encoder {name!r} ({type(model).__name__}) takes no attention mask.")
    ids = trial_ids(tokenizer)
    try:
        states = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        right = (*ids.shape, model.config.hidden_size)
    except Exception as error:
        raise ValueError(
            f"encoder {name!r} ({type(model).__name__}) cannot read a text: "
            f"{type(error).__name__}: {_first_line(error)}"
        ) from error
    if states.shape != right:
        raise ValueError(
            f"encoder {name!r} ({type(model).__name__}) returns states of shape "
            f"{tuple(states.shape)} for {ids.shape[1]} tokens, not {right}; "
            "pass an encoder such as BERT."
        )


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

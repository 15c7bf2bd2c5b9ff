"""The list of modules that sentence-transformers keeps in an encoder's folder: read and written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from safetensors.torch import save_file
from torch import nn

from dann_transfer.model.tokenizer import part_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_POOLINGS = {"mean": "mean", "cls": "cls", "lasttoken": "last"}
"""The poolings that both libraries have, by sentence-transformers' name."""
_NO_ENCODER = {
    "StaticEmbedding": "static embeddings, without an encoder",
    "WordEmbeddings": "static embeddings, without an encoder",
    "BoW": "bags of words, without an encoder",
    "Router": "several encoders behind a router",
    "Asym": "several encoders behind a router",
    "CLIPModel": "an encoder of pictures and texts",
}
_POOLER = "2_Pooler"
"""The folder of a pooler, which sentence-transformers reads as a dense layer."""


class Declared(NamedTuple):
    """What an encoder's folder says about the modules after the encoder."""

    pooling: str | None = None
    """The pooling, by this package's name, or None if the folder declares none that it has."""
    unused: tuple[str, ...] = ()
    """What the folder has that is not used, in words."""


def place_of(folder: Path) -> Path:
    """Return where in a folder the encoder lies, which older sentence-transformers put deeper.

    Raises
    ------
    ValueError
        If the folder holds a model that has no encoder of its own.

    """
    _refuse_static(folder)
    if (folder / "config.json").is_file():
        return folder
    paths = [
        str(module.get("path", ""))
        for module in _modules(folder / "modules.json")
        if _kind(module) == "Transformer"
    ]
    for path in (*paths, "0_Transformer"):
        # Nothing outside the folder is read.
        if path and Path(path).name == path and (folder / path / "config.json").is_file():
            return folder / path
    return folder


def _refuse_static(folder: Path) -> None:
    kinds = [_kind(module) for module in _modules(folder / "modules.json")]
    kinds += ["Router"] if (folder / "router_config.json").is_file() else []
    config = _json(folder / "config.json")
    static = config.get("model_type") == "model2vec" or "StaticModel" in (
        config.get("architectures") or []
    )
    kinds += ["StaticEmbedding"] if static else []
    for kind in kinds:
        if kind in _NO_ENCODER:
            raise ValueError(
                f"encoder folder {str(folder)!r} holds {_NO_ENCODER[kind]} ({kind}); "
                "pass an encoder such as BERT."
            )


def read(name: str, options: dict[str, Any]) -> Declared:
    """Return what a folder or hub model declares beside its encoder."""
    modules = _modules(part_of(name, "modules.json", options))
    if not modules:
        return Declared()
    pooling, unused = None, []
    for module in modules:
        kind, path = _kind(module), str(module.get("path", ""))
        if kind == "Pooling":
            modes = _modes(_json(part_of(name, f"{path}/config.json", options)))
            pooling = _POOLINGS.get(modes[0]) if len(modes) == 1 else None
            if pooling is None:
                unused.append(f"its pooling {'+'.join(modes)!r}, which this package does not have")
        elif kind == "Dense" and path == _POOLER:
            pooling = "pooler"
        elif kind not in ("Transformer", "Dropout"):
            unused.append(f"its {kind} module")
    prompts = _json(part_of(name, "config_sentence_transformers.json", options)).get("prompts")
    if isinstance(prompts, dict) and any(prompts.values()):
        texts = sorted(str(prompt) for prompt in prompts.values() if prompt)
        unused.append(f"its prompts, such as {texts[0]!r}, which you may put before your texts")
    return Declared(pooling, tuple(unused))


def _modes(config: dict[str, Any]) -> list[str]:
    """Return the poolings of a configuration, of which releases before 5.4 had one key each."""
    mode = config.get("pooling_mode")
    if mode is not None:
        return [mode] if isinstance(mode, str) else [str(m) for m in mode]
    start = "pooling_mode_"
    names = [k.removeprefix(start) for k, v in config.items() if k.startswith(start) and v is True]
    return [n.removesuffix("_tokens").removesuffix("_token") for n in names] or ["mean"]


def _modules(file: Path | None) -> list[dict[str, Any]]:
    modules = _parsed(file)
    return [m for m in modules if isinstance(m, dict)] if isinstance(modules, list) else []


def _kind(module: dict[str, Any]) -> str:
    return str(module.get("type", "")).rpartition(".")[2]


def _json(file: Path | None) -> dict[str, Any]:
    content = _parsed(file)
    return content if isinstance(content, dict) else {}


def _parsed(file: Path | None) -> Any:
    if file is None or not file.is_file():
        return None
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"encoder file {str(file)!r} is damaged ({error}).") from error


def write(model: PreTrainedModel, pooling: str, max_length: int, folder: Path) -> bool:
    """Write the list of modules beside a saved encoder, and return whether it could be.

    A pooler of a dense layer and tanh after the first token, such as BERT's, is written as these
    two. Another kind of pooler has no counterpart, and nothing is written.

    Parameters
    ----------
    model : PreTrainedModel
    pooling : {"mean", "cls", "pooler", "last"}
    max_length : int
        The number of tokens that texts were cut to.
    folder : Path

    """
    name = {ours: theirs for theirs, ours in _POOLINGS.items()}.get(pooling, "cls")
    package = "sentence_transformers.models."
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    if pooling == "pooler":
        dense = getattr(model.pooler, "dense", None)
        if not isinstance(dense, nn.Linear) or not _is_tanh(model.pooler):
            return False
        modules.append((_POOLER, "Dense"))
        (folder / _POOLER).mkdir()
        weights = {f"linear.{k}": v.detach().cpu() for k, v in dense.state_dict().items()}
        save_file(weights, folder / _POOLER / "model.safetensors")
        config = {
            "in_features": dense.in_features,
            "out_features": dense.out_features,
            "bias": dense.bias is not None,
            "activation_function": "torch.nn.modules.activation.Tanh",
        }
        _write(folder / _POOLER / "config.json", config)
    (folder / "1_Pooling").mkdir()
    keys = {"cls": "cls_token", "mean": "mean_tokens", "lasttoken": "lasttoken"}
    modes = {f"pooling_mode_{key}": mode == name for mode, key in keys.items()}
    width = {"word_embedding_dimension": model.config.hidden_size}
    _write(folder / "1_Pooling" / "config.json", width | modes)
    length = {"max_seq_length": max_length, "do_lower_case": False}
    _write(folder / "sentence_bert_config.json", length)
    _write(
        folder / "modules.json",
        [
            {"idx": i, "name": str(i), "path": path, "type": package + kind}
            for i, (path, kind) in enumerate(modules)
        ],
    )
    return True


def _is_tanh(pooler: nn.Module) -> bool:
    """Return whether a pooler's only other part is tanh."""
    others = [child for name, child in pooler.named_children() if name != "dense"]
    return len(others) == 1 and isinstance(others[0], nn.Tanh)


def _write(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=2), encoding="utf-8")

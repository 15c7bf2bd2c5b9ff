"""Save an adapter as a Hugging Face folder with the heads beside it, and read it back.

Everything is JSON or safetensors: no pickle is written or read. A saved folder is checked file
by file against the checksums written with it, which finds damage; that an untrusted folder
cannot run code rests on the formats alone.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.torch import load_file, save_file

from dann_transfer import methods
from dann_transfer._version import __version__
from dann_transfer.encoder import Encoder, quiet_loading, resolve_device
from dann_transfer.heads import TaskHead
from dann_transfer.settings import check_params

if TYPE_CHECKING:
    from dann_transfer.adapter import DomainAdapter

CONFIG, HEADS, CARD = "adapter.json", "heads.safetensors", "README.md"
FORMAT = 1


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(config: dict[str, Any]) -> str:
    # Through JSON and back, so that what is digested now is what will be read later.
    body = json.loads(json.dumps({k: v for k, v in config.items() if k != "digest"}))
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def check_destination(folder: str | PathLike[str]) -> Path:
    """Return the folder as a path if `save` may write it.

    Raises
    ------
    ValueError
        If something that is no saved adapter is there; it is left alone.
    OSError
        If the folder above it cannot be made or written.

    """
    path = Path(folder).expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise ValueError(f"{str(path)!r} is a file; name a folder to save to.")
    if path.is_dir():
        ours = {CONFIG, CARD, *_files_of(path)}
        held = sorted({str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()} - ours)
        if held:
            raise ValueError(
                f"{str(path)!r} holds something other than a saved adapter ({held[:5]}), which "
                "saving would replace; name another folder."
            )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise type(error)(
            error.errno, f"cannot write to {str(path.parent)!r} ({error.strerror}); name another"
        ) from error
    return path


def _files_of(folder: Path) -> list[str]:
    """Return the files that an adapter saved in `folder` is made of; none if there is none."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        return list(config["files"]) if config["format"] else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def save(adapter: DomainAdapter, folder: str | PathLike[str]) -> None:
    """Write a fitted adapter to a folder, whole or not at all."""
    path = check_destination(folder)
    work = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        work.chmod(0o755)
        _write(adapter, work)
        old = None
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}-old-", dir=path.parent)) / path.name
            path.rename(old)
        try:
            work.rename(path)
        except OSError:
            if old is not None:
                old.rename(path)
            raise
        if old is not None:
            shutil.rmtree(old.parent, ignore_errors=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _write(adapter: DomainAdapter, folder: Path) -> None:
    model = adapter._model
    encoder = adapter.encoder_
    with quiet_loading():
        encoder.model.save_pretrained(folder)
    encoder.tokenizer.save_pretrained(folder)
    heads = {f"head.{k}": v for k, v in model.head.state_dict().items()}
    heads |= {f"method.{k}": v for k, v in model.method.state_dict().items()}
    heads |= model.unread
    save_file({k: v.detach().cpu().contiguous() for k, v in heads.items()}, folder / HEADS)
    # A grid over a numpy range sets numpy numbers, which JSON does not know.
    params = {
        key: value.item() if isinstance(value, np.generic) else value
        for key, value in adapter.get_params(deep=False).items()
    }
    params |= {
        "encoder": str(adapter.encoder),
        "random_state": adapter.seed_,
        "checkpoint_dir": None,
        "trust_remote_code": False,
        "device": None,
    }
    if isinstance(adapter.class_weight, dict):
        # As pairs, because the keys of a JSON object are strings.
        params["class_weight"] = list(adapter.class_weight.items())
    shares = adapter.target_shares_
    config: dict[str, Any] = {
        "format": FORMAT,
        "dann_transfer": __version__,
        "params": params,
        "classes": adapter.classes_.tolist(),
        "seed": adapter.seed_,
        "max_strength": adapter.max_strength_,
        "n_source": adapter.n_source_,
        "n_target": adapter.n_target_,
        "source_domains": adapter.source_domains_,
        "truncated": adapter.truncated_,
        "source_prior": adapter.source_prior_.tolist(),
        "target_prior": {name: prior.tolist() for name, prior in adapter.target_prior_.items()},
        "target_shares": None if shares is None else list(shares.values()),
        "validation": adapter.validation_,
        "history": adapter.history_,
    }
    try:
        json.dumps(config)
    except TypeError as error:
        raise TypeError(f"the parameters cannot be saved: {error}: {params!r}.") from error
    (folder / CARD).write_text(_card(adapter), encoding="utf-8")
    config["files"] = {
        str(p.relative_to(folder)): _sha256(p)
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != CARD
    }
    config["digest"] = _digest(config)
    (folder / CONFIG).write_text(json.dumps(config), encoding="utf-8")


def _card(adapter: DomainAdapter) -> str:
    classes = ", ".join(f"`{c!r}`" for c in adapter.classes_.tolist())
    score = (
        f"{adapter.validation_[-1]['validation_accuracy']:.3f}"
        if adapter.validation_
        else "not taken"
    )
    return f"""---
library_name: dann_transfer
pipeline_tag: text-classification
tags: [domain-adaptation, {adapter.method}]
---
# A text classifier adapted to another domain

Trained by dann_transfer {__version__} with method `{adapter.method}` on {adapter.n_source_:,}
labelled source texts and {adapter.n_target_:,} unlabelled target texts, from the encoder
`{adapter.encoder}`.
Classes: {classes}. Last validation accuracy, on source texts: {score}. How it does on the
target was not measured in training: measure it, beside a model trained
with `method="source_only"`.

```python
from dann_transfer import DomainAdapter

adapter = DomainAdapter.from_pretrained("path/to/this/folder")
adapter.predict(["some text"])
```

`AutoModel.from_pretrained` opens the encoder alone.
"""


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise ValueError(f"{str(path)!r} is not a folder; pass the one save_pretrained wrote.")
    file = path / CONFIG
    if not file.is_file():
        raise ValueError(
            f"{str(path)!r} has no {CONFIG}: it is no saved adapter, or a part of one."
        )
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        intact = config["format"] == FORMAT and config["digest"] == _digest(config)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{str(file)!r} is damaged ({error}); save the model again.") from error
    if not intact:
        raise ValueError(
            f"{str(file)!r} was changed since it was saved, or has another format than {FORMAT}; "
            "save the model again."
        )
    return dict(config)


def _check_files(path: Path, files: dict[str, str]) -> None:
    for name, digest in files.items():
        if not (path / name).is_file():
            raise ValueError(f"{str(path / name)!r} is missing; save or copy the model again.")
        if _sha256(path / name) != digest:
            raise ValueError(
                f"{str(path / name)!r} is damaged or was changed since it was saved; "
                "save or copy the model again."
            )
    # A loader may pick up a file that the checksums do not cover.
    known = {*files, CONFIG}
    for found in path.rglob("*"):
        name = str(found.relative_to(path))
        if (
            found.is_file()
            and name not in known
            and not name.startswith(".")
            and found.suffix != ".md"
        ):
            raise ValueError(f"{str(found)!r} does not belong to the saved model; remove it.")


def load(
    cls: type[DomainAdapter],
    folder: str | PathLike[str],
    device: str | None = None,
    trust_remote_code: bool = False,
) -> DomainAdapter:
    """Read a folder that `save` wrote."""
    from dann_transfer import engine

    path = Path(folder).expanduser()
    config = _read_config(path)
    _check_files(path, config["files"])
    params = config["params"]
    unknown = sorted(set(params) - set(cls._get_param_names()))
    if unknown:
        raise ValueError(
            f"{str(path / CONFIG)!r} has unknown parameters {unknown}; update dann_transfer."
        )
    if isinstance(params["class_weight"], list):
        params["class_weight"] = dict(params["class_weight"])
    # What a stranger's folder says of code and paths is not taken over.
    asked = {"device": device, "trust_remote_code": trust_remote_code, "checkpoint_dir": None}
    adapter = cls(**{**params, **asked})
    check_params(adapter.get_params(deep=False))
    encoder = Encoder.from_pretrained(
        path, adapter.pooling, adapter.freeze_layers, trust_remote_code, local_files_only=True
    )
    # Of Python's types JSON keeps str, int, float and bool apart, so the labels keep theirs.
    classes = np.asarray(config["classes"])
    # A model predicts without its method, so one trained by a method unknown here still loads.
    try:
        method, known = methods.create(adapter.method, adapter.method_options), True
    except ValueError:
        method, known = methods.create("source_only"), False
    method.attach(encoder, max(1, len(config.get("source_domains", []))))
    method.build(encoder.features, len(classes))
    head = TaskHead(encoder.features, len(classes))
    tensors = load_file(path / HEADS)
    parts = {"head.": head, **({"method.": method} if known else {})}
    for prefix, module in parts.items():
        state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"{str(path / HEADS)!r} does not fit {CONFIG}: {error}") from error
    model = engine.AdaptationModel(encoder, head, method).to(resolve_device(device)).eval()
    # Kept, so that saving again loses nothing.
    model.unread = {k: v for k, v in tensors.items() if not k.startswith(tuple(parts))}
    adapter._fitted(model, classes, config["seed"], config["max_strength"])
    adapter.n_source_, adapter.n_target_ = config["n_source"], config["n_target"]
    adapter.source_domains_ = config.get("source_domains", [])
    shares = config["target_shares"]
    adapter.target_shares_ = shares and dict(zip(classes.tolist(), shares, strict=True))
    adapter.truncated_ = config["truncated"]
    adapter.source_prior_ = np.asarray(config["source_prior"])
    adapter.target_prior_ = {name: np.asarray(p) for name, p in config["target_prior"].items()}
    adapter.history_, adapter.validation_ = config["history"], config["validation"]
    return adapter

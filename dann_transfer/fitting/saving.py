"""Save an adapter as a Hugging Face folder with the heads beside it, and read it back.

Everything is JSON or safetensors: no pickle is written or read. A saved folder is checked file
by file against the checksums written with it, which detects damage. Only the formats ensure that
an untrusted folder cannot run code.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dann_transfer._version import __version__
from dann_transfer.fitting.fitted import Fitted
from dann_transfer.fitting.folder import (
    CARD,
    CONFIG,
    FORMAT,
    HEADS,
    ON_HUB,
    check_destination,
    digest_of_config,
    files_of,
    read_config,
)
from dann_transfer.ground.digests import sha256_of_file
from dann_transfer.ground.folders import exchange, workplace
from dann_transfer.ground.notices import is_first, warn
from dann_transfer.ground.settings import check_params, public_name
from dann_transfer.judging.alignment import AffineMap
from dann_transfer.judging.neighbors import Neighborhood
from dann_transfer.judging.novelty import Novelty
from dann_transfer.knowledge import KnowledgeWarning
from dann_transfer.knowledge.weighted import Weighted
from dann_transfer.model import loading, modules
from dann_transfer.model.encoder import Encoder
from dann_transfer.model.heads import task_head
from dann_transfer.model.loading import is_newer, quiet_loading
from dann_transfer.model.model import Classifier
from dann_transfer.model.runtime import resolve_device
from dann_transfer.model.tokenizer import check_record, record

KNOWLEDGE = "knowledge.json"
MAX_LENGTH = 1_000_000
"""Of a saved model whose encoder has no limit of its own."""
_MISFITS = (
    LookupError, TypeError, AttributeError, ArithmeticError, AssertionError, RecursionError,
    SafetensorError,
)  # fmt: skip
"""What Python and safetensors raise for content that nobody saved."""
TRIES = 20
"""How often to try to read a folder that keeps being replaced."""


@dataclass(frozen=True)
class Saved:
    """What a saved folder holds."""

    params: dict[str, Any]
    """The adapter's hyperparameters."""
    fitted: Fitted
    model: Classifier
    method_weights: dict[str, Tensor]
    """The method's own parameters; the method itself is needed neither to save nor to load."""
    neighborhood: Neighborhood | None = None
    alignment: AffineMap | None = None
    knowledge: Weighted | None = None
    novelty: Novelty | None = None


def save(saved: Saved, folder: str | PathLike[str]) -> None:
    """Write a fitted adapter to a folder, whole or not at all, from the first process only.

    Raises
    ------
    ValueError
        As `check_destination`.
    OSError
        If it cannot be written; the folder is then left as it was.

    """
    if not is_first():
        return
    path = check_destination(folder)
    saved = _with_data_alone(saved)
    try:
        with workplace(path) as work:
            _write(saved, work)
            # Writing takes a while, during which somebody may have put something there.
            check_destination(path)
            exchange(work, path)
    # safetensors turns a file error into an exception of its own.
    except (OSError, SafetensorError) as error:
        size = sum(p.numel() * p.element_size() for p in saved.model.parameters())
        raise OSError(
            f"the model cannot be saved to {str(path)!r} ({error}); nothing there was changed. "
            f"About {size / 1e6:,.0f} MB are needed: make room, or save to another folder."
        ) from error


def _with_data_alone(saved: Saved) -> Saved:
    """Return what can be saved, without knowledge that is code if predictions do not need it."""
    why = "" if saved.knowledge is None else saved.knowledge.unsaved()
    if not why:
        return saved
    if saved.params["use_knowledge"]:
        raise ValueError(
            f"{why}, so predictions with use_knowledge=True cannot be saved; set "
            "use_knowledge=False, or fit with regular expressions."
        )
    warn(f"{why}: the saved model is without its knowledge.", KnowledgeWarning)
    return replace(saved, knowledge=None)


def _write(saved: Saved, folder: Path) -> None:
    encoder = saved.model.encoder
    with quiet_loading():
        encoder.model.save_pretrained(folder)
    encoder.tokenizer.save_pretrained(folder)
    length = min(int(saved.params["max_length"]), encoder.longest or MAX_LENGTH)
    if not modules.write(encoder.model, encoder.pooling, length, folder):
        warn(
            f"sentence-transformers has no pooler such as that of {type(encoder.model).__name__}: "
            "opened there, the saved folder gives means of token states.",
            UserWarning,
        )
    heads = {f"head.{k}": v for k, v in saved.model.head.state_dict().items()}
    heads |= {f"method.{k}": v for k, v in saved.method_weights.items()}
    for part in ("neighborhood", "alignment", "novelty"):
        if (kept := getattr(saved, part)) is not None:
            for name, array in vars(kept).items():
                heads[f"{part}.{name}"] = torch.from_numpy(array)
    if saved.knowledge is not None:
        values, arrays = saved.knowledge.state()
        (folder / KNOWLEDGE).write_text(json.dumps(values), encoding="utf-8")
        heads |= {f"knowledge.{name}": torch.from_numpy(array) for name, array in arrays.items()}
    save_file({k: v.detach().cpu().contiguous() for k, v in heads.items()}, folder / HEADS)
    config: dict[str, Any] = {
        "format": FORMAT,
        "dann_transfer": __version__,
        "params": _json_params(saved),
        "tokenizer": record(encoder.tokenizer),
        **saved.fitted.to_json(),
    }
    try:
        json.dumps(config)
    except TypeError as error:
        params = config["params"]
        raise TypeError(f"the parameters cannot be saved: {error}: {params!r}.") from error
    (folder / CARD).write_text(_card(saved), encoding="utf-8")
    config["files"] = {
        str(p.relative_to(folder)): sha256_of_file(p)
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != CARD
    }
    config["digest"] = digest_of_config(config)
    (folder / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    # safetensors makes its files unreadable to others; those that Python writes follow the umask.
    mode = (folder / CONFIG).stat().st_mode
    for file in folder.rglob("*"):
        if file.is_file():
            file.chmod(mode)
            with file.open("rb") as handle:
                os.fsync(handle.fileno())


def _json_params(saved: Saved) -> dict[str, Any]:
    params = dict(saved.params)
    if isinstance(params["class_weight"], dict):
        # As pairs, because the keys of a JSON object are strings.
        params["class_weight"] = list(params["class_weight"].items())
    return params | {
        "encoder": public_name(params["encoder"]),
        "random_state": saved.fitted.seed,
        "checkpoint_dir": None,
        "trust_remote_code": False,
        "device": None,
    }


def _card(saved: Saved) -> str:
    from huggingface_hub import ModelCardData
    from jinja2 import Environment, PackageLoader, StrictUndefined

    method = str(saved.params["method"])
    tags = ["domain-adaptation", *method.split("+")]
    # StrictUndefined: a name that the template misspells is an error, and not an empty place.
    environment = Environment(
        loader=PackageLoader("dann_transfer", "fitting"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template("card.md.jinja").render(
        data=ModelCardData(library_name="dann_transfer", tags=tags).to_yaml(),
        version=__version__,
        method=method,
        encoder=public_name(saved.params["encoder"]),
        fitted=saved.fitted,
        align=saved.params.get("align"),
        aligned=saved.alignment is not None,
        ordered=(order := saved.fitted.order) is not None,
        classes=[f"`{n!r}`" for n in (saved.fitted.classes if order is None else order).tolist()],
    )


def digest_of(folder: str | PathLike[str]) -> str:
    """Return what tells the model saved in a folder, or on the hub, from every other.

    Raises
    ------
    ValueError
        If there is no saved model, or its configuration is damaged.

    """
    return str(read_config(located(folder))["digest"])


def _check_files(path: Path, files: dict[str, str]) -> None:
    for name, digest in files.items():
        if not (path / name).is_file():
            raise ValueError(f"{str(path / name)!r} is missing; save or copy the model again.")
        if sha256_of_file(path / name) != digest:
            raise ValueError(
                f"{str(path / name)!r} is damaged or was changed since it was saved; "
                "save or copy the model again."
            )
    if "adapter_config.json" in files:
        # transformers would fetch the encoder that it names from elsewhere.
        raise ValueError(f"{str(path / 'adapter_config.json')!r} is not part of a saved model.")
    # A loader might pick up a file that the checksums do not cover.
    ours = {*files, CONFIG}
    for file in path.rglob("*"):
        name = str(file.relative_to(path))
        if (
            file.is_file()
            and name not in ours
            and not name.startswith(".")
            and file.suffix != ".md"
        ):
            raise ValueError(f"{str(file)!r} does not belong to the saved model; remove it.")


def load(
    folder: str | PathLike[str],
    param_names: Collection[str],
    device: str | None = None,
    trust_remote_code: bool = False,
) -> Saved:
    """Read a folder that `save` wrote; if it is being replaced, read the old or the new model.

    Raises
    ------
    ValueError
        If a file is missing, damaged or changed, or the parameters are not among `param_names`.

    """
    path = Path(folder).expanduser()
    for attempt in range(TRIES):
        before = _version(path)
        try:
            # Making a copy is faster than reading a model.
            with _copy_of(path) if attempt >= 2 else nullcontext(path) as place:
                saved = _read(place, param_names, device, trust_remote_code)
                if attempt >= 2:
                    return saved
        except Exception:
            # A file may have been removed while it was being read.
            if _version(path) == before:
                raise
            continue
        if _version(path) == before:
            return saved
    raise OSError(
        f"{str(path)!r} was replaced {TRIES} times while it was being read; try again later."
    )


def located(
    folder: str | PathLike[str], revision: str | None = None, token: str | None = None
) -> Path:
    """Return a folder, or a copy of the model that a string names on the hub as "user/model".

    Raises
    ------
    ValueError
        If there is no folder of that name, and the hub has no such model of this package or cannot
        be reached.

    """
    path = Path(folder).expanduser()
    if path.exists() or not isinstance(folder, str) or not ON_HUB.fullmatch(folder):
        return path
    import huggingface_hub

    try:
        # First the file that shows whether it is a model of ours: others may be large.
        config = huggingface_hub.hf_hub_download(folder, CONFIG, revision=revision, token=token)
        files = [CONFIG, *files_of(Path(config).parent)]
        copy = huggingface_hub.snapshot_download(
            folder, revision=revision, token=token, allow_patterns=files
        )
    # The hub's library, and the HTTP library that it uses, raise exceptions of their own.
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"{folder!r} is not a folder here, and the hub gave no model of that name "
            f"({type(error).__name__}: {first})."
        ) from error
    return Path(copy)


def push(saved: Saved, name: str, private: bool, token: str | None) -> str:
    """Put a model on the hub as "user/model", create that if necessary, and return its address.

    Raises
    ------
    ValueError
        If the repository holds something other than a saved model.

    """
    import huggingface_hub

    if not ON_HUB.fullmatch(name):
        raise ValueError(f"{name!r} must be of the form 'user/model'.")
    hub = huggingface_hub.HfApi(token=token)
    if not is_first():
        return f"{hub.endpoint}/{name}"
    saved = _with_data_alone(saved)
    address = str(hub.create_repo(name, private=private, exist_ok=True))
    listing = set(hub.list_repo_files(name))
    before: list[str] = []
    if CONFIG in listing:
        before = [CONFIG, *files_of(Path(hub.hf_hub_download(name, CONFIG)).parent)]
    elif others := sorted(listing - {".gitattributes", CARD, "LICENSE"}):
        raise ValueError(f"{name!r} holds something other than a saved model ({others[:5]}).")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        save(saved, path)
        # Files of an earlier model would be mistaken for parts of this one.
        hub.upload_folder(
            repo_id=name,
            folder_path=path,
            delete_patterns=before,
            commit_message=f"Model of dann_transfer {__version__}",
        )
    return address


@contextmanager
def _copy_of(path: Path) -> Iterator[Path]:
    """Copy a folder that is being replaced; checksums show whether the copy is of one model."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(shutil.copytree(path, Path(folder, path.name)))


def _version(path: Path) -> tuple[int, ...]:
    """Return what distinguishes one saved version of a folder from the next; empty if none."""
    try:
        status = (path / CONFIG).stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _check_versions(path: Path, config: dict[str, Any]) -> None:
    """Raise if a model was saved with a later major version of transformers."""
    import transformers

    saved = config.get("tokenizer", {}).get("versions", {}).get("transformers", "")
    # An older release would ignore what a newer one writes, such as the base of rotary positions.
    if is_newer(saved):
        raise ValueError(
            f"{str(path)!r} was saved with transformers {saved}, and this is "
            f"{transformers.__version__}: install {saved.partition('.')[0]} or newer."
        )


@contextmanager
def _fitting_together(path: Path) -> Iterator[None]:
    """Turn an error of Python's about content that nobody saved into one about the folder."""
    try:
        yield
    except _MISFITS as error:
        raise ValueError(
            f"{str(path)!r} is damaged: its parts do not fit together "
            f"({type(error).__name__}: {error}); save the model again."
        ) from error


def _read(
    path: Path, param_names: Collection[str], device: str | None, trust_remote_code: bool
) -> Saved:
    config = read_config(path)
    with _fitting_together(path):
        _check_files(path, config["files"])
        params = config["params"]
        unknown = sorted(set(params) - set(param_names))
        if unknown:
            raise ValueError(
                f"{str(path / CONFIG)!r} has unknown parameters {unknown}; update dann_transfer."
            )
        if isinstance(params["class_weight"], list):
            params["class_weight"] = dict(params["class_weight"])
        # Settings about code and paths in a stranger's folder are ignored.
        params |= {
            "device": device,
            "trust_remote_code": trust_remote_code,
            "checkpoint_dir": None,
        }
        check_params(params)
        _check_versions(path, config)
        encoder = _read_encoder(path, params, trust_remote_code)
        _check_tokenizer(path, config, encoder)
        fitted = _read_fitted(path, config)
        fitted.params = params
        head = task_head(encoder.features, len(fitted.classes), fitted.ranks)
        parts = _read_heads(path, head)
        near, affine, new = (
            {name: tensor.numpy() for name, tensor in parts[part].items()}
            for part in ("neighborhood", "alignment", "novelty")
        )
        neighborhood = Neighborhood(**near) if near else None
        alignment = AffineMap(**affine) if affine else None
        novelty = Novelty(**new) if new else None
        knowledge = _read_knowledge(path, fitted.classes, parts["knowledge"])
        _check_shapes(path, encoder.features, fitted, neighborhood, alignment, novelty)
    model = Classifier(encoder, head).to(resolve_device(device)).eval()
    return Saved(
        params, fitted, model, parts["method"], neighborhood, alignment, knowledge, novelty
    )


def _read_knowledge(
    path: Path, classes: np.ndarray, tensors: Mapping[str, Tensor]
) -> Weighted | None:
    """Return the knowledge of a saved model, after checking that it speaks of its classes."""
    if not (path / KNOWLEDGE).is_file():
        return None
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    try:
        values = json.loads((path / KNOWLEDGE).read_text(encoding="utf-8"))
        return Weighted.from_state(values, arrays, classes)
    except (ValueError, re.error) as error:
        raise ValueError(
            f"{str(path / KNOWLEDGE)!r} is damaged: its parts do not fit together ({error}); save "
            "the model again."
        ) from error


def _read_fitted(path: Path, config: Mapping[str, Any]) -> Fitted:
    try:
        return Fitted.from_json(config)
    except ValueError as error:
        raise ValueError(
            f"{str(path / CONFIG)!r} is damaged: its parts do not fit together ({error}); save the "
            "model again."
        ) from error


def _read_encoder(path: Path, params: Mapping[str, Any], trust_remote_code: bool) -> Encoder:
    loaded = loading.load(path, trust_remote_code, local_files_only=True)
    # A saved encoder has every tensor of its model, and no other.
    if unlike := (*loaded.missing, *loaded.unexpected):
        raise ValueError(
            f"{str(path)!r} is damaged: its config.json describes another encoder than its weights "
            f"are of, which differ in {len(unlike)} tensors such as {list(unlike[:3])}; save the "
            "model again."
        )
    _check_finite(path, "encoder", loaded.model.state_dict())
    encoder = Encoder.of(loaded, params["pooling"], params["freeze_layers"])
    if encoder.longest is not None and params["max_length"] > encoder.longest:
        raise ValueError(
            f"{str(path)!r} is damaged: max_length={params['max_length']}, but its encoder takes "
            f"at most {encoder.longest} tokens; save the model again."
        )
    return encoder


def _check_tokenizer(path: Path, config: Mapping[str, Any], encoder: Encoder) -> None:
    if "tokenizer" in config:
        check_record(config["tokenizer"], encoder.tokenizer, str(path))
        return
    warn(
        f"{str(path)!r} was saved by an earlier release, without the ids of probe texts, so that "
        "nothing shows whether its tokenizer still reads texts as it did. Save it again with the "
        "versions that it was trained with to have this checked.",
        UserWarning,
    )


def _read_heads(path: Path, head: nn.Module) -> dict[str, dict[str, Tensor]]:
    """Fill the task head, and return the tensors of each part by name."""
    parts: dict[str, dict[str, Tensor]] = {
        part: {} for part in ("head", "method", "neighborhood", "alignment", "knowledge", "novelty")
    }
    for name, tensor in load_file(path / HEADS).items():
        part, _, key = name.partition(".")
        parts[part][key] = tensor
    try:
        head.load_state_dict(parts["head"])
    except RuntimeError as error:
        raise ValueError(f"{str(path / HEADS)!r} does not match {CONFIG}: {error}") from error
    for part, tensors in parts.items():
        _check_finite(path, part, tensors)
    return parts


def _check_finite(path: Path, part: str, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(
                f"{str(path)!r} is damaged: {name!r} of its {part} has values that are not finite; "
                "save the model again."
            )


def _check_shapes(
    path: Path,
    features: int,
    fitted: Fitted,
    neighborhood: Neighborhood | None,
    alignment: AffineMap | None,
    novelty: Novelty | None,
) -> None:
    """Raise if what a fit left behind is not for the classes and features that there are."""
    classes = fitted.classes.tolist()
    n = len(classes)
    arrays: dict[str, tuple[Any, tuple[int, ...]]] = {"source_prior": (fitted.source_prior, (n,))}
    for name, prior in fitted.target_prior.items():
        arrays[f"target_prior[{name!r}]"] = (prior, (n,))
    for name, ends in fitted.prior_intervals.items():
        for end in ends:
            arrays[f"prior_intervals[{name!r}]"] = (end, (n,))
    if fitted.calibration is not None:
        arrays["calibration.bias"] = (fitted.calibration.bias, (n,))
        arrays["calibration.prior"] = (fitted.calibration.prior, (n,))
    if neighborhood is not None:
        texts = len(neighborhood.features)
        arrays["neighborhood.features"] = (neighborhood.features, (texts, features))
        arrays["neighborhood.probabilities"] = (neighborhood.probabilities, (texts, n))
    if novelty is not None:
        texts = len(novelty.features)
        arrays["novelty.features"] = (novelty.features, (texts, features))
        arrays["novelty.novelties"] = (novelty.novelties, (texts,))
        arrays["novelty.threshold"] = (novelty.threshold, ())
    if alignment is not None:
        arrays["alignment.matrix"] = (alignment.matrix, (features, features))
        arrays["alignment.offset"] = (alignment.offset, (features,))
    if fitted.classes.ndim != 1 or n < 2 or len(set(classes)) != n:
        raise ValueError(f"{str(path)!r} is damaged: its classes are {classes!r}.")
    for name, (array, shape) in arrays.items():
        numbers = np.asarray(array)
        sound = numbers.shape == shape and numbers.dtype.kind in "iuf"
        if not sound or not np.isfinite(numbers).all():
            raise ValueError(
                f"{str(path)!r} is damaged: {name} must be finite numbers of shape {shape}, one "
                f"for each of its {n} classes, and has shape {numbers.shape}; save the model again."
            )

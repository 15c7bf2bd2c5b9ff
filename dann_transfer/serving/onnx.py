"""Export a fitted model as ONNX, to a folder that predicts with ONNX Runtime, without torch."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from dann_transfer.adapter import DomainAdapter

CONFIG, GRAPH, TOKENIZER = "dann_transfer_onnx.json", "model.onnx", "tokenizer.json"
# torch puts the weights of a very large model into a separate file.
FILES = {CONFIG, GRAPH, TOKENIZER, f"{GRAPH}.data"}
FORMAT = 2
# Texts on which tokenizers differ: cut on one side, with special tokens, spaces and odd signs.
PROBES = ("", " two  spaces ", "UPPER Case, it's 3.5 €\n\tnaïve ﬁne 日本語", "one two three " * 40)
_INSTALL = "pip install 'dann_transfer[onnx]'"
OLDEST_TORCH = "2.13"


def to_onnx(
    adapter: DomainAdapter,
    folder: str | PathLike[str],
    int8: bool = False,
    domain: str = "target",
) -> Path:
    """Write a fitted model as ONNX, whole or not at all: token ids in, features and logits out.

    Parameters
    ----------
    adapter : DomainAdapter
        Fitted.
    folder : str or path
        A new or an empty folder, or one that this function wrote before.
    int8 : bool
        Store weights as 8-bit integers: a quarter of the size, and slightly different
        probabilities. Measure on labelled texts what it costs.
    domain : {"target", "source"}
        Where the texts are from that it is for. With `align`, a graph for target texts maps their
        features; one for source texts does not.

    Returns
    -------
    Path
        The folder: ``model.onnx`` with inputs ``input_ids`` and ``attention_mask``, (rows, length),
        and outputs ``features``, (rows, width), and ``logits``, (rows, classes); the tokenizer;
        and the classes.

    Raises
    ------
    ImportError
        If onnx is not installed.
    ValueError
        If predictions are corrected after the model, the tokenizer is not a fast one or does what
        its file does not hold, the folder holds something else, or `domain` is no domain.
    OSError
        If it cannot be written.

    Examples
    --------
    ```python
    to_onnx(adapter, "model-onnx")
    OnnxModel("model-onnx").predict(["what a joy"])
    ```

    """
    from sklearn.utils.validation import check_is_fitted

    from dann_transfer.fitting.folder import refuse_inside
    from dann_transfer.ground.folders import exchange, replaceable, workplace
    from dann_transfer.ground.notices import is_first
    from dann_transfer.ground.settings import HYPERPARAMETERS
    from dann_transfer.texts.target import target_rows

    check_is_fitted(adapter)
    target_rows(domain, 1)
    adapter.fitted_.refuse_several("an ONNX export")
    refuse_inside(folder)
    path = replaceable(folder, _files_of, "an exported model")
    # Neighbours act only if the fit kept them.
    near = None if adapter.neighborhood_ is None else adapter.neighbors
    changes = {"correct_prior": adapter.correct_prior, "neighbors": near}
    changes["use_knowledge"] = adapter.use_knowledge
    changes["unknown"] = adapter.unknown
    for name, value in changes.items():
        if value is not None and value is not False:
            raise ValueError(
                f"{name}={value!r} changes predictions after the model, but an ONNX file has only "
                f"the model; set {name}={HYPERPARAMETERS[name].default} to export it without."
            )
    if adapter.encoder_.reads_padding:
        raise ValueError(
            f"{type(adapter.encoder_.model).__name__} reads padding: a text's features change with "
            "those it is batched with. Its texts pass one length at a time, which a graph cannot; "
            "use another encoder, or serve the model with torch."
        )
    if not getattr(adapter.encoder_.tokenizer, "is_fast", False):
        raise ValueError(
            f"{type(adapter.encoder_.tokenizer).__name__} is not a fast tokenizer, and no other "
            "kind can be written to one file; use an encoder that has a fast one."
        )
    if is_first():
        with workplace(path) as work:
            _write(adapter, work, int8, domain)
            exchange(work, path)
    return path


def _files_of(folder: Path) -> set[str]:
    """Return the files of the model exported to `folder`, or nothing if there is none."""
    return FILES if (folder / CONFIG).is_file() else set()


def _write(adapter: DomainAdapter, folder: Path, int8: bool, domain: str) -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise ImportError(
            f"an export needs onnx, onnxscript and onnxruntime: {_INSTALL}"
        ) from error
    import torch

    if torch.__version__ < OLDEST_TORCH:
        raise ImportError(
            f"an export needs torch {OLDEST_TORCH} or newer, and this is {torch.__version__}, "
            f"whose exporter cannot write all models with texts of any length: {_INSTALL}"
        )
    from dann_transfer.model.model import MappedClassifier
    from dann_transfer.texts.batches import pad
    from dann_transfer.texts.tokens import tokenize

    tokenizer = adapter.encoder_.tokenizer
    config = _write_tokenizer(adapter, folder)
    # The adapter may be on a GPU, and may predict while this runs.
    classifier = deepcopy(adapter.model_).cpu().float()
    model: torch.nn.Module = classifier
    if domain == "target" and (affine := adapter.alignment_) is not None:
        arrays = (torch.from_numpy(array) for array in (affine.matrix, affine.offset))
        model = MappedClassifier(classifier, *arrays)
    trial, _ = tokenize(tokenizer, ["a trial of two texts", "one"], 16)
    sizes = {0: torch.export.Dim("rows"), 1: torch.export.Dim("length")}
    with torch.no_grad(), _without_warnings("torch.onnx"):
        torch.onnx.export(
            model.eval(),
            pad([trial.text(0), trial.text(1)], trial.pad_id),
            folder / GRAPH,
            input_names=["input_ids", "attention_mask"],
            output_names=["features", "logits"],
            dynamic_shapes=(sizes, sizes),
            external_data=False,
            verbose=False,
        )
    if int8:
        whole = folder / "whole.onnx"
        (folder / GRAPH).rename(whole)
        # It recommends to prepare the graph, which is for images.
        with _without_warnings("root"):
            quantize_dynamic(whole, folder / GRAPH, weight_type=QuantType.QInt8, per_channel=True)
        whole.unlink()
        (folder / f"{GRAPH}.data").unlink(missing_ok=True)
    config |= {"format": FORMAT, "classes": adapter.classes_.tolist()}
    config |= {"int8": int8, "domain": domain}
    if (ranks := adapter.fitted_.ranks) is not None:
        config["ranks"] = ranks.tolist()
    (folder / CONFIG).write_text(json.dumps(config), encoding="utf-8")


def _write_tokenizer(adapter: DomainAdapter, folder: Path) -> dict[str, Any]:
    """Write the tokenizer, and return what its file does not hold: how texts are cut, and more.

    Raises
    ------
    ValueError
        If the two together give a text other tokens than the adapter's tokenizer.

    """
    from dann_transfer.texts.tokens import tokenize

    tokenizer = adapter.encoder_.tokenizer
    tokenizer.backend_tokenizer.save(str(folder / TOKENIZER))
    config = {
        "max_length": adapter.params_["max_length"],
        "truncation_side": tokenizer.truncation_side,
        "split_special_tokens": bool(getattr(tokenizer, "split_special_tokens", False)),
        "pad_id": tokenizer.pad_token_id or 0,
    }
    texts = [*PROBES, "one two three " * config["max_length"]]
    texts += [f"one {token} two" for token in tokenizer.all_special_tokens]
    tokens, _ = tokenize(tokenizer, texts, config["max_length"])
    rows = _rows(_read_tokenizer(folder, config), config, texts)
    for i, row in enumerate(rows):
        if row != tokens.text(i).tolist():
            raise ValueError(
                f"{type(tokenizer).__name__} gives {texts[i][:40]!r} other tokens than the file "
                "that it writes, so an ONNX model would answer differently; export an encoder "
                "whose tokenizer does nothing beyond its tokenizer.json."
            )
    return config


def _read_tokenizer(folder: Path, config: Mapping[str, Any]) -> Tokenizer:
    """Return the tokenizer of an exported model."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.no_padding()
    tokenizer.enable_truncation(config["max_length"], direction=config["truncation_side"])
    tokenizer.encode_special_tokens = config["split_special_tokens"]
    return tokenizer


def _rows(tokenizer: Tokenizer, config: Mapping[str, Any], texts: Sequence[str]) -> list[list[int]]:
    """Return the token ids of each text, at least one."""
    return [e.ids or [config["pad_id"]] for e in tokenizer.encode_batch(list(texts))]


@contextmanager
def _without_warnings(name: str) -> Iterator[None]:
    """Keep a logger and libraries from warnings that are for their developers, for instance of
    vision operators that are not installed."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


class OnnxModel:
    """A model that `to_onnx` wrote, on ONNX Runtime.

    Parameters
    ----------
    folder : str or path
    threads : int, optional
        Number of threads for a prediction; None uses all cores.

    Raises
    ------
    ImportError
        If onnxruntime is not installed.
    ValueError
        If the folder is not such a model.

    Examples
    --------
    ```python
    model = OnnxModel("model-onnx")
    model.predict(["what a joy"])
    ```

    """

    def __init__(self, folder: str | PathLike[str], threads: int | None = None) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError(f"an ONNX model needs onnxruntime: {_INSTALL}") from error
        path = Path(folder).expanduser()
        if missing := [n for n in (CONFIG, GRAPH, TOKENIZER) if not (path / n).is_file()]:
            raise ValueError(
                f"{str(path)!r} has no {missing[0]}; pass a folder that to_onnx wrote."
            )
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
        if config.get("format") != FORMAT:
            raise ValueError(f"{str(path)!r} has the format of another version; export it again.")
        self.classes_ = np.array(config["classes"])
        self.config = config
        self.tokenizer = _read_tokenizer(path, config)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        self.session = onnxruntime.InferenceSession(
            str(path / GRAPH), options, providers=["CPUExecutionProvider"]
        )

    def outputs(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return features (n, width) and logits (n, classes), both float32."""
        from dann_transfer.texts.reading import as_texts

        checked = as_texts(texts, "texts", "text", empty_is_text=True)
        parts = list(self._pass(_rows(self.tokenizer, self.config, checked)))
        back = np.argsort(np.concatenate([places for places, _, _ in parts]))
        features, logits = (np.concatenate([part[i] for part in parts])[back] for i in (1, 2))
        return features, logits

    def _pass(self, rows: list[list[int]]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield positions, features and logits of texts of similar length."""
        from dann_transfer.ground.settings import INFERENCE_BATCH
        from dann_transfer.texts.tokens import Tokens, by_length

        tokens = Tokens.from_rows(rows, self.config["pad_id"])
        for places, ids, mask in by_length(tokens, INFERENCE_BATCH):
            inputs = {"input_ids": ids, "attention_mask": mask}
            features, logits = self.session.run(["features", "logits"], inputs)
            yield places, features, logits

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        """Return pooled features, shape (n, width)."""
        return self.outputs(texts)[0]

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        """Return class probabilities, shape (n, n_classes), in the order of ``classes_``."""
        from scipy.special import softmax

        return np.asarray(softmax(self.outputs(texts)[1], axis=1))

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """Return the label of each text, shape (n,): as the adapter, without what changes it."""
        return self.classes_[self.answered(self.predict_proba(texts))]

    def answered(self, p: np.ndarray) -> np.ndarray:
        """Return the class positions that probabilities (n, classes) are answered with, (n,)."""
        from dann_transfer.judging.answering import answered

        ranks = self.config.get("ranks")
        return answered(p, None if ranks is None else np.array(ranks))


def differences(model: OnnxModel, adapter: DomainAdapter, texts: Any) -> dict[str, float]:
    """Return how much an exported model differs from its original on texts.

    Returns
    -------
    dict
        ``probability``: the largest difference in a probability; ``same``: the share of texts with
        the same label.

    """
    # An export of an earlier release names no domain.
    domain = model.config.get("domain", "target")
    p, q = adapter.predict_proba(texts, domain), model.predict_proba(texts)
    same = float((model.answered(p) == model.answered(q)).mean())
    return {"probability": float(np.abs(p - q).max()), "same": same}

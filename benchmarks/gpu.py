"""How fast a GPU trains a base-size encoder in bf16, compared with the card's own matrix rate.

    python benchmarks/gpu.py                       # needs a CUDA GPU; takes some minutes
    python benchmarks/gpu.py --encoder FOLDER      # with this encoder's shape and weights

An encoder of BERT's base size, with random weights unless a folder is given, trains on texts of 128
tokens, 64 of the source and 64 of the target in each batch. A step is counted as 6 operations per
weight and token, plus 12 per layer for each pair of tokens and unit of width (Chowdhery et al.,
PaLM, 2022, appendix B); head and discriminator are not counted. The card's matrix rate is measured
on a product of two 8192 x 8192 matrices. "floor" is forward, backward and AdamW of the same encoder
alone.

Losses of the first steps are compared between CPU and GPU with dropout off, and a run that was
killed and resumed is compared with one that was not. One JSON line goes to
benchmarks/results/gpu.jsonl.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from board import made_with

from dann_transfer import DomainAdapter, methods
from dann_transfer.ground.settings import Settings
from dann_transfer.model.encoder import Encoder
from dann_transfer.model.heads import TaskHead
from dann_transfer.model.model import Classifier, infer
from dann_transfer.model.runtime import Runtime
from dann_transfer.texts.batches import PairedBatches
from dann_transfer.texts.tokens import Tokens, tokenize
from dann_transfer.training.loop import Trainer

GPU = torch.device("cuda")
LENGTH, BATCH = 128, 64
WORDS = [f"w{i}" for i in range(30000)]


def make_encoder(folder: Path, **config: Any) -> str:
    """Save a BERT with random weights, of base size unless `config` says otherwise."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=512).save_pretrained(folder)
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(words), **config)).save_pretrained(folder)
    return str(folder)


def texts_of(n: int, words: int, seed: int) -> list[str]:
    """Return n texts of this many words each."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, words)) for _ in range(n)]


def seconds_of(step: Callable[[], object], steps: int, ignored: int = 10) -> float:
    """Return the median seconds per step, without the first steps."""
    seconds = []
    for _ in range(steps):
        torch.cuda.synchronize()
        started = time.perf_counter()
        step()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[ignored:])


def matrix_rate(dtype: torch.dtype, n: int = 8192) -> float:
    """Return the operations per second of a matrix product."""
    a, b = (torch.randn(n, n, device=GPU, dtype=dtype) for _ in range(2))
    return 2 * n**3 / seconds_of(lambda: a @ b, 30)


def operations(encoder: Encoder, rows: int, length: int) -> float:
    """Return the arithmetic operations of one training step."""
    config = encoder.model.config
    layers = config.num_hidden_layers
    weights = sum(p.numel() for p in encoder.parameters() if p.ndim > 1)
    weights -= sum(e.weight.numel() for e in encoder.modules() if isinstance(e, torch.nn.Embedding))
    pairs = 12 * layers * config.hidden_size * length
    return (6 * weights + pairs) * rows * length


def trainer(encoder: Encoder, tokens: tuple[Tokens, Tokens], name: str, precision: str) -> Trainer:
    """Return a trainer for one epoch, as `fit` makes it."""
    method = methods.create(name)
    method.attach(encoder, 1)
    method.build(encoder.features, 2)
    source, target = tokens
    batches = PairedBatches(
        source, np.arange(len(source)) % 2, target if method.uses_target else None, BATCH, seed=0
    )
    rates = {"learning_rate": 1e-6, "head_learning_rate": 1e-4}
    params = {"epochs": 1, "precision": precision, "progress": False, **rates}
    settings = Settings.of(params, 0, method.default_strength)
    model = Classifier(encoder, TaskHead(encoder.features, 2)).to(GPU)
    runtime = Runtime(GPU, precision)
    return Trainer(model, method.to(GPU), method.phases(1), batches, settings, runtime)


def train_seconds(encoder: Encoder, tokens: tuple[Tokens, Tokens], name: str, kind: str) -> float:
    """Return the median seconds per step of `fit`'s own loop."""
    ends: list[float] = []

    def on_step(_: object) -> None:
        torch.cuda.synchronize()
        ends.append(time.perf_counter())

    trainer(encoder, tokens, name, kind).run(on_step=on_step)
    return float(statistics.median(np.diff(ends)[10:]))


def floor_seconds(encoder: Encoder, tokens: Tokens, rows: int, precision: str) -> float:
    """Return the median seconds of forward, backward and AdamW's step of the encoder alone."""
    runtime = Runtime(GPU, precision)
    ids = torch.from_numpy(np.asarray(tokens.ids[: rows * LENGTH])).long().reshape(rows, LENGTH)
    ids = ids.to(GPU)
    mask = torch.ones_like(ids)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-6, fused=True)
    encoder.train().to(GPU)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with runtime.autocast():
            loss = encoder(ids, mask).sum()
        loss.backward()
        optimizer.step()

    return seconds_of(step, 40)


def compare_devices(folder: Path) -> dict[str, Any]:
    """Compare a small run on both devices, and resumed with uninterrupted runs on the GPU."""
    small = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4}
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    encoder = make_encoder(folder / "small", intermediate_size=256, **small, **still)
    X, T = texts_of(200, 20, 0), texts_of(200, 20, 1)
    y = [i % 2 for i in range(200)]
    run: dict[str, Any] = {"random_state": 0, "progress": False, "epochs": 2, "max_strength": 0.2}

    def fit(device: str, precision: str, **more: Any) -> DomainAdapter:
        adapter = DomainAdapter(encoder, device=device, precision=precision, **run)
        return adapter.set_params(**more)

    def losses(adapter: DomainAdapter) -> np.ndarray:
        return np.array([row["task_loss"] for row in adapter.fit(X, y, X_target=T).history_])

    # Dropout masks differ between devices.
    with mock.patch.object(TaskHead.__init__, "__defaults__", (0.0,)):
        kinds = (("cpu", "fp32"), ("cuda", "fp32"), ("cuda", "bf16"))
        cpu, gpu, bf16 = (losses(fit(*kind)) for kind in kinds)

    class Stop(Exception):
        pass

    def stop(engine: Any, _: object) -> None:
        if engine.state.iteration == 5:
            raise Stop

    whole = fit("cuda", "fp32").fit(X, y, X_target=T)
    killed = fit("cuda", "fp32", checkpoint_dir=folder / "run", checkpoint_every=2)
    try:
        killed.fit(X, y, X_target=T, on_step=stop)
    except Stop:
        killed.fit(X, y, X_target=T)
    pairs = zip(whole.model_.parameters(), killed.model_.parameters(), strict=True)
    return {
        "fp32_to_cpu_first_step": float(abs(gpu - cpu)[0]),
        "fp32_to_cpu_all_steps": float(abs(gpu - cpu).max()),
        "bf16_to_cpu_all_steps": float(abs(bf16 - cpu).max()),
        "resumed_weights": max(float((a - b).detach().abs().max()) for a, b in pairs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--encoder", help="a Hugging Face folder; default: random weights")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/gpu.jsonl")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("there is no CUDA GPU here.")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        encoder = args.encoder or make_encoder(folder / "base")
        tokenizer = Encoder.from_pretrained(encoder).tokenizer
        tokens = tuple(
            tokenize(tokenizer, texts_of(50 * BATCH, LENGTH, seed), LENGTH)[0] for seed in (0, 1)
        )
        row: dict[str, Any] = {
            "gpu": torch.cuda.get_device_name(),
            "matrix_rate": {
                "bf16": matrix_rate(torch.bfloat16),
                "fp32": matrix_rate(torch.float32),
            },
            **compare_devices(folder),
        }
        for precision in ("bf16", "fp32"):
            for name, compiled in product(("source_only", "dann", "mcc"), (False, True)):
                own = Encoder.from_pretrained(encoder).to(GPU)
                if compiled:
                    # As `torch_compile` does.
                    own.model.compile(dynamic=True)
                rows = BATCH if name == "source_only" else 2 * BATCH
                seconds = train_seconds(own, tokens, name, precision)
                rate = operations(own, rows, LENGTH) / seconds
                key = f"{name}_{precision}{'_compiled' if compiled else ''}"
                row[key] = {
                    "step_ms": 1e3 * seconds,
                    "tokens_a_second": rows * LENGTH / seconds,
                    "teraflops": rate / 1e12,
                    "of_matrix_rate": rate / row["matrix_rate"]["bf16"],
                }
                print(key, row[key], flush=True)
            own = Encoder.from_pretrained(encoder)
            seconds = floor_seconds(own, tokens[0], 2 * BATCH, precision)
            row[f"floor_{precision}"] = {
                "step_ms": 1e3 * seconds,
                "of_matrix_rate": operations(own, 2 * BATCH, LENGTH)
                / seconds
                / row["matrix_rate"]["bf16"],
            }
            print("floor", precision, row[f"floor_{precision}"], flush=True)
        model = Classifier(own, TaskHead(own.features, 2)).to(GPU)
        started = time.perf_counter()
        infer(model, tokens[0], Runtime(GPU, "bf16"))
        row["predicted_texts_a_second"] = len(tokens[0]) / (time.perf_counter() - started)
        row["peak_memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
        row |= made_with()
    print(json.dumps(row), flush=True)
    with args.out.open("a") as out:
        out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()

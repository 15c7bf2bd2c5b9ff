"""The same pair with other libraries: accuracy, seconds, memory, and lines of user code.

    python benchmarks/peers.py --texts 1000 --seeds 0 1 2

Every peer gets the same encoder, texts, batch size, epochs and learning rate, and runs in its own
environment (made under the user's cache, with the peer pinned and this environment's packages
visible) and its own process. Peers that cannot handle text get the encoder wrapped in `TextModel`
and texts padded to 128 tokens; the lines of `TextModel` count as user code. adapt (0.4.5) is left
out because it is built on TensorFlow and cannot train a torch encoder.

One JSON line per run goes to benchmarks/results/peers.jsonl; a run that already has a line is not
repeated.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import platform
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import torch

from dann_transfer import datasets

OUT = Path(__file__).parent / "results" / "peers.jsonl"
PAIR = "movies", "tweets"
EPOCHS, BATCH, RATE, LENGTH = 3, 32, 5e-5, 128


class TextModel(torch.nn.Module):
    """A torch module that takes padded ids, for libraries that pass a single tensor."""

    def __init__(self, encoder: str, classes: int | None) -> None:
        from transformers import AutoModel

        super().__init__()
        self.bert = AutoModel.from_pretrained(encoder)
        self.features = torch.nn.Identity()
        width = self.bert.config.hidden_size
        self.head = torch.nn.Linear(width, classes) if classes else torch.nn.Identity()

    def forward(self, ids: torch.Tensor, sample_weight: object = None) -> torch.Tensor:
        ids = ids.long()
        mask = (ids != 0).long()
        states = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        mean = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        return self.head(self.features(mean))


def pad_texts(encoder: str, texts: list[str]) -> torch.Tensor:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(encoder)
    options = {"padding": "max_length", "truncation": True, "max_length": LENGTH}
    return tokenizer(texts, return_tensors="pt", **options)["input_ids"]


def dann_transfer_dann(encoder, X, y, T, T_test, seed):
    from dann_transfer import DomainAdapter

    adapter = DomainAdapter(encoder, method="dann", random_state=seed, progress=False)
    return adapter.fit(X, y, X_target=T).predict(T_test)


def dann_transfer_student(encoder, X, y, T, T_test, seed):
    from dann_transfer import DomainAdapter

    adapter = DomainAdapter(encoder, method="student", random_state=seed, progress=False)
    return adapter.fit(X, y, X_target=T).predict(T_test)


def dann_transfer_source_only(encoder, X, y, T, T_test, seed):
    from dann_transfer import DomainAdapter

    adapter = DomainAdapter(encoder, method="source_only", random_state=seed, progress=False)
    return adapter.fit(X, y).predict(T_test)


def transformers_trainer(encoder, X, y, T, T_test, seed):
    from datasets import Dataset
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        Trainer,
        TrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(encoder)
    model = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=2)

    def tokenized(columns):
        return Dataset.from_dict(columns).map(
            lambda rows: tokenizer(rows["text"], truncation=True, max_length=LENGTH), batched=True
        )

    args = TrainingArguments(
        tempfile.mkdtemp(),
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=BATCH,
        learning_rate=RATE,
        seed=seed,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    train = tokenized({"text": X, "label": y})
    trainer = Trainer(model, args, train_dataset=train, processing_class=tokenizer)
    trainer.train()
    return trainer.predict(tokenized({"text": T_test})).predictions.argmax(1)


def pytorch_adapt_dann(encoder, X, y, T, T_test, seed):
    from pytorch_adapt.containers import Models, Optimizers
    from pytorch_adapt.hooks import DANNHook
    from pytorch_adapt.models import Discriminator
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(seed)
    G = TextModel(encoder, None)
    C = torch.nn.Linear(G.bert.config.hidden_size, 2)
    D = Discriminator(in_size=G.bert.config.hidden_size)
    models = Models({"G": G, "C": C, "D": D})
    optimizers = Optimizers((torch.optim.AdamW, {"lr": RATE}))
    optimizers.create_with(models)
    hook = DANNHook(list(optimizers.values()))
    # The library's own data sets import torchvision, which a text model does not need.
    source = DataLoader(TensorDataset(pad_texts(encoder, X), torch.as_tensor(y)), BATCH, True)
    target = DataLoader(TensorDataset(pad_texts(encoder, T)), BATCH, True)
    models.train()
    for _ in range(EPOCHS):
        for (ids, labels), (other,) in zip(source, target, strict=False):
            batch = {"src_imgs": ids, "src_labels": labels, "target_imgs": other}
            batch |= {"src_domain": torch.zeros(len(ids)), "target_domain": torch.ones(len(other))}
            hook({**models, **batch})
    models.eval()
    with torch.no_grad():
        parts = pad_texts(encoder, T_test).split(BATCH)
        return torch.cat([C(G(part)).argmax(1) for part in parts]).numpy()


def skada_dann(encoder, X, y, T, T_test, seed):
    from skada.deep import DANN

    torch.manual_seed(seed)
    model = TextModel(encoder, 2)
    net = DANN(
        model,
        layer_name="features",
        num_features=model.bert.config.hidden_size,
        max_epochs=EPOCHS,
        batch_size=BATCH,
        lr=RATE,
        optimizer=torch.optim.AdamW,
        train_split=None,
        verbose=0,
    )
    ids = torch.cat([pad_texts(encoder, X), pad_texts(encoder, T)]).numpy()
    labels = np.concatenate([y, np.full(len(T), -1)])
    domains = np.concatenate([np.full(len(X), 1), np.full(len(T), -2)])
    net.fit(ids, labels, sample_domain=domains)
    test = pad_texts(encoder, T_test).numpy()
    return net.predict(test, sample_domain=np.full(len(test), -2))


# Name: what it runs, what it installs, and whether TextModel counts as user code.
PEERS: dict[str, tuple[Any, list[str], bool]] = {
    "dann_transfer dann": (dann_transfer_dann, [], False),
    "dann_transfer student": (dann_transfer_student, [], False),
    "dann_transfer source_only": (dann_transfer_source_only, [], False),
    "transformers Trainer": (transformers_trainer, ["accelerate==1.12.0"], False),
    "pytorch-adapt DANN": (
        pytorch_adapt_dann,
        [
            "pytorch-adapt==0.0.83",
            "pytorch-metric-learning==2.9.0",
            "torchmetrics==1.9.0",
            "lightning-utilities==0.15.2",
            "setuptools<80",
        ],
        True,
    ),
    "skada DANN": (
        skada_dann,
        ["skada==0.6.0", "skorch==1.3.1", "POT==0.9.6", "tabulate==0.9.0"],
        True,
    ),
}


def lines_of(*functions: Any) -> int:
    """Count the lines of code, without blank lines and docstrings."""
    lines = [line.strip() for f in functions for line in inspect.getsource(f).splitlines()]
    return sum(bool(line) and not line.startswith(('"""', "#")) for line in lines)


def run_one(name: str, texts: int, seed: int) -> dict[str, Any]:
    """Run one peer; call this in its environment."""
    function, _, wrapped = PEERS[name]
    domains = datasets.load("sentiment")
    X, _, y, _ = datasets.split(domains[PAIR[0]], texts)
    T, T_test, _, t = datasets.split(domains[PAIR[1]], texts)
    codes, truth = ((np.asarray(labels) == "positive").astype(int) for labels in (y, t))
    encoder = datasets.encoder("minilm")
    started = time.perf_counter()
    predicted = np.asarray(function(encoder, X, codes.tolist(), T, T_test, seed))
    seconds = time.perf_counter() - started
    return {
        "peer": name,
        "seed": seed,
        "texts": texts,
        "target_accuracy": float((predicted == truth).mean()),
        "seconds": seconds,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "lines": lines_of(function, *((TextModel, pad_texts) if wrapped else ())),
        "machine": (
            f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
        ),
    }


def environment(requirements: list[str]) -> str:
    """Return the Python of an environment with the peer, creating it if necessary."""
    if not requirements:
        return sys.executable
    folder = Path(platformdirs.user_cache_dir("dann_transfer"), "peers", requirements[0])
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
        seen = [sysconfig.get_paths()["purelib"], str(Path(__file__).parents[1])]
        (folder / "lib" / minor / "site-packages" / "ours.pth").write_text("\n".join(seen))
        # Without dependencies: torch and the rest are already visible.
        subprocess.run(
            [python, "-m", "pip", "install", "-q", "--no-deps", *requirements], check=True
        )
        done.touch()
    return str(python)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(run_one(args.one, args.texts, args.seeds[0])))
        return
    done = set()
    if args.out.exists():
        rows = [json.loads(line) for line in args.out.read_text(encoding="utf-8").splitlines()]
        done = {(row["peer"], row["seed"], row["texts"]) for row in rows}
    for seed in args.seeds:
        for name in args.peers:
            if (name, seed, args.texts) in done:
                continue
            python = environment(PEERS[name][1])
            child = [python, __file__, "--one", name, "--texts", str(args.texts)]
            ran = subprocess.run([*child, "--seeds", str(seed)], capture_output=True, text=True)
            if ran.returncode:
                raise SystemExit(f"{name} failed:\n{ran.stderr[-3000:]}")
            row = json.loads(ran.stdout.splitlines()[-1])
            print(row, flush=True)
            with args.out.open("a", encoding="utf-8") as out:
                out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()

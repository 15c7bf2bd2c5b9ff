"""What several test modules share: a tiny random BERT, toy texts, the real encoder."""

from __future__ import annotations

import os
from pathlib import Path

# Set before torch is imported: the tests give the same results on any number of cores, and the tiny
# models run fastest on few.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers that each use all cores spend most of the time waiting for each other.
    os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
import torch

from dann_transfer import DomainAdapter, methods
from dann_transfer.texts.batches import Batch

# This runs in its own environment: `make test-wheel`.
collect_ignore = ["check_wheel.py"]

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file in one worker, which then creates what they share once.

    Tutorials and shifts share little: each test is its own group. The longest groups run first, so
    that no worker is left with one of them in the end.
    """
    long = ("test_the_quickstart_runs", "test_a_tutorial_runs", "test_a_method_beats")
    long_files = {"test_contract.py", "test_processes.py", "test_real.py", "test_search.py"}

    def is_long(item: pytest.Item) -> bool:
        return item.name.startswith(long)

    for item in items:
        group = item.name if is_long(item) else item.path.name
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: is_long(item) or item.path.name in long_files, reverse=True)


GOOD = ("good", "great", "fine", "lovely", "happy")
BAD = ("bad", "poor", "sad", "awful", "dull")
OTHER = ("film", "plot", "actor", "scene", "the", "tweet", "lol", "omg", "today", "friend")

ADAPTING = [name for name in methods.names() if name != "source_only"]
# Combinations take the same path as a method of one part.
ADAPTING += ["mmd+mcc", "cdan+e+coral", "mlm+dann", "mcc+self_training"]

TINY: dict[str, object] = {
    "epochs": 2,
    "batch_size": 16,
    "learning_rate": 1e-3,
    "max_length": 32,
    "max_strength": 0.1,
    "random_state": 0,
    "progress": False,
    "device": "cpu",
}


def make_tiny_encoder(folder: Path, **config: object) -> str:
    """Save a random BERT with a word-level vocabulary and return its folder."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *GOOD, *BAD, *OTHER]
    (folder / "vocab.txt").write_text("\n".join(vocab))
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=64)
    tokenizer.save_pretrained(folder)
    settings = {
        "vocab_size": len(vocab),
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "hidden_dropout_prob": 0.05,
        "attention_probs_dropout_prob": 0.05,
        **config,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(BertConfig(**settings)).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_tiny_encoder(tmp_path_factory.mktemp("tiny") / "encoder")


def toy_texts(n: int, words: str, seed: int) -> tuple[list[str], list[str]]:
    """Return n short texts, half with good words and half with bad ones, among `words`."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for i in range(n):
        label, side = ("pos", GOOD) if i % 2 else ("neg", BAD)
        filler = rng.choice(words.split(), size=rng.integers(1, 5)).tolist()
        texts.append(" ".join([*filler, *rng.choice(side, 2)]))
        labels.append(label)
    return texts, labels


@pytest.fixture(scope="session")
def source() -> tuple[list[str], list[str]]:
    return toy_texts(90, "film plot actor scene the", 0)


@pytest.fixture(scope="session")
def target() -> list[str]:
    return toy_texts(70, "tweet lol omg today friend", 1)[0]


@pytest.fixture(scope="session")
def tiny(tiny_encoder: str):
    """Make an adapter over the tiny encoder."""

    def make(**params: object) -> DomainAdapter:
        return DomainAdapter(**{"encoder": tiny_encoder, "method": "dann", **TINY, **params})

    return make


@pytest.fixture(scope="session")
def fitted(tiny_encoder: str, source, target) -> DomainAdapter:
    adapter = DomainAdapter(tiny_encoder, method="dann", **{**TINY, "epochs": 8})
    return adapter.fit(*source, X_target=target)


@pytest.fixture(scope="session")
def minilm() -> str:
    from dann_transfer import datasets

    return datasets.encoder("minilm")


def batch_of(labels: torch.Tensor) -> Batch:
    """Return a batch that has labels of source rows and nothing to encode."""
    nothing = torch.zeros(0, 0, dtype=torch.long)
    return Batch(nothing, nothing, labels)


class Killed(Exception):
    """Ends a run part-way through."""


def kill_at(step: int):
    """Watch a training, and end it after a step, before that step's checkpoint is written."""

    def kill(engine, model):
        if engine.state.iteration == step:
            raise Killed

    return kill


@pytest.fixture
def no_figure_shown_or_left(monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "show", lambda: pytest.fail("a library never shows"))
    yield
    plt.close("all")


def weights(adapter: DomainAdapter, part: str = "") -> dict[str, torch.Tensor]:
    """Copy the weights of a fitted adapter whose name starts with `part`."""
    state = adapter.model_.state_dict()
    state |= {f"method.{k}": v for k, v in adapter.method_weights_.items()}
    return {k: v.clone() for k, v in state.items() if k.startswith(part)}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Return whether two sets of weights are equal bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def browser():
    """Return a function that opens a page in Chromium and gives it, its errors and its requests.

    The scope is the module instead of the session because playwright's event loop runs for as long
    as the fixture lives, and notebooks cannot run beside it.
    """
    sync_api = pytest.importorskip("playwright.sync_api")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no Chromium at {CHROMIUM}; install it, or name it with CHROMIUM")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

    def open_page(page_at: Path | str, width: int, height: int):
        page = opened.new_page(viewport={"width": width, "height": height})
        errors, requests = [], []
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.on("request", lambda r: requests.append(r.url))
        page.goto(page_at.as_uri() if isinstance(page_at, Path) else page_at)
        return page, errors, requests

    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield open_page
        opened.close()

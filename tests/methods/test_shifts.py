"""Each method beats source-only on a shift it was made for, in seconds.

Points instead of texts, through the same batches, engine and methods: two "tokens" are a point's
coordinates on a grid.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from conftest import BAD, GOOD
from sklearn.datasets import make_moons
from torch import nn

from dann_transfer import DomainAdapter, methods
from dann_transfer.ground.settings import Settings
from dann_transfer.model.heads import TaskHead
from dann_transfer.model.model import Classifier, infer
from dann_transfer.model.runtime import Runtime
from dann_transfer.texts.batches import PairedBatches
from dann_transfer.texts.tokens import Tokens
from dann_transfer.training.loop import Trainer

CPU = Runtime(torch.device("cpu"))


@pytest.fixture(autouse=True)
def one_thread():
    """Sums over threads round differently; with one thread, similar machines see the same run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class PointEncoder(nn.Module):
    features = 24

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU())

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.net((input_ids.float() - 5000) / 1000)


def tokens(points: np.ndarray) -> Tokens:
    return Tokens.from_rows((points * 1000 + 5000).round().astype(int).tolist())


def turn(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def moons(seed: int, target: bool) -> tuple[np.ndarray, np.ndarray]:
    """Two moons, turned by 30 degrees in the target."""
    points, labels = make_moons(400, noise=0.08, random_state=seed + 100 * target)
    points = points - [0.5, 0.25]
    return (points @ turn(30).T if target else points), labels


def blobs(seed: int, target: bool, height: float = 0.35) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([seed, target])
    labels = rng.integers(0, 2, 400)
    across = np.where(labels == 1, 1.5, -1.5) + rng.normal(0, 0.35, 400)
    return np.stack([across, rng.normal(0, height, 400)], axis=1), labels


def moved(seed: int, target: bool) -> tuple[np.ndarray, np.ndarray]:
    """Two blobs, moved so far in the target that one lies in the source's gap."""
    points, labels = blobs(seed, target)
    return points + np.array([1.3, 0.4]) * target, labels


def shrunk(seed: int, target: bool) -> tuple[np.ndarray, np.ndarray]:
    """Two blobs on one side of the origin, at less than half the scale in the target."""
    points, labels = blobs(seed, target)
    points = points + np.array([2.2, 0])
    return points * (0.45 if target else 1), labels


def stretched(seed: int, target: bool) -> tuple[np.ndarray, np.ndarray]:
    """Two tall blobs, turned and flattened in the target: a different covariance."""
    points, labels = blobs(seed, target, height=1.0)
    return (points @ turn(40).T @ np.diag([1.0, 0.5]) if target else points), labels


def lopsided(seed: int, target: bool) -> tuple[np.ndarray, np.ndarray]:
    """The blobs of `moved`, with a quarter of one class's points in the target."""
    points, labels = moved(seed, target)
    kept = (labels == 0) | (np.arange(400) % 4 == 0) | (not target)
    return points[kept], labels[kept]


def several(seed: int, target: bool) -> tuple[np.ndarray, np.ndarray]:
    """Two moons, turned by -20 degrees in half of the source and by 30 in the target."""
    points, labels = moons(seed, target)
    if not target:
        points[200:] = points[200:] @ turn(-20).T
    return points, labels


SHIFTS = {
    "moons": moons,
    "moved": moved,
    "shrunk": shrunk,
    "stretched": stretched,
    "lopsided": lopsided,
    "several": several,
}


@cache
def target_accuracy(
    shift: str,
    seed: int,
    method: str = "source_only",
    strength: float = 0,
    options: str = "",
    batch_size: int = 100,
) -> float:
    source, labels = SHIFTS[shift](seed, target=False)
    target, target_labels = SHIFTS[shift](seed, target=True)
    params = {
        "epochs": 150 if shift in {"moons", "several"} else 40,
        "learning_rate": 1e-2,
        "head_learning_rate": 1e-2,
        "discriminator_learning_rate": 1e-2,
        "max_strength": strength,
        "warmup": 0.0,
        "weight_decay": 0.0,
        "max_grad_norm": 10.0,
        "progress": False,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder, head = PointEncoder(), TaskHead(24, 2, dropout=0.0)
        adaptation = methods.create(method, OPTIONS[options])
        domains = np.repeat([0, 1], 200) if shift == "several" else None
        adaptation.attach(encoder, 1 if domains is None else 2)
        adaptation.build(24, 2)
        model = Classifier(encoder, head)
        settings = Settings.of(params, seed, adaptation.default_strength)
        unlabelled = tokens(target) if adaptation.uses_target else None
        batches = PairedBatches(
            tokens(source), labels, unlabelled, batch_size, seed, domains=domains
        )
        phases = adaptation.phases(settings.epochs)
        Trainer(model, adaptation, phases, batches, settings, CPU).run()
    _, logits = infer(model, tokens(target), CPU)
    return float((logits.argmax(1).numpy() == target_labels).mean())


OPTIONS = {
    "": None,
    "small": {"width": 32},
    "adversary": {"width": 32, "discriminator_steps": 0},
    "penalised": {"dann": {"width": 32, "discriminator_steps": 0, "strength": 1.0}},
    "long": {"width": 32, "discriminator_steps": 1, "extra_epochs": 60},
    "refined": {"extra_epochs": 40},
    "critic": {"width": 32, "discriminator_steps": 2},
}
MADE_FOR = [
    ("dann", "moons", 1.0, "adversary", 0.08),
    ("cdan", "moons", 0.3, "adversary", 0.08),
    ("cdan+e", "moved", 0.3, "adversary", 0.08),
    ("mdd", "moons", 1.0, "small", 0.08),
    ("dann+bsp", "moons", 1.0, "penalised", 0.05),
    ("mcd", "moved", 1.0, "small", 0.08),
    ("wdgrl", "moved", 0.3, "critic", 0.08),
    ("mcc", "moved", 1.0, "", 0.08),
    ("mmd", "shrunk", 1.0, "", 0.3),
    ("jan", "shrunk", 1.0, "", 0.3),
    ("coral", "shrunk", 1000.0, "", 0.2),
    ("afn", "stretched", 0.05, "", 0.01),
    ("adda", "moons", 0.1, "long", 0.08),
    ("self_training", "moved", 1.0, "", 0.08),
    ("shot", "moved", 1.0, "refined", 0.08),
    ("student", "moons", 1.0, "refined", 0.02),
    ("iwdan", "lopsided", 1.0, "adversary", 0.08),
    ("mdan", "several", 1.0, "adversary", 0.08),
]


# These need the steps that smaller batches give them.
IN_SMALL_BATCHES = {"dann", "cdan", "iwdan"}


def test_weights_by_class_help_where_class_shares_differ():
    def mean(method: str) -> float:
        runs = [
            target_accuracy("lopsided", seed, method, 1.0, "adversary", 50) for seed in range(5)
        ]
        return float(np.mean(runs))

    assert mean("iwdan") > mean("dann") + 0.03


@pytest.mark.parametrize(("method", "shift", "strength", "options", "margin"), MADE_FOR)
def test_a_method_beats_source_only_on_its_shift(method, shift, strength, options, margin):
    size, seeds = 50 if method in IN_SMALL_BATCHES else 100, range(2)
    before = np.array([target_accuracy(shift, seed, batch_size=size) for seed in seeds])
    after = np.array(
        [target_accuracy(shift, seed, method, strength, options, size) for seed in seeds]
    )
    gains = after - before
    print(f"{method} on {shift}: {before.mean():.3f} -> {after.mean():.3f}, {np.round(gains, 3)}")
    assert gains.mean() > margin
    assert (gains > 0).all()


def reviews(seed: int, part: str, n: int = 300) -> tuple[list[str], np.ndarray]:
    """Texts with two words of praise or blame among others; these words differ between domains.

    Half of the target's texts also have one of the source's words; the test texts have none.
    """
    rng = np.random.default_rng([seed, *part.encode()])
    labels = np.arange(n) % 2
    texts = []
    for label in labels:
        words = (BAD, GOOD)[label]
        own = rng.choice(words[:2] if part == "source" else words[2:], 2)
        if part == "target" and rng.random() < 0.5:
            own = np.append(own, rng.choice(words[:2]))
        others = "film plot actor scene the" if part == "source" else "tweet lol omg today friend"
        texts.append(" ".join(rng.permutation([*own, *rng.choice(others.split(), 2)])))
    return texts, labels


def test_mlm_learns_the_targets_words(tiny_encoder):
    before, after = [], []
    for seed in range(2):
        test, labels = reviews(seed, "test")
        for method, scores in (("source_only", before), ("mlm", after)):
            adapter = DomainAdapter(
                tiny_encoder,
                method=method,
                method_options={"probability": 0.3} if method == "mlm" else None,
                max_length=16,
                epochs=16,
                learning_rate=2e-3,
                validation_fraction=0,
                random_state=seed,
                progress=False,
            )
            adapter.fit(*reviews(seed, "source"), X_target=reviews(seed, "target")[0])
            scores.append((adapter.predict(test) == labels).mean())
    print(f"mlm: {np.round(before, 2)} -> {np.round(after, 2)}")
    assert np.mean(after) > np.mean(before) + 0.2
    assert (np.array(after) > np.array(before)).all()


def test_every_method_has_its_shift():
    shown = {part for row in MADE_FOR for part in methods.parts_of(row[0])} | {"mlm"}
    assert shown == set(methods.names()) - {"source_only"}

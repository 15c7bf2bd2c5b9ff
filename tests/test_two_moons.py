"""The method seen working in seconds: points instead of texts, through the same engine."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import make_moons
from torch import nn

from dann_transfer import engine, methods
from dann_transfer.batches import PairedBatches, Tokens, _flat
from dann_transfer.heads import TaskHead
from dann_transfer.settings import Settings


class PointEncoder(nn.Module):
    """Two "tokens" are a point's coordinates on a grid."""

    features = 24

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU())

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.net((input_ids.float() - 5000) / 1000)


def tokens(points: np.ndarray) -> Tokens:
    return _flat((points * 1000 + 5000).round().astype(int).tolist(), 0)


def moons(seed: int, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    points, labels = make_moons(400, noise=0.08, random_state=seed)
    points = points - [0.5, 0.25]
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return points @ turn.T, labels


def target_accuracy(method: str, seed: int) -> float:
    source, labels = moons(seed, 0)
    target, target_labels = moons(100 + seed, 30)
    settings = Settings(
        epochs=150,
        batch_size=50,
        learning_rate=1e-2,
        head_learning_rate=1e-2,
        discriminator_learning_rate=1e-2,
        max_strength=1.0,
        strength_schedule="dann",
        warmup=0.0,
        weight_decay=0.0,
        max_grad_norm=10.0,
        patience=None,
        precision="fp32",
        seed=seed,
        checkpoint_dir=None,
        progress=False,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = PointEncoder()
        options = {"width": 32, "discriminator_steps": 0} if method == "dann" else None
        adaptation = methods.create(method, options)
        head = TaskHead(24, 2, dropout=0.0)
        adaptation.build(24, 2)
        model = engine.AdaptationModel(encoder, head, adaptation)
        batches = PairedBatches(
            tokens(source), labels, tokens(target) if adaptation.uses_target else None, 50, seed
        )
        engine.train(model, batches, settings, torch.device("cpu"))
    _, logits = engine.infer(model, tokens(target), 400, torch.device("cpu"), "fp32")
    return float((logits.argmax(1).numpy() == target_labels).mean())


def test_dann_beats_source_only_on_turned_moons():
    gains = [
        target_accuracy("dann", seed) - target_accuracy("source_only", seed) for seed in range(5)
    ]
    print(f"gains over source-only: {np.round(gains, 3)}")
    assert np.mean(gains) > 0.08
    assert min(gains) > 0

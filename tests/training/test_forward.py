from __future__ import annotations

import numpy as np
import pytest
import torch

from dann_transfer.training.forward import task_loss


def test_the_task_loss_is_the_mean_of_weighted_rows():
    from sklearn.metrics import log_loss

    rng = np.random.default_rng(0)
    logits, labels = torch.tensor(rng.normal(size=(6, 3))), torch.tensor([0, 1, 2, 0, 1, 2])
    weights = torch.tensor(rng.random(6))
    p = logits.softmax(1).numpy()
    expected = log_loss(labels.numpy(), p, sample_weight=weights.numpy()) * weights.mean().item()
    assert task_loss(logits, labels, weights).item() == pytest.approx(expected)
    assert task_loss(logits, labels, None).item() == pytest.approx(log_loss(labels.numpy(), p))
    assert task_loss(logits, labels, torch.zeros(6)).item() == 0

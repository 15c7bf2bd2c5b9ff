from __future__ import annotations

import pytest
import torch

from dann_transfer.training.keeping import Keeper

# With 30 texts, the standard error of 0.8 is 0.073.
SCORES = [0.5, 0.8, 0.7, 0.74, 0.6]


@pytest.mark.parametrize(("tolerance", "epoch"), [(0.0, 1), (1.0, 3), (3.0, 4)])
def test_the_latest_epoch_within_the_error_of_the_best_is_kept(tolerance, epoch):
    layer = torch.nn.Linear(1, 1)
    keeper = Keeper(layer, tolerance, 30)
    for i, score in enumerate(SCORES):
        torch.nn.init.constant_(layer.weight, i)
        keeper.offer(score)
    keeper.restore()
    assert layer.weight.item() == epoch


def test_of_equal_epochs_the_later_is_kept():
    layer = torch.nn.Linear(1, 1)
    keeper = Keeper(layer, 0.0, 30)
    for i, score in enumerate([0.5, 0.7, 0.7, 0.6]):
        torch.nn.init.constant_(layer.weight, i)
        keeper.offer(score)
    keeper.restore()
    assert layer.weight.item() == 2


def test_what_is_frozen_is_not_kept_and_nothing_is_restored_twice():
    layer = torch.nn.Linear(1, 1)
    layer.bias.requires_grad_(False)
    keeper = Keeper(layer, 1.0, 30)
    keeper.restore()
    keeper.offer(0.5)
    assert set(keeper.state_dict()["weights"]) == {"weight"}
    again = Keeper(layer, 1.0, 30)
    again.load_state_dict(keeper.state_dict())
    assert again.best == 0.5
    torch.nn.init.constant_(layer.weight, 7.0)
    again.restore()
    assert layer.weight.item() != 7
    torch.nn.init.constant_(layer.weight, 7.0)
    again.restore()
    assert layer.weight.item() == 7
    # A phase that starts anew is not compared with the one before it.
    again.offer(0.1)
    torch.nn.init.constant_(layer.weight, 8.0)
    again.restore()
    assert layer.weight.item() == 7

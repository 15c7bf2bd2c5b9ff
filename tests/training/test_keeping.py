from __future__ import annotations

import numpy as np
import pytest
import torch

from dann_transfer.training.keeping import Keeper


def answers(right: int, n: int = 30) -> np.ndarray:
    """Return predictions for n texts of class 1, of which the first ones are right."""
    return (np.arange(n) < right).astype(int)


def kept(tolerance: float, offers: list[np.ndarray], codes: np.ndarray, metric="accuracy") -> int:
    layer = torch.nn.Linear(1, 1)
    keeper = Keeper(layer, tolerance, codes, metric)
    for i, predicted in enumerate(offers):
        torch.nn.init.constant_(layer.weight, i)
        keeper.offer(predicted)
    keeper.restore()
    return int(layer.weight.item())


# Against the best, the later epochs are wrong about 3, 2 and 6 texts more and about none fewer: the
# standard errors of the differences are 1.6, 1.4 and 2.2 texts.
@pytest.mark.parametrize(("tolerance", "epoch"), [(0.0, 1), (1.0, 1), (2.0, 3), (3.5, 4)])
def test_the_latest_epoch_within_the_error_of_the_difference_is_kept(tolerance, epoch):
    offers = [answers(right) for right in (15, 24, 21, 22, 18)]
    assert kept(tolerance, offers, np.ones(30, int)) == epoch


def test_the_error_is_that_of_the_difference_and_not_of_the_best():
    # Both have 20 of 40 right; that they agree about none makes their difference uncertain.
    codes = np.ones(40, int)
    best, other = answers(22, 40), 1 - answers(22, 40)
    assert kept(1.0, [best, other], codes) == 1
    # 200 of 2,000 texts lost and none won is certain, though each share has an error.
    codes = np.ones(2000, int)
    assert kept(3.0, [answers(1000, 2000), answers(900, 2000)], codes) == 0


def test_an_early_epoch_that_is_all_right_by_chance_is_not_kept_for_ever():
    assert kept(2.0, [answers(15, 15), answers(14, 15), answers(14, 15)], np.ones(15, int)) == 2


@pytest.mark.parametrize(("lost", "least", "most"), [(0.0, 0.7, 1.0), (1 / 3, 0.0, 0.15)])
def test_two_errors_keep_a_late_epoch_and_refuse_one_that_has_fallen(lost, least, most):
    """Ten epochs of 30 texts, some of which are right in one epoch and wrong in another."""
    rng, last = np.random.default_rng(0), 0
    for _ in range(20):
        share = rng.beta(0.8, 0.2, 30)
        epochs = (rng.random((10, 30)) < share).astype(int)
        epochs[-1] *= rng.random(30) >= lost
        last += kept(2.0, list(epochs), np.ones(30, int)) == 9
    assert least <= last / 20 <= most


def test_of_equal_epochs_the_later_is_kept():
    offers = [answers(right) for right in (15, 21, 21, 18)]
    assert kept(0.0, offers, np.ones(30, int)) == 2


@pytest.mark.parametrize("metric", ["matthews_corrcoef", "macro_f1", "f1_weighted"])
def test_other_scores_have_their_error_too(metric):
    # Matthews' coefficient is below 0 at first, where a share's error would have no square root.
    codes = np.arange(40) % 2
    worse = np.where(np.arange(40) < 30, 1 - codes, codes)
    better = np.where(np.arange(40) < 4, 1 - codes, codes)
    assert kept(2.0, [worse, better, worse], codes, metric) == 1
    assert kept(2.0, [worse, worse], codes, metric) == 1


def test_what_is_frozen_is_not_kept_and_nothing_is_restored_twice():
    layer = torch.nn.Linear(1, 1)
    layer.bias.requires_grad_(False)
    keeper = Keeper(layer, 1.0, np.ones(30, int))
    keeper.restore()
    keeper.offer(answers(15))
    assert set(keeper.state_dict()["weights"]) == {"weight"}
    again = Keeper(layer, 1.0, np.ones(30, int))
    again.load_state_dict(keeper.state_dict())
    assert np.array_equal(again.best, answers(15))
    torch.nn.init.constant_(layer.weight, 7.0)
    again.restore()
    assert layer.weight.item() != 7
    torch.nn.init.constant_(layer.weight, 7.0)
    again.restore()
    assert layer.weight.item() == 7
    # A phase that starts anew is not compared with the one before it.
    again.offer(answers(3))
    torch.nn.init.constant_(layer.weight, 8.0)
    again.restore()
    assert layer.weight.item() == 7


def test_a_keeper_to_which_nothing_was_offered_is_restored_as_such():
    keeper = Keeper(torch.nn.Linear(1, 1), 1.0, np.ones(30, int))
    keeper.load_state_dict(keeper.state_dict())
    assert keeper.best is None
    assert keeper.weights is None

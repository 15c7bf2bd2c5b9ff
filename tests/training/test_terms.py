"""Losses that would silently do something else than their author means are refused."""

from __future__ import annotations

import pytest
import torch

from dann_transfer import methods
from dann_transfer.methods import Method
from dann_transfer.training.history import OF_EVERY_RUN


def fit(tiny, source, target, loss, **params):
    class Mine(Method):
        def loss(self, forward, strength):
            return loss(forward, strength)

    with methods.registered("mine", Mine):
        return tiny(**{"method": "mine", "epochs": 1, **params}).fit(*source, X_target=target)


def moved(forward):
    return forward.features.mean()


@pytest.mark.parametrize(
    ("loss", "error", "words"),
    [
        (
            lambda f, s: {"task": moved(f)},
            ValueError,
            r"method 'mine' has a term named 'task', .* give it another name",
        ),
        (lambda f, s: moved(f), TypeError, "method 'mine' is Tensor; return a dict of named terms"),
        (lambda f, s: None, TypeError, "method 'mine' is NoneType; return a dict"),
        (lambda f, s: {1: moved(f)}, TypeError, "method 'mine' has the key 1; name it by a str"),
        (
            lambda f, s: {"gap": 0.5},
            TypeError,
            "the term 'gap' of method 'mine' is float; return a tensor",
        ),
        (
            lambda f, s: {"gap": f.features.mean(1)},
            TypeError,
            r"the term 'gap' of method 'mine' is Tensor of shape \(\d+,\); return a tensor with a",
        ),
        (
            lambda f, s: {"whole": moved(f), "gap": moved(f).detach()},
            ValueError,
            r"the term 'gap' of method 'mine' has no gradient .* forward\.metrics",
        ),
    ],
)
def test_what_is_no_loss_is_refused(loss, error, words, tiny, source, target):
    with pytest.raises(error, match=words):
        fit(tiny, source, target, loss)


def test_a_part_of_a_combination_is_checked_too(tiny, source, target):
    with pytest.raises(ValueError, match=r"method 'mine\+mcc' has a term named 'task'"):
        fit(tiny, source, target, lambda f, s: {"task": moved(f)}, method="mine+mcc")


@pytest.mark.parametrize("name", [*OF_EVERY_RUN, "strength", "task_loss"])
def test_a_metric_cannot_replace_what_the_history_records(name, tiny, source, target):
    def loss(forward, strength):
        forward.metrics[name] = 7.0
        return {}

    with pytest.raises(ValueError, match=f"method 'mine' has a metric named '{name}'"):
        fit(tiny, source, target, loss)


def test_no_gradient_is_needed_at_strength_0_or_after_the_first_step(tiny, source, target):
    fit(tiny, source, target, lambda f, s: {"gap": torch.zeros(())}, max_strength=0.0)
    seen = []

    def loss(forward, strength):
        seen.append(strength)
        active = sum(value > 0 for value in seen)
        return {"gap": moved(forward) if active <= 1 else torch.zeros(())}

    adapter = fit(tiny, source, target, loss)
    assert len(adapter.history_) == len(seen) > 2
    assert "gap_loss" in adapter.history_[-1]

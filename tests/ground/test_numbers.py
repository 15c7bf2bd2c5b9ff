"""Values that look like numbers and are none: refused with the keyword's name, wherever they go."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
import torch

from dann_transfer import Domain, methods
from dann_transfer.ground.checks import check_threshold
from dann_transfer.ground.settings import (
    HYPERPARAMETERS,
    as_seed,
    check_params,
    interval_of,
)
from dann_transfer.model.runtime import resolve_device
from dann_transfer.texts.weights import text_weights

NONE = [10**400, -(10**400), np.timedelta64(5, "D"), np.timedelta64("NaT"), timedelta(1)]
NONE += [Decimal(3), 1j, torch.tensor([3, 4]), np.array([3, 4])]
NUMBERS = [name for name, keyword in HYPERPARAMETERS.items() if keyword.low is not None]
IDS = [type(value).__name__ for value in NONE]


@pytest.mark.parametrize("value", NONE, ids=IDS)
@pytest.mark.parametrize("name", NUMBERS)
def test_a_keyword_is_named(name, value):
    with pytest.raises(ValueError, match=f"^{name}="):
        check_params({name: value})


@pytest.mark.parametrize("value", NONE, ids=IDS)
def test_what_is_checked_elsewhere_is_named_too(value):
    checks = {
        "random_state": as_seed,
        "abstain_below": lambda v: check_threshold("abstain_below", v),
    }
    if not isinstance(value, int):
        # So many steps are many, but a number.
        checks["checkpoint_every"] = interval_of
    for name, check in checks.items():
        with pytest.raises(ValueError, match=f"^{name}="):
            check(value)


@pytest.mark.parametrize("value", NONE, ids=IDS)
@pytest.mark.parametrize(
    ("method", "option"),
    [
        ("dann", "width"),
        ("dann", "label_smoothing"),
        ("mlm", "probability"),
        ("self_training", "max_share"),
        ("self_training", "teacher_momentum"),
    ],
)
def test_an_option_is_named(method, option, value):
    with pytest.raises(ValueError, match=option):
        methods.create(method, {option: value})


@pytest.mark.parametrize("device", [2**63, -(2**63) - 1, 10**400])
def test_a_device_beyond_64_bits_is_named(device):
    with pytest.raises(ValueError, match=r"^device="):
        resolve_device(device)


def test_a_truth_value_is_no_threshold():
    with pytest.raises(ValueError, match="abstain_below=True must be a probability"):
        check_threshold("abstain_below", True)


@pytest.mark.parametrize("weight", [10**400, np.timedelta64(5, "D"), timedelta(1)])
def test_weights_are_named(weight):
    labels = np.array(["a", "b"])
    with pytest.raises(ValueError, match=r"^sample_weight must be numbers, one per text"):
        text_weights(labels, None, [1, weight])
    with pytest.raises(ValueError, match=r"^sample_weight must be numbers, one per text"):
        text_weights(labels, None, torch.ones(2, requires_grad=True))
    with pytest.raises(ValueError, match=r"^class_weight.* must be (a )?number"):
        text_weights(labels, {"a": weight, "b": 1}, None)


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        ([[1], [2]], "[1]: 1, [2]: 1"),
        ([[1], [1, 2]], "[1]: 1, [1, 2]: 1"),
        ([{"a": 1}, None], "{'a': 1}: 1, None: 1"),
        (np.array([3, 3]), "3: 2"),
        ([np.int64(3), 4], "3: 1, 4: 1"),
        (torch.tensor([1, 2]), "1: 1, 2: 1"),
    ],
)
def test_a_domain_shows_any_labels(labels, shown):
    assert repr(Domain(["a", "b"], labels)) == f"Domain(2 texts; {shown})"

"""One fact in one place: where it is repeated, it agrees."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest

from dann_transfer import DomainAdapter
from dann_transfer.fitting.fitted import Fitted
from dann_transfer.ground.settings import HYPERPARAMETERS, Settings, check_params
from dann_transfer.model.encoder import Encoder
from dann_transfer.training.schedules import STRENGTH

ROOT = Path(__file__).parents[1]


def test_the_signature_has_the_settings_names_and_defaults():
    parameters = list(inspect.signature(DomainAdapter).parameters.values())
    assert [p.name for p in parameters] == list(HYPERPARAMETERS)
    assert {p.name: p.default for p in parameters} == {
        name: h.default for name, h in HYPERPARAMETERS.items()
    }
    assert DomainAdapter().get_params() == {n: h.default for n, h in HYPERPARAMETERS.items()}


def test_the_docstring_says_what_the_settings_say():
    doc = inspect.getdoc(DomainAdapter) or ""
    section = doc.split("Parameters\n----------\n")[1].split("\n\nAttributes")[0]
    entries = re.findall(r"^(\w+) : [^\n]+\n((?:    .*\n?)+)", section, re.M)
    said = {name: " ".join(text.split()) for name, text in entries}
    assert said == {
        name: " ".join(f"{h.meaning[0].upper()}{h.meaning[1:]}.".split())
        for name, h in HYPERPARAMETERS.items()
    }


def test_the_docstring_names_what_a_fit_leaves_behind():
    doc = inspect.getdoc(DomainAdapter) or ""
    for field in fields(Fitted):
        assert f"{field.name}_" in doc
    documented = re.findall(r'^    (\w+): .*\n    """', inspect.getsource(Fitted), re.M)
    assert documented == [field.name for field in fields(Fitted)]


def test_the_defaults_pass_their_own_check():
    check_params({name: h.default for name, h in HYPERPARAMETERS.items()})
    settings = Settings.of({}, 7, 0.2)
    assert (settings.seed, settings.max_strength, settings.epochs) == (7, 0.2, None)


@pytest.mark.parametrize(
    ("name", "values"),
    [("strength_schedule", list(STRENGTH)), ("pooling", [None, "mean", "cls", "pooler", "last"])],
)
def test_every_choice_is_one_that_works(name, values, tiny_encoder):
    assert list(HYPERPARAMETERS[name].choices) == values
    if name == "pooling":
        for pooling in values:
            assert Encoder.from_pretrained(tiny_encoder, pooling).pooling == (pooling or "mean")


@pytest.mark.parametrize(
    "name", [name for name, h in HYPERPARAMETERS.items() if h.low is not None or h.choices]
)
def test_every_bound_is_checked(name):
    h = HYPERPARAMETERS[name]
    wrong = ["nothing"] if h.choices else [(h.low or 0) - 1, float("nan"), "3", True]
    if h.above:
        wrong.append(h.low)
    if h.whole:
        wrong.append(h.low + 0.5)
    if h.high < float("inf"):
        wrong.append(h.high + 0.01)
    for value in wrong:
        with pytest.raises(ValueError, match=f"{name}="):
            check_params({name: value})

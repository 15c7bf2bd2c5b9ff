"""The table of methods says what the classes do, and needs no torch."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from dann_transfer import methods
from dann_transfer.ground.options import METHODS, check_new_name, checked_options
from dann_transfer.methods import Method, Option

CASES = [(name, option) for name, entry in METHODS.items() for option in entry.options]


def test_it_has_every_method_and_imports_no_torch():
    assert sorted(METHODS) == methods.names()
    code = (
        "import sys; from dann_transfer.ground import options; options.parts_of('cdan+e+mcc'); "
        "print(sorted({'torch', 'sklearn', 'numpy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", METHODS)
def test_the_classes_have_what_the_table_says(name):
    entry, method = METHODS[name], methods.create(name)
    assert method.name == name
    assert method.default_strength == methods.default_strength(name) == entry.default_strength
    assert entry.meaning
    for option, facts in entry.options.items():
        value = getattr(method, option)
        assert (value, type(value)) == (facts.default, type(facts.default))
        assert facts.meaning in (inspect.getdoc(type(method)) or "").replace(
            facts.meaning[0].upper() + facts.meaning[1:], facts.meaning
        )


@pytest.mark.parametrize(("name", "option"), CASES)
def test_every_bound_of_an_option_is_checked(name, option):
    facts = METHODS[name].options[option]
    if facts.choices:
        with pytest.raises(ValueError, match=rf"^{option}='no' of .* must be one of"):
            methods.create(name, {option: "no"})
        return
    wrong = [facts.low - 1, float("nan"), "3", True, *([] if facts.optional else [None])]
    wrong += [facts.low] if facts.above else []
    wrong += [facts.low + 0.5] if facts.whole else []
    wrong += [facts.high] if facts.below else []
    wrong += [facts.high + 0.01] if facts.high < float("inf") else []
    for value in wrong:
        with pytest.raises(ValueError, match=rf"^{option}=.* of .* must be {facts.bounds}\.$"):
            methods.create(name, {option: value})
    assert getattr(methods.create(name, {option: facts.default}), option) == facts.default


def test_an_unknown_option_is_refused_with_those_that_there_are():
    with pytest.raises(TypeError, match=r"mcc has no option 'heat'; .*\['temperature'\]"):
        checked_options("mcc", METHODS["mcc"].options, {"heat": 1})


def test_a_users_method_is_in_the_table_for_as_long_as_it_is_registered():
    class Declared(Method):
        """Pull apart."""

        default_strength = 0.3
        options = {"size": Option(4, "how large it is", low=1, whole=True)}  # noqa: RUF012

        def loss(self, forward, strength):
            return {}

    class Written(Declared):
        options = {}  # noqa: RUF012

        def __init__(self, weight: float = 2.0) -> None:
            super().__init__()
            self.weight = weight

    with methods.registered("declared", Declared), methods.registered("written", Written):
        entry = METHODS["declared"]
        assert (entry.meaning, entry.default_strength) == ("Pull apart.", 0.3)
        assert entry.options == Declared.options
        assert methods.create("declared", {"size": 7}).size == 7
        with pytest.raises(ValueError, match="size=0 of declared must be a whole number"):
            methods.create("declared", {"size": 0})
        assert {k: o.default for k, o in METHODS["written"].options.items()} == {"weight": 2.0}
        assert methods.create("written", {"weight": 1}).weight == 1
    assert not {"declared", "written"} & METHODS.keys()


@pytest.mark.parametrize("name", ["", " ", "+", "mmd+", 3, None])
def test_an_empty_name_is_refused(name):
    with pytest.raises(ValueError, match="a method cannot be named"):
        methods.register(name)(methods.dann.DANN)


def test_a_method_cannot_have_the_name_that_stands_for_several():
    with pytest.raises(ValueError, match="cannot be named 'auto', which trains several methods"):
        methods.register("auto")(methods.dann.DANN)
    assert "auto" not in methods.names()


def test_a_name_that_is_a_combination_is_refused():
    with pytest.raises(ValueError, match=r"'mmd\+mcc' already means the methods \['mmd', 'mcc'\]"):
        methods.register("mmd+mcc")(methods.dann.DANN)
    # cdan+e is a method's name, as long as e is none.
    with pytest.raises(ValueError, match=r"with a method named 'e', 'cdan\+e' would mean"):
        methods.register("e")(methods.dann.DANN)
    assert methods.parts_of("cdan+e") == ["cdan+e"]
    check_new_name("mmd+x", METHODS)

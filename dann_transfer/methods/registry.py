"""The registry of methods: registered and created by name, combined with a plus."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from dann_transfer.ground.checks import check_number
from dann_transfer.ground.options import METHODS, MethodEntry, Option, check_new_name, parts_of
from dann_transfer.methods.base import Method
from dann_transfer.methods.combined import Combined

M = TypeVar("M", bound=type[Method])
_METHODS: dict[str, type[Method]] = {}


def register(name: str) -> Callable[[M], M]:
    """Register a method under a name, so that ``DomainAdapter(method=name)`` finds it.

    Raises
    ------
    ValueError
        If the name is taken, empty, or means a combination of other methods.
    TypeError
        If the class is not a Method or does not implement ``loss``.

    """

    def add(cls: M) -> M:
        if name in _METHODS:
            raise ValueError(
                f"a method named {name!r} already exists ({_METHODS[name].__qualname__}); "
                f"choose a name other than {names()}."
            )
        if not (isinstance(cls, type) and issubclass(cls, Method)):
            raise TypeError(f"{cls!r} must be a subclass of dann_transfer.methods.Method.")
        if missing := sorted(cls.__abstractmethods__):
            raise TypeError(f"{cls.__qualname__} does not implement {missing}.")
        check_new_name(name, _METHODS)
        if name in METHODS:
            _follow(cls, METHODS[name])
        if "name" not in vars(cls):
            cls.name = name
        METHODS.setdefault(name, _entry_of(cls))
        _METHODS[name] = cls
        return cls

    return add


def _follow(cls: type[Method], entry: MethodEntry) -> None:
    """Give a class of the package what the table says of it, and its docstring the options."""
    cls.default_strength, cls.options = entry.default_strength, entry.options
    if entry.options:
        lines = ["", "    Parameters", "    ----------"]
        for name, option in entry.options.items():
            meaning = f"{option.meaning[0].upper()}{option.meaning[1:]}"
            lines += [
                f"    {name} : {option.bounds}, default {option.default!r}",
                f"        {meaning}.",
            ]
        cls.__doc__ = "\n".join([(cls.__doc__ or "").rstrip(), *lines, "", "    "])


def _entry_of(cls: type[Method]) -> MethodEntry:
    """Return the table's entry of a user's class, with the keywords of its ``__init__``."""
    options = dict(cls.options)
    for keyword in inspect.signature(cls).parameters.values():
        if keyword.kind is not keyword.VAR_KEYWORD and keyword.default is not keyword.empty:
            options.setdefault(keyword.name, Option(keyword.default, ""))
    meaning = (inspect.getdoc(cls) or "").split("\n")[0]
    return MethodEntry(meaning, cls.default_strength, options)


def names() -> list[str]:
    """List the registered methods.

    Examples
    --------
    >>> from dann_transfer import methods
    >>> "dann" in methods.names()
    True

    """
    return sorted(_METHODS)


def classes_of(name: str) -> dict[str, type[Method]]:
    """Return the registered classes behind the name of a method or a combination."""
    return {part: _METHODS[part] for part in parts_of(name)}


@contextmanager
def known(classes: dict[str, type[Method]]) -> Iterator[None]:
    """Register the classes that another process knows under these names, within a block."""
    before, entries = dict(_METHODS), dict(METHODS)
    try:
        _METHODS.update(classes)
        for name, cls in classes.items():
            METHODS.setdefault(name, _entry_of(cls))
        yield
    finally:
        _METHODS.clear()
        _METHODS.update(before)
        METHODS.clear()
        METHODS.update(entries)


@contextmanager
def registered(name: str, cls: type[Method]) -> Iterator[None]:
    """Register a method under a name for the length of a ``with`` block.

    Examples
    --------
    >>> from dann_transfer.methods.mcc import MCC
    >>> with registered("mcc again", MCC):
    ...     "mcc again" in names()
    True
    >>> "mcc again" in names()
    False

    """
    register(name)(cls)
    try:
        yield
    finally:
        del _METHODS[name], METHODS[name]


def default_strength(name: str) -> float:
    """Return the `max_strength` that a method uses if the user sets none.

    Examples
    --------
    >>> from dann_transfer import methods
    >>> methods.default_strength("dann")
    0.2

    """
    return _METHODS[name].default_strength


def _check_mapping(options: Any, said: str, name: str) -> None:
    if not isinstance(options, Mapping | None):
        raise TypeError(f"{said}={options!r} must be a dict of keywords of method {name!r}.")


def _check_joined(
    name: str, methods: Mapping[str, Method], options: Mapping[str, dict[str, Any]]
) -> None:
    """Raise a ValueError if methods cannot be parts of one combination."""
    if alone := [part for part, method in methods.items() if not method.joins]:
        part, remedy = alone[0], "use it alone"
        if type(methods[part]).joins:
            part, remedy = f"{part!r} with {options[part]}", f"{remedy}, or leave these options out"
        else:
            part = repr(part)
        raise ValueError(
            f"method={name!r}: {part} trains in phases of its own and cannot be combined with "
            f"another; {remedy}."
        )
    for part, method in methods.items():
        n = len(method.phases(method.min_epochs))
        if n > 1 and not method.trains_anew:
            raise ValueError(
                f"method={name!r}: {part!r} trains in {n} phases and a combination in one; use it "
                "alone, and say joins = False in its class."
            )
    labelling = [part for part, method in methods.items() if method.labels_target]
    if len(labelling) > 1:
        raise ValueError(
            f"method={name!r}: {' and '.join(map(repr, labelling))} label the target's texts, but "
            "a text has one label; use only one of them."
        )


def create(name: str, options: dict[str, Any] | None = None) -> Method:
    """Make a method by name, or a combination such as ``"mmd+mcc"``.

    The options of a combination map the name of a part to the part's own options. Among these,
    "strength" sets what a strength of 1 means for the part.

    Raises
    ------
    ValueError
        If there is no such method.
    TypeError
        If the method takes no such option.

    Examples
    --------
    >>> type(create("dann", {"width": 64})).__name__
    'DANN'
    >>> create("mmd+mcc", {"mcc": {"strength": 0.5}}).strengths
    {'mmd': 1.0, 'mcc': 0.5}

    """
    names_of_parts = parts_of(name)
    _check_mapping(options, "method_options", name)
    try:
        if len(names_of_parts) == 1:
            return _METHODS[name](**(options or {}))
        for part in names_of_parts:
            _check_mapping((options or {}).get(part), f"method_options[{part!r}]", part)
        each = {part: dict((options or {}).get(part) or {}) for part in names_of_parts}
        if unknown := sorted(set(options or {}) - set(each)):
            raise TypeError(f"{unknown} are not parts of it")
        strengths = {
            part: values.pop("strength", _METHODS[part].default_strength)
            for part, values in each.items()
        }
        for part, strength in strengths.items():
            check_number(f"strength={strength!r} of {part}", strength, 0)
        methods = {part: _METHODS[part](**values) for part, values in each.items()}
        _check_joined(name, methods, each)
        return Combined(methods, strengths)
    except TypeError as error:
        raise TypeError(
            f"method_options={options!r} do not fit method {name!r}: {error}"
        ) from error

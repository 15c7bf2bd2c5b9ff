"""The registry of methods: registered and created by name, combined with a plus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from dann_transfer.methods.base import Method, check_number
from dann_transfer.methods.combined import Combined
from dann_transfer.training.phases import TargetAnew

M = TypeVar("M", bound=type[Method])
_METHODS: dict[str, type[Method]] = {}


def register(name: str) -> Callable[[M], M]:
    """Register a method under a name, so that ``DomainAdapter(method=name)`` finds it.

    Raises
    ------
    ValueError
        If the name is taken.
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
        _METHODS[name] = cls
        return cls

    return add


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
    own = dict(_METHODS)
    try:
        _METHODS.update(classes)
        yield
    finally:
        _METHODS.clear()
        _METHODS.update(own)


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
        del _METHODS[name]


def default_strength(name: str) -> float:
    """Return the `max_strength` that a method uses if the user sets none.

    Examples
    --------
    >>> from dann_transfer import methods
    >>> methods.default_strength("dann")
    0.2

    """
    return _METHODS[name].default_strength


def parts_of(name: str) -> list[str]:
    """Split a combination into registered names, taking the longest match each time.

    Raises
    ------
    ValueError
        If a part is not known or is named twice.

    Examples
    --------
    >>> from dann_transfer import methods
    >>> methods.parts_of("cdan+e+mcc")
    ['cdan+e', 'mcc']

    """
    words, parts = name.split("+"), []
    while words:
        for n in range(len(words), 0, -1):
            if "+".join(words[:n]) in _METHODS:
                parts.append("+".join(words[:n]))
                words = words[n:]
                break
        else:
            what = f"part {words[0]!r} of method={name!r}" if "+" in name else f"method={name!r}"
            raise ValueError(
                f"{what} is not known; the methods are {names()}, alone or joined with '+'."
            )
    if len(set(parts)) < len(parts):
        raise ValueError(f"method={name!r} names a part twice; name each once.")
    return parts


def _joins(method: Method) -> bool:
    """Return whether a method can be a part: of several phases, only a student's two can be."""
    *first, last = method.phases(method.min_epochs)
    return not first or (isinstance(last, TargetAnew) and len(first) == 1)


def _check_mapping(options: Any, said: str, name: str) -> None:
    if not isinstance(options, Mapping | None):
        raise TypeError(f"{said}={options!r} must be a dict of keywords of method {name!r}.")


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
        own = {part: dict((options or {}).get(part) or {}) for part in names_of_parts}
        if unknown := sorted(set(options or {}) - set(own)):
            raise TypeError(f"{unknown} are not parts of it")
        strengths = {
            part: own[part].pop("strength", _METHODS[part].default_strength) for part in own
        }
        for part, strength in strengths.items():
            check_number(part, "strength", strength)
        methods = {part: _METHODS[part](**own[part]) for part in own}
        if getattr(methods.get("student"), "members", 1) > 1:
            raise ValueError(
                f"method={name!r}: a student of several members cannot be combined with another "
                "method; leave members at 1."
            )
        if alone := [part for part, made in methods.items() if not _joins(made)]:
            n = len(methods[alone[0]].phases(methods[alone[0]].min_epochs))
            raise ValueError(
                f"method={name!r}: {alone[0]!r} trains in {'two' if n == 2 else n} phases and "
                "cannot be combined with another; use it alone."
            )
        if {"student", "self_training"} <= methods.keys():
            raise ValueError(
                f"method={name!r}: both parts label the target's texts, but a text has one label; "
                "use only one of them."
            )
        return Combined(methods, strengths)
    except TypeError as error:
        raise TypeError(
            f"method_options={options!r} do not fit method {name!r}: {error}"
        ) from error

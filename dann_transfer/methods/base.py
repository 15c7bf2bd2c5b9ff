"""What an adaptation method is, and the registry of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from dann_transfer.batches import Batch

if TYPE_CHECKING:
    from dann_transfer.encoder import Encoder


@dataclass(frozen=True)
class Forward:
    """What one pass of the encoder and the task head gave; source rows first, then target rows.

    Target rows with labels, if the user gave some, come before those without.
    """

    features: Tensor
    """Pooled features, shape (n_source + n_target, width)."""
    logits: Tensor
    """Logits of the task head, shape (n_source + n_target, classes)."""
    labels: Tensor
    """Class positions of the source rows, shape (n_source,)."""
    metrics: dict[str, float | Tensor] = field(default_factory=dict)
    """Numbers that a method wants in the history, such as the domain accuracy."""
    batch: Batch | None = None
    """The batch itself, with what `prepare` added."""
    encode: Callable[[Tensor, Tensor], Tensor] | None = None
    """Turns ids and mask into token states (rows, length, width); None on detached features."""

    @property
    def n_source(self) -> int:
        """Number of source rows."""
        return len(self.labels)

    @property
    def source(self) -> Tensor:
        """Features of the source rows."""
        return self.features[: self.n_source]

    @property
    def target(self) -> Tensor:
        """Features of the target rows."""
        return self.features[self.n_source :]

    @property
    def source_logits(self) -> Tensor:
        """Logits of the source rows."""
        return self.logits[: self.n_source]

    @property
    def target_logits(self) -> Tensor:
        """Logits of the target rows."""
        return self.logits[self.n_source :]

    @property
    def source_domains(self) -> Tensor:
        """Which source domain each source row is of, shape (n_source,); 0 where there is one."""
        given = None if self.batch is None else self.batch.source_domains
        return torch.zeros_like(self.labels) if given is None else given

    @property
    def domains(self) -> Tensor:
        """1 for a source row and 0 for a target row, shape (n_source + n_target,)."""
        rows = torch.arange(len(self.features), device=self.features.device)
        return (rows < self.n_source).to(torch.float32)

    def detach(self) -> Forward:
        """Return a copy from which no gradient reaches the encoder or the task head."""
        apart = self.features.detach(), self.logits.detach()
        return replace(self, features=apart[0], logits=apart[1], encode=None)


class Method(nn.Module, ABC):
    """One adaptation method. Subclass it, implement `loss`, and `register` it.

    Of the hooks only `loss` must be written; `build` is needed by methods with parameters, the
    others by few. Keyword arguments of ``__init__`` can be set through
    ``DomainAdapter(method_options=...)``.
    """

    uses_target: ClassVar[bool] = True
    """Whether batches carry target texts."""
    target_pass: ClassVar[bool] = True
    """Whether the target texts go through the encoder with the source's; False where the method
    encodes them itself."""
    min_epochs: ClassVar[int] = 1
    """The fewest epochs in which the method can do something."""
    extra_epochs: int = 0
    """Epochs after the others in which the task rests: the source passes through a copy of the
    encoder as it then is, and `loss`, called in these epochs alone, moves encoder and method."""
    teacher_momentum: float | None = None
    """If set, an average over steps of the model's weights, which moves by this share each step,
    gives what `on_epoch_start` sees."""
    default_strength: ClassVar[float] = 1.0
    """The `max_strength` used where the user names none."""
    discriminator_steps: int = 0
    """How often `loss` is first minimised on detached features in the method's own parameters."""

    def attach(self, encoder: Encoder, n_domains: int) -> None:
        """Take note of the encoder and of the number of source domains, before `build`."""

    def build(self, features: int, classes: int) -> None:
        """Make the method's own parameters, for features of that width and that many classes."""

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Change a batch before the encoder sees it; the generator is seeded by step."""
        return batch

    def on_epoch_start(
        self, predict_target: Callable[[], tuple[Tensor, Tensor]], progress: float
    ) -> None:
        """Refresh what depends on the epoch, at `progress` from 0 to 1 through the epochs.

        They are those in which `loss` is called. The callable gives the features of all target
        texts, shape (n_target, width), and their probabilities, shape (n_target, classes).
        """

    @abstractmethod
    def loss(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return named loss terms; the engine adds each of them to the task loss.

        `strength` is what the schedule gives at this step, between 0 and ``max_strength``.
        """


def check_extra_epochs(name: str, value: Any) -> int:
    """Return the length of a second phase, or say what is wrong with it."""
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"extra_epochs={value!r} of {name} must be a whole number of at least 1.")
    return value


def check_encoder_moves(name: str, encoder: Encoder) -> None:
    """See to it that a second phase, which moves the encoder alone, has something to move."""
    if not any(p.requires_grad for p in encoder.parameters()):
        raise ValueError(
            f"method={name!r} moves the encoder, of which freeze_layers leaves nothing to train; "
            "lower freeze_layers."
        )


M = TypeVar("M", bound=type[Method])
_METHODS: dict[str, type[Method]] = {}


def register(name: str) -> Callable[[M], M]:
    """Make a method known by name, so that ``DomainAdapter(method=name)`` finds it.

    Raises
    ------
    ValueError
        If the name is taken.
    TypeError
        If the class is no Method or does not implement ``loss``.

    """

    def add(cls: M) -> M:
        if name in _METHODS:
            raise ValueError(
                f"a method named {name!r} exists already ({_METHODS[name].__qualname__}); "
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


def _parts(name: str) -> list[str]:
    """Split a combination into registered names, taking the longest that fits each time."""
    words, parts = name.split("+"), []
    while words:
        for n in range(len(words), 0, -1):
            if "+".join(words[:n]) in _METHODS:
                parts.append("+".join(words[:n]))
                words = words[n:]
                break
        else:
            shown = f"part {words[0]!r} of method={name!r}" if "+" in name else f"method={name!r}"
            raise ValueError(
                f"{shown} is not known; the methods are {names()}, alone or joined by '+'."
            )
    if len(set(parts)) < len(parts):
        raise ValueError(f"method={name!r} names a part twice; name each once.")
    return parts


def create(name: str, options: dict[str, Any] | None = None) -> Method:
    """Make a method by name, or a combination such as ``"mmd+mcc"``.

    The options of a combination map the name of a part to the part's own, among which
    "strength" says what a strength of 1 means for it.

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
    names_of_parts = _parts(name)
    try:
        if len(names_of_parts) == 1:
            return _METHODS[name](**(options or {}))
        from dann_transfer.methods.combined import Combined

        own = {part: dict((options or {}).get(part, {})) for part in names_of_parts}
        if unknown := sorted(set(options or {}) - set(own)):
            raise TypeError(f"{unknown} are no parts of it")
        strengths = {
            part: own[part].pop("strength", _METHODS[part].default_strength) for part in own
        }
        made = {part: _METHODS[part](**own[part]) for part in own}
        # Asked of what was made: how long the second phase is may be an option.
        if alone := [part for part in made if made[part].extra_epochs]:
            raise ValueError(
                f"method={name!r}: {alone[0]!r} trains in two phases and cannot be joined to "
                "another; use it alone."
            )
        return Combined(made, strengths)
    except TypeError as error:
        raise TypeError(
            f"method_options={options!r} do not fit method {name!r}: {error}"
        ) from error

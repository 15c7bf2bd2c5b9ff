"""Choose which parts of an encoder train: freeze its lowest layers, and give the rest LoRA.

What is below a layer is found by a trial pass, not by names: every architecture names its parts
differently, puts projections between them, or shares position tables between layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from dann_transfer.ground.settings import LARGE

if TYPE_CHECKING:
    from transformers import PreTrainedModel

M = TypeVar("M", bound=nn.Module)


class _Trace:
    """The calls of a pass through a model: in order, and where the frozen part ends.

    Parameters
    ----------
    model : nn.Module
    edge : list of nn.Module
        The parts of the first layer above the frozen part, or of the last layer if all are frozen.
    above : bool
        Whether the frozen part ends before `edge` rather than after it.

    """

    def __init__(self, model: nn.Module, edge: list[nn.Module], above: bool) -> None:
        self.model, self.edge, self.above = model, edge, above
        self.begun: list[nn.Module] = []
        self.done: list[nn.Module] = []
        """The modules that had finished when the frozen part ended, in order of finishing."""
        self.later: set[nn.Module] = set()
        """The modules that were called after it."""
        self.states: list[Tensor] = []
        """The output of the frozen part."""
        self.over = False

    def _begin(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if self.above and module in self.edge:
            self._end((args, kwargs))
        if self.over:
            self.later.add(module)

    def _finish(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if not self.over:
            self.done.append(module)
        if not self.above and module in self.edge:
            # A layer ends with the last of its parts; what ran in between is not above it.
            self.over, self.states = False, []
            self.later.clear()
            if module not in self.done:
                self.done.append(module)
            self._end(output)

    def _end(self, values: Any) -> None:
        if not self.over:
            self.over, self.states = True, list(_tensors(values))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the passes within."""
        handles = []
        for module in self.model.modules():
            handles.append(module.register_forward_pre_hook(self._begin, with_kwargs=True))
            handles.append(module.register_forward_hook(self._finish, with_kwargs=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _tensors(values: Any) -> Iterator[Tensor]:
    """Yield the tensors that gradients pass through, at any depth."""
    if isinstance(values, Tensor):
        if values.requires_grad:
            yield values
    elif isinstance(values, dict):
        yield from _tensors(list(values.values()))
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _tensors(value)


def stacks_of(model: PreTrainedModel) -> list[nn.ModuleList]:
    """Return the stacks of a model's layers; several if each holds a part of every layer."""
    n = getattr(model.config, "num_hidden_layers", None)
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == n]
    # A layer may hold as many parts of one kind as there are layers.
    return _outermost(lists)


def freeze(model: PreTrainedModel, k: int, input_ids: Tensor) -> list[nn.Module]:
    """Freeze the embeddings and the k lowest layers of a model; 0 freezes nothing.

    Parameters
    ----------
    model : PreTrainedModel
    k : int
    input_ids : Tensor, shape (rows, length)
        A trial text.

    Returns
    -------
    list of nn.Module
        The modules that run only below layer k, in the order in which they run.

    Raises
    ------
    ValueError
        If the model has fewer layers, they cannot be found, or the upper ones share weights with
        the lower ones.

    """
    if not k:
        return []
    name, stacks = type(model).__name__, stacks_of(model)
    if not stacks:
        raise ValueError(
            f"freeze_layers={k}: cannot find the layers of {name}; use freeze_layers=0."
        )
    n = len(stacks[0])
    if k > n:
        raise ValueError(f"freeze_layers={k}, but the encoder has only {n} layers.")
    trace = _Trace(model, [stack[min(k, n - 1)] for stack in stacks], above=k < n)
    parameters = [p for p in model.parameters() if p.requires_grad]
    training = model.training
    try:
        with torch.enable_grad(), trace.watching():
            model.eval()(input_ids=input_ids, attention_mask=torch.ones_like(input_ids))
    finally:
        model.train(training)
    if not trace.states:
        raise ValueError(
            f"freeze_layers={k}: cannot find the output of the layers of {name}; "
            "use freeze_layers=0."
        )
    gradients = torch.autograd.grad(
        [states.sum() for states in trace.states], parameters, allow_unused=True
    )
    below = {p for p, gradient in zip(parameters, gradients, strict=True) if gradient is not None}
    lower, upper = (
        {p for stack in stacks for layer in stack[part] for p in layer.parameters()}
        for part in (slice(k), slice(k, n))
    )
    if upper and upper <= below | lower:
        raise ValueError(
            f"freeze_layers={k}: the layers of {name} share their weights; use freeze_layers=0."
        )
    only_below = [module for module in trace.done if module not in trace.later]
    frozen = _outermost(dict.fromkeys(only_below))
    for module in frozen:
        # Including what this text did not use, such as a table for pairs of texts.
        below |= set(module.parameters())
    for parameter in below:
        parameter.requires_grad_(False)
    return frozen


def freeze_by_size(model: PreTrainedModel, input_ids: Tensor) -> tuple[int, list[nn.Module]]:
    """Freeze the lower half of a large model, and nothing of a small one.

    Fine-tuning changes what pretraining has learnt about texts that the source lacks, the more so
    the larger the model and the fewer the texts. If layers cannot be frozen, none are.
    Reference: Kumar et al., Fine-Tuning can Distort Pretrained Features and Underperform
    Out-of-Distribution, ICLR 2022.

    Parameters
    ----------
    model : PreTrainedModel
    input_ids : Tensor, shape (rows, length)
        A trial text.

    Returns
    -------
    int
        The number of frozen layers.
    list of nn.Module
        As `freeze` returns them.

    """
    stacks = stacks_of(model)
    if model.num_parameters() < LARGE or not stacks:
        return 0, []
    half = len(stacks[0]) // 2
    try:
        return half, freeze(model, half, input_ids)
    except ValueError:
        return 0, []


def _outermost(modules: Iterable[M]) -> list[M]:
    """Return the modules that are not part of another, in their order."""
    listed = list(modules)
    inner: set[nn.Module] = {p for module in listed for p in module.modules() if p is not module}
    return [module for module in listed if module not in inner]


def add_lora(model: PreTrainedModel, lora: int | dict[str, Any]) -> None:
    """Put low-rank matrices beside the trainable linear layers, and train only the matrices.

    Reference: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022.

    Parameters
    ----------
    model : PreTrainedModel
        With its lowest layers frozen; these get no matrices.
    lora : int or dict
        The rank, or keywords of ``peft.LoraConfig``.

    Raises
    ------
    ImportError
        If peft is not installed.
    ValueError
        If nothing is left to train, or peft does not know a keyword.

    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ImportError(f"lora={lora!r} needs peft: pip install 'dann_transfer[lora]'") from error
    from transformers.pytorch_utils import Conv1D

    # GPT-2 keeps its linear layers transposed, in a class of its own.
    linear = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear | Conv1D)}
    if not linear:
        raise ValueError(
            f"lora={lora!r}, but {type(model).__name__} has no linear layers; leave lora out."
        )
    names = [name for name, module in linear.items() if module.weight.requires_grad]
    if not names:
        raise ValueError(
            f"lora={lora!r}, but freeze_layers leaves no linear layer to train; lower it."
        )
    keywords = {"r": lora} if isinstance(lora, int) else lora
    if whole := {"modules_to_save", "trainable_token_indices"} & set(keywords):
        raise ValueError(
            f"lora={lora!r} trains more than low-rank matrices, which cannot be merged; leave out "
            f"{sorted(whole)}."
        )
    try:
        transposed = any(isinstance(linear[name], Conv1D) for name in names)
        defaults = {"lora_alpha": 2 * keywords.get("r", 8), "target_modules": names}
        config = LoraConfig(**{**defaults, "fan_in_fan_out": transposed, **keywords})
        inject_adapter_in_model(config, model)
    except (TypeError, ValueError) as error:
        raise ValueError(f"lora={lora!r} cannot be used: {error}") from error


def merge_lora(model: nn.Module) -> None:
    """Add what the low-rank matrices learnt to their layers, and remove the matrices."""
    for name, module in list(model.named_modules()):
        if hasattr(module, "get_base_layer") and hasattr(module, "merge"):
            module.merge()
            model.set_submodule(name, module.get_base_layer())


def heights(model: PreTrainedModel) -> dict[nn.Parameter, int]:
    """Return how many layers are above each parameter: 0 for the highest layer and what follows.

    Raises
    ------
    ValueError
        If the layers cannot be found.

    """
    stacks = stacks_of(model)
    if not stacks:
        raise ValueError(
            f"layer_decay: cannot find the layers of {type(model).__name__}; use layer_decay=1."
        )
    above: dict[nn.Parameter, int] = {}
    for stack in stacks:
        for i, layer in enumerate(stack):
            above |= dict.fromkeys(layer.parameters(), len(stack) - 1 - i)
    below = len(stacks[0])
    for parameter in model.parameters():
        if parameter in above:
            below = 0
        else:
            # What comes before the layers, such as embeddings, is below them all.
            above[parameter] = below
    return above

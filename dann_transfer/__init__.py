"""Domain-adversarial adaptation of text classifiers.

With labelled texts in one domain, unlabelled texts in another, and a pretrained encoder to carry
over what is learnt:

```python
from dann_transfer import DomainAdapter

adapter = DomainAdapter("bert-base-uncased", method="dann")
adapter.fit(source_texts, source_labels, X_target=target_texts)
adapter.predict(new_texts)
```
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

from dann_transfer._version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from dann_transfer import datasets, knowledge, methods, plots, serving, tracking
    from dann_transfer.adapter import DomainAdapter
    from dann_transfer.advice import advise
    from dann_transfer.comparison import compare
    from dann_transfer.evaluation import evaluate
    from dann_transfer.judging import (
        conformal,
        decision,
        diagnostics,
        doctor,
        label_shift,
        labelling,
        selection,
    )
    from dann_transfer.search import tune
    from dann_transfer.serving import http as service
    from dann_transfer.serving import onnx as export
    from dann_transfer.texts.files import FileTexts
    from dann_transfer.texts.reading import Domain

__all__ = [
    "Domain",
    "DomainAdapter",
    "FileTexts",
    "__version__",
    "advise",
    "compare",
    "conformal",
    "datasets",
    "decision",
    "diagnostics",
    "doctor",
    "evaluate",
    "export",
    "knowledge",
    "label_shift",
    "labelling",
    "methods",
    "plots",
    "selection",
    "service",
    "serving",
    "tracking",
    "tune",
]
"""The public names. `tests/test_package.py` compares them with docs/api.md."""

_OBJECTS = {
    "DomainAdapter": "adapter",
    "Domain": "texts.reading",
    "FileTexts": "texts.files",
    "advise": "advice",
    "compare": "comparison",
    "evaluate": "evaluation",
    "tune": "search",
}
_MODULES = {
    "conformal": "judging.conformal",
    "decision": "judging.decision",
    "diagnostics": "judging.diagnostics",
    "doctor": "judging.doctor",
    "export": "serving.onnx",
    "label_shift": "judging.label_shift",
    "labelling": "judging.labelling",
    "selection": "judging.selection",
    "service": "serving.http",
}
# Where public classes, functions and modules lie, if a name does not say it:
# `dann_transfer.selection` is a name of `dann_transfer.judging.selection`.


def __getattr__(name: str) -> Any:
    # Importing on first use keeps `import dann_transfer` free of torch, ignite and matplotlib.
    if name in _OBJECTS:
        value = getattr(import_module(f"dann_transfer.{_OBJECTS[name]}"), name)
    elif name in __all__:
        value = import_module(f"dann_transfer.{_MODULES.get(name, name)}")
    else:
        raise AttributeError(f"module 'dann_transfer' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _PublicNames(MetaPathFinder, Loader):
    """Lets ``import dann_transfer.selection`` find the module that has this public name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how to load a public name of a module that lies elsewhere."""
        package, _, name = fullname.rpartition(".")
        return ModuleSpec(fullname, self) if package == __name__ and name in _MODULES else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module itself, so that both names are one object."""
        module = import_module(f"{__name__}.{_MODULES[spec.name.rpartition('.')[2]]}")
        self._specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module back its name, which the import has overwritten."""
        assert module.__spec__ is not None
        module.__spec__ = self._specs.pop(module.__spec__.name)

    def __init__(self) -> None:
        self._specs: dict[str, ModuleSpec | None] = {}


sys.meta_path.append(_PublicNames())

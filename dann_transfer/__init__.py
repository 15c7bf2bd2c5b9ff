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

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dann_transfer._version import __version__

if TYPE_CHECKING:
    from dann_transfer import (
        conformal,
        datasets,
        decision,
        diagnostics,
        labelling,
        methods,
        plots,
        selection,
        tracking,
    )
    from dann_transfer.adapter import DomainAdapter
    from dann_transfer.comparison import compare
    from dann_transfer.evaluation import evaluate
    from dann_transfer.search import tune
    from dann_transfer.texts.reading import Domain
    from dann_transfer.texts.tables import FileTexts

__all__ = [
    "Domain",
    "DomainAdapter",
    "FileTexts",
    "__version__",
    "compare",
    "conformal",
    "datasets",
    "decision",
    "diagnostics",
    "evaluate",
    "labelling",
    "methods",
    "plots",
    "selection",
    "tracking",
    "tune",
]

_WHERE = {
    "DomainAdapter": "adapter",
    "Domain": "texts.reading",
    "FileTexts": "texts.tables",
    "compare": "comparison",
    "evaluate": "evaluation",
    "tune": "search",
}


def __getattr__(name: str) -> Any:
    # Importing on first use keeps `import dann_transfer` free of torch, ignite and matplotlib.
    if name in _WHERE:
        value = getattr(import_module(f"dann_transfer.{_WHERE[name]}"), name)
    elif name in __all__:
        value = import_module(f"dann_transfer.{name}")
    else:
        raise AttributeError(f"module 'dann_transfer' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

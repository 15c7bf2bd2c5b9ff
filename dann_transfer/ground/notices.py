"""Which process prints, where bars can be drawn, and warnings that point at the user's line."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

# In a pipeline or a search, scikit-learn comes between the user and the package.
_PASSED = {__name__.partition(".")[0], "sklearn", "joblib", "contextlib", "threading"}


def is_first() -> bool:
    """Return whether this process writes, draws and prints: the first of those that train."""
    # Prediction without torch has not loaded it.
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not (distributed.is_available() and distributed.is_initialized()):
        return True
    return bool(distributed.get_rank() == 0)


def shows_bars() -> bool:
    """Return whether a progress bar can be drawn over itself: on a terminal or in a notebook.

    In a file each redrawn bar would be a line of its own.
    """
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the first line outside the package and scikit-learn, once for all processes."""
    if not is_first():
        return
    for level in count(2):
        frame = sys._getframe(level - 1)
        outside = frame.f_globals.get("__name__", "").partition(".")[0] not in _PASSED
        if outside or frame.f_back is None:
            break
    warnings.warn(message, category, stacklevel=level)


@contextmanager
def each_once() -> Iterator[None]:
    """Give the warnings of a block at its end, each once, however often the block repeats it.

    Examples
    --------
    >>> with warnings.catch_warnings(record=True) as heard:
    ...     warnings.simplefilter("always")
    ...     with each_once():
    ...         warn("cut", UserWarning)
    ...         warn("cut", UserWarning)
    >>> len(heard)
    1

    """
    with warnings.catch_warnings(record=True) as caught:
        yield
    for message, category in dict.fromkeys((str(w.message), w.category) for w in caught):
        warn(message, category)

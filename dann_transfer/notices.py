"""Warnings that point at the user's line, however deep in the package they are raised."""

from __future__ import annotations

import sys
import warnings
from itertools import count
from pathlib import Path

from dann_transfer.processes import is_first

# scikit-learn stands between the user and the package in a pipeline or a search.
_PASSED = (str(Path(__file__).parent), "sklearn", "joblib", "contextlib.py", "threading.py")


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the first line outside the package and scikit-learn, once for all processes."""
    if not is_first():
        return
    for level in count(2):
        frame = sys._getframe(level - 1)
        outside = not any(part in frame.f_code.co_filename for part in _PASSED)
        if outside or frame.f_back is None:
            break
    warnings.warn(message, category, stacklevel=level)

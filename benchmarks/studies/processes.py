"""Two processes beside one, and small parts of a batch: `processes.py`."""

from __future__ import annotations

import processes
from tables import read


def tables() -> dict[str, str]:
    return {"processes": processes.table(read("processes"))}

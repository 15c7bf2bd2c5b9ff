"""The memory that large targets need: `memory.py`."""

from __future__ import annotations

import memory
from tables import read


def tables() -> dict[str, str]:
    return {"memory": memory.table(read("memory"))}

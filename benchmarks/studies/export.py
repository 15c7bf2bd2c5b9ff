"""An exported model beside torch: `export.py`."""

from __future__ import annotations

import export
from tables import read


def tables() -> dict[str, str]:
    return {"export": export.table(read("export"))}

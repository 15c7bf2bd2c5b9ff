"""Requests a second: `service.py`."""

from __future__ import annotations

import service
from tables import read


def tables() -> dict[str, str]:
    return {"service": service.table(read("service"))}

"""Adaptation methods, one a file. ``names()`` lists them, ``register`` adds one."""

from dann_transfer.methods import (
    afn,
    bsp,
    cdan,
    coral,
    dann,
    jan,
    mcc,
    mcd,
    mdd,
    mmd,
    source_only,
    wdgrl,
)
from dann_transfer.methods.base import Forward, Method, create, names, register

__all__ = [
    "Forward",
    "Method",
    "afn",
    "bsp",
    "cdan",
    "coral",
    "create",
    "dann",
    "jan",
    "mcc",
    "mcd",
    "mdd",
    "mmd",
    "names",
    "register",
    "source_only",
    "wdgrl",
]

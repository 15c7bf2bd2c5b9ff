"""Adaptation methods, one a file. ``names()`` lists them, ``register`` adds one."""

from dann_transfer.methods import afn, cdan, coral, dann, jan, mcc, mdd, mmd, source_only, wdgrl
from dann_transfer.methods.base import Forward, Method, create, names, register

__all__ = [
    "Forward",
    "Method",
    "afn",
    "cdan",
    "coral",
    "create",
    "dann",
    "jan",
    "mcc",
    "mdd",
    "mmd",
    "names",
    "register",
    "source_only",
    "wdgrl",
]

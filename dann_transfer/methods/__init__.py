"""Adaptation methods, one a file. ``names()`` lists them, ``register`` adds one."""

from dann_transfer.methods import (
    adda,
    afn,
    bsp,
    cdan,
    coral,
    dann,
    jan,
    mcc,
    mcd,
    mdan,
    mdd,
    mlm,
    mmd,
    self_training,
    shot,
    source_only,
    wdgrl,
)
from dann_transfer.methods.base import Method
from dann_transfer.methods.registry import (
    create,
    default_strength,
    names,
    parts_of,
    register,
    registered,
)
from dann_transfer.training.forward import Forward

__all__ = [
    "Forward",
    "Method",
    "adda",
    "afn",
    "bsp",
    "cdan",
    "coral",
    "create",
    "dann",
    "default_strength",
    "jan",
    "mcc",
    "mcd",
    "mdan",
    "mdd",
    "mlm",
    "mmd",
    "names",
    "parts_of",
    "register",
    "registered",
    "self_training",
    "shot",
    "source_only",
    "wdgrl",
]

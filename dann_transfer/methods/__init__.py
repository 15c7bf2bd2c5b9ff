"""Adaptation methods, one a file. ``names()`` lists them, ``register`` adds one."""

from dann_transfer.methods import dann, source_only
from dann_transfer.methods.base import Forward, Method, create, names, register

__all__ = ["Forward", "Method", "create", "dann", "names", "register", "source_only"]

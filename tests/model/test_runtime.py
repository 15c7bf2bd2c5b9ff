from __future__ import annotations

import torch

from dann_transfer.model.runtime import resolve_device


def test_devices():
    assert resolve_device("cpu").type == "cpu"
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device(None).type == expected

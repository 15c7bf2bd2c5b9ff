from __future__ import annotations

import pickle
from functools import partial, partialmethod

import numpy as np
import pytest
import torch
from torch import nn

from dann_transfer import DomainAdapter
from dann_transfer.fitting import run
from dann_transfer.model.runtime import check_compiler


@pytest.fixture
def traced(monkeypatch):
    """Trace the encoder as `torch.compile` does and run the graphs as they are: no C++ compiler."""
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", partialmethod(_compile, compiled))
    monkeypatch.setattr(run, "check_compiler", lambda device: None)
    yield compiled
    torch.compiler.reset()


def _compile(module, compiled, **options):
    compiled.append(options)
    module._compiled_call_impl = torch.compile(module._call_impl, backend="eager", **options)


@pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning")
@pytest.mark.parametrize(
    ("method", "params"),
    [("student", {"freeze_layers": 1}), ("mlm+dann", {"lora": 4})],
)
def test_a_compiled_encoder_ends_with_the_same_weights(
    traced, tiny, source, target, tmp_path, method, params
):
    params = {"method": method, "max_strength": None, "epochs": 1, **params}
    plain = tiny(**params).fit(*source, X_target=target)
    assert not traced
    compiled = tiny(**params, torch_compile=True).fit(*source, X_target=target)
    assert traced == [{"dynamic": True}]
    weights = plain.encoder_.state_dict()
    for name, own in compiled.encoder_.state_dict().items():
        torch.testing.assert_close(own, weights[name], atol=1e-4, rtol=1e-3, msg=name)
    p = plain.predict_proba(target)
    np.testing.assert_allclose(compiled.predict_proba(target), p, atol=1e-3)
    compiled.save_pretrained(tmp_path / "model")
    for copy in (
        DomainAdapter.from_pretrained(tmp_path / "model"),
        pickle.loads(pickle.dumps(compiled)),
    ):
        np.testing.assert_allclose(copy.predict_proba(target), p, atol=1e-3)


def test_parts_of_a_batch_are_refused(tiny, source, target):
    message = "torch_compile=True and micro_batch_size=5 do not work together"
    with pytest.raises(ValueError, match=message):
        tiny(torch_compile=True, micro_batch_size=5).fit(*source, X_target=target)


def test_without_a_compiler_there_is_a_readable_error(monkeypatch):
    def compiled(function, **options):
        def fail(x):
            raise RuntimeError("No working C++ compiler found in CXX\nand a long trace")

        return fail

    monkeypatch.setattr(torch, "compile", compiled)
    with pytest.raises(ValueError, match=r"torch_compile=True.*cpu.*No working C\+\+.*leave") as e:
        check_compiler(torch.device("cpu"))
    assert "long trace" not in str(e.value)


def test_with_a_compiler_there_is_none(monkeypatch):
    # Graphs run as they are: this machine need not have a compiler.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    check_compiler(torch.device("cpu"))

"""What a GPU must do in the same way as a CPU. Skipped where there is no GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import TINY, Killed, kill_at, make_tiny_encoder, weights

from dann_transfer import DomainAdapter, methods
from dann_transfer.model.heads import TaskHead

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU"),
    # After a few steps a random encoder predicts one class; these tests are not about that.
    pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning"),
]

METHODS = [*methods.names(), "cdan+e+coral", "mlm+dann", "student+dann"]


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """Make an adapter over an encoder without dropout, whose masks differ between devices."""
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    folder = make_tiny_encoder(tmp_path_factory.mktemp("still") / "encoder", **none)

    def make(**params: object) -> DomainAdapter:
        return DomainAdapter(**{"encoder": folder, "method": "dann", **TINY, **params})

    return make


def first_losses(adapter: DomainAdapter, source, target) -> dict[str, float]:
    """Train, and return the losses of the first step, before devices have drifted apart."""
    adapter.fit(*source, X_target=target)
    row = adapter.history_[0]
    return {key: float(value) for key, value in row.items() if key.endswith("_loss")}


# Each device draws its own masks, and its own points where a critic's slope is measured.
@pytest.mark.parametrize("name", [n for n in METHODS if "mlm" not in n and n != "wdgrl"])
def test_the_first_losses_are_those_of_the_cpu(name, still, source, target, monkeypatch):
    monkeypatch.setattr(TaskHead.__init__, "__defaults__", (0.0,))
    cpu, gpu = (
        first_losses(still(method=name, device=device, precision="fp32"), source, target)
        for device in ("cpu", "cuda")
    )
    assert gpu == pytest.approx(cpu, abs=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_each_precision_learns(precision, tiny, source, target):
    adapter = tiny(device="cuda", precision=precision, epochs=8).fit(*source, X_target=target)
    assert next(adapter.model_.parameters()).is_cuda
    assert adapter.score(*source) > 0.9


@pytest.mark.parametrize("name", METHODS)
def test_resume_equals_an_uninterrupted_run(name, tiny, source, target, tmp_path):
    """Equal up to rounding: the threads of a GPU add in any order."""
    run = {"method": name, "device": "cuda", "precision": "fp32"}
    whole = tiny(**run).fit(*source, X_target=target)
    with pytest.raises(Killed):
        tiny(**run, checkpoint_dir=tmp_path).fit(*source, X_target=target, on_step=kill_at(7))
    resumed = tiny(**run, checkpoint_dir=tmp_path).fit(*source, X_target=target)
    one, two = weights(whole), weights(resumed)
    assert all(torch.allclose(one[key], two[key], atol=1e-4) for key in one)


def test_a_model_of_the_gpu_predicts_on_the_cpu(tiny, source, target, tmp_path):
    adapter = tiny(device="cuda", precision="fp32").fit(*source, X_target=target)
    adapter.save_pretrained(tmp_path / "m")
    loaded = DomainAdapter.from_pretrained(tmp_path / "m", device="cpu")
    assert np.allclose(loaded.predict_proba(target), adapter.predict_proba(target), atol=1e-4)

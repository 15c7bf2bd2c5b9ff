from __future__ import annotations

import numpy as np
import torch

from dann_transfer.model.encoder import Encoder
from dann_transfer.model.model import encode, weights_of
from dann_transfer.model.runtime import Runtime
from dann_transfer.texts.batches import cut, pad


def test_rows_that_go_apart_give_the_same_features_and_gradient(tiny_encoder):
    encoder = Encoder.from_pretrained(tiny_encoder).eval()
    rng = np.random.default_rng(0)
    rows = [rng.integers(5, 25, n) for n in (3, 20, 4, 22, 5, 3, 19, 4)]
    ids, mask = pad(rows, 0)
    short, long = cut(mask)
    assert sorted(short.tolist()) == [0, 2, 4, 5, 7]
    assert sorted(long.tolist()) == [1, 3, 6]
    grads = []
    runtime = Runtime(torch.device("cpu"))
    for apart in (True, False):
        encoder.zero_grad()
        features = encode(encoder, ids, mask, None, runtime) if apart else encoder(ids, mask)
        features.square().sum().backward()
        grads.append((features.detach(), encoder.model.encoder.layer[0].output.dense.weight.grad))
    for apart, together in zip(*grads, strict=True):
        assert torch.allclose(apart, together, atol=1e-5)
    assert not torch.equal(grads[0][0][0], grads[0][0][1])


def test_a_module_has_other_weights_for_the_length_of_a_block():
    layer = torch.nn.Linear(2, 2)
    before = layer.weight.detach().clone()
    with weights_of(layer, {"weight": torch.zeros(2, 2)}):
        assert not layer.weight.any()
    assert torch.equal(layer.weight, before)

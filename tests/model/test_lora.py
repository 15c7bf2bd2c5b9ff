from __future__ import annotations

import pytest
import torch
from conftest import Killed, kill_at, same, weights

from dann_transfer import DomainAdapter
from dann_transfer.model.encoder import Encoder
from dann_transfer.model.tuning import heights, merge_lora

pytest.importorskip("peft")


@pytest.mark.parametrize("method", ["dann", "source_only", "adda", "student", "mlm+dann"])
def test_low_rank_matrices_train_and_leave_a_plain_model(
    method, tiny, tiny_encoder, source, target, tmp_path
):
    params = {"method": method, "lora": 4, "freeze_layers": 1, "learning_rate": 1e-2}
    adapter = tiny(**params).fit(*source, X_target=target)
    start = Encoder.from_pretrained(tiny_encoder).state_dict()
    trained = adapter.encoder_.state_dict()
    assert trained.keys() == start.keys()
    moved = {name for name, value in trained.items() if not torch.equal(value, start[name])}
    # Everything but the matrices of the upper layers stays as it was.
    assert moved
    assert all(".layer.1." in name or ".layer.2." in name for name in moved), moved
    assert all(name.endswith(".weight") and "LayerNorm" not in name for name in moved), moved
    adapter.save_pretrained(tmp_path / "m")
    loaded = DomainAdapter.from_pretrained(tmp_path / "m")
    assert (loaded.predict_proba(target) == adapter.predict_proba(target)).all()
    assert loaded.get_params()["lora"] == 4


def test_the_change_has_the_rank_that_was_asked_for(tiny, tiny_encoder, source, target):
    adapter = tiny(lora=2, learning_rate=1e-2).fit(*source, X_target=target)
    start = Encoder.from_pretrained(tiny_encoder).state_dict()
    name = "model.encoder.layer.2.attention.self.query.weight"
    change = adapter.encoder_.state_dict()[name] - start[name]
    assert torch.linalg.matrix_rank(change, rtol=1e-3) == 2


def test_no_configuration_reaches_frozen_layers(tiny, tiny_encoder, source, target):
    lora = {"r": 2, "target_modules": ["query", "value"]}
    adapter = tiny(lora=lora, freeze_layers=2, learning_rate=1e-2).fit(*source, X_target=target)
    start = Encoder.from_pretrained(tiny_encoder).state_dict()
    trained = adapter.encoder_.state_dict()
    moved = {name for name, value in trained.items() if not torch.equal(value, start[name])}
    upper = "model.encoder.layer.2.attention.self"
    assert moved == {f"{upper}.query.weight", f"{upper}.value.weight"}


def test_a_run_with_low_rank_matrices_resumes(tiny, source, target, tmp_path):
    whole = tiny(lora=4).fit(*source, X_target=target)
    killed = tiny(lora=4, checkpoint_dir=tmp_path)
    with pytest.raises(Killed):
        killed.fit(*source, X_target=target, on_step=kill_at(7))
    resumed = tiny(lora=4, checkpoint_dir=tmp_path).fit(*source, X_target=target)
    assert same(weights(whole), weights(resumed))


def test_merging_changes_no_output(tiny_encoder):
    encoder = Encoder.from_pretrained(tiny_encoder, lora={"r": 3, "lora_dropout": 0.5})
    names = [name for name, p in encoder.named_parameters() if p.requires_grad]
    assert names
    assert all("lora_" in name for name in names)
    with torch.no_grad():
        for p in encoder.parameters():
            if p.requires_grad:
                p.normal_(0, 0.1)
    ids = torch.tensor([[2, 7, 9, 3]])
    before = encoder.eval()(ids, torch.ones_like(ids))
    merge_lora(encoder.model)
    assert torch.allclose(encoder(ids, torch.ones_like(ids)), before, atol=1e-5)
    assert not any("lora" in name for name, _ in encoder.named_modules())


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"lora": 0}, "lora=0 must be a rank"),
        ({"lora": True}, "lora=True must be a rank"),
        ({"lora": "8"}, "lora='8' must be a rank"),
        ({"lora": {"rank": 8}}, r"lora=\{'rank': 8\} cannot be used: .*rank"),
        ({"lora": 8, "freeze_layers": 3}, "lora=8, but freeze_layers leaves no linear layer"),
        ({"lora": {"modules_to_save": ["pooler"]}}, r"leave out \['modules_to_save'\]"),
        ({"layer_decay": 0}, "layer_decay=0 must be a number above 0 and at most 1"),
    ],
)
def test_what_cannot_be_trained_is_refused(params, words, tiny, source, target):
    with pytest.raises(ValueError, match=words):
        tiny(**params).fit(*source, X_target=target)


def test_a_layer_s_rate_follows_its_height(tiny, tiny_encoder, source, target):
    rates = {}

    def look(engine, model):
        if engine.state.iteration == 3:
            optimizer = attached[0].__self__.optimizer
            for group in optimizer.adamw.param_groups:
                for p in group["params"]:
                    rates[p] = group["base"]
            names = dict(model.encoder.model.named_parameters())
            found.update({name: rates[p] for name, p in names.items() if p in rates})

    attached, found = [], {}
    adapter = tiny(layer_decay=0.5, learning_rate=0.008)
    adapter.fit(
        *source,
        X_target=target,
        on_step=look,
        attach=lambda engine: attached.append(engine._process_function),
    )
    assert found["encoder.layer.2.output.dense.weight"] == 0.008
    assert found["encoder.layer.1.output.dense.weight"] == 0.004
    assert found["encoder.layer.0.attention.self.key.bias"] == 0.002
    assert found["embeddings.word_embeddings.weight"] == 0.001


def test_heights_of_parameters_outside_the_layers(tiny_encoder):
    model = Encoder.from_pretrained(tiny_encoder).model
    found = heights(model)
    assert len(found) == len(list(model.parameters()))
    assert {found[p] for p in model.embeddings.parameters()} == {3}
    assert {found[p] for p in model.pooler.parameters()} == {0}

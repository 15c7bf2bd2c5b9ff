"""What holds for every registered method: a new one is tested by being registered."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from conftest import ADAPTING, Killed, kill_at, same, toy_texts, weights

from dann_transfer import Domain, DomainAdapter, methods
from dann_transfer.methods import Method
from dann_transfer.model.caching import frozen_states
from dann_transfer.training.phases import Joint, SourceAlone

pytestmark = pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning")

JOINED = [name for name in ADAPTING if name not in methods.names()]


@pytest.fixture(scope="module")
def plain(tiny_encoder):
    """Train without any method, on batches that carry the target as in every method.

    This is done twice: with the target's texts in the encoder's pass, as in most methods, and
    without, because additional rows in a pass change the dropout that is drawn.
    """

    class Nothing(Method):
        target_pass = True

        def phases(self, epochs):
            return [Joint(self, epochs, target_pass=self.target_pass)]

        def loss(self, forward, strength):
            return {}

    class Apart(Nothing):
        target_pass = False

    from conftest import TINY

    source = toy_texts(90, "film plot actor scene the", 0)
    target = toy_texts(70, "tweet lol omg today friend", 1)[0]
    trained = {}
    for cls in (Nothing, Apart):
        with methods.registered("nothing", cls):
            adapter = DomainAdapter(tiny_encoder, **{**TINY, "method": "nothing"})
            trained[cls.target_pass] = weights(adapter.fit(*source, X_target=target))
    adapter = DomainAdapter(tiny_encoder, **{**TINY, "method": "source_only"})
    trained["source_only"] = weights(adapter.fit(*source))
    return trained


def shared(state: dict) -> dict:
    return {k: v for k, v in state.items() if not k.startswith("method.")}


def off(plain: dict, name: str) -> dict:
    """Return the weights of a run without a method, with the same passes as the first phase."""
    first = methods.create(name).phases(2)[0]
    if isinstance(first, SourceAlone):
        return shared(plain["source_only"])
    return shared(plain[isinstance(first, Joint) and first.target_pass])


@pytest.mark.parametrize("name", ADAPTING)
def test_strength_0_is_source_only_bit_for_bit(name, plain, tiny, source, target):
    adapter = tiny(method=name, max_strength=0.0).fit(*source, X_target=target)
    assert same(shared(weights(adapter)), off(plain, name))


@pytest.mark.parametrize("name", ADAPTING)
def test_a_gradient_reaches_the_encoder(name, plain, tiny, source, target):
    on = tiny(method=name, max_strength=None, epochs=2).fit(*source, X_target=target)
    assert not same(shared(weights(on)), off(plain, name))
    losses = [item for row in on.history_ for item in row.items() if item[0].endswith("_loss")]
    assert {name for name, _ in losses} > {"task_loss"}
    # A phase on the target alone has one loss per step; every other phase also has the task's.
    assert len(losses) > len(on.history_) or name == "student"
    assert np.isfinite([value for _, value in losses]).all()


@pytest.mark.parametrize("name", methods.names() + JOINED)
def test_saved_and_loaded_predicts_the_same(name, tiny, source, target, tmp_path):
    adapter = tiny(method=name, epochs=2).fit(*source, X_target=target)
    adapter.save_pretrained(tmp_path / "m")
    loaded = DomainAdapter.from_pretrained(tmp_path / "m")
    assert same(weights(loaded), weights(adapter))
    assert (loaded.predict_proba(target) == adapter.predict_proba(target)).all()


@pytest.mark.parametrize("name", methods.names() + JOINED)
def test_resume_equals_an_uninterrupted_run(name, tiny, source, target, tmp_path):
    whole = tiny(method=name).fit(*source, X_target=target)
    killed = tiny(method=name, checkpoint_dir=tmp_path)
    with pytest.raises(Killed):
        killed.fit(*source, X_target=target, on_step=kill_at(7))
    resumed = tiny(method=name, checkpoint_dir=tmp_path).fit(*source, X_target=target)
    assert same(weights(whole), weights(resumed))


@pytest.mark.parametrize("n_target", [3, 200])
@pytest.mark.parametrize("name", ADAPTING)
def test_targets_of_any_size(name, tiny, source, n_target):
    target = toy_texts(n_target, "tweet lol omg today friend", 2)[0]
    adapter = tiny(method=name, epochs=2).fit(*source, X_target=target)
    assert np.isfinite(adapter.predict_proba(target)).all()


@pytest.mark.parametrize("classes", [2, 40])
@pytest.mark.parametrize("name", ADAPTING)
def test_two_to_forty_classes(name, tiny, source, target, classes):
    labels = [i % classes for i in range(len(source[0]))]
    adapter = tiny(method=name, epochs=2, validation_fraction=0)
    assert adapter.fit(source[0], labels, X_target=target).predict_proba(target).shape[1] == classes


@pytest.mark.parametrize("name", ADAPTING)
def test_target_labels_cannot_matter(name, tiny, source, target):
    runs = [
        tiny(method=name, epochs=2).fit(*source, X_target=Domain(target, [label] * len(target)))
        for label in ("pos", "corrupt")
    ]
    assert same(weights(runs[0]), weights(runs[1]))


@pytest.mark.parametrize("name", ADAPTING)
def test_batches_of_one_row_a_domain_train_or_are_refused(name, tiny, source, target):
    """No method trains to the end without doing anything."""
    texts = [source[0][:6], source[1][:6]]
    run = {"method": name, "batch_size": 1, "epochs": 2, "validation_fraction": 0}
    if methods.create(name).min_batch > 1:
        words = f"batch_size=1, but method={re.escape(repr(name))} compares texts"
        with pytest.raises(ValueError, match=words):
            tiny(**run).fit(*texts, X_target=target)
        return
    on, off = (
        tiny(**run, max_strength=strength).fit(*texts, X_target=target) for strength in (None, 0.0)
    )
    assert np.isfinite(on.predict_proba(target)).all()
    moved = [
        (a - b).abs().max()
        for a, b in zip(weights(on, "enc").values(), weights(off, "enc").values(), strict=True)
    ]
    # With the task's gradient, Adam magnifies rounding to steps of this size; a phase without the
    # task takes no steps at strength 0.
    assert max(moved) > (0 if len(methods.create(name).phases(2)) > 1 else 2e-4)


@pytest.fixture(scope="module")
def mpnet(tmp_path_factory, tiny_encoder):
    """A small MPNet: positions count from its padding, and its layers share a table of them."""
    from transformers import AutoTokenizer, MPNetConfig, MPNetModel

    folder = tmp_path_factory.mktemp("mpnet")
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    tokenizer.save_pretrained(folder)
    small = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48}
    config = MPNetConfig(
        **small, vocab_size=len(tokenizer), num_hidden_layers=3, max_position_embeddings=66
    )
    torch.manual_seed(0)
    MPNetModel(config).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("name", ADAPTING)
def test_mpnet_with_frozen_layers_trains_as_without_their_states(
    name, mpnet, tiny, source, target, monkeypatch
):
    params = {"encoder": mpnet, "method": name, "freeze_layers": 1, "max_strength": 0.1}
    before = weights(tiny(**params, learning_rate=1e-12).fit(*source, X_target=target))
    cached = weights(tiny(**params).fit(*source, X_target=target))
    assert frozen_states.__defaults__ != (0, None)
    monkeypatch.setattr(frozen_states, "__defaults__", (0, None))
    plain = weights(tiny(**params).fit(*source, X_target=target))
    for key, value in cached.items():
        assert torch.allclose(value, plain[key], atol=5e-3), key
        if ".embeddings." in key or "relative_attention_bias" in key or ".layer.0." in key:
            assert torch.equal(value, before[key]), key
    moved = [k for k in cached if ".layer.2." in k and not torch.equal(cached[k], before[k])]
    assert moved

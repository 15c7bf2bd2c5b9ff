from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from conftest import same, toy_texts, weights

from dann_transfer import engine, methods
from dann_transfer.methods import Method

# Two epochs of a random encoder predict one class; what these tests look at is elsewhere.
pytestmark = pytest.mark.filterwarnings("ignore::dann_transfer.data.CollapseWarning")


def test_encoder_weights_differ_between_strength_0_and_1(tiny, source, target):
    runs = [tiny(max_strength=s).fit(*source, X_target=target) for s in (0.0, 1.0)]
    assert not same(*(weights(run, "encoder") for run in runs))


def test_same_seed_same_weights_bit_for_bit(tiny, source, target):
    one, two = (tiny().fit(*source, X_target=target) for _ in range(2))
    assert same(weights(one), weights(two))
    assert one.history_ == two.history_
    other = tiny(random_state=1).fit(*source, X_target=target)
    assert not same(weights(one), weights(other))


def test_the_users_random_numbers_are_left_alone(tiny, source, target):
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    tiny().fit(*source, X_target=target)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


def test_strength_0_trains_as_without_a_method(tiny, source, target):
    """The reversed gradient is the only road from a method to the encoder."""

    @methods.register("nothing")
    class Nothing(Method):
        def loss(self, forward, strength):
            return {}

    try:
        plain = tiny(method="nothing").fit(*source, X_target=target)
    finally:
        del methods.base._METHODS["nothing"]
    dann = tiny(max_strength=0.0).fit(*source, X_target=target)
    assert same(weights(plain, "encoder"), weights(dann, "encoder"))
    assert same(weights(plain, "head"), weights(dann, "head"))


@pytest.mark.parametrize("n_target", [12, 300])
def test_target_of_another_size_than_the_source(tiny, source, n_target):
    target, _ = toy_texts(n_target, "tweet lol omg today friend", 2)
    adapter = tiny(epochs=1).fit(*source, X_target=target)
    assert all(np.isfinite(row["domain_loss"]) for row in adapter.history_)


def test_strength_follows_progress_over_the_real_steps(tiny, source, target):
    for epochs in (1, 3):
        history = tiny(epochs=epochs, max_strength=0.3).fit(*source, X_target=target).history_
        assert len(history) == epochs * round(81 / 16)
        strengths = [row["strength"] for row in history]
        assert strengths == sorted(strengths)
        assert strengths[-1] == pytest.approx(0.3, abs=1e-4)


def test_the_discriminator_learns_while_strength_is_0(tiny, source, target):
    history = tiny(epochs=6, max_strength=0.0).fit(*source, X_target=target).history_
    assert history[-1]["domain_loss"] < 0.5 * history[0]["domain_loss"]
    assert history[-1]["domain_accuracy"] > 0.9


def test_a_loss_that_is_not_finite_stops_the_run(tiny, source, target):
    @methods.register("explodes")
    class Explodes(Method):
        def loss(self, forward, strength):
            return {"bad": forward.features.sum() * float("inf")}

    try:
        with pytest.raises(FloatingPointError, match=r"step 1 \(task=.*bad=.*lower learning_rate"):
            tiny(method="explodes").fit(*source, X_target=target)
    finally:
        del methods.base._METHODS["explodes"]


def test_the_task_loss_is_the_mean_of_weighted_rows():
    from sklearn.metrics import log_loss

    rng = np.random.default_rng(0)
    logits, labels = torch.tensor(rng.normal(size=(6, 3))), torch.tensor([0, 1, 2, 0, 1, 2])
    weights = torch.tensor(rng.random(6))
    p = logits.softmax(1).numpy()
    expected = log_loss(labels, p, sample_weight=weights) * weights.mean().item()
    assert engine.task_loss(logits, labels, weights).item() == pytest.approx(expected)
    assert engine.task_loss(logits, labels, None).item() == pytest.approx(log_loss(labels, p))
    assert engine.task_loss(logits, labels, torch.zeros(6)).item() == 0


class Killed(Exception):
    pass


@pytest.mark.parametrize("stop_at", [5, 8])
def test_a_killed_run_resumes_exactly(tiny, source, target, tmp_path, monkeypatch, stop_at):
    """Stopped at an epoch's end (5) or in its middle (8), the run ends as if never stopped."""
    whole = tiny(epochs=3).fit(*source, X_target=target)
    assert len(whole.history_) == 15
    train = engine.train

    def killed(*args, **kwargs):
        def kill(trainer):
            if trainer.state.iteration == stop_at + 1:
                raise Killed

        return train(*args, **{**kwargs, "on_step": kill})

    monkeypatch.setattr(engine, "train", killed)
    with pytest.raises(Killed):
        tiny(epochs=3, checkpoint_dir=tmp_path).fit(*source, X_target=target)
    monkeypatch.setattr(engine, "train", train)
    resumed = tiny(epochs=3, checkpoint_dir=tmp_path).fit(*source, X_target=target)
    assert same(weights(whole), weights(resumed))
    assert whole.history_ == resumed.history_
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint_15.pt"]
    # Once more finds a finished run and trains nothing.
    again = tiny(epochs=3, checkpoint_dir=tmp_path).fit(*source, X_target=target)
    assert same(weights(whole), weights(again))


def test_a_checkpoint_of_another_run_is_refused(tiny, source, target, tmp_path):
    tiny(checkpoint_dir=tmp_path).fit(*source, X_target=target)
    with pytest.raises(ValueError, match="other texts, labels or settings; choose another"):
        tiny(checkpoint_dir=tmp_path, learning_rate=5e-4).fit(*source, X_target=target)


def test_the_best_adapted_epoch_is_kept(tiny, source, target, monkeypatch):
    scores = iter([0.9, 0.5, 0.7, 0.7, 0.6])
    seen = []

    def train(model, batches, settings, device, validate, fingerprint, **_):
        def score():
            seen.append({k: v.clone() for k, v in model.head.state_dict().items()})
            return next(scores)

        return original(model, batches, settings, device, score, fingerprint)

    original = engine.train
    monkeypatch.setattr(engine, "train", train)
    # A linear schedule reaches nine tenths of its strength in the fifth epoch alone.
    linear = tiny(epochs=5, strength_schedule="linear").fit(*source, X_target=target)
    assert torch.equal(linear._model.head[1].weight, seen[4]["1.weight"])
    scores, seen[:] = iter([0.9, 0.5, 0.7, 0.7, 0.6]), []
    usual = tiny(epochs=5, strength_schedule="constant").fit(*source, X_target=target)
    assert torch.equal(usual._model.head[1].weight, seen[0]["1.weight"])
    scores, seen[:] = iter([0.5, 0.7, 0.7, 0.6, 0.1]), []
    tied = tiny(epochs=5, strength_schedule="constant").fit(*source, X_target=target)
    assert torch.equal(tied._model.head[1].weight, seen[2]["1.weight"])
    scores, seen[:] = iter([0.8, 0.7, 0.7, 0.6, 0.1]), []
    tiny(epochs=5, strength_schedule="constant", patience=2).fit(*source, X_target=target)
    assert len(seen) == 3
    # Patience does not run out while strength still grows.
    scores, seen[:] = iter([0.8, 0.7, 0.6, 0.5, 0.4]), []
    tiny(epochs=5, strength_schedule="linear", patience=1).fit(*source, X_target=target)
    assert len(seen) == 5


@pytest.mark.parametrize(("tolerance", "kept"), [(0.0, 1), (1.0, 3), (3.0, 4)])
def test_the_latest_epoch_within_the_error_of_the_best_is_kept(
    tolerance, kept, tiny, source, target, monkeypatch
):
    # Of 30 texts the standard error of 0.8 is 0.073.
    scores, seen = iter([0.5, 0.8, 0.7, 0.74, 0.6]), []

    def train(model, batches, settings, device, validate, fingerprint, **_):
        def score():
            seen.append({k: v.clone() for k, v in model.head.state_dict().items()})
            return next(scores)

        return original(model, batches, settings, device, score, fingerprint, n_validation=30)

    original = engine.train
    monkeypatch.setattr(engine, "train", train)
    adapter = tiny(epochs=5, strength_schedule="constant", validation_tolerance=tolerance)
    adapter.fit(*source, X_target=target)
    assert torch.equal(adapter._model.head[1].weight, seen[kept]["1.weight"])


def test_weights_that_diverge_in_the_last_step_are_noticed(tiny, source, target):
    with pytest.raises(FloatingPointError, match="the weights are not finite after the last step"):
        tiny(epochs=1, batch_size=128, learning_rate=1e39, warmup=0.0).fit(*source, X_target=target)


def test_a_checkpoint_knows_its_validation_labels(tiny, source, target, tmp_path):
    texts, labels = source
    val = {"X_target": target, "X_val": texts[:10]}
    tiny(checkpoint_dir=tmp_path).fit(texts, labels, **val, y_val=labels[:10])
    with pytest.raises(ValueError, match="other texts, labels or settings"):
        tiny(checkpoint_dir=tmp_path).fit(texts, labels, **val, y_val=labels[1:11])


def test_frozen_layers_do_not_move(tiny, source, target, tiny_encoder):
    from transformers import AutoModel

    before = AutoModel.from_pretrained(tiny_encoder).state_dict()
    after = tiny(freeze_layers=2).fit(*source, X_target=target).encoder_.model.state_dict()
    frozen = ("embeddings.", "encoder.layer.0.", "encoder.layer.1.", "pooler.")
    for name, value in before.items():
        assert torch.equal(value, after[name]) == name.startswith(frozen) or "key.bias" in name, (
            name
        )


def test_epoch_hook_sees_target_predictions(tiny, source, target):
    seen = []

    @methods.register("looks")
    class Looks(Method):
        def on_epoch_start(self, predict_target, progress):
            seen.append((progress, tuple(predict_target()[1].shape)))

        def loss(self, forward, strength):
            return {}

    try:
        tiny(method="looks").fit(*source, X_target=target)
    finally:
        del methods.base._METHODS["looks"]
    assert seen == [(0.0, (len(target), 2)), (0.5, (len(target), 2))]


def test_adda_moves_the_targets_encoder_alone_in_its_second_phase(tiny, source, target):
    before = tiny(method="source_only").fit(*source)
    options = {"extra_epochs": 2, "width": 16}
    adda = tiny(method="adda", max_strength=0.5, method_options=options)
    adda.fit(*source, X_target=target)
    per_epoch = len(adda.history_) // 4
    first, second = adda.history_[: 2 * per_epoch], adda.history_[2 * per_epoch :]
    assert all({"task_loss"} == {k for k in row if k.endswith("_loss")} for row in first)
    assert all(row["strength"] == 0 for row in first)
    assert all({"domain_loss", "mapping_loss"} < set(row) for row in second)
    assert not any("task_loss" in row for row in second)
    assert 0 < second[0]["strength"] < second[-1]["strength"]
    assert second[-1]["strength"] == pytest.approx(0.5, abs=1e-3)
    # The head stays, and with it the phase before; the encoder goes on.
    at_rest = tiny(method="adda", max_strength=0.0, method_options=options)
    at_rest.fit(*source, X_target=target)
    assert same(weights(adda, "head"), weights(at_rest, "head"))
    assert not same(weights(adda, "encoder"), weights(at_rest, "encoder"))
    assert len(first) == len(before.history_)


def test_shot_moves_the_encoder_alone_and_labels_the_target_in_its_second_phase(
    tiny, source, target, monkeypatch
):
    from dann_transfer.methods import shot

    labelled = []
    label = shot.centroid_labels

    def watched(features, probabilities, rounds=2):
        labelled.append((tuple(features.shape), tuple(probabilities.shape)))
        return label(features, probabilities, rounds)

    monkeypatch.setattr(shot, "centroid_labels", watched)
    params = {"method": "shot", "method_options": {"extra_epochs": 2}}
    on = tiny(**params, max_strength=1.0).fit(*source, X_target=target)
    assert labelled == [((len(target), on._model.encoder.features), (len(target), 2))] * 2
    off = tiny(**params, max_strength=0.0).fit(*source, X_target=target)
    assert same(weights(on, "head"), weights(off, "head"))
    assert not same(weights(on, "encoder"), weights(off, "encoder"))
    half = len(on.history_) // 2
    for row in on.history_[:half]:
        assert {"task_loss"} == {k for k in row if k.endswith("_loss")}
    for row in on.history_[half:]:
        assert {k for k in row if k.endswith("_loss")} == {"information_loss", "pseudo_loss"}
    # Sure of one class each: what the loss asks for on the target.
    assert on.history_[-1]["entropy"] < on.history_[half]["entropy"]


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("adda", {"extra_epochs": 3}),
        ("shot", {"extra_epochs": 3}),
        ("self_training", {"teacher_momentum": 0.2}),
    ],
)
def test_resume_late_in_a_run(method, options, tiny, source, target, tmp_path, monkeypatch):
    """In ADDA's second phase, and where a teacher has its own history."""
    params = {"method": method, "method_options": options, "max_strength": 0.5}
    params |= {"epochs": 4 if method == "self_training" else 2}
    whole = tiny(**params).fit(*source, X_target=target)
    train, kill_at = engine.train, len(whole.history_) - 2

    def killed(*args, **kwargs):
        def kill(trainer):
            if trainer.state.iteration == kill_at:
                raise Killed

        return train(*args, **{**kwargs, "on_step": kill})

    monkeypatch.setattr(engine, "train", killed)
    with pytest.raises(Killed):
        tiny(**params, checkpoint_dir=tmp_path).fit(*source, X_target=target)
    monkeypatch.setattr(engine, "train", train)
    resumed = tiny(**params, checkpoint_dir=tmp_path).fit(*source, X_target=target)
    assert same(weights(whole), weights(resumed))
    assert resumed.history_ == whole.history_


def test_the_teacher_is_the_moving_average_of_the_model(tiny, source, target, monkeypatch):
    seen, taught = [], []

    @methods.register("taught")
    class Taught(Method):
        teacher_momentum = 0.3

        def on_epoch_start(self, predict_target, progress):
            taught.append(predict_target()[1])

        def loss(self, forward, strength):
            return {}

    train = engine.train

    def watched(model, batches, *args, **kwargs):
        seen.append((model, copy.deepcopy(model.state_dict()), batches.target))

        def keep(trainer):
            # A plain mean of the first three steps' weights, then 0.3 of each step's.
            share = max(0.3, 1 / trainer.state.iteration)
            average = seen[0][1]
            for name, value in model.state_dict().items():
                average[name] = (1 - share) * average[name] + share * value

        def on_step(trainer):
            if trainer.state.epoch == 1:
                keep(trainer)

        return train(model, batches, *args, **{**kwargs, "on_step": on_step})

    monkeypatch.setattr(engine, "train", watched)
    try:
        adapter = tiny(method="taught").fit(*source, X_target=target)
    finally:
        del methods.base._METHODS["taught"]
    _, average, tokens = seen[0]
    adapter._model.load_state_dict(average)
    expected = adapter._infer(tokens)[1].softmax(1)
    assert torch.allclose(taught[1], expected, atol=1e-5)
    assert not torch.allclose(taught[0], taught[1], atol=1e-4)


def test_precision_bf16_runs_on_the_cpu(tiny, source, target):
    adapter = tiny(precision="bf16", epochs=1).fit(*source, X_target=target)
    assert weights(adapter)["head.1.weight"].dtype == torch.float32


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("precision", ["auto", "fp32", "fp16"])
def test_cuda(tiny, source, target, precision):
    adapter = tiny(device="cuda", precision=precision, epochs=4).fit(*source, X_target=target)
    assert next(adapter._model.parameters()).is_cuda
    assert adapter.score(*source) > 0.9
    again = tiny(device="cuda", precision=precision, epochs=4).fit(*source, X_target=target)
    assert np.allclose(adapter.predict_proba(target), again.predict_proba(target), atol=1e-2)

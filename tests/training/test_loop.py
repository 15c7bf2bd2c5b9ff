from __future__ import annotations

import gc
import re
import weakref

import numpy as np
import pytest
import torch
from conftest import Killed, kill_at, same, toy_texts, weights

from dann_transfer import methods
from dann_transfer.ground import streams
from dann_transfer.methods import Method
from dann_transfer.training.loop import Trainer
from dann_transfer.training.phases import Joint

# After two epochs a random encoder predicts one class; these tests are not about that.
pytestmark = pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning")


def test_encoder_weights_differ_between_strength_0_and_1(tiny, source, target):
    runs = [tiny(max_strength=s).fit(*source, X_target=target) for s in (0.0, 1.0)]
    assert not same(*(weights(run, "encoder") for run in runs))


def test_same_seed_same_weights_bit_for_bit(tiny, source, target):
    one, two = (tiny().fit(*source, X_target=target) for _ in range(2))
    assert same(weights(one), weights(two))
    assert one.history_ == two.history_
    other = tiny(random_state=1).fit(*source, X_target=target)
    assert not same(weights(one), weights(other))


def test_seeds_and_steps_share_no_random_numbers():
    """With ``seed + step``, seeds 0, 1 and 2 had the same dropout one step apart."""
    numbers = {streams.number(seed, streams.STEP, k) for seed in range(50) for k in range(200)}
    assert len(numbers) == 50 * 200
    of_a_step = {streams.number(0, stream, 1) for stream in range(8)}
    assert len(of_a_step) == 8


def test_the_users_random_numbers_are_left_alone(tiny, source, target):
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    tiny().fit(*source, X_target=target)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


def test_strength_0_trains_as_without_a_method(tiny, source, target):
    """The reversed gradient is the only way from a method to the encoder."""

    class Nothing(Method):
        def loss(self, forward, strength):
            return {}

    with methods.registered("nothing", Nothing):
        plain = tiny(method="nothing").fit(*source, X_target=target)
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


LOSS, ACCURACY = "domain_loss", "domain_accuracy"


def test_the_discriminator_learns_while_strength_is_0(tiny, source, target):
    history = tiny(epochs=6, max_strength=0.0).fit(*source, X_target=target).history_
    loss, accuracy = (np.mean([row[k] for row in history[-6:]]) for k in (LOSS, ACCURACY))
    assert loss < 0.5 * history[0][LOSS]
    assert accuracy > 0.9


def test_a_loss_that_is_not_finite_stops_the_run(tiny, source, target):
    class Explodes(Method):
        def loss(self, forward, strength):
            return {"bad": forward.features.sum() * float("inf")}

    words = r"step 1 \(task=.*bad=.*lower learning_rate"
    with methods.registered("explodes", Explodes), pytest.raises(FloatingPointError, match=words):
        tiny(method="explodes").fit(*source, X_target=target)


@pytest.mark.parametrize("params", [{}, {"epochs": 1, "batch_size": 128}])
def test_a_gradient_that_is_not_finite_stops_the_run(params, tiny, source, target, tmp_path):
    """Clipping would turn it into none, and the encoder would not learn; also in the last step."""

    class Steep(Method):
        def loss(self, forward, strength):
            return {"steep": 1e30 * forward.features.sum()}

    words = "the gradient is not finite at step 1 .gradient_norm=inf.*lower learning_rate"
    with methods.registered("steep", Steep):
        # A run that resumes from a checkpoint of that step is told again.
        for _ in range(2):
            adapter = tiny(method="steep", checkpoint_dir=tmp_path, **params)
            with pytest.raises(FloatingPointError, match=words):
                adapter.fit(*source, X_target=target)


@pytest.mark.parametrize("stop_at", [5, 8])
def test_a_killed_run_resumes_exactly(tiny, source, target, tmp_path, stop_at):
    """Stopped at the end of an epoch (5) or inside one (8), a run ends as if never stopped."""
    whole = tiny(epochs=3).fit(*source, X_target=target)
    assert len(whole.history_) == 15
    killed = tiny(epochs=3, checkpoint_dir=tmp_path)
    with pytest.raises(Killed):
        killed.fit(*source, X_target=target, on_step=kill_at(stop_at + 1))
    resumed = tiny(epochs=3, checkpoint_dir=tmp_path).fit(*source, X_target=target)
    assert same(weights(whole), weights(resumed))
    assert whole.history_ == resumed.history_
    # The last two checkpoints are there, and nothing half written.
    names = sorted(p.name for p in tmp_path.iterdir() if p.name != ".lock")
    assert [name.rsplit("_", 1)[0] for name in names] == ["checkpoint_10", "checkpoint_15"]
    # Another fit finds a finished run and trains nothing.
    again = tiny(epochs=3, checkpoint_dir=tmp_path).fit(*source, X_target=target)
    assert same(weights(whole), weights(again))


def test_a_home_folder_is_resumed_from_and_guarded(tiny, source, target, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    tiny(checkpoint_dir="~/run").fit(*source, X_target=target)
    assert list((tmp_path / "run").glob("checkpoint_*.pt"))
    seen = []
    again = tiny(checkpoint_dir="~/run")
    again.fit(*source, X_target=target, on_step=lambda *_: seen.append(1))
    assert not seen, "a finished run takes no step"
    with pytest.raises(ValueError, match="belongs to another run: it differs in learning_rate"):
        tiny(checkpoint_dir="~/run", learning_rate=5e-4).fit(*source, X_target=target)


def epoch_weights(seen: dict):
    """Return a watcher that records the weights at the end of each epoch."""

    def look(engine, model):
        if engine.state.iteration % engine.state.epoch_length == 0:
            seen[engine.state.epoch] = {k: v.clone() for k, v in model.state_dict().items()}

    return look


@pytest.mark.parametrize("tolerance", [0.0, 1.0, 3.0])
def test_the_latest_epoch_within_the_error_of_the_best_is_kept(tolerance, tiny, source, target):
    seen: dict = {}
    params = {"epochs": 5, "strength_schedule": "constant", "validation_tolerance": tolerance}
    adapter = tiny(**params, learning_rate=3e-4, random_state=2)
    adapter.fit(*source, X_target=target, on_step=epoch_weights(seen))
    scores = np.array([row["validation_accuracy"] for row in adapter.validation_])
    # There are nine held-out texts. The best so far counts, as a run cannot look ahead.
    best = np.maximum.accumulate(scores)
    good = scores >= best - tolerance * np.sqrt(best * (1 - best) / 9)
    assert len(set(scores)) > 1
    kept = adapter.model_.state_dict()
    assert torch.equal(kept["head.1.weight"], seen[1 + np.flatnonzero(good)[-1]]["head.1.weight"])


def test_only_an_adapted_epoch_is_kept(tiny, source, target):
    # A linear schedule reaches nine tenths of its strength only in the fifth epoch. If the epochs
    # did not differ, the first would be kept at a tolerance below zero.
    seen: dict = {}
    params = {"epochs": 5, "strength_schedule": "linear", "validation_tolerance": 0.0}
    adapter = tiny(**params).fit(*source, X_target=target, on_step=epoch_weights(seen))
    assert torch.equal(adapter.model_.state_dict()["head.1.weight"], seen[5]["head.1.weight"])


@pytest.mark.parametrize(("schedule", "patience", "epochs"), [("constant", 2, 3), ("linear", 1, 5)])
def test_patience_runs_out_among_adapted_epochs(schedule, patience, epochs, tiny, source, target):
    # At these rates the accuracy does not change.
    still = {"learning_rate": 1e-12, "head_learning_rate": 1e-12}
    adapter = tiny(epochs=5, strength_schedule=schedule, patience=patience, **still)
    adapter.fit(*source, X_target=target)
    assert len({row["validation_accuracy"] for row in adapter.validation_}) == 1
    assert len(adapter.validation_) == epochs


def test_weights_that_diverge_in_the_last_step_are_noticed(tiny, source, target):
    with pytest.raises(FloatingPointError, match="the weights are not finite after the last step"):
        tiny(epochs=1, batch_size=128, learning_rate=1e39, warmup=0.0).fit(*source, X_target=target)


def test_frozen_layers_do_not_move(tiny, source, target, tiny_encoder):
    from transformers import AutoModel

    before = AutoModel.from_pretrained(tiny_encoder).state_dict()
    after = tiny(freeze_layers=2).fit(*source, X_target=target).encoder_.model.state_dict()
    frozen = ("embeddings.", "encoder.layer.0.", "encoder.layer.1.", "pooler.")
    for name, value in before.items():
        assert torch.equal(value, after[name]) == name.startswith(frozen) or "key.bias" in name, (
            name
        )


def test_a_method_sees_target_predictions_and_gets_its_memory_back(tiny, source, target):
    seen, rows = [], []

    class Looks(Method):
        def remember(self, predict_target, progress):
            seen.append((progress, tuple(predict_target()[1].shape)))
            return {"place": torch.arange(len(target))}

        def loss(self, forward, strength):
            rows.append((forward.batch.extras["place"], forward.batch.target_rows))
            return {}

    with methods.registered("looks", Looks):
        tiny(method="looks").fit(*source, X_target=target)
    assert seen == [(0.0, (len(target), 2)), (0.5, (len(target), 2))]
    assert all(torch.equal(place, own) for place, own in rows)


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
    # The head stays as the first phase left it; the encoder moves on.
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
    assert labelled == [((len(target), on.encoder_.features), (len(target), 2))] * 2
    off = tiny(**params, max_strength=0.0).fit(*source, X_target=target)
    assert same(weights(on, "head"), weights(off, "head"))
    assert not same(weights(on, "encoder"), weights(off, "encoder"))
    half = len(on.history_) // 2
    for row in on.history_[:half]:
        assert {"task_loss"} == {k for k in row if k.endswith("_loss")}
    for row in on.history_[half:]:
        assert {k for k in row if k.endswith("_loss")} == {"information_loss", "pseudo_loss"}
    # The loss wants each target text sure of one class, and all classes used overall.
    loss = [row["information_loss"] for row in on.history_[half:]]
    epoch = len(loss) // 2
    assert np.mean(loss[epoch:]) < np.mean(loss[:epoch])


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("adda", {"extra_epochs": 3}),
        ("shot", {"extra_epochs": 3}),
        ("self_training", {"teacher_momentum": 0.2}),
    ],
)
def test_resume_late_in_a_run(method, options, tiny, source, target, tmp_path):
    """In the second phase of ADDA and SHOT, and where a teacher has its own history."""
    params = {"method": method, "method_options": options, "max_strength": 0.5}
    params |= {"epochs": 4 if method == "self_training" else 2}
    whole = tiny(**params).fit(*source, X_target=target)
    killed, kill = tiny(**params, checkpoint_dir=tmp_path), kill_at(len(whole.history_) - 2)
    with pytest.raises(Killed):
        killed.fit(*source, X_target=target, on_step=kill)
    resumed = tiny(**params, checkpoint_dir=tmp_path).fit(*source, X_target=target)
    assert same(weights(whole), weights(resumed))
    assert resumed.history_ == whole.history_


def test_the_teacher_is_the_moving_average_of_the_model(tiny, source, target):
    predicted, average = [], {}

    class Taught(Method):
        def phases(self, epochs):
            return [Joint(self, epochs, teacher_momentum=0.3)]

        def remember(self, predict_target, progress):
            predicted.append(predict_target()[1])
            return {}

        def loss(self, forward, strength):
            return {}

    def keep(engine, model):
        # A plain mean of the weights in the first three steps, then 0.3 of each new step.
        share = max(0.3, 1 / engine.state.iteration)
        if engine.state.epoch == 1:
            for name, value in model.state_dict().items():
                before = average.get(name, torch.zeros_like(value))
                average[name] = (1 - share) * before + share * value

    with methods.registered("taught", Taught):
        adapter = tiny(method="taught").fit(*source, X_target=target, on_step=keep)
    adapter.model_.load_state_dict(average)
    expected = torch.from_numpy(adapter.predict_proba(target))
    assert torch.allclose(predicted[1], expected, atol=1e-5)
    assert not torch.allclose(predicted[0], predicted[1], atol=1e-4)


def test_precision_bf16_runs_on_the_cpu(tiny, source, target):
    adapter = tiny(precision="bf16", epochs=1).fit(*source, X_target=target)
    assert weights(adapter)["head.1.weight"].dtype == torch.float32


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("precision", ["auto", "fp32", "fp16"])
def test_cuda(tiny, source, target, precision):
    adapter = tiny(device="cuda", precision=precision, epochs=4).fit(*source, X_target=target)
    assert next(adapter.model_.parameters()).is_cuda
    assert adapter.score(*source) > 0.9
    again = tiny(device="cuda", precision=precision, epochs=4).fit(*source, X_target=target)
    assert np.allclose(adapter.predict_proba(target), again.predict_proba(target), atol=1e-2)


@pytest.mark.parametrize("terminal", [True, False])
def test_each_epoch_leaves_a_line_and_only_a_terminal_has_bars(
    tiny, source, target, capfd, monkeypatch, terminal
):
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    adapter = tiny(progress=True).fit(*source, X_target=target)
    shown = capfd.readouterr()
    assert shown.out == ""
    assert ("%|" in shown.err) == terminal
    lines = re.split(r"[\r\n]+", shown.err.strip())
    if terminal:
        lines = [line for line in lines if line.startswith("DANN ") and "texts/s" in line]
    assert [line.split(":")[0] for line in lines] == ["DANN 1/2", "DANN 2/2"]
    for epoch, line in enumerate(lines, start=1):
        rows = [row for row in adapter.history_ if row["epoch"] == epoch]
        for name in ("task", "domain"):
            mean = sum(row[f"{name}_loss"] for row in rows) / len(rows)
            assert f"{name} {mean:.3f}, " in line
        accuracy = adapter.validation_[epoch - 1]["validation_accuracy"]
        assert f"validation {accuracy:.1%}, " in line


def test_a_dropped_fit_is_freed_without_the_collector(tiny, source, target, monkeypatch):
    alive, init = [], Trainer.__init__

    def noted(self, *args, **settings):
        init(self, *args, **settings)
        alive.extend(map(weakref.ref, (self, self.engine, self.phases[0], self.model)))

    monkeypatch.setattr(Trainer, "__init__", noted)
    gc.collect()
    gc.disable()
    try:
        adapter = tiny(epochs=1).fit(*source, X_target=target)
        assert [ref() is None for ref in alive] == [True, True, True, False]
        del adapter
        assert alive[3]() is None
    finally:
        gc.enable()

"""Runs on the same texts: what they read and compute once, and that nothing else changes."""

from __future__ import annotations

import inspect
from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
from conftest import TINY, Killed, same, toy_texts, weights
from ignite.engine import Events

from dann_transfer import DomainAdapter, compare, methods, tune
from dann_transfer.adapter import adapter_of
from dann_transfer.fitting import auto, predicting, run, shared
from dann_transfer.fitting.shared import Shared
from dann_transfer.model import loading
from dann_transfer.texts import tokens, unpacking
from dann_transfer.texts.roles import Inputs, Texts
from dann_transfer.training.loop import Trainer
from dann_transfer.training.phases import Anew, SourceAlone

COMMON = {**TINY, "epochs": 1}
del COMMON["random_state"], COMMON["max_strength"]


def begins_with_source(name: str) -> bool:
    first = methods.create(name).phases(2)[0]
    return isinstance(first, SourceAlone) and not isinstance(first, Anew)


TWO_PHASES = [
    name
    for name in [*methods.names(), "student+dann", "student+mlm", "student+mcc"]
    if name != "source_only" and begins_with_source(name)
]


def test_the_methods_that_begin_on_the_source_alone():
    assert {"student", "shot", "adda", "student+dann", "student+mlm"} <= set(TWO_PHASES)
    assert "dann" not in TWO_PHASES


@pytest.fixture
def counted(monkeypatch, tmp_path, source, target, tiny_encoder):
    """Return paths of files of texts, and counters of what is read, loaded and tokenised."""
    seen = {name: Counter() for name in ("files", "encoders", "texts", "steps")}
    paths = {name: tmp_path / f"{name}.csv" for name in ("source", "target", "labelled")}
    pd.DataFrame({"text": source[0], "label": source[1]}).to_csv(paths["source"], index=False)
    pd.DataFrame({"text": target}).to_csv(paths["target"], index=False)
    texts, labels = toy_texts(24, "tweet lol omg", 9)
    pd.DataFrame({"text": texts, "label": labels}).to_csv(paths["labelled"], index=False)
    unpacked, load, tokenize = unpacking.unpacked, loading.load, tokens._tokenize
    step = Trainer.step

    def watched_open(path, *rest):
        seen["files"][path.name] += 1
        return unpacked(path, *rest)

    def watched_load(name, *rest):
        seen["encoders"][name] += 1
        return load(name, *rest)

    def watched_tokenize(tokenizer, texts, max_length):
        seen["texts"].update(texts)
        return tokenize(tokenizer, texts, max_length)

    def watched_step(self, engine, batch=None):
        before = engine.state.iteration <= self.repeated
        seen["steps"][before] += 1
        return step(self, engine, batch)

    monkeypatch.setattr(unpacking, "unpacked", watched_open)
    monkeypatch.setattr(loading, "load", watched_load)
    monkeypatch.setattr(tokens, "_tokenize", watched_tokenize)
    monkeypatch.setattr(Trainer, "step", watched_step)
    return paths, seen


def once(seen) -> None:
    """A file of several columns is opened for its header and its rows, whatever is trained."""
    assert set(seen["encoders"].values()) == {1}
    assert seen["texts"]
    assert set(seen["texts"].values()) == {1}


def test_auto_reads_loads_and_tokenises_once(counted, tiny_encoder):
    paths, seen = counted
    alone = dict(seen["files"])
    adapter = DomainAdapter(tiny_encoder, **COMMON, method="source_only", random_state=0)
    adapter.fit(paths["source"], X_target=paths["target"])
    alone = dict(seen["files"])
    for counter in seen.values():
        counter.clear()
    adapter = DomainAdapter(tiny_encoder, **COMMON, method="auto", random_state=0)
    adapter.fit(paths["source"], X_target=paths["target"])
    assert seen["files"] == alone
    once(seen)
    # Five steps each of source-only and mcc, five that the student repeats and five of its own.
    assert seen["steps"] == {False: 15, True: 5}


@pytest.mark.parametrize("part", [7, 4096])
@pytest.mark.parametrize("changes", [{}, {"neighbors": 5}, {"correct_prior": "em"}])
def test_target_texts_pass_once_after_training(
    monkeypatch, source, target, tiny_encoder, changes, part
):
    """What was looked at is not passed again, and is to the last bit what a new pass gives."""
    monkeypatch.setattr(predicting, "PART", part)
    params = run.full({**COMMON, **changes, "encoder": tiny_encoder, "method": "source_only"})
    texts = run.check(params, Inputs(*source, target), auto.created(params))
    shared, passes, infer = Shared(), Counter(), predicting.infer

    def watched(model, tokens, runtime):
        passes[len(tokens)] += 1
        return infer(model, tokens, runtime)

    monkeypatch.setattr(predicting, "infer", watched)
    trained = run.train(params, 0, texts, shared)
    assert sum(n * count for n, count in passes.items()) == len(target)
    passes.clear()
    tokens, _ = shared.tokens(trained.model.encoder, params, target)
    known = predicting.predict_tokens(trained, params, tokens)
    assert not passes
    anew = predicting.predict_tokens(replace(trained, passed=None), params, tokens)
    for one, other in zip(known, anew, strict=True):
        assert np.array_equal(one, other)
    assert sum(n * count for n, count in passes.items()) == len(target)
    # Other texts pass, also as many of them.
    other, _ = shared.tokens(trained.model.encoder, params, target[::-1])
    assert not np.array_equal(
        predicting.predict_tokens(trained, params, other).features, known.features
    )


def test_compare_reads_loads_and_tokenises_once(counted, tiny_encoder):
    paths, seen = counted
    DomainAdapter(tiny_encoder, **COMMON, method="source_only", random_state=0).fit(
        paths["source"], X_target=paths["target"]
    )
    alone = dict(seen["files"])
    for counter in seen.values():
        counter.clear()
    labelled = paths["labelled"]
    compare(
        paths["source"],
        X_target=paths["target"],
        methods=["mcc", "student"],
        seeds=[0, 1],
        X_target_test=labelled,
        encoder=tiny_encoder,
        **COMMON,
    )
    assert {name: seen["files"][name] for name in alone} == alone
    assert seen["files"]["labelled.csv"] == alone["source.csv"]
    once(seen)
    # The student's teacher, once a seed, in an epoch of five steps.
    assert seen["steps"][True] == 2 * 5


def test_tune_reads_loads_and_tokenises_once(counted, tiny_encoder):
    paths, seen = counted
    DomainAdapter(tiny_encoder, **COMMON, method="source_only", random_state=0).fit(
        paths["source"], X_target=paths["target"]
    )
    alone = dict(seen["files"])
    for counter in seen.values():
        counter.clear()
    space = {"method": ["student"], "epochs": [1]}
    common = {k: v for k, v in COMMON.items() if k not in ("epochs", "progress")}
    tune(
        paths["source"],
        X_target=paths["target"],
        space=space,
        runs=2,
        encoder=tiny_encoder,
        progress=False,
        **common,
    )
    assert seen["files"] == alone
    once(seen)


ALIKE = (
    "X", "y", "X_target", "sample_weight", "X_val", "y_val", "X_target_labelled",
    "y_target_labelled", "knowledge",
)  # fmt: skip


@pytest.mark.parametrize("function", [DomainAdapter.fit, compare, tune])
def test_fit_compare_and_tune_take_the_same_arguments_about_texts(function):
    assert tuple(field.name for field in fields(Inputs)) == ALIKE
    assert set(ALIKE) <= set(inspect.signature(function).parameters)


def test_compare_and_tune_use_every_argument_about_texts(source, target, tiny_encoder):
    """A weight of 0 for half of the texts, other validation texts, and labelled target texts."""
    weight = [0.0, 0.0, 1.0] * 30
    X_val, y_val = toy_texts(20, "film plot actor", 3)
    labelled, y_labelled = toy_texts(8, "tweet lol omg", 4)
    arguments = {
        "sample_weight": weight, "X_val": X_val, "y_val": y_val,
        "X_target_labelled": labelled, "y_target_labelled": y_labelled,
    }  # fmt: skip
    alone = DomainAdapter(tiny_encoder, **COMMON, method="mcc", random_state=0)
    alone.fit(*source, X_target=target, **arguments)
    result = compare(
        *source, X_target=target, methods=["mcc"], encoder=tiny_encoder, **arguments, **COMMON
    )
    assert same(weights(alone), weights(result.adapters["mcc"]))
    common = {k: v for k, v in COMMON.items() if k != "progress"}
    search = tune(
        *source,
        X_target=target,
        space={"method": ["mcc"]},
        runs=2,
        encoder=tiny_encoder,
        progress=False,
        score="source_validation",
        **arguments,
        **common,
    )
    assert search.rows[1]["source_validation"] == alone.validation_[-1]["validation_accuracy"]


@pytest.mark.parametrize(("function", "word"), [(compare, "compare"), (tune, "tune")])
def test_a_keyword_that_does_not_exist_is_said_by_the_function_that_was_called(
    function, word, source, target
):
    with pytest.raises(TypeError, match=rf"{word} has no keyword 'epoch'; did you mean 'epochs'"):
        function(*source, X_target=target, epoch=3)


def params_of(method: str, tiny_encoder: str, **changes: object) -> dict[str, object]:
    return run.full({**TINY, "encoder": tiny_encoder, "method": method, **changes})


def texts_of(source, target, *names: str) -> Texts:
    created = {name: methods.create(name) for name in names}
    return run.check(run.full({}), Inputs(*source, X_target=target), created, {"epochs": [3]})


@pytest.mark.parametrize("method", TWO_PHASES)
@pytest.mark.parametrize("changes", [{}, {"freeze_layers": 1, "validation_fraction": 0.0}], ids=str)
def test_a_run_that_goes_on_from_anothers_source_phase_is_the_run_alone(
    method, changes, source, target, tiny_encoder
):
    texts = texts_of(source, target, method)
    params = params_of(method, tiny_encoder, **changes)
    alone = adapter_of(params, run.train(params, 0, texts, Shared(several=False)))
    with_others = Shared()
    run.train(params_of("source_only", tiny_encoder, **changes), 0, texts, with_others)
    after = adapter_of(params, run.train(params, 0, texts, with_others))
    assert same(weights(alone), weights(after))
    assert after.history_ == alone.history_
    assert after.validation_ == alone.validation_
    assert after.trained_["shared_seconds"] > 0
    assert after.trained_["seconds"] >= after.trained_["shared_seconds"]
    # The other way round, too.
    first = Shared()
    run.train(params, 0, texts, first)
    params = params_of("source_only", tiny_encoder, **changes)
    baseline = adapter_of(params, run.train(params, 0, texts, first))
    expected = adapter_of(params, run.train(params, 0, texts, Shared(several=False)))
    assert baseline.trained_["shared_seconds"] > 0
    assert same(weights(baseline), weights(expected))
    assert baseline.history_ == expected.history_


@pytest.mark.parametrize(
    "changes",
    [
        {"random_state": 1}, {"learning_rate": 2e-3}, {"epochs": 3}, {"class_weight": "balanced"},
        {"batch_size": 8}, {"validation_fraction": 0.2}, {"max_length": 16}, {"patience": 1},
    ],
    ids=str,
)  # fmt: skip
def test_a_phase_with_other_settings_is_trained_anew(changes, source, target, tiny_encoder):
    texts = texts_of(source, target, "student")
    seed = changes.get("random_state", 0)
    with_others = Shared()
    run.train(params_of("source_only", tiny_encoder, **changes), seed, texts, with_others)
    params = params_of("student", tiny_encoder)
    after = run.train(params, 0, texts, with_others)
    assert "shared_seconds" not in after.fitted.trained


class Resizes(methods.Method):
    """Changes an embedding of the encoder that it is attached to."""

    def attach(self, encoder, n_domains):
        encoder.model.get_input_embeddings().weight.data[0] += 1.0
        # `data` hides the change from the counter of changes; this does not.
        encoder.model.get_input_embeddings().weight.requires_grad_(False).mul_(1.0)
        encoder.model.get_input_embeddings().weight.requires_grad_(True)

    def phases(self, epochs):
        return [SourceAlone(self, epochs)]

    def loss(self, forward, strength):
        return {}


def test_a_method_that_changes_the_encoder_has_a_source_phase_of_its_own(
    source, target, tiny_encoder
):
    with methods.registered("resizes", Resizes):
        texts = texts_of(source, target, "resizes")
        with_others = Shared()
        run.train(params_of("source_only", tiny_encoder), 0, texts, with_others)
        after = run.train(params_of("resizes", tiny_encoder), 0, texts, with_others)
    assert "shared_seconds" not in after.fitted.trained


def test_watchers_see_every_step_of_every_run(source, target, tiny_encoder):
    rows, epochs, steps = Counter(), Counter(), Counter()

    def attach(engine):
        name = engine.state.candidate
        engine.add_event_handler(
            Events.ITERATION_COMPLETED,
            lambda engine: (
                rows.update({name: engine.state.output["task_loss"] is not None})
                if "task_loss" in engine.state.output
                else rows.update([name])
            ),
        )
        engine.add_event_handler(
            Events.EPOCH_COMPLETED,
            lambda engine: epochs.update({name: "validation_accuracy" in engine.state.metrics}),
        )

    def build():
        params = {**TINY, "max_strength": None}
        return DomainAdapter(tiny_encoder, **params, method="auto")

    watched = build().fit(*source, X_target=target, attach=attach)
    assert rows == {"source_only": 10, "mcc": 10, "student": 10 + 10}
    assert epochs == {"source_only": 2, "mcc": 2, "student": 4}
    # Whoever looks at the weights sees those of the step.
    sums = {}

    def look(engine, model):
        steps[engine.state.candidate] += 1
        name = (engine.state.candidate, engine.state.iteration)
        sums[name] = float(model.head.weight.sum()) if hasattr(model.head, "weight") else 0.0

    looked = build().fit(*source, X_target=target, on_step=look, attach=lambda engine: None)
    assert steps == rows
    assert same(weights(watched), weights(looked))
    for step in range(1, 11):
        assert sums["student", step] == sums["source_only", step]


@pytest.mark.parametrize(
    ("candidate", "step"),
    [("source_only", 3), ("source_only", 10), ("student", 4), ("student", 17)],
)
def test_a_kill_in_a_shared_phase_or_after_it_changes_nothing(
    candidate, step, source, target, tiny_encoder, tmp_path
):
    def attach(engine):
        if engine.state.candidate == candidate:

            @engine.on(Events.ITERATION_COMPLETED(once=step))
            def _kill(engine):
                raise Killed

    params = {
        **TINY, "max_strength": None, "method": "auto", "checkpoint_dir": tmp_path,
        "checkpoint_every": 2, "method_options": {"candidates": ["student"]},
    }  # fmt: skip
    whole = DomainAdapter(tiny_encoder, **{**params, "checkpoint_dir": None})
    whole.fit(*source, X_target=target)
    with pytest.raises(Killed):
        DomainAdapter(tiny_encoder, **params).fit(*source, X_target=target, attach=attach)
    resumed = DomainAdapter(tiny_encoder, **params).fit(*source, X_target=target)
    assert same(weights(whole), weights(resumed))
    assert resumed.history_ == whole.history_
    assert [row["information_maximization"] for row in resumed.choice_.rows] == [
        row["information_maximization"] for row in whole.choice_.rows
    ]


def test_source_phases_take_no_more_memory_than_is_allowed(
    monkeypatch, source, target, tiny_encoder
):
    texts = texts_of(source, target, "student")
    with_others = Shared()
    params = params_of("source_only", tiny_encoder)
    run.train(params, 0, texts, with_others)
    size = with_others.source_phase(params, 0).nbytes
    monkeypatch.setattr(shared, "MAX_BYTES", 2 * size)
    others = [{**params, "learning_rate": rate} for rate in (2e-3, 3e-3)]
    for each in others:
        run.train(each, 0, texts, with_others)
    assert with_others.source_phase(params, 0) is None
    assert with_others.source_phase(others[0], 0) is not None
    # One is always kept, however large, and none of a seed that is done.
    monkeypatch.setattr(shared, "MAX_BYTES", 1)
    run.train(params, 1, texts, with_others)
    assert with_others.source_phase(params, 1) is not None
    assert with_others.source_phase(others[1], 0) is None


def test_a_smaller_sample_of_the_target_is_the_one_that_a_run_alone_reads(monkeypatch):
    from dann_transfer.texts import roles

    monkeypatch.setattr(roles, "LOOKED_AT", 20)
    X, y = toy_texts(30, "film plot", 0)
    target = [f"{text} {i}" for i, text in enumerate(toy_texts(300, "tweet lol", 1)[0])]
    created = {"dann": methods.create("dann")}
    long = run.check(run.full({}), Inputs(X, y, target), created, {"epochs": [5]})
    short = run.check(run.full({}), Inputs(X, y, target), created, {"epochs": [2]})
    assert len(long.target) == 150
    assert len(short.target) == 60
    assert long.sample_of_target(60) == short.target
    assert long.sample_of_target(1000) == long.target


def test_what_a_folder_lacks_is_drawn_by_seed(source, target, tmp_path):
    """A pooler without weights: the same for a seed, whether the encoder was read before or not."""
    from conftest import make_tiny_encoder
    from safetensors.torch import load_file, save_file

    folder = make_tiny_encoder(tmp_path / "encoder")
    file = f"{folder}/model.safetensors"
    kept = {k: v for k, v in load_file(file).items() if not k.startswith("pooler.")}
    save_file(kept, file, metadata={"format": "pt"})
    params = params_of("source_only", folder, pooling="pooler")
    several, poolers = Shared(), {}
    for seed in (0, 1, 0):
        encoder = several.encoder(params, seed)
        poolers.setdefault(seed, []).append(encoder.model.pooler.dense.weight)
        alone = Shared(several=False).encoder(params, seed)
        assert (alone.model.pooler.dense.weight == encoder.model.pooler.dense.weight).all()
    assert (poolers[0][0] == poolers[0][1]).all()
    assert (poolers[0][0] != poolers[1][0]).any()


def test_auto_asks_for_the_same_method_objects_that_it_trains():
    created = auto.created(run.full({"method": "auto", "method_options": {"candidates": ["mcc"]}}))
    assert list(created) == ["source_only", "mcc"]

from __future__ import annotations

import shutil
import threading

import numpy as np
import pandas as pd
import pytest
from conftest import TINY, toy_texts

from dann_transfer import Domain, compare
from dann_transfer.comparison import Comparison
from dann_transfer.fitting import run
from dann_transfer.judging.gains import Answers, by_group, harm
from dann_transfer.methods import Method, registered
from dann_transfer.texts.tokens import TruncationWarning


def rows(gains: list[float], error: float) -> list[dict]:
    made = []
    for seed, gain in enumerate(gains):
        common = {"seed": seed, "gain_error": error, "a_distance": 1.0}
        made.append({"method": "source_only", "target_accuracy": 0.7, **common})
        made.append({"method": "dann", "target_accuracy": 0.7 + gain, **common})
    return made


@pytest.mark.parametrize(
    ("gains", "error", "words"),
    [
        ([0.05], 0.01, "dann helped: target accuracy went from 70.0% to 75.0% (+5.0 points ±"),
        ([-0.05], 0.01, "dann HURT: target accuracy went from 70.0% to 65.0% (-5.0 points ±"),
        ([0.01], 0.01, "dann made no clear difference"),
        ([0.10, -0.06], 0.001, "dann made no clear difference"),
        # One seed: 2.0 points from the texts, 2.78 * 1.2 from the spread that is usual.
        ([0.05], 0.01, "± 3.9; 1 seed)"),
        # A variance of (4 * 1.2 ** 2 + 2 * 1.0 ** 2) / 6; Student's t is 2.45.
        ([0.05, 0.06, 0.04], 0.01, "(+5.0 points ± 2.6; 3 seeds, standard deviation 1.0)"),
        ([-0.128, -0.148], 0.008, "dann HURT"),
    ],
)  # fmt: skip
def test_the_verdict_names_sign_and_doubt(gains, error, words):
    assert words in Comparison(rows(gains, error), {}).verdict("dann")


@pytest.fixture(scope="module")
def result(tiny_encoder):
    source = toy_texts(90, "film plot actor scene the", 0)
    target = toy_texts(70, "tweet lol omg today friend", 1)[0]
    test, y_test = toy_texts(40, "film plot actor scene the", 8)
    target_test, y_target_test = toy_texts(40, "tweet lol omg today friend", 9)
    params = {k: v for k, v in TINY.items() if k != "random_state"}
    return compare(
        *source,
        X_target=target,
        seeds=(0, 1),
        X_test=test,
        y_test=y_test,
        X_target_test=target_test,
        y_target_test=y_target_test,
        encoder=tiny_encoder,
        **{**params, "epochs": 4},
    )


@pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning")
def test_source_only_always_runs_beside(result):
    assert [(r["method"], r["seed"]) for r in result.rows] == [
        ("source_only", 0),
        ("dann", 0),
        ("source_only", 1),
        ("dann", 1),
    ]
    assert set(result.adapters) == {"source_only", "dann"}
    for row in result.rows:
        assert 0 <= row["target_accuracy"] <= 1
        assert 0 <= row["target_macro_f1"] <= 1
        assert 0 <= row["a_distance"] <= 2
        assert row["seconds"] > 0
        assert (row["domain_accuracy"] is None) == (row["method"] == "source_only")
    assert result.frame().shape[0] == 4
    test, y_test = toy_texts(40, "tweet lol omg today friend", 9)
    again = result.adapters["dann"].score(test, y_test)
    assert again == result.rows[1]["target_accuracy"]


@pytest.mark.parametrize("settings", [{"align": "transport"}, {"correct_prior": "em"}])
def test_nothing_adapts_the_model_from_which_gains_are_measured(
    settings, tiny_encoder, source, target
):
    settings = settings | ({"neighbors": 3} if "align" in settings else {})
    params = {**TINY, "encoder": tiny_encoder, "epochs": 1}
    params.pop("random_state")
    common = {"X_target": target, "methods": ["mcc"], **params}
    common |= {"X_target_test": target, "y_target_test": source[1][: len(target)]}
    plain, adapted = (compare(*source, **common, **each) for each in ({}, settings))
    assert adapted.rows[0]["method"] == "source_only"
    measures = ("target_accuracy", "target_macro_f1", "a_distance", "mixing")
    same = [{key: one.rows[0][key] for key in measures} for one in (plain, adapted)]
    assert same[0] == same[1]
    for name, value in settings.items():
        assert getattr(adapted.adapters["source_only"], name) is None
        assert getattr(adapted.adapters["mcc"], name) == value


@pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning")
def test_without_target_labels_it_says_that_it_does_not_know(tiny_encoder, source, target):
    params = {k: v for k, v in TINY.items() if k != "random_state"}
    result = compare(*source, X_target=target, encoder=tiny_encoder, **{**params, "epochs": 1})
    assert "Whether dann helped is not known" in result.verdict("dann")
    assert np.isfinite(result.mean("dann", "a_distance"))


@pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning")
def test_test_labels_may_be_written_as_numbers_or_in_letters(tiny_encoder, source, target):
    params = {k: v for k, v in TINY.items() if k != "random_state"}
    codes = [int(label == "pos") for label in source[1]]
    result = compare(
        *(source[0], codes),
        X_target=target,
        X_target_test=source[0],
        y_target_test=[str(code) for code in codes],
        X_test=source[0],
        y_test=codes,
        methods=["source_only"],
        encoder=tiny_encoder,
        **{**params, "epochs": 1},
    )
    row = result.rows[0]
    assert row["target_accuracy"] == row["source_accuracy"] > 0


def test_options_and_checkpoints_go_to_each_run_alone(tiny_encoder, source, target, tmp_path):
    params = {k: v for k, v in TINY.items() if k != "random_state"} | {"epochs": 1}
    result = compare(
        *source,
        X_target=target,
        X_target_test=Domain(["good lol", "bad lol"], ["pos", "neg"]),
        methods=["source_only", "dann"],
        encoder=tiny_encoder,
        method_options={"width": 16},
        checkpoint_dir=tmp_path,
        **params,
    )
    assert result.adapters["dann"].method_weights_["discriminator.1.weight"].shape == (16, 32)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dann-0", "source_only-0"]
    # Two texts are too few for a distance, but not for a run.
    assert result.rows[0]["a_distance"] is None
    assert "made no clear difference" in result.verdict("dann")


def test_compare_stays_a_function_after_its_module_is_imported():
    import dann_transfer
    import dann_transfer.comparison

    assert callable(dann_transfer.compare)


def test_bad_tests_are_found_before_training(tiny_encoder, source, target):
    with pytest.raises(ValueError, match="method='dan' is not known"):
        compare(*source, X_target=target, methods=["dan"])
    with pytest.raises(ValueError, match="y_target_test has labels that the source does not"):
        compare(*source, X_target=target, X_target_test=["a", "b"], y_target_test=[1, 0])
    with pytest.raises(ValueError, match="X_target_test has 2 texts but y_target_test has 1"):
        compare(*source, X_target=target, X_target_test=["a", "b"], y_target_test=["pos"])
    with pytest.raises(ValueError, match="seeds is empty"):
        compare(*source, X_target=target, seeds=())


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"method": "mcc"}, ValueError, r"takes methods=\['mcc'\] and not method='mcc'"),
        ({"random_state": 7}, ValueError, r"takes seeds=\[7\] and not random_state=7"),
        ({"methods": "mcc"}, TypeError, r"is a single string; pass methods=\['mcc'\]"),
        ({"methods": ["mcc", "dann", "mcc"]}, ValueError, "names 'mcc' more than once"),
        ({"seeds": 3}, TypeError, "seeds=3 is a number; pass the seeds themselves"),
        ({"seeds": [0, 0, 0]}, ValueError, "repeats a seed"),
        ({"seeds": ["a"]}, ValueError, "random_state='a'"),
        ({"y_target_test": ["pos"]}, ValueError, "y_target_test was passed without X_target_test"),
        ({"y_test": ["pos"]}, ValueError, "y_test was passed without X_test"),
        ({"epochs": 0}, ValueError, "epochs=0 must be a whole number"),
        ({"methods": ["self_training"], "epochs": 1}, ValueError, "acts only from epoch 2 on"),
    ],
    ids=str,
)
def test_what_compare_would_drop_is_refused(arguments, error, words, source, target, monkeypatch):
    monkeypatch.setattr(run, "train", lambda *_, **__: pytest.fail("training started"))
    with pytest.raises(error, match=words):
        compare(*source, X_target=target, **arguments)


@pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning")
def test_methods_and_seeds_may_be_generators(tiny_encoder, source, target):
    params = {k: v for k, v in TINY.items() if k != "random_state"} | {"epochs": 1}
    result = compare(
        *source,
        X_target=target,
        methods=(name for name in ["mcc"]),
        seeds=(seed for seed in [3, 4]),
        encoder=tiny_encoder,
        **params,
    )
    runs = [(row["method"], row["seed"]) for row in result.rows]
    assert runs == [("source_only", 3), ("mcc", 3), ("source_only", 4), ("mcc", 4)]
    with pytest.raises(
        ValueError, match=r"method 'dann' did not run; \['source_only', 'mcc'\] did"
    ):
        result.verdict("dann")
    with pytest.raises(ValueError, match=r"what the others are compared with: \['mcc'\]"):
        result.verdict("source_only")
    with pytest.raises(ValueError, match="the rows have no 'accuracy'; they have"):
        result.mean("mcc", "accuracy")


@pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning")
def test_several_sources_and_labelled_target_texts_reach_every_run(tiny_encoder, source, target):
    X, y = source
    params = {k: v for k, v in TINY.items() if k != "random_state"} | {"epochs": 1}
    result = compare(
        {"a": (X[:50], y[:50]), "b": (X[50:], y[50:])},
        X_target=target,
        X_target_labelled=["good lol", "bad lol"],
        y_target_labelled=["pos", "neg"],
        X_target_test=target,
        y_target_test=["pos", "neg"] * (len(target) // 2),
        methods=["mdan"],
        metric="f1_weighted",
        encoder=tiny_encoder,
        **params,
    )
    assert "target f1 weighted went from" in result.verdict("mdan")
    assert all(0 <= row["target_f1_weighted"] <= 1 for row in result.rows)
    for adapter in result.adapters.values():
        assert adapter.source_domains_ == ["a", "b"]
        assert adapter.truncated_["labelled target"] == 0


def test_a_gain_by_group_names_those_that_are_harmed(result):
    texts = toy_texts(40, "tweet lol omg today friend", 9)[0]
    groups = ["lol" if "lol" in text else None for text in texts]
    frame = result.by_group(groups, abstain_below=0.5)
    assert set(frame.group) == {"lol", "(none)"}
    assert frame.texts.sum() == 40
    whole = (frame.gain * frame.texts).sum() / 40
    before, after = (result.mean(name, "target_accuracy") for name in ("source_only", "dann"))
    assert whole == pytest.approx(after - before)
    # With two classes, the likelier one has a probability of at least half.
    assert (frame.coverage_before == 1).all()
    assert (frame.coverage_after == 1).all()
    with pytest.raises(ValueError, match="groups has 2 values for the 40 texts of X_target_test"):
        result.by_group(["a", "b"])
    with pytest.raises(ValueError, match=r"abstain_below=1\.5 must be a probability"):
        result.by_group(groups, abstain_below=1.5)
    with pytest.raises(ValueError, match="pass groups, one for each text"):
        result.by_group()
    with pytest.raises(TypeError, match=r"groups=5 must be a sequence with one value for each"):
        result.by_group(5)
    with pytest.raises(TypeError, match="must be a sequence with one value for each"):
        result.by_group({"a", "b"})
    with pytest.raises(ValueError, match="groups need labelled target texts"):
        Comparison(result.rows, result.adapters).by_group(groups)


def test_a_verdict_names_a_harmed_group():
    before = Answers(np.repeat([0.0, 1, 1, 0], [40, 60, 20, 80]), np.full(200, 0.9))
    after = Answers(np.repeat([1.0, 1, 0, 0], [40, 60, 20, 80]), np.full(200, 0.9))
    made = rows([0.1], 0.01)
    groups = np.repeat(["large", "small"], [100, 100])
    result = Comparison(made, {}, {("source_only", 0): before, ("dann", 0): after}, groups)
    assert result.verdict("dann").endswith(
        "It HURT group 'small' (100 texts: 20.0% to 0.0%)."
    )  # fmt: skip
    assert "HURT" not in Comparison(made, {}, result.answers, None).verdict("dann")


def test_of_many_groups_chance_harms_none():
    """Twenty groups that differ only by chance: the interval widens with their number."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 50)
    alarms = 0
    for _ in range(100):
        before, after = (
            Answers((rng.random(1000) < 0.8).astype(float), np.ones(1000)) for _ in range(2)
        )
        alarms += bool(harm(by_group(groups, [before], [after], 0.0)))
    # Without the correction, about forty of a hundred comparisons would raise an alarm.
    assert alarms <= 10


def test_groups_may_be_a_column(tiny_encoder, source, target):
    import pandas as pd

    params = {k: v for k, v in TINY.items() if k != "random_state"} | {"epochs": 1}
    table = pd.DataFrame(
        {"text": ["good lol", "bad lol"], "label": ["pos", "neg"], "who": ["a", "b"]}
    )
    common = {"X_target": target, "encoder": tiny_encoder, **params}
    result = compare(*source, X_target_test=table, groups_target_test="who", **common)
    assert result.by_group().group.tolist() == ["a", "b"]
    for wrong, words in (
        ({"X_target_test": table, "groups_target_test": "whom"}, "has no column 'whom'"),
        ({"X_target_test": table, "groups_target_test": ["a"]}, "1 values for the 2 texts"),
        ({"groups_target_test": ["a"]}, "needs labelled target texts"),
        (
            {"X_target_test": ["a b"], "y_target_test": ["pos"], "groups_target_test": "who"},
            "names a column, but X_target_test is not a table",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            compare(*source, **common, **wrong)


@pytest.mark.filterwarnings("ignore::dann_transfer.texts.tokens.TruncationWarning")
@pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning")
def test_runs_in_processes_of_their_own_are_the_same_runs(tiny_encoder, source, target):
    """The user's own method reaches the processes, and their warnings come back."""

    class Drawn(Method):
        """Pulls the means of the domains together."""

        default_strength = 0.5

        def loss(self, forward, strength):
            gap = forward.source.mean(0) - forward.target.mean(0)
            return {"gap": strength * gap.square().sum()}

    params = TINY | {"max_length": 3, "epochs": 1}
    del params["random_state"]
    common = {"X_target": target, "methods": ["drawn"], "encoder": tiny_encoder, **params}
    test = {"X_target_test": source[0], "y_target_test": source[1]}
    kept = []
    with registered("drawn", Drawn):
        for n_jobs in (1, 2):
            with pytest.warns(TruncationWarning) as heard:
                result = compare(*source, seeds=(0, 1), n_jobs=n_jobs, **common, **test)
            own = {w.filename for w in heard if w.category is TruncationWarning}
            assert own == {__file__}
            if n_jobs == 1:
                # One for the texts of all four runs, and one for those that they are scored on.
                assert sum(w.category is TruncationWarning for w in heard) == 2
            kept.append(result)
        # With fewer seeds than processes, each run has its own process.
        fewer = compare(*source, seeds=(0,), n_jobs=2, **common, **test)
    alone, apart = (result.frame().drop(columns="seconds") for result in kept)
    pd.testing.assert_frame_equal(apart, alone, rtol=1e-4)
    pd.testing.assert_frame_equal(fewer.frame().drop(columns="seconds"), alone[:2], rtol=1e-4)
    assert list(kept[1].adapters) == ["source_only", "drawn"]
    for name, adapter in kept[1].adapters.items():
        before = kept[0].adapters[name].predict_proba(target)
        np.testing.assert_allclose(adapter.predict_proba(target), before, atol=1e-5)
    assert kept[1].verdict("drawn") == kept[0].verdict("drawn")


@pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning")
def test_a_process_takes_up_what_has_changed_since_its_last_run(
    tiny_encoder, source, target, tmp_path, monkeypatch
):
    """Processes outlive a call, but a method's definition and the current folder may change."""

    def method(factor):
        class Scaled(Method):
            def loss(self, forward, strength):
                return {f"times_{factor}": factor * forward.target.square().mean()}

        return Scaled

    params = {k: v for k, v in TINY.items() if k != "random_state"} | {"epochs": 1}
    shutil.copytree(tiny_encoder, tmp_path / "encoder")
    for factor in (1, 100):
        (tmp_path / str(factor)).mkdir()
        monkeypatch.chdir(tmp_path / str(factor))
        with registered("scaled", method(factor)):
            result = compare(
                *source,
                X_target=target,
                methods=["scaled"],
                encoder="../encoder",
                checkpoint_dir="runs",
                n_jobs=2,
                **params,
            )
        assert f"times_{factor}_loss" in result.adapters["scaled"].history_[0]
        runs = tmp_path / str(factor) / "runs"
        assert sorted(path.name for path in runs.iterdir()) == ["scaled-0", "source_only-0"]


def test_texts_that_only_this_process_can_read_go_to_others(tiny_encoder, source, target):
    class Held:
        """Texts behind a connection."""

        def __init__(self):
            self.lock = threading.Lock()

        def __iter__(self):
            return iter(target)

    params = {**TINY, "epochs": 1, "encoder": tiny_encoder}
    del params["random_state"]
    result = compare(*source, X_target=Held(), n_jobs=2, **params)
    assert [row["method"] for row in result.rows] == ["source_only", "dann"]


def test_what_cannot_be_sent_to_another_process_is_said(tiny_encoder, source, target):
    class Locked(Method):
        """A method that holds what only this process has."""

        lock = threading.Lock()

        def loss(self, forward, strength):
            return {}

    common = {"X_target": target, "encoder": tiny_encoder, "max_length": 32, "n_jobs": 2}
    with (
        registered("locked", Locked),
        pytest.raises(TypeError, match="n_jobs=2, but what was passed cannot be sent"),
    ):
        compare(*source, methods=["locked"], progress=False, **common)
    with pytest.raises(ValueError, match="n_jobs=2, but models with code of their own"):
        compare(*source, trust_remote_code=True, **common)


@pytest.mark.parametrize("n_jobs", [0, True, 1.5, "2"])
def test_no_number_of_processes(tiny_encoder, source, target, n_jobs):
    with pytest.raises(ValueError, match=rf"n_jobs={n_jobs!r} is not a number of processes"):
        compare(*source, X_target=target, encoder=tiny_encoder, n_jobs=n_jobs)


def test_a_run_that_fails_in_another_process_says_why(tiny_encoder, source, target):
    params = {k: v for k, v in TINY.items() if k != "random_state"} | {"learning_rate": 1e30}
    with pytest.raises(FloatingPointError):
        compare(*source, X_target=target, encoder=tiny_encoder, n_jobs=2, **params)

"""A comparison in a folder goes on where it stopped, with the rows of one that never did."""

from __future__ import annotations

from functools import partial

import pytest
from conftest import TINY, Killed, kill_at, make_tiny_encoder, toy_texts
from filelock import FileLock

from dann_transfer import compare, methods
from dann_transfer.fitting import auto
from dann_transfer.methods import registered
from dann_transfer.training.loop import Trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning"),
    pytest.mark.filterwarnings("ignore::dann_transfer.judging.findings.FindingWarning"),
]
TIMES = {"seconds", "shared_seconds"}


@pytest.fixture
def compared(tiny_encoder):
    """Compare toy domains, by default with two methods and two seeds."""

    def call(**changes):
        common = {k: v for k, v in TINY.items() if k != "random_state"}
        test, y_test = toy_texts(40, "tweet lol omg today friend", 9)
        arguments = {
            "X": (source := toy_texts(48, "film plot actor scene the", 0))[0],
            "y": source[1],
            "X_target": toy_texts(40, "tweet lol omg today friend", 1)[0],
            "X_target_test": test,
            "y_target_test": y_test,
            "methods": ["dann", "student"],
            "seeds": [0, 1],
            "encoder": tiny_encoder,
        }
        return compare(**{**arguments, **common, **changes})

    return call


def said(result):
    """What a comparison says, without the time that it took."""
    rows = [{k: v for k, v in row.items() if k not in TIMES} for row in result.rows]
    test = toy_texts(40, "tweet lol omg today friend", 9)[0]
    predicted = {n: a.predict_proba(test).tolist() for n, a in result.adapters.items()}
    answers = {key: a.predicted.tolist() for key, a in result.answers.items()}
    return rows, predicted, answers, [result.verdict(m) for m in ("dann", "student")]


@pytest.fixture
def trained(monkeypatch):
    """The methods and seeds that are trained from here on, in order."""
    runs, train = [], auto.train

    def noted(params, seed, *args):
        runs.append((params["method"], seed))
        return train(params, seed, *args)

    monkeypatch.setattr(auto, "train", noted)
    return runs


def test_what_is_kept_is_not_trained_again(compared, tmp_path, trained):
    one = said(compared(folder=tmp_path / "a b" / "c"))
    assert len(trained) == 6
    assert said(compared(folder=tmp_path / "a b" / "c")) == one == said(compared())
    assert len(trained) == 12
    assert not list(tmp_path.rglob("checkpoints"))


@pytest.mark.parametrize("step", [2, 8, 11])
def test_a_killed_comparison_goes_on(compared, tmp_path, monkeypatch, step):
    run, ended = Trainer.run, []

    def killed(self, checkpoints=None, on_step=None, *others):
        # In the third training, which is the student's.
        if len(ended) == 2:
            on_step = partial(kill_at(step), model=self.model)
        history = run(self, checkpoints, on_step, *others)
        ended.append(len(history.steps))
        return history

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run", killed)
        with pytest.raises(Killed):
            compared(folder=tmp_path, checkpoint_every=3)
    assert [len(list((tmp_path / f"{m}-0").glob("row.json"))) for m in ("dann", "student")] == [
        1,
        0,
    ]
    assert said(compared(folder=tmp_path, checkpoint_every=3)) == said(compared())


def test_methods_seeds_and_processes_may_be_added(compared, tmp_path, trained):
    compared(folder=tmp_path, methods=["dann"], seeds=[0])
    assert trained == [("source_only", 0), ("dann", 0)]
    assert said(compared(folder=tmp_path, n_jobs=2)) == said(compared())
    # The models of another first seed were not kept.
    del trained[:]
    swapped = compared(folder=tmp_path, seeds=[1, 0])
    assert trained == [("source_only", 1), ("dann", 1), ("student", 1)]
    assert [(r["method"], r["seed"]) for r in swapped.rows][:2] == [("source_only", 1), ("dann", 1)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"X": ["good film"] * 48}, "source texts differ"),
        ({"y": ["neg"] * 24 + ["pos"] * 24}, "source labels differ"),
        ({"X_target": ["lol"] * 40}, "target texts differ"),
        ({"y_target_test": ["pos", "neg"] * 20}, "target test texts differ"),
        ({"learning_rate": 3e-3}, "learning_rate differ"),
        # It decides which epoch is kept.
        ({"metric": "macro_f1"}, "metric differ"),
        ({"X_target_test": None, "y_target_test": None}, "target test texts differ"),
        ({"sample_weight": [1.0, 2.0] * 24}, "sample_weight differ"),
    ],
)
def test_another_comparison_is_refused(compared, tmp_path, changes, words):
    compared(folder=tmp_path, methods=[], seeds=[0], epochs=1)
    with pytest.raises(ValueError, match=f"holds a different comparison: {words}"):
        compared(folder=tmp_path, methods=[], seeds=[0], epochs=1, **changes)
    # What has no influence on rows may differ.
    compared(folder=tmp_path, methods=[], seeds=[0], epochs=1, micro_batch_size=4, progress=True)


def test_another_encoder_in_the_same_folder_is_refused(compared, tmp_path):
    encoder = make_tiny_encoder(tmp_path / "encoder")
    few = {"folder": tmp_path / "kept", "methods": [], "seeds": [0], "epochs": 1}
    compared(encoder=encoder, **few)
    make_tiny_encoder(tmp_path / "encoder", hidden_dropout_prob=0.2)
    with pytest.raises(ValueError, match="different comparison: files of the encoder differ"):
        compared(encoder=encoder, **few)


def test_what_stands_in_the_way_is_said(compared, tmp_path):
    with pytest.raises(ValueError, match="leave out checkpoint_dir"):
        compared(folder=tmp_path, checkpoint_dir=tmp_path / "other")
    with (
        FileLock(tmp_path / ".lock"),
        pytest.raises(RuntimeError, match="another process is comparing in"),
    ):
        compared(folder=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write to"):
        compared(folder=tmp_path / "file")


@pytest.mark.parametrize("name", ["comparison.json", "source_only-0/row.json"])
@pytest.mark.parametrize("content", ["", "{", "[1]"])
def test_a_damaged_file_is_named(compared, tmp_path, name, content):
    compared(folder=tmp_path, methods=[], seeds=[0], epochs=1)
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=rf"{name}' is damaged"):
        compared(folder=tmp_path, methods=[], seeds=[0], epochs=1)


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04" + bytes(40)])
def test_damaged_answers_are_named(compared, tmp_path, content):
    compared(folder=tmp_path, methods=[], seeds=[0], epochs=1)
    (tmp_path / "source_only-0" / "answers.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"answers\.npz' is damaged"):
        compared(folder=tmp_path, methods=[], seeds=[0], epochs=1)


def test_another_method_of_the_same_name_is_trained_anew(compared, tmp_path, trained):
    class One(methods.create("mcc").__class__):
        """Minimum class confusion under another name."""

    class Two(methods.create("mmd").__class__):
        """Another method."""

    arguments = {"folder": tmp_path, "methods": ["mine"], "seeds": [0], "epochs": 1}
    for kind, runs in ((One, 2), (One, 0), (Two, 1)):
        del trained[:]
        with registered("mine", kind):
            compared(**arguments)
        assert len(trained) == runs
    # Of other options too; source-only has none.
    del trained[:]
    for options in (None, {"step": 2.0}, {"step": 2.0}):
        compared(**{**arguments, "methods": ["afn"]}, method_options=options)
    assert trained == [("afn", 0)] * 2

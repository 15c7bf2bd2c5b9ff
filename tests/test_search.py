from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY, toy_texts

from dann_transfer import DomainAdapter
from dann_transfer.fitting import run
from dann_transfer.search import Search, tune

pytest.importorskip("optuna")
pytestmark = pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning")
SEARCHED = {"random_state", "progress", "learning_rate", "max_strength", "epochs"}
COMMON = {k: v for k, v in TINY.items() if k not in SEARCHED} | {"validation_fraction": 0.3}
SPACE = {
    "epochs": [1],
    "method": ["dann"],
    "learning_rate": (1e-5, 1e-2),
    "max_strength": [0.01, 0.1],
}


@pytest.fixture
def search(tiny_encoder, source, target):
    def run(**arguments) -> Search:
        common = {"encoder": tiny_encoder, **COMMON, "progress": False}
        given = {**common, "X_target": target, "space": SPACE, "runs": 4, **arguments}
        return tune(*source, **given)

    return run


def test_the_best_run_is_returned_and_source_only_is_the_first(search, source):
    result = search(score="source_validation")
    assert [row["run"] for row in result.rows] == [0, 1, 2, 3]
    assert result.rows[0]["method"] == "source_only"
    # Parameters that only methods use are not searched for source-only.
    assert "max_strength" not in result.rows[0]
    assert any(row["method"] == "dann" for row in result.rows)
    scores = [row["score"] for row in result.rows]
    best = result.rows[int(np.argmax(scores))]
    assert {name: best[name] for name in result.params} == result.params
    assert {name: result.adapter.params_[name] for name in result.params} == result.params
    assert result.frame().score.iloc[0] == max(scores)
    # The score comes from the texts that the run itself held out.
    assert best["score"] == result.adapter.validation_[-1]["validation_accuracy"]
    assert result.verdict() in str(result)
    assert "not known without target labels" in result.verdict() or "None of" in result.verdict()


def test_where_none_is_better_source_only_stays(search):
    """At strength 0 a student is source-only, and a tie is no reason to adapt."""
    space = {"method": ["student"], "max_strength": [0.0]}
    result = search(space=space, runs=3, score="source_validation")
    assert len({row["score"] for row in result.rows}) == 1
    assert result.params["method"] == "source_only"
    assert result.verdict() == "None of 3 runs has a better source_validation than source_only."


def test_a_proposal_made_before_is_not_trained_again(search, monkeypatch):
    fits = []
    train = run.train
    monkeypatch.setattr(run, "train", lambda *a, **k: fits.append(1) or train(*a, **k))
    result = search(space={"method": ["dann"]}, runs=6)
    assert len(result.rows) == 6
    assert len(fits) == 2


def test_a_search_goes_on_where_it_stopped(search, tmp_path):
    first = search(folder=tmp_path, runs=2)
    again = search(folder=tmp_path, runs=5)
    assert again.rows[:2] == first.rows
    assert len(again.rows) == 5
    model = DomainAdapter.from_pretrained(tmp_path / "best")
    texts = ["good lol", "bad lol"]
    assert (model.predict_proba(texts) == again.adapter.predict_proba(texts)).all()
    # All runs are finished: nothing is trained, and the best model is loaded.
    done = search(folder=tmp_path, runs=5)
    assert done.rows == again.rows
    assert (done.adapter.predict_proba(texts) == model.predict_proba(texts)).all()
    assert not list((tmp_path / "runs").iterdir())
    with pytest.raises(ValueError, match=r"holds a different search: space differ"):
        search(folder=tmp_path, runs=5, space={"method": ["mcc"]})
    with pytest.raises(ValueError, match=r"holds a different search: source texts"):
        search(folder=tmp_path, X_val=["good film"] * 5, y_val=["pos"] * 5)


def test_a_killed_search_goes_on(tiny_encoder, tmp_path):
    """SIGKILL in the third run: its proposal is run again, and the two before are kept."""
    script = f"""
        import os, signal
        from conftest import toy_texts
        from test_search import COMMON, SPACE
        from dann_transfer.fitting import run
        from dann_transfer.search import tune
        train, n = run.train, 0
        def killed(*args, **kwargs):
            global n
            n += 1
            if n == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return train(*args, **kwargs)
        run.train = killed
        tune(*toy_texts(90, "film plot", 0), X_target=toy_texts(70, "tweet lol", 1)[0],
             encoder={tiny_encoder!r}, space=SPACE, runs=4, progress=False,
             folder={str(tmp_path)!r}, **COMMON)
    """
    here = os.path.dirname(__file__)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=here, capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    result = tune(
        *toy_texts(90, "film plot", 0),
        X_target=toy_texts(70, "tweet lol", 1)[0],
        encoder=tiny_encoder,
        space=SPACE,
        runs=4,
        progress=False,
        folder=tmp_path,
        **COMMON,
    )
    assert len(result.rows) == 4
    assert not any(row["failed"] for row in result.rows)
    assert (tmp_path / "best").is_dir()


def test_a_run_that_diverges_is_a_row_and_no_end(search, capfd):
    space = {"method": ["dann"], "learning_rate": [1e-3, 1e20]}
    result = search(space=space, runs=8, progress=True)
    # Without a terminal there is a line for each run, and no bar.
    shown = [line for line in capfd.readouterr().err.splitlines() if line.startswith("tune ")]
    assert len(shown) == len(result.rows)
    assert {"failed" in line for line in shown} == {True, False}
    failed = [row for row in result.rows if row["failed"]]
    assert failed
    assert all("not finite" in row["failed"] and row["score"] is None for row in failed)
    assert result.params["learning_rate"] == 1e-3


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"epoch": 3}, TypeError, "epoch"),
        ({"max_length": 512}, ValueError, "the encoder takes at most 64 tokens"),
        ({"precision": "fp16"}, ValueError, "needs a GPU"),
        ({"encoder": "./nowhere"}, ValueError, "does not exist"),
    ],
)
def test_what_would_fail_every_run_binds_no_folder(wrong, error, words, tmp_path, tiny_encoder):
    folder = tmp_path / "search"
    given = {"encoder": tiny_encoder, "space": SPACE, "runs": 2, "folder": folder, **COMMON}
    texts = toy_texts(60, "film plot", 0)
    target = toy_texts(60, "tweet lol", 1)[0]
    with pytest.raises(error, match=words):
        tune(*texts, X_target=target, **{**given, **wrong})
    assert not folder.exists()


def test_a_value_that_cannot_be_trained_is_a_row_among_others(search):
    space = {"method": ["dann"], "precision": ["fp16", "fp32"], "epochs": [1]}
    result = search(space=space, runs=6)
    said = {row["precision"]: row["failed"] for row in result.rows}
    assert said["fp32"] is None
    assert "needs a GPU" in said["fp16"]


def test_minutes_end_a_search(search):
    result = search(runs=50, minutes=1e-9)
    assert [row["method"] for row in result.rows] == ["source_only"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"score": "accuracy"}, r"score='accuracy' is not known; choose one of \['source_valid"),
        ({"runs": 1}, "runs=1 must be a whole number of at least 2"),
        ({"runs": True}, "runs=True must be"),
        ({"minutes": 0}, "minutes=0 must be a number above 0"),
        ({"space": {"lr": [1e-3]}}, "space has 'lr', which cannot be searched"),
        ({"space": {"random_state": [1]}}, "space has 'random_state', which cannot be searched"),
        ({"space": {"learning_rate": 1e-3}}, r"space\['learning_rate'\]=0.001 must be a list"),
        ({"space": {"learning_rate": (1e-3, 1e-5)}}, "must be a list of values, or"),
        ({"space": {"weight_decay": (0.0, 0.1)}}, "low must be above 0"),
        ({"space": {"epochs": [0, 1]}}, "epochs=0 must be a whole number"),
        ({"space": {"max_length": [8]}}, "max_length is both in space and set to 32"),
        ({"space": {"method": ["dan"]}}, "method='dan' is not known"),
        ({"space": {"method": ["auto"]}}, "a search itself chooses among methods"),
        ({"space": {"pooling": ("cls", "mean")}}, "must be a list of values, or"),
        ({"space": {"validation_fraction": [0.1, 0.2]}}, "'validation_fraction', which cannot"),
        ({"space": {"method": ["self_training"], "epochs": [1, 3]}}, "acts only from epoch 2 on"),
        ({"batch_size": 0}, "batch_size=0 must be a whole number"),
        ({"validation_fraction": 5}, "validation_fraction=5 must be a number"),
        ({"validation_fraction": 0.02}, "at least 5 held-out source texts"),
        (
            {"method_options": {"width": 4}, "checkpoint_dir": "x"},
            "checkpoint_dir is set by the search",
        ),
        ({"validation_fraction": 0.0}, "judges by held-out source texts, but there are none"),
        ({"X_target": []}, "X_target"),
    ],
    ids=str,
)
def test_bad_input_is_named_before_any_training(arguments, words, search, monkeypatch):
    monkeypatch.setattr(run, "train", lambda *_, **__: pytest.fail("training started"))
    with pytest.raises(ValueError, match=words):
        search(**arguments)


def test_a_run_out_of_memory_is_a_row_and_is_not_tried_for_ever(search, monkeypatch, tmp_path):
    train = run.train

    def small(params, *args):
        if params["batch_size"] == 64:
            raise RuntimeError("CUDA out of memory")
        return train(params, *args)

    monkeypatch.setattr(run, "train", small)
    monkeypatch.delitem(COMMON, "batch_size")
    space = {"method": ["dann"], "epochs": [1], "batch_size": [16, 64]}
    result = search(space=space, runs=8, folder=tmp_path)
    assert len(result.rows) == 8
    assert {row["failed"] for row in result.rows if row["batch_size"] == 64} == {
        "CUDA out of memory"
    }
    assert result.params["batch_size"] == 16
    assert "dann" in result.verdict() or "None of" in result.verdict()


def test_the_first_run_is_source_only_at_the_defaults(search):
    space = {
        "method": ["mcc"],
        "epochs": [2, 3],
        "warmup": (0.01, 0.5),
        "weight_decay": (1e-4, 1e-3),
    }
    first = search(space=space, runs=2).rows[0]
    assert (first["method"], first["epochs"], first["warmup"]) == ("source_only", 2, 0.1)
    # The default of 0.01 lies outside this range, so the first value is the range's middle.
    assert first["weight_decay"] == pytest.approx(10**-3.5)


def test_a_verdict_survives_a_failed_baseline(search):
    failed = {"run": 0, "method": "source_only", "score": None, "failed": "not finite"}
    good = {"run": 1, "method": "mcc", "score": 0.8, "failed": None}
    result = Search([failed, good], "source_validation", DomainAdapter(), {"method": "mcc"})
    assert "no run of source_only finished" in result.verdict()
    better = {"run": 2, "method": "source_only", "score": 0.7, "failed": None}
    result = Search([failed, good, better], "s", DomainAdapter(), {"method": "mcc"})
    assert "the best of source_only has 0.700" in result.verdict()


def test_options_are_the_methods_and_fixed_values_leave_the_space(search):
    options = {"width": 8}
    result = search(space={"method": ["dann"]}, runs=2, method_options=options, epochs=1)
    assert result.rows[1]["failed"] is None
    alone = search(space=None, method="dann", learning_rate=1e-3, runs=2, epochs=1)
    assert alone.rows[1]["method"] == "dann"
    assert "learning_rate" not in alone.rows[1]


def test_numbers_of_numpy_make_a_space(search, tmp_path):
    space = {"epochs": [np.int64(1)], "learning_rate": (np.float64(1e-4), np.float64(1e-3))}
    result = search(space=space, runs=2, method="dann", folder=tmp_path)
    assert not any(row["failed"] for row in result.rows)


def test_values_of_any_kind_are_searched_the_same_with_a_folder(
    tiny_encoder, source, target, tmp_path
):
    y = [int(label == "pos") for label in source[1]]
    space = {
        "method": ["mcc"],
        "class_weight": [None, {0: 1.0, 1: 2.0}],
        "encoder": [Path(tiny_encoder)],
    }
    params = {**COMMON, "epochs": 1}
    params.pop("encoder", None)
    both = [
        tune(
            source[0], y, X_target=target, space=space, runs=np.int64(5), progress=False,
            folder=folder, **params,
        )
        for folder in (None, tmp_path / "search")
    ]  # fmt: skip
    kept = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in found.rows] for found in both
    ]
    assert kept[0] == kept[1]
    assert {str(row["class_weight"]) for row in both[1].rows} == {"None", "{0: 1.0, 1: 2.0}"}
    best = both[1].params
    DomainAdapter(**{**params, **best}).fit(source[0], y, X_target=target)


def test_ranges_of_what_is_no_plain_number_are_refused(search):
    for name in ("lora", "checkpoint_every", "class_weight"):
        with pytest.raises(ValueError, match=f"{name} cannot be drawn from a range; give a list"):
            search(space={name: (2, 8)})


LOG = "search.log"


def cut_at(log: Path, line: int, folder: Path, end: bytes = b"") -> None:
    """Write the first lines of a search's log into another folder, as a kill there leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = log.read_bytes().splitlines(keepends=True)
    (folder / LOG).write_bytes(b"".join(lines[:line]) + end)


def test_a_search_killed_at_any_write_goes_on(search, tmp_path):
    """No run is lost, none is counted twice, and source-only comes first."""
    search(folder=tmp_path / "whole", runs=3)
    log = tmp_path / "whole" / LOG
    n = len(log.read_bytes().splitlines())
    for line in range(1, n + 1):
        folder = tmp_path / str(line)
        cut_at(log, line, folder)
        # The best model so far, which a killed search has written before its row.
        shutil.copytree(tmp_path / "whole" / "best", folder / "best")
        result = search(folder=folder, runs=3)
        assert len(result.rows) == 3, line
        assert result.rows[0]["method"] == "source_only", line
        assert len({(row["method"], row["learning_rate"]) for row in result.rows}) == 3, line


@pytest.mark.parametrize("end", [b'{"op_code": 5, "wor', b"\n", b"\xff\xfe garbled\n", b"\x00" * 9])
def test_what_a_kill_leaves_at_the_end_of_the_log_is_removed(search, tmp_path, end):
    first = search(folder=tmp_path / "a", runs=2)
    cut_at(tmp_path / "a" / LOG, 10**6, tmp_path / "a", end)
    (tmp_path / "a" / f"{LOG}.lock").write_text("")
    started = time.monotonic()
    again = search(folder=tmp_path / "a", runs=2)
    assert again.rows == first.rows
    assert time.monotonic() - started < 15


def test_damage_inside_the_log_is_named(search, tmp_path):
    search(folder=tmp_path, runs=2)
    lines = (tmp_path / LOG).read_bytes().splitlines(keepends=True)
    lines[3] = b'{"op_co\n'
    (tmp_path / LOG).write_bytes(b"".join(lines))
    with pytest.raises(ValueError, match=r"search\.log', line 4 is damaged .* restore the file"):
        search(folder=tmp_path, runs=2)
    assert (tmp_path / LOG).read_bytes() == b"".join(lines)

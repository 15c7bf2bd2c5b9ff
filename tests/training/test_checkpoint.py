from __future__ import annotations

import copy
import errno
import io
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, Killed, kill_at, make_tiny_encoder, same, toy_texts, weights
from joblib import Parallel, delayed, parallel_config
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from dann_transfer import DomainAdapter, methods
from dann_transfer.ground.digests import HashedFile
from dann_transfer.ground.settings import Settings
from dann_transfer.model.encoder import Encoder
from dann_transfer.model.heads import TaskHead
from dann_transfer.model.model import Classifier
from dann_transfer.model.runtime import Runtime
from dann_transfer.texts.batches import PairedBatches
from dann_transfer.texts.reading import Domain
from dann_transfer.texts.tokens import tokenize
from dann_transfer.training.checkpoint import CheckpointWarning, check_folder
from dann_transfer.training.loop import Trainer

# After a few steps a random encoder predicts one class; these tests are not about that.
pytestmark = pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning")


class Stop(Exception):
    pass


def trainer(folder: str, name: str, labels: list) -> Trainer:
    """Return a run of two epochs, and two more if the method has a second phase."""
    torch.manual_seed(0)
    encoder = Encoder.from_pretrained(folder)
    method = methods.create(name, {"extra_epochs": 2} if name in {"adda", "shot"} else None)
    method.attach(encoder, 1)
    head = TaskHead(encoder.features, 2)
    method.build(encoder.features, 2)
    remember = method.remember

    def counted(predict_target, progress):
        memory = remember(predict_target, progress)
        labels.append(memory)
        return memory

    method.remember = counted
    texts, y = toy_texts(64, "film plot actor", 0)
    source, target = (
        tokenize(encoder.tokenizer, own, 32)[0] for own in (texts, toy_texts(50, "tweet lol", 1)[0])
    )
    codes = np.unique(y, return_inverse=True)[1]
    batches = PairedBatches(source, codes, target, 16, seed=0)
    settings = Settings.of(TINY, 0, method.default_strength)
    phases, runtime = method.phases(settings.epochs), Runtime.of("cpu")
    model = Classifier(encoder, head)
    return Trainer(model, method, phases, batches, settings, runtime, (source, codes))


@pytest.mark.parametrize("step", [2, 3])
@pytest.mark.parametrize("name", ["dann", "self_training", "mlm", "shot", "adda"])
def test_a_run_goes_on_from_the_middle_of_an_epoch_and_relabels_nothing(name, step, tiny_encoder):
    """Ignite's EPOCH_STARTED fires again there and would label the target with newer weights."""
    whole_labels: list = []
    whole = trainer(tiny_encoder, name, whole_labels)
    # The second phase begins with step 9.
    step += 8 if name in {"adda", "shot"} else 0
    snapshot: dict = {}

    def look(engine):
        if engine.state.iteration == step:
            whole.history.settle()
            snapshot.update({k: copy.deepcopy(v.state_dict()) for k, v in whole.states.items()})

    whole.run(on_step=look)
    labels: list = []
    again = trainer(tiny_encoder, name, labels)
    for key, state in snapshot.items():
        again.states[key].load_state_dict(state)
    again.run()
    for (key, a), (_, b) in zip(
        whole.parts.state_dict().items(), again.parts.state_dict().items(), strict=True
    ):
        assert torch.equal(a, b), key
    assert again.history.steps == whole.history.steps
    later = (whole.timeline.at(k) for k in range(step + 1, whole.timeline.total + 1))
    assert len(labels) == sum(moment.starts_epoch for moment in later) > 0
    for own, before in zip(labels, whole_labels[len(whole_labels) - len(labels) :], strict=True):
        assert own.keys() == before.keys()
        assert all(torch.equal(own[k], before[k]) for k in own)


def checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints in a folder, newest first."""
    found = folder.glob("checkpoint_*.pt")
    return sorted(found, key=lambda p: int(p.name.split("_")[1]), reverse=True)


def left_over(folder: Path) -> list[str]:
    """Return the files that are not complete checkpoints."""
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".pt" and p.name != ".lock")


@pytest.fixture
def stopped(tiny, source, target, tmp_path):
    """A run of ten steps that was killed in the ninth, and the same run uninterrupted."""
    params = {"checkpoint_every": 3, "method": "self_training"}
    whole = tiny(**params).fit(*source, X_target=target)
    with pytest.raises(Killed):
        tiny(**params, checkpoint_dir=tmp_path).fit(*source, X_target=target, on_step=kill_at(9))
    return whole, lambda **more: tiny(**{**params, "checkpoint_dir": tmp_path, **more}), tmp_path


def went_on(adapter, whole, source, target, first: int) -> None:
    """Check that a run starts with step `first` and ends as if it had never been stopped."""
    seen: list[int] = []
    adapter.fit(
        *source, X_target=target, on_step=lambda engine, _: seen.append(engine.state.iteration)
    )
    assert seen == list(range(first, 11))
    assert same(weights(adapter), weights(whole))
    assert adapter.history_ == whole.history_
    assert adapter.validation_ == whole.validation_


def test_a_run_is_saved_in_the_middle_of_an_epoch(stopped, source, target):
    whole, again, folder = stopped
    assert [p.name.rsplit("_", 1)[0] for p in checkpoints(folder)] == [
        "checkpoint_6",
        "checkpoint_5",
    ]
    went_on(again(), whole, source, target, first=7)
    assert left_over(folder) == []


def test_a_run_is_saved_every_so_many_minutes(tiny, source, target, tmp_path, monkeypatch):
    from dann_transfer.training import checkpoint

    clock = iter(range(0, 10_000, 25))
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: next(clock))
    written = []
    write = checkpoint.Checkpoints.write

    def watched(self, step, states):
        written.append(step)
        write(self, step, states)

    monkeypatch.setattr(checkpoint.Checkpoints, "write", watched)
    params = {"checkpoint_every": "1 min", "checkpoint_dir": tmp_path}
    tiny(**params).fit(*source, X_target=target)
    # Three looks at the clock take more than a minute, and epochs end with steps 5 and 10.
    assert written == [3, 5, 8, 10]


DAMAGE = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "longer": lambda data: data + b"\0",
    "a bit in the first record": lambda data: flipped(data, len(data) // 20),
    "a bit in the middle": lambda data: flipped(data, len(data) // 2),
    "a bit at the end": lambda data: flipped(data, len(data) - 3),
}


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_passed_over_and_named(damage, stopped, source, target):
    whole, again, folder = stopped
    newest = checkpoints(folder)[0]
    newest.write_bytes(DAMAGE[damage](newest.read_bytes()))
    with pytest.warns(
        CheckpointWarning, match=f"{newest.name}' is damaged .*; before it there is checkpoint_5_"
    ):
        went_on(again(), whole, source, target, first=6)
    # The next checkpoints replace it.
    assert [p.name.split("_")[1] for p in checkpoints(folder)] == ["10", "9"]


def test_where_all_are_damaged_the_run_starts_anew(stopped, source, target):
    whole, again, folder = stopped
    for path in checkpoints(folder):
        path.write_bytes(b"")
    with pytest.warns(CheckpointWarning, match="does not match its name.; the run starts again"):
        went_on(again(), whole, source, target, first=1)


def test_a_checkpoint_of_another_run_is_refused_and_what_differs_is_named(
    stopped, source, target, tiny_encoder
):
    _, again, folder = stopped
    files = {p: p.read_bytes() for p in checkpoints(folder)}
    texts, _ = source
    with pytest.raises(
        ValueError, match=r"learning_rate \(0\.001 there, 0\.0005 here\)\. Choose another"
    ):
        again(learning_rate=5e-4).fit(*source, X_target=target)
    with pytest.raises(ValueError, match=r"it differs in the target texts\. Choose"):
        again().fit(*source, X_target=[*target[1:], "a new tweet"])
    with pytest.raises(ValueError, match=r"it differs in seed \(0 there, 3 here\); the"):
        again(random_state=3).fit(*source, X_target=target)
    with pytest.raises(ValueError, match=r"it differs in .*the weights of texts"):
        again().fit(*source, X_target=target, sample_weight=np.linspace(1, 2, len(texts)))
    # A progress bar, or checkpoints at other times, do not make it another run.
    assert {p: p.read_bytes() for p in checkpoints(folder)} == files
    again(checkpoint_every=1, progress=True).fit(*source, X_target=target)


def test_a_checkpoint_knows_its_validation_labels(tiny, source, target, tmp_path):
    texts, labels = source
    val = {"X_target": target, "X_val": texts[:10]}
    tiny(checkpoint_dir=tmp_path).fit(texts, labels, **val, y_val=labels[:10])
    with pytest.raises(ValueError, match="it differs in the validation labels"):
        tiny(checkpoint_dir=tmp_path).fit(texts, labels, **val, y_val=labels[1:11])


def test_a_checkpoint_knows_the_encoder_that_it_started_from(source, target, tmp_path):
    """Another encoder at the same path has the same name, but different weights."""
    folder = make_tiny_encoder(tmp_path / "encoder")
    params = {**TINY, "method": "dann", "encoder": folder, "checkpoint_dir": tmp_path / "run"}
    DomainAdapter(**params).fit(*source, X_target=target)
    make_tiny_encoder(tmp_path / "encoder", initializer_range=0.03)
    with pytest.raises(ValueError, match="it differs in the encoder's weights"):
        DomainAdapter(**params).fit(*source, X_target=target)


def test_every_fit_of_a_search_has_its_own_checkpoints(tiny, source, target, tmp_path):
    texts, labels = source
    search = GridSearchCV(
        tiny(checkpoint_dir=tmp_path, epochs=1),
        {"max_strength": [0.0, 0.1]},
        cv=2,
        error_score="raise",
    )
    search.fit(texts, labels, X_target=Domain(target))
    # Two folds of two settings, and the best setting on all texts.
    folders = [p for p in tmp_path.iterdir() if p.is_dir()]
    assert len(folders) == 5
    assert all(len(checkpoints(p)) == 1 for p in folders)
    seen: list[int] = []
    search.fit(texts, labels, X_target=Domain(target), on_step=lambda *_: seen.append(1))
    assert not seen, "each of the finished runs is found again"


def test_a_full_disk_is_one_clear_error_and_leaves_the_last_checkpoint(
    stopped, source, target, monkeypatch
):
    whole, again, folder = stopped
    newest, data = checkpoints(folder)[0], checkpoints(folder)[0].read_bytes()
    stop_writing(monkeypatch, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    words = (
        r"checkpoint of step 9 cannot be written to .* \(\[Errno 28\] No space left on device\); "
        r"checkpoint_6_.* is intact\. Make room"
    )
    with pytest.raises(OSError, match=words):
        again().fit(*source, X_target=target)
    assert newest.read_bytes() == data
    assert left_over(folder) == []
    monkeypatch.undo()
    went_on(again(), whole, source, target, first=7)


def test_ctrl_c_in_a_write_is_ctrl_c(stopped, source, target, monkeypatch):
    whole, again, folder = stopped
    stop_writing(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        again().fit(*source, X_target=target)
    monkeypatch.undo()
    went_on(again(), whole, source, target, first=7)
    assert left_over(folder) == []


def stop_writing(monkeypatch, error: BaseException) -> None:
    """Let no file grow beyond 20,000 bytes."""

    class Full(io.BytesIO):
        def __init__(self, file):
            self.file = file

        def write(self, data):
            if self.file.tell() > 20_000:
                raise error
            return self.file.write(data)

        def flush(self):
            self.file.flush()

    make = HashedFile.__init__
    monkeypatch.setattr(HashedFile, "__init__", lambda self, file: make(self, Full(file)))


@pytest.mark.skipif(os.name != "posix", reason="limits of a process are POSIX")
def test_a_limit_of_the_system_on_files_is_such_an_error(tiny, source, target, tmp_path):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"step 5 cannot be written .* there is none before it"):
            tiny(checkpoint_dir=tmp_path).fit(*source, X_target=target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert left_over(tmp_path) == []


def test_a_folder_that_vanishes_is_such_an_error(tiny, source, target, tmp_path):
    def vanish(engine, _):
        if engine.state.iteration == 7:
            shutil.rmtree(tmp_path / "run")

    with pytest.raises(OSError, match="the checkpoint of step 10 cannot be written"):
        tiny(checkpoint_dir=tmp_path / "run").fit(*source, X_target=target, on_step=vanish)


def nothing_is_loaded(monkeypatch) -> None:
    monkeypatch.setattr(Encoder, "from_pretrained", lambda *_: pytest.fail("too late"))


def test_the_folder_is_tried_before_anything_is_loaded(tiny, source, target, tmp_path, monkeypatch):
    nothing_is_loaded(monkeypatch)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="file' is a file; name a folder"):
        tiny(checkpoint_dir=tmp_path / "file").fit(*source, X_target=target)
    with pytest.raises(OSError, match="cannot be written"):
        tiny(checkpoint_dir=tmp_path / "file" / "in").fit(*source, X_target=target)
    (tmp_path / "model.pt").write_bytes(b"a stranger's")
    with pytest.raises(ValueError, match=r"holds \['model.pt'\], which this version did not write"):
        tiny(checkpoint_dir=tmp_path).fit(*source, X_target=target)
    assert (tmp_path / "model.pt").read_bytes() == b"a stranger's"

    def read_only(**_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    with pytest.raises(OSError, match=r"new' cannot be written \(Read-only file system\); name"):
        tiny(checkpoint_dir=tmp_path / "new").fit(*source, X_target=target)


def test_other_files_in_the_folder_are_left_alone(tiny, source, target, tmp_path):
    (tmp_path / "notes.txt").write_text("years of work")
    (tmp_path / ".part").write_text("of a book")
    tiny(checkpoint_dir=tmp_path).fit(*source, X_target=target)
    assert (tmp_path / "notes.txt").read_text() == "years of work"
    assert (tmp_path / ".part").read_text() == "of a book"


def test_a_folder_in_use_is_refused(tiny, source, target, tmp_path):
    def another(engine, _):
        with pytest.raises(RuntimeError, match="is in use by another run; wait for it"):
            tiny(checkpoint_dir=tmp_path).fit(*source, X_target=target)
        tried.append(1)

    tried: list[int] = []
    tiny(checkpoint_dir=tmp_path, epochs=1).fit(*source, X_target=target, on_step=another)
    assert tried


def test_a_link_to_nowhere_is_named(tiny, source, target, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(OSError, match="link' cannot be written"):
        tiny(checkpoint_dir=tmp_path / "link").fit(*source, X_target=target)


def test_the_same_run_written_otherwise_is_the_same_run(tiny, source, target, tmp_path):
    weights_of = {"neg": 1.0, "pos": 2.0}
    params = {"checkpoint_dir": str(tmp_path), "max_grad_norm": 1.0, "class_weight": weights_of}
    first = tiny(**params)
    first.fit(*source, X_target=target)
    seen: list[int] = []
    again = tiny(**params | {"checkpoint_dir": tmp_path, "max_grad_norm": 1})
    again.set_params(encoder=Path(first.encoder), text_column="body", method_options={})
    again.set_params(class_weight=dict(reversed(weights_of.items())))
    again.fit(*source, X_target=target, on_step=lambda *_: seen.append(1))
    assert not seen


def test_one_folder_is_tried_by_many_at_once(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: check_folder(tmp_path), range(400)))
    assert list(tmp_path.iterdir()) == []


def test_clones_that_are_the_same_wait_for_each_other(tiny, source, target, tmp_path):
    base = tiny(checkpoint_dir=tmp_path, epochs=1)

    def fit(prior):
        twin = clone(base).set_params(correct_prior=prior, validation_fraction=0.4)
        return weights(twin.fit(*source, X_target=target))

    with parallel_config(backend="loky", n_jobs=2):
        one, other = Parallel()(delayed(fit)(prior) for prior in (None, "em"))
    assert same(one, other)
    assert len([p for p in tmp_path.iterdir() if p.is_dir()]) == 1

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import stat
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import TINY, same
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from typer.testing import CliRunner

from dann_transfer import DomainAdapter, cli, methods
from dann_transfer.adapter import RefitWarning
from dann_transfer.fitting import saving
from dann_transfer.fitting.folder import digest_of_config
from dann_transfer.ground.digests import sha256_of_file
from dann_transfer.serving.onnx import to_onnx

pytestmark = pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning")


@pytest.fixture
def saved(fitted, tmp_path) -> Path:
    fitted.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_saved_and_loaded_predicts_the_same(fitted, saved, target):
    loaded = DomainAdapter.from_pretrained(saved)
    assert (loaded.predict_proba(target) == fitted.predict_proba(target)).all()
    assert loaded.predict(target).tolist() == fitted.predict(target).tolist()
    assert loaded.classes_.dtype.kind == "U"
    for attribute in ("history_", "validation_", "seed_", "max_strength_", "truncated_"):
        assert getattr(loaded, attribute) == getattr(fitted, attribute), attribute
    ours, theirs = fitted.get_params(), loaded.get_params()
    assert {k for k in ours if ours[k] != theirs[k]} <= {"device", "encoder"}
    # Of a path only the last part is kept, in every file of the folder.
    assert theirs["encoder"] == Path(ours["encoder"]).name
    above = str(Path(ours["encoder"]).parent).encode()
    assert [p for p in saved.rglob("*") if p.is_file() and above in p.read_bytes()] == []


def test_a_new_process_predicts_the_same(fitted, saved, target):
    code = (
        "import json, sys; from dann_transfer import DomainAdapter; "
        "a = DomainAdapter.from_pretrained(sys.argv[1], device='cpu'); "
        "print(json.dumps(a.predict_proba(json.loads(sys.argv[2])).tolist()))"
    )
    command = [sys.executable, "-c", code, str(saved), json.dumps(target)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert np.allclose(json.loads(out.splitlines()[-1]), fitted.predict_proba(target), atol=1e-6)


def test_prediction_needs_neither_ignite_nor_the_method(tiny_encoder, source, target, tmp_path):
    class Mine(methods.Method):
        def loss(self, forward, strength):
            return {}

    with methods.registered("mine", Mine):
        adapter = DomainAdapter(tiny_encoder, **{**TINY, "method": "mine", "epochs": 1})
        adapter.fit(*source, X_target=target).save_pretrained(tmp_path / "m")
    code = (
        "import sys; sys.modules['ignite'] = None; from dann_transfer import DomainAdapter; "
        "print(len(DomainAdapter.from_pretrained(sys.argv[1]).predict(['good film'])))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "m")]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "1"


def test_the_encoder_opens_with_hugging_face(fitted, saved):
    import torch
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(saved).eval()
    ids = AutoTokenizer.from_pretrained(saved)(["good film"], return_tensors="pt")
    with torch.inference_mode():
        hidden = model(**ids).last_hidden_state.mean(1).numpy()
    assert np.allclose(hidden, fitted.transform(["good film"]), atol=1e-5)


def test_a_loaded_model_can_be_trained_again(saved, source, target, tiny_encoder):
    twin = clone(DomainAdapter.from_pretrained(saved))
    twin.set_params(epochs=1, device="cpu", encoder=tiny_encoder)
    assert twin.fit(*source, X_target=target).predict(target).shape == (len(target),)


def test_parameters_set_after_construction_are_saved(tiny, source, target, tmp_path):
    adapter = tiny().set_params(epochs=1, batch_size=8)
    adapter.fit(*source, X_target=target).save_pretrained(tmp_path / "m")
    assert DomainAdapter.from_pretrained(tmp_path / "m").batch_size == 8


@pytest.mark.parametrize(
    "name",
    ["adapter.json", "heads.safetensors", "model.safetensors", "config.json", "tokenizer.json"],
)
@pytest.mark.parametrize("how", ["missing", "truncated", "tampered"])
def test_a_damaged_folder_is_refused(saved, name, how):
    file = saved / name
    data = file.read_bytes()
    if how == "missing":
        file.unlink()
    elif how == "truncated":
        file.write_bytes(data[: len(data) // 2])
    else:
        # The last digit or letter is changed, so that JSON stays JSON.
        at = max(i for i in range(len(data)) if chr(data[i]).isalnum())
        other = b"1" if data[at : at + 1] != b"1" else b"2"
        file.write_bytes(data[:at] + other + data[at + 1 :])
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        DomainAdapter.from_pretrained(saved)


def test_a_folder_that_is_none_is_named(tmp_path):
    with pytest.raises(ValueError, match="is not a folder"):
        DomainAdapter.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"has no adapter\.json"):
        DomainAdapter.from_pretrained(tmp_path)


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path(Bomb.mark),)


def test_no_pickle_is_read_and_no_code_of_the_folder_runs(saved, tmp_path, monkeypatch):
    Bomb.mark = str(tmp_path / "ran")
    (saved / ".evil.bin").write_bytes(pickle.dumps(Bomb()))
    monkeypatch.setattr(pickle, "load", lambda *a, **k: pytest.fail("pickle.load was called"))
    monkeypatch.setattr(pickle, "loads", lambda *a, **k: pytest.fail("pickle.loads was called"))
    monkeypatch.setattr("torch.load", lambda *a, **k: pytest.fail("torch.load was called"))
    DomainAdapter.from_pretrained(saved)
    for name in ("pytorch_model.bin", "modeling_evil.py", "adapter_config.json"):
        (saved / name).write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(ValueError, match=f"{name}.* does not belong to the saved model"):
            DomainAdapter.from_pretrained(saved)
        (saved / name).unlink()
    assert not (tmp_path / "ran").exists()


def resign(folder: Path) -> None:
    """Do what an attacker can do: write matching checksums."""
    config = json.loads((folder / "adapter.json").read_text())
    config["files"] = {
        str(p.relative_to(folder)): sha256_of_file(p)
        for p in folder.rglob("*")
        if p.is_file() and p.name not in {"adapter.json", "README.md"}
    }
    config["digest"] = digest_of_config(config)
    (folder / "adapter.json").write_text(json.dumps(config))


def rewrite(folder: Path, change) -> None:
    """Change adapter.json, and sign the folder anew."""
    config = json.loads((folder / "adapter.json").read_text())
    change(config)
    (folder / "adapter.json").write_text(json.dumps(config))
    resign(folder)


def test_a_tokenizer_that_gives_other_ids_than_when_saved_is_refused(saved):
    def change(config):
        assert set(config["tokenizer"]["versions"]) == {"transformers", "tokenizers"}
        config["tokenizer"]["versions"]["transformers"] = "4.57.1"
        config["tokenizer"]["ids"][0][1] += 1

    rewrite(saved, change)
    words = r"was saved with transformers 4\.57\.1 and tokenizers .*Install the versions"
    with pytest.raises(ValueError, match=words):
        DomainAdapter.from_pretrained(saved)


def test_a_model_of_an_earlier_release_loads_with_one_note(saved, fitted, source, target):
    def change(config):
        del config["tokenizer"], config["order"], config["params"]["ordinal"]

    rewrite(saved, change)
    with pytest.warns(UserWarning, match="without the ids of probe texts") as said:
        loaded = DomainAdapter.from_pretrained(saved)
    assert len(said) == 1
    assert (loaded.predict_proba(target) == fitted.predict_proba(target)).all()
    assert loaded.retarget(*source, X_target=target).order_ is None


def test_a_model_of_a_later_transformers_names_what_to_install(saved):
    def change(config):
        config["tokenizer"]["versions"]["transformers"] = "99.1.0"

    rewrite(saved, change)
    with pytest.raises(ValueError, match=r"saved with transformers 99\.1\.0, and .*install 99 or"):
        DomainAdapter.from_pretrained(saved)


def test_remote_code_of_a_folder_stays_off(saved, tmp_path):
    config = json.loads((saved / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "evil.EvilModel", "AutoConfig": "evil.EvilConfig"}
    config["model_type"] = "evil"
    (saved / "config.json").write_text(json.dumps(config))
    (saved / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    resign(saved)
    with pytest.raises(ValueError, match="cannot be loaded"):
        DomainAdapter.from_pretrained(saved)
    assert not (tmp_path / "ran").exists()


def test_saving_replaces_an_earlier_model_and_nothing_else(fitted, saved, tmp_path):
    fitted.save_pretrained(saved)
    DomainAdapter.from_pretrained(saved)
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").write_text("years of work")
    with pytest.raises(ValueError, match="holds something other than a saved"):
        fitted.save_pretrained(other)
    assert (other / "chapter.txt").read_text() == "years of work"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "thesis"]


def test_files_put_beside_a_saved_model_are_not_lost(fitted, saved):
    (saved / "notes.txt").write_text("thesis")
    with pytest.raises(ValueError, match=r"other than a saved adapter \(\['notes\.txt'\]\)"):
        fitted.save_pretrained(saved)
    assert (saved / "notes.txt").read_text() == "thesis"
    (saved / "notes.txt").unlink()
    (saved / "adapter.json").write_text("{}")
    with pytest.raises(ValueError, match="holds something other than a saved"):
        fitted.save_pretrained(saved)


@pytest.mark.parametrize("labels", [list(range(12)), [-1, -2, 5], [True, False], [1.0, 2.0]])
def test_labels_of_every_type_survive_saving(tiny, target, tmp_path, labels):
    texts = [f"good film {i}" for i in range(4 * len(labels))]
    adapter = tiny(epochs=1).fit(texts, labels * 4, X_target=target)
    adapter.save_pretrained(tmp_path / "m")
    loaded = DomainAdapter.from_pretrained(tmp_path / "m")
    assert loaded.classes_.tolist() == adapter.classes_.tolist()
    assert loaded.target_shares_ == adapter.target_shares_
    kinds = {type(key) for key in loaded.target_shares_}
    assert kinds == {type(labels[0])}


def test_class_weights_keep_their_keys(tiny, source, target, tmp_path):
    codes = [int(label == "pos") for label in source[1]]
    adapter = tiny(epochs=1, class_weight={0: 1.0, 1: 2.0})
    adapter.fit(source[0], codes, X_target=target).save_pretrained(tmp_path / "m")
    assert DomainAdapter.from_pretrained(tmp_path / "m").class_weight == {0: 1.0, 1: 2.0}


def test_numpy_parameters_are_saved(tiny, source, target, tmp_path):
    adapter = tiny(epochs=np.int64(1), learning_rate=np.float64(1e-3))
    adapter.fit(*source, X_target=target).save_pretrained(tmp_path / "m")
    assert DomainAdapter.from_pretrained(tmp_path / "m").epochs == 1


def test_a_folder_cannot_ask_for_remote_code_or_paths(saved):
    config = json.loads((saved / "adapter.json").read_text())
    config["params"] |= {"trust_remote_code": True, "checkpoint_dir": "/tmp/x"}
    (saved / "adapter.json").write_text(json.dumps(config))
    resign(saved)
    loaded = DomainAdapter.from_pretrained(saved)
    assert loaded.trust_remote_code is False
    assert loaded.checkpoint_dir is None
    encoder = json.loads((saved / "config.json").read_text())
    encoder["_attn_implementation"] = encoder["attn_implementation"] = "evil/kernel"
    (saved / "config.json").write_text(json.dumps(encoder))
    resign(saved)
    with pytest.raises(ValueError, match="requests attention code from a hub"):
        DomainAdapter.from_pretrained(saved)


def test_a_failed_save_leaves_the_earlier_model_whole(fitted, saved, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(saving, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        fitted.save_pretrained(saved)
    monkeypatch.undo()
    DomainAdapter.from_pretrained(saved)
    assert [p.name for p in saved.parent.iterdir()] == ["model"]


def test_a_method_that_is_not_registered_still_predicts(tiny_encoder, source, target, tmp_path):
    class Mine(methods.Method):
        def build(self, features, classes):
            self.layer = torch.nn.Linear(features, classes)

        def loss(self, forward, strength):
            return {"own": self.layer(forward.features).square().mean()}

    with methods.registered("mine", Mine):
        adapter = DomainAdapter(tiny_encoder, **{**TINY, "method": "mine", "epochs": 4})
        adapter.fit(*source, X_target=target).save_pretrained(tmp_path / "m")
    loaded = DomainAdapter.from_pretrained(tmp_path / "m")
    assert (loaded.predict_proba(target) == adapter.predict_proba(target)).all()
    # Saved again where the method is not registered, the method's weights are still there.
    loaded.save_pretrained(tmp_path / "again")
    first, second = (load_file(tmp_path / name / "heads.safetensors") for name in ("m", "again"))
    assert "method.layer.weight" in first
    assert same(first, second)


def test_the_model_card_says_what_it_is(saved):
    card = (saved / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: dann_transfer\n")
    # A pipeline would open the folder with a random head, so the card has no tag for one.
    assert "pipeline_tag" not in card
    assert "on 90\nlabelled source texts and 70 unlabelled target texts" in card
    assert "`'neg'`, `'pos'`" in card


@pytest.mark.parametrize(
    "change",
    [
        {"pooling": "cls"},
        {"method": "mcc"},
        {"method": "no such method"},
        {"max_length": 100_000},
        {"max_length": 3},
        {"freeze_layers": 3},
        {"class_weight": {"neg": 2.0}},
        {"encoder": "nowhere"},
        {"random_state": 99},
    ],
    ids=str,
)
def test_what_predicts_and_is_saved_is_what_was_fitted(change, tiny, source, target, tmp_path):
    adapter = tiny(epochs=1).fit(*source, X_target=target)
    before = adapter.predict_proba(target)
    adapter.set_params(**change)
    assert (adapter.predict_proba(target) == before).all()
    adapter.save_pretrained(tmp_path / "m")
    loaded = DomainAdapter.from_pretrained(tmp_path / "m")
    assert (loaded.predict_proba(target) == before).all()
    # The name of the encoder's folder is kept, and no other path.
    fitted = {**tiny(epochs=1).get_params(), "encoder": "encoder"}
    assert {k: v for k, v in loaded.get_params().items() if fitted[k] != v} == {"device": None}


def test_a_refit_that_failed_leaves_the_model_as_it_was(tiny, source, target, tmp_path):
    adapter = tiny(epochs=1).fit(*source, X_target=target)
    before = adapter.predict_proba(target)
    with pytest.raises(ValueError, match="X_target holds the same texts"):
        adapter.set_params(pooling="cls").fit(*source, X_target=source[0])
    assert (adapter.predict_proba(target) == before).all()
    adapter.save_pretrained(tmp_path / "m")
    loaded = DomainAdapter.from_pretrained(tmp_path / "m")
    assert (loaded.predict_proba(target) == before).all()


def test_what_is_set_for_predictions_holds_and_is_saved(tiny, source, target, tmp_path):
    adapter = tiny(epochs=1).fit(*source, X_target=target)
    corrected = adapter.set_params(correct_prior="em").predict_proba(target)
    adapter.save_pretrained(tmp_path / "m")
    loaded = DomainAdapter.from_pretrained(tmp_path / "m")
    assert (loaded.predict_proba(target) == corrected).all()


def test_numpy_numbers_at_any_depth_are_saved(tiny, source, target, tmp_path):
    from sklearn.utils.class_weight import compute_class_weight

    codes = np.array([int(label == "pos") for label in source[1]])
    weights = compute_class_weight("balanced", classes=np.unique(codes), y=codes)
    adapter = tiny(
        epochs=1,
        class_weight=dict(zip(np.unique(codes), weights, strict=True)),
        method_options={"width": np.int64(16), "label_smoothing": np.float32(0.0)},
    )
    adapter.fit(source[0], codes, X_target=target).save_pretrained(tmp_path / "m")
    loaded = DomainAdapter.from_pretrained(tmp_path / "m")
    assert loaded.class_weight == {0: pytest.approx(1.0), 1: pytest.approx(1.0)}
    assert loaded.method_options == {"width": 16, "label_smoothing": 0.0}


def test_an_options_object_that_json_cannot_hold(tiny, source, target, tmp_path):
    adapter = tiny(epochs=1).fit(*source, X_target=target)
    adapter.params_["method_options"] = {"width": object()}
    with pytest.raises(TypeError, match="the parameters cannot be saved: Object of type object"):
        adapter.save_pretrained(tmp_path / "m")
    assert not (tmp_path / "m").exists()


SAVER = """
import itertools, sys
from dann_transfer import DomainAdapter
models = [DomainAdapter.from_pretrained(folder) for folder in sys.argv[2:]]
for i in itertools.count():
    models[i % 2].save_pretrained(sys.argv[1])
    if i == 0:
        print("ready", flush=True)
"""


@pytest.fixture
def saver(tiny, source, target, tmp_path):
    """Start a process that saves two models in turn, and return their outputs for texts."""
    made = []
    for seed in (0, 1):
        adapter = tiny(epochs=1, random_state=seed).fit(*source, X_target=target)
        adapter.save_pretrained(tmp_path / f"model{seed}")
        made.append(adapter.predict_proba(target))
    (tmp_path / "in").mkdir()
    started = []

    def start() -> subprocess.Popen:
        command = [sys.executable, "-c", SAVER, str(tmp_path / "in" / "model")]
        command += [str(tmp_path / f"model{seed}") for seed in (0, 1)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start, made, tmp_path / "in" / "model"
    for process in started:
        process.kill()
        process.wait()


def test_a_model_that_is_being_saved_is_read_whole(saver, target):
    start, made, folder = saver
    process, seen = start(), set()
    for _ in range(60):
        probabilities = DomainAdapter.from_pretrained(folder, device="cpu").predict_proba(target)
        same = [bool(np.allclose(probabilities, own, atol=1e-6)) for own in made]
        assert sum(same) == 1, "the encoder of one model and the head of the other"
        seen.add(same.index(True))
    assert seen == {0, 1}
    assert process.poll() is None


def test_a_save_that_is_killed_leaves_a_whole_model_and_nothing_for_long(saver, fitted, target):
    start, made, folder = saver
    rng = np.random.default_rng(0)
    for _ in range(2):
        process = start()
        time.sleep(rng.uniform(0.2, 0.6))
        process.kill()
        process.wait()
        probabilities = DomainAdapter.from_pretrained(folder, device="cpu").predict_proba(target)
        assert any(np.allclose(probabilities, own, atol=1e-6) for own in made)
        # The folder and its lock, and at most one more copy.
        assert len(list(folder.parent.iterdir())) <= 3
    fitted.save_pretrained(folder)
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


@pytest.mark.skipif(os.name != "posix", reason="an umask is POSIX's")
@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_who_may_read_a_model_is_what_the_umask_says(umask, fitted, tmp_path):
    before = os.umask(umask)
    try:
        fitted.save_pretrained(tmp_path / "m")
    finally:
        os.umask(before)
    for path in (tmp_path / "m", *(tmp_path / "m").rglob("*")):
        mode = 0o777 if path.is_dir() else 0o666
        assert stat.S_IMODE(path.stat().st_mode) == mode & ~umask, path


@pytest.mark.skipif(os.name != "posix", reason="limits of a process are POSIX")
def test_a_full_disk_is_an_oserror_with_a_remedy(fitted, saved, target):
    import resource

    before = fitted.predict_proba(target)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (1_000, 20_000, 60_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        try:
            with pytest.raises(OSError, match=r"cannot be saved to .*was changed\. About 0 MB are"):
                fitted.save_pretrained(saved)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert (DomainAdapter.from_pretrained(saved).predict_proba(target) == before).all()
        assert [p.name for p in saved.parent.iterdir()] == ["model"]


def test_the_current_folder_is_not_replaced(fitted, saved, monkeypatch):
    monkeypatch.chdir(saved)
    for place in (".", saved, "..", "../model"):
        with pytest.raises(ValueError, match="is the current folder or above it"):
            fitted.save_pretrained(place)
    DomainAdapter.from_pretrained(".")


def test_a_link_is_followed(fitted, saved, target):
    link = saved.parent / "latest"
    link.symlink_to(saved)
    fitted.save_pretrained(link)
    assert link.is_symlink()
    assert DomainAdapter.from_pretrained(link).predict(target).shape == (len(target),)


def test_a_signed_folder_names_no_weights_elsewhere(saved, tmp_path):
    weights = load_file(saved / "model.safetensors")
    (saved / "model.safetensors").rename(tmp_path / "outside.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, "../outside.safetensors")}
    (saved / "model.safetensors.index.json").write_text(json.dumps(index))
    resign(saved)
    with pytest.raises(ValueError, match="only safetensors files beside it are read"):
        DomainAdapter.from_pretrained(saved)
    (saved / "model.safetensors.index.json").unlink()
    (saved / "adapter_config.json").write_text('{"base_model_name_or_path": "/elsewhere"}')
    resign(saved)
    with pytest.raises(ValueError, match=r"adapter_config\.json' is not part of a saved model"):
        DomainAdapter.from_pretrained(saved)


def test_what_is_put_there_while_a_save_is_running_is_not_lost(fitted, saved, monkeypatch):
    write = saving._write

    def slow(model, work):
        write(model, work)
        (saved / "notes.txt").write_text("years of work")

    monkeypatch.setattr(saving, "_write", slow)
    with pytest.raises(ValueError, match="holds something other than a saved adapter"):
        fitted.save_pretrained(saved)
    assert (saved / "notes.txt").read_text() == "years of work"
    assert [p.name for p in saved.parent.iterdir()] == ["model"]


def test_arrays_and_tensors_among_the_settings_are_saved(tiny, source, target, tmp_path):
    adapter = tiny(
        epochs=1,
        class_weight={"pos": torch.tensor(2.0), "neg": np.array(1)},
        method_options={"width": np.array(16)},
    )
    adapter.fit(*source, X_target=target).save_pretrained(tmp_path / "m")
    loaded = DomainAdapter.from_pretrained(tmp_path / "m")
    assert loaded.class_weight == {"pos": 2.0, "neg": 1}
    assert loaded.method_options == {"width": 16}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder that acts as the hub: uploads to it can be downloaded."""
    import huggingface_hub

    def place(name):
        if not (tmp_path / "hub" / name).is_dir():
            raise ConnectionError("no way\nto the hub")
        return tmp_path / "hub" / name

    def create_repo(self, name, *, private, exist_ok):
        (tmp_path / "hub" / name).mkdir(parents=True, exist_ok=exist_ok)
        (tmp_path / "hub" / name / ".gitattributes").touch()
        return f"https://hub/{name}"

    def list_repo_files(self, name):
        return [str(p.relative_to(place(name))) for p in place(name).rglob("*") if p.is_file()]

    def upload_folder(self, *, repo_id, folder_path, delete_patterns, commit_message):
        for name in delete_patterns:
            (place(repo_id) / name).unlink()
        shutil.copytree(folder_path, place(repo_id), dirs_exist_ok=True)

    def download(name, file, **_):
        if not (place(name) / file).is_file():
            raise FileNotFoundError(f"no {file}")
        return str(place(name) / file)

    def snapshot_download(name, *, allow_patterns, **_):
        copy = tmp_path / "cache" / name
        for file in allow_patterns:
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(place(name) / file, copy / file)
        return str(copy)

    hub = huggingface_hub.HfApi
    monkeypatch.setattr(hub, "create_repo", create_repo)
    monkeypatch.setattr(hub, "list_repo_files", list_repo_files)
    monkeypatch.setattr(hub, "upload_folder", upload_folder)
    monkeypatch.setattr(hub, "hf_hub_download", lambda self, *names: download(*names))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.chdir(tmp_path)


def test_a_model_goes_to_the_hub_and_comes_back(hub, fitted, target, tmp_path):
    assert (
        fitted.push_to_hub("someone/reviews-to-tweets") == "https://hub/someone/reviews-to-tweets"
    )
    # Files that the hub keeps beside a model, and a licence, are not part of the model.
    (tmp_path / "hub/someone/reviews-to-tweets/LICENSE").touch()
    again = DomainAdapter.from_pretrained("someone/reviews-to-tweets")
    assert (again.predict_proba(target) == fitted.predict_proba(target)).all()
    # This also works on the command line.
    done = CliRunner().invoke(cli.app, ["diagnose", "someone/reviews-to-tweets"])
    assert done.exit_code == 0, done.output
    card = (tmp_path / "hub/someone/reviews-to-tweets/README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert head == {
        "library_name": "dann_transfer",
        "tags": ["domain-adaptation", "dann"],
    }


def test_a_model_on_the_hub_is_replaced_and_nothing_else(hub, fitted, tiny, source, tmp_path):
    folder = tmp_path / "hub/some/model"
    fitted.push_to_hub("some/model")
    (folder / "LICENSE").touch()
    tiny(method="source_only").fit(*source).push_to_hub("some/model")
    assert DomainAdapter.from_pretrained("some/model").params_["method"] == "source_only"
    assert (folder / "LICENSE").is_file()
    other = tmp_path / "hub/some/other"
    other.mkdir()
    (other / "pytorch_model.bin").touch()
    with pytest.raises(
        ValueError, match=r"holds something other than a saved model \(\['pytorch_m"
    ):
        fitted.push_to_hub("some/other")
    assert (other / "pytorch_model.bin").is_file()
    with pytest.raises(ValueError, match=r"no adapter.json"):
        DomainAdapter.from_pretrained("some/other")


def test_what_the_hub_does_not_have_is_said(hub, fitted):
    words = (
        "'some/one' is not a folder here, and the hub gave no model .* "
        "\\(ConnectionError: no way\\)"
    )
    with pytest.raises(ValueError, match=words):
        DomainAdapter.from_pretrained("some/one")
    with pytest.raises(ValueError, match="'model' must be of the form 'user/model'"):
        fitted.push_to_hub("model")
    # A folder of that name takes precedence, and a Path is never looked up on the hub.
    fitted.save_pretrained("some/one")
    assert DomainAdapter.from_pretrained("some/one").classes_.tolist() == ["neg", "pos"]
    with pytest.raises(ValueError, match="is not a folder"):
        DomainAdapter.from_pretrained(Path("no/where"))


def test_nothing_is_saved_inside_a_model(fitted, tmp_path):
    fitted.save_pretrained(tmp_path / "model")
    for save in (fitted.save_pretrained, lambda folder: to_onnx(fitted, folder)):
        with pytest.raises(
            ValueError, match=r"is inside the model saved in .* name another folder"
        ):
            save(tmp_path / "model" / "best")
    assert DomainAdapter.from_pretrained(tmp_path / "model").classes_.tolist() == ["neg", "pos"]


DEEP = "[" * 100_000


def reshape(folder: Path, change) -> None:
    """Change the tensors of heads.safetensors."""
    tensors = load_file(folder / "heads.safetensors")
    save_file(change(tensors), folder / "heads.safetensors")


def with_config(**changes: object):
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **changes}))

    return change


def with_fitted(edit):
    def change(folder: Path) -> None:
        config = json.loads((folder / "adapter.json").read_text())
        edit(config)
        (folder / "adapter.json").write_text(json.dumps(config))

    return change


def set_in(key: str, value: object):
    return with_fitted(lambda config: config.update({key: value}))


DAMAGES = {
    "no layers": with_config(num_hidden_layers=0),
    "minus one layer": with_config(num_hidden_layers=-1),
    "one layer": with_config(num_hidden_layers=1),
    "more layers": with_config(num_hidden_layers=5),
    "another width": with_config(hidden_size=16),
    "no heads": with_config(num_attention_heads=0),
    "layers as text": with_config(num_hidden_layers="three"),
    "another vocabulary": with_config(vocab_size=7),
    "a deep config": lambda f: (f / "config.json").write_text(DEEP),
    "a deep list of modules": lambda f: (f / "modules.json").write_text(DEEP),
    "an empty config": lambda f: (f / "config.json").write_text("[]"),
    "a config of null": lambda f: (f / "config.json").write_text("null"),
    "a non-finite head": lambda f: reshape(
        f, lambda t: {k: v * float("nan") if k.startswith("head.") else v for k, v in t.items()}
    ),
    "an infinite method": lambda f: reshape(
        f, lambda t: {k: v + float("inf") if k.startswith("method.") else v for k, v in t.items()}
    ),
    "no head": lambda f: reshape(
        f, lambda t: {k: v for k, v in t.items() if not k.startswith("head.")}
    ),
    "a head of three classes": lambda f: reshape(
        f, lambda t: {k: torch.cat([v, v[:1]]) if "head." in k else v for k, v in t.items()}
    ),
    "an unknown part": lambda f: reshape(f, lambda t: {**t, "tail.weight": torch.zeros(1)}),
    "half a neighborhood": lambda f: reshape(
        f, lambda t: {**t, "neighborhood.features": torch.zeros(3, 32)}
    ),
    "a narrow neighborhood": lambda f: reshape(
        f,
        lambda t: {
            **t,
            "neighborhood.features": torch.zeros(3, 31),
            "neighborhood.probabilities": torch.zeros(3, 2),
        },
    ),
    "heads that are no file of tensors": lambda f: (f / "heads.safetensors").write_bytes(b"{}"),
    "three classes": set_in("classes", ["a", "b", "c"]),
    "one class": set_in("classes", ["a"]),
    "a class twice": set_in("classes", ["a", "a"]),
    "classes of null": set_in("classes", None),
    "no classes": with_fitted(lambda config: config.pop("classes")),
    "a long prior": set_in("source_prior", [0.2, 0.3, 0.5]),
    "a prior of text": set_in("source_prior", ["a", "b"]),
    "a prior that is not finite": set_in("source_prior", [float("nan"), 1.0]),
    "a long target prior": set_in("target_prior", {"em": [1.0]}),
    "a short interval": set_in("prior_intervals", {"em": [[0.1], [0.2]]}),
    "an interval of one end": set_in("prior_intervals", {"em": [[0.1, 0.2]]}),
    "shares of three": set_in("target_shares", [0.2, 0.3, 0.5]),
    "a bare calibration": set_in("calibration", {}),
    "a long calibration": set_in(
        "calibration", {"temperature": 1.0, "bias": [0.0] * 3, "prior": [0.5] * 2}
    ),
    "no parameters": with_fitted(lambda config: config.pop("params")),
    "parameters of a list": set_in("params", []),
    "no pooling": with_fitted(lambda config: config["params"].pop("pooling")),
    "a length beyond the encoder's": with_fitted(
        lambda config: config["params"].update(max_length=1_000)
    ),
    "fewer ids than probe texts": with_fitted(lambda config: config["tokenizer"]["ids"].pop()),
    "a record of a list": set_in("tokenizer", []),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_content_that_does_not_fit_together_is_refused(damage, saved):
    DAMAGES[damage](saved)
    resign(saved)
    with pytest.raises(ValueError, match=re.escape(str(saved))):
        DomainAdapter.from_pretrained(saved)


@pytest.mark.parametrize("token", [3, 24])
def test_an_encoder_that_is_not_finite_is_refused(token, saved):
    # The first is in every text; the last is in none of the trial's.
    weights = load_file(saved / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][token, 3] = float("inf")
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    resign(saved)
    with pytest.raises(ValueError, match=r"returns states that are not finite|values that are not"):
        DomainAdapter.from_pretrained(saved)


def test_an_adapter_json_that_is_nested_too_deep_is_damaged(saved, fitted):
    (saved / "adapter.json").write_text(DEEP)
    with pytest.raises(ValueError, match=r"adapter\.json' is damaged"):
        DomainAdapter.from_pretrained(saved)
    with pytest.raises(ValueError, match="holds something other than a saved adapter"):
        fitted.save_pretrained(saved)


def test_a_saved_model_that_is_fitted_again_says_where_it_starts(
    tiny, tiny_encoder, source, target, tmp_path
):
    tiny(epochs=1).fit(*source, X_target=target).save_pretrained(tmp_path / "model")
    loaded = DomainAdapter.from_pretrained(tmp_path / "model")
    loaded.set_params(encoder=tiny_encoder)
    with pytest.warns(RefitWarning, match=r"is not trained further: fit starts again from"):
        loaded.fit(*source, X_target=target)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RefitWarning)
        tiny(encoder=str(tmp_path / "model"), epochs=1).fit(*source, X_target=target)

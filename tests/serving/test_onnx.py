from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_tiny_encoder, toy_texts
from transformers import BertTokenizerFast

from dann_transfer import DomainAdapter, datasets
from dann_transfer.serving.onnx import OnnxModel, differences, to_onnx

pytest.importorskip("onnxscript")

TEXTS = ["a good film", "", "bad " * 40, "lol", *toy_texts(90, "omg today friend the", 3)[0]]


@pytest.fixture(scope="module")
def adapter(tiny, source, target):
    return tiny(epochs=1).fit(*source, X_target=target)


@pytest.fixture(scope="module")
def folder(adapter, tmp_path_factory):
    return to_onnx(adapter, tmp_path_factory.mktemp("onnx") / "model")


@pytest.mark.filterwarnings("ignore")
def test_it_gives_what_the_adapter_gives_for_texts_of_any_length_and_number(adapter, folder):
    model = OnnxModel(folder, threads=1)
    for texts in (TEXTS, TEXTS[:1], ["good"] * 3):
        assert differences(model, adapter, texts)["probability"] < 1e-5
        assert model.predict(texts).tolist() == adapter.predict(texts).tolist()
        assert np.abs(model.transform(texts) - adapter.transform(texts)).max() < 1e-4


def test_it_predicts_without_torch(folder):
    code = (
        "import sys; from dann_transfer.serving.onnx import OnnxModel; "
        f"print(OnnxModel({str(folder)!r}, threads=1).predict(['a good film'])[0]); "
        "assert 'torch' not in sys.modules, 'torch'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in {"pos", "neg"}


def test_labels_that_are_numbers_stay_numbers_and_keep_their_order(tiny, source, target, tmp_path):
    labels = [i % 3 for i in range(len(source[0]))]
    adapter = tiny(epochs=1, ordinal=[2, 0, 1]).fit(source[0], labels, X_target=target)
    model = OnnxModel(to_onnx(adapter, tmp_path / "m"))
    predicted, p = model.predict(target), model.predict_proba(target)
    assert np.allclose(p, adapter.predict_proba(target), atol=1e-5)
    assert predicted.tolist() == adapter.predict(target).tolist()
    # The median in the order 2, 0, 1.
    steps = p[:, [2, 0, 1]].cumsum(1)
    assert predicted.tolist() == np.array([2, 0, 1])[(steps >= 0.5).argmax(1)].tolist()
    assert differences(model, adapter, target)["same"] == 1
    assert predicted.dtype.kind == "i"


@pytest.mark.parametrize(
    "settings",
    [
        {"truncation_side": "left"},
        {"truncation_side": "right"},
        {"split_special_tokens": True},
        {"truncation_side": "left", "split_special_tokens": True, "padding_side": "left"},
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_the_tokenizer_cuts_and_splits_as_the_adapter_s(settings, tiny, source, tmp_path):
    """These settings stand in tokenizer_config.json, and tokenizer.json does not hold them."""
    encoder = Path(make_tiny_encoder(tmp_path / "encoder"))
    file = encoder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    adapter = tiny(encoder=str(encoder), method="source_only", max_length=8).fit(*source)
    tokenizer = adapter.encoder_.tokenizer
    assert {name: getattr(tokenizer, name) for name in settings} == settings
    model = OnnxModel(to_onnx(adapter, tmp_path / "m"))
    texts = ["good great " * 9 + "bad awful " * 9, "bad awful " * 9 + "good great " * 9]
    texts += ["good [SEP] bad [MASK]", "[CLS] film [PAD] film"]
    assert differences(model, adapter, texts)["probability"] < 1e-5


class Shouting(BertTokenizerFast):
    """A tokenizer that changes texts in Python, of which no file of tokens knows."""

    def __call__(self, text, **settings):
        return super().__call__([t.replace("one", "good") for t in text], **settings)


def test_a_tokenizer_that_does_more_than_its_file_is_refused(adapter, tmp_path, monkeypatch):
    shouting = Shouting.from_pretrained(adapter.params_["encoder"])
    monkeypatch.setattr(adapter.encoder_, "tokenizer", shouting)
    with pytest.raises(ValueError, match=r"Shouting gives 'one two three.* other tokens than the"):
        to_onnx(adapter, tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_int8_is_smaller_and_near(adapter, folder, tmp_path):
    small = to_onnx(adapter, tmp_path / "int8", int8=True)
    sizes = [(path / "model.onnx").stat().st_size for path in (small, folder)]
    assert sizes[0] < sizes[1]
    assert json.loads((small / "dann_transfer_onnx.json").read_text())["int8"] is True
    assert differences(OnnxModel(small), adapter, TEXTS[3:])["probability"] < 0.2


def test_what_an_onnx_file_cannot_hold_is_refused(tiny, adapter, source, target, tmp_path):
    near = tiny(epochs=1, neighbors=3).fit(*source, X_target=target)
    with pytest.raises(ValueError, match="neighbors=3 changes predictions after the model"):
        to_onnx(near, tmp_path / "m")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="mine"):
        to_onnx(adapter, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    # A saved adapter would be lost.
    adapter.save_pretrained(tmp_path / "saved")
    with pytest.raises(ValueError, match="holds something other than an exported model"):
        to_onnx(adapter, tmp_path / "saved")
    assert DomainAdapter.from_pretrained(tmp_path / "saved").classes_.tolist() == ["neg", "pos"]
    with pytest.raises(ValueError, match=r"has no dann_transfer_onnx.json; pass a folder"):
        OnnxModel(tmp_path / "mine")


def test_libraries_do_not_warn_of_what_a_user_cannot_change(adapter, tmp_path, recwarn, capfd):
    to_onnx(adapter, tmp_path / "m", int8=True)
    assert not [str(w.message) for w in recwarn]
    said = capfd.readouterr()
    assert not said.out + said.err


def test_another_export_replaces_the_one_before(adapter, folder, tmp_path):
    again = to_onnx(adapter, tmp_path / "m")
    (again / "model.onnx").write_bytes(b"damaged")
    to_onnx(adapter, again)
    (again / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"\['notes.txt'\]"):
        to_onnx(adapter, again)
    assert OnnxModel(again).predict(TEXTS[:1]).shape == (1,)


@pytest.mark.real
def test_the_real_encoder_gives_the_same(tmp_path):
    movies = ["a moving, funny film", "dull and far too long"] * 8
    tweets = ["loved it!!", "ugh, worst day ever", "so happy rn"] * 4
    adapter = DomainAdapter(datasets.encoder("minilm"), epochs=1, progress=False, device="cpu")
    adapter.fit(movies, ["good", "bad"] * 8, X_target=tweets)
    model = OnnxModel(to_onnx(adapter, tmp_path / "m"))
    assert differences(model, adapter, movies + tweets)["probability"] < 1e-4


def test_an_older_torch_is_named(adapter, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "__version__", type(torch.__version__)("2.9.0"))
    with pytest.raises(ImportError, match=r"an export needs torch 2.13 or newer, and this is 2.9"):
        to_onnx(adapter, tmp_path / "m")
    assert not list(tmp_path.iterdir())

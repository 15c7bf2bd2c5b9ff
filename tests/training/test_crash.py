"""A short version of benchmarks/crash.py, which kills real training runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "crash.py"


@pytest.mark.skipif(os.name != "posix", reason="the script copies its process")
def test_killed_runs_end_as_if_they_had_never_been_stopped():
    command = [sys.executable, str(SCRIPT), "shot"]
    command += ["--kills", "2", "--kills-in-writes", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    tallies = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    (tally,) = tallies
    assert tally["method"] == "shot"
    assert tally["kills"] >= 2
    assert tally["kills_in_writes"] >= 3
    assert tally["wrong"] == tally["without_a_checkpoint"] == 0
    # A checkpoint comes every two steps, and one may be lost while it is written.
    assert tally["most_steps_lost"] <= 4
    assert tally["most_left_over"] <= 1
    assert tally["left_over_in_the_end"] == 0

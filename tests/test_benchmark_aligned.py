"""The board of maps, on toy texts and the tiny encoder."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from conftest import TINY, toy_texts

from dann_transfer import datasets

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import aligned
import boards

WORDS = {"movies": "film plot actor scene the", "tweets": "tweet lol omg today friend"}


def splits(board: str, sample: boards.Sample) -> dict[str, boards.Split]:
    """Return toy domains, with as many held-out texts as a map needs."""
    return {
        name: boards.Split(
            toy_texts(sample.train_texts, words, i),
            toy_texts(sample.train_texts, words, i)[0],
            toy_texts(60, words, i + 2),
            toy_texts(80, words, i + 4),
        )
        for i, (name, words) in enumerate(WORDS.items())
    }


@pytest.mark.filterwarnings("ignore")
def test_a_board_of_maps_is_resumed_where_it_stopped(tiny_encoder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(boards, "load", splits)
    monkeypatch.setattr(datasets, "encoder", lambda name: tiny_encoder)
    monkeypatch.setattr(aligned, "CHECKPOINTS", tmp_path / "checkpoints")
    out = tmp_path / "rows.jsonl"
    settings = {k: TINY[k] for k in ("batch_size", "learning_rate", "max_length")} | {"epochs": 4}
    command = ["aligned.py", "--pairs", "movies:tweets", "--train-texts", "120", "--out", str(out)]
    command += ["--set", *(f"{key}={value}" for key, value in settings.items())]
    monkeypatch.setattr(sys, "argv", command)
    aligned.main()
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(r["align"], r["neighbors"]) for r in rows] == [
        (None, None),
        (None, 10),
        ("transport", None),
        ("transport", 10),
    ]
    plain, mapped = rows[0], rows[2]
    assert plain["refused"] is None
    assert mapped["a_distance"] < plain["a_distance"]
    assert mapped["mixing"] > plain["mixing"]
    assert 0 <= mapped["class_mixing"] <= 1
    assert not list((tmp_path / "checkpoints").iterdir())
    # The run is not repeated, another seed is.
    aligned.main()
    assert len(out.read_text().splitlines()) == 4
    monkeypatch.setattr(sys, "argv", [*command, "--seeds", "0", "1", "--minutes", "0"])
    aligned.main()
    assert len(out.read_text().splitlines()) == 4
    assert "'align': 'transport'" in capsys.readouterr().out

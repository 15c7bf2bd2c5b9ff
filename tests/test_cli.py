from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from conftest import toy_texts
from typer.testing import CliRunner

from dann_transfer import DomainAdapter, cli, datasets

pytestmark = pytest.mark.filterwarnings("ignore::dann_transfer.diagnostics.CollapseWarning")
run = CliRunner().invoke


def write(path: Path, texts: list[str], labels: list[str] | None = None) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text"] if labels is None else ["text", "label"])
        writer.writerows(zip(texts, *([] if labels is None else [labels]), strict=True))
    return path


def test_adapt_and_predict(tmp_path, tiny_encoder):
    source = write(tmp_path / "source.csv", *toy_texts(60, "film plot", 0))
    target = write(tmp_path / "target.csv", toy_texts(50, 'tweet, "lol" omg', 1)[0])
    # The encoder takes 64 tokens, fewer than the default, which the message says.
    options = ["--encoder", tiny_encoder, "--epochs", "1"]
    arguments = ["adapt", str(source), str(target), str(tmp_path / "model"), *options]
    long = run(cli.app, [*arguments, "--max-length", "512"])
    assert long.exit_code == 2
    assert "max_length=512, but the encoder takes at most 64 tokens" in long.stderr
    assert not (tmp_path / "model").exists()
    done = run(cli.app, [*arguments, "--max-length", "32"])
    assert done.exit_code == 0, done.output
    out = run(cli.app, ["predict", str(tmp_path / "model"), str(target)])
    rows = list(csv.DictReader(out.stdout.splitlines()))
    assert len(rows) == 50
    adapter = DomainAdapter.from_pretrained(tmp_path / "model")
    texts = [row["text"] for row in csv.DictReader(target.open(newline=""))]
    assert [row["label"] for row in rows] == adapter.predict(texts).tolist()
    assert all(0.5 <= float(row["probability"]) <= 1 for row in rows)


def test_errors_are_one_line_and_come_before_training(tmp_path):
    source = write(tmp_path / "source.csv", *toy_texts(20, "film plot", 0))
    wrong = run(
        cli.app, ["adapt", str(source), str(source), str(tmp_path / "m"), "--encoder", "./no"]
    )
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith("error: X_target holds the same texts as X")
    column = ["adapt", str(source), str(source), str(tmp_path / "m"), "--text-column", "body"]
    assert "has no column 'body'; it has ['text', 'label']" in run(cli.app, column).stderr
    absent = run(cli.app, ["predict", str(tmp_path / "nowhere"), str(source)])
    assert absent.exit_code == 2
    assert "is not a folder" in absent.stderr
    # Excel writes a byte order mark in front of the header.
    source.write_bytes(b"\xef\xbb\xbf" + source.read_bytes())
    marked = run(cli.app, ["adapt", str(source), str(source), str(tmp_path / "m")])
    assert "X_target holds the same texts as X" in marked.stderr
    missing = run(cli.app, ["adapt", str(tmp_path / "no.csv"), str(source), str(tmp_path / "m")])
    assert missing.exit_code == 2
    assert "there is no file" in missing.stderr


def test_demo_does_the_main_job(tmp_path, tiny_encoder, monkeypatch):
    domains = {
        "movies": datasets.Domain(*toy_texts(120, "film plot actor scene the", 0)),
        "tweets": datasets.Domain(*toy_texts(100, "tweet lol omg today friend", 1)),
    }
    monkeypatch.setattr(datasets, "load", lambda name: domains)
    monkeypatch.setattr(datasets, "encoder", lambda name: tiny_encoder)
    monkeypatch.setitem(cli.DEMO, "max_length", 32)
    out = tmp_path / "demo"
    done = run(cli.app, ["demo", "--out", str(out), "--epochs", "1"], env={"COLUMNS": "120"})
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in out.iterdir()) == [
        "alignment.png",
        "history.png",
        "model",
        "report.json",
    ]
    report = json.loads((out / "report.json").read_text())
    assert [row["method"] for row in report["rows"]] == ["source_only", "dann"]
    assert report["verdict"] in done.output
    for row in report["rows"]:
        assert f"{row['target_accuracy']:.1%}" in done.output
        assert f"{row['a_distance']:.2f}" in done.output
    adapter = DomainAdapter.from_pretrained(out / "model")
    _, texts, _, labels = datasets.split(domains["tweets"])
    assert adapter.score(texts, labels) == report["rows"][1]["target_accuracy"]
    for picture in ("alignment.png", "history.png"):
        assert (out / picture).read_bytes()[:4] == b"\x89PNG"
    # A second run replaces the first.
    assert run(cli.app, ["demo", "--out", str(out), "--epochs", "1"]).exit_code == 0


def test_demo_says_what_is_wrong(tmp_path, monkeypatch):
    def fail(name):
        raise datasets.DownloadError("x could not be fetched")

    monkeypatch.setattr(datasets, "load", fail)
    done = run(cli.app, ["demo", "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert done.stderr.strip() == "error: x could not be fetched"

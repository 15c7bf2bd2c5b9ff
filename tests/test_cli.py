from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
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
        "history_dann.png",
        "history_student.png",
        "model",
        "report.json",
    ]
    report = json.loads((out / "report.json").read_text())
    assert [row["method"] for row in report["rows"]] == ["source_only", "dann", "student"]
    assert list(report["verdicts"]) == ["dann", "student"]
    assert all(verdict in done.output for verdict in report["verdicts"].values())
    for row in report["rows"]:
        assert f"{row['target_accuracy']:.1%}" in done.output
        assert f"{row['a_distance']:.2f}" in done.output
    adapter = DomainAdapter.from_pretrained(out / "model")
    _, texts, _, labels = datasets.split(domains["tweets"])
    assert adapter.score(texts, labels) == report["rows"][2]["target_accuracy"]
    for picture in ("alignment.png", "history_dann.png", "history_student.png"):
        assert (out / picture).read_bytes()[:4] == b"\x89PNG"
    # A second run replaces the first, with what is asked for.
    asked = ["demo", "--out", str(out), "--epochs", "1", "--method", "mcc"]
    assert run(cli.app, asked).exit_code == 0
    rows = json.loads((out / "report.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["source_only", "mcc"]


def test_demo_says_what_is_wrong(tmp_path, monkeypatch):
    def fail(name):
        raise datasets.DownloadError("x could not be fetched")

    monkeypatch.setattr(datasets, "load", fail)
    done = run(cli.app, ["demo", "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert done.stderr.strip() == "error: x could not be fetched"


def test_files_of_many_kinds(tmp_path, tiny_encoder):
    """Semicolons and another encoding for the source; Parquet and another column for the target."""
    texts, labels = toy_texts(60, "film plot", 0)
    names = {"pos": "好", "neg": "schlecht, \u00e9"}
    frame = pd.DataFrame({"body": texts, "stars": [names[label] for label in labels]})
    source = tmp_path / "source.csv.gz"
    frame.to_csv(source, sep=";", encoding="utf-16", index=False)
    target = tmp_path / "target.parquet"
    pd.DataFrame({"tweet": toy_texts(50, "lol omg", 1)[0]}).to_parquet(target)
    options = ["--encoder", tiny_encoder, "--epochs", "1", "--max-length", "32"]
    options += ["--text-column", "body", "--label-column", "stars", "--target-text-column", "tweet"]
    options += ["--checkpoint-dir", str(tmp_path / "run")]
    done = run(cli.app, ["adapt", str(source), str(target), str(tmp_path / "model"), *options])
    assert done.exit_code == 0, done.output
    assert "60 labelled source texts: " in done.output
    assert "'好' 30" in done.output
    assert "50 target texts." in done.output
    assert list((tmp_path / "run").glob("checkpoint_*.pt"))
    predict = ["predict", str(tmp_path / "model"), str(target), "--text-column", "tweet"]
    written = run(cli.app, [*predict, "--out", str(tmp_path / "out.csv")])
    assert written.exit_code == 0, written.output
    rows = pd.read_csv(tmp_path / "out.csv")
    assert set(rows["label"]) <= set(names.values())
    # A pipe that has no letters for the labels: the output is UTF-8 all the same.
    command = [sys.executable, "-m", "dann_transfer.cli", *predict]
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    piped = subprocess.run(command, capture_output=True, check=True, env=environment).stdout
    assert piped.replace(b"\r\n", b"\n") == (tmp_path / "out.csv").read_bytes()
    nowhere = run(cli.app, [*predict, "--out", str(tmp_path / "no" / "out.csv")])
    assert nowhere.exit_code == 2
    assert "there is no folder" in nowhere.stderr
    onto = run(cli.app, [*predict, "--out", str(target)])
    assert onto.exit_code == 2
    assert "is the file of texts, which it would replace" in onto.stderr
    assert len(pd.read_parquet(target)) == 50


def test_what_is_wrong_with_a_file_is_one_line(tmp_path, fitted):
    fitted.save_pretrained(tmp_path / "model")
    bad = tmp_path / "bad.csv"
    bad.write_text("text,label\na, film,pos\n")
    done = run(cli.app, ["predict", str(tmp_path / "model"), str(bad)])
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert f"error: '{bad}', line 2: 'pos' stands beside the columns" in done.stderr
    blank = tmp_path / "blank.csv"
    blank.write_text('text,n\ngood film,1\n"",2\nbad, 3\n')
    done = run(cli.app, ["predict", str(tmp_path / "model"), str(blank)])
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) == 4
    assert "warning: 1 of 3 texts of X are empty" in done.stderr
    tabs = tmp_path / "tabs.csv"
    tabs.write_text("text\tn\ngood film\t1\n")
    done = run(cli.app, ["predict", str(tmp_path / "model"), str(tabs), "--separator", "\\t"])
    assert len(done.stdout.splitlines()) == 2

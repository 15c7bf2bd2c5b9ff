from __future__ import annotations

import csv
import datetime
import json
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import toy_texts
from typer.testing import CliRunner

from dann_transfer import DomainAdapter, __version__, cli, datasets
from dann_transfer.cli.demo import print_table
from dann_transfer.ground.options import METHODS
from dann_transfer.serving.onnx import OnnxModel
from dann_transfer.texts import files as tables

pytestmark = pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning")
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
    # The encoder takes 64 tokens, fewer than the default, as the message says.
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
    assert [row["predicted"] for row in rows] == adapter.predict(texts).tolist()
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
    # Excel writes a byte order mark before the header.
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
    monkeypatch.setitem(cli.DEMO, "freeze_layers", 2)
    out = tmp_path / "demo"
    done = run(cli.app, ["demo", "--out", str(out), "--epochs", "1"], env={"COLUMNS": "120"})
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in out.iterdir()) == [
        "alignment.png",
        "history_dann.png",
        "history_student.png",
        "model",
        "movies.csv",
        "report.json",
        "source_only",
        "tweets.csv",
    ]
    assert "Try next" in done.output
    # The commands that it names work.
    predict = f"predict {out / 'model'} {out / 'tweets.csv'} --out {out / 'labels.csv'}"
    assert predict in done.output
    assert run(cli.app, predict.split()).exit_code == 0
    assert (out / "labels.csv").read_text().startswith("text,label,predicted,probability")
    page = next(line for line in done.output.splitlines() if " report " in line)
    assert run(cli.app, page.split()[1:]).exit_code == 0
    text = (out / "report.html").read_text()
    assert "<h1>student, movies → tweets: " in text
    assert '<td class="text">without adaptation</td>' in text
    # Where nobody watches, there are lines and no bars.
    assert "%|" not in done.output
    assert all(f"{name}, seed 0: scoring" in done.output for name in ("source_only", "student"))
    report = json.loads((out / "report.json").read_text())
    assert [row["method"] for row in report["rows"]] == ["source_only", "dann", "student"]
    assert list(report["verdicts"]) == ["dann", "student"]
    assert all(verdict in done.output for verdict in report["verdicts"].values())
    # Twelve held-out texts are too few to estimate class shares, so that there is no map.
    assert report["mapped"] is None
    for row in report["rows"]:
        assert f"{row['target_accuracy']:.1%}" in done.output
        assert f"{row['a_distance']:.2f}" in done.output
    adapter = DomainAdapter.from_pretrained(out / "model")
    _, texts, _, labels = datasets.split(domains["tweets"])
    assert adapter.score(texts, labels) == report["rows"][2]["target_accuracy"]
    for picture in ("alignment.png", "history_dann.png", "history_student.png"):
        assert (out / picture).read_bytes()[:4] == b"\x89PNG"
    # A second run replaces the first, with the requested options; enough is held out for a map.
    for name, value in (
        ("validation_fraction", 0.4),
        ("learning_rate", 2e-3),
        ("freeze_layers", 0),
    ):
        monkeypatch.setitem(cli.DEMO, name, value)
    asked = ["demo", "--out", str(out), "--epochs", "8", "--method", "mcc"]
    done = run(cli.app, asked, env={"COLUMNS": "120"})
    assert done.exit_code == 0, done.output
    report = json.loads((out / "report.json").read_text())
    assert [row["method"] for row in report["rows"]] == ["source_only", "mcc"]
    mapped = report["mapped"]
    assert mapped["method"] == "mcc + map"
    assert mapped["source_accuracy"] == report["rows"][1]["source_accuracy"]
    assert mapped["a_distance"] < report["rows"][1]["a_distance"]
    X, _, y, _ = datasets.split(domains["movies"])
    T, texts, _, labels = datasets.split(domains["tweets"])
    adapter = DomainAdapter.from_pretrained(out / "model").set_params(align="transport")
    again = adapter.retarget(X, y, X_target=T).score(texts, labels)
    assert mapped["target_accuracy"] == again
    assert f"{mapped['target_accuracy']:.1%}" in done.output
    # The table fits a terminal of the usual width, with every heading whole.
    narrow = StringIO()
    print_table([*report["rows"], mapped], "movies", "tweets", narrow)
    table = narrow.getvalue()
    assert max(map(len, table.splitlines())) <= 80
    assert "…" not in table


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
    assert "50 target texts.\n" in done.output
    assert list((tmp_path / "run").glob("checkpoint_*.pt"))
    predict = ["predict", str(tmp_path / "model"), str(target), "--text-column", "tweet"]
    written = run(cli.app, [*predict, "--out", str(tmp_path / "out.csv")])
    assert written.exit_code == 0, written.output
    rows = pd.read_csv(tmp_path / "out.csv")
    assert set(rows["predicted"]) <= set(names.values())
    assert rows.columns.tolist() == ["tweet", "predicted", "probability"]
    again = run(cli.app, [*predict[:2], str(tmp_path / "out.csv"), "--text-column", "tweet"])
    assert "already has a column 'predicted'; rename it." in again.stderr
    parquet = run(cli.app, [*predict, "--out", str(tmp_path / "out.parquet")])
    assert parquet.exit_code == 0, parquet.output
    assert pd.read_parquet(tmp_path / "out.parquet").predicted.tolist() == rows.predicted.tolist()
    # A pipe whose encoding cannot represent the labels: the output is UTF-8 anyway.
    command = [sys.executable, "-m", "dann_transfer", *predict]
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


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_large_file_is_predicted_in_parts(suffix, tmp_path, fitted, monkeypatch):
    fitted.save_pretrained(tmp_path / "model")
    texts = toy_texts(50, "tweet lol", 1)[0]
    frame = pd.DataFrame({"text": texts, "id": range(50)})
    frame["note"] = [None] * 20 + ["x"] * 30
    path, out = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    writer = {"csv": pd.DataFrame.to_csv, "parquet": pd.DataFrame.to_parquet}[suffix]
    writer(frame, path, index=False)
    reader = {"csv": pd.read_csv, "parquet": pd.read_parquet}[suffix]
    predict = ["predict", str(tmp_path / "model"), str(path), "--out", str(out)]
    assert run(cli.app, predict).exit_code == 0
    whole = reader(out)
    monkeypatch.setattr(tables, "read_parts", partial(tables.read_parts, size=8))
    assert run(cli.app, predict).exit_code == 0
    pd.testing.assert_frame_equal(reader(out), whole)
    assert whole[["text", "id"]].equals(frame[["text", "id"]])
    if suffix == "csv":
        # An error far down the file leaves earlier output unchanged, and nothing half written.
        with path.open("a") as file:
            file.write("too,many,cells,here\n")
        assert "row 51, line 52 of the file" in run(cli.app, predict).stderr
        pd.testing.assert_frame_equal(reader(out), whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in." + suffix, "model", "out." + suffix]


def test_a_file_that_excel_can_read_still_can_be(tmp_path, fitted):
    fitted.save_pretrained(tmp_path / "model")
    path, out = tmp_path / "in.csv", tmp_path / "out.csv"
    predict = ["predict", str(tmp_path / "model"), str(path), "--out", str(out)]
    for encoding, mark in (("utf-8-sig", True), ("utf-16", True), ("utf-8", False)):
        path.write_text("text;id\nschön lol;1\n", encoding=encoding)
        assert run(cli.app, predict).exit_code == 0
        assert out.read_bytes().startswith(b"\xef\xbb\xbf") is mark
        assert pd.read_csv(out, encoding="utf-8-sig")["text"].tolist() == ["schön lol"]


def test_quote_marks_that_are_letters_cost_no_row(tmp_path, fitted):
    fitted.save_pretrained(tmp_path / "model")
    path, out = tmp_path / "in.tsv", tmp_path / "out.csv"
    rows = [f"{i}\tgood lol" for i in range(9)]
    rows[2], rows[7] = '2\t"good lol', '7\ta screen of 5"'
    path.write_text("id\ttext\n" + "\n".join(rows) + "\n")
    predict = ["predict", str(tmp_path / "model"), str(path), "--out", str(out)]
    done = run(cli.app, predict)
    assert done.exit_code == 2
    assert "row 3, line 4 of the file: a quote opens there" in done.stderr
    assert "--quoting none" in done.stderr
    assert not out.exists()
    assert run(cli.app, [*predict, "--quoting", "none"]).exit_code == 0
    texts = pd.read_csv(out)["text"].tolist()
    assert len(texts) == 9
    assert (texts[2], texts[7]) == ('"good lol', 'a screen of 5"')
    assert "quoting='odd' must be one of" in run(cli.app, [*predict, "--quoting", "odd"]).stderr


def test_columns_keep_their_type_through_all_parts(tmp_path, tiny, source, monkeypatch):
    codes = [int(label == "pos") for label in source[1]]
    adapter = tiny(method="source_only", epochs=8).fit(source[0], codes)
    adapter.save_pretrained(tmp_path / "model")
    monkeypatch.setattr(tables, "read_parts", partial(tables.read_parts, size=8))
    empty = [None] * 10
    columns = {
        "text": toy_texts(20, "film plot", 3)[0],
        "large": pa.array([*empty, *range(2**53 + 1, 2**53 + 11)]),
        "flag": pa.array([*empty, *[True, False] * 5]),
        "day": pa.array([*empty, *[datetime.date(2026, 1, 1)] * 10]),
        "tags": pa.array([*empty, *[["a", "b"]] * 10]),
    }
    table = pa.table(columns)
    pq.write_table(table, tmp_path / "in.parquet")
    p = adapter.predict_proba(columns["text"])
    threshold = float(np.median(p.max(1)))
    predict = ["predict", str(tmp_path / "model"), str(tmp_path / "in.parquet")]
    predict += ["--abstain-below", str(threshold)]
    done = run(cli.app, [*predict, "--out", str(tmp_path / "out.parquet")])
    assert done.exit_code == 0, done.output
    out = pq.read_table(tmp_path / "out.parquet")
    assert out.select(table.column_names).equals(table)
    withheld = [None if row.max() < threshold else int(row.argmax()) for row in p]
    assert out["predicted"].to_pylist() == withheld
    assert out.schema.field("predicted").type == pa.int64()
    lines = list(csv.DictReader(run(cli.app, predict).stdout.splitlines()))
    assert [row["predicted"] for row in lines] == ["" if w is None else str(w) for w in withheld]
    assert lines[-1]["large"] == str(2**53 + 10)


def test_json_lines_with_other_keys_further_down(tmp_path, fitted, monkeypatch):
    fitted.save_pretrained(tmp_path / "model")
    monkeypatch.setattr(tables, "read_parts", partial(tables.read_parts, size=2))
    path = tmp_path / "in.jsonl"
    rows = [{"text": "good film", "id": i} for i in range(3)]
    rows += [{"id": 3, "note": "n", "text": "bad plot"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run(cli.app, ["predict", str(tmp_path / "model"), str(path)])
    lines = list(csv.DictReader(done.stdout.splitlines()))
    assert [row["id"] for row in lines] == ["0", "1", "2", "3"]
    assert [row["note"] for row in lines] == ["", "", "", "n"]
    assert [row["predicted"] for row in lines] == ["pos", "pos", "pos", "neg"]


def test_what_is_wrong_with_a_file_is_one_line(tmp_path, fitted):
    fitted.save_pretrained(tmp_path / "model")
    bad = tmp_path / "bad.csv"
    bad.write_text("text,label\na, film,pos\n")
    done = run(cli.app, ["predict", str(tmp_path / "model"), str(bad)])
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert f"error: '{bad}', row 1, line 2 of the file: 'pos' is beyond the columns" in done.stderr
    blank = tmp_path / "blank.csv"
    blank.write_text('text,n\ngood film,1\n"",2\nbad, 3\n')
    done = run(cli.app, ["predict", str(tmp_path / "model"), str(blank)])
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) == 4
    assert f"warning: '{blank}', row 2, line 3 of the file: text is empty" in done.stderr
    assert "texts of X" not in done.stderr
    tabs = tmp_path / "tabs.csv"
    tabs.write_text("text\tn\ngood film\t1\n")
    done = run(cli.app, ["predict", str(tmp_path / "model"), str(tabs), "--separator", "\\t"])
    assert len(done.stdout.splitlines()) == 2


@pytest.fixture
def files(tmp_path, tiny_encoder):
    source = write(tmp_path / "source.csv", *toy_texts(60, "film plot", 0))
    target = write(tmp_path / "target.csv", toy_texts(50, "tweet lol omg", 1)[0])
    frame = pd.DataFrame(zip(*toy_texts(30, "tweet lol omg", 2), strict=True))
    frame.columns = ["text", "label"]
    frame["who"] = ["a", "b", "b"] * 10
    frame.to_csv(tmp_path / "test.csv", index=False)
    return source, target, tmp_path / "test.csv", ["--encoder", tiny_encoder]


SMALL = ["--set", "max_length=32", "--set", "epochs=1", "--set", "progress=False"]


def test_a_model_is_evaluated_diagnosed_and_asked_what_to_label(files, tmp_path):
    source, target, test, encoder = files
    model = str(tmp_path / "model")
    options = [*encoder, *SMALL, "--method", "dann", "--set", "max_strength=0.1"]
    done = run(cli.app, ["adapt", str(source), str(target), model, *options])
    assert done.exit_code == 0, done.output
    adapter = DomainAdapter.from_pretrained(model)
    assert (adapter.max_strength_, adapter.params_["epochs"]) == (0.1, 1)
    frame = pd.read_csv(test)
    wide = {"COLUMNS": "200"}
    scored = run(cli.app, ["evaluate", model, str(test), "--group-column", "who"], env=wide)
    assert scored.exit_code == 0, scored.output
    assert f"{adapter.score(frame.text, frame.label):.1%} of 30 texts are right" in scored.stdout
    assert "covered" in scored.stdout
    diagnosed = run(cli.app, ["diagnose", model])
    assert diagnosed.stdout.strip() == str(adapter.diagnose())
    out = tmp_path / "to_label.csv"
    asked = run(cli.app, ["suggest", model, str(target), "-n", "5", "--out", str(out)])
    assert asked.exit_code == 0, asked.output
    table = pd.read_csv(out)
    texts = pd.read_csv(target).text
    # Rows are counted from 1, as in errors.
    assert (table.row - 1).tolist() == adapter.suggest(texts.tolist(), 5).tolist()
    assert table.text.tolist() == texts[table.row - 1].tolist()
    assert asked.stdout == f"wrote 5 rows to {out}\n"
    lines = tmp_path / "labels.jsonl"
    sure = ["predict", model, str(target), "--abstain-below", "1.0", "--out", str(lines)]
    assert run(cli.app, sure).stdout == f"wrote 50 rows to {lines}\n"
    first = json.loads(lines.read_text().splitlines()[0])
    assert list(first) == ["text", "predicted", "probability"]
    assert first["predicted"] is None
    assert 0.5 <= first["probability"] <= 1
    unsure = run(cli.app, ["predict", model, str(target), "--abstain-below", "1.0"])
    rows = list(csv.DictReader(unsure.stdout.splitlines()))
    assert [row["predicted"] for row in rows] == [""] * 50
    for arguments, words in (
        (["suggest", model, str(target), "-n", "51"], "51"),
        (["evaluate", model, str(test), "--group-column", "whom"], "has no column 'whom'"),
        (["diagnose", str(tmp_path / "nowhere")], "nowhere"),
    ):
        wrong = run(cli.app, arguments)
        assert wrong.exit_code == 2
        assert wrong.stderr.startswith("error: ")
        assert words in wrong.stderr


def test_compare_on_files(files, tmp_path):
    source, target, test, encoder = files
    out = tmp_path / "rows.csv"
    options = [*encoder, *SMALL, "--method", "dann", "--seed", "0", "--seed", "1"]
    options += ["--test", str(test), "--group-column", "who", "--out", str(out), "--jobs", "2"]
    options += ["--folder", str(tmp_path / "kept")]
    done = run(cli.app, ["compare", str(source), str(target), *options], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    rows = pd.read_csv(out)
    assert len(rows) == 4
    again = run(cli.app, ["compare", str(source), str(target), *options])
    assert again.exit_code == 0, again.output
    # Seconds too: nothing was trained.
    pd.testing.assert_frame_equal(pd.read_csv(out), rows)
    assert "2 seeds" in done.stdout
    # Into a pipe tables are 80 letters wide, with every heading whole and no column of nothing.
    assert max(map(len, done.stdout.splitlines()[:9])) <= 80
    assert "…" not in again.stdout
    assert "None" not in again.stdout
    onto = run(cli.app, ["compare", str(source), str(target), *encoder, "--out", str(source)])
    assert "is the file of texts, which it would replace" in onto.stderr


def test_pages_and_an_export_of_a_saved_model(files, tmp_path):
    pytest.importorskip("plotly")
    source, target, test, encoder = files
    model = str(tmp_path / "model")
    done = run(cli.app, ["adapt", str(source), str(target), model, *encoder, *SMALL])
    assert done.exit_code == 0, done.output
    shown = ["--source", str(source), "--target", str(test)]
    for command, words in (("report", "30 texts are right"), ("explore", "source and test")):
        page = tmp_path / f"{command}.html"
        done = run(cli.app, [command, model, str(page), *shown])
        assert done.exit_code == 0, done.output
        assert words in page.read_text()
        onto = run(cli.app, [command, model, str(test), *shown])
        assert "is the file of texts, which it would replace" in onto.stderr
    done = run(cli.app, ["export", model, str(tmp_path / "onnx")])
    assert done.exit_code == 0, done.output
    texts = pd.read_csv(test).text.tolist()
    expected = DomainAdapter.from_pretrained(model).predict(texts)
    assert OnnxModel(tmp_path / "onnx").predict(texts).tolist() == expected.tolist()


def test_the_version():
    assert run(cli.app, ["--version"]).stdout.strip() == __version__


def test_tune_on_files(files, tmp_path):
    pytest.importorskip("optuna")
    source, target, _, encoder = files
    model = tmp_path / "best"
    options = [*encoder, "--set", "max_length=32", "--set", "epochs=1", "--runs", "3"]
    options += ["--space", "method=dann", "--space", "learning_rate=1e-4:1e-3"]
    options += ["--set", "validation_fraction=0.3", "--folder", str(tmp_path / "search")]
    arguments = ["tune", str(source), str(target), str(model), *options]
    done = run(cli.app, arguments, env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "source_only" in done.stdout
    assert DomainAdapter.from_pretrained(model).params_["epochs"] == 1
    wrong = run(cli.app, [*arguments, "--set", "rate=3"])
    assert "--set 'rate=3' must be KEY=VALUE" in wrong.stderr


@pytest.mark.parametrize(
    "name",
    [
        "adapt",
        "compare",
        "tune",
        "predict",
        "evaluate",
        "diagnose",
        "suggest",
        "report",
        "explore",
        "export",
        "demo",
    ],
)
def test_help_shows_an_example(name):
    shown = run(cli.app, [name, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert "Example: dann-transfer" in shown.stdout or name == "demo"


REFUSED = [
    (
        ["predict", "{model}", "{target}", "--out", "o.txt"],
        "ends in none of ['.csv', '.parquet', '.jsonl', '.ndjson']",
    ),
    (["predict", "{model}", "{target}", "--out", "{tmp}"], "is a folder; name a file"),
    (["predict", "{model}", "{twice}", "--out", "{tmp}/o.parquet"], "has several columns 'id'"),
    (["suggest", "{model}", "{row}", "--text-column", "row", "-n", "1"], "a column 'row' is added"),
    (
        ["evaluate", "{model}", "{gaps}"],
        "gaps.csv', row 2, line 3 of the file: label is empty; fill it",
    ),
    (["evaluate", "{model}", "{test}", "--label-column", "text"], "are both 'text'"),
    (
        ["report", "{model}", "{tmp}/p.html", "--target", "{test}", "--label-column", "typo"],
        "'typo'",
    ),
    (
        ["adapt", "{source}", "{target}", "{tmp}/m", "--checkpoint-dir", "{tmp}/m/c"],
        "is inside the other",
    ),
    (
        ["adapt", "{source}", "{target}", "{tmp}/c/m", "--checkpoint-dir", "{tmp}/c"],
        "is inside the other",
    ),
    (["tune", "{source}", "{target}", "{tmp}/m", "--folder", "{tmp}/m"], "is inside the other"),
    (
        ["adapt", "{source}", "{target}", "{tmp}/m", "--epochs", "1", "--set", "epochs=2"],
        "--epochs and --set give epochs; give it once",
    ),
    (["compare", "{source}", "{target}", "--set", "epochs=1", "--set", "epochs=2"], "epochs twice"),
    (
        ["compare", "{source}", "{target}", "--method", "source_only"],
        "source_only runs in any case",
    ),
    (["demo", "--method", "source_only"], "source_only runs in any case"),
    (
        ["compare", "{source}", "{target}", "--set", "progress=maybe"],
        "progress='maybe' must be one",
    ),
    (["compare", "{gaps}", "{target}"], "gaps.csv', row 2, line 3 of the file: label is empty"),
]


@pytest.mark.parametrize(("arguments", "words"), REFUSED, ids=lambda value: "")
def test_what_cannot_end_well_is_refused_before_it_starts(
    arguments, words, files, fitted, tmp_path, monkeypatch
):
    source, target, test, encoder = files
    monkeypatch.setattr(DomainAdapter, "fit", lambda *_, **__: pytest.fail("it trained"))
    paths = {"source": source, "target": target, "test": test, "tmp": tmp_path}
    paths["model"] = tmp_path / "saved" / "model"
    fitted.save_pretrained(paths["model"])
    for name, content in {
        "twice": "id,text,id\n1,good film,2\n",
        "row": "row\ngood film\nbad film\n",
        "gaps": "text,label\ngood film,pos\nbad film,\nbad film,neg\n",
    }.items():
        paths[name] = tmp_path / f"{name}.csv"
        paths[name].write_text(content)
    before = sorted(tmp_path.rglob("*"))
    options = encoder if arguments[0] in ("adapt", "compare", "tune") else []
    wrong = run(cli.app, [part.format(**paths) for part in [*arguments, *options]])
    assert wrong.exit_code == 2, wrong.output
    assert words in wrong.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_code_of_an_encoder_never_runs_unasked(tmp_path, files, tiny_encoder):
    """In a shell `false` is a word like others, and a word that is not empty counts as true."""
    folder = tmp_path / "encoder"
    shutil.copytree(tiny_encoder, folder)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.EvilConfig", "AutoModel": "evil.Evil"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    source, target, _, _ = files
    for word, said in (
        ("false", None),
        ("False", None),
        ("no", "trust_remote_code='no' must be one of [False, True]"),
        ("0", "trust_remote_code=0 must be one of [False, True]"),
        ("true", None),
    ):
        options = ["--encoder", str(folder), "--set", f"trust_remote_code={word}", *SMALL]
        done = run(cli.app, ["adapt", str(source), str(target), str(tmp_path / "m"), *options])
        assert said is None or (done.exit_code == 2 and said in done.stderr)
        assert done.exit_code == 0 or word not in ("false", "False")
        # What the encoder's file does, it does only where it is asked for.
        assert (tmp_path / "ran").exists() == (word == "true"), word


OWN_CODE = """
from transformers import BertConfig, BertModel

class Config(BertConfig):
    model_type = "own-bert"

class Model(BertModel):
    config_class = Config
"""


def test_a_model_with_code_of_its_own_is_used_where_it_is_trusted(tmp_path, files, tiny_encoder):
    folder, model = tmp_path / "encoder", tmp_path / "model"
    shutil.copytree(tiny_encoder, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own-bert", "architectures": ["Model"]}
    config["auto_map"] = {"AutoConfig": "own_code.Config", "AutoModel": "own_code.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own_code.py").write_text(OWN_CODE)
    source, target, labelled, _ = files
    options = ["--encoder", str(folder), *SMALL]
    refused = run(cli.app, ["adapt", str(source), str(target), str(model), *options])
    assert refused.exit_code == 2
    assert "cannot be loaded: it has code of its own, which is not run." in refused.stderr
    trust = "--set", "trust_remote_code=true"
    done = run(cli.app, ["adapt", str(source), str(target), str(model), *options, *trust])
    assert done.exit_code == 0, done.output
    page = str(tmp_path / "page.html")
    both = ["--source", str(source), "--target", str(target)]
    commands = {
        "predict": [str(target)],
        "evaluate": [str(labelled)],
        "diagnose": [],
        "suggest": [str(target), "-n", "2"],
        "report": [page],
        "explore": [page, *both],
        "export": [str(tmp_path / "onnx")],
    }
    for command, arguments in commands.items():
        before = sorted(tmp_path.rglob("*"))
        refused = run(cli.app, [command, str(model), *arguments])
        assert refused.exit_code == 2, command
        assert "--trust-remote-code" in refused.stderr
        assert sorted(tmp_path.rglob("*")) == before
        done = run(cli.app, [command, str(model), *arguments, "--trust-remote-code"])
        assert done.exit_code == 0, done.output


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_sigterm_leaves_no_temporary_file(tmp_path, fitted):
    model, out = tmp_path / "model", tmp_path / "out.csv"
    fitted.save_pretrained(model)
    texts = write(tmp_path / "texts.csv", [f"good film {i}" for i in range(200_000)])
    out.write_text("of an earlier run")
    before = sorted(tmp_path.iterdir())
    arguments = ["predict", str(model), str(texts), "--out", str(out)]
    command = [sys.executable, "-m", "dann_transfer", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    # The run is in the middle of its work when there is a temporary file.
    deadline = time.monotonic() + 120
    while sorted(tmp_path.iterdir()) == before:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.terminate()
    assert process.wait(60) == 143
    assert sorted(tmp_path.iterdir()) == before
    assert out.read_text() == "of an earlier run"


def test_a_csv_says_the_same_as_the_file_that_it_was_made_from(tmp_path, fitted):
    model, out = tmp_path / "model", tmp_path / "out.csv"
    fitted.save_pretrained(model)
    rows = [
        {"text": "good\rfilm", "id": 1234567890123456789, "more": list(range(1500))},
        {"text": "bad film", "more": {"a": ["\u597d"]}},
    ]
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run(cli.app, ["predict", str(model), str(texts), "--out", str(out)])
    assert done.exit_code == 0, done.output
    read = tables.read_table(out, ["text"], whole=True)
    assert read["text"].tolist() == ["good\rfilm", "bad film"]
    assert read["id"].tolist() == ["1234567890123456789", ""]
    assert [json.loads(cell) for cell in read["more"]] == [row["more"] for row in rows]


def test_labels_of_a_csv_are_found_among_numbers(tmp_path, files, tiny_encoder):
    _, target, _, encoder = files
    texts, labels = toy_texts(40, "film plot", 0)
    kinds = np.unique(labels, return_inverse=True)[1].tolist()
    source, test, model = tmp_path / "source.jsonl", tmp_path / "test.csv", tmp_path / "model"
    rows = [{"text": text, "label": kind} for text, kind in zip(texts, kinds, strict=True)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    write(test, texts, [str(kind) for kind in kinds])
    done = run(cli.app, ["adapt", str(source), str(target), str(model), *encoder, *SMALL])
    assert done.exit_code == 0, done.output
    assert DomainAdapter.from_pretrained(model).classes_.tolist() == [0, 1]
    scored = run(cli.app, ["evaluate", str(model), str(test), "--group-column", "label"])
    assert scored.exit_code == 0, scored.output
    assert "of 40 texts are right" in scored.stdout


def test_a_column_of_the_target_and_numbers_as_labels_in_a_comparison(tmp_path, tiny_encoder):
    texts, labels = toy_texts(60, "film plot", 0)
    kinds = np.unique(labels, return_inverse=True)[1].tolist()
    source, target, test = (tmp_path / name for name in ("s.jsonl", "t.csv", "test.csv"))
    rows = [{"text": text, "label": kind} for text, kind in zip(texts, kinds, strict=True)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pd.DataFrame({"body": toy_texts(50, "tweet lol", 1)[0]}).to_csv(target, index=False)
    pd.DataFrame({"body": texts, "label": kinds}).to_csv(test, index=False)
    out = tmp_path / "rows.csv"
    options = ["--encoder", tiny_encoder, *SMALL, "--method", "mcc", "--out", str(out)]
    options += ["--test", str(test), "--target-text-column", "body"]
    done = run(cli.app, ["compare", str(source), str(target), *options])
    assert done.exit_code == 0, done.output
    assert pd.read_csv(out)["target_accuracy"].between(0, 1).all()


def test_what_parquet_cannot_hold_is_named(tmp_path, fitted):
    fitted.save_pretrained(tmp_path / "model")
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"text": "good film", "id": 1234567890123456789012}\n')
    options = [str(tmp_path / "model"), str(texts), "--out", str(tmp_path / "out.parquet")]
    wrong = run(cli.app, ["predict", *options])
    assert wrong.exit_code == 2
    assert "this cannot be Parquet" in wrong.stderr
    assert not (tmp_path / "out.parquet").exists()


def test_a_number_of_processes_that_is_none_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "many")
    wrong = run(cli.app, ["diagnose", str(tmp_path)])
    assert wrong.exit_code == 2
    assert wrong.stderr == "error: SLURM_STEP_NUM_TASKS='many' is not a number of processes.\n"


TYPOS = [
    (
        "adapt {s} {t} m --lr 1e-3",
        "no option --lr; did you mean --set learning_rate=VALUE?",
    ),
    ("adapt {s} {t} m --learning-rate 1", "did you mean --set learning_rate=VALUE?"),
    ("adapt {s} {t} m --text_column a", "did you mean --text-column? See dann-transfer adapt"),
    ("predict m {t} --zzz 1", "There is no option --zzz. See dann-transfer predict --help."),
    ("comapre {s} {t}", "No such command 'comapre'. Did you mean 'compare'"),
    ("adapt {s} {t} m --method DANN", "method='DANN' is not known; did you mean 'dann'? The meth"),
    ("compare {s} {t} --method dann --method studnet", "did you mean 'student'?"),
    ("adapt {s} {t} m --set epoch=3", "must be KEY=VALUE. Did you mean 'epochs'?"),
    ("compare {s} {t} --set lr=3", "Did you mean 'learning_rate'?"),
    ("adapt {s} {t} m --set seed=3", "Did you mean the option --seed?"),
    ("tune {s} {t} m --set pooling=Mean", "Did you mean 'mean'?"),
    ("tune {s} {t} m --score neighbourhood_density", "did you mean 'neighborhood_density'?"),
    ("tune {s} {t} m --space epoch=1,2", "--space 'epoch=1' must be KEY=VALUE. Did you mean"),
    ("adapt {s} {t} m --set method_options={{width:4}}", "'method_options={{\"width\": 256}}'"),
    ("compare {s} {t} --set class_weight={{a:4}}", '\'class_weight={{"positive": 2.0, '),
    ("adapt {s} {t} m --set class_weight=a:1 class_weight=b:2", "stands in single quotes: --set"),
    (
        "adapt {s} {t} m --method dann --set 'method_options={{\"widht\": 4}}'",
        "dann has no option 'widht'; its options are ['width', 'discriminator_steps', "
        "'label_smoothing']. Did you mean 'width'?",
    ),
    ("adapt {s} {t} m --label-column Label", "Did you mean 'label'? Name the right one with --l"),
    ("advise {s} {t} --text-column Text", "Did you mean 'text'? Name the right one with --tex"),
    ("compare {s} {t} --target-text-column Text", "or --target-text-column, or the separator"),
    ("adapt {s} {none}.csv m", "there is no file"),
    ("predict {none} {t}", "is not a folder"),
    ("diagnose {none}", "is not a folder"),
    ("export {none} o", "is not a folder"),
    ("serve {none}", "is not a folder"),
    ("report {none} p.html --source {s}", "is not a folder"),
    ("report some/model p.html --source {s} --baseline {none}", "is not a folder"),
    ("explore {none} p.html --source {s} --target {t}", "is not a folder"),
]


def test_typos_are_answered_before_anything_heavy_is_imported(tmp_path):
    """In an interpreter of its own, because this one has imported everything."""
    places = {
        "s": write(tmp_path / "s.csv", ["a film", "b"], ["x", "y"]),
        "t": write(tmp_path / "t.csv", ["a tweet"]),
        "none": tmp_path / "none",
    }
    lines = [typed.format(**places) for typed, _ in TYPOS]
    code = (
        "import json, shlex, sys\n"
        "from typer.testing import CliRunner\n"
        "from dann_transfer import cli\n"
        "said = []\n"
        "for line in json.load(sys.stdin):\n"
        "    done = CliRunner().invoke(cli.app, shlex.split(line))\n"
        "    heavy = {'torch', 'transformers', 'sklearn', 'pandas'} & {*sys.modules}\n"
        "    said.append([done.exit_code, done.stderr, [*heavy]])\n"
        "print(json.dumps(said))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=json.dumps(lines), capture_output=True, text=True)
    answers = json.loads(done.stdout)
    for line, (_, words), (status, said, heavy) in zip(lines, TYPOS, answers, strict=True):
        assert (status, heavy) == (2, []), (line, said)
        assert said.startswith("error: "), line
        assert words.replace("{{", "{").replace("}}", "}") in said, (line, said)
        assert said.count("\n") == 1, line


def test_new_classes_have_the_label_that_was_named(tmp_path, tiny_encoder):
    source = write(tmp_path / "s.csv", *toy_texts(60, "film plot actor scene the", 0))
    target = write(tmp_path / "t.csv", toy_texts(40, "tweet lol omg today friend", 1)[0])
    model, out = tmp_path / "model", tmp_path / "out.csv"
    options = ["--encoder", tiny_encoder, "--epochs", "1", "--max-length", "32"]
    options += ["--method", "source_only", "--unknown"]
    adapt = ["adapt", str(source), str(target), str(model), *options]
    wrong = run(cli.app, [*adapt, "neg"])
    assert wrong.exit_code == 2
    assert "unknown='neg' is a class of the source" in wrong.stderr
    assert not model.exists()
    assert run(cli.app, [*adapt, "other"]).exit_code == 0
    assert run(cli.app, ["predict", str(model), str(target), "--out", str(out)]).exit_code == 0
    adapter = DomainAdapter.from_pretrained(model)
    texts = pd.read_csv(target)["text"].tolist()
    new, label = adapter.new_classes(adapter.outputs(texts))
    assert label == "other"
    answers = pd.read_csv(out)["predicted"]
    assert (answers == "other").tolist() == new.tolist()


def test_rows_are_counted_one_way_and_gaps_can_be_left_out(tmp_path, tiny_encoder, fitted):
    fitted.save_pretrained(tmp_path / "model")
    texts, labels = toy_texts(30, "film plot", 0)
    lines = [f"{text},{label}" for text, label in zip(texts, labels, strict=True)]
    lines[2], lines[5], lines[9] = ",", "good film,", ",neg"
    path = tmp_path / "s.csv"
    path.write_text("text,label\n" + "\n".join(lines) + "\n")
    evaluate = ["evaluate", str(tmp_path / "model"), str(path)]
    # The row that is empty in every cell is no row; the line is that of the file.
    done = run(cli.app, evaluate)
    assert f"'{path}', row 9, line 11 of the file: text is empty; fill it in" in done.stderr
    assert f"warning: '{path}': 1 row is empty in every cell and left out: line 4." in done.stderr
    done = run(cli.app, [*evaluate, "--skip-missing"])
    assert done.exit_code == 0, done.output
    assert "2 rows have no text, or no label, and are left out: 5, 9." in done.stderr
    assert " of 27 texts are right" in done.stdout
    path.write_text("text,label\na film,0\nb film,-0.031\nc film,0.5\n")
    done = run(cli.app, evaluate)
    decimals = "row 2, line 3 of the file: label is '-0.031', the first of 2 rows: 2, 3; the label"
    assert decimals in done.stderr
    # Without a header columns have numbers, and a text file needs none.
    path.write_text("\n".join(f"{label};{text}" for text, label in zip(texts, labels, strict=True)))
    columns = ["--no-header", "--text-column", "2", "--label-column", "1"]
    assert " of 30 texts are right" in run(cli.app, [*evaluate, *columns]).stdout
    lonely = tmp_path / "t.txt"
    lonely.write_text("so good, friend\nomg\n")
    done = run(cli.app, ["predict", str(tmp_path / "model"), str(lonely)])
    assert "each of its lines is a text, the first one too: 'so good, friend'" in done.stderr
    assert done.stderr.count("each of its lines") == 1
    assert done.stdout.startswith('text,predicted,probability\n"so good, friend",')


def test_methods_are_listed_in_a_table_that_fits_a_terminal():
    done = run(cli.app, ["methods"], env={"COLUMNS": "80"})
    lines = done.stdout.splitlines()
    names = [line.split("│")[1].strip() for line in lines if line.startswith("│")]
    assert [name for name in names if name] == list(METHODS)
    assert max(map(len, lines[:-1])) <= 80
    assert "…" not in done.stdout


def test_the_help_of_adapt_names_every_method_and_its_options():
    out = " ".join(run(cli.app, ["adapt", "--help"]).output.split())
    for name, entry in METHODS.items():
        assert f"{name}: " in out
        for option, facts in entry.options.items():
            assert f"{option}={facts.default}" in out

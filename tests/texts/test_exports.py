"""What labelling tools write is read as texts with one label, or refused by file and row.

The files are what the tools' own code wrote: label-studio-sdk 2.0.23 (its converter), doccano 1.8.4
(its formatters and writers), argilla 2.8.0. Prodigy's and fastText's are as their documentation
has them.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pytest

from dann_transfer.texts.labels import LabelWarning
from dann_transfer.texts.reading import LeftOutWarning, as_domain, as_labelled, as_texts

STUDIO_CSV = '''\
"annotation_id","annotator","created_at","id","lead_time","sentiment","text","updated_at"
101,"1","2026-01-01T00:00:00Z",1,1.5,"pos","a, fine ""film""","2026-01-01T00:00:00Z"
102,"1","2026-01-01T00:00:00Z",2,1.5,"neg","dull
film","2026-01-01T00:00:00Z"
'''
BOTH = """\
104,"1","2026-01-01T00:00:00Z",3,1.5,"{""choices"":[""pos"",""neg""]}","both","2026-01-01T00:00:00Z"
"""
EMPTY = '"","","",6,"","","no annotation",""\n'


def lines(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def put(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def labelled(path: object, label_column: str = "label") -> list[tuple[str, str]]:
    texts, labels = as_labelled(path, None, "X", "y", "text", label_column)
    return list(zip(texts, labels.tolist(), strict=True))


READ = [('a, fine "film"', "pos"), ("dull\nfilm", "neg")]


def test_csv_of_label_studio(tmp_path):
    path = tmp_path / "p.csv"
    assert labelled(put(path, STUDIO_CSV), "sentiment") == READ
    # Its export as TSV is called .csv, too.
    stream = io.StringIO()
    rows = list(csv.reader(io.StringIO(STUDIO_CSV)))
    csv.writer(stream, delimiter="\t", quoting=csv.QUOTE_ALL).writerows(rows)
    assert labelled(put(path, stream.getvalue()), "sentiment") == READ
    with pytest.raises(ValueError, match=r"row 3, line 5 of .*: sentiment is \['pos', 'neg'\], s"):
        labelled(put(path, STUDIO_CSV + BOTH), "sentiment")
    with pytest.raises(ValueError, match=r"row 3, line 5 of .*: y is missing \(''\)"):
        labelled(put(path, STUDIO_CSV + EMPTY), "sentiment")
    with pytest.raises(ValueError, match=r"no column 'label'; it has \['annot.*'sentiment'"):
        labelled(put(path, STUDIO_CSV))


def task(text: str, *annotations: tuple[list[str], bool], control: str = "sentiment") -> dict:
    result = [
        {
            "id": i,
            "was_cancelled": skipped,
            "result": [
                {"from_name": control, "type": "choices", "value": {"choices": choices}}
                for _ in choices[:1]
            ],
        }
        for i, (choices, skipped) in enumerate(annotations)
    ]
    return {"id": 1, "data": {"text": text}, "annotations": result, "predictions": []}


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("label_column", ["label", "sentiment"])
def test_json_of_label_studio(nested, label_column, tmp_path):
    tasks = [
        task("a", (["pos"], False)),
        task("b", (["neg"], False), (["neg"], False)),
        task("c", (["pos"], True)),
    ]
    # Its converter writes a list of lists if it was given a folder.
    path = put(tmp_path / "p.json", json.dumps([tasks] if nested else tasks))
    with pytest.warns(LeftOutWarning, match=r"p\.json' has answers that are left out: 1 skipped"):
        assert labelled(path, label_column) == [("a", "pos"), ("b", "neg"), ("b", "neg")]
    assert as_texts(path, "X") == ["a", "b", "c"]


def test_what_label_studio_has_and_is_no_single_label(tmp_path):
    path = tmp_path / "p.json"
    good = task("a", (["pos"], False))
    for odd, words in (
        (task("b"), r"row 2: y is missing \(None\)"),
        (task("b", ([], False)), r"row 2: y is missing \(None\)"),
        (task("b", (["pos", "neg"], False)), r"row 2: label is \['pos', 'neg'\], several labels"),
        (task("b", (["x"], False), control="topic"), r"controls \['sentiment', 'topic'\], and 'la"),
    ):
        with pytest.raises(ValueError, match=words):
            labelled(put(path, json.dumps([good, odd])))
    contradictory = task("a", (["pos"], False), (["neg"], False))
    with pytest.warns(LabelWarning, match=r"1 texts of X have different labels"):
        assert len(labelled(put(path, json.dumps([contradictory])))) == 2
    smaller = [{"text": "a", "id": 1, "sentiment": "pos"}, {"text": "b", "sentiment": "neg"}]
    assert labelled(put(path, json.dumps(smaller)), "sentiment") == [("a", "pos"), ("b", "neg")]
    smaller.append({"text": "c", "sentiment": {"choices": ["pos", "neg"]}})
    with pytest.raises(ValueError, match=r"row 3: sentiment is \['pos', 'neg'\], several labels"):
        labelled(put(path, json.dumps(smaller)), "sentiment")


def test_doccano(tmp_path):
    rows = [{"id": i, "text": t, "label": [y], "Comments": []} for i, (t, y) in enumerate(READ)]
    assert labelled(lines(tmp_path / "all.jsonl", *rows)) == READ
    assert labelled(put(tmp_path / "all.json", json.dumps(rows))) == READ
    assert labelled(pd.DataFrame(rows)) == READ
    both = {"text": "both", "label": ["neg", "pos"]}
    with pytest.raises(ValueError, match=r"row 3, line 3 of .*: label is \['neg', 'pos'\], sev"):
        labelled(lines(tmp_path / "all.jsonl", *rows, both))
    with pytest.raises(ValueError, match=r"y\[2\] is \['neg', 'pos'\], several"):
        labelled(pd.DataFrame([*rows, both]))
    unlabelled = lines(tmp_path / "all.jsonl", *rows, {"text": "c", "label": []})
    with pytest.raises(ValueError, match=r"row 3, line 3 of .*: y is missing \(None\); drop"):
        labelled(unlabelled)
    assert as_texts(unlabelled, "X")[2] == "c"
    shown = as_domain(pd.DataFrame([*rows, {"text": "c", "label": []}]), "X")
    assert shown.labels == ["pos", "neg", None]
    spans = {"text": "both", "label": [[0, 4, "PER"]]}
    with pytest.raises(ValueError, match=r"spans or numbers of labels and not a class of"):
        labelled(lines(tmp_path / "all.jsonl", *rows, spans))
    old = {"text": "a", "annotations": [{"label": 5, "user": 1}]}
    with pytest.raises(ValueError, match=r"row 1, line 1 of .* spans or numbers of labels"):
        labelled(lines(tmp_path / "old.jsonl", old), "annotations")
    content = 'id,text,label,Comments\n1,"a, fine ""film""",pos,\n2,"dull\nfilm",neg,\n'
    assert labelled(put(tmp_path / "all.csv", content)) == READ
    with pytest.raises(ValueError, match=r"row 3, line 5 of .*: y is 'neg#pos', several labels"):
        labelled(put(tmp_path / "all.csv", content + "3,both,neg#pos,hmm\n"))


FASTTEXT = '__label__pos a fine film\n__label__neg dull, and "long"\n'


@pytest.mark.parametrize("name", ["t.txt", "t.ft", "t.csv"])
def test_fasttext(name, tmp_path):
    path = put(tmp_path / name, FASTTEXT)
    assert labelled(path) == [("a fine film", "pos"), ('dull, and "long"', "neg")]
    assert as_texts(path, "X") == ["a fine film", 'dull, and "long"']
    with pytest.raises(ValueError, match=r"row 3, line 4 of .*: y is missing"):
        labelled(put(path, FASTTEXT + "\nno label\n"))
    with pytest.raises(ValueError, match=r"row 3, line 3 of .*: label is \['a', 'b'\], several"):
        labelled(put(path, FASTTEXT + "__label__a __label__b text\n"))


def test_labels_of_fasttext_may_stand_before_a_tab_or_at_the_end(tmp_path):
    path = put(tmp_path / "t.txt", "__label__pos\ta  fine\tfilm\ndull film __label__neg\n")
    assert labelled(path) == [("a  fine\tfilm", "pos"), ("dull film", "neg")]


def test_fasttext_of_doccano_is_csv(tmp_path):
    content = '"__label__pos a, fine ""film"" "\n"__label__neg dull\nfilm "\n'
    assert labelled(put(tmp_path / "all.txt", content)) == READ
    more = content + "__label__pos both __comment__hmm\n none \n"
    path = put(tmp_path / "all.txt", more)
    assert as_texts(path, "X") == [READ[0][0], READ[1][0], "both", "none"]
    with pytest.raises(ValueError, match=r"row 4, line 5 of .*: y is missing"):
        labelled(path)
    first = put(tmp_path / "all.txt", " none \n" + content)
    assert as_texts(first, "X")[0] == "none"


PRODIGY = [
    {"text": "a", "label": "pos", "answer": "accept", "_input_hash": 1},
    {"text": "b", "label": "pos", "answer": "reject", "_input_hash": 2},
    {"text": "c", "label": "neg", "answer": "ignore", "_input_hash": 3},
    {"text": "d", "label": "neg", "answer": "accept", "_input_hash": 4},
]


def prodigy_tables(folder: Path) -> dict:
    import datasets
    import polars as pl
    import pyarrow as pa

    frame = pd.DataFrame(PRODIGY)
    frame.to_csv(folder / "p.csv", index=False)
    frame.to_parquet(folder / "p.parquet")
    return {
        "jsonl": lines(folder / "p.jsonl", *PRODIGY),
        "csv": folder / "p.csv",
        "parquet": folder / "p.parquet",
        "pandas": frame,
        "polars": pl.DataFrame(PRODIGY),
        "pyarrow": pa.Table.from_pandas(frame),
        "datasets": datasets.Dataset.from_pandas(frame),
    }


@pytest.mark.parametrize(
    "kind", ["jsonl", "csv", "parquet", "pandas", "polars", "pyarrow", "datasets"]
)
def test_what_was_rejected_or_ignored_in_prodigy_never_trains(kind, tmp_path):
    table = prodigy_tables(tmp_path)[kind]
    words = 'left out: 1 answer "reject", 1 answer "ignore"'
    with pytest.warns(LeftOutWarning, match=words):
        assert labelled(table) == [("a", "pos"), ("d", "neg")]
    assert as_texts(table, "X") == ["a", "b", "c", "d"]


def test_choices_of_prodigy(tmp_path):
    options = [{"id": "pos"}, {"id": "neg"}]
    rows = [
        {"text": text, "options": options, "accept": accept, "answer": answer}
        for text, accept, answer in (
            ("a", ["pos"], "accept"),
            ("b", [], "reject"),
            ("c", ["neg"], "accept"),
        )
    ]
    path = lines(tmp_path / "p.jsonl", *rows)
    for label_column in ("label", "accept"):
        with pytest.warns(LeftOutWarning, match='1 answer "reject"'):
            assert labelled(path, label_column) == [("a", "pos"), ("c", "neg")]
    rows.append({**rows[0], "accept": ["pos", "neg"]})
    with pytest.raises(
        ValueError, match=r"row 4, line 4 of .*: label is \['pos', 'neg'\], several"
    ):
        labelled(lines(path, *rows))
    with (
        pytest.warns(LeftOutWarning),
        pytest.raises(ValueError, match=r"p\.jsonl' has no row with a label that was accepted"),
    ):
        labelled(lines(path, *PRODIGY[1:3]))


def test_a_row_without_an_answer_does_not_make_the_rejected_ones_train(tmp_path):
    rows = [*PRODIGY, {"text": "e", "label": "pos"}]
    for table in (lines(tmp_path / "p.jsonl", *rows), pd.DataFrame(rows)):
        with pytest.warns(LeftOutWarning, match='1 answer "none"'):
            assert labelled(table) == [("a", "pos"), ("d", "neg")]


def test_columns_that_only_look_like_a_tools(tmp_path):
    frame = pd.DataFrame({"text": ["a", "b"], "label": ["x", "y"]})
    frame["annotations"] = [[], []]
    frame["responses"] = [{"z": 1}, {"z": 2}]
    frame["answer"] = [None, ""]
    assert labelled(frame) == [("a", "x"), ("b", "y")]


def test_a_column_of_answers_that_is_not_prodigys(tmp_path):
    rows = [
        {"text": "a", "label": "pos", "answer": "42"},
        {"text": "b", "label": "neg", "answer": "accept"},
    ]
    assert len(labelled(lines(tmp_path / "q.jsonl", *rows))) == 2
    with pytest.raises(ValueError, match=r"no column 'label'; it has \['text', 'answer'\]"):
        labelled(lines(tmp_path / "q.jsonl", {"text": "a", "answer": "accept"}))
    frame = pd.DataFrame({"text": ["a", "b"], "annotations": [1, 2], "responses": ["x", "y"]})
    with pytest.raises(ValueError, match=r"X has no column 'label'; its columns are \['text'"):
        labelled(frame)


def test_argilla(tmp_path):
    flat = [
        {
            "id": str(i), "status": "completed", "text": text, "label.responses": values,
            "label.responses.users": ["u"] * len(values), "label.responses.status": states,
            "label.suggestion": "neg",
        }
        for i, (text, values, states) in enumerate([
            ("a", ["pos"], ["submitted"]),
            ("b", ["neg", "pos"], ["submitted", "discarded"]),
            ("c", ["neg"], ["draft"]),
        ])
    ]  # fmt: skip
    words = r"left out: 1 discarded, 1 draft"
    for table in (lines(tmp_path / "a.json", *flat), pd.DataFrame(flat)):
        with pytest.warns(LeftOutWarning, match=words):
            assert labelled(table) == [("a", "pos"), ("b", "neg")]
    pending = {**flat[0], "label.responses": None, "label.responses.status": None}
    with pytest.raises(ValueError, match=r"row 2, line 2 of .*: y is missing \(None\)"):
        labelled(lines(tmp_path / "a.jsonl", flat[0], pending))
    nested = {"fields": {"text": "a"}, "responses": {"label": [{"value": "pos", "user_id": "u"}]}}
    path = put(tmp_path / "n.json", json.dumps([nested, nested]))
    with pytest.raises(ValueError, match=r"n\.json', row 1: .*holds discarded answers like"):
        labelled(path)
    assert as_texts(path, "X") == ["a", "a"]
    old = [
        {"text": text, "label": [{"user_id": "u", "value": value, "status": status}]}
        for text, value, status in (("a", "pos", "submitted"), ("b", "neg", "discarded"))
    ]
    with pytest.warns(LeftOutWarning, match="1 not submitted"):
        assert labelled(lines(tmp_path / "o.jsonl", *old)) == [("a", "pos")]

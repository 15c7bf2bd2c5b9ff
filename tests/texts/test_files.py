from __future__ import annotations

import gzip
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dann_transfer.texts.files import FileTexts, read_parts, read_table
from dann_transfer.texts.reading import read_labelled
from dann_transfer.texts.separated import SEPARATORS, RowWarning

BOTH = ["text", "label"]


def put(folder: Path, name: str, content: str | bytes, encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("plain.csv", "text,label\na film,pos\n", [["a film", "pos"]]),
        ("crlf.csv", "text,label\r\na film,pos\r\n", [["a film", "pos"]]),
        ("quoted.csv", 'text,label\n"a, ""b""\nc",pos\n', [['a, "b"\nc', "pos"]]),
        ("semicolons.csv", "text;label\na, b;pos\n", [["a, b", "pos"]]),
        ("tabs.tsv", "text\tlabel\na, b; c\tpos\n", [["a, b; c", "pos"]]),
        ("tabs.csv", "label\ttext\npos\ta, b\n", [["a, b", "pos"]]),
        ("bars.txt", "id|text|label\n1|a, b|pos\n", [["a, b", "pos"]]),
        ("mark.csv", b"\xef\xbb\xbftext,label\na,pos\n", [["a", "pos"]]),
        ("utf16.csv", "text,label\né 好,pos\n".encode("utf-16"), [["é 好", "pos"]]),
        ("zipped.csv.gz", gzip.compress("text,label\né,pos\n".encode()), [["é", "pos"]]),
        ("both.csv.gz", gzip.compress("text;label\né;pos\n".encode("utf-16")), [["é", "pos"]]),
        ("na.csv", "text,label\nNA,None\nnan,null\n", [["NA", "None"], ["nan", "null"]]),
        ("numbers.csv", "text,label\n007,1.0\n", [["007", "1.0"]]),
        ("no label.csv", "text,label\na\nb,pos\n", [["a", ""], ["b", "pos"]]),
        ("ends.csv", "text,label\na,pos,\nb,neg,\n", [["a", "pos"], ["b", "neg"]]),
        ("long.csv", f"text,label\n{'word ' * 60_000},pos\n", [["word " * 60_000, "pos"]]),
        ("lines.jsonl", '{"text": "1", "label": 2}\n', [["1", 2]]),
        ("dates.ndjson", '{"text": "2020-01-01", "label": "x"}\n', [["2020-01-01", "x"]]),
        ("list.json", '[{"label": true, "text": "a"}]', [["a", True]]),
        (
            "blank first.csv",
            "\n\ntext,label\ngood,pos\n\nbad,neg\n\n",
            [["good", "pos"], ["bad", "neg"]],
        ),
        ("index.csv", ",text,label\n0,good,pos\n", [["good", "pos"]]),
        ("empty columns.csv", "text,label,,\ngood,pos,,\n", [["good", "pos"]]),
        ("twice unwanted.csv", "id,id,text,label\n1,2,good,pos\n", [["good", "pos"]]),
        ("mark.jsonl", b'\xef\xbb\xbf{"text": "a", "label": "b"}\n', [["a", "b"]]),
        ("utf16.jsonl", '{"text": "\u597d", "label": "b"}\n'.encode("utf-16"), [["\u597d", "b"]]),
        ("quote inside.csv", 'text,label\nsay "no" now,pos\n', [['say "no" now', "pos"]]),
        ("all quoted.csv", '"text","label"\n"a, b","pos"\n', [["a, b", "pos"]]),
        ("all quoted.tsv", '"id"\t"text"\t"label"\n"1"\t"a, b"\t"pos"\n', [["a, b", "pos"]]),
        ("LOUD.CSV", "text,label\na,pos\n", [["a", "pos"]]),
        ("columns.json", '{"text": {"7": "a"}, "label": {"7": 1}}', [["a", 1]]),
        ("a::b.csv", "text,label\na,pos\n", [["a", "pos"]]),
        ("ragged.csv", "text,label,c,d\na,pos\nb,neg\n", [["a", "pos"], ["b", "neg"]]),
    ],
    ids=lambda value: value if isinstance(value, str) and value[-4:].strip(".").isalpha() else "",
)
def test_files_are_read_as_they_are(name, content, rows, tmp_path):
    assert read_table(put(tmp_path, name, content), BOTH).to_numpy().tolist() == rows


def test_a_gap_turns_no_whole_number_into_a_float(tmp_path):
    content = '{"text": "a", "label": 1234567890123456789012}\n{"text": "b"}\n'
    one, gap = read_table(put(tmp_path, "t.jsonl", content), BOTH)["label"]
    assert one == 1234567890123456789012
    assert np.isnan(gap)
    frame = pd.DataFrame({"text": ["a", "b"], "label": pd.array([2**53 + 1, None], dtype="Int64")})
    frame.to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet", BOTH)["label"].tolist()[0] == 2**53 + 1


def test_a_row_that_a_line_break_may_have_split_is_named(tmp_path):
    broken = "id,text,label,day\n1,a,pos,mon\n2,tweet\nlol,neg,tue\n"
    with pytest.warns(
        RowWarning,
        match=r"broken\.csv', row 3, line 4 of the file: \['lol', 'neg', 'tue'\] and the row",
    ):
        read = read_table(put(tmp_path, "broken.csv", broken), BOTH)
    assert len(read) == 3
    # Rows that lack their last cell look the same, so this is a warning and no more.
    ragged = put(tmp_path, "ragged.csv", "text,label,note\na,pos\nb,neg\nc,pos\n")
    with pytest.warns(RowWarning) as seen:
        assert read_table(ragged, BOTH)["text"].tolist() == ["a", "b", "c"]
    assert len(seen) == 1


def test_of_one_column_every_line_is_a_text(tmp_path):
    """Everything after the first comma was once lost."""
    content = '\ntext\na, b, c\n"d, ""e"""\n\nf; g\n\n\n'
    path = put(tmp_path, "one.csv", content)
    assert read_table(path, ["text"])["text"].tolist() == ["a, b, c", 'd, "e"', "", "f; g"]


def test_parquet_and_zip(tmp_path):
    frame = pd.DataFrame({"text": ["a", None], "label": [1, 2], "more": [0, 0]})
    frame.to_parquet(tmp_path / "t.parquet")
    read = read_table(tmp_path / "t.parquet", BOTH)
    assert list(read.columns) == BOTH
    assert read["label"].tolist() == [1, 2]
    frame.to_csv(tmp_path / "t.csv.zip", index=False)
    assert read_table(tmp_path / "t.csv.zip", ["text"])["text"].tolist() == ["a", ""]


def test_a_parquet_index_is_a_column(tmp_path):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"text": ["a", "b"], "label": [1, 2]}, index=[7, 9]).rename_axis("id").to_parquet(
        path
    )
    assert read_table(path, ["text"], whole=True)["id"].tolist() == [7, 9]
    pd.DataFrame({"text": ["a"]}, index=[7]).to_parquet(tmp_path / "unnamed.parquet")
    assert list(read_table(tmp_path / "unnamed.parquet", ["text"], whole=True)) == ["text"]
    (part,) = read_parts(path, ["id", "text"])
    assert part["id"].tolist() == [7, 9]


def test_numbered_columns_of_json_are_named_by_text(tmp_path):
    path = put(tmp_path, "t.jsonl", '{"0": "good film", "1": "pos"}\n')
    assert read_table(path, ["0", "1"]).to_numpy().tolist() == [["good film", "pos"]]


def test_an_archive_holds_one_file(tmp_path):
    path = tmp_path / "t.csv.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__MACOSX/._a.csv", b"\0junk")
        archive.writestr("folder/a.csv", "text\ngood\n")
    assert read_table(path, ["text"])["text"].tolist() == ["good"]
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("b.csv", "text\nbad\n")
    with pytest.raises(ValueError, match=r"holds 2 files, .*'b\.csv'\]; it needs one"):
        read_table(path, ["text"])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "more.csv",
            "text,label\na, film,pos\nb,neg\n",
            r"row 1, line 2 of the file: 'pos' is beyond .*',' in it needs",
        ),
        (
            "later.csv",
            "text,label\nb,neg\na, film,pos\n",
            r"row 2, line 3 of the file: 'pos' is beyond the col",
        ),
        (
            "many.csv",
            "text,label\nb,neg\na,b,c,d,pos\n",
            r"line 3 of the file: 'c' is beyond .* needs quotes",
        ),
        (
            "hole.csv",
            "label,text\npos,good,,really\nneg,bad\n",
            r"line 2 of the file: 'really' is beyond",
        ),
        (
            "noname.csv",
            "text,label,\na,b, film\n",
            r"line 2 of the file: ' film' is beyond the columns",
        ),
        (
            "open.csv",
            'text,label\n"a,pos\nb,neg\n',
            r"row 1, line 2 of the file: a quote opens there, .* end of data\. A cell",
        ),
        (
            "speech.csv",
            'text,label\n"No", he said,pos\n',
            r"line 2 of the file: 'pos' is beyond the columns",
        ),
        (
            "swallowed.tsv",
            'text\tlabel\n"a\tpos\nfine\tneg\nb" ok\tpos\n',
            r"row 1, line 2 of the file: .* expected.*--quoting none",
        ),
        ("twice.csv", "text,label,text\na,b,c\n", r"has 2 columns named 'text'; rename all but"),
        ("other.csv", "body,label\na,b\n", r"no column 'text'; it has \['body', 'label'\]\. Name"),
        ("latin.csv", "text,label\né,b\n".encode("cp1252"), r"expected encoding .*--encoding cp12"),
        ("fake.csv.gz", b"text,label\n", r"fake\.csv\.gz' cannot be read: Not a gzipped file"),
        ("cut.csv.gz", gzip.compress(b"text,label\n" + b"a,b\n" * 999)[:40], r"cannot be read"),
        ("broken.jsonl", '{"text": "a"}\n{"text": \n', r"broken\.jsonl' cannot be read"),
        ("no.parquet", b"nothing", r"no\.parquet' cannot be read"),
        ("sheet.xlsx", b"PK", r"ends in none of .*'\.parquet'.*a spreadsheet as CSV"),
        ("empty.csv", b"", r"empty\.csv' is empty"),
        (
            "joined.csv",
            "text,label\na,pos\ntext,label\nb,neg\n",
            r"row 2, line 3 of the file repeats the header",
        ),
        (
            "list.jsonl",
            '{"text": "a", "label": 1}\n["a", 1]\n',
            r"row 2, line 2 .* \['a', 1\], and",
        ),
        ("value.json", "3", r"holds a single value, not a table"),
        ("hidden.csv", gzip.compress(b"text,label\na,b\n"), r"is compressed; let its name say so"),
    ],
    ids=lambda value: value if isinstance(value, str) and value[-3:].isalpha() else "",
)
def test_what_would_be_read_otherwise_is_refused_and_the_file_named(name, content, words, tmp_path):
    with pytest.raises(ValueError, match=words) as raised:
        read_table(put(tmp_path, name, content), BOTH)
    assert name in str(raised.value)


def test_what_a_person_has_to_say(tmp_path):
    latin = put(tmp_path, "latin.csv", "text,label\né,b\n", "cp1252")
    assert read_table(latin, BOTH, encoding="cp1252").to_numpy().tolist() == [["é", "b"]]
    odd = put(tmp_path, "odd.csv", "text^label\na, b^pos\n")
    assert read_table(odd, BOTH, separator="^").to_numpy().tolist() == [["a, b", "pos"]]
    speech = put(tmp_path, "speech.csv", 'text\n"No", he said, "never".\nfine\n"Meh" again\n')
    with pytest.raises(
        ValueError, match=r"speech\.csv', row 1, line 2 of .* begins with a quote needs quo"
    ):
        read_table(speech, ["text"])
    with pytest.raises(ValueError, match=r"separator='\|\|' must be one character"):
        read_table(odd, BOTH, separator="||")
    with pytest.raises(ValueError, match="cannot be read: unknown encoding"):
        read_table(latin, BOTH, encoding="klingon")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_table(tmp_path / "no.csv", BOTH)


def rows_with_quotes(separator: str, first: int, last: int) -> str:
    """Return rows that were written without quoting, in which two quote marks are letters."""
    texts = [f"text {i}" for i in range(48)]
    texts[first], texts[last] = f'"{texts[first]}', f'{texts[last]} 5"'
    rows = (f"{text}{separator}{'ab'[i % 2]}" for i, text in enumerate(texts))
    return "\n".join([f"text{separator}label", *rows]) + "\n"


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize(("first", "last"), [(7, 40), (7, 8), (0, 47)])
def test_quote_marks_that_are_letters_swallow_no_rows(separator, first, last, tmp_path):
    path = put(tmp_path, "t.csv", rows_with_quotes(separator, first, last))
    words = (
        rf"row {first + 1}, line {first + 2} of the file: a quote opens there and closes in line "
        rf"{last + 2}, .*--quoting none .* --quoting minimal"
    )
    with pytest.raises(ValueError, match=words):
        read_table(path, BOTH)
    with pytest.raises(ValueError, match=words):
        list(FileTexts(path))
    read = read_table(path, BOTH, quoting="none")
    assert len(read) == 48
    assert read["text"][first] == f'"text {first}'
    assert len(list(FileTexts(path, quoting="none"))) == 48
    assert len(read_table(path, BOTH, quoting="minimal")) == 48 - last + first


def test_where_an_open_quote_begins_is_named(tmp_path):
    content = "text\tlabel\n" + "".join(f"text {i}\ta\n" for i in range(40))
    path = put(tmp_path, "t.tsv", content.replace("text 5\t", '"text 5\t'))
    with pytest.raises(ValueError, match=r"row 6, line 7 of the file: a quote opens .*--quoting"):
        read_table(path, BOTH)
    assert read_table(path, BOTH, quoting="none")["text"][5] == '"text 5'


@pytest.mark.parametrize(
    "text",
    [
        "Well made.\nWould buy it again.",
        "Good film,\nbad plot",
        "Dear sir,\nit was good, but\nnot, really, great\n\nYours",
        "one\ntwo; three\nfour | five",
        'He said "no",\nand "yes"',
        "It cost 1,000\nand broke",
        "\n\n\n",
    ],
)
@pytest.mark.parametrize("separator", SEPARATORS)
def test_a_review_of_several_lines_is_one_row(text, separator, tmp_path):
    frame = pd.DataFrame({"id": [1, 2, 3], "text": ["a", text, "b"], "label": ["x", "y", "x"]})
    for columns in (["id", "text", "label"], ["text", "label"], ["label", "text"]):
        frame[columns].to_csv(tmp_path / "t.csv", index=False, sep=separator)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read = read_table(tmp_path / "t.csv", BOTH)
        assert read["text"].tolist() == ["a", text, "b"]


def test_lines_of_a_single_column(tmp_path):
    lines = ["good", '"fine', "a, b", 'a screen of 5"', '"quoted"', ""]
    content = "text\n" + "\n".join([*lines, "end"]) + "\n\n"
    # In a text file each is a text as it is.
    assert read_table(put(tmp_path, "t.txt", content), ["text"])["text"].tolist() == [*lines, "end"]
    # In a CSV file a quoted cell may have several lines, which is said.
    csv_file = put(tmp_path, "t.csv", content)
    with pytest.warns(
        RowWarning, match=r"row 2, line 3 of .* one text of the lines 3 to 5\. .*none"
    ):
        assert len(read_table(csv_file, ["text"])) == 5
    assert read_table(csv_file, ["text"], quoting="none")["text"].tolist() == [*lines, "end"]
    # Quotes around the header say that a text file has them, too.
    quoted = put(tmp_path, "q.txt", '"text"\n"a ""b"""\n"c"\n')
    assert read_table(quoted, ["text"])["text"].tolist() == ['a "b"', "c"]


def test_what_excel_puts_before_the_header(tmp_path):
    for mark in ("sep=;\n", '"sep=;"\r\n', "SEP=;\n"):
        path = put(tmp_path, "t.csv", f"{mark}text;label\na, b, c, d;pos\n", "utf-8-sig")
        assert read_table(path, BOTH).to_numpy().tolist() == [["a, b, c, d", "pos"]]
    for encoding in ("utf-8", "UTF8", "utf-8-sig", None):
        assert list(read_table(path, ["text"], encoding)) == ["text"]
    wide = put(tmp_path, "w.csv", "text\tlabel\n\u597d\tpos\n", "utf-16")
    assert read_table(wide, BOTH, "utf-16-le").to_numpy().tolist() == [["\u597d", "pos"]]


def test_a_file_without_a_header_is_named_as_such(tmp_path):
    pair = ["text", "body"]
    for content in ("good film,pos\nbad film,neg\nfine,pos\n", "a rather long text,1\nb,2\n"):
        with pytest.raises(ValueError, match=r"looks like a row: .*, such as 'text,label'"):
            read_labelled(put(tmp_path, "t.csv", content), "text", "label")
    with pytest.raises(ValueError, match=r"it has \['body', 'stars'\]\. Name the right one"):
        read_table(put(tmp_path, "t.csv", "body,stars\na,1\n"), BOTH)
    path = put(tmp_path, "t.csv", "text,body\na,b\n")
    for read in (lambda: read_table(path, [pair]), lambda: read_labelled(path, pair, "label")):
        with pytest.raises(TypeError, match=r"\['text', 'body'\] is not the name of a column of"):
            read()


@pytest.mark.parametrize("orient", ["records", "columns", "table", "split", "lines"])
def test_json_of_pandas_and_datasets(orient, tmp_path):
    frame = pd.DataFrame({"text": ["a", "b"], "label": [1, 2]})
    form = {"orient": "records", "lines": True} if orient == "lines" else {"orient": orient}
    frame.to_json(tmp_path / "t.json", **form)
    assert read_table(tmp_path / "t.json", BOTH).to_numpy().tolist() == [["a", 1], ["b", 2]]

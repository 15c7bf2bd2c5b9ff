from __future__ import annotations

from enum import Enum

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dann_transfer.texts.labels import LabelWarning, as_labels
from dann_transfer.texts.reading import (
    Domain,
    EmptyTextWarning,
    as_labelled,
    as_source,
    as_sources,
    as_texts,
)
from dann_transfer.texts.target import as_target
from dann_transfer.texts.weights import scaled, text_weights

TEXTS = ["good film", "bad film", "fine plot"]


@pytest.mark.parametrize(
    "make",
    [
        list,
        tuple,
        np.array,
        lambda t: np.array(t, dtype=object),
        pd.Series,
        lambda t: pd.Series(t, index=[7, 8, 9], dtype="string"),
        lambda t: pd.DataFrame({"id": [1, 2, 3], "text": t}),
        Domain,
    ],
)
def test_texts_of_every_kind(make):
    texts = as_texts(make(TEXTS), "X")
    assert texts == TEXTS
    assert all(type(text) is str for text in texts)


def test_texts_of_a_datasets_dataset_and_its_column():
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict({"review": TEXTS, "stars": [1, 0, 1]})
    assert as_texts(table, "X", "review") == TEXTS
    assert as_texts(table["review"], "X") == TEXTS
    texts, labels = as_source(
        datasets.concatenate_datasets([table, table]), None, "review", "stars"
    )
    assert texts == TEXTS * 2
    assert labels.tolist() == [1, 0, 1] * 2


def test_labels_come_from_a_frame_or_a_domain():
    frame = pd.DataFrame({"text": TEXTS * 2, "label": ["a", "b", "a"] * 2})
    assert as_source(frame, None)[1].tolist() == ["a", "b", "a"] * 2
    assert (
        as_source(Domain(TEXTS * 2, ["a", "b", "a"] * 2), None)[1].tolist() == ["a", "b", "a"] * 2
    )


def test_the_label_column_of_the_target_is_not_read():
    class Watched(pd.DataFrame):
        def __getitem__(self, key):
            assert key != "label"
            return super().__getitem__(key)

    assert as_target(Watched({"text": TEXTS, "label": [1, 0, 1]}), ["other"])[0] == TEXTS


def dataset(labels: list):
    from datasets import ClassLabel, Dataset, Features, Value

    texts = [f"text {i}" for i in range(len(labels))]
    features = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"])})
    return Dataset.from_dict({"text": texts, "label": labels}, features=features)


def test_class_labels_keep_their_names():
    assert as_source(dataset([1, 0, 1, 0]), None)[1].tolist() == ["pos", "neg", "pos", "neg"]
    torch_format = dataset([1, 0, 1, 0]).with_format("torch")
    assert as_source(torch_format, None)[1].tolist() == ["pos", "neg", "pos", "neg"]
    _, labels, sizes = as_sources({"a": dataset([0, 1]), "b": dataset([1, 0])}, None)
    assert labels.tolist() == ["neg", "pos", "pos", "neg"]
    assert sizes == {"a": 2, "b": 2}
    with pytest.raises(ValueError, match=r"y\[2\] is missing .*Texts without labels belong in"):
        as_source(dataset([0, 1, -1, 0]), None)


def test_splits_are_not_domains():
    from datasets import DatasetDict

    splits = DatasetDict(train=dataset([0, 1, 0, 1]), test=dataset([0, 1]))
    words = r"is a DatasetDict with the splits \['train', 'test'\]; pass one of them, such as "
    with pytest.raises(TypeError, match=rf"X {words}X\['train'\]"):
        as_sources(splits, None)
    with pytest.raises(TypeError, match=rf"X_target {words}"):
        as_target(splits, ["a"])
    with pytest.raises(TypeError, match=rf"X\['a'\] {words}"):
        as_sources({"a": splits}, None)


def tables() -> dict:
    """Return the same table in the form of each library."""
    import datasets
    import polars as pl
    import pyarrow as pa

    columns = {"text": TEXTS, "label": ["a", "b", "a"]}
    data = datasets.Dataset.from_dict({**columns, "n": [1, 2, 3]})
    return {
        "pandas": pd.DataFrame(columns),
        "polars": pl.DataFrame(columns),
        "pyarrow": pa.table(columns),
        "a record batch": pa.RecordBatch.from_pydict(columns),
        "datasets": data,
        "datasets as torch": data.with_format("torch"),
        "datasets as numpy": data.with_format("numpy"),
        "datasets as pandas": data.with_format("pandas"),
        "datasets as arrow": data.with_format("arrow"),
    }


@pytest.mark.parametrize("library", list(tables()))
def test_tables_of_every_library(library):
    table = tables()[library]
    texts, labels = as_labelled(table, None, "X", "y")
    assert texts == TEXTS
    assert labels.tolist() == ["a", "b", "a"]
    column = table["text"] if library != "datasets as arrow" else TEXTS
    assert as_texts(column, "X") == TEXTS
    with pytest.raises(
        ValueError, match=r"has no column 'body'; its columns are \['text', 'label'"
    ):
        as_texts(table, "X", "body")


def test_a_table_that_is_only_planned_is_named():
    import polars as pl

    with pytest.raises(TypeError, match=r"X is a LazyFrame, which holds no rows yet; pass X\.coll"):
        as_texts(pl.DataFrame({"text": TEXTS}).lazy(), "X")


def test_empty_texts_are_refused_or_texts():
    given = ["good", "  ", None, float("nan"), pd.NA, "\n", np.float64("nan")]
    with pytest.raises(ValueError, match=r"X\[1\] is empty or only white space"):
        as_texts(given, "X")
    with pytest.raises(TypeError, match=r"X\[1\] is None \(NoneType\), not a string"):
        as_texts(["good", None], "X")
    with pytest.warns(EmptyTextWarning, match=r"6 of 7 texts of X are empty, the first .* X\[1\]:"):
        assert as_texts(given, "X", empty_is_text=True) == ["good"] + [""] * 6
    with pytest.raises(TypeError, match=r"X\[0\] is 3 \(int\)"):
        as_texts([3], "X", empty_is_text=True)


def test_a_domain_does_not_show_all_its_texts():
    assert repr(Domain(["word " * 1000] * 5)) == "Domain(5 texts; no labels)"
    labelled = Domain(TEXTS, np.array(["a", "b", "a"]))
    assert repr(labelled) == "Domain(3 texts; 'a': 2, 'b': 1)"


# What users have in lists: any text.
WORDS = st.text(min_size=1).filter(
    lambda t: any(c.isalnum() or 0xD800 <= ord(c) < 0xE000 for c in t)
)


@given(st.lists(WORDS, min_size=1, max_size=20))
def test_every_text_comes_through_as_it_was(texts):
    if any(0xD800 <= ord(c) < 0xE000 for text in texts for c in text):
        with pytest.raises(ValueError, match="is not valid Unicode"):
            as_texts(texts, "X")
    else:
        assert as_texts(texts, "X") == texts


def test_a_kind_of_string_is_the_string_that_it_is():
    class Sent(str, Enum):  # noqa: UP042
        POS = "good film"
        NEG = "bad film"

    class Loud(str):
        def __str__(self):
            return "LOUD"

    assert as_texts([Sent.POS, Loud("a")], "X") == ["good film", "a"]
    assert as_labels([Loud("a"), Loud("b")], 2).tolist() == ["a", "b"]


def test_a_table_that_is_a_stream_is_named():
    import datasets

    stream = datasets.IterableDataset.from_generator(lambda: iter([{"text": "a"}]))
    with pytest.raises(TypeError, match="IterableDataset that does not know its columns"):
        as_texts(stream, "X")


def test_weights_of_any_size_are_those_of_their_ratios():
    labels = np.array(["a", "b", "a", "b"])
    for size in (1e308, 1e-300):
        weights = text_weights(labels, None, [size, size, size / 2, 0.0])
        with np.errstate(all="raise", under="ignore"):
            assert scaled(weights) == pytest.approx([1.6, 1.6, 0.8, 0.0])


@pytest.mark.parametrize(
    "text",
    [
        "\u200b",
        "\ufeff",
        "\u200e",
        "\xad\u200d",
        "\0",
        "\x1b",
        " \u2060\n",
        "\u3164",
        "\u2800\ufe0f",
    ],
    ids=ascii,
)
def test_a_text_in_which_nothing_can_be_seen_is_empty(text):
    with pytest.raises(ValueError, match=r"X\[1\] is empty or only white space: '"):
        as_texts(["a", text], "X")
    with pytest.warns(EmptyTextWarning, match=r"1 of 2 texts of X are empty"):
        assert as_texts(["a", text], "X", empty_is_text=True) == ["a", ""]
    # Beside a letter it stays as it is.
    assert as_texts([f"a{text}b"], "X") == [f"a{text}b"]


def test_faults_of_one_kind_are_counted_and_the_first_listed(tmp_path):
    texts = ["good"] * 400
    for row in (5, 300, 301):
        texts[row] = " "
    listed = r"X\[5\] is empty .*, the first of 3: X\[5\], X\[300\], X\[301\]; remove"
    with pytest.raises(ValueError, match=listed):
        as_texts(texts, "X")
    path = tmp_path / "t.csv"
    pd.DataFrame({"text": texts, "label": ["a", "b"] * 200}).to_csv(path, index=False)
    rows = r"t\.csv', row 6, line 7 of the file: X is empty .*, the first of 3 rows: 6, 301, 302;"
    with pytest.raises(ValueError, match=rows):
        as_labelled(path, None, "X", "y")
    with pytest.raises(ValueError, match=rows):
        as_texts(path, "X")
    with pytest.raises(ValueError, match=r"the first of 7: X\[0\], .*, X\[4\], \.\.\.; remove"):
        as_texts([" "] * 7, "X")


def test_a_text_that_holds_its_label_is_refused():
    texts = [f"__label__{label} {text}" for label, text in zip("aba", TEXTS, strict=True)]
    with pytest.raises(
        ValueError, match=r"X has a text that begins with a label, '__label__a good"
    ):
        as_labelled(texts, ["a", "b", "a"], "X", "y")
    with pytest.raises(ValueError, match="X_target has a text that begins with a label"):
        as_target(texts, ["other"])
    assert as_texts(texts, "X") == texts


def test_texts_with_two_labels_are_counted():
    texts = ["dull", "fine", "dull", "dull", "fine", "new", "odd", "odd"]
    with pytest.warns(LabelWarning, match=r"2 texts of X have .* 'dull' with 'a' and 'b'"):
        as_labelled(texts, ["a", "a", "b", "a", "b", "a", "b", "b"], "X", "y")


def test_a_column_of_class_labels_keeps_its_gaps():
    table = dataset([0, 1, -1, 0])
    with pytest.raises(ValueError, match=r"y\[2\] is missing \(None\)"):
        as_source(table["text"], table["label"])
    assert as_source(table["text"][:2], table["label"][:2])[1].tolist() == [0, 1]
    # Outside of a ClassLabel -1 is a class like others.
    assert as_source(TEXTS, [-1, 1, 0])[1].tolist() == [-1, 1, 0]

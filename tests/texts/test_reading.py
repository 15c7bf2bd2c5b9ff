from __future__ import annotations

import warnings
from enum import Enum, IntEnum

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dann_transfer.texts.reading import (
    Domain,
    EmptyTextWarning,
    LabelWarning,
    as_labelled,
    as_labels,
    as_source,
    as_sources,
    as_target,
    as_texts,
    encode_labels,
)
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


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (["a", "b", "a"], "U"),
        ([0, 1, 0], "i"),
        ([True, False, True], "b"),
        ([1.0, 2.0, 1.0], "f"),
        (np.array([3, 4, 3], dtype=np.int8), "i"),
        (pd.Series(["a", "b", "a"], dtype="category"), "U"),
    ],
)
def test_labels_keep_their_type(labels, kind):
    array = as_labels(labels, 3)
    assert array.dtype.kind == kind
    assert array.tolist() == list(labels)


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


class Sentiment(str, Enum):  # noqa: UP042 - users have such classes
    POS = "positive"
    POS_2 = "positively"
    NEG = "negative"


class Grade(IntEnum):
    LOW = 1
    HIGH = 2


@pytest.mark.parametrize(
    "labels",
    [
        [Sentiment.POS, Sentiment.NEG, Sentiment.POS_2],
        [Grade.HIGH, Grade.LOW],
        [np.uint64(3), np.uint64(5)],
        [-(2**63), 2**63 - 1],
        ["a", "b\0c"],
    ],
)
def test_labels_come_back_as_they_went_in(labels):
    assert as_labels(labels, len(labels)).tolist() == labels
    assert len(np.unique(as_labels(labels, len(labels)))) == len(labels)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([2**63, 2**63 + 1], "y\\[0\\] is 9223372036854775808, which does not fit in 64 bits"),
        (np.array([2**63 + 1, 1], dtype=np.uint64), "which does not fit in 64 bits; use strings"),
        (["a", "a\0"], "numpy drops null characters at the end"),
    ],
    ids=str,
)
def test_labels_that_would_merge_are_refused(labels, words):
    with pytest.raises(ValueError, match=words):
        as_labels(labels, 2)


def test_labels_become_positions():
    classes = np.array(["a", "b", "c"])
    assert encode_labels(np.array(["c", "a"]), classes, "y_val").tolist() == [2, 0]
    with pytest.raises(
        ValueError, match=r"y_val has labels that the source does not have: \['z'\]"
    ):
        encode_labels(np.array(["z"]), classes, "y_val")


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


def test_labels_of_every_library():
    import polars as pl
    import pyarrow as pa
    import torch

    for labels in (
        torch.tensor([1, 0, 1]),
        pl.Series([1, 0, 1]),
        pa.array([1, 0, 1]),
        pa.chunked_array([[1, 0], [1]]),
        list(torch.tensor([1, 0, 1]).numpy()),
    ):
        found = as_labels(labels, 3)
        assert found.tolist() == [1, 0, 1]
        assert found.dtype.kind == "i"
    missing = pa.array(["a", None, "b"])
    with pytest.raises(ValueError, match=r"y\[1\] is missing \(None\)"):
        as_labels(missing, 3)


def test_a_table_that_is_only_planned_is_named():
    import polars as pl

    with pytest.raises(TypeError, match=r"X is a LazyFrame, which holds no rows yet; pass X\.coll"):
        as_texts(pl.DataFrame({"text": TEXTS}).lazy(), "X")


@pytest.mark.parametrize(
    ("y", "remedy"),
    [
        (np.array([[1], [0], [1]]), r"shape \(3, 1\); pass y\.ravel\(\)"),
        ([["a"], ["b"], ["a"]], r"shape \(3, 1\); pass \[row\[0\] for row in y\]"),
        (pd.DataFrame({"star": [1, 0, 1]}), r"one column, shape \(3, 1\); pass y\['star'\]"),
        (np.eye(3)[[0, 1, 2]], r"one-hot labels\. Pass the classes, such as .*argmax\(axis=1\)"),
        (np.eye(3, dtype=bool).tolist(), r"one-hot labels\. Pass the classes"),
        (pd.DataFrame(np.eye(3), columns=list("abc")), "one-hot labels"),
        (np.array([[1, 1], [0, 0], [1, 0]]), r"several labels per text\. .*MultiOutputClassifier"),
        ([[1, 1, 0], [0, 0, 0], [1, 0, 1]], "several labels per text"),
        (pd.DataFrame({"a": [1, 0, 1], "b": [1, 1, 0]}), "several labels per text"),
        (pd.DataFrame({"a": ["x"] * 3, "b": ["y"] * 3}), r"pass the one that holds the labels"),
        (np.array([["a", "b"]] * 3), r"shape \(3, 2\); labels must be one-dimensional"),
        (np.zeros((3, 1, 1)), r"shape \(3, 1, 1\); labels must be one-dimensional"),
    ],
    ids=range(12),
)
def test_labels_in_columns_are_told_apart(y, remedy):
    with pytest.raises(ValueError, match=remedy):
        as_labels(y, 3)


def test_columns_of_polars_and_pyarrow_are_told_apart_too():
    import polars as pl
    import pyarrow as pa

    for table in (pl.DataFrame({"star": [1, 0, 1]}), pa.table({"star": [1, 0, 1]})):
        with pytest.raises(ValueError, match=r"one column, shape \(3, 1\); pass y\['star'\]"):
            as_labels(table, 3)
    for table in (pl.DataFrame({"a": [1, 0], "b": [1, 1]}), pa.table({"a": [1, 0], "b": [1, 1]})):
        with pytest.raises(ValueError, match="several labels per text"):
            as_labels(table, 2)


def test_labels_that_differ_by_case_or_blanks_are_remarked_on():
    labels = ["pos", "pos ", "POS", "neg"]
    with pytest.warns(LabelWarning, match=r"\[\['POS', 'pos', 'pos '\]\]\. If they are the same"):
        assert as_labels(labels, 4).tolist() == labels
    with pytest.warns(
        LabelWarning, match=r"begin or end with white space: \[' film'\]\. The cause may"
    ):
        as_labels([" film", "pos"], 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_labels(["pos", "neg", "very pos"], 3)


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


# What users have in lists: any text and any label, and values that are neither.
WORDS = st.text(min_size=1).filter(lambda t: t.strip() and "\0" not in t)
KINDS = (WORDS, st.integers(-(2**63), 2**63 - 1), st.booleans())


@given(st.lists(WORDS, min_size=1, max_size=20))
def test_every_text_comes_through_as_it_was(texts):
    if any(0xD800 <= ord(c) < 0xE000 for text in texts for c in text):
        with pytest.raises(ValueError, match="is not valid Unicode"):
            as_texts(texts, "X")
    else:
        assert as_texts(texts, "X") == texts


@given(st.one_of(*(st.lists(kind, min_size=1, max_size=20) for kind in KINDS)))
@pytest.mark.filterwarnings("ignore::dann_transfer.texts.reading.LabelWarning")
def test_every_label_comes_back_as_it_went_in(labels):
    found = as_labels(labels, len(labels))
    assert found.tolist() == labels
    assert [type(label) for label in found.tolist()] == [type(label) for label in labels]
    classes = np.unique(found)
    assert len(classes) == len(set(labels))
    assert classes[encode_labels(found, classes, "y")].tolist() == labels


@given(st.lists(st.one_of(*KINDS, st.none(), st.floats(), st.binary()), min_size=1, max_size=8))
@pytest.mark.filterwarnings("ignore::dann_transfer.texts.reading.LabelWarning")
def test_labels_are_kept_or_refused_and_never_changed(labels):
    try:
        found = as_labels(labels, len(labels))
    except (TypeError, ValueError) as error:
        assert str(error).startswith("y")  # noqa: PT017
    else:
        assert found.tolist() == labels


def test_a_kind_of_string_is_the_string_that_it_is():
    class Sent(str, Enum):  # noqa: UP042
        POS = "good film"
        NEG = "bad film"

    class Loud(str):
        def __str__(self):
            return "LOUD"

    assert as_texts([Sent.POS, Loud("a")], "X") == ["good film", "a"]
    assert as_labels([Loud("a"), Loud("b")], 2).tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"pos", "neg"}, r"y is \{.* \(set\); pass a list of labels"),
        (np.array(3), r"y is the single value array\(3\); pass a list of labels"),
    ],
)
def test_what_has_no_order_is_no_list_of_labels(labels, words):
    with pytest.raises(TypeError, match=words):
        as_labels(labels, 2)


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

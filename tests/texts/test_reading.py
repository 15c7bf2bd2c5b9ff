from __future__ import annotations

from enum import Enum, IntEnum

import numpy as np
import pandas as pd
import pytest

from dann_transfer.texts.reading import (
    Domain,
    as_labels,
    as_source,
    as_sources,
    as_target,
    as_texts,
    encode_labels,
)

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

    assert as_target(Watched({"text": TEXTS, "label": [1, 0, 1]}), ["other"]) == TEXTS


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
    words = r"is a DatasetDict of the splits \['train', 'test'\]; pass one of them, such as "
    with pytest.raises(TypeError, match=rf"X {words}X\['train'\]"):
        as_sources(splits, None)
    with pytest.raises(TypeError, match=rf"X_target {words}"):
        as_target(splits, ["a"])
    with pytest.raises(TypeError, match=rf"X\['a'\] {words}"):
        as_sources({"a": splits}, None)


class Sentiment(str, Enum):  # noqa: UP042 - what people have
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
        ([2**63, 2**63 + 1], "y\\[0\\] is 9223372036854775808, which 64 bits do not hold"),
        (np.array([2**63 + 1, 1], dtype=np.uint64), "which 64 bits do not hold; use strings"),
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
    with pytest.raises(ValueError, match=r"y_val has labels that the source does not: \['z'\]"):
        encode_labels(np.array(["z"]), classes, "y_val")

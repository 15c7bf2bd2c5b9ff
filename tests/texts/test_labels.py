"""Labels come back as they went in, or are refused."""

from __future__ import annotations

import warnings
from enum import Enum, IntEnum

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dann_transfer.texts.labels import LabelWarning, as_labels, encode_labels


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


# Any label that users have in lists.
WORDS = st.text(min_size=1).filter(lambda t: any(map(str.isalpha, t)) and not {*"#|\0"} & {*t})
KINDS = (WORDS, st.integers(-(2**63), 2**63 - 1), st.booleans())


@given(st.one_of(*(st.lists(kind, min_size=1, max_size=20) for kind in KINDS)))
@pytest.mark.filterwarnings("ignore::dann_transfer.texts.labels.LabelWarning")
def test_every_label_comes_back_as_it_went_in(labels):
    found = as_labels(labels, len(labels))
    assert found.tolist() == labels
    assert [type(label) for label in found.tolist()] == [type(label) for label in labels]
    classes = np.unique(found)
    assert len(classes) == len(set(labels))
    assert classes[encode_labels(found, classes, "y")].tolist() == labels


@given(st.lists(st.one_of(*KINDS, st.none(), st.floats(), st.binary()), min_size=1, max_size=8))
@pytest.mark.filterwarnings("ignore::dann_transfer.texts.labels.LabelWarning")
def test_labels_are_kept_or_refused_and_never_changed(labels):
    try:
        found = as_labels(labels, len(labels))
    except (TypeError, ValueError) as error:
        assert str(error).startswith("y")  # noqa: PT017
    else:
        assert found.tolist() == labels


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


def test_strings_of_numpy_that_scikit_learn_cannot_take_are_refused():
    labels = np.array(["a", "b"], dtype=np.dtypes.StringDType())
    with pytest.raises(TypeError, match=r"y has numpy's StringDType, .*; pass y\.astype\(object\)"):
        as_labels(labels, 2)
    assert as_labels(labels.astype(object), 2).tolist() == ["a", "b"]


@pytest.mark.parametrize(
    "labels",
    [["-0.031", "1", "0.5"], ["4,5", "1,5", "2"], ["1e-3", "1", "2"], ["1.10", "1.1", "2"]],
)
def test_a_column_of_decimals_is_named_as_such(labels):
    with pytest.raises(ValueError, match=rf"y\[0\] is .* decimals such as {labels[0]}, and labels"):
        as_labels(labels, 3)


def test_codes_are_no_quantities():
    for labels in (["F32.1", "250.1", "401.9"], ["v1.10", "v1.1", "2"], ["007", "8", "9"]):
        assert as_labels(labels, 3).tolist() == labels


def test_a_number_written_in_two_ways_is_remarked_on():
    with pytest.warns(LabelWarning, match=r"how a number is written, .*\[\['1', '1\.0'\], \['5'"):
        as_labels(["5", "1", "5.0", "1.0"], 4)


def test_several_labels_in_one_are_refused_only_if_each_is_a_class():
    with pytest.raises(
        ValueError, match=r"y\[2\] is 'a#b', several labels, the first of 2: y\[2\]"
    ):
        as_labels(["a", "b", "a#b", "b", "b#a"], 5)
    with pytest.raises(ValueError, match=r"y\[0\] is 'a\|b', several labels"):
        as_labels(["a|b", "a", "b"], 3)
    with pytest.warns(LabelWarning, match=r"look like several in one, .*: \['a\|c'\]"):
        assert as_labels(["a", "b", "a|c"], 3).tolist() == ["a", "b", "a|c"]
    with pytest.warns(LabelWarning, match=r"look like several in one, .*: \['a, b'\]"):
        as_labels(["a", "b", "a, b"], 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for labels in (["C", "C#", "F#"], ["sent > neg", "sent > pos"], ["a, b", "c"], ["#1", "1"]):
            as_labels(labels, len(labels))


def test_a_label_may_be_written_as_a_number_or_in_letters():
    assert encode_labels(np.array(["1", "0"]), np.array([0, 1]), "y").tolist() == [1, 0]
    assert encode_labels(np.array([1, 0]), np.array(["0", "1"]), "y").tolist() == [1, 0]
    assert encode_labels(np.array(["True"]), np.array([False, True]), "y").tolist() == [1]
    with pytest.raises(ValueError, match=r"y has labels that the source does not have: \['2'\]"):
        encode_labels(np.array(["2", "1"]), np.array([0, 1]), "y")

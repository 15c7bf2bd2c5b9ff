"""Targets that need not fit into memory: every kind gives the same sample."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from conftest import toy_texts
from datasets import Dataset, IterableDataset
from hypothesis import given, settings
from hypothesis import strategies as st

from dann_transfer import Domain, FileTexts, compare
from dann_transfer.texts.files import PART, read_parts, read_table
from dann_transfer.texts.reading import as_groups, texts_in_parts
from dann_transfer.texts.target import as_target, sample

N, MOST = 10_000, 700
TEXTS = [f"text {i}, of many" for i in range(N)]


class Again:
    """An iterable without a length that can be read more than once."""

    def __init__(self, texts):
        self.texts = texts

    def __iter__(self):
        return iter(self.texts)


def rows(texts):
    for text in texts:
        yield {"text": text, "id": 1}


def kinds(texts, folder):
    frame = pd.DataFrame({"id": range(len(texts)), "text": texts})
    frame.to_csv(folder / "t.csv", index=False)
    frame.to_csv(folder / "t.csv.gz", index=False)
    frame.to_parquet(folder / "t.parquet")
    frame.to_json(folder / "t.jsonl", orient="records", lines=True)
    frame.to_json(folder / "t.json", orient="records")
    frame.rename(columns={"text": "tweet"}).to_csv(folder / "o.csv", index=False, sep=";")
    return {
        "list": texts,
        "frame": frame,
        "Domain": Domain(texts),
        "Dataset": Dataset.from_pandas(frame),
        "Dataset of arrays": Dataset.from_pandas(frame).with_format("numpy"),
        "IterableDataset": IterableDataset.from_generator(rows, gen_kwargs={"texts": texts}),
        "iterable": Again(texts),
        "csv": folder / "t.csv",
        "csv.gz": folder / "t.csv.gz",
        "parquet": folder / "t.parquet",
        "json lines": folder / "t.jsonl",
        "json": folder / "t.json",
        "FileTexts": FileTexts(folder / "o.csv", "tweet", separator=";"),
        "Domain of a file": Domain(FileTexts(folder / "o.csv", "tweet")),
    }


def test_every_kind_gives_the_same_sample(tmp_path):
    made = {name: as_target(X, ["a"], most=MOST) for name, X in kinds(TEXTS, tmp_path).items()}
    texts, n = made["list"]
    assert (len(texts), n) == (MOST, N)
    assert texts == sorted(texts, key=TEXTS.index), "in their order"
    for name, own in made.items():
        assert own == (texts, n), name


def test_the_sample_is_even_and_a_part_of_a_larger_one():
    small, large = (set(sample([list(range(N))], most)[0]) for most in (500, 2000))
    assert len(small) == 500
    assert small < large
    counts = np.histogram(list(large), bins=10, range=(0, N))[0]
    # With 2,000 in ten bins, each has 200, give or take three standard deviations of 13.
    assert (abs(counts - 200) < 40).all()


@settings(deadline=None)
@given(st.integers(0, 3000), st.integers(1, 400), st.lists(st.integers(0, 3000), max_size=8))
def test_the_sample_does_not_depend_on_the_parts(n, most, cuts):
    whole = list(range(n))
    edges = [0, *sorted(min(cut, n) for cut in cuts), n]
    parts = [whole[a:b] for a, b in itertools.pairwise(edges)]
    texts, counted = sample(parts, most)
    assert (texts, counted) == sample([whole], most)
    assert counted == n
    assert len(set(texts)) == len(texts) == min(n, most)


@pytest.mark.parametrize(
    "kind", ["Dataset", "IterableDataset", "iterable", "csv", "parquet", "json lines", "FileTexts"]
)
def test_a_bad_row_far_down_is_named(kind, tmp_path):
    texts = list(TEXTS)
    texts[PART + 7] = " "
    place = rf"X_target\[{PART + 7}\]"
    if kind in ("csv", "parquet", "json lines", "FileTexts"):
        lines = {"csv": 2, "FileTexts": 2, "json lines": 1}
        line = f", line {PART + 7 + lines[kind]} of the file" if kind in lines else ""
        place = f"row {PART + 8}{line}: X_target"
    with pytest.raises(ValueError, match=f"{place} is empty"):
        as_target(kinds(texts, tmp_path)[kind], ["a"], most=MOST)
    with pytest.raises(ValueError, match="the same texts as X"):
        as_target(kinds(TEXTS, tmp_path)[kind], TEXTS, most=MOST)


def test_what_cannot_be_read_twice_or_has_no_such_column_is_refused(tmp_path):
    with pytest.raises(TypeError, match="can be read only once"):
        as_target(iter(TEXTS), ["a"])
    for kind in ("IterableDataset", "Dataset", "csv", "parquet", "json lines"):
        with pytest.raises(ValueError, match="has no column 'words'"):
            as_target(kinds(TEXTS[:9], tmp_path)[kind], ["a"], "words")
    for empty in (Again([]), Dataset.from_dict({"text": []})):
        with pytest.raises(ValueError, match="X_target holds no texts"):
            as_target(empty, ["a"])


def test_memory_does_not_grow_with_the_target(tmp_path):
    peaks = []
    for n in (20_000, 200_000):
        path = tmp_path / f"{n}.parquet"
        pd.DataFrame({"text": [f"text {i}" * 8 for i in range(n)]}).to_parquet(path)
        tracemalloc.start()
        assert as_target(path, ["a"], most=5000)[1] == n
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 180,000 texts of 88 letters would be 25 MB.
    assert peaks[1] - peaks[0] < 4e6


@pytest.mark.parametrize("name", ["csv", "csv.gz", "parquet", "json lines", "json"])
@pytest.mark.parametrize("whole", [False, True])
def test_the_parts_of_a_file_are_the_whole(name, whole, tmp_path):
    path = kinds(TEXTS[:100], tmp_path)[name]
    parts = list(read_parts(path, ["text"], whole=whole, size=7))
    assert len(parts) == (1 if name == "json" or (whole and "json" in name) else 15)
    together = pd.concat(parts, ignore_index=True)
    # Parts of a Parquet file keep Arrow's types.
    pd.testing.assert_frame_equal(
        together, read_table(path, ["text"], whole=whole), check_dtype=name != "parquet"
    )


def test_blank_lines_between_texts_are_rows_and_those_at_the_end_are_not(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("text\na\n\n\nb\n\n\n\n")
    assert read_table(path, ["text"])["text"].tolist() == ["a", "", "", "b"]
    parts = read_parts(path, ["text"], size=2)
    assert [part["text"].tolist() for part in parts] == [["a", ""], ["", "b"]]


def test_json_lines_without_a_column_are_missing_texts(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"}\n{"id": 1}\n{"id": 2}\n')
    parts = list(read_parts(path, ["text"], size=2))
    assert parts[1]["text"].isna().all()


def test_parts_count_through(recwarn):
    parts = [["a", "b"], [], ["c", " ", None]]
    assert list(texts_in_parts(parts, "X", "text")) == [["a", "b"], ["c", "", ""]]
    assert "2 of 5 texts of X are empty, the first of them X[3]" in str(recwarn[0].message)
    with pytest.raises(TypeError, match=r"X\[3\] is 5"):
        list(texts_in_parts([["a", "b"], ["c", 5]], "X", "text"))
    with pytest.raises(ValueError, match="X holds no texts"):
        list(texts_in_parts([[]], "X", "text"))
    assert list(texts_in_parts([iter(["a"])], "X", "text")) == [["a"]]


def test_a_domain_of_a_file_can_be_shown(tmp_path):
    assert repr(Domain(FileTexts("t.csv"))).startswith("Domain(FileTexts(path='t.csv'")


def test_groups_are_a_column_of_a_file(tmp_path):
    pd.DataFrame({"text": ["a", "b"], "who": ["x", None]}).to_parquet(tmp_path / "t.parquet")
    groups = as_groups("who", tmp_path / "t.parquet", "groups", "X", 2)
    assert groups.tolist() == ["x", "(none)"]


def test_other_columns_of_a_dataset_are_left_alone():
    from datasets import Features, Image, Value

    features = Features({"text": Value("string"), "image": Image()})
    broken = {"bytes": b"no image", "path": None}
    made = Dataset.from_dict({"text": ["a", "b"], "image": [broken, broken]}, features=features)
    assert as_target(made, ["c"])[0] == ["a", "b"]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Twelve thousand target texts, as a list and in a file."""
    texts = [f"{text} {i % 9}" for i, text in enumerate(toy_texts(12_000, "tweet lol omg", 1)[0])]
    path = tmp_path_factory.mktemp("many") / "tweets.parquet"
    pd.DataFrame({"text": texts}).to_parquet(path)
    return texts, path


@pytest.mark.parametrize("method", ["student", "source_only"])
def test_a_run_on_a_file_is_the_run_on_its_texts(method, tiny, source, many):
    texts, path = many
    one = tiny(method=method, neighbors=5).fit(*source, X_target=texts)
    other = tiny(method=method, neighbors=5).fit(*source, X_target=path)
    for name, value in one.model_.state_dict().items():
        assert value.equal(other.model_.state_dict()[name]), name
    for adapter in (one, other):
        assert (adapter.n_target_, adapter.n_target_sampled_) == (12_000, 10_000)
        assert len(adapter.neighborhood_.features) == 10_000
    assert one.target_shares_ == other.target_shares_


def test_a_run_that_draws_more_samples_more_and_looks_at_as_many(tiny, many, monkeypatch):
    X, y = toy_texts(3600, "film plot actor", 0)
    seen = []
    monkeypatch.setattr(
        "dann_transfer.fitting.afterwards.warn_of_collapse", lambda *values: seen.append(values[2])
    )
    # Three epochs of 3,600 source texts draw 10,800 target texts.
    adapter = tiny(method="dann", epochs=3, batch_size=400).fit(X, y, X_target=many[1])
    assert adapter.n_target_sampled_ == 10_800
    assert seen == [10_000]


def test_the_card_of_a_model_says_that_it_saw_a_sample(tiny, source, many, tmp_path):
    tiny(method="source_only").fit(*source, X_target=many[1]).save_pretrained(tmp_path / "m")
    card = (tmp_path / "m" / "README.md").read_text()
    assert "12,000 unlabelled target texts (a sample of 10,000)" in card


def test_a_comparison_takes_files(tiny_encoder, source, many, tmp_path):
    path = tmp_path / "movies.csv"
    pd.DataFrame(zip(*source, strict=True), columns=["text", "label"]).to_csv(path, index=False)
    settings = {"encoder": tiny_encoder, "max_length": 32, "epochs": 1, "progress": False}
    result = compare(path, X_target=many[1], X_test=path, X_target_test=path, **settings)
    other = compare(*source, X_target=many[0], X_test=path, X_target_test=path, **settings)
    numbers = ["source_accuracy", "target_accuracy", "a_distance"]
    pd.testing.assert_frame_equal(result.frame()[numbers], other.frame()[numbers])
    assert result.adapters["dann"].predict(path).shape == (90,)


def test_outputs_in_parts_are_those_of_the_whole(fitted, target):
    whole = fitted.outputs(target)
    parts = list(fitted.outputs_in_parts([target[:3], [], target[3:]]))
    assert [len(part.features) for part in parts] == [3, len(target) - 3]
    for i, name in enumerate(("features", "probabilities")):
        joined = np.concatenate([part[i] for part in parts])
        np.testing.assert_allclose(joined, getattr(whole, name), atol=1e-5)
    with pytest.raises(TypeError, match=r"X\[3\] is 7"):
        list(fitted.outputs_in_parts([target[:3], [7]]))

from __future__ import annotations

import copy
import pickle

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from dann_transfer.serving.tables import Predictor


@pytest.fixture(scope="module")
def folder(fitted, tmp_path_factory):
    path = tmp_path_factory.mktemp("serving") / "model"
    fitted.save_pretrained(path)
    return path


@pytest.mark.parametrize("processes", [None, 2])
def test_datasets_map_gives_what_predict_gives(processes, folder, fitted, target):
    table = datasets.Dataset.from_dict({"id": list(range(len(target))), "text": target})
    found = table.map(Predictor(folder), batched=True, batch_size=16, num_proc=processes)
    assert found["id"] == table["id"]
    assert list(found["label"]) == fitted.predict(target).tolist()
    assert np.allclose(found["confidence"], fitted.predict_proba(target).max(1), atol=1e-5)


def test_a_batch_of_arrays_comes_back_in_order(folder, fitted, target):
    """A batch in the form that Ray Data passes."""
    batch = {"tweet": np.array(target, dtype=object), "n": np.arange(len(target))}
    found = Predictor(folder, "tweet", "class", "p")(batch)
    assert list(found) == ["tweet", "n", "class", "p"]
    assert found["class"].tolist() == fitted.predict(target).tolist()


def test_an_empty_batch(folder):
    found = Predictor(folder)({"text": []})
    assert (len(found["label"]), len(found["confidence"])) == (0, 0)


def test_another_process_loads_the_model_from_its_folder(folder, target):
    predictor = Predictor(folder)
    sent = pickle.dumps(predictor)
    assert len(sent) < 2000
    batch = {"text": target}
    assert (pickle.loads(sent)(batch)["label"] == predictor(batch)["label"]).all()


def test_bad_columns_are_named(folder, target):
    with pytest.raises(ValueError, match="no column 'text'; it has \\['tweet'\\]"):
        Predictor(folder)({"tweet": target})
    with pytest.raises(ValueError, match="a batch already has a column 'label'"):
        Predictor(folder)({"text": target, "label": [0] * len(target)})


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ValueError, match=str(tmp_path)):
        Predictor(tmp_path)


def test_labels_of_an_earlier_model_do_not_come_from_a_cache(tiny, source, target, tmp_path):
    """`datasets` recognises a function by what it pickles."""
    (tmp_path / "tweets.txt").write_text("\n".join(target))

    def labelled() -> list[str]:
        table = datasets.load_dataset(
            "text",
            data_files=str(tmp_path / "tweets.txt"),
            split="train",
            cache_dir=str(tmp_path / "cache"),
        )
        return list(table.map(Predictor(tmp_path / "model"), batched=True)["label"])

    for names in ({"pos": "pos", "neg": "neg"}, {"pos": "good", "neg": "bad"}):
        adapter = tiny(epochs=1, method="source_only")
        adapter.fit(source[0], [names[label] for label in source[1]])
        adapter.save_pretrained(tmp_path / "model")
        assert labelled() == adapter.predict(target).tolist()
    # Without a change the cache is used: the same model is the same function.
    hashes = {datasets.fingerprint.Hasher.hash(Predictor(tmp_path / "model")) for _ in range(2)}
    assert len(hashes) == 1


@pytest.fixture
def replaced(tiny, source, tmp_path):
    """A Predictor over a folder into which another model was saved since."""
    path = tmp_path / "model"
    for seed in (0, 1):
        adapter = tiny(epochs=1, method="source_only", random_state=seed).fit(*source)
        adapter.save_pretrained(path)
        if not seed:
            before = Predictor(path)
    return before


def test_another_process_refuses_another_model(replaced, target):
    sent, again = pickle.dumps(replaced), Predictor(replaced.folder)
    with pytest.raises(ValueError, match=r"model' holds another model .* Make a new Predictor"):
        pickle.loads(sent)
    with pytest.raises(ValueError, match="holds another model"):
        copy.deepcopy(replaced)
    # As an actor that starts late does, which is given arguments and not a pickled object.
    with pytest.raises(ValueError, match="holds another model"):
        Predictor(replaced.folder, digest=replaced.digest)
    assert Predictor(replaced.folder, digest=again.digest).digest == again.digest
    assert replaced({"text": target[:2]})["label"].shape == (2,)


def test_a_model_that_is_replaced_while_it_is_read_is_read_again(replaced, monkeypatch):
    digests = iter(["first", "second", "second"])
    monkeypatch.setattr("dann_transfer.fitting.saving.digest_of", lambda _: next(digests))
    assert Predictor(replaced.folder).digest == "second"


@pytest.mark.parametrize("kind", [None, "numpy", "torch", "pandas", "arrow", "polars"])
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.filterwarnings("ignore:.* texts of X are empty")
def test_map_gives_each_row_its_label_whatever_the_format(kind, batched, folder, fitted, target):
    """Without `batched=True` a text was split into its characters."""
    texts = [*target[:5], None, target[5]]
    table = datasets.Dataset.from_dict({"n": list(range(7)), "text": texts}).with_format(kind)
    labelled = table.map(Predictor(folder), batched=batched, batch_size=3).with_format(None)
    assert labelled["n"][:] == list(range(7))
    assert labelled["text"][:] == texts
    assert labelled["label"][:] == fitted.predict(texts).tolist()
    p = fitted.predict_proba(texts).max(1)
    np.testing.assert_allclose(labelled["confidence"][:], p, atol=1e-5)


@pytest.mark.parametrize("classes", [["neg", "pos"], [0, 1], [False, True]])
@pytest.mark.filterwarnings("ignore:.* texts of X are empty")
def test_the_kind_of_table_that_came_in_goes_out(classes, tiny, source, target, tmp_path):
    codes = [classes[label == "pos"] for label in source[1]]
    adapter = tiny(epochs=1, method="source_only").fit(source[0], codes)
    adapter.save_pretrained(tmp_path / "model")
    predictor, texts = Predictor(tmp_path / "model"), [*target[:4], None]
    labels = adapter.predict(texts).tolist()
    frame = predictor(pd.DataFrame({"text": texts, "n": range(5)}, index=[7, 7, 3, 1, 0]))
    assert frame.index.tolist() == [7, 7, 3, 1, 0]
    assert frame["label"].tolist() == labels
    # As Ray writes it: plain columns, without pickled objects in them.
    assert all(not pa.types.is_binary(field.type) for field in pa.Table.from_pandas(frame).schema)
    for batch in (pa.table({"text": texts}), pa.record_batch({"text": texts})):
        result = predictor(batch)
        assert type(result) is type(batch)
        assert result.to_pydict()["text"] == texts
        assert result.to_pydict()["label"] == labels
    result = predictor(pl.DataFrame({"text": texts}))
    assert result.to_dict(as_series=False)["label"] == labels
    row = predictor({"text": texts[0], "n": 1})
    assert row == {"text": texts[0], "n": 1, "label": labels[0], "confidence": row["confidence"]}
    assert (type(row["label"]), type(row["confidence"])) == (type(classes[0]), float)


@pytest.mark.parametrize("table", [pd.DataFrame, pl.DataFrame, pa.table, dict])
def test_an_empty_table_and_wrong_columns_of_any_table(table, folder, target):
    predictor = Predictor(folder)
    result = predictor(table({"text": []}))
    assert (len(result["label"]), len(result["confidence"])) == (0, 0)
    with pytest.raises(ValueError, match=r"no column 'text'; it has \['tweet'\]"):
        predictor(table({"tweet": target}))
    with pytest.raises(ValueError, match="a batch already has a column 'confidence'"):
        predictor(table({"text": target, "confidence": target}))


def test_what_is_no_batch_is_refused_with_the_remedy(folder, target):
    predictor = Predictor(folder)
    for batch in (target, target[0], np.array(target), pd.Series(target), None):
        with pytest.raises(TypeError, match=f"a batch is a {type(batch).__name__}, not a mapping"):
            predictor(batch)
    with pytest.raises(TypeError, match=r"LazyFrame.*pass batch.collect\(\)"):
        predictor(pl.LazyFrame({"text": target}))
    with pytest.raises(TypeError, match=r"X\[0\] is 5 \(int\), not a string"):
        predictor({"text": 5})

from __future__ import annotations

import pickle

import datasets
import numpy as np
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

"""Every bad input gives an error that quotes what is wrong, before the encoder is even loaded."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import make_tiny_encoder
from sklearn.exceptions import NotFittedError

from dann_transfer import DomainAdapter, compare, evaluation
from dann_transfer.texts.reading import Domain

X = ["good film", "bad film", "fine plot", "poor plot"] * 3
Y = ["pos", "neg"] * 6
T = ["good tweet", "bad tweet", "lol"] * 4
NAN = float("nan")


def replaced(values: list, at: int, value: object) -> list:
    return [*values[:at], value, *values[at + 1 :]]


# what fit gets instead of (X, Y, T), the error, and words from its message
TEXTS: dict[str, tuple[dict, type[Exception], str]] = {
    "a bare string": ({"X": "good film"}, TypeError, "X is a single str, 'good film'; pass a list"),
    "bytes": ({"X": b"good"}, TypeError, "X is a single bytes"),
    "no source": ({"X": None}, TypeError, "X is None; pass a list of texts"),
    "a number": ({"X": 7}, TypeError, "X is 7 (int); pass a list of texts"),
    "a mapping, and y": ({"X": {"a": "b"}}, ValueError, "so y must be left out"),
    "a mapping to texts": ({"X": {"a": X}, "y": None}, TypeError, "X['a'] is a list; pass the"),
    "a mapping to a Series": (
        {"X": {"a": pd.Series(X)}, "y": None},
        ValueError,
        "the labels of X['a'] is None",
    ),
    "a mapping to a string": ({"X": {"a": "b"}, "y": None}, TypeError, "X['a'] is a single str"),
    "a mapping to triples": (
        {"X": {"a": (X, Y, Y)}, "y": None},
        TypeError,
        "X['a'] is a tuple of 3",
    ),
    "a mapping to a list": (
        {"X": {"a": [X, Y]}, "y": None},
        TypeError,
        "X['a'] is a list; pass the tuple",
    ),
    "domains of one name": (
        {"X": {1: (X, Y), "1": (X, Y)}, "y": None},
        ValueError,
        "two domains named '1'",
    ),
    "domains with labels of two types": (
        {"X": {"a": (X, Y), "b": (X, [0, 1] * 6)}, "y": None},
        TypeError,
        "the domains of X have labels of different types (['int', 'str'])",
    ),
    "an empty mapping": ({"X": {}, "y": None}, ValueError, "X is an empty mapping"),
    "a mapping with too few labels": (
        {"X": {"a": (X, Y), "b": (X, Y[:-1])}, "y": None},
        ValueError,
        "X['b'] has 12 texts but the labels of X['b'] has 11",
    ),
    "labelled target texts without labels": (
        {"X_target_labelled": T},
        ValueError,
        "y_target_labelled is None",
    ),
    "target labels without texts": (
        {"y_target_labelled": Y},
        ValueError,
        "y_target_labelled was passed without X_target_labelled",
    ),
    "a target label that the source has not": (
        {"X_target_labelled": T[:1], "y_target_labelled": ["new"]},
        ValueError,
        "y_target_labelled has labels that the source does not have: ['new']",
    ),
    "a set": ({"X": set(X)}, TypeError, "X is a set, which is not an ordered list"),
    "an iterator": ({"X": iter(X)}, TypeError, "can be read only once; pass list(X)"),
    "an empty list": ({"X": [], "y": []}, ValueError, "X holds no texts"),
    "None among texts": (
        {"X": replaced(X, 3, None)},
        TypeError,
        "X[3] is None (NoneType), not a string",
    ),
    "NaN among texts": ({"X": replaced(X, 2, NAN)}, TypeError, "X[2] is nan (float), not a string"),
    "pandas NA": ({"X": pd.Series(replaced(X, 2, pd.NA))}, TypeError, "not a string; remove it"),
    "bytes among texts": ({"X": replaced(X, 0, b"x")}, TypeError, "X[0] is b'x' (bytes)"),
    "a number among texts": ({"X": replaced(X, 5, 3)}, TypeError, "X[5] is 3 (int), not a string"),
    "a list among texts": ({"X": replaced(X, 5, ["a"])}, TypeError, "X[5] is ['a'] (list)"),
    "an empty text": (
        {"X": replaced(X, 1, "")},
        ValueError,
        "X[1] is empty or only white space: ''",
    ),
    "a blank text": ({"X": replaced(X, 1, " \n")}, ValueError, "X[1] is empty or only white space"),
    "a lone surrogate": ({"X": replaced(X, 1, "a\ud800")}, ValueError, "X[1] is not valid Unicode"),
    "a column of texts": ({"X": np.array(X)[:, None]}, ValueError, "X has shape (12, 1)"),
    "a frame without the column": (
        {"X": pd.DataFrame({"review": X})},
        ValueError,
        "X has no column 'text'; its columns are ['review']. Name the right one with text_column",
    ),
    "a frame without labels": (
        {"X": pd.DataFrame({"text": X, "y": Y}), "y": None},
        ValueError,
        "X has no column 'label'; its columns are ['text', 'y']. Name the right one with label_column",
    ),
    "unequal lengths": ({"y": Y[:-1]}, ValueError, "X has 12 texts but y has 11 labels"),
    "no labels": ({"y": None}, ValueError, "y is None: X needs its labels"),
    "labels as one string": ({"y": "pos"}, TypeError, "y is 'pos' (str); pass a list of labels"),
    "one-hot labels": ({"y": np.eye(12)}, ValueError, "y has shape (12, 12)"),
    "a missing label": ({"y": replaced(Y, 4, None)}, ValueError, "y[4] is missing (None)"),
    "a NaN label": ({"y": replaced([0, 1] * 6, 4, NAN)}, ValueError, "y[4] is missing (nan)"),
    "a pandas NA label": (
        {"y": pd.array(replaced([0, 1] * 6, 4, pd.NA))},
        ValueError,
        "y[4] is missing",
    ),
    "a blank label": ({"y": replaced(Y, 4, " ")}, ValueError, "y[4] is missing (' ')"),
    "two columns of one name": (
        {"X": pd.DataFrame([["a", "b"]] * 12, columns=["text", "text"])},
        ValueError,
        "X has 2 columns named 'text'; keep one",
    ),
    "too few weights": ({"sample_weight": [1.0]}, ValueError, "sample_weight has shape (1,)"),
    "a negative weight": (
        {"sample_weight": [1.0] * 11 + [-1.0]},
        ValueError,
        "text 11 of X weighs -1.0",
    ),
    "a NaN weight": ({"sample_weight": [1.0] * 11 + [NAN]}, ValueError, "text 11 of X weighs nan"),
    "no weight at all": ({"sample_weight": [0.0] * 12}, ValueError, "weights must be finite"),
    "labels in lists": (
        {"y": [["pos"], ["neg"]] * 6},
        ValueError,
        "y has one column, shape (12, 1); pass [row[0] for row in y].",
    ),
    "unhashable labels": ({"y": [{"pos"}, {"neg"}] * 6}, TypeError, "y[0] is {'pos'} (set)"),
    "mixed labels": (
        {"y": ["pos", 0] * 6},
        TypeError,
        "y mixes label types ({'str': 6, 'int': 6})",
    ),
    "quantities": (
        {"y": [0.5, 1.0] * 6},
        ValueError,
        "y[0] is 0.5, the first of 6: y[0], y[2], y[4], y[6], y[8], ...; labels are classes, not",
    ),
    "lists of labels": (
        {"y": [["a"], []] * 6},
        ValueError,
        "y has lists of several lengths, such as [] and ['a']; mark several labels",
    ),
    "the name of a file": (
        {"X": "reviews.csv"},
        TypeError,
        "to read it as a file pass pathlib.Path('reviews.csv')",
    ),
    "weights in words": (
        {"sample_weight": ["much"] * 12},
        ValueError,
        "sample_weight must be numbers, one per text",
    ),
    "masked weights": (
        {"sample_weight": np.ma.masked_array(np.ones(12), [True] + [False] * 11)},
        ValueError,
        "sample_weight has masked entries",
    ),
    "one class": ({"y": ["pos"] * 12}, ValueError, "y has only one class, 'pos'"),
    "no target": (
        {"X_target": None},
        ValueError,
        "pass its unlabelled texts as X_target=..., or use",
    ),
    "target equal to source": (
        {"X_target": X[::-1]},
        ValueError,
        "X_target holds the same texts as X",
    ),
    "target a string": ({"X_target": "lol"}, TypeError, "X_target is a single str"),
    "an empty target": ({"X_target": []}, ValueError, "X_target holds no texts"),
    "None in the target": ({"X_target": replaced(T, 6, None)}, TypeError, "X_target[6] is None"),
    "a target Domain with a blank": (
        {"X_target": Domain(["a", " "])},
        ValueError,
        "X_target[1] is empty",
    ),
    "y_val alone": ({"y_val": ["pos"]}, ValueError, "y_val was passed without X_val"),
    "X_val alone": ({"X_val": ["good"]}, ValueError, "y_val is None: X_val needs its labels"),
    "an unknown class in y_val": (
        {"X_val": ["good"], "y_val": ["meh"]},
        ValueError,
        "y_val has labels that the source does not have: ['meh']",
    ),
}

# parameters, the error, and words from its message
PARAMS: dict[str, tuple[dict, type[Exception], str]] = {
    "unknown method": (
        {"method": "dan"},
        ValueError,
        "method='dan' is not known; did you mean 'dann'? The methods are [",
    ),
    "unknown option": (
        {"method_options": {"depth": 3}},
        TypeError,
        "method_options={'depth': 3} do not fit",
    ),
    "a correction that is a number": (
        {"correct_prior": 1},
        ValueError,
        "correct_prior=1 must be one of [None, False, True, 'bbse', 'em']",
    ),
    "class weights as an array": (
        {"class_weight": np.array([1.0, 2.0])},
        ValueError,
        "must be 'balanced', None or a dict of class to weight",
    ),
    "two phases in a combination": (
        {"method": "adda+mcc"},
        ValueError,
        "method='adda+mcc': 'adda' trains in phases of its own and cannot be combined",
    ),
    "a student in a combination": (
        {"method": "student+shot"},
        ValueError,
        "method='student+shot': 'shot' trains in phases of its own and cannot be combined",
    ),
    "a student of no members": (
        {"method": "student", "method_options": {"members": 0}},
        ValueError,
        "members=0 of student must be a whole number of at least 1",
    ),
    "a student's phase that is none": (
        {"method": "student", "method_options": {"extra_epochs": 0}},
        ValueError,
        "extra_epochs=0 of student must be a whole number of at least 1",
    ),
    "fewer than no neighbours": (
        {"method": "student", "method_options": {"neighbors": -1}},
        ValueError,
        "neighbors=-1 of student must be a whole number of at least 0",
    ),
    "two phases in a combination, and one of another": (
        {"method": "mcc+shot"},
        ValueError,
        "method='mcc+shot': 'shot' trains in phases of its own and cannot be combined",
    ),
    "nothing left for the second phase to move": (
        {"method": "shot", "freeze_layers": 3},
        ValueError,
        "method='shot' moves the encoder, but freeze_layers leaves none of it to train",
    ),
    "nothing left for a discriminator to move": (
        {"method": "dann", "freeze_layers": 3},
        ValueError,
        "method='dann' moves the encoder, but freeze_layers leaves none of it to train",
    ),
    "nothing left for one of two to move": (
        {"method": "mcc+coral", "freeze_layers": 3},
        ValueError,
        "method='mcc+coral' moves the encoder, but freeze_layers leaves none of it to train",
    ),
    **{
        f"{option} of {method}": (
            {"method": method, "method_options": {option: value}},
            ValueError,
            f"{option}={value!r} of {method} must be a {words}",
        )
        for method, option, value, words in (
            ("dann", "width", 0, "whole number of at least 1"),
            ("dann", "width", "64", "whole number of at least 1"),
            ("dann", "discriminator_steps", -1, "whole number of at least 0"),
            ("dann", "label_smoothing", 2, "number of at least 0 and at most 1"),
            ("iwdan", "momentum", 7, "number above 0 and at most 1"),
            ("iwdan", "estimate_every", 0, "whole number of at least 1"),
            ("cdan", "max_width", 0, "whole number of at least 1"),
            ("wdgrl", "penalty", -1, "number of at least 0"),
            ("mcd", "width", 0.5, "whole number of at least 1"),
            ("mdd", "margin", -1, "number above 0"),
            ("mdan", "sharpness", 0, "number above 0"),
            ("mcc", "temperature", 0, "number above 0"),
            ("mcc", "temperature", "2", "number above 0"),
            ("bsp", "k", 0, "whole number of at least 1"),
            ("afn", "step", float("nan"), "number of at least 0"),
            ("adda", "width", True, "whole number of at least 1"),
            ("shot", "pseudo_weight", float("inf"), "number of at least 0"),
        )
    },
    "a negative strength of a part": (
        {"method": "dann+mcc", "method_options": {"mcc": {"strength": -1}}},
        ValueError,
        "strength=-1 of mcc must be a number of at least 0",
    ),
    "a strength in words": (
        {"method": "dann+mcc", "method_options": {"mcc": {"strength": "high"}}},
        ValueError,
        "strength='high' of mcc must be a number",
    ),
    "options in a list": (
        {"method": "dann+mcc", "method_options": ["width"]},
        TypeError,
        "method_options=['width'] must be a dict of keywords",
    ),
    "options of a part in a list": (
        {"method": "dann+mcc", "method_options": {"dann": ["width"]}},
        TypeError,
        "method_options['dann']=['width'] must be a dict of keywords",
    ),
    "a list of methods": ({"method": ["dann"]}, TypeError, "method=['dann'] must be a string"),
    "code by a word": (
        {"trust_remote_code": "false"},
        ValueError,
        "trust_remote_code='false' must be one of [False, True]",
    ),
    "no folder": (
        {"checkpoint_dir": "", "random_state": 0},
        ValueError,
        "checkpoint_dir='' is no folder",
    ),
    "nothing left for the target's encoder to move": (
        {"method": "adda", "freeze_layers": 3},
        ValueError,
        "method='adda' moves the encoder, but freeze_layers leaves none of it to train",
    ),
    "no second phase": (
        {"method": "adda", "method_options": {"extra_epochs": 0}},
        ValueError,
        "extra_epochs=0 of adda must be a whole number of at least 1",
    ),
    "a second phase of half an epoch": (
        {"method": "shot", "method_options": {"extra_epochs": 0.5}},
        ValueError,
        "extra_epochs=0.5 of shot must be a whole number of at least 1",
    ),
    "uniformity instead of diversity": (
        {"method": "shot", "method_options": {"diversity": -1}},
        ValueError,
        "diversity=-1 of shot must be a number of at least 0",
    ),
    "no masks": (
        {"method": "mlm", "method_options": {"probability": 0}},
        ValueError,
        "probability=0 of mlm must be a number above 0 and below 1",
    ),
    "too few epochs to train on own labels": (
        {"method": "mcc+self_training", "epochs": 1},
        ValueError,
        "epochs=1, but method='mcc+self_training' acts only from epoch 2 on",
    ),
    "a teacher that never moves": (
        {"method": "self_training", "method_options": {"teacher_momentum": 0}},
        ValueError,
        "teacher_momentum=0 of self_training must be a number above 0 and below 1",
    ),
    "more than all of the target": (
        {"method": "self_training", "method_options": {"max_share": 2}},
        ValueError,
        "max_share=2 of self_training must be a number above 0 and at most 1",
    ),
    "unknown pooling": (
        {"pooling": "max"},
        ValueError,
        "pooling='max' must be one of [None, 'mean', 'cls'",
    ),
    "unknown precision": ({"precision": "int8"}, ValueError, "precision='int8' must be one of"),
    "fp16 on a CPU": ({"precision": "fp16"}, ValueError, "precision='fp16' needs a GPU"),
    "unknown schedule": ({"strength_schedule": "cosine"}, ValueError, "strength_schedule='cosine'"),
    "no epochs": ({"epochs": 0}, ValueError, "epochs=0 must be a whole number of at least 1"),
    "half an epoch": ({"epochs": 1.5}, ValueError, "epochs=1.5 must be a whole number"),
    "epochs as text": ({"epochs": "3"}, ValueError, "epochs='3' must be a whole number"),
    "epochs as truth": ({"epochs": True}, ValueError, "epochs=True must be a whole number"),
    "a negative batch": ({"batch_size": -4}, ValueError, "batch_size=-4 must be a whole number"),
    "a negative rate": (
        {"learning_rate": -1e-5},
        ValueError,
        "learning_rate=-1e-05 must be a number above 0",
    ),
    "a zero rate": (
        {"head_learning_rate": 0},
        ValueError,
        "head_learning_rate=0 must be a number above 0",
    ),
    "an infinite rate": ({"learning_rate": float("inf")}, ValueError, "learning_rate=inf must be"),
    "a NaN rate": (
        {"discriminator_learning_rate": NAN},
        ValueError,
        "discriminator_learning_rate=nan",
    ),
    "a negative strength": (
        {"max_strength": -0.1},
        ValueError,
        "max_strength=-0.1 must be a number of at",
    ),
    "a NaN strength": ({"max_strength": NAN}, ValueError, "max_strength=nan must be a number"),
    "a warm-up above 1": (
        {"warmup": 2},
        ValueError,
        "warmup=2 must be a number of at least 0 and at most 0.9",
    ),
    "negative decay": ({"weight_decay": -1}, ValueError, "weight_decay=-1"),
    "all held out": ({"validation_fraction": 1.0}, ValueError, "validation_fraction=1.0"),
    "no patience": ({"patience": 0}, ValueError, "patience=0 must be a whole number of at least 1"),
    "a tolerance below none": (
        {"validation_tolerance": -1},
        ValueError,
        "validation_tolerance=-1 must be a number of at least 0",
    ),
    "patience without validation": (
        {"patience": 2, "validation_fraction": 0},
        ValueError,
        "patience=2 needs validation texts",
    ),
    "checkpoints without a seed": (
        {"checkpoint_dir": "x", "random_state": None},
        ValueError,
        "checkpoint_dir needs an integer random_state, not None",
    ),
    "unknown class weight": ({"class_weight": "even"}, ValueError, "class_weight='even' must be"),
    "a weight of no class": (
        {"class_weight": {"meh": 1}},
        ValueError,
        "class_weight names ['meh']",
    ),
    "bbse without validation": (
        {"correct_prior": "bbse", "validation_fraction": 0},
        ValueError,
        "correct_prior='bbse' needs a held-out source text of every class",
    ),
    "unknown correction": (
        {"correct_prior": "eye"},
        ValueError,
        "correct_prior='eye' must be one of",
    ),
    "negative layers": (
        {"freeze_layers": -1},
        ValueError,
        "freeze_layers=-1 must be a whole number",
    ),
    "too many layers": (
        {"freeze_layers": 9},
        ValueError,
        "freeze_layers=9, but the encoder has only 3 layers",
    ),
    "too long": (
        {"max_length": 4096},
        ValueError,
        "max_length=4096, but the encoder takes at most 64",
    ),
    "too short": (
        {"max_length": 2},
        ValueError,
        "max_length=2 must be a whole number of at least 3",
    ),
    "no such device": ({"device": "tpu9"}, ValueError, "device='tpu9' is not a device"),
    "a seed of text": ({"random_state": "x"}, ValueError, "random_state='x'"),
    "a seed that is a truth value": ({"random_state": True}, ValueError, "random_state=True: a bo"),
    "a negative seed": ({"random_state": -1}, ValueError, "random_state=-1 must be between 0"),
    "no such folder": (
        {"encoder": "./nowhere"},
        ValueError,
        "encoder folder './nowhere' does not exist",
    ),
    "no such hub model": (
        {"encoder": "no-such-model"},
        ValueError,
        "encoder 'no-such-model' cannot be loaded",
    ),
}


@pytest.fixture(autouse=True)
def no_training(monkeypatch):
    def run(*args, **kwargs):
        raise AssertionError("training started on bad input")

    monkeypatch.setattr("ignite.engine.Engine.run", run)


@pytest.mark.parametrize("case", TEXTS)
def test_bad_texts_and_labels(tiny, case):
    change, error, message = TEXTS[case]
    given = {"X": X, "y": Y, "X_target": T, **change}
    with pytest.raises(error, match=re.escape(message)):
        tiny().fit(given.pop("X"), given.pop("y"), **given)


@pytest.mark.parametrize("case", PARAMS)
def test_bad_parameters(tiny, case):
    change, error, message = PARAMS[case]
    adapter = tiny().set_params(**change)
    with pytest.raises(error, match=re.escape(message)):
        adapter.fit(X, Y, X_target=T)


@pytest.mark.parametrize("together", ["compare", "auto"])
def test_of_several_methods_none_is_trained_if_one_cannot_act(together, tiny):
    words = "method='dann' moves the encoder, but freeze_layers leaves none of it to train"
    options = {"candidates": ["dann"]}
    auto = tiny(method="auto", max_strength=None, method_options=options, freeze_layers=3)
    params = {"methods": ["dann"], "encoder": auto.encoder, "freeze_layers": 3}
    with pytest.raises(ValueError, match=words):
        auto.fit(X, Y, X_target=T) if together == "auto" else compare(X, Y, X_target=T, **params)


def test_there_are_at_least_forty_cases():
    assert len(TEXTS) + len(PARAMS) >= 40


@pytest.mark.parametrize("call", ["predict", "predict_proba", "transform"])
def test_predict_before_fit(tiny, call):
    with pytest.raises(NotFittedError):
        getattr(tiny(), call)(["good"])
    with pytest.raises(NotFittedError):
        tiny().save_pretrained("somewhere")
    with pytest.raises(NotFittedError, match="form_ is known only after a fit"):
        evaluation.evaluate(tiny(), ["good"], ["pos"])


def test_an_encoder_folder_without_a_tokenizer(tmp_path, tiny):
    folder = Path(make_tiny_encoder(tmp_path / "bare"))
    for file in folder.iterdir():
        if file.name not in {"config.json", "model.safetensors"}:
            file.unlink()
    with pytest.raises(ValueError, match=r"has no tokenizer .*tokenizer\.save_pretrained"):
        tiny(encoder=folder).fit(X, Y, X_target=T)


def test_an_encoder_folder_without_a_config(tmp_path, tiny):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ValueError, match=r"has no config.json \(it holds \['notes.txt'\]\)"):
        tiny(encoder=tmp_path).fit(X, Y, X_target=T)


def test_an_encoder_folder_with_damaged_weights(tmp_path, tiny):
    folder = Path(make_tiny_encoder(tmp_path / "cut"))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(ValueError, match="cannot be loaded: SafetensorError"):
        tiny(encoder=folder).fit(X, Y, X_target=T)


def test_pickled_weights_are_not_read(tmp_path, tiny):
    import torch
    from transformers import AutoModel

    folder = Path(make_tiny_encoder(tmp_path / "pickled"))
    torch.save(AutoModel.from_pretrained(folder).state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="has its weights only as a pickle"):
        tiny(encoder=folder).fit(X, Y, X_target=T)


def test_pooler_without_a_pooler(tmp_path, tiny):
    from transformers import AutoTokenizer, DistilBertConfig, DistilBertModel

    tokenizer = AutoTokenizer.from_pretrained(tiny().encoder)
    config = DistilBertConfig(
        vocab_size=len(tokenizer), dim=16, n_layers=2, n_heads=2, hidden_dim=32
    )
    DistilBertModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="needs a pooler, which DistilBertModel does not have"):
        tiny(encoder=tmp_path, pooling="pooler").fit(X, Y, X_target=T)


def test_an_unwritable_output_folder_is_found_before_training(tmp_path, fitted):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="cannot write to"):
        fitted.save_pretrained(tmp_path / "file" / "model")
    with pytest.raises(ValueError, match="is a file; name a folder"):
        fitted.save_pretrained(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "x"


def test_a_missing_gpu_is_named():
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ValueError, match="torch sees no CUDA GPU; use device='cpu'"):
        DomainAdapter("x", device="cuda").fit(X, Y, X_target=T)


def test_mlm_needs_a_mask_token(tmp_path, tiny):
    from transformers import AutoTokenizer

    folder = make_tiny_encoder(tmp_path / "unmasked")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.mask_token = None
    tokenizer.save_pretrained(folder)
    with pytest.raises(ValueError, match="method 'mlm' needs a tokenizer with a mask token"):
        tiny(encoder=folder, method="mlm").fit(X, Y, X_target=T)

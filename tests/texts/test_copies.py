from __future__ import annotations

import warnings

import numpy as np
import pytest
from conftest import TINY, toy_texts

from dann_transfer import DomainAdapter, compare
from dann_transfer.texts.copies import CopyWarning, canonical, groups_of
from dann_transfer.texts.weights import hold_out

ALIKE = ["Great film", "great  FILM", " great film\n", "ｇｒｅａｔ film", "GREAT FILM"]


def test_copies_differ_in_case_space_and_forms_alone():
    assert len({canonical(text) for text in ALIKE}) == 1
    assert canonical("great films") != canonical("great film")
    assert groups_of([*ALIKE, "other", *ALIKE]).tolist() == [0] * 5 + [5] + [0] * 5


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5])
def test_copies_stay_on_one_side(seed, fraction):
    rng = np.random.default_rng(seed)
    groups = np.sort(rng.integers(60, size=200))
    groups = np.searchsorted(groups, groups)
    codes = groups % 3
    train, held = hold_out(codes, fraction, seed, groups)
    assert sorted([*train, *held]) == list(range(200))
    assert not set(groups[train]) & set(groups[held])
    assert set(codes[train]) == set(codes)
    distinct = len(np.unique(groups))
    assert abs(len(np.unique(groups[held])) / distinct - fraction) < 0.1


def test_without_copies_the_split_is_as_it_was():
    """The split of scikit-learn with the same draw, on which stored figures rest."""
    from sklearn.model_selection import train_test_split

    from dann_transfer.ground import streams

    codes = np.arange(300) % 2
    draw = streams.number(7, streams.HELD_OUT, bits=32)
    expected = train_test_split(np.arange(300), test_size=30, stratify=codes, random_state=draw)
    train, held = hold_out(codes, 0.1, 7, np.arange(300))
    assert (train == expected[0]).all()
    assert (held == expected[1]).all()


def test_a_class_with_one_distinct_text_trains_and_is_not_held_out():
    codes = np.array([0] * 20 + [1] * 20 + [2] * 5)
    groups = np.array([*range(40), 40, 40, 40, 40, 40])
    train, held = hold_out(codes, 0.2, 0, groups)
    assert set(range(40, 45)) <= set(train)
    assert set(codes[held]) == {0, 1}


def test_many_classes_of_few_texts_lose_few_texts():
    """150 classes of two texts: a tenth is held out, and no class loses both of its texts."""
    codes = np.repeat(np.arange(150), 2)
    train, held = hold_out(codes, 0.1, 0)
    assert len(held) == 30
    assert len(set(codes[held])) == 30
    assert set(codes[train]) == set(range(150))


def test_random_labels_of_repeated_texts_are_not_predicted(tiny):
    """Each text five times with a label drawn at random: right by heart, were copies held out."""
    words = ("film", "plot", "actor", "scene", "tweet", "lol", "omg", "today", "friend", "the")
    texts = [f"{a} {b} {c}" for a in words for b in words[:4] for c in words[:2]]
    labels = np.where(np.random.default_rng(1).random(len(texts)) > 0.5, "pos", "neg").tolist()
    adapter = tiny(method="source_only", epochs=20, validation_fraction=0.3)
    adapter.fit(texts * 5, labels * 5)
    assert adapter.validation_[-1]["validation_accuracy"] < 0.68


def test_judged_texts_that_are_trained_on_are_counted(tiny_encoder, source, target):
    params = {**TINY, "encoder": tiny_encoder, "epochs": 1}
    del params["random_state"]
    X, y = source
    learnt, known = toy_texts(8, "tweet lol", 3)
    with pytest.warns(CopyWarning, match=r"90 of 90 texts of X_target_test are also in X, with"):
        compare(X, y, X_target=target, X_target_test=X, y_target_test=y, methods=[], **params)
    labelled = {"X_target_labelled": learnt, "y_target_labelled": known}
    tests = {"X_target_test": [*learnt, "omg"], "y_target_test": [*known, "pos"]}
    with pytest.warns(CopyWarning, match=r"8 of 9 texts of X_target_test are also in X_target_lab"):
        compare(X, y, X_target=target, methods=[], **labelled, **tests, **params)
    adapter = DomainAdapter(**{**params, "method": "source_only", "max_strength": None})
    with pytest.warns(CopyWarning, match=r"10 of 10 texts of X_val are also in X"):
        adapter.fit(X, y, X_val=X[:10], y_val=y[:10])
    with warnings.catch_warnings():
        warnings.simplefilter("error", CopyWarning)
        adapter.fit(X, y, X_val=["omg good", "lol bad"], y_val=["pos", "neg"])

from __future__ import annotations

import numpy as np
import pytest
from conftest import TINY, toy_texts

from dann_transfer import DomainAdapter, compare
from dann_transfer.choice import candidates, choose

pytestmark = pytest.mark.filterwarnings("ignore::dann_transfer.diagnostics.CollapseWarning")
OPTIONS = {"candidates": ["dann", "mcc"]}


def probabilities(codes: np.ndarray, confidence: float = 0.9) -> np.ndarray:
    p = np.full((len(codes), 2), 1 - confidence)
    p[np.arange(len(codes)), codes] = confidence
    return p


def test_the_model_nearest_to_the_mean_is_kept():
    truth = np.arange(200) % 2
    wrong = truth.copy()
    wrong[:60] = 1 - wrong[:60]
    other = truth.copy()
    other[100:110] = 1 - other[100:110]
    pool = {"source_only": probabilities(wrong), "mcc": probabilities(other)}
    chosen = choose({**pool, "student": probabilities(truth)})
    # The mean is the vote: right everywhere, since no two err on one text.
    assert chosen.method == "student"
    assert [row["agreement"] for row in chosen.rows] == [0.7, 0.95, 1.0]
    assert [row["changed"] for row in chosen.rows] == [0.0, 70 / 200, 60 / 200]
    assert "student is kept: 100.0%" in str(chosen)


def test_thin_evidence_keeps_source_only():
    truth = np.arange(200) % 2
    wrong = truth.copy()
    wrong[:3] = 1 - wrong[:3]
    pool = {
        "source_only": probabilities(wrong),
        "mcc": probabilities(truth),
        "student": probabilities(truth),
    }
    chosen = choose(pool)
    assert chosen.method == "source_only"
    assert "but not for sure" in chosen.reason
    alike = dict.fromkeys(pool, probabilities(truth))
    assert "none agrees more with the mean" in choose(alike).reason


def test_auto_becomes_the_candidate_that_it_names(tiny, source, target, tmp_path):
    adapter = tiny(method="auto", max_strength=None, method_options=OPTIONS).fit(
        *source, X_target=target
    )
    pool = {
        name: tiny(method=name, max_strength=None).fit(*source, X_target=target)
        for name in ("source_only", "dann", "mcc")
    }
    chosen = choose({name: own.predict_proba(target) for name, own in pool.items()})
    assert adapter.choice_ == chosen
    texts = toy_texts(20, "tweet lol omg", 3)[0]
    expected = pool[chosen.method].predict_proba(texts)
    assert (adapter.predict_proba(texts) == expected).all()
    assert adapter.params_["method"] == "auto"
    adapter.save_pretrained(tmp_path / "model")
    again = DomainAdapter.from_pretrained(tmp_path / "model")
    assert again.choice_ == chosen
    assert (again.predict_proba(texts) == expected).all()
    assert pool["dann"].choice_ is None


def test_auto_goes_on_from_checkpoints(tiny, source, target, tmp_path):
    auto = {
        "method": "auto",
        "max_strength": None,
        "method_options": OPTIONS,
        "checkpoint_dir": tmp_path,
    }
    first = tiny(**auto).fit(*source, X_target=target)
    steps: list[int] = []
    again = tiny(**auto).fit(
        *source, X_target=target, on_step=lambda engine, _: steps.append(engine.state.iteration)
    )
    assert not steps, "finished candidates are not trained again"
    assert again.choice_ == first.choice_
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dann", "mcc", "source_only"]


def test_corrupt_target_labels_change_no_choice(tiny, source, target):
    from dann_transfer import Domain

    made = [
        tiny(method="auto", max_strength=None, method_options=OPTIONS).fit(
            *source,
            X_target=Domain(target, np.random.default_rng(seed).permutation(["a", "b"] * 35)),
        )
        for seed in (0, 1)
    ]
    assert made[0].choice_ == made[1].choice_
    assert made[0].findings_ == made[1].findings_
    assert (made[0].suggest(target, 5) == made[1].suggest(target, 5)).all()
    assert (made[0].predict_proba(target) == made[1].predict_proba(target)).all()


def test_auto_in_compare(tiny_encoder, source, target):
    params = {k: v for k, v in TINY.items() if k not in {"random_state", "max_strength"}}
    result = compare(
        *source, X_target=target, methods=["auto"], encoder=tiny_encoder, **{**params, "epochs": 1},
        method_options={"candidates": ["dann"]},
    )  # fmt: skip
    assert [row["method"] for row in result.rows] == ["source_only", "auto"]
    assert result.adapters["auto"].choice_.method in {"source_only", "dann"}


@pytest.mark.parametrize(
    ("params", "error", "words"),
    [
        ({"max_strength": 0.3}, ValueError, r"max_strength=0\.3 means something else to each"),
        (
            {"method_options": {"width": 3}},
            TypeError,
            r"takes \{'candidates': \[...\]\} and nothing",
        ),
        ({"method_options": {"candidates": []}}, ValueError, "a list of one or more"),
        ({"method_options": {"candidates": "mcc"}}, ValueError, "candidates='mcc' of"),
        ({"method_options": {"candidates": None}}, ValueError, "candidates=None of"),
        ({"method_options": {"candidates": ["auto"]}}, ValueError, "a list of one or more"),
        ({"method_options": {"candidates": ["mcc", "mcc"]}}, ValueError, "each once"),
        ({"method_options": {"candidates": ["dan"]}}, ValueError, "method='dan' is not known"),
        ({"epochs": 1, "method_options": {"candidates": ["self_training"]}}, ValueError, "epoch 2"),
    ],
    ids=str,
)
def test_bad_input_is_named_before_any_training(params, error, words, tiny, source, target):
    def train(engine: object, model: object) -> None:
        pytest.fail("training started")

    given = {"max_strength": None, **params}
    with pytest.raises(error, match=words):
        tiny(method="auto", **given).fit(*source, X_target=target, on_step=train)


def test_auto_needs_a_target(tiny, source):
    with pytest.raises(ValueError, match="method='auto' adapts to a target domain"):
        tiny(method="auto", max_strength=None).fit(*source)
    assert candidates("dann", None) == {"dann": None}


def test_each_fold_of_a_search_chooses_in_a_folder_of_its_own(tiny, source, target, tmp_path):
    from sklearn.model_selection import GridSearchCV

    from dann_transfer import Domain

    auto = tiny(
        method="auto", max_strength=None, method_options={"candidates": ["mcc"]}, epochs=1,
        checkpoint_dir=tmp_path,
    )  # fmt: skip
    search = GridSearchCV(auto, {"learning_rate": [1e-3, 2e-3]}, cv=2, error_score="raise")
    search.fit(*source, X_target=Domain(target))
    assert search.best_estimator_.choice_.method in {"source_only", "mcc"}


def test_compare_refuses_what_auto_refuses_before_any_training(tiny_encoder, source, target):
    with pytest.raises(ValueError, match=r"max_strength=0\.5 means something else"):
        compare(*source, X_target=target, methods=["auto"], encoder=tiny_encoder, max_strength=0.5)

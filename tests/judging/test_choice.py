from __future__ import annotations

import json
import shutil
import warnings

import numpy as np
import pytest
from conftest import TINY, toy_texts
from scipy.stats import entropy

from dann_transfer import DomainAdapter, compare
from dann_transfer.fitting import run
from dann_transfer.fitting.auto import candidates
from dann_transfer.ground.options import CANDIDATES_COMPLETED
from dann_transfer.judging.choice import choose
from dann_transfer.judging.diagnostics import CollapseWarning
from dann_transfer.judging.findings import FindingWarning

pytestmark = pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning")
OPTIONS = {"candidates": ["dann", "mcc"]}


def probabilities(codes: np.ndarray, confidence: float = 0.9) -> np.ndarray:
    p = np.full((len(codes), 2), 1 - confidence)
    p[np.arange(len(codes)), codes] = confidence
    return p


def test_the_model_with_most_information_is_kept():
    truth = np.arange(200) % 2
    pool = {
        "source_only": probabilities(truth, 0.6),
        "mcc": probabilities(truth, 0.8),
        "student": probabilities(truth, 0.95),
        # Sure, but of the same class for every text, which says nothing about the texts.
        "shot": probabilities(np.zeros(200, dtype=int), 0.99),
    }
    chosen = choose(pool)
    assert chosen.method == "student"
    for row in chosen.rows:
        p = pool[row["method"]]
        direct = entropy(p.mean(0)) - entropy(p, axis=1).mean()
        assert row["information_maximization"] == pytest.approx(direct)
    assert [row["changed"] for row in chosen.rows] == [0, 0, 0, 0.5]
    assert [row["agreement"] for row in chosen.rows] == [1, 1, 1, 0.5]
    assert "student is kept: its information maximisation is 0.495, and 0.020" in str(chosen)


def test_models_that_hardly_separate_the_classes_are_not_chosen_among():
    truth = np.arange(200) % 2
    pool = {"source_only": probabilities(truth, 0.6), "student": probabilities(truth, 0.75)}
    chosen = choose(pool)
    assert chosen.method == "source_only"
    assert "student is the surest, but its information maximisation is 0.131" in str(chosen)
    assert "of at most 0.693, and no choice below 25% of that has proved reliable" in str(chosen)
    assert choose({**pool, "mcc": probabilities(truth, 0.85)}).method == "mcc"


def test_thin_evidence_keeps_source_only():
    rng = np.random.default_rng(0)
    truth = np.arange(200) % 2
    confidence = rng.uniform(0.5, 1, size=200)
    before = np.where(np.eye(2)[truth] > 0, confidence[:, None], 1 - confidence[:, None])
    after = before.copy()
    after[:40] = before[rng.permutation(200)[:40]]
    chosen = choose({"source_only": before, "mcc": after})
    assert chosen.method == "source_only"
    surer = choose({"source_only": before, "mcc": probabilities(truth, 0.999)})
    assert surer.method == "mcc"
    alike = dict.fromkeys(("source_only", "mcc"), before)
    assert "no other has more information" in choose(alike).reason


def test_lopsided_classes_keep_source_only_and_train_nothing_else(tiny, target):
    texts, labels = toy_texts(120, "film plot actor scene the", 0)
    rare = [i for i, label in enumerate(labels) if label == "pos"][:12]
    rows = rare + [i for i, label in enumerate(labels) if label == "neg"]
    few = [texts[i] for i in rows], [labels[i] for i in rows]
    steps, ended = [], []

    def attach(engine):
        engine.add_event_handler(CANDIDATES_COMPLETED, lambda: ended.append(engine.state.candidate))

    adapter = tiny(method="auto", max_strength=None, epochs=1).fit(
        *few,
        X_target=target,
        on_step=lambda engine, _: steps.append(engine.state.iteration),
        attach=attach,
    )
    assert adapter.choice_.method == "source_only"
    assert "are so unequal no score" in adapter.choice_.reason
    assert len(steps) == len(adapter.history_)
    assert ended == ["source_only"]


def test_lopsided_classes_that_source_only_does_not_learn_are_tried_with_the_others(tiny, target):
    texts = toy_texts(200, "film plot actor scene the", 0)[0]
    chance = np.random.default_rng(0).choice(["a", "b"], 200, p=[0.8, 0.2]).tolist()
    learner = tiny(method="auto", max_strength=None, epochs=1, validation_fraction=0.3)
    with pytest.warns(FindingWarning, match="unlearnt source"):
        learner.fit(texts, chance, X_target=target)
    assert [row["method"] for row in learner.choice_.rows] == ["source_only", "mcc", "student"]
    assert learner.choice_.method == "source_only"
    assert "no other has" in learner.choice_.reason


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


def test_auto_warns_of_no_candidate_that_it_rejects(tiny, source, target, monkeypatch):
    train = run.train

    def warning(params, *rest):
        for category in (CollapseWarning, UserWarning):
            warnings.warn(f"{category.__name__} of {params['method']}", category, stacklevel=1)
        return train(params, *rest)

    monkeypatch.setattr(run, "train", warning)
    auto = tiny(method="auto", max_strength=None, epochs=1, method_options={"candidates": ["mcc"]})
    with pytest.warns(UserWarning, match="of mcc") as caught:
        auto.fit(*source, X_target=target)
    said = {str(warning.message) for warning in caught}
    assert {"UserWarning of source_only", "UserWarning of mcc"} <= said
    of_one = {text for text in said if text.startswith("CollapseWarning of ")}
    assert of_one == {f"CollapseWarning of {auto.choice_.method}"}


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
        ({"max_strength": 0.3}, ValueError, r"max_strength=0\.3 means something different to each"),
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
    with pytest.raises(ValueError, match=r"max_strength=0\.5 means something different"):
        compare(*source, X_target=target, methods=["auto"], encoder=tiny_encoder, max_strength=0.5)


@pytest.mark.parametrize(("confidence", "texts"), [(0.999, 200), (0.99, 1000), (0.9, 1000)])
def test_among_equal_models_another_than_source_only_is_rarely_kept(confidence, texts):
    rng = np.random.default_rng(0)
    kept = 0
    for _ in range(200):
        truth = rng.integers(2, size=texts)
        pool = {
            name: probabilities(np.where(rng.random(texts) < 0.9, truth, 1 - truth), confidence)
            for name in ("source_only", "mcc")
        }
        kept += choose(pool).method == "mcc"
    # One in forty, if the standard error is right.
    assert kept <= 12


@pytest.mark.parametrize("names", [[1], [["mcc"]], {"mcc": 1}, iter(["mcc"]), 3])
def test_candidates_are_a_list_of_names(names):
    with pytest.raises(ValueError, match="of method='auto' must be a list of one or more of"):
        candidates("auto", {"candidates": names})


def test_what_no_encoder_can_do_is_said_before_any_training(tiny_encoder, source, target, tmp_path):
    folder = tmp_path / "encoder"
    shutil.copytree(tiny_encoder, folder)
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / file).is_file():
            config = json.loads((folder / file).read_text())
            (folder / file).write_text(json.dumps({**config, "mask_token": None}))
    steps = []
    auto = {"method": "auto", "method_options": {"candidates": ["mcc", "mlm"]}}
    adapter = DomainAdapter(**{**TINY, "encoder": str(folder), "max_strength": None, **auto})
    with pytest.raises(ValueError, match="'mlm' needs a tokenizer with a mask token"):
        adapter.fit(*source, X_target=target, attach=steps.append)
    settings = {"encoder": str(folder), "max_length": 32, "progress": False}
    with pytest.raises(ValueError, match="'mlm' needs a tokenizer with a mask token"):
        compare(*source, X_target=target, methods=["mcc", "mlm"], checkpoint_dir=tmp_path / "c",
                **settings)  # fmt: skip
    assert not steps
    assert not (tmp_path / "c").exists()


def pool_of(baseline: np.ndarray, candidate: np.ndarray, sure: float = 0.95):
    """Return probabilities of two models that answer so, the second with more certainty."""
    k = int(max(baseline.max(), candidate.max())) + 1
    low, high = (
        np.where(np.eye(k)[codes], share, (1 - share) / (k - 1))
        for codes, share in ((baseline, 0.6), (candidate, sure))
    )
    return {"source_only": low, "student": high}


def test_a_model_that_loses_a_class_is_left_out():
    """Seven of 22 classes gone, and surer than before: what information maximisation rewards."""
    codes = np.repeat(np.arange(22), 20)
    lost = np.where(codes < 7, codes + 7, codes)
    pool = pool_of(codes, lost)
    names = [f"intent {i}" for i in range(22)]
    chosen = choose(pool, names)
    assert chosen.method == "source_only"
    assert "it hardly predicts 'intent 0' and 6 other classes, which" in chosen.reason
    assert chosen.rows[1]["information_maximization"] > chosen.rows[0]["information_maximization"]
    # One class in which source-only sees three texts may be a mistake of source-only.
    rare = codes.copy()
    rare[:] = np.where(codes == 21, 20, codes)
    rare[-3:] = 21
    assert choose(pool_of(rare, np.where(rare == 21, 20, rare)), names).method == "student"


def test_a_model_that_contradicts_source_only_where_it_is_surest_is_left_out():
    codes = np.arange(400) % 2
    pool = pool_of(codes, codes)
    pool["source_only"][:200] = np.where(np.eye(2)[codes[:200]], 0.9, 0.1)
    flipped = pool["student"].copy()
    flipped[:50] = flipped[:50, ::-1]
    chosen = choose({**pool, "student": flipped})
    assert chosen.method == "source_only"
    assert "labels 25% of the texts differently of which source_only is surest" in chosen.reason
    # As many changes among those of which it is not sure are what adapting is for.
    flipped = pool["student"].copy()
    flipped[200:300] = flipped[200:300, ::-1]
    assert choose({**pool, "student": flipped}).method == "student"


def test_severe_findings_leave_a_model_out_and_an_unlearnt_source_decides():
    codes = np.arange(300) % 3
    pool = pool_of(codes, codes)
    assert choose(pool).method == "student"
    chosen = choose(pool, None, {"student": ["collapsed class"]})
    assert chosen.method == "source_only"
    assert "student was left out, because the doctor finds: collapsed class" in chosen.reason
    unlearnt = {"source_only": ["unlearnt source"]}
    chosen = choose(pool, None, {**unlearnt, "student": ["unlearnt source"]})
    assert (chosen.method, "no other has" in chosen.reason) == ("source_only", True)
    # What an ignorant model predicts is no measure of another.
    pool["source_only"] = pool["source_only"][:, [1, 2, 0]]
    chosen = choose(pool, None, unlearnt)
    assert (chosen.method, "and student has" in chosen.reason) == ("student", True)


def test_a_model_left_out_does_not_hide_another():
    codes = np.arange(300) % 3
    pool = pool_of(codes, codes)
    pool["mcc"] = pool_of(codes, np.minimum(codes, 1), 0.99)["student"]
    chosen = choose(pool)
    assert chosen.method == "student"
    assert "mcc was left out, because it hardly predicts 2" in chosen.reason

from __future__ import annotations

import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from conftest import same, toy_texts, weights
from joblib import parallel_config
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from dann_transfer import Domain, DomainAdapter
from dann_transfer.judging.diagnostics import CollapseWarning
from dann_transfer.texts.reading import EmptyTextWarning
from dann_transfer.texts.tokens import TruncationWarning, UnknownTokensWarning, tokenize

pytestmark = pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning")


def test_it_learns_and_speaks_the_users_labels(fitted, source, target):
    assert fitted.classes_.tolist() == ["neg", "pos"]
    assert fitted.score(*source) > 0.9
    predicted = fitted.predict(target)
    assert predicted.shape == (len(target),)
    assert set(predicted) <= {"neg", "pos"}
    probabilities = fitted.predict_proba(target)
    assert probabilities.shape == (len(target), 2)
    assert np.allclose(probabilities.sum(1), 1, atol=1e-6)
    assert (fitted.classes_[probabilities.argmax(1)] == predicted).all()
    assert fitted.transform(target).shape == (len(target), 32)
    assert len(fitted.get_feature_names_out()) == 32


def test_the_order_of_texts_does_not_matter(fitted, target):
    mixed = sorted(target, key=len)
    at_once = dict(zip(target, fitted.predict_proba(target)[:, 0], strict=True))
    for text, probability in zip(mixed, fitted.predict_proba(mixed)[:, 0], strict=True):
        assert probability == pytest.approx(at_once[text], abs=1e-5)
    one = fitted.predict_proba(target[:1])[0, 0]
    assert one == pytest.approx(at_once[target[0]], abs=1e-5)


@pytest.mark.parametrize("labels", [[7, 3], [True, False], ["ja", "nein"], [1.0, 0.0]])
def test_labels_of_any_type_come_back(tiny, source, target, labels):
    y = [labels[0] if label == "pos" else labels[1] for label in source[1]]
    predicted = tiny(epochs=1).fit(source[0], y, X_target=target).predict(target)
    assert set(predicted.tolist()) <= set(labels)
    assert type(predicted.tolist()[0]) is type(labels[0])


def test_target_labels_cannot_matter(tiny, source, target):
    frames = [pd.DataFrame({"text": target, "label": y}) for y in ("pos", "neg")]
    one, two = (tiny().fit(*source, X_target=frame) for frame in frames)
    domain = tiny().fit(*source, X_target=Domain(target, ["corrupt"] * len(target)))
    assert same(weights(one), weights(two))
    assert same(weights(one), weights(domain))


def test_every_container_gives_the_same_model(tiny, source, target):
    texts, labels = source
    plain = tiny(epochs=1).fit(texts, labels, X_target=target)
    frame = pd.DataFrame({"text": texts, "label": labels}, index=range(5, 5 + len(texts)))
    others = [
        tiny(epochs=1).fit(tuple(texts), np.array(labels), X_target=np.array(target)),
        tiny(epochs=1).fit(pd.Series(texts), pd.Series(labels), X_target=pd.Series(target)),
        tiny(epochs=1).fit(frame, X_target=Domain(target)),
    ]
    assert all(same(weights(plain), weights(other)) for other in others)


def test_source_only_needs_no_target_and_starts_from_the_same_head(tiny, source, target):
    alone = tiny(method="source_only").fit(*source)
    beside = tiny(method="source_only").fit(*source, X_target=target)
    assert same(weights(alone), weights(beside))
    assert "domain_loss" not in alone.history_[0]


def test_validation_texts_can_be_given(tiny, source, target):
    texts, labels = source
    adapter = tiny().fit(texts, labels, X_target=target, X_val=texts[:10], y_val=labels[:10])
    assert [row["epoch"] for row in adapter.validation_] == [1, 2]
    without = tiny(validation_fraction=0).fit(texts, labels, X_target=target)
    assert without.validation_ == []


def test_parameters_clone_and_survive(tiny):
    adapter = tiny(max_strength=0.3, method_options={"width": 64})
    twin = clone(adapter)
    assert twin is not adapter
    assert twin.get_params() == adapter.get_params()
    assert not hasattr(twin, "classes_")
    assert adapter.set_params(epochs=7).epochs == 7
    with pytest.raises(ValueError, match="epoch"):
        adapter.set_params(epoch=7)
    assert "max_strength=0.3" in repr(adapter)


def test_fit_does_not_touch_parameters(tiny, source, target):
    options = {"width": 64}
    adapter = tiny(epochs=1, method_options=options)
    before = adapter.get_params()
    adapter.fit(*source, X_target=target)
    assert adapter.get_params() == before
    assert options == {"width": 64}


def test_pipeline(tiny, source, target):
    lower = FunctionTransformer(lambda texts: [text.lower() for text in texts])
    pipeline = make_pipeline(lower, tiny(epochs=8))
    pipeline.fit([text.upper() for text in source[0]], source[1], domainadapter__X_target=target)
    assert pipeline.score(*source) > 0.9


@pytest.mark.parametrize("n_target", [70, 90])
def test_grid_search(tiny, source, n_target):
    """A target as long as X (90 texts) is sliced by scikit-learn unless it comes as a Domain."""
    target = toy_texts(n_target, "tweet lol omg today friend", 1)[0]
    search = GridSearchCV(tiny(epochs=1), {"max_strength": [0.0, 0.2]}, cv=2, error_score="raise")
    search.fit(*source, X_target=Domain(target))
    assert search.best_estimator_.n_target_ == n_target
    assert set(search.cv_results_["param_max_strength"]) == {0.0, 0.2}
    seen = []

    class Spy(DomainAdapter):
        def fit(self, X, y=None, *, X_target=None):
            seen.append(len(X_target.texts if isinstance(X_target, Domain) else X_target))
            return super().fit(X, y, X_target=X_target)

        __init__ = DomainAdapter.__init__

    def run(X_target):
        seen.clear()
        spy = Spy(**tiny(epochs=1).get_params())
        GridSearchCV(spy, {"pooling": ["mean"]}, cv=2, error_score="raise").fit(
            *source, X_target=X_target
        )
        return list(seen)

    assert run(Domain(target)) == [n_target] * 3
    assert run(target) == ([70] * 3 if n_target == 70 else [45, 45, 90])


def test_texts_that_weigh_nothing_teach_nothing(tiny, source, target):
    texts, labels = source
    wrong = ["pos" if label == "neg" else "neg" for label in labels]
    weights = [1.0] * len(texts) + [0.0] * len(texts)
    adapter = tiny(epochs=8, validation_fraction=0)
    adapter.fit(texts * 2, labels + wrong, X_target=target, sample_weight=weights)
    assert adapter.score(texts, labels) > 0.9


def test_a_class_that_weighs_nothing_breaks_nothing(tiny, source, target):
    adapter = tiny(epochs=1, class_weight={"neg": 0.0, "pos": 1.0}, correct_prior="em")
    adapter.fit(*source, X_target=target)
    assert adapter.source_prior_.tolist() == [0.0, 1.0]
    assert np.isfinite(adapter.predict_proba(target)).all()


def test_the_source_prior_is_that_of_the_weights(tiny, source, target):
    labels = ["pos"] * 9 + ["neg"] * 81
    adapter = tiny(epochs=1, class_weight="balanced", validation_fraction=0)
    assert adapter.fit(source[0], labels, X_target=target).source_prior_ == pytest.approx(
        [0.5, 0.5]
    )


def test_balanced_classes_find_the_rare_one(tiny, source, target):
    texts, labels = source
    rare = [i for i, label in enumerate(labels) if label == "pos"][:5]
    kept = [i for i, label in enumerate(labels) if label == "neg" or i in rare]
    X, y = [texts[i] for i in kept], [labels[i] for i in kept]
    found = {}
    for class_weight in (None, "balanced", {"pos": 50.0}):
        adapter = tiny(epochs=4, validation_fraction=0, class_weight=class_weight)
        predicted = adapter.fit(X, y, X_target=target).predict(texts)
        found[str(class_weight)] = (predicted == "pos").mean()
    assert found["None"] < found["balanced"]
    assert found["None"] < found["{'pos': 50.0}"]


def test_a_shifted_prior_is_estimated_and_corrected(tiny, source, tmp_path):
    texts, labels = toy_texts(400, "tweet lol omg today friend", 1)
    # Nine good texts for each bad one, while the source has equally many of each.
    kept = [i for i in range(400) if labels[i] == "pos" or i % 18 == 0]
    target = [texts[i] for i in kept]
    share = np.mean([labels[i] == "pos" for i in kept])
    adapter = tiny(method="source_only", epochs=8, validation_fraction=0.3)
    adapter.fit(*source, X_target=target)
    assert adapter.source_prior_ == pytest.approx([0.5, 0.5], abs=0.02)
    assert set(adapter.target_prior_) == {"em", "bbse"}
    for prior in adapter.target_prior_.values():
        assert prior.sum() == pytest.approx(1)
        assert prior[1] == pytest.approx(share, abs=0.12)
    plain = adapter.predict_proba(texts)
    adapter.set_params(correct_prior="em")
    corrected = adapter.predict_proba(texts)
    # The calibrated logits, plus the log odds of the prior.
    prior, calibration = adapter.target_prior_["em"], adapter.calibration_
    odds = np.log(plain[:, 1] / plain[:, 0]) / calibration.temperature
    odds += calibration.bias[1] - calibration.bias[0]
    odds += np.log(prior[1] / prior[0]) - np.log(calibration.prior[1] / calibration.prior[0])
    assert np.allclose(np.log(corrected[:, 1] / corrected[:, 0]), odds, atol=1e-3)
    adapter.save_pretrained(tmp_path / "m")
    loaded = DomainAdapter.from_pretrained(tmp_path / "m")
    assert (loaded.predict_proba(texts) == corrected).all()
    alone = tiny(method="source_only", epochs=1).fit(*source).set_params(correct_prior="em")
    with pytest.raises(ValueError, match="was not estimated when the model was fitted"):
        alone.predict(texts)


def test_pickle(fitted, target):
    twin = pickle.loads(pickle.dumps(fitted))
    assert (twin.predict_proba(target) == fitted.predict_proba(target)).all()


def test_long_texts_are_counted_in_one_warning(tiny, source, target):
    long = [*target[:-3], *["good lol " * 40] * 3]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        adapter = tiny(epochs=1).fit(*source, X_target=long)
    told = [str(w.message) for w in caught if issubclass(w.category, TruncationWarning)]
    assert len(told) == 1
    assert told[0].startswith("3 of 70 target texts are longer than max_length=32 tokens")
    assert adapter.truncated_ == {"source": 0, "validation": 0, "target": 3}
    with pytest.warns(TruncationWarning, match="1 of 2 given texts"):
        adapter.predict(["good", "bad " * 50])


def test_a_collapse_is_told(tiny, source, target):
    with pytest.warns(CollapseWarning, match="Lower max_strength, freeze more layers, or compare"):
        tiny(epochs=1, learning_rate=0.3).fit(*source, X_target=target)


def test_random_state_none_is_recorded(tiny, source, target):
    adapter = tiny(random_state=None, epochs=1).fit(*source, X_target=target)
    again = tiny(random_state=adapter.seed_, epochs=1).fit(*source, X_target=target)
    assert same(weights(adapter), weights(again))
    legacy = tiny(random_state=np.random.RandomState(3), epochs=1).fit(*source, X_target=target)
    assert isinstance(legacy.seed_, int)


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
def test_poolings(tiny, source, target, pooling):
    adapter = tiny(pooling=pooling, epochs=1).fit(*source, X_target=target)
    features = adapter.transform(target)
    assert np.isfinite(features).all()
    alone = np.concatenate([adapter.transform([text]) for text in target[:5]])
    # A text's features do not depend on how far its batch was padded.
    assert np.allclose(features[:5], alone, atol=1e-5)


def test_several_sources_train_as_one(tiny, source, target):
    X, y = source
    named = {"a": (X[:50], y[:50]), "b": Domain(X[50:], y[50:])}
    one, several = tiny().fit(X, y, X_target=target), tiny().fit(named, X_target=target)
    assert same(weights(one), weights(several))
    assert one.source_domains_ == []
    assert several.source_domains_ == ["a", "b"]
    frames = {
        k: pd.DataFrame({"text": X[s], "label": y[s]})
        for k, s in (("a", slice(50)), ("b", slice(50, None)))
    }
    assert same(weights(tiny().fit(frames, X_target=target)), weights(several))


@pytest.mark.filterwarnings("ignore::dann_transfer.texts.tokens.TruncationWarning")
def test_one_model_is_asked_from_several_threads(tiny, source, target):
    adapter = tiny(max_length=8, epochs=1).fit(*source, X_target=target)
    short, long = "good film", "bad plot " * 60
    alone = {text: adapter.predict_proba([text]) for text in (short, long)}

    def ask(i: int) -> bool:
        text = long if i % 2 else short
        tokens, _ = tokenize(adapter.encoder_.tokenizer, [text, short], 8)
        same_answer = np.array_equal(adapter.predict_proba([text]), alone[text])
        return same_answer and int(tokens.lengths.max()) <= 8

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(400)))


def test_fits_in_threads_give_what_they_give_alone(tiny, source, target):
    seeds = [0, 1, 0, 1]

    def fit(seed: int) -> dict:
        return weights(tiny(random_state=seed, epochs=1).fit(*source, X_target=target))

    alone = [fit(seed) for seed in seeds[:2]]
    with ThreadPoolExecutor(4) as pool:
        for seed, state in zip(seeds, pool.map(fit, seeds), strict=True):
            assert same(state, alone[seed])


def test_outputs_are_features_and_probabilities_of_one_pass(fitted, target):
    features, probabilities = fitted.outputs(target)
    assert (features == fitted.transform(target)).all()
    assert (probabilities == fitted.predict_proba(target)).all()
    assert fitted.outputs(target[:3]).features.shape == (3, 32)


def test_mdan_sees_which_source_a_text_is_of(tiny, source, target, tmp_path):
    X, y = source
    named = {"a": (X[:50], y[:50]), "b": (X[50:], y[50:])}
    adapter = tiny(method="mdan").fit(named, X_target=target)
    assert {k.split(".")[1] for k in adapter.method_weights_} == {"0", "1"}, "a discriminator each"
    mixed = {"a": (X[::2], y[::2]), "b": (X[1::2], y[1::2])}
    order = [*range(0, len(X), 2), *range(1, len(X), 2)]
    same_order = {"a": ([X[i] for i in order][:50], [y[i] for i in order][:50])}
    same_order["b"] = ([X[i] for i in order][50:], [y[i] for i in order][50:])
    other = tiny(method="mdan").fit(mixed, X_target=target)
    again = tiny(method="mdan").fit(same_order, X_target=target)
    assert not same(weights(other, "encoder"), weights(again, "encoder"))
    adapter.save_pretrained(tmp_path / "m")
    loaded = DomainAdapter.from_pretrained(tmp_path / "m")
    assert loaded.source_domains_ == ["a", "b"]
    assert same(weights(loaded), weights(adapter))


def test_labelled_target_texts_teach_what_the_source_does_not(tiny):
    """The target has words of praise and blame that no source text has."""
    source = toy_texts(90, "film plot actor scene the", 0)
    words = {"good": "omg", "great": "omg", "fine": "omg", "lovely": "omg", "happy": "omg"}
    words |= {"bad": "lol", "poor": "lol", "sad": "lol", "awful": "lol", "dull": "lol"}

    def slang(n: int, seed: int) -> tuple[list[str], list[str]]:
        texts, labels = toy_texts(n, "tweet today friend", seed)
        return [" ".join(words.get(w, w) for w in text.split()) for text in texts], labels

    target, few, test = slang(60, 1)[0], slang(8, 2), slang(60, 3)
    one_sided = tiny(epochs=1, validation_fraction=0)
    one_sided.fit(
        *source, X_target=target, X_target_labelled=["omg", "omg"], y_target_labelled=["pos", "pos"]
    )
    # 90 texts (45 + 45) in 6 batches, each with two additional texts of "pos".
    assert one_sided.source_prior_ == pytest.approx([45 / 102, 57 / 102])
    for method in ("source_only", "dann", "mlm"):
        own = {"method": method, "epochs": 12, "validation_fraction": 0}
        given = {"X_target": target, "X_target_labelled": few[0], "y_target_labelled": few[1]}
        adapter = tiny(**own).fit(*source, **given)
        assert adapter.score(*test) > 0.9
        given["y_target_labelled"] = few[1][::-1]
        assert tiny(**own).fit(*source, **given).score(*test) < 0.3


def test_cross_validation_in_threads_gives_what_it_gives_alone(tiny, source):
    texts, labels = source

    def scores() -> list[float]:
        adapter = tiny(method="source_only", epochs=1)
        return cross_val_score(adapter, texts, labels, cv=3, n_jobs=3).tolist()

    with parallel_config(backend="threading"):
        assert scores() == scores() == scores()


def test_many_texts_are_predicted_a_part_at_a_time(fitted, target, monkeypatch):
    from dann_transfer import adapter as module
    from dann_transfer.fitting import predicting

    whole = fitted.outputs(target)
    seen = []
    tokenized = predicting.tokenize

    def watched(tokenizer, texts, max_length):
        seen.append(len(texts))
        return tokenized(tokenizer, texts, max_length)

    monkeypatch.setattr(module, "PART", 16)
    monkeypatch.setattr(predicting, "tokenize", watched)
    features, probabilities = fitted.outputs(target)
    assert seen == [16, 16, 16, 16, 6]
    assert np.allclose(features, whole.features, atol=1e-5)
    assert np.allclose(probabilities, whole.probabilities, atol=1e-6)


def test_empty_texts_are_predicted_with_one_warning(fitted):
    texts = ["good film", "", None, "bad film", float("nan")]
    with pytest.warns(EmptyTextWarning, match=r"3 of 5 texts of X are empty, .* X\[1\]") as seen:
        p = fitted.predict_proba(texts)
    assert len(seen) == 1
    assert np.isfinite(p).all()
    # As LIME and SHAP do: a text with all its words blanked out.
    assert np.allclose(p[1], p[2])
    assert np.allclose(p[[0, 3]], fitted.predict_proba(["good film", "bad film"]), atol=1e-6)
    with pytest.warns(EmptyTextWarning):
        assert fitted.transform([" "]).shape == (1, 32)


def test_a_language_that_the_encoder_does_not_know_is_named(tiny, source):
    thai = [f"ภาษา ไทย {'ก' * i}" for i in range(1, 41)]
    adapter = tiny(epochs=1)
    with pytest.warns() as seen:
        adapter.fit(*source, X_target=thai)
    words = [str(w.message) for w in seen]
    unknown = [w for w in words if "of the target texts' tokens are not in the encoder's" in w]
    assert len(unknown) == 1
    assert unknown[0].startswith("100% of the target")
    assert not any("collapsed" in w for w in words)
    assert adapter.unknown_["target"] == 1.0
    assert adapter.unknown_["source"] == 0.0
    with pytest.warns(UnknownTokensWarning, match="100% of the given texts' tokens are not in the"):
        adapter.predict(thai[:3])


def test_a_model_for_each_of_several_labels(tiny, source):
    texts, labels = source
    good = [label == "pos" for label in labels]
    y = np.column_stack([good, np.logical_not(good)])
    y[0] = [1, 1]
    model = MultiOutputClassifier(tiny(method="source_only", epochs=8)).fit(texts, y.astype(int))
    assert model.predict(texts).shape == (90, 2)
    assert (model.predict(texts) == y).mean(0).min() > 0.8


def test_a_pipeline_cleans_the_target_too(tiny, source, target):
    """Without routing, a step before the adapter sees only X."""
    noisy = [f"@user {text} https://t.co/x" for text in target]
    cleaned: list[list[str]] = []

    def clean(texts):
        cleaned.append(list(texts))
        return [" ".join(w for w in text.split() if w[0] not in "@h") for text in texts]

    with config_context(enable_metadata_routing=True):
        adapter = tiny(epochs=1).set_fit_request(X_target=True)
        steps = make_pipeline(
            FunctionTransformer(clean), adapter, transform_input=["X_target"]
        ).fit(*source, X_target=noisy)
    assert noisy in cleaned
    alone = tiny(epochs=1).fit(clean(source[0]), source[1], X_target=clean(noisy))
    assert same(weights(steps[-1]), weights(alone))


def test_what_a_fit_left_behind_is_found_by_pressing_a_key(fitted, tiny):
    assert {"classes_", "history_", "target_prior_"} <= set(dir(fitted))
    assert "classes_" not in dir(tiny())
    assert len(fitted._repr_html_()) < 60_000


def test_answers_are_withheld_where_none_is_sure(tiny, source, target):
    adapter = tiny(epochs=1).fit(*source, X_target=target)
    p = adapter.predict_proba(target)
    threshold = float(np.median(p.max(1)))
    masked = adapter.predict(target, abstain_below=threshold)
    assert (masked.mask == (p.max(1) < threshold)).all()
    assert 0 < masked.mask.sum() < len(target)
    named = adapter.predict(target, abstain_below=threshold, label="ask a person")
    assert (named[masked.mask] == "ask a person").all()
    assert (named[~masked.mask] == adapter.predict(target)[~masked.mask]).all()
    assert not isinstance(adapter.predict(target), np.ma.MaskedArray)
    with pytest.raises(ValueError, match=r"below=80 must be a probability"):
        adapter.predict(target, abstain_below=80)


def test_a_source_that_is_not_learnt_is_warned_of(tiny, target):
    from dann_transfer.judging.findings import FindingWarning

    texts = toy_texts(200, "film plot actor scene the", 0)[0]
    chance = np.random.default_rng(0).choice(["a", "b"], 200).tolist()
    learner = tiny(method="source_only", epochs=1, validation_fraction=0.3)
    with pytest.warns(FindingWarning, match="unlearnt source"):
        learner.fit(texts, chance, X_target=target)
    assert learner.diagnose().severe[0].name == "unlearnt source"


def test_findings_and_intervals_are_saved(tiny, source, target, tmp_path):
    texts, labels = toy_texts(600, "film plot actor scene the", 0)
    adapter = tiny(epochs=4, validation_fraction=0.5).fit(texts, labels, X_target=target)
    assert adapter.prior_intervals_.keys() == adapter.target_prior_.keys() != set()
    for kind, (low, high) in adapter.prior_intervals_.items():
        assert (low <= adapter.target_prior_[kind] + 1e-9).all()
        assert (high >= adapter.target_prior_[kind] - 1e-9).all()
    adapter.save_pretrained(tmp_path / "model")
    again = DomainAdapter.from_pretrained(tmp_path / "model")
    assert again.diagnose() == adapter.diagnose()
    for kind, bounds in adapter.prior_intervals_.items():
        assert np.array_equal(bounds, again.prior_intervals_[kind])
    alone = tiny(method="source_only", epochs=1).fit(*source)
    with pytest.raises(ValueError, match="fitted without X_target; pass X_target to fit"):
        alone.diagnose()
    # Held-out source texts calibrate whether or not there is a target.
    assert alone.calibration_ is not None


@pytest.mark.parametrize("passed", [True, False])
@pytest.mark.parametrize("fraction", [0, 0.1])
def test_a_class_may_have_one_text(passed, fraction, tiny, source, target):
    """It is trained on and never held out."""
    texts, labels = [*source[0], "an odd text"], [*source[1], "odd"]
    held_out = {"X_val": texts[:20], "y_val": labels[:20]} if passed else {}
    adapter = tiny(method="mcc", epochs=1, validation_fraction=fraction)
    adapter.fit(texts, labels, X_target=target, **held_out)
    assert "odd" in adapter.classes_
    assert adapter.predict_proba(target).shape[1] == 3
    assert adapter.source_prior_[adapter.classes_.tolist().index("odd")] > 0


def test_numbers_of_numpy_are_parameters(tiny, source, target):
    own = {"micro_batch_size": np.int64(3), "correct_prior": np.True_, "epochs": np.int64(1)}
    adapter = tiny(method="mcc", **own).fit(*source, X_target=target)
    assert np.isfinite(adapter.predict_proba(target)).all()


def test_what_is_changed_after_the_fit_is_checked_before_it_is_used_or_saved(
    tiny, source, target, tmp_path
):
    adapter = tiny(epochs=1).fit(*source, X_target=target)
    for name, value, words in (
        ("precision", "float16", "precision='float16' must be one of"),
        ("correct_prior", "EM", "correct_prior='EM' must be one of"),
        ("device", "nonsense", "nonsense"),
    ):
        before = getattr(adapter, name)
        adapter.set_params(**{name: value})
        with pytest.raises(ValueError, match=words):
            adapter.predict(target)
        if name != "device":
            with pytest.raises(ValueError, match=words):
                adapter.save_pretrained(tmp_path / "model")
        adapter.set_params(**{name: before})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", ["bsp", "student", "iwdan"])
def test_a_run_that_diverges_says_so_whatever_its_loss_computes(method, tiny, source, target):
    options = {"estimate_every": 1} if method == "iwdan" else None
    adapter = tiny(method=method, learning_rate=1e30, warmup=0.0, method_options=options)
    with pytest.raises(FloatingPointError, match=r"not finite.* [Ll]ower learning_rate"):
        adapter.set_params(epochs=2, batch_size=90).fit(*source, X_target=target)

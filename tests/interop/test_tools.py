"""What docs/with-other-tools.md says, with the real libraries: `make test-interop`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import toy_texts

from dann_transfer import Domain
from dann_transfer.conformal import ConformalSets
from dann_transfer.label_shift import em

pytestmark = pytest.mark.interop

CLASSES = ["neg", "pos"]


@pytest.fixture(scope="module")
def held_out():
    """Labelled texts that no model has seen."""
    texts, labels = toy_texts(60, "film plot actor", 7)
    return np.array(texts), np.array(labels)


def as_sets(adapter, held_out, texts):
    p = adapter.predict_proba(held_out[0])
    conformal = ConformalSets.fit(p, np.searchsorted(CLASSES, held_out[1]), np.ones(len(p)))
    return conformal.sets(adapter.predict_proba(texts), np.ones(len(texts)), alpha=0.2)


def test_mapie_gives_the_same_sets(fitted, held_out, target):
    from mapie.classification import SplitConformalClassifier

    mapie = SplitConformalClassifier(fitted, confidence_level=0.8, conformity_score="lac")
    mapie.conformalize(*held_out)
    _, sets = mapie.predict_set(np.array(target))
    np.testing.assert_array_equal(sets[:, :, 0], as_sets(fitted, held_out, target))


def test_crepes_gives_the_same_sets(fitted, held_out, target):
    from crepes import WrapClassifier

    wrapped = WrapClassifier(fitted)
    wrapped.calibrate(*held_out, seed=0)
    sets = wrapped.predict_set(np.array(target), confidence=0.8, smoothing=False)
    np.testing.assert_array_equal(sets == 1, as_sets(fitted, held_out, target))


def test_cleanlab_finds_wrong_labels(tiny, target):
    from cleanlab.classification import CleanLearning

    texts, labels = toy_texts(60, "film plot actor", 3)
    codes = np.searchsorted(CLASSES, labels)
    codes[::10] = 1 - codes[::10]
    cleaner = CleanLearning(tiny(method="dann", epochs=8), cv_n_folds=2, seed=0)
    kwargs = {"clf_kwargs": {"X_target": Domain(target)}}
    issues = cleaner.find_label_issues(np.array(texts), codes, **kwargs)
    wrong = issues["is_label_issue"].to_numpy().nonzero()[0]
    assert set(wrong) >= set(range(0, 60, 20))


def test_quapy_estimates_the_same_shares(fitted, target):
    from quapy.method.aggregative import EMQ

    prior = np.array([0.5, 0.5])
    p = fitted.predict_proba(target[:35]).astype(float)
    shares, _ = EMQ.EM(prior, p, epsilon=1e-8)
    np.testing.assert_allclose(shares, em(prior, p), atol=1e-4)


def test_shap_says_which_words_count(fitted):
    import shap

    explainer = shap.Explainer(
        fitted.predict_proba, shap.maskers.Text(r"\W+"), output_names=CLASSES, seed=0
    )
    explained = explainer(["film good plot"], max_evals=64)
    words = [word.strip() for word in explained.data[0]]
    assert words[np.abs(explained.values[0][:, 1]).argmax()] == "good"


def test_lime_says_which_words_count(fitted):
    from lime.lime_text import LimeTextExplainer

    explainer = LimeTextExplainer(class_names=CLASSES, random_state=0)
    explained = explainer.explain_instance("film good plot", fitted.predict_proba, num_samples=100)
    assert max(explained.as_list(), key=lambda pair: abs(pair[1]))[0] == "good"


def test_captum_attributes_to_tokens(fitted):
    from captum.attr import LayerIntegratedGradients

    model, tokenizer = fitted.model_, fitted.encoder_.tokenizer
    tokens = tokenizer(["film good plot"], return_tensors="pt")
    ids, mask = tokens["input_ids"], tokens["attention_mask"]
    layer = model.encoder.model.get_input_embeddings()
    gradients = LayerIntegratedGradients(lambda ids, mask: model(ids, mask)[1], layer)
    blank = torch.full_like(ids, tokenizer.pad_token_id)
    values = gradients.attribute(ids, blank, target=1, additional_forward_args=(mask,))
    scores = values.sum(-1)[0]
    assert tokenizer.convert_ids_to_tokens(int(ids[0, scores.abs().argmax()])) == "good"


def test_imbalanced_learn_samples_a_table_before_the_adapter(tiny, source, target):
    import pandas as pd
    from imblearn.over_sampling import RandomOverSampler
    from imblearn.pipeline import make_pipeline

    rare = [i for i, label in enumerate(source[1]) if label == "neg" or i < 20]
    table = pd.DataFrame({"text": [source[0][i] for i in rare]})
    labels = [source[1][i] for i in rare]
    pipeline = make_pipeline(RandomOverSampler(random_state=0), tiny(method="source_only"))
    pipeline.fit(table, labels)
    assert len(pipeline.predict(target)) == len(target)
    assert pipeline[-1].fitted_.source_prior.tolist() == [0.5, 0.5]


def test_frouros_tells_domains_apart(fitted, source, target):
    from frouros.detectors.data_drift import MMD

    features = fitted.transform(source[0], domain="source")
    distances = []
    for other in (fitted.transform(target), features[1::2]):
        detector = MMD()
        detector.fit(X=features[::2])
        distances.append(detector.compare(X=other)[0].distance)
    assert distances[0] > 3 * abs(distances[1])


def test_sentence_transformers_gives_the_same_features(fitted, target, tmp_path):
    from sentence_transformers import SentenceTransformer

    fitted.save_pretrained(tmp_path / "model")
    model = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    np.testing.assert_allclose(model.encode(target), fitted.transform(target), atol=1e-5)


def test_skorch_trains_on_the_features(fitted, source, target):
    from skorch import NeuralNetClassifier

    features = fitted.transform(source[0], domain="source").astype(np.float32)
    codes = np.searchsorted(CLASSES, source[1]).astype(np.int64)
    net = NeuralNetClassifier(
        torch.nn.Linear(features.shape[1], 2),
        criterion=torch.nn.CrossEntropyLoss, max_epochs=20, lr=0.1, verbose=0, train_split=None,
    )  # fmt: skip
    net.fit(features, codes)
    assert (net.predict(features) == codes).mean() > 0.9

"""The map of target features, from `fit` to a saved model and an export."""

from __future__ import annotations

import json
import warnings
from copy import copy

import numpy as np
import pandas as pd
import pytest
from conftest import same, toy_texts, weights
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from dann_transfer import Domain, DomainAdapter, compare, evaluate, tune
from dann_transfer.fitting import afterwards
from dann_transfer.fitting.predicting import target_rows
from dann_transfer.judging.alignment import AlignmentWarning, transport
from dann_transfer.judging.diagnostics import mixing, proxy_a_distance
from dann_transfer.judging.label_shift import Estimates
from dann_transfer.judging.neighbors import Neighborhood
from dann_transfer.methods.student import Student
from dann_transfer.training import loop

pytestmark = pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning")

SOURCE = toy_texts(200, "film plot actor scene the", 0)
TARGET = toy_texts(150, "tweet lol omg today friend", 1)[0]
NEW = toy_texts(60, "tweet lol omg today friend", 7)
HELD_OUT = toy_texts(60, "film plot actor scene the", 8)


HELD_OUT_SHARE = 0.4
"""With fewer held-out texts, the estimate of class shares cannot be checked."""


@pytest.fixture(scope="module")
def small(tiny):
    """Make an adapter that has a map."""

    def make(**params: object) -> DomainAdapter:
        usual = {"epochs": 4, "align": "transport", "validation_fraction": HELD_OUT_SHARE}
        return tiny(**{"method": "source_only", **usual, **params})

    return make


@pytest.fixture(scope="module")
def pair(small) -> tuple[DomainAdapter, DomainAdapter]:
    """The same model without and with a map."""
    return tuple(small(align=align).fit(*SOURCE, X_target=TARGET) for align in (None, "transport"))


def head(adapter: DomainAdapter, features: np.ndarray) -> np.ndarray:
    """Return what a model's head makes of features."""
    state = adapter.model_.head.state_dict()
    logits = features @ state["1.weight"].numpy().T + state["1.bias"].numpy()
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_the_map_is_that_of_the_texts_of_the_fit(pair):
    plain, mapped = pair
    assert same(weights(plain), weights(mapped))
    assert plain.alignment_ is None
    # The texts to train on, without those held out.
    roles = trained_on(plain)
    codes = np.searchsorted(plain.classes_, roles[1])
    p = plain.predict_proba(TARGET)
    by_hand = transport(plain.transform(roles[0]), codes, plain.transform(TARGET), p)
    assert np.allclose(mapped.alignment_.matrix, by_hand.matrix, atol=1e-3)
    x = by_hand(plain.transform(NEW[0]))
    features, q = mapped.outputs(NEW[0])
    assert np.allclose(features, x, atol=1e-2)
    assert np.allclose(q, head(plain, features), atol=1e-5)
    # Source texts, and the estimates that decide about a map, stay as they are.
    for one, two in zip(
        plain.outputs(HELD_OUT[0]), mapped.outputs(HELD_OUT[0], "source"), strict=True
    ):
        assert (one == two).all()
    assert np.array_equal(plain.target_prior_["em"], mapped.target_prior_["em"])


def trained_on(adapter: DomainAdapter) -> tuple[list[str], list[str]]:
    """Return the texts that a fit trained on, and their labels."""
    from dann_transfer.texts.copies import groups_of
    from dann_transfer.texts.weights import hold_out

    codes = np.searchsorted(adapter.classes_, SOURCE[1])
    rows, _ = hold_out(codes, HELD_OUT_SHARE, 0, groups_of(SOURCE[0]))
    return [SOURCE[0][i] for i in rows], [SOURCE[1][i] for i in rows]


def outcome(adapter: DomainAdapter) -> tuple[list, ...]:
    """What retargeting decides."""
    fitted = adapter.fitted_
    return (
        *(array.tolist() for array in adapter.outputs(NEW[0])),
        {name: prior.tolist() for name, prior in fitted.target_prior.items()},
        fitted.refused_prior,
        fitted.target_shares,
        fitted.findings.to_json(),
        fitted.n_target,
        fitted.truncated,
        adapter.params_,
    )


@pytest.mark.parametrize("params", [{}, {"neighbors": 10}, {"method": "dann", "neighbors": 5}])
def test_a_fitted_model_may_get_its_map_and_its_target_later(params, small, tmp_path):
    other = toy_texts(120, "tweet lol omg today friend", 5)[0]
    expected = small(**params).fit(*SOURCE, X_target=TARGET)
    plain = small(**{**params, "align": None, "neighbors": None}).fit(*SOURCE, X_target=TARGET)
    plain.save_pretrained(tmp_path / "model")
    loaded = DomainAdapter.from_pretrained(tmp_path / "model", device="cpu")
    settings = {"align": "transport", "neighbors": params.get("neighbors")}
    for adapter in (plain, loaded):
        # Through another target and back.
        elsewhere = adapter.set_params(**settings).retarget(*SOURCE, X_target=other)
        assert elsewhere is adapter
        assert adapter.n_target_ == 120
        assert not np.array_equal(adapter.alignment_.matrix, expected.alignment_.matrix)
        adapter.retarget(*SOURCE, X_target=TARGET)
        assert np.array_equal(adapter.alignment_.matrix, expected.alignment_.matrix)
        assert same(weights(adapter), weights(expected))
    paths = {"encoder", "progress"}
    one, two = (outcome(adapter) for adapter in (plain, expected))
    assert one == two
    three = outcome(loaded)
    assert three[:-1] == two[:-1]
    assert {k: v for k, v in three[-1].items() if k not in paths} == {
        k: v for k, v in two[-1].items() if k not in paths
    }


def test_what_cannot_be_retargeted_is_said_and_nothing_changes(pair):
    plain = copy(pair[0])
    before = outcome(plain)
    texts, labels = SOURCE
    for given, words in (
        ((texts, ["good" if label == "pos" else label for label in labels]), "the model knows"),
        ((texts, labels[:-1]), "labels"),
        ((texts, None), "y"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            plain.retarget(*given, X_target=TARGET)
    with pytest.raises((ValueError, TypeError), match="X_target"):
        plain.retarget(*SOURCE, X_target=None)
    with pytest.raises((ValueError, TypeError), match="X_target"):
        plain.retarget(*SOURCE, X_target=[])
    with pytest.raises(ValueError, match="align"):
        plain.set_params(align="rotate").retarget(*SOURCE, X_target=TARGET)
    plain.set_params(align=None)
    assert outcome(plain) == before
    with pytest.raises(NotFittedError):
        DomainAdapter("none").retarget(*SOURCE, X_target=TARGET)


def test_a_model_without_a_target_may_get_one(tiny):
    settings = {"method": "source_only", "epochs": 4, "validation_fraction": HELD_OUT_SHARE}
    adapter = tiny(**settings).fit(*SOURCE)
    with pytest.raises(ValueError, match="nothing was diagnosed"):
        adapter.diagnose()
    adapter.retarget(*SOURCE, X_target=TARGET)
    assert adapter.diagnose() is adapter.findings_
    assert adapter.target_prior_["em"].shape == (2,)


def test_the_domains_are_told_apart_less_and_mix_more(pair):
    measured = []
    for adapter in pair:
        features = adapter.transform(HELD_OUT[0], domain="source"), adapter.transform(NEW[0])
        measured.append((proxy_a_distance(*features), mixing(*features)))
        assert (adapter.predict(NEW[0]) == NEW[1]).mean() > 0.9
    assert measured[1][0] < measured[0][0] - 0.5
    assert measured[1][1] > measured[0][1] + 0.2


def test_the_domain_may_be_named_for_all_texts_or_for_each(pair):
    _, mapped = pair
    texts = [*HELD_OUT[0][:3], *NEW[0][:4]]
    domain = np.array(["source"] * 3 + ["target"] * 4)
    mixture = mapped.outputs(texts, domain=domain)
    apart = mapped.outputs(texts[:3], "source"), mapped.outputs(texts[3:], "target")
    for i in (0, 1):
        assert np.allclose(mixture[i], np.concatenate([part[i] for part in apart]), atol=1e-5)
    assert not np.allclose(mixture.features, mapped.transform(texts), atol=1e-2)
    assert np.allclose(mapped.predict_proba(texts, domain=list(domain)), mixture.probabilities)
    assert mapped.predict(texts, domain=pd.Series(domain)).shape == (7,)
    # In parts, one entry for each; empty parts and their entries are left out.
    parts = list(
        mapped.outputs_in_parts([texts[:3], [], texts[3:]], ["source", "source", domain[3:]])
    )
    assert np.allclose(np.concatenate([p.features for p in parts]), mixture.features, atol=1e-5)
    (all_source,) = mapped.outputs_in_parts([texts], "source")
    assert np.allclose(all_source.features, mapped.transform(texts, "source"), atol=1e-5)
    scores = [evaluate(mapped, *HELD_OUT, domain=d).probabilities for d in ("source", "target")]
    assert not np.allclose(*scores, atol=1e-3)


@pytest.mark.parametrize(
    ("domain", "words"),
    [
        ("tweets", "domain='tweets' must be 'target' or 'source', or a sequence of these"),
        (
            ["source"],
            r"domain has shape \(1,\); it needs one entry, 'target' or 'source', for each",
        ),
        (["source", "movies", "target"], r"domain\[1\] is 'movies'; it must be 'target' or"),
        (["source", None, "target"], r"domain\[1\] is None"),
        (None, r"domain has shape \(\)"),
    ],
)
def test_a_domain_that_is_none_is_refused(domain, words, pair):
    for adapter in pair:
        with pytest.raises(ValueError, match=words):
            adapter.predict(["a", "b", "c"], domain=domain)


def test_there_must_be_a_domain_for_each_part(pair):
    _, mapped = pair
    with pytest.raises(ValueError, match="domain has 1 entries and there are more parts"):
        list(mapped.outputs_in_parts([["a"], ["b"]], ["source"]))
    with pytest.raises(ValueError, match="domain has more entries than there are parts"):
        list(mapped.outputs_in_parts([["a"]], ["source", "target"]))
    with pytest.raises(ValueError, match="domain='tweets' must be"):
        mapped.outputs_in_parts([["a"]], "tweets")
    with pytest.raises(ValueError, match=r"domain\[1\]\[0\] is 'tweets'"):
        list(mapped.outputs_in_parts([["a"], ["b"]], ["source", ["tweets"]]))
    assert target_rows("target", 2).all()


def test_labels_of_the_target_change_no_bit(small):
    labels = ["pos"] * len(TARGET), ["neg", "other"] * (len(TARGET) // 2)
    one, two = (small(epochs=2).fit(*SOURCE, X_target=Domain(TARGET, each)) for each in labels)
    for name in ("matrix", "offset"):
        assert (getattr(one.alignment_, name) == getattr(two.alignment_, name)).all()
    for first, second in zip(one.outputs(NEW[0]), two.outputs(NEW[0]), strict=True):
        assert (first == second).all()


def test_where_the_estimate_is_refused_nothing_changes(monkeypatch, tmp_path, small):
    why = "class 0 would be predicted for 80% of the target texts"

    def refused(*args: object) -> Estimates:
        return Estimates({}, dict.fromkeys(("em", "bbse"), why), None)

    monkeypatch.setattr(afterwards, "estimate", refused)
    plain = small(method="dann", epochs=2, align=None, neighbors=3).fit(*SOURCE, X_target=TARGET)
    with pytest.warns(AlignmentWarning, match=rf"align='transport' maps nothing: .* \({why}\)"):
        twin = small(method="dann", epochs=2, neighbors=3).fit(*SOURCE, X_target=TARGET)
    assert twin.alignment_ is None
    for one, two in zip(plain.outputs(NEW[0]), twin.outputs(NEW[0]), strict=True):
        assert (one == two).all()
    assert plain.predict(NEW[0]).tolist() == twin.predict(NEW[0]).tolist()
    assert plain.target_shares_ == twin.target_shares_
    twin.save_pretrained(tmp_path / "m")
    assert "Features are not mapped" in (tmp_path / "m" / "README.md").read_text()
    assert DomainAdapter.from_pretrained(tmp_path / "m").alignment_ is None


def test_a_target_of_one_predicted_class_is_not_mapped(small):
    good = [f"great lovely {word}" for word in ("tweet", "lol", "omg", "today", "friend")] * 8
    adapter = small()
    with pytest.warns(AlignmentWarning, match="all 40 target texts are predicted to be of one cl"):
        adapter.fit(*SOURCE, X_target=good)
    assert adapter.alignment_ is None


@pytest.mark.parametrize(
    "name", ["dann", "mdan", "shot", "student", "mlm+dann", "mcc+self_training", "auto"]
)
def test_any_method_can_be_mapped(name, small):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain, mapped = (
            small(method=name, epochs=2, max_strength=None, align=align).fit(
                *SOURCE, X_target=TARGET
            )
            for align in (None, "transport")
        )
    if mapped.choice_ is None:
        assert same(weights(plain), weights(mapped))
    same_features = np.allclose(plain.transform(NEW[0]), mapped.transform(NEW[0]))
    assert same_features == (mapped.alignment_ is None)


def test_several_classes_and_several_sources(small):
    rng = np.random.default_rng(0)
    words = ("good great", "bad awful", "film plot")

    def texts(n: int, extra: str) -> tuple[list[str], list[int]]:
        labels = rng.integers(0, 3, n)
        fill = rng.choice(extra.split(), n)
        return [f"{words[y]} {w}" for y, w in zip(labels, fill, strict=True)], labels.tolist()

    sources = {"a": texts(60, "actor the"), "b": texts(50, "scene today")}
    adapter = small(method="mdan")
    adapter.fit(sources, X_target=texts(60, "tweet lol omg")[0])
    assert adapter.alignment_ is not None
    assert adapter.predict_proba(["good great tweet"]).shape == (1, 3)


def test_neighbours_come_after_the_map(pair, tmp_path, small):
    adapter = small(neighbors=5)
    adapter.fit(*SOURCE, X_target=TARGET)
    _, mapped = pair
    assert np.array_equal(adapter.alignment_.matrix, mapped.alignment_.matrix)
    near = Neighborhood.of(*mapped.outputs(TARGET), 5)
    expected = near.smooth(*mapped.outputs(NEW[0]), 5)
    assert np.allclose(adapter.predict_proba(NEW[0]), expected, atol=1e-5)
    adapter.save_pretrained(tmp_path / "m")
    loaded = DomainAdapter.from_pretrained(tmp_path / "m")
    assert np.allclose(loaded.predict_proba(NEW[0]), expected, atol=1e-5)


def test_a_prior_corrects_what_the_map_predicts(pair, tmp_path, small):
    adapter = small(correct_prior="em")
    adapter.fit(*SOURCE, X_target=TARGET)
    _, mapped = pair
    logits = np.log(head(mapped, mapped.transform(NEW[0])))
    calibration, prior = adapter.calibration_, adapter.target_prior_["em"]
    p = calibration.probabilities(logits) * prior / calibration.prior
    assert np.allclose(adapter.predict_proba(NEW[0]), p / p.sum(1, keepdims=True), atol=1e-4)
    adapter.save_pretrained(tmp_path / "m")
    loaded = DomainAdapter.from_pretrained(tmp_path / "m")
    assert np.array_equal(loaded.predict_proba(NEW[0]), adapter.predict_proba(NEW[0]))
    both = small(neighbors=5, correct_prior="em")
    with pytest.raises(ValueError, match="neighbors=5 and correct_prior='em' both change predic"):
        both.fit(*SOURCE, X_target=TARGET)


@pytest.mark.parametrize(
    ("params", "given", "words"),
    [
        ({}, {}, "align='transport' maps the features of target texts: pass X_target="),
        ({"align": "coral"}, {}, r"align='coral' must be one of \[None, 'transport'\]"),
        ({}, {"X_target": ["lol"] * 9}, "needs 20 texts of each domain, and there are 9 target"),
        ({"validation_fraction": 0}, {"X_target": ["lol"] * 30}, "needs a held-out source text of"),
    ],
)
def test_what_align_needs_is_said_before_training(params, given, words, small):
    adapter = small(**params)
    with pytest.raises(ValueError, match=words):
        adapter.fit(*SOURCE, **given)
    assert not hasattr(adapter, "fitted_")


def test_a_saved_model_has_its_map(pair, tmp_path):
    plain, mapped = pair
    mapped.save_pretrained(tmp_path / "m")
    tensors = load_file(tmp_path / "m" / "heads.safetensors")
    width = mapped.encoder_.features
    assert tensors["alignment.matrix"].shape == (width, width)
    assert tensors["alignment.offset"].shape == (width,)
    assert not any("neighborhood" in name for name in tensors)
    loaded = DomainAdapter.from_pretrained(tmp_path / "m")
    assert loaded.align == "transport"
    for domain in ("source", "target"):
        for one, two in zip(
            mapped.outputs(NEW[0], domain), loaded.outputs(NEW[0], domain), strict=True
        ):
            assert (one == two).all()
    assert 'align="transport"' in (tmp_path / "m" / "README.md").read_text()
    plain.save_pretrained(tmp_path / "plain")
    assert "align" not in (tmp_path / "plain" / "README.md").read_text()


def test_a_model_of_an_earlier_release_still_loads(pair, tmp_path):
    """Its settings do not name `align`, and its heads hold no map."""
    from dann_transfer.fitting import saving
    from dann_transfer.fitting.folder import digest_of_config

    plain, _ = pair
    plain.save_pretrained(tmp_path / "m")
    file = tmp_path / "m" / saving.CONFIG
    config = json.loads(file.read_text())
    assert config["params"].pop("align", "absent") is None
    config["digest"] = digest_of_config(config)
    file.write_text(json.dumps(config))
    loaded = DomainAdapter.from_pretrained(tmp_path / "m")
    assert loaded.align is None
    assert loaded.alignment_ is None
    assert (loaded.predict_proba(NEW[0]) == plain.predict_proba(NEW[0])).all()
    loaded.save_pretrained(tmp_path / "again")
    assert DomainAdapter.from_pretrained(tmp_path / "again").predict(NEW[0][:1]).shape == (1,)


@pytest.mark.parametrize("wrong", ["shape", "nan"])
def test_a_damaged_map_is_refused(wrong, pair, tmp_path):
    from dann_transfer.fitting import saving
    from dann_transfer.fitting.folder import digest_of_config
    from dann_transfer.ground.digests import sha256_of_file

    pair[1].save_pretrained(tmp_path / "m")
    file = tmp_path / "m" / saving.HEADS
    tensors = load_file(file)
    if wrong == "shape":
        tensors["alignment.offset"] = tensors["alignment.offset"][:3].clone()
    else:
        tensors["alignment.matrix"][0, 0] = float("nan")
    save_file(tensors, file)
    config = json.loads((tmp_path / "m" / saving.CONFIG).read_text())
    config["files"][saving.HEADS] = sha256_of_file(file)
    config["digest"] = digest_of_config(config)
    (tmp_path / "m" / saving.CONFIG).write_text(json.dumps(config))
    words = r"alignment.offset must be" if wrong == "shape" else "'matrix' of its alignment has val"
    with pytest.raises(ValueError, match=words):
        DomainAdapter.from_pretrained(tmp_path / "m")


def test_an_export_has_the_map_in_its_graph(pair, tmp_path):
    pytest.importorskip("onnxscript")
    from dann_transfer.serving.onnx import OnnxModel, differences, to_onnx

    plain, mapped = pair
    for domain in ("target", "source"):
        model = OnnxModel(to_onnx(mapped, tmp_path / domain, domain=domain), threads=1)
        assert differences(model, mapped, NEW[0])["probability"] < 1e-4
        assert np.abs(model.transform(NEW[0]) - mapped.transform(NEW[0], domain)).max() < 1e-3
    assert np.abs(model.transform(NEW[0]) - plain.transform(NEW[0])).max() < 1e-4
    with pytest.raises(ValueError, match="domain='tweets' must be"):
        to_onnx(mapped, tmp_path / "m", domain="tweets")


def test_a_service_and_tables_take_the_domain(pair, tmp_path):
    testing = pytest.importorskip("fastapi.testclient")
    from dann_transfer.serving import Predictor
    from dann_transfer.serving.http import create_app

    _, mapped = pair
    texts = NEW[0][:4]
    with testing.TestClient(create_app(mapped)) as client:
        for domain in ("target", "source"):
            answer = client.post("/predict", json={"texts": texts, "domain": domain})
            shown = [row["probability"] for row in answer.json()["predictions"]]
            assert np.allclose(shown, mapped.predict_proba(texts, domain).max(1), atol=1e-5)
        answer = client.post("/predict", json={"texts": texts})
        assert answer.json()["predictions"][0]["label"] == mapped.predict(texts)[0]
        assert client.post("/predict", json={"texts": texts, "domain": "tweets"}).status_code == 422
        assert client.get("/model").json()["align"] == "transport"
    mapped.save_pretrained(tmp_path / "m")
    frame = pd.DataFrame({"text": texts, "from": ["source", "target"] * 2})
    confidence = Predictor(tmp_path / "m", domain_column="from")(frame)["confidence"]
    assert np.allclose(confidence, mapped.predict_proba(texts, frame["from"]).max(1), atol=1e-5)
    row = Predictor(tmp_path / "m", domain="source")({"text": texts[0]})
    assert row["confidence"] == pytest.approx(mapped.predict_proba(texts[:1], "source").max())
    with pytest.raises(ValueError, match="no column 'where', which domain_column names"):
        Predictor(tmp_path / "m", domain_column="where")(frame)
    with pytest.raises(ValueError, match="domain='tweets' must be"):
        Predictor(tmp_path / "m", domain="tweets")


def test_scikit_learn_sees_the_setting(small):
    adapter = small(epochs=3)
    assert clone(adapter).get_params()["align"] == "transport"
    steps = make_pipeline(adapter, "passthrough")
    features = steps.fit_transform(*SOURCE, domainadapter__X_target=TARGET)
    # A pipeline fits what follows on features of the source, and predicts target texts.
    assert np.allclose(features, steps[0].transform(SOURCE[0], domain="source"))
    assert np.allclose(steps.transform(NEW[0]), steps[0].transform(NEW[0]))


def test_compare_maps_the_target_alone(tiny):
    results = [
        compare(
            *SOURCE,
            X_target=TARGET,
            methods=["mcc"],
            X_test=HELD_OUT[0],
            y_test=HELD_OUT[1],
            X_target_test=NEW[0],
            y_target_test=NEW[1],
            align=align,
            validation_fraction=HELD_OUT_SHARE,
            **{k: v for k, v in tiny().get_params().items() if k in SETTINGS},
        )
        for align in (None, "transport")
    ]
    # Gains are measured from a model that nothing adapts.
    alone, (plain, mapped) = zip(*(result.rows for result in results), strict=True)
    assert alone[0]["a_distance"] == alone[1]["a_distance"]
    assert plain["source_accuracy"] == mapped["source_accuracy"]
    assert mapped["a_distance"] < plain["a_distance"]
    assert mapped["mixing"] > plain["mixing"]
    assert 0 <= mapped["class_mixing"] <= 1


SETTINGS = (
    "encoder",
    "epochs",
    "batch_size",
    "learning_rate",
    "max_length",
    "max_strength",
    "progress",
    "device",
)


def test_tune_may_choose_it(tiny):
    result = tune(
        *SOURCE,
        X_target=TARGET,
        space={"method": ["source_only"], "align": [None, "transport"]},
        runs=2,
        **{k: v for k, v in tiny().get_params().items() if k in SETTINGS},
        validation_fraction=HELD_OUT_SHARE,
    )
    assert {row["align"] for row in result.rows} == {None, "transport"}
    # Held-out source texts are not mapped.
    assert len({row["source_validation"] for row in result.rows}) == 1


def test_the_command_line_takes_the_domain(pair, tmp_path):
    from typer.testing import CliRunner

    from dann_transfer.cli import app

    _, mapped = pair
    mapped.save_pretrained(tmp_path / "m")
    texts, where = NEW[0][:6], ["source", "target"] * 3
    pd.DataFrame({"text": texts, "from": where}).to_csv(tmp_path / "x.csv", index=False)
    for options, domain in (
        ([], "target"),
        (["--domain", "source"], "source"),
        (["--domain-column", "from"], where),
    ):
        command = ["predict", str(tmp_path / "m"), str(tmp_path / "x.csv"), *options]
        done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "out.csv")])
        assert done.exit_code == 0, done.output
        shown = pd.read_csv(tmp_path / "out.csv")["probability"]
        assert np.allclose(shown, mapped.predict_proba(texts, domain).max(1), atol=1e-4)
    wrong = CliRunner().invoke(app, [*command[:3], "--domain", "tweets"])
    assert wrong.exit_code != 0
    assert "--domain='tweets' must be 'target' or 'source'" in wrong.output


def taught_from(adapter: DomainAdapter, monkeypatch) -> tuple[np.ndarray, np.ndarray]:
    """Fit a student, and return the features and probabilities that its labels come from."""
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    def watched(self, predict_target, progress):
        seen.append(tuple(part.numpy() for part in predict_target()))
        return remember(self, predict_target, progress)

    remember = Student.remember
    monkeypatch.setattr(Student, "remember", watched)
    adapter.fit(*SOURCE, X_target=TARGET)
    monkeypatch.setattr(Student, "remember", remember)
    return seen[0]


def test_a_student_can_be_taught_through_the_map(small, pair, monkeypatch):
    for model, align in zip(pair, (False, True), strict=True):
        options = {"extra_epochs": 1, "align": align}
        student = small(method="student", align=None, method_options=options)
        features, p = taught_from(student, monkeypatch)
        # Its teacher is the same model of the source.
        assert np.allclose(features, model.transform(TARGET), atol=1e-4)
        assert np.allclose(p, model.predict_proba(TARGET), atol=1e-5)
    assert not np.allclose(pair[0].predict_proba(TARGET), p, atol=1e-3)


def test_a_student_is_taught_without_a_map_where_shares_are_refused(small, pair, monkeypatch):
    refused = Estimates({}, dict.fromkeys(("em", "bbse"), "they contradict the source"), None)
    monkeypatch.setattr(loop, "estimate", lambda *_, **__: refused)
    options = {"extra_epochs": 1, "align": True}
    student = small(method="student", align=None, method_options=options)
    said = r"labelled without a map: the estimate .* \(they contradict the source\)"
    with pytest.warns(AlignmentWarning, match=said):
        _, p = taught_from(student, monkeypatch)
    assert np.allclose(p, pair[0].predict_proba(TARGET), atol=1e-5)

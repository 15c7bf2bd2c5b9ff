"""Knowledge in a fit: its weight, what it changes, and what is kept of it."""

from __future__ import annotations

import copy
import json
import re

import numpy as np
import pytest
from conftest import BAD, GOOD, TINY, same, toy_texts, weights

from dann_transfer import DomainAdapter, compare, plots, tune
from dann_transfer.fitting import saving
from dann_transfer.fitting.folder import digest_of_config
from dann_transfer.fitting.informed import counsel_of
from dann_transfer.ground.digests import sha256_of_file
from dann_transfer.knowledge import Graph, KnowledgeWarning, Lexicon, Rules
from dann_transfer.serving.onnx import to_onnx
from dann_transfer.texts.roles import Roles

pytestmark = [
    pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning"),
    pytest.mark.filterwarnings("ignore::dann_transfer.judging.findings.FindingWarning"),
    pytest.mark.filterwarnings("ignore::dann_transfer.texts.tokens.UnknownTokensWarning"),
]
# Words that the encoder does not have: only the graph says that they are like some of the source's.
NEW = {
    "pos": ["zib", "quorl", "vemmy", "plisk", "drane"],
    "neg": ["oxu", "grat", "hulm", "snep", "wick"],
}
EDGES = [
    (new, "similar to", word)
    for side, words in (("pos", GOOD), ("neg", BAD))
    for new in NEW[side]
    for word in words
] + [(a, "similar to", b) for words in (GOOD, BAD) for a in words for b in words if a < b]


def shuffled(edges, seed: int = 0):
    """Return the same nodes with as many edges each, between other nodes."""
    rng = np.random.default_rng(seed)
    heads, relations, tails = zip(*edges, strict=True)
    return list(zip(heads, relations, rng.permutation(tails).tolist(), strict=True))


@pytest.fixture(scope="module")
def new_texts():
    """Target texts whose words for and against are made up, and their labels."""
    rng = np.random.default_rng(3)
    labels = ["pos" if i % 2 else "neg" for i in range(80)]
    return [" ".join(["tweet", *rng.choice(NEW[label], 2)]) for label in labels], np.array(labels)


@pytest.fixture(scope="module")
def informed(tiny_encoder, new_texts):
    """A model of the source's words that predicts with the graph."""
    settings = {**TINY, "method": "source_only", "epochs": 4}
    adapter = DomainAdapter(tiny_encoder, **settings, use_knowledge=True)
    texts = toy_texts(120, "film plot actor scene the", 0)
    return adapter.fit(*texts, X_target=new_texts[0], knowledge=Graph(EDGES))


def test_only_the_graph_carries_the_label_across(informed, new_texts):
    texts, labels = new_texts
    assert (informed.predict(texts) == labels).mean() == 1
    blind = informed.set_params(use_knowledge=False).predict(texts)
    informed.set_params(use_knowledge=True)
    assert (blind == labels).mean() < 0.8
    knowledge = informed.knowledge_
    assert knowledge.weights[0] > 0
    assert knowledge.target_coverage[0] == 1
    assert str(knowledge).startswith(f"Graph: weight {knowledge.weights[0]:.2f} (")
    reason = knowledge.explain("tweet zib")[0]
    assert reason.label == "pos"
    assert re.match(r"zib -similar to- \w+, in source texts of 'pos'", reason.because)
    # Of the source's own texts the knowledge says nothing.
    source = informed.predict_proba(texts, domain="source")
    assert (source.argmax(1) == (blind == "pos")).all()


def test_a_comparison_says_what_knowledge_gains(tiny_encoder, new_texts, tmp_path):
    texts, labels = new_texts
    X, y = toy_texts(120, "film plot actor scene the", 0)
    common = {**TINY, "encoder": tiny_encoder, "epochs": 4, "use_knowledge": True}
    del common["random_state"]
    common |= {"X_target": texts, "knowledge": Graph(EDGES)}
    result = compare(X, y, methods=["mcc"], X_target_test=texts, y_target_test=labels, **common)
    assert result.mean("source_only", "target_accuracy") < 0.8
    assert result.mean("mcc", "target_accuracy") == 1
    for function in (compare, tune):
        with pytest.raises(ValueError, match=r"m' cannot keep runs with knowledge"):
            function(X, y, folder=tmp_path / "m", **common)


def test_runs_of_one_seed_learn_knowledge_once(tiny_encoder, new_texts, monkeypatch):
    learnt = []
    learn = Graph.learn
    monkeypatch.setattr(Graph, "learn", lambda *args: learnt.append(1) or learn(*args))
    counts = []
    common = {k: v for k, v in TINY.items() if k != "random_state"} | {"epochs": 1}
    for methods in (["mcc"], ["mcc", "dann"]):
        learnt.clear()
        compare(
            *toy_texts(60, "film plot actor scene the", 0),
            X_target=new_texts[0],
            methods=methods,
            knowledge=Graph(EDGES),
            encoder=tiny_encoder,
            use_knowledge=True,
            **common,
        )
        counts.append(len(learnt))
    assert counts[0] == counts[1] > 0


def test_shuffled_edges_have_hardly_a_weight():
    rng = np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(200)])
    # Words of even and of odd numbers speak for the two classes.
    edges = [(words[i], "near", words[j]) for i, j in rng.integers(0, 100, (600, 2)) * 2]
    edges += [(words[i], "near", words[j]) for i, j in rng.integers(0, 100, (600, 2)) * 2 + 1]
    codes = rng.integers(0, 2, 300)
    texts = [" ".join(words[rng.integers(0, 100, 3) * 2 + code]) for code in codes]
    roles = Roles(
        np.array(["even", "odd"]),
        {"source": texts[:200], "validation": texts[200:], "target": texts[200:]},
        {"source": codes[:200], "validation": codes[200:]},
        *(None, None, [], 300, 100),
    )
    graphs = [Graph(edges), *(Graph(shuffled(edges, seed)) for seed in range(3))]
    strengths = []
    for graph in graphs:
        counsel, _ = counsel_of([graph], roles)
        weights = counsel.weights(np.full((100, 2), 0.5))
        strengths.append(np.abs(counsel.target @ weights).mean())
    assert strengths[0] > 0.5
    assert max(strengths[1:]) < 0.05


def test_a_saved_model_has_its_knowledge(informed, new_texts, tmp_path):
    informed.save_pretrained(tmp_path / "m")
    loaded = DomainAdapter.from_pretrained(tmp_path / "m")
    assert (loaded.predict_proba(new_texts[0]) == informed.predict_proba(new_texts[0])).all()
    assert str(loaded.knowledge_) == str(informed.knowledge_)
    text = new_texts[0][0]
    assert loaded.knowledge_.explain(text) == informed.knowledge_.explain(text)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: v["weights"].append(1.0), r"weights has shape \(2,\), not \(1,\)"),
        (lambda v: v["weights"].__setitem__(0, -1.0), "must be finite and not below 0"),
        (lambda v: v["parts"][0]["nodes"].pop(), "surplus has shape"),
        (lambda v: v["parts"][0]["relations"].clear(), "kinds has places beyond -1"),
        (lambda v: v["parts"][0].update(kind="Fixed"), "KeyError: 'Fixed'"),
    ],
)
def test_damaged_knowledge_is_refused(change, said, informed, tmp_path):
    informed.save_pretrained(tmp_path / "m")
    file, config = tmp_path / "m" / saving.KNOWLEDGE, tmp_path / "m" / saving.CONFIG
    values, described = json.loads(file.read_text()), json.loads(config.read_text())
    change(values)
    file.write_text(json.dumps(values))
    # As by one who damages a model on purpose: the checksums fit.
    described["files"][saving.KNOWLEDGE] = sha256_of_file(file)
    described["digest"] = digest_of_config(described)
    config.write_text(json.dumps(described))
    with pytest.raises(ValueError, match=f"is damaged: its parts do not fit together .*{said}"):
        DomainAdapter.from_pretrained(tmp_path / "m")


def test_each_kind_is_saved(tiny, source, target, tmp_path):
    both = [Lexicon({"lol": {"pos": 2, "neg": -0.5}}), Rules((r"\bomg", "neg"), (r"fr.end", "pos"))]
    adapter = tiny(method="source_only", epochs=1, use_knowledge=True)
    adapter.fit(*source, X_target=target, knowledge=both).save_pretrained(tmp_path / "m")
    loaded = DomainAdapter.from_pretrained(tmp_path / "m").knowledge_
    for ours, theirs in zip(adapter.knowledge_.parts, loaded.parts, strict=True):
        assert (ours.evidence(target).values == theirs.evidence(target).values).all()
        assert ours.evidence(target).coverage > 0
    # What was passed is not changed.
    assert not hasattr(both[0], "classes_")


def test_a_function_that_cannot_be_saved_is_named_before_training(tiny, source, target, tmp_path):
    def friendly(text):
        return "pos" if "friend" in text else None

    adapter = tiny(method="source_only", epochs=1, use_knowledge=True)
    said = "rule 0, 'friendly', is a function"
    with pytest.warns(KnowledgeWarning, match=f"{said}.*: save_pretrained will refuse"):
        adapter.fit(*source, X_target=target, knowledge=Rules(friendly))
    with pytest.raises(ValueError, match=f"{said}.* cannot be saved; set use_knowledge=False"):
        adapter.save_pretrained(tmp_path / "m")
    assert not (tmp_path / "m").exists()
    with pytest.warns(KnowledgeWarning, match="the saved model is without its knowledge"):
        adapter.set_params(use_knowledge=False).save_pretrained(tmp_path / "m")
    assert DomainAdapter.from_pretrained(tmp_path / "m").knowledge_ is None


@pytest.mark.parametrize("method", ["student", "self_training"])
def test_labels_of_the_target_are_informed(method, tiny, source, target):
    """A lexicon that contradicts all others turns labels round only where it has a weight."""
    fits = [
        tiny(method=method, max_strength=1.0).fit(*source, X_target=target, knowledge=knowledge)
        for knowledge in (None, Lexicon({"unheard": "pos"}), Lexicon(dict.fromkeys(GOOD, "pos")))
    ]
    assert same(weights(fits[0]), weights(fits[1])), "silent knowledge changes nothing"
    assert fits[1].knowledge_.weights[0] == 0
    assert fits[2].knowledge_.weights[0] > 0
    assert not same(weights(fits[0]), weights(fits[2]))


def test_what_does_not_act_is_named(tiny, source, target):
    with pytest.warns(KnowledgeWarning, match="method='dann' trains, which labels no target texts"):
        tiny(epochs=1).fit(*source, X_target=target, knowledge=Lexicon({"lol": "pos"}))


def test_corrupted_target_labels_change_nothing(tiny, source, target):
    """They are not read, in whatever form they come."""
    import pandas as pd

    results = []
    for labels in (["pos"] * len(target), ["neg", "new"] * (len(target) // 2)):
        frame = pd.DataFrame({"text": target, "label": labels})
        adapter = tiny(method="student", max_strength=None)
        results.append(adapter.fit(*source, X_target=frame, knowledge=Graph(EDGES)))
    assert same(weights(results[0]), weights(results[1]))
    assert (results[0].knowledge_.weights == results[1].knowledge_.weights).all()


def test_a_report_says_what_spoke_for_which_class(informed, new_texts, tmp_path):
    page = plots.report(informed, tmp_path / "r.html", target=new_texts[0]).read_text()
    assert "What knowledge says about them" in page
    assert re.search(r">zib -similar to- \w+, in source texts of &#39;pos&#39;<", page)


def test_an_onnx_file_has_only_the_model(informed, tmp_path):
    with pytest.raises(ValueError, match=r"use_knowledge=True changes predictions.*=False to expo"):
        to_onnx(informed, tmp_path / "onnx")


def test_retargeting_weighs_anew(informed, new_texts, target):
    before = informed.knowledge_.weights.copy()
    texts = toy_texts(120, "film plot actor scene the", 0)
    again = informed.retarget(*texts, X_target=new_texts[0])
    assert (again.knowledge_.weights == before).all()
    other = informed.retarget(*texts, X_target=target).knowledge_
    assert other.target_coverage[0] == 1
    assert (other.alone == again.knowledge_.alone).all()
    informed.retarget(*texts, X_target=new_texts[0])


REFUSED = {
    "a string": ("good", {}, TypeError, "knowledge is 'good', no Lexicon, Rules or Graph"),
    "a class": (Graph, {}, TypeError, "(the class itself; call it)"),
    "the same twice": (
        [lexicon := Lexicon({"a": "pos"}), lexicon],
        {},
        ValueError,
        "Lexicon twice",
    ),
    "another class": (Lexicon({"a": "new"}), {}, ValueError, "does not have: ['new']"),
    "none": (None, {"use_knowledge": True}, ValueError, "use_knowledge=True needs knowledge"),
    "with neighbours": (
        Lexicon({"a": "pos"}),
        {"use_knowledge": True, "neighbors": 5},
        ValueError,
        "use_knowledge=True and neighbors=5 both change predictions",
    ),
    "a word": (None, {"use_knowledge": "yes"}, ValueError, "use_knowledge='yes' must be one of"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_refused_before_training(case, source, target):
    knowledge, params, error, words = REFUSED[case]
    adapter = DomainAdapter("no encoder", **{**TINY, "method": "student", **params})
    with pytest.raises(error, match=re.escape(words)):
        adapter.fit(*source, X_target=target, knowledge=knowledge)


def test_a_model_without_knowledge_says_so(fitted, target):
    adapter = copy.copy(fitted).set_params(use_knowledge=True)
    with pytest.raises(ValueError, match="the model has no knowledge; fit it with knowledge="):
        adapter.predict(target)

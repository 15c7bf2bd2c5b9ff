"""What each kind of knowledge says about texts, why, and what it refuses."""

from __future__ import annotations

import re

import networkx
import numpy as np
import pytest

from dann_transfer.knowledge import Graph, Knowledge, Lexicon, Rules
from dann_transfer.knowledge.votes import accuracies

NAN = float("nan")
SOURCE = ["a glorious film", "a dire film", "glorious plot", "dire plot"]
LABELS = ["good", "bad", "good", "bad"]
EDGES = [
    ("glorious", "similar to", "stellar"),
    ("dire", "similar to", "grim"),
    ("grim", "antonym", "sunny"),
    ("stellar", "similar_to", "blixy"),
    ("Snug_as a-bug", "similar to", "glorious"),
]


class Fixed(Knowledge):
    """Gives the same evidence for whatever text."""

    def __init__(self, evidence) -> None:
        self.evidence_of_all = evidence

    def values(self, texts):
        return self.evidence_of_all


@pytest.fixture
def graph() -> Graph:
    return Graph(EDGES).fit(SOURCE, LABELS)


def test_a_graph_carries_labels_to_words_that_the_source_lacks(graph):
    values, coverage = graph.evidence(["stellar phone", "a GRIM phone", "sunny", "blixy", "phone"])
    # In the order of the classes: bad, good. What is opposite to a bad word speaks for good.
    assert (values[:, 1] > 0).tolist() == [True, False, True, True, False]
    assert (values[:, 0] > 0).tolist() == [False, True, False, False, False]
    assert not values[4].any()
    assert coverage == pytest.approx(0.8)
    assert values[0, 1] > values[3, 1], "what is farther away counts less"


def test_the_longest_phrase_counts_and_signs_make_no_difference(graph):
    near, other = graph.evidence(["Snug as a bug!", "snug as a rug"]).values
    assert near[1] > 0
    assert not other.any()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "stellar",
            "good: .* 'stellar' .*stellar -similar to- glorious, in source texts of 'good'",
        ),
        ("blixy", "blixy -similar_to- stellar -similar to- glorious, in source texts of 'good'"),
        ("sunny", "good: .*sunny -antonym- grim -similar to- dire, in source texts not of 'good'"),
    ],
)
def test_a_graph_names_the_edges(graph, text, said):
    (reason,) = graph.explain(f"a {text} phone")
    assert re.search(said, str(reason)), str(reason)
    values = graph.evidence([f"a {text} phone"]).values[0]
    assert reason.amount == pytest.approx(values.max())


@pytest.mark.parametrize("kind", ["csv", "tab", "networkx"])
def test_graphs_of_all_origins_are_the_same(kind, graph, tmp_path):
    if kind == "networkx":
        net = networkx.MultiDiGraph()
        net.add_edges_from((a, b, {"relation": relation}) for a, relation, b in EDGES)
        other = Graph.from_networkx(net)
    else:
        separator = "," if kind == "csv" else "\t"
        rows = [("head", "relation", "tail"), *EDGES]
        path = tmp_path / "edges.csv"
        path.write_text("\n".join(map(separator.join, rows)), encoding="utf-8-sig")
        other = Graph.from_csv(path, separator)
    other.fit(SOURCE, LABELS)
    texts = ["stellar", "sunny", "snug as a bug"]
    assert np.allclose(other.evidence(texts).values, graph.evidence(texts).values, atol=1e-6)


def test_what_the_source_says_itself_is_left_to_the_model():
    """Also where a neighbour would only give it back."""
    alone = Graph([("glorious", "similar to", "stellar"), ("x", "r", "y")]).fit(SOURCE, LABELS)
    values = alone.evidence(["glorious", "stellar"]).values
    assert not values[0].any()
    assert values[1, 1] > 0


def test_spreading_is_the_mean_over_walks():
    rng = np.random.default_rng(0)
    edges = [(f"n{a}", "r", f"n{b}") for a, b in rng.integers(0, 12, (30, 2))]
    graph = Graph(edges, restart=0.3).fit(["n1", "n2 n3"], ["a", "b"])
    n = len(graph.nodes)
    counts = np.zeros((n, n))
    for a, _, b in ((graph.nodes.index(h), r, graph.nodes.index(t)) for h, r, t in edges):
        if a != b:
            counts[a, b] += 1
            counts[b, a] += 1
    walk = counts / counts.sum(1, keepdims=True).clip(1)
    exact = np.linalg.solve(np.eye(n) - 0.7 * walk, graph._surplus)
    assert np.allclose(graph._spread, exact, atol=1e-2)


def test_a_lexicon_handles_negation_or_leaves_it_out():
    entries = {"worth it": "good", "waste": {"bad": 2, "good": -1}}
    texts = ["It's worth it", "never worth it", "isn’t quite worth it", "not what I call a waste"]
    said = Lexicon(entries).fit(SOURCE, LABELS).evidence(texts).values
    assert (said[:, 1] > 0).tolist() == [True, False, False, False]
    plain = Lexicon(entries, negators=()).fit(SOURCE, LABELS)
    assert (plain.evidence(texts).values[:3, 1] > 0).all()
    (reason,) = Lexicon(entries).fit(SOURCE, LABELS).explain("never worth it")
    assert (reason.label, reason.what, reason.because) == ("bad", "worth it", "negated by 'never'")


def test_a_lexicon_from_a_file(tmp_path):
    path = tmp_path / "words.csv"
    path.write_text("phrase,class,weight\nworth it,good,2\nmeh,bad,0.5\nmeh,good,-0.5\n")
    assert Lexicon.from_csv(path).entries == {
        "worth it": {"good": 2.0},
        "meh": {"bad": 0.5, "good": -0.5},
    }


def test_rules_vote_as_often_rightly_as_is_estimated():
    def shouts(text):
        return "bad" if text.isupper() else None

    rules = Rules(
        ("glorious|stellar", "good"), (re.compile("Dire"), "bad"), shouts, ("film", "good")
    )
    rules.fit(SOURCE * 5, LABELS * 5)
    # The compiled one minds case, so it never voted; the last is right in half of its votes.
    assert rules.accuracies_.round(2).tolist() == [0.95, 0.7, 0.7, 0.53]
    values, coverage = rules.evidence(["Stellar", "DIRE", "dire", "a film"])
    assert (values[:, 1] > 0).tolist() == [True, False, False, True]
    assert coverage == 0.75
    assert [reason.what for reason in rules.explain("STELLAR FILM")] == [
        "glorious|stellar",
        "shouts",
        "film",
    ]


def test_agreement_on_the_target_corrects_what_the_source_says():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 600)
    right = rng.random((600, 4)) < [0.9, 0.8, 0.75, 0.3]
    votes = np.where(right, truth[:, None], (truth[:, None] + rng.integers(1, 3, (600, 4))) % 3)
    votes[rng.random(votes.shape) < 0.3] = -1
    few = accuracies(votes[:40], truth[:40], votes[:0], 3)
    more = accuracies(votes[:40], truth[:40], votes[40:], 3)
    real = np.array([(truth == v)[v >= 0].mean() for v in votes.T])
    assert np.abs(more - real).mean() < np.abs(few - real).mean()
    # Copies that agree always are not taken to be right always.
    copies = accuracies(votes[:40, :1].repeat(3, 1), truth[:40], votes[40:, 3:].repeat(3, 1), 3)
    alone = accuracies(votes[:40, :1], truth[:40], votes[:0, :1], 3)
    assert (copies < (1 + alone) / 2).all()


REFUSED = {
    "a graph without edges": (lambda: Graph([]), ValueError, "has 0 edges"),
    "a graph of loops": (lambda: Graph([("a", "r", "A")]), ValueError, "none of which joins two"),
    "a pair": (lambda: Graph([("a", "b")]), TypeError, "edge 0 is ('a', 'b'); pass (head"),
    "NaN at an end": (lambda: Graph([("a", "r", NAN)]), TypeError, "must be strings"),
    "an empty end": (lambda: Graph([("a", "r", " ")]), ValueError, "whose head or tail is empty"),
    "a string of edges": (lambda: Graph("a r b"), TypeError, "pass triples, or a file"),
    "a restart of 1": (lambda: Graph(EDGES, restart=1), ValueError, "restart=1 must be"),
    "a restart of NaN": (lambda: Graph(EDGES, restart=NAN), ValueError, "restart=nan must be"),
    "a word for a list": (lambda: Graph(EDGES, opposite="not"), TypeError, "opposite=['not']"),
    "no entry": (lambda: Lexicon({}), ValueError, "says nothing"),
    "a list of words": (lambda: Lexicon(["a"]), TypeError, "entries is a list"),
    "a weight of NaN": (lambda: Lexicon({"a": {"x": NAN}}), ValueError, "'a' for 'x' is nan"),
    "a polarity of NaN": (
        lambda: Lexicon.of_polarities({"a": NAN}, 1, 0),
        ValueError,
        "polarity of 'a' is nan",
    ),
    "an emoticon": (lambda: Lexicon({":-)": "x"}), ValueError, "':-)' holds signs"),
    "a phrase twice": (
        lambda: Lexicon({"a-b": "x", "A b": "y"}),
        ValueError,
        "is in the lexicon tw",
    ),
    "no rule": (lambda: Rules(), ValueError, "Rules without a rule"),
    "a rule without class": (lambda: Rules("refund"), TypeError, "rule 0 is 'refund'; pass (pat"),
    "a wrong pattern": (lambda: Rules(("(", "x")), ValueError, "the pattern '(' is no regular"),
    "a class of an edge too many": (
        lambda: Lexicon({"a": "new"}).fit(SOURCE, LABELS),
        ValueError,
        "Lexicon names classes that the source does not have: ['new']; it has ['bad', 'good']",
    ),
    "a rule's class": (
        lambda: Rules(("a", "new")).fit(SOURCE, LABELS),
        ValueError,
        "Rules names classes that the source does not have: ['new']",
    ),
    "a function's class": (
        lambda: Rules(lambda text: "new").fit(SOURCE, LABELS),
        ValueError,
        "rule 0, '<lambda>', votes 'new' for the text 'a glorious film'",
    ),
    "evidence of another shape": (
        lambda: Fixed(np.zeros((1, 3))).fit(SOURCE, LABELS).evidence(["a"]),
        ValueError,
        "evidence of shape (1, 3), but there are 1 texts and 2 classes",
    ),
    "evidence that is NaN": (
        lambda: Fixed([[0, NAN]]).fit(SOURCE, LABELS).evidence(["a fine text"]),
        ValueError,
        "gives evidence [0.0, nan] for the text 'a fine text'",
    ),
    "a string of texts": (
        lambda: Graph(EDGES).fit(SOURCE, LABELS).evidence("stellar"),
        TypeError,
        "X is a single str, 'stellar'",
    ),
    "a missing text": (
        lambda: Graph(EDGES).fit([None], ["good"]),
        TypeError,
        "X[0] is None (NoneType)",
    ),
    "labels missing": (lambda: Graph(EDGES).fit(SOURCE, ["a"]), ValueError, "X has 4 texts and y"),
    "not fitted": (lambda: Graph(EDGES).explain("a"), ValueError, "this Graph is not fitted"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_refused(case):
    call, error, words = REFUSED[case]
    with pytest.raises(error, match=re.escape(words)):
        call()


@pytest.mark.parametrize(
    ("kind", "line", "words"),
    [
        (Graph, "a,b", "line 2 has 2 columns; it needs head, relation, tail"),
        (Lexicon, "a", "line 2 has 1 columns: phrase, class"),
        (Lexicon, "a,b,much", "line 2: the weight 'much' is no number"),
        (Lexicon, "a,b,nan", "the weight of 'a' for 'b' is nan"),
    ],
)
def test_a_faulty_line_is_named(kind, line, words, tmp_path):
    path = tmp_path / "faulty.csv"
    first = "head,relation,tail" if kind is Graph else "phrase,class"
    path.write_text(f"{first}\n{line}\n")
    with pytest.raises(ValueError, match=re.escape(words)):
        kind.from_csv(path)


def test_a_file_spells_classes_that_are_numbers(tmp_path):
    path = tmp_path / "words.csv"
    path.write_text("phrase,class\nsuperb,1\ndull,0\n")
    lexicon = Lexicon.from_csv(path).fit(["superb film", "dull film"], [1, 0])
    assert repr(lexicon) == "Lexicon(2 phrases)"
    assert lexicon.evidence(["superb", "dull"]).values.tolist() == [[-0.5, 0.5], [0.5, -0.5]]
    rules = Rules(("superb", "1"), ("dull", "0")).fit(["superb film", "dull film"], [1, 0])
    assert rules.votes(["superb", "dull"]).tolist() == [[1, -1], [-1, 0]]
    with pytest.raises(ValueError, match=r"names classes that the source does not have: \['1'\]"):
        Lexicon.from_csv(path).fit(["superb film", "dull film"], [2, 0])

from __future__ import annotations

import numpy as np
import pytest
from conftest import toy_texts

from dann_transfer import DomainAdapter
from dann_transfer.judging.neighbors import Neighborhood, spread

pytestmark = pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning")


def clouds(rng, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return two clouds of directions, their labels, and a head misled by a third direction."""
    labels = rng.integers(0, 2, n)
    angle = np.where(labels, 0.25, 0.75) * np.pi + rng.normal(0, 0.12, n)
    x = np.stack([np.cos(angle), np.sin(angle), rng.normal(0, 0.1, n)], 1)
    p = 1 / (1 + np.exp(-6 * (x[:, 0] + 5 * x[:, 2])))
    return x, labels, np.stack([1 - p, p], 1)


def test_neighbours_outvote_those_on_the_wrong_side():
    rng = np.random.default_rng(0)
    x, labels, p = clouds(rng, 600)
    z, truth, q = clouds(rng, 400)
    alone = (q.argmax(1) == truth).mean()
    near = Neighborhood.of(x, p, 10)
    assert (near.smooth(z, q, 10).argmax(1) == truth).mean() >= alone + 0.03
    assert (spread(x, p, 10).argmax(1) == labels).mean() >= (p.argmax(1) == labels).mean() + 0.03


def test_the_spread_is_the_formula():
    rng = np.random.default_rng(1)
    x, p = rng.normal(size=(12, 3)), rng.dirichlet([1, 1], 12)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    near = unit @ unit.T
    np.fill_diagonal(near, -np.inf)
    weights = np.zeros((12, 12))
    for i, row in enumerate(near):
        weights[i, np.argsort(-row)[:3]] = 1 / 3
    expected = p
    for _ in range(30):
        expected = 0.1 * p + 0.9 * weights @ expected
    assert np.allclose(spread(x, p, 3), expected)
    assert np.allclose(spread(x, p, 3).sum(1), 1)


def test_few_texts_and_copies_of_one():
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    assert (spread(np.ones((1, 2)), p[:1], 10) == p[:1]).all()
    copies = spread(np.ones((3, 2)), p, 10)
    assert np.isfinite(copies).all()
    # Each text gets the two others as neighbours, and not itself again.
    assert copies[0, 0] < 0.9


def test_a_texts_prediction_does_not_depend_on_the_others(tiny, source, target, tmp_path):
    adapter = tiny(method="source_only", neighbors=5, epochs=4).fit(*source, X_target=target)
    plain = tiny(method="source_only", epochs=4).fit(*source, X_target=target)
    texts = toy_texts(30, "tweet lol omg", 7)[0]
    p = adapter.predict_proba(texts)
    alone = np.concatenate([adapter.predict_proba([text]) for text in texts])
    assert np.allclose(p, alone, atol=1e-5)
    assert not np.allclose(p, plain.predict_proba(texts), atol=1e-3)
    features, own = plain.outputs(texts)
    near = Neighborhood.of(*plain.outputs(target), 5)
    assert np.allclose(p, near.smooth(features, own, 5), atol=1e-5)
    adapter.save_pretrained(tmp_path / "m")
    loaded = DomainAdapter.from_pretrained(tmp_path / "m")
    assert np.allclose(loaded.predict_proba(texts), p, atol=1e-6)
    adapter.fitted_.target_prior["em"] = np.array([0.5, 0.5])
    adapter.set_params(correct_prior="em")
    with pytest.raises(ValueError, match="were never measured together"):
        adapter.predict(texts)


@pytest.mark.parametrize(
    ("params", "given", "words"),
    [
        ({"neighbors": 5}, {}, "neighbors=5 needs target texts"),
        ({"neighbors": 0}, {}, "neighbors=0 must be a whole number of at least 1"),
        ({"neighbors": 5, "correct_prior": "em"}, {"X_target": ["lol"] * 9}, "both change predict"),
    ],
)
def test_what_neighbors_needs(params, given, words, tiny, source):
    with pytest.raises(ValueError, match=words):
        tiny(method="source_only", **params).fit(*source, **given)

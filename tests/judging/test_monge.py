from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.linalg import inv, sqrtm

from dann_transfer.judging.alignment import (
    AlignmentWarning,
    Moments,
    class_weights,
    moments,
    monge,
    transport,
)


def gaussian(rng, width: int, n: int = 300) -> Moments:
    """Return the moments of a Gaussian with correlated features."""
    x = rng.normal(size=(n, width)) @ rng.normal(size=(width, width)) + rng.normal(size=width)
    return moments(x)


def domains(shares: tuple[float, float], n: int = 8000):
    """Return a source of 90 and 10 % of two classes, and a target of other shares that an affine
    map of the source's classes makes: features and labels of both, and the matrix of the map."""
    rng = np.random.default_rng(0)
    centres = np.array([[2.0, 0, 0, 1], [-2, 1, 0, 0]])
    root = rng.normal(size=(4, 4))
    # Symmetric and positive definite, as every linear Monge map is.
    matrix = root @ root.T / 4 + 0.3 * np.eye(4)

    def drawn(share: float) -> tuple[np.ndarray, np.ndarray]:
        labels = (rng.random(n) >= share).astype(int)
        return rng.normal(size=(n, 4)) + centres[labels], labels

    (x, y), (z, truth) = drawn(0.9), drawn(shares[0])
    return x, y, z @ matrix + np.arange(4), truth, z


def test_the_map_is_the_formula():
    rng = np.random.default_rng(1)
    for width in (1, 3, 12):
        source, target = gaussian(rng, width), gaussian(rng, width)
        S, T = (
            domain.covariance + 0.1 * np.trace(domain.covariance) / width * np.eye(width)
            for domain in (source, target)
        )
        root = sqrtm(S)
        expected = root @ inv(sqrtm(root @ T @ root)) @ root
        result = monge(source, target)
        assert np.allclose(result.matrix, expected, atol=1e-4)
        assert (result.matrix == result.matrix.T).all()
        x = rng.normal(size=(5, width))
        by_hand = source.mean + (x - target.mean) @ expected.T
        assert np.allclose(result(x), by_hand, atol=1e-3)
        # Without a ridge, the mapped target has the source's moments.
        exact = monge(source, target, ridge=0.0)
        mapped = exact.matrix @ target.covariance @ exact.matrix
        assert np.allclose(mapped, source.covariance, atol=1e-3)
        assert np.allclose(exact(target.mean[None]), source.mean, atol=1e-4)


def test_pot_computes_the_same_map():
    ot = pytest.importorskip("ot")
    rng = np.random.default_rng(2)
    source, target = gaussian(rng, 6), gaussian(rng, 6)
    matrix, offset = ot.gaussian.bures_wasserstein_mapping(
        target.mean, source.mean, target.covariance, source.covariance
    )
    result = monge(source, target, ridge=0.0)
    assert np.allclose(result.matrix, matrix, atol=1e-4)
    assert np.allclose(result.offset, offset, atol=1e-3)


def test_moments_are_those_of_repeated_texts():
    rng = np.random.default_rng(3)
    x, counts = rng.normal(size=(6, 3)), np.array([1, 4, 2, 1, 1, 3])
    mean, covariance = moments(x, counts / counts.sum())
    repeated = np.repeat(x, counts, axis=0)
    assert np.allclose(mean, repeated.mean(0))
    assert np.allclose(covariance, np.cov(repeated.T, bias=True))


def test_the_weighted_map_recovers_what_other_class_shares_hide():
    x, labels, z, truth, before = domains((0.5, 0.5))
    p = np.eye(2)[truth]
    weighted = transport(x, labels, z, p, ridge=0.0)(z)
    unweighted = monge(moments(x), moments(z), ridge=0.0)(z)
    errors = [np.abs(mapped - before).mean() for mapped in (weighted, unweighted)]
    assert errors[0] < 0.05
    assert errors[1] > 0.3
    # The centre of each class is where the source has it.
    for code in (0, 1):
        centre = weighted[truth == code].mean(0)
        assert np.allclose(centre, x[labels == code].mean(0), atol=0.15)
    # With the shares of the source, both are right.
    x, labels, z, truth, before = domains((0.9, 0.1))
    assert np.abs(monge(moments(x), moments(z), ridge=0.0)(z) - before).mean() < 0.05


def test_every_class_has_the_same_mass_in_both_domains():
    rng = np.random.default_rng(4)
    members = np.eye(4)[rng.choice(4, 900, p=[0.6, 0.3, 0.09, 0.01])]
    p = rng.dirichlet([2, 1, 1, 1], 500)
    a, b = class_weights(members, p)
    assert a.sum() == pytest.approx(1)
    assert b.sum() == pytest.approx(1)
    mass = a @ members
    # A text may be in part of several classes, so the target's mass is counted by parts.
    parts = p / p.sum(0) * mass
    assert np.allclose(parts.sum(1), b)
    assert np.allclose(
        class_weights(members, p, doubt=0.0)[0] @ members, (members.mean(0) + p.mean(0)) / 2
    )
    # The rare class counts less than by its shares alone.
    assert mass[3] < ((members.mean(0) + p.mean(0)) / 2)[3] / 1.5


def test_a_class_that_one_domain_lacks_has_no_mass():
    members, p = np.eye(3)[[0, 0, 1, 1, 2, 2]], np.eye(3)[[0, 1, 1, 0, 1]]
    a, b = class_weights(members, p)
    assert a[4:].tolist() == [0, 0]
    assert (a @ members)[:2] == pytest.approx([b[[0, 3]].sum(), b[[1, 2, 4]].sum()])


def test_one_class_alone_gives_the_map_without_weights():
    rng = np.random.default_rng(5)
    x, z = rng.normal(size=(50, 3)), rng.normal(size=(40, 3)) * 2 + 1
    alone = transport(x, np.zeros(50, dtype=int), z, np.ones((40, 1)))
    assert np.allclose(alone.matrix, monge(moments(x), moments(z)).matrix)
    one = np.eye(2)[np.zeros(40, dtype=int)]
    with pytest.raises(ValueError, match="all 40 target texts are predicted to be of one class"):
        transport(x, np.arange(50) % 2, z, one)


def test_few_texts_are_shrunk_and_said():
    rng = np.random.default_rng(6)
    x, z = rng.normal(size=(30, 40)), 2 * rng.normal(size=(400, 40)) + 1
    labels, p = np.arange(30) % 2, np.eye(2)[np.arange(400) % 2]
    with pytest.warns(AlignmentWarning, match="few source texts: 30, which count as 30 .* 40 feat"):
        result = transport(x, labels, z, p)
    mapped = result(rng.normal(size=(400, 40)) * 2 + 1)
    assert np.isfinite(mapped).all()
    # Texts that the map has not seen come as near as the ridge lets them.
    assert abs(mapped.mean() - x.mean()) < 0.2
    assert 0.5 < mapped.std() / x.std() < 1.2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        transport(z, np.arange(400) % 2, z, p)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"target": np.ones((60, 3))}, "all target texts have the same features; set align=None"),
        ({"source": np.zeros((50, 3))}, "all source texts have the same features"),
        ({"source": np.ones((9, 3)), "labels": np.zeros(9, int)}, "there are 9 source texts, and"),
        ({"target": np.full((60, 3), np.nan)}, "features of target texts are NaN or infinite"),
        ({"target": np.ones((60, 4))}, r"shapes \(50, 3\) and \(60, 4\)"),
        ({"probabilities": np.eye(2)[[0, 1]]}, r"shape \(2,\); it needs one entry for each of th"),
        ({"labels": np.zeros(3, dtype=int)}, "one entry for each of the 50 source texts"),
        ({"weights": np.full(50, -1.0)}, "weights must be finite and not below 0"),
    ],
)
def test_what_cannot_be_mapped_is_refused(change, words):
    rng = np.random.default_rng(7)
    given = {
        "source": rng.normal(size=(50, 3)),
        "labels": np.arange(50) % 2,
        "target": rng.normal(size=(60, 3)),
        "probabilities": np.eye(2)[np.arange(60) % 2],
    }
    with pytest.raises(ValueError, match=words):
        transport(**{**given, **change})


def test_a_feature_that_never_varies_stays_as_it_is():
    rng = np.random.default_rng(8)
    x, z = rng.normal(size=(200, 3)), rng.normal(size=(200, 3)) + 2
    x[:, 1], z[:, 1] = 5.0, 7.0
    codes = np.arange(200) % 2
    mapped = transport(x, codes, z, np.eye(2)[codes])(z)
    assert np.allclose(mapped[:, 1], 5.0, atol=1e-4)
    with pytest.raises(ValueError, match="directions without variance; pass features that vary"):
        monge(moments(x), moments(z), ridge=0.0)

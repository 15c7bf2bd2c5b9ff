"""Each loss against a plain numpy evaluation of its paper's formula, and against closed forms."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import batch_of
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from scipy.special import softmax
from scipy.stats import entropy
from torch.nn import functional as F

from dann_transfer import methods
from dann_transfer.methods import Forward
from dann_transfer.methods.afn import step_norm_loss
from dann_transfer.methods.coral import coral_loss
from dann_transfer.methods.iwdan import class_weights
from dann_transfer.methods.mcc import class_confusion
from dann_transfer.methods.mlm import pretrained_head
from dann_transfer.methods.mmd import SCALES, gaussian_kernel, squared_mmd
from dann_transfer.methods.self_training import pseudo_labels
from dann_transfer.methods.shot import centroid_labels
from dann_transfer.model.encoder import Encoder
from dann_transfer.texts.batches import Batch


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def forward(rng: np.random.Generator, n: int = 7, m: int = 5, width: int = 6, classes: int = 3):
    features = torch.tensor(rng.normal(size=(n + m, width)), requires_grad=True)
    logits = torch.tensor(rng.normal(size=(n + m, classes)) * 2)
    labels = torch.tensor(rng.integers(0, classes, n))
    return Forward(features, logits, batch_of(labels))


def numpy_kernel(x: np.ndarray) -> np.ndarray:
    squared = cdist(x, x, "sqeuclidean")
    n = len(x)
    mean = squared.sum() / (n * (n - 1))
    return np.mean([np.exp(-squared / (scale * mean)) for scale in SCALES], axis=0)


def numpy_mmd(kernel: np.ndarray, n: int) -> float:
    weights = np.concatenate([np.full(n, 1 / n), np.full(len(kernel) - n, -1 / (len(kernel) - n))])
    # The biased estimate is the squared norm of the difference of mean embeddings: w' K w.
    return float(weights @ kernel @ weights)


def test_mmd_is_the_quadratic_form_of_the_kernel(rng):
    f = forward(rng)
    kernel = numpy_kernel(f.features.detach().numpy())
    assert np.allclose(gaussian_kernel(f.features).detach().numpy(), kernel)
    value = methods.create("mmd").loss(f, 1.0)["mmd"].item()
    assert value == pytest.approx(numpy_mmd(kernel, 7))
    assert value > 0
    halved = methods.create("mmd").loss(f, 0.5)["mmd"].item()
    assert halved == pytest.approx(value / 2)


def test_mmd_of_a_domain_with_itself_is_zero(rng):
    x = torch.tensor(rng.normal(size=(9, 4)))
    assert squared_mmd(gaussian_kernel(torch.cat([x, x])), 9).item() == pytest.approx(0, abs=1e-12)


def test_mmd_has_a_finite_gradient_where_rows_coincide():
    x = torch.ones(6, 4, requires_grad=True)
    squared_mmd(gaussian_kernel(x), 3).backward()
    assert torch.isfinite(x.grad).all()


def test_jan_multiplies_the_kernels_of_features_and_predictions(rng):
    f = forward(rng)
    p = softmax(f.logits.numpy(), axis=1)
    kernel = numpy_kernel(f.features.detach().numpy()) * numpy_kernel(p)
    value = methods.create("jan").loss(f, 1.0)["jmmd"].item()
    assert value == pytest.approx(numpy_mmd(kernel, 7))


def test_coral_is_the_distance_of_covariances(rng):
    source, target = rng.normal(size=(9, 4)), rng.normal(size=(6, 4)) * 3
    gap = np.cov(source, rowvar=False) - np.cov(target, rowvar=False)
    expected = np.linalg.norm(gap, "fro") ** 2 / (4 * 4**2)
    assert coral_loss(torch.tensor(source), torch.tensor(target)).item() == pytest.approx(expected)
    # In closed form: one dimension, variances 1 and 4 (two points each), width 1.
    one = torch.tensor([[-1.0], [1.0]]) / 2**0.5
    assert coral_loss(one, 2 * one).item() == pytest.approx((1 - 4) ** 2 / 4)


def test_mcc_is_the_papers_class_confusion(rng):
    z, temperature = rng.normal(size=(8, 4)) * 3, 2.5
    p = softmax(z / temperature, axis=1)
    sure = 1 + np.exp(-entropy(p, axis=1))
    weights = np.diag(8 * sure / sure.sum())
    confusion = p.T @ weights @ p
    confusion /= confusion.sum(axis=1, keepdims=True)
    expected = (confusion.sum() - np.trace(confusion)) / 4
    assert class_confusion(torch.tensor(z), temperature).item() == pytest.approx(expected)


def test_mcc_in_closed_form():
    undecided = torch.zeros(5, 4)
    assert class_confusion(undecided, 2.5).item() == pytest.approx(1 - 1 / 4)
    sure = 1000 * torch.eye(4)
    assert class_confusion(sure, 2.5).item() == pytest.approx(0, abs=1e-6)


def test_afn_asks_each_norm_to_grow_by_one_step(rng):
    x = torch.tensor(rng.normal(size=(5, 3)), requires_grad=True)
    loss = step_norm_loss(x, 1.5)
    # The norm itself cancels, which leaves the squared step; what matters is the gradient.
    assert loss.item() == pytest.approx(1.5**2)
    loss.backward()
    norms = x.detach().norm(dim=1, keepdim=True)
    assert torch.allclose(x.grad, -2 * 1.5 * x.detach() / norms / 5)


def test_cdan_crosses_features_with_predictions(rng):
    cdan = methods.create("cdan")
    cdan.build(6, 3)
    f, p = torch.tensor(rng.normal(size=(2, 6))), torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
    crossed = cdan.multilinear(f, p.double())
    assert torch.allclose(crossed[0], torch.kron(p[0].double(), f[0]))
    assert torch.allclose(crossed[1, :6], f[1])
    assert (crossed[1, 6:] == 0).all()


def test_cdans_random_map_keeps_inner_products_in_expectation(rng):
    torch.manual_seed(0)
    cdan = methods.create("cdan", {"max_width": 60_000})
    cdan.build(400, 200)
    f = torch.tensor(rng.normal(size=(2, 400)), dtype=torch.float32)
    p = torch.tensor(softmax(rng.normal(size=(2, 200)), axis=1), dtype=torch.float32)
    crossed = cdan.multilinear(f, p)
    assert crossed.shape == (2, 60_000)
    expected = (f[0] @ f[0]) * (p[0] @ p[0])
    assert (crossed[0] @ crossed[0]).item() == pytest.approx(expected.item(), rel=0.1)


def test_cdan_with_entropy_weighs_each_domain_by_certainty(rng):
    torch.manual_seed(0)
    method = methods.create("cdan+e")
    method.build(6, 3)
    method.double()
    f = forward(rng)
    p = softmax(f.logits.numpy(), axis=1)
    weights = 1 + np.exp(-entropy(p, axis=1))
    crossed = method.multilinear(f.features, torch.tensor(p))
    z = method.discriminator(crossed).detach().numpy()
    each = np.where(np.arange(12) < 7, np.logaddexp(0, -z), np.logaddexp(0, z)) * weights
    expected = 0.5 * (each[:7].sum() / weights[:7].sum() + each[7:].sum() / weights[7:].sum())
    assert method.loss(f, 0.3)["domain"].item() == pytest.approx(expected)


def test_iwdan_solves_the_papers_quadratic_program(rng):
    joint = rng.dirichlet(np.ones(9)).reshape(3, 3) + np.diag([0.2, 0.3, 0.4])
    joint /= joint.sum()
    prior = joint.sum(0)
    # Where the program has an exact solution it is the true ratio of class shares.
    shares = np.array([0.7, 0.1, 0.2])
    exact = class_weights(joint, joint @ (shares / prior), ridge=0)
    assert np.allclose(exact, shares / prior, atol=1e-4)
    # The ridge hardly moves it, but predictions that say nothing of the class leave it at 1.
    assert np.allclose(class_weights(joint, joint @ exact), exact, atol=0.1)
    assert np.allclose(class_weights(np.full((3, 3), 1 / 9), np.full(3, 1 / 3)), 1)
    # Elsewhere it is what a general solver finds, also on the boundary.
    for predicted in (np.array([0.9, 0.05, 0.05]), np.array([0.0, 0.0, 1.0])):
        best = minimize(
            lambda w, mu=predicted: np.square(mu - joint @ w).sum(),
            np.ones(3),
            method="SLSQP",
            bounds=[(0, None)] * 3,
            constraints={"type": "eq", "fun": lambda w: w @ prior - 1},
            options={"ftol": 1e-14},
        )
        assert np.allclose(class_weights(joint, predicted, ridge=0), best.x, atol=1e-3)
    assert (best.x < 1e-6).any()


def test_iwdan_estimates_its_weights_from_the_batches_between(rng):
    method = methods.create("iwdan", {"estimate_every": 2, "momentum": 0.25})
    method.build(6, 3)
    method.double()
    steps = [replace(forward(rng, 40, 60), encode=lambda ids, mask: ids) for _ in range(2)]
    joint, predicted = np.zeros((3, 3)), np.zeros(3)
    for f in steps:
        assert method.weights.tolist() == [1.0] * 3
        method.loss(f.detach(), 1.0)  # an extra step of the discriminator counts nothing
        method.loss(f, 1.0)
        p, y = softmax(f.logits.numpy(), axis=1), f.labels.numpy()
        for c in range(3):
            joint[:, c] += p[:40][y == c].sum(0) / 80
        predicted += p[40:].mean(0) / 2
    expected = 0.75 + 0.25 * class_weights(joint, predicted)
    assert np.allclose(method.weights.numpy(), expected)
    assert not np.allclose(expected, 1, atol=0.01)


def test_iwdan_keeps_the_weight_of_a_class_without_texts(rng):
    method = methods.create("iwdan", {"estimate_every": 1, "momentum": 1.0})
    method.build(6, 3)
    method.double()
    method.weights.copy_(torch.tensor([1.0, 1.0, 3.0]))
    f = replace(
        forward(rng), batch=batch_of(torch.tensor([0, 1] * 3 + [0])), encode=lambda ids, mask: ids
    )
    method.loss(f, 1.0)
    assert method.weights[2].item() == 3.0
    assert method.weights[0].item() != 1.0


def test_iwdan_weighs_source_texts_by_their_class(rng):
    torch.manual_seed(0)
    method = methods.create("iwdan")
    method.build(6, 3)
    method.double()
    method.weights.copy_(torch.tensor([0.5, 2.0, 1.0]))
    f = forward(rng)
    z = method.discriminator(f.features).detach().numpy()
    w = np.array([0.5, 2.0, 1.0])[f.labels.numpy()]
    expected = 0.5 * ((w * np.logaddexp(0, -z[:7])).mean() + np.logaddexp(0, z[7:]).mean())
    assert method.loss(f, 0.3)["domain"].item() == pytest.approx(expected)
    # With weights of 1 it is DANN.
    method.weights.fill_(1.0)
    dann = methods.create("dann")
    dann.build(6, 3)
    dann.double().discriminator.load_state_dict(method.discriminator.state_dict())
    assert torch.allclose(method.loss(f, 0.3)["domain"], dann.loss(f, 0.3)["domain"])


@pytest.mark.parametrize("name", ["cdan", "cdan+e", "iwdan", "wdgrl", "mdd", "mcd"])
def test_adversarial_methods_reverse_the_gradient_for_the_encoder_alone(rng, name):
    """The gradient at strength s is -s times that of the same loss with nothing reversed."""

    def gradients(strength: float) -> tuple[torch.Tensor, list[torch.Tensor]]:
        torch.manual_seed(0)
        method = methods.create(name)
        method.build(6, 3)
        method.double()
        f = forward(np.random.default_rng(3))
        sum(method.loss(f, strength).values()).backward()
        return f.features.grad, [p.grad for p in method.parameters() if p.grad is not None]

    plain, own = gradients(-1.0)
    turned, same = gradients(0.3)
    assert plain.abs().max() > 1e-6
    assert torch.allclose(turned, -0.3 * plain)
    assert all(torch.equal(a, b) for a, b in zip(own, same, strict=True))


def test_wdgrls_penalty_of_a_linear_critic_is_known(rng):
    method = methods.create("wdgrl")
    method.build(3, 2)
    slope = torch.tensor([[3.0, 0.0, 4.0]])
    linear = torch.nn.Linear(3, 1, bias=False)
    linear.weight.data = slope
    method.critic = torch.nn.Sequential(linear, torch.nn.Flatten(0))
    x = torch.tensor(rng.normal(size=(4, 3)), dtype=torch.float32)
    # Its gradient is the slope everywhere, with norm 5.
    assert method.gradient_penalty(x, x + 1).item() == pytest.approx((5 - 1) ** 2)


def test_mcd_in_numpy(rng):
    torch.manual_seed(0)
    method = methods.create("mcd")
    method.build(6, 3)
    method.double()
    f = forward(rng)
    p, q = (
        softmax(part(f.features).detach().numpy(), axis=1) for part in (method.one, method.other)
    )
    terms = method.loss(f, 0.3)
    assert terms["disagreement"].item() == pytest.approx(-np.abs(p[7:] - q[7:]).mean())
    rows = np.arange(7), f.labels.numpy()
    expected = -np.log(p[rows]).mean() - np.log(q[rows]).mean()
    assert terms["classifiers"].item() == pytest.approx(expected)


def test_bsp_is_the_largest_eigenvalue_of_the_gram_matrix(rng):
    f = forward(rng)
    x = f.features.detach().numpy()
    largest = [np.linalg.eigvalsh(part @ part.T)[-1] for part in (x[:7], x[7:])]
    assert methods.create("bsp").loss(f, 0.5)["spectral"].item() == pytest.approx(
        0.5 * sum(largest)
    )


def test_mdd_in_numpy(rng):
    torch.manual_seed(0)
    method = methods.create("mdd")
    method.build(6, 3)
    method.double()
    f = forward(rng)
    z = method.second(f.features).detach().numpy()
    first = f.logits.numpy().argmax(1)
    p = softmax(z, axis=1)[np.arange(12), first]
    expected = 4 * -np.log(p[:7]).mean() - np.log(1 - p[7:]).mean()
    assert method.loss(f, 0.2)["disparity"].item() == pytest.approx(expected)


def test_a_combination_adds_its_parts_each_at_its_own_strength(rng):
    f = forward(rng)
    both = methods.create("mmd+mcc", {"mcc": {"strength": 0.5, "temperature": 2.0}})
    terms = both.loss(f, 0.4)
    alone = methods.create("mmd").loss(f, 0.4)["mmd"]
    confusion = methods.create("mcc", {"temperature": 2.0}).loss(f, 0.2)["confusion"]
    assert terms["mmd"].item() == pytest.approx(alone.item())
    assert terms["confusion"].item() == pytest.approx(confusion.item())
    three = methods.create("cdan+e+mcc+dann")
    assert list(three.parts) == ["cdan+e", "mcc", "dann"]
    three.build(6, 3)
    three.double()
    assert set(three.loss(f, 1.0)) == {"domain", "confusion", "dann domain"}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mmd+nothing", None, r"part 'nothing' of method='mmd\+nothing' is not known; .*'mmd'"),
        ("mmd+", None, "part '' of method"),
        ("mmd+mmd", None, "names a part twice"),
        ("mmd+mcc", {"dann": {}}, r"\['dann'\] are not parts of it"),
        (
            "mmd+mcc",
            {"mcc": {"heat": 1}},
            r"mcc has no option 'heat'; its options are \['temperature'\]",
        ),
    ],
)
def test_combinations_fail_loudly(name, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        methods.create(name, options)


def test_mdan_gives_the_gradient_of_the_papers_soft_bound(rng):
    n, m, width, sharpness = 8, 6, 5, 3.0
    method = methods.create("mdan", {"width": 7, "sharpness": sharpness})
    method.n_domains = 2
    method.build(width, 3)
    method.double()
    features = torch.tensor(rng.normal(size=(n + m, width)), requires_grad=True)
    head = torch.tensor(rng.normal(size=(width, 3)))
    labels, of = torch.tensor(rng.integers(0, 3, n)), torch.arange(n) % 2
    batch = Batch(torch.zeros(n + m, 1), torch.zeros(n + m, 1), labels, source_domains=of)
    f = Forward(features, features @ head, batch)
    task = F.cross_entropy(f.source_logits, labels)
    (ours,) = torch.autograd.grad(task + sum(method.loss(f, 1.0).values()), features)

    bounds = []
    for i in range(2):
        rows = of == i
        own = F.cross_entropy((features @ head)[:n][rows], labels[rows])
        logits = [method.discriminators[i](x) for x in (features[:n][rows], features[n:])]
        domain = -0.5 * (F.logsigmoid(logits[0]).mean() + F.logsigmoid(-logits[1]).mean())
        bounds.append(sharpness * (own - domain))
    bound = (torch.stack(bounds).logsumexp(0) - np.log(2)) / sharpness
    (papers,) = torch.autograd.grad(bound, features)
    assert torch.allclose(ours, papers)


def test_mdan_of_one_source_is_dann(rng):
    f = forward(rng)
    torch.manual_seed(0)
    mdan, dann = methods.create("mdan"), methods.create("dann")
    mdan.build(6, 3)
    dann.build(6, 3)
    dann.discriminator.load_state_dict(mdan.discriminators[0].state_dict())
    grads = []
    for method in (mdan.double(), dann.double()):
        loss = sum(method.loss(f, 0.3).values())
        grads.append(torch.autograd.grad(loss, f.features, retain_graph=True)[0])
    assert torch.allclose(*grads)


def test_addas_discriminator_and_encoder_learn_apart(rng):
    # With unlucky initial weights, all seven units could be dead on a row.
    torch.manual_seed(0)
    f = replace(forward(rng), encode=lambda ids, mask: ids)
    method = methods.create("adda", {"width": 7})
    method.build(6, 3)
    method.double()
    terms = method.loss(f, 0.3)
    logits = method.discriminator(f.features).detach().numpy()
    told = np.log1p(np.exp(-logits[:7])).mean(), np.log1p(np.exp(logits[7:])).mean()
    assert terms["domain"].item() == pytest.approx(0.5 * sum(told))
    # The target's labels are inverted: the encoder wants each target row to be taken for source.
    assert terms["mapping"].item() == pytest.approx(np.log1p(np.exp(-logits[7:])).mean())
    own = list(method.parameters())
    seen = torch.autograd.grad(terms["domain"], [*own, f.features], allow_unused=True)
    assert all(g.abs().max() > 0 for g in seen[:-1])
    assert seen[-1] is None
    seen = torch.autograd.grad(terms["mapping"], [*own, f.features], allow_unused=True)
    assert all(g is None for g in seen[:-1])
    assert seen[-1][:7].abs().max() == 0
    assert (seen[-1][7:].abs().sum(1) > 0).all()
    assert "mapping" not in method.loss(f.detach(), 0.3)


def test_pseudo_labels_are_the_surest_of_each_class(rng):
    p = softmax(rng.normal(size=(200, 4)) * 2 + [1, 0, 0, -2], axis=1)
    labels = pseudo_labels(torch.tensor(p), 0.3).numpy()
    for c in range(4):
        sure = np.sort(p[p.argmax(1) == c, c])[::-1]
        n = int(0.3 * len(sure) + 0.5)
        assert n > 0
        assert (labels == c).sum() == n
        assert p[labels == c, c].min() == sure[n - 1]
    assert set(labels) == {-100, 0, 1, 2, 3}


def test_self_training_is_the_mean_cross_entropy_over_pseudo_labels(rng):
    f = forward(rng)
    given = torch.tensor([-100, 2, -100, 0, 1])
    batch = Batch(f.labels, f.labels, f.labels, extras={"pseudo_labels": given})
    method = methods.create("self_training")
    value = method.loss(replace(f, batch=batch), 0.5)["pseudo"].item()
    p = softmax(f.logits[7:].numpy(), axis=1)
    assert value == pytest.approx(-0.5 * np.mean(np.log(p[[1, 3, 4], [2, 0, 1]])))


def test_centroid_labels_are_the_papers_two_rounds(rng):
    x = rng.normal(size=(60, 5)) + 0.5
    p = softmax(rng.normal(size=(60, 4)) * 2 + [1, 0, 0, -2], axis=1)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    soft = (p[:, :, None] * unit[:, None]).sum(0) / p.sum(0)[:, None]
    first = cdist(unit, soft, "cosine").argmin(1)
    hard = np.stack([unit[first == c].mean(0) for c in range(4)])
    second = cdist(unit, hard, "cosine").argmin(1)
    assert len(set(first)) == 4
    assert (first != second).any()
    assert centroid_labels(torch.tensor(x), torch.tensor(p), 1).tolist() == first.tolist()
    assert centroid_labels(torch.tensor(x), torch.tensor(p)).tolist() == second.tolist()


def test_a_class_without_texts_has_no_centroid():
    # The third text's cosine with the only centroid is negative, which is nearer than nothing.
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-0.9, 0.1]])
    for none in (0.0, 1e-14):
        p = torch.tensor([[1.0, none]] * 3)
        assert centroid_labels(x, p).tolist() == [0, 0, 0]


def test_shots_labels_reach_their_own_rows():
    method = methods.create("shot")
    phase = method.phases(1)[1]
    predicted = torch.eye(4), torch.eye(4)[[3, 1, 2, 0]]
    method.memory = method.remember(lambda: predicted, 0.0)
    rows = torch.zeros(2)
    batch = Batch(rows, rows, rows, target_rows=torch.tensor([2, 0]))
    labels = phase.prepare(batch, torch.Generator()).extras["centroid_labels"]
    assert labels.tolist() == [2, 3]


def test_shot_is_entropy_less_diversity_and_the_centroids_cross_entropy(rng):
    f = forward(rng)
    given = torch.tensor([1, 2, 0, 0, 1])
    batch = Batch(f.labels, f.labels, f.labels, extras={"centroid_labels": given})
    method = methods.create("shot", {"pseudo_weight": 0.4, "diversity": 0.7})
    terms = method.loss(replace(f, batch=batch), 0.123)
    p = softmax(f.logits[7:].numpy(), axis=1)
    information = entropy(p, axis=1).mean() - 0.7 * entropy(p.mean(0))
    assert terms["information"].item() == pytest.approx(information)
    assert terms["pseudo"].item() == pytest.approx(-0.4 * np.log(p[np.arange(5), given]).mean())
    # The strength scales the learning rate and not the loss.
    again = method.loss(replace(f, batch=batch), 1.0)
    assert {k: v.item() for k, v in again.items()} == {k: v.item() for k, v in terms.items()}


@pytest.fixture(params=["bert", "roberta", "distilbert"])
def masked_encoder(request, tiny_encoder, tmp_path):
    """A tiny checkpoint that was trained on masked words, as hub models are."""
    import transformers as hf

    sizes = {"vocab_size": 25, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"intermediate_size": 64, "max_position_embeddings": 66, "pad_token_id": 0}
    small = {"vocab_size": 25, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}
    config, cls = {
        "bert": (hf.BertConfig(**sizes), hf.BertForMaskedLM),
        "roberta": (hf.RobertaConfig(**sizes), hf.RobertaForMaskedLM),
        "distilbert": (hf.DistilBertConfig(**small), hf.DistilBertForMaskedLM),
    }[request.param]
    torch.manual_seed(0)
    model = cls(config).eval()
    for p in model.parameters():
        p.data += 0.1 * torch.randn_like(p)
    model.save_pretrained(tmp_path)
    hf.AutoTokenizer.from_pretrained(tiny_encoder).save_pretrained(tmp_path)
    return cls.from_pretrained(tmp_path).eval(), Encoder.from_pretrained(tmp_path).eval()


def test_mlm_starts_from_the_checkpoints_own_head(masked_encoder):
    model, encoder = masked_encoder
    method = methods.create("mlm")
    method.attach(encoder, 1)
    method.build(encoder.features, 2)
    ids = torch.tensor([[2, 7, 8, 3], [2, 9, 3, 0]])
    mask = (ids != 0).long()
    with torch.no_grad():
        logits = method.word_logits(encoder.token_states(ids, mask))
        expected = model(input_ids=ids, attention_mask=mask).logits
    assert torch.allclose(logits, expected, atol=1e-5)


def test_mlm_is_the_cross_entropy_of_masked_words(tiny_encoder):
    encoder = Encoder.from_pretrained(tiny_encoder).eval()
    assert pretrained_head(encoder) is None
    method = methods.create("mlm", {"probability": 0.5})
    method.attach(encoder, 1)
    method.build(32, 2)
    ids = torch.tensor([[2, 7, 8, 9, 3], [2, 10, 3, 0, 0], [2, 11, 12, 3, 0]])
    batch = Batch(ids, (ids != 0).long(), torch.tensor([0]), target_rows=torch.arange(2))
    batch = method.prepare(batch, torch.Generator().manual_seed(1))
    words = batch.extras["words"]
    assert words.shape == (2, 5)
    asked = words != -100
    assert asked.any()
    f = Forward(torch.zeros(1, 32), torch.zeros(1, 2), batch)
    value = method.loss(replace(f, encode=encoder.token_states), 0.5)["mlm"].item()
    with torch.no_grad():
        states = encoder.token_states(batch.extras["masked_ids"], batch.attention_mask[1:])
        logits = method.word_logits(states).numpy()
    p = softmax(logits, axis=2)
    surprise = [-np.log(p[i, j, words[i, j]]) for i, j in zip(*np.nonzero(asked), strict=True)]
    assert value == pytest.approx(0.5 * np.mean(surprise), rel=1e-5)
    assert method.loss(f, 0.5) == {}


def test_mlm_masks_as_bert_does(tiny_encoder):
    encoder = Encoder.from_pretrained(tiny_encoder)
    method = methods.create("mlm")
    method.attach(encoder, 1)
    body = torch.randint(5, 25, (500, 30))
    edge = torch.ones(500, 1, dtype=torch.long)
    ids = torch.cat([2 * edge, body, 3 * edge, 0 * edge], 1)
    batch = Batch(ids, (ids != 0).long(), torch.empty(0, dtype=torch.long))
    one, again = (method.prepare(batch, torch.Generator().manual_seed(1)).extras for _ in "ab")
    masked, words = one["masked_ids"], one["words"]
    assert torch.equal(masked, again["masked_ids"])
    asked = words != -100
    assert not asked[:, [0, -2, -1]].any()
    assert asked[:, 1:-2].float().mean().item() == pytest.approx(0.15, abs=0.01)
    assert torch.equal(words[asked], ids[asked])
    assert torch.equal(masked[~asked], ids[~asked])
    assert (masked[asked] == 4).float().mean().item() == pytest.approx(0.8, abs=0.03)
    kept = (masked[asked] == ids[asked]).float().mean().item()
    assert kept == pytest.approx(0.1, abs=0.03)
    pickle.dumps(method)

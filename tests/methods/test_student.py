from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import Killed, batch_of, kill_at, same, toy_texts, weights
from torch.nn import functional as F

from dann_transfer import methods
from dann_transfer.judging.decision import PriorWarning
from dann_transfer.judging.label_shift import Estimates
from dann_transfer.judging.neighbors import spread, with_shares
from dann_transfer.methods import Forward
from dann_transfer.methods.student import neighbor_labels, neighbor_probabilities
from dann_transfer.model.model import infer, trainable
from dann_transfer.texts.batches import Batch
from dann_transfer.training import loop
from dann_transfer.training.phases import Anew, SourceAnew, TargetAnew


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_labels_are_those_of_spread(rng, monkeypatch):
    x, p = rng.normal(size=(30, 4)), rng.dirichlet([1, 1, 1], 30)
    assert (neighbor_labels(x, p, 5) == spread(x, p, 5).argmax(1)).all()
    assert (neighbor_labels(x, p, 0) == p.argmax(1)).all()
    # Texts beyond the number that is searched for neighbours are labelled by the searched ones.
    monkeypatch.setattr("dann_transfer.judging.neighbors.MAX_TEXTS", 20)
    labels = neighbor_labels(x, p, 5)
    first = spread(x[:20], p[:20], 5)
    assert (labels[:20] == first.argmax(1)).all()
    for i in range(20, 30):
        cosine = x[:20] @ x[i] / np.linalg.norm(x[:20], axis=1)
        own = 0.1 * p[i] + 0.9 * first[np.argsort(-cosine)[:5]].mean(0)
        assert labels[i] == own.argmax()


def test_the_loss_is_cross_entropy_on_given_and_guessed_labels(rng):
    logits = torch.tensor(rng.normal(size=(5, 3)))
    given, guessed = torch.tensor([2, 0]), torch.tensor([1, 1, 0])
    nothing = torch.zeros(0, dtype=torch.long)
    batch = Batch(nothing, nothing, nothing, extras={"pseudo_labels": guessed})
    method = methods.create("student")
    rows = Forward(logits, logits, batch)
    loss = method.loss(rows, 0.3)["pseudo"]
    assert torch.isclose(loss, F.cross_entropy(logits[2:], guessed))
    batch = Batch(nothing, nothing, nothing, target_labels=given, extras={"pseudo_labels": guessed})
    loss = method.loss(Forward(logits, logits, batch), 0.3)["pseudo"]
    assert torch.isclose(loss, F.cross_entropy(logits, torch.cat([given, guessed])))
    assert method.loss(Forward(logits, logits, batch_of(nothing)), 0.3) == {}


@pytest.mark.parametrize("freeze", [0, 1])
def test_the_student_starts_where_the_run_did_on_labels_made_once(
    freeze, tiny, source, target, monkeypatch
):
    seen = {"labels": [], "starts": []}
    start_epoch = TargetAnew.start_epoch

    def watched(self, tokens, progress):
        if self.begins:
            features, logits = infer(self.model, tokens, self.runtime)
            seen["teacher"] = trainable(self.model)
            p = logits.softmax(1).numpy()
            seen["made"] = neighbor_labels(features.numpy(), p, 3).tolist()
        start_epoch(self, tokens, progress)
        seen["starts"].append(trainable(self.model))
        seen["labels"].append(self.method.memory["pseudo_labels"].tolist())

    monkeypatch.setattr(TargetAnew, "start_epoch", watched)
    params = {"freeze_layers": freeze, "epochs": 6}
    adapter = tiny(method="student", method_options={"extra_epochs": 2, "neighbors": 3}, **params)
    adapter.fit(*source, X_target=target)
    untrained = weights(tiny(method="source_only", learning_rate=1e-12, **params).fit(*source))
    alone = weights(
        tiny(method="student", max_strength=0.0, **params).fit(*source, X_target=target)
    )
    first, second = seen["starts"]
    assert first.keys() == seen["teacher"].keys()
    for name, value in first.items():
        if name.startswith("encoder."):
            assert torch.allclose(value, untrained[name], atol=1e-6), name
        assert torch.equal(seen["teacher"][name], alone[name]), name
    assert any(not torch.equal(value, first[name]) for name, value in second.items())
    assert seen["labels"] == [seen["made"]] * 2
    assert freeze or len(set(seen["made"])) == 2
    steps = [row for row in adapter.history_ if "pseudo_loss" in row]
    assert len(steps) == len(adapter.history_) // 4
    assert not any("task_loss" in row for row in steps)


def test_small_classes_are_learnt_from_the_source_too(tiny, source, target, tmp_path):
    """Of 70 texts each class has fewer than 40: soft labels, and the source's texts pass."""
    params = {"method": "student", "epochs": 2, "max_strength": 1.0}
    adapter = tiny(**params).fit(*source, X_target=target)
    names = [{"task_loss", "pseudo_loss"} & row.keys() for row in adapter.history_]
    half = len(names) // 2
    assert names == [{"task_loss"}] * half + [{"task_loss", "pseudo_loss"}] * half
    # With enough texts of each class, or with a number of neighbours, the target alone teaches.
    many = [f"{text} {i}" for i in range(4) for text in target]
    for X_target, options in ((many, None), (target, {"neighbors": 3})):
        other = tiny(**params, method_options=options).fit(*source, X_target=X_target)
        assert not any({"task_loss", "pseudo_loss"} <= row.keys() for row in other.history_)
    # A run that is stopped in the student's phase goes on to the same weights.
    folder = tmp_path / "checkpoints"
    resumed = tiny(**params, checkpoint_dir=folder, checkpoint_every=1)
    with pytest.raises(Killed):
        resumed.fit(*source, X_target=target, on_step=kill_at(half + 2))
    assert same(weights(resumed.fit(*source, X_target=target)), weights(adapter))


def test_soft_labels_weigh_each_class_the_same(rng):
    p = rng.dirichlet(np.ones(3), 12).astype(np.float32)
    features = rng.normal(size=(12, 4)).astype(np.float32)
    method = methods.create("student")
    memory = method.remember(lambda: (torch.tensor(features), torch.tensor(p)), 1.0)
    assert method.keeps_source is False
    method.memory = memory
    assert method.keeps_source is True
    labels, soft = memory["pseudo_labels"].numpy(), memory["soft_labels"].numpy()
    assert (labels == neighbor_labels(features, p)).all()
    assert np.allclose(soft, neighbor_probabilities(features, p), atol=1e-6)
    sums = np.bincount(labels, weights=memory["label_weights"].numpy())
    assert np.allclose(sums[sums > 0], 12 / (sums > 0).sum())
    logits = rng.normal(size=(14, 3))
    codes = torch.tensor([0, 2])
    batch = Batch(codes, codes, codes, extras=memory)
    loss = method.loss(Forward(torch.tensor(logits), torch.tensor(logits), batch), 1.0)["pseudo"]
    log_p = np.log(np.exp(logits[2:]) / np.exp(logits[2:]).sum(1, keepdims=True))
    each = -(soft * log_p).sum(1)
    assert np.isclose(float(loss), (memory["label_weights"].numpy() * each).mean())


def test_the_mean_of_several_students_teaches_the_last(tiny, source, target, monkeypatch):
    """Each member is a teacher and its student with the same start; the last learns from all."""
    seen, starts = [], []
    start_epoch = Anew.start_epoch

    def watched(self, tokens, progress):
        if self.begins:
            features, logits = infer(self.model, tokens, self.runtime)
            seen.append((features.numpy(), logits.softmax(1).numpy()))
        start_epoch(self, tokens, progress)
        starts.append((type(self), trainable(self.model), dict(self.method.memory)))

    monkeypatch.setattr(Anew, "start_epoch", watched)
    options = {"members": 2, "extra_epochs": 1, "neighbors": 3}
    adapter = tiny(method="student", method_options=options, epochs=1)
    adapter.fit(*source, X_target=target)
    assert [kind for kind, *_ in starts] == [TargetAnew, SourceAnew, TargetAnew, TargetAnew]
    start = starts[0][1]
    assert all(torch.equal(w, start[name]) for _, own, _ in starts for name, w in own.items())
    teacher, student, other_teacher, other_student = seen
    assert not np.allclose(teacher[1], other_teacher[1])
    labels = [memory.get("pseudo_labels") for *_, memory in starts]
    assert (labels[0].numpy() == neighbor_labels(*teacher, 3)).all()
    assert labels[1] is None
    assert (labels[2].numpy() == neighbor_labels(*other_teacher, 3)).all()
    mean = (student[1] + other_student[1]) / 2
    assert (labels[3].numpy() == neighbor_labels(other_student[0], mean, 3)).all()
    assert [list(memory) for *_, memory in starts] == [
        ["pseudo_labels"],
        ["members"],
        ["members", "pseudo_labels"],
        ["pseudo_labels"],
    ]
    losses = [{"task_loss", "pseudo_loss"} & row.keys() for row in adapter.history_]
    steps = len(losses) // 5
    # Nothing adapts while a teacher learns. The doctor counts the steps after the last teacher.
    assert all((row["strength"] > 0) <= ("pseudo_loss" in row) for row in adapter.history_)
    assert f"Adaptation acted in {2 * steps} steps" in str(adapter.diagnose())
    assert (
        losses
        == [{name} for name in ("task_loss", "pseudo_loss") * 2 for _ in range(steps)]
        + [{"pseudo_loss"}] * steps
    )


def test_members_start_and_stop_like_any_run(tiny, source, target, tmp_path):
    """At strength 0 there is one teacher; a run killed in any phase ends as if uninterrupted."""
    params = {"method": "student", "method_options": {"members": 2, "extra_epochs": 1}, "epochs": 1}
    teacher, off = (
        tiny(**params | {"max_strength": 0.0, "method_options": {"members": n}}) for n in (1, 2)
    )
    assert same(*(weights(run.fit(*source, X_target=target)) for run in (teacher, off)))
    whole = tiny(**params).fit(*source, X_target=target)
    length = len(whole.history_) // 5
    # At the end of each phase, and in the middle of the next.
    for step in (end + more for end in range(length, 5 * length, length) for more in (0, 2)):
        folder = tmp_path / str(step)
        killed = tiny(checkpoint_dir=folder, checkpoint_every=1, **params)
        with pytest.raises(Killed):
            killed.fit(*source, X_target=target, on_step=kill_at(step))
        resumed = tiny(checkpoint_dir=folder, checkpoint_every=1, **params)
        assert same(weights(whole), weights(resumed.fit(*source, X_target=target))), step


def test_a_few_labels_of_the_target_teach_the_student_too(tiny, source, target):
    few = target[:8], ["pos", "neg"] * 4
    plain = tiny(method="student", epochs=2).fit(*source, X_target=target)
    helped = tiny(method="student", epochs=2).fit(
        *source, X_target=target, X_target_labelled=few[0], y_target_labelled=few[1]
    )
    assert not same(weights(plain), weights(helped))
    assert np.isfinite(helped.predict_proba(toy_texts(9, "tweet lol", 3)[0])).all()


def test_joined_to_others_the_student_learns_from_both_domains(tiny, source, target, monkeypatch):
    """Phase one uses only the source; in phase two all rows pass and every part acts."""
    starts = []
    start_epoch = TargetAnew.start_epoch

    def watched(self, tokens, progress):
        start_epoch(self, tokens, progress)
        starts.append((trainable(self.model), self.method.memory["pseudo_labels"]))

    monkeypatch.setattr(TargetAnew, "start_epoch", watched)
    params = {"epochs": 4, "max_strength": 1.0}
    adapter = tiny(method="student+dann", **params).fit(*source, X_target=target)
    names = {"task_loss", "pseudo_loss", "domain_loss"}
    steps = [names & row.keys() for row in adapter.history_]
    half = len(steps) // 2
    assert steps[:half] == [{"task_loss"}] * half
    assert steps[half:] == [names] * (len(steps) - half)
    untrained = weights(tiny(method="source_only", learning_rate=1e-12, **params).fit(*source))
    for name, value in starts[0][0].items():
        if name.startswith("encoder."):
            assert torch.allclose(value, untrained[name], atol=1e-6), name
    assert all(torch.equal(labels, starts[0][1]) for _, labels in starts)
    # The strength affects only the discriminator's part: it grows from 0 and leaves the rate alone.
    assert adapter.history_[half]["strength"] < adapter.history_[-1]["strength"] <= 1.0
    assert adapter.method_weights_.keys() == {
        name for name in adapter.method_weights_ if name.startswith("parts.dann.")
    }


def test_labels_given_teach_a_joined_student_once(rng):
    """All rows pass, and those with labels are already in the task's loss."""
    logits = torch.tensor(rng.normal(size=(7, 3)))
    source, given, guessed = torch.tensor([0, 1]), torch.tensor([2, 0]), torch.tensor([1, 1, 0])
    nothing = torch.zeros(0, dtype=torch.long)
    batch = Batch(
        nothing, nothing, source, target_labels=given, extras={"pseudo_labels": guessed}
    )  # fmt: skip
    method = methods.create("student+dann", {"student": {"strength": 0.5}})
    method.build(3, 3)
    terms = method.loss(Forward(logits.float(), logits.float(), batch), 0.0)
    expected = 0.5 * F.cross_entropy(logits[4:].float(), guessed)
    assert torch.isclose(terms["pseudo"], expected)


def test_what_cannot_be_joined_is_refused():
    words = r"'student' with {'members': 3} trains in phases of its own .* leave these options out"
    with pytest.raises(ValueError, match=words):
        methods.create("student+dann", {"student": {"members": 3}})
    words = r"'student' and 'self_training' label the target's texts, .* use only one of them"
    with pytest.raises(ValueError, match=words):
        methods.create("student+self_training")

    class Own(methods.Method):
        def phases(self, epochs):
            return methods.create("adda").phases(epochs)

        def loss(self, forward, strength):
            return {}

    with (
        methods.registered("own", Own),
        pytest.raises(ValueError, match="'own' trains in 2 phases and a combination in one"),
    ):
        methods.create("own+dann")


def grouped(rng, sizes, noise: float = 0.25, wrong: float = 0.25):
    """Return features in groups, the groups, and probabilities that are wrong for some texts."""
    codes = np.repeat(np.arange(len(sizes)), sizes)
    centres = rng.normal(size=(len(sizes), 16))
    x = centres[codes] + noise * rng.normal(size=(len(codes), 16))
    others = rng.integers(len(sizes), size=len(codes))
    guess = np.where(rng.random(len(codes)) < wrong, others, codes)
    p = np.full((len(codes), len(sizes)), 0.4 / (len(sizes) - 1))
    p[np.arange(len(codes)), guess] = 0.6
    return x, codes, p


@pytest.mark.parametrize("seed", range(3))
def test_labels_of_small_classes_are_not_outvoted(seed):
    """Twenty classes of 3 to 120 texts: more labels right than of the teacher, no class lost."""
    rng = np.random.default_rng(seed)
    sizes = [3, 4, 5, 6, 8, 8, 9, 10, 12, 15, 18, 20, 25, 30, 40, 50, 60, 80, 100, 120]
    x, codes, p = grouped(rng, sizes)
    labels = neighbor_labels(x, p)
    ten = neighbor_labels(x, p, 10)
    right, before = ((guess == codes).mean() for guess in (labels, p.argmax(1)))
    assert right > before + 0.05
    assert len(set(labels)) == len(sizes)
    small = codes < 8
    assert (labels[small] == codes[small]).mean() > (ten[small] == codes[small]).mean()


def test_labels_of_large_classes_are_averaged_over_ten(rng):
    x, _, p = grouped(rng, [200, 200])
    assert (neighbor_labels(x, p) == neighbor_labels(x, p, 10)).mean() > 0.98


def test_classes_keep_about_the_shares_of_the_predictions(rng):
    """Where neighbours move a class's mass to another, it is held within the slack."""
    shares = np.array([0.6, 0.3, 0.1])
    p = rng.dirichlet([6, 1, 0.2], 400)
    for slack in (0.0, 0.2):
        means = with_shares(p, shares, slack).mean(0)
        assert (means >= shares * (1 - slack) - 1e-3).all()
        assert (means <= shares * (1 + slack) + 1e-3).all()
    # What is within it stays as it is.
    assert np.allclose(with_shares(p, p.mean(0)), p)


def test_a_class_that_the_target_seems_to_lack_labels_no_text(tiny, source, target, monkeypatch):
    labels = []
    loss = methods.student.Student.loss

    def watched(self, forward, strength):
        labels.append(forward.batch.extras["pseudo_labels"])
        return loss(self, forward, strength)

    monkeypatch.setattr(methods.student.Student, "loss", watched)
    high = np.array([0.001, 1.0])
    estimates = Estimates({}, {}, None, {"em": (np.zeros(2), high)})
    monkeypatch.setattr(loop, "estimate", lambda *_: estimates)
    partial = tiny(method="student", epochs=1, method_options={"partial": True})
    partial.fit(*source, X_target=target)
    assert torch.cat(labels).unique().tolist() == [1]
    # A refused estimate leaves nothing out, and says so.
    labels.clear()
    monkeypatch.setattr(loop, "estimate", lambda *_: Estimates({}, {"em": "too few"}, None))
    with pytest.warns(PriorWarning, match=r"partial=True leaves out no class: .* \(too few\)"):
        partial.fit(*source, X_target=target)
    assert 0 in torch.cat(labels)

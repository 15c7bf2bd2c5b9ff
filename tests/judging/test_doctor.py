from __future__ import annotations

import json
import warnings
from dataclasses import fields, replace

import numpy as np
import pytest

from dann_transfer.judging import doctor
from dann_transfer.judging.diagnostics import CollapseWarning, proxy_a_distance, warn_of_collapse
from dann_transfer.judging.doctor import Run, diagnose
from dann_transfer.judging.findings import Finding
from dann_transfer.training.schedules import dann

N, STEPS = 300, 200
WORDS = [f"word{i:03}" for i in range(300)]


def texts_of(rng, shift: float, n: int = N) -> list[str]:
    """Return texts of 20 words of equal length; `shift` makes the second half of WORDS likelier."""
    p = np.repeat([1 - shift, 1 + shift], len(WORDS) // 2)
    return [" ".join(rng.choice(WORDS, 20, p=p / p.sum())) for _ in range(n)]


def probabilities(codes: np.ndarray, classes: int = 3) -> np.ndarray:
    return 0.1 + 0.7 * np.eye(classes)[codes]


def with_errors(rng, codes: np.ndarray, share: float) -> np.ndarray:
    wrong = rng.random(len(codes)) < share
    return probabilities(np.where(wrong, (codes + 1) % 3, codes))


def history(
    accuracy: np.ndarray, loss: np.ndarray | None = None, strength: float = 0.2
) -> list[dict[str, float]]:
    loss = np.linspace(0.5, 0.6, len(accuracy)) if loss is None else loss
    return [
        {
            "step": i + 1,
            "strength": strength * dann(i / len(accuracy)),
            "task_loss": 1 / (1 + i),
            "domain_loss": float(loss[i]),
            "domain_accuracy": float(accuracy[i]),
        }
        for i in range(len(accuracy))
    ]


def noise(n: int = STEPS, seed: int = 5) -> np.ndarray:
    """Return the noise of an accuracy on batches of 32 + 32 texts."""
    return np.random.default_rng(seed).normal(0, 0.06, n)


SOURCE, TARGET = (texts_of(np.random.default_rng(i), shift) for i, shift in enumerate((0, 0.3)))


def healthy(**changes) -> Run:
    """A run without findings, and with too few texts to tell the domains apart by their words."""
    rng = np.random.default_rng(0)
    codes = np.arange(N) % 3
    accuracy = np.linspace(0.9, 0.7, STEPS) + noise()
    run = Run(
        method="dann",
        max_strength=0.2,
        classes=np.array(["bad", "good", "none"]),
        history=history(accuracy),
        validation=[{"epoch": e, "validation_accuracy": a} for e, a in enumerate((0.7, 0.9), 1)],
        source_prior=np.full(3, 1 / 3),
        source_texts=SOURCE[:40],
        target_texts=TARGET[:40],
        source_features=rng.normal(size=(N, 8)),
        target_features=rng.normal(size=(N, 8)) + 0.45,
        source_probabilities=with_errors(rng, codes, 0.1),
        source_codes=codes,
        target_probabilities=probabilities(codes),
        target_prior=np.array([0.3, 0.3, 0.4]),
        truncated={"source": 1, "target": 0},
        unknown={"source": 0.0, "target": 0.01},
    )
    return replace(run, **changes)


def wordy(**changes) -> Run:
    """The same with many texts."""
    return healthy(**{"source_texts": SOURCE, "target_texts": TARGET, **changes})


def only(run: Run) -> Finding:
    """Return the single finding of a run that is healthy except for one thing."""
    findings = diagnose(run)
    assert len(findings) == 1, findings
    return findings[0]


def test_a_healthy_run_has_no_finding():
    assert diagnose(healthy()) == ()
    run = wordy()
    assert diagnose(run) == ()
    # This is not because nothing was examined.
    assert run.a_distance == proxy_a_distance(run.source_features, run.target_features)
    assert doctor.NEAR < run.a_distance < doctor.FAR
    assert len(run.sample.texts) == 2 * N
    assert run.bag.presence.shape == (2 * N, len(WORDS))
    assert len(run.adapted("domain_accuracy")) == STEPS - 1


# The discriminator.


def test_an_unbeaten_discriminator():
    values = np.full(STEPS, 0.97)
    finding = only(healthy(history=history(values)))
    assert (finding.name, finding.severity) == ("unbeaten discriminator", "warning")
    assert "got the domain of 97% of" in finding.evidence
    assert "max_strength (it was 0.2)" in finding.remedy
    values[-STEPS // 4 :] = 0.94
    assert not diagnose(healthy(history=history(values)))
    # At strength 0, the encoder is not trained against the discriminator.
    resting = healthy(history=history(np.full(STEPS, 0.97), strength=0.0), max_strength=0.0)
    assert not diagnose(resting)


def test_a_fooled_discriminator():
    far = healthy().target_features + 1.0
    fooled = history(np.linspace(0.9, 0.5, STEPS))
    run = healthy(history=fooled, target_features=far)
    finding = only(run)
    assert (finding.name, finding.severity) == ("fooled discriminator", "warning")
    assert run.a_distance > 1.2
    assert f"A-distance {run.a_distance:.2f} of 2" in finding.evidence
    assert "discriminator_learning_rate" in finding.remedy
    assert not diagnose(healthy(history=fooled))
    assert not diagnose(healthy(target_features=far))
    # adda's source texts go through the target's encoder, where their features mean little.
    adda = [{k: v for k, v in row.items() if k != "task_loss"} for row in fooled]
    assert not diagnose(healthy(history=adda, target_features=far))


def test_an_oscillating_discriminator():
    steps = np.arange(STEPS)
    wave = 0.75 + 0.2 * np.sin(2 * np.pi * steps / 40)
    finding = only(healthy(history=history(wave + noise() / 2)))
    assert (finding.name, finding.severity) == ("oscillating discriminator", "warning")
    # It turns at 110, 130, 150 and 170; the first is too close to the start of the second half.
    assert " turned 3 times between " in finding.evidence
    # Waves only in the first half, a single dip, a slope and noise are not oscillation.
    dip = 0.85 - 0.35 * np.exp(-(((steps - 150) / 12) ** 2))
    for calm in (np.where(steps < 100, wave, 0.75), dip, np.linspace(0.95, 0.65, STEPS)):
        assert not diagnose(healthy(history=history(calm + noise())))


@pytest.mark.parametrize("sources", [1, 3])
def test_a_flat_domain_loss(sources):
    loss = sources * (np.log(2) + noise() / 20)
    accuracy = 0.7 + noise()
    finding = only(healthy(history=history(accuracy, loss)))
    assert (finding.name, finding.severity) == ("flat domain loss", "warning")
    assert f"({sources * np.log(2):.2f})" in finding.evidence
    assert "discriminator_learning_rate" in finding.remedy
    moved = np.where(np.arange(STEPS) < STEPS * 0.7, loss, 0.9 * loss)
    assert not diagnose(healthy(history=history(accuracy, moved)))


def test_too_few_steps_are_the_only_thing_said_of_a_short_run():
    finding = only(healthy(history=history(np.full(40, 0.99), np.full(40, np.log(2)))))
    assert (finding.name, finding.severity) == ("short adaptation", "warning")
    # The first step has strength 0.
    assert "acted in 39 steps" in finding.evidence
    assert "epochs" in finding.remedy
    assert "batch_size" in finding.remedy
    alone = [{"step": i, "strength": 0.0, "task_loss": 1.0} for i in range(1, 40)]
    assert not diagnose(healthy(history=alone, method="source_only", max_strength=0.0))
    assert only(healthy(history=history(0.7 + noise(50)))).name == "short adaptation"
    assert not diagnose(healthy(history=history(0.7 + noise(51))))


# Classes.


def shares(*counts: int) -> np.ndarray:
    return probabilities(np.repeat(np.arange(3), counts))


def test_a_collapsed_class():
    run = healthy(target_probabilities=shares(2, 298, 0), target_prior=None)
    finding = only(run)
    assert (finding.name, finding.severity) == ("collapsed class", "severe")
    assert "99% of the 300 target texts are predicted to be 'good'" in finding.evidence
    assert "33% of the source texts" in finding.evidence
    assert "max_strength" in finding.remedy
    alone = only(replace(run, method="source_only"))
    assert "max_strength" not in alone.remedy
    strange = diagnose(replace(run, unknown={"target": 0.9}))
    assert [f.name for f in strange.severe] == ["collapsed class", "unknown tokens"]
    assert "language" in strange[0].remedy


@pytest.mark.parametrize("share", [0.5, 0.94, 0.95, 0.96, 1.0])
@pytest.mark.parametrize("source", [0.3, 0.89, 0.9, 0.95])
@pytest.mark.parametrize("n", [10, 20, 100])
def test_a_class_has_collapsed_where_fit_warns_of_it(share, source, n):
    top = round(share * n)
    prior = np.array([source, (1 - source) / 2, (1 - source) / 2])
    run = healthy(
        target_probabilities=shares(top, n - top, 0),
        target_features=np.zeros((n, 8)),
        source_features=np.zeros((0, 8)),
        target_prior=None,
        source_prior=prior,
        target_texts=[],
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CollapseWarning)
        names = run.classes.tolist()
        predicted = dict(zip(names, [top / n, 1 - top / n, 0.0], strict=True))
        warn_of_collapse(predicted, dict(zip(names, prior, strict=True)), n, "dann", 0.0)
    assert [f.name for f in diagnose(run).severe] == ["collapsed class"] * len(caught)


def test_an_absent_class():
    finding = only(healthy(target_probabilities=shares(150, 150, 0), target_prior=None))
    assert (finding.name, finding.severity) == ("absent class", "warning")
    assert "predicted to be 'none' (33%)" in finding.evidence
    # A rare class may be absent by chance.
    rare = np.array([0.5, 0.48, 0.02])
    assert not diagnose(
        healthy(target_probabilities=shares(150, 150, 0), target_prior=None, source_prior=rare)
    )


def test_many_absent_classes_are_not_all_named():
    k = 20
    run = healthy(
        classes=np.arange(k),
        source_prior=np.full(k, 1 / k),
        source_probabilities=np.empty((0, k)),
        source_codes=np.empty(0, int),
        target_probabilities=np.eye(k)[np.arange(N) % 8],
        target_prior=None,
    )
    evidence = only(run).evidence
    assert "8 (5%) or 9 (5%) or 10 (5%) or 11 (5%) or 12 (5%) and 7 other classes" in evidence


def test_shifted_class_shares():
    finding = only(healthy(target_prior=np.array([0.15, 0.35, 0.5])))
    assert (finding.name, finding.severity) == ("shifted class shares", "warning")
    assert "33% of the target texts are predicted to be 'bad'" in finding.evidence
    assert "at 15%" in finding.evidence
    assert "correct_prior='em'" in finding.remedy
    assert not diagnose(healthy(target_prior=np.array([0.2, 0.35, 0.45])))


def test_missing_classes():
    low, high = np.array([0.0, 0.3, 0.5]), np.array([0.01, 0.45, 0.7])
    prior = np.array([0.0, 0.4, 0.6])
    findings = diagnose(healthy(target_prior=prior, prior_interval=(low, high)))
    finding = next(finding for finding in findings if finding.name == "missing classes")
    assert finding.severity == "warning"
    assert "no text of 'bad' (33%, source 33%)" in finding.evidence
    assert "{'partial': True}" in finding.remedy
    # A class that is rare but there is not missing.
    interval = (low, np.array([0.05, 0.45, 0.7]))
    findings = diagnose(healthy(target_prior=prior, prior_interval=interval))
    assert "missing classes" not in [finding.name for finding in findings]


# Domains.


def test_similar_domains_by_features_and_by_words():
    rng = np.random.default_rng(3)
    same = wordy(
        method="source_only",
        history=[],
        target_features=rng.normal(size=(N, 8)) + 0.15,
    )
    finding = only(same)
    assert 0.1 < same.a_distance < doctor.NEAR
    assert (finding.name, finding.severity) == ("similar domains", "note")
    assert f"A-distance {same.a_distance:.2f} of 2" in finding.evidence
    # Features that were trained to be alike are no evidence; words are.
    assert not diagnose(wordy(target_features=same.target_features))
    by_words = only(wordy(target_texts=texts_of(rng, 0.0)))
    assert by_words.name == "similar domains"
    assert "by words" in by_words.evidence
    # Too few texts cannot be told apart.
    few = texts_of(rng, 0.0, 60)
    assert not diagnose(wordy(target_texts=few))


@pytest.mark.parametrize("end", ["", " end" * 500])
def test_a_length_difference(end):
    long = [text + " word001" * 40 + end for text in TARGET]
    findings = diagnose(wordy(target_texts=long))
    finding = next(f for f in findings if f.name == "length difference")
    assert finding.severity == "note"
    assert "gives away the domain of 100% of the texts" in finding.evidence
    assert f"{min(len(long[0]), 2000):,} (counted up to 2,000)" in finding.evidence
    assert "max_length" in finding.remedy


def test_a_casing_difference():
    shouted = [text.upper() for text in TARGET]
    finding = only(wordy(target_texts=shouted))
    assert (finding.name, finding.severity) == ("casing difference", "note")
    assert "0.0% of the letters in the source and 100.0% in the target" in finding.evidence
    assert "uncased" in finding.remedy


def test_telltale_words():
    # Each target text starts with one of three marks, and so does one source text in twenty. All
    # texts have the same length.
    marks = [["@@@@", "rtrt", "http"][i % 3] for i in range(N)]
    finding = only(
        wordy(
            target_texts=[f"{mark} {text}" for mark, text in zip(marks, TARGET, strict=True)],
            source_texts=[("rtrt " if i % 20 == 0 else " " * 5) + s for i, s in enumerate(SOURCE)],
        )
    )
    assert (finding.name, finding.severity) == ("telltale words", "warning")
    words = finding.evidence.split(" is enough")[0]
    named = set(words.removeprefix("Whether a text has ").split(", "))
    assert named == {"'@'", "'rtrt'", "'http'"}
    told = float(finding.evidence.split("to tell ")[1].split("%")[0])
    # All target texts and nineteen in twenty source texts are identified.
    assert told == pytest.approx(97.5, abs=1.5)


def test_a_style_that_only_many_words_show_is_no_telltale():
    rng = np.random.default_rng(6)
    run = wordy(target_texts=texts_of(rng, 0.7), source_texts=texts_of(rng, -0.7))
    assert not diagnose(run)
    halves = [sum(int(word[4:]) >= 150 for word in text.split()) > 10 for text in run.sample.texts]
    assert (halves == run.sample.domains).mean() > 0.98


def test_twenty_marks_are_no_handful():
    marked = [f"mark{i % 20:02} {text}" for i, text in enumerate(TARGET)]
    run = wordy(target_texts=marked, source_texts=[" " * 7 + text for text in SOURCE])
    assert not diagnose(run)


# Texts.


def test_shared_texts():
    # The same except for the spaces around them.
    again = [f" {text}\n" for text in SOURCE[:12]] + TARGET[12:]
    finding = only(wordy(target_texts=again))
    assert (finding.name, finding.severity) == ("shared texts", "warning")
    assert "12 of the 300 target texts (4%)" in finding.evidence
    assert not diagnose(wordy(target_texts=SOURCE[:3] + TARGET[3:]))


def test_unknown_tokens():
    finding = only(healthy(unknown={"source": 0.0, "target": 0.3}))
    assert (finding.name, finding.severity) == ("unknown tokens", "warning")
    assert finding.evidence.startswith("30% of the target texts' tokens")
    finding = only(healthy(unknown={"source": 0.25, "target": 0.6}))
    assert finding.severity == "severe"
    assert "25% of the source texts' and 60% of the target texts'" in finding.evidence
    assert "encoder" in finding.remedy
    assert not diagnose(healthy(unknown={"target": 0.2}))


def test_cut_texts():
    finding = only(healthy(truncated={"source": 9, "target": 8}))
    assert (finding.name, finding.severity) == ("cut texts", "note")
    assert finding.evidence.startswith("22% of the source texts are longer than max_length")


# The source's task.


def test_an_unlearnt_source():
    codes = np.arange(N) % 3
    guesses = np.random.default_rng(8).integers(0, 3, N)
    rows = [{"epoch": 1, "validation_accuracy": 0.35}, {"epoch": 2, "validation_accuracy": 0.33}]
    run = healthy(validation=rows, source_probabilities=probabilities(guesses), source_codes=codes)
    finding = only(run)
    assert (finding.name, finding.severity) == ("unlearnt source", "severe")
    assert "35% of 300 held-out source texts right" in finding.evidence
    assert "always 'bad' gets 33%" in finding.evidence
    assert "learning_rate" in finding.remedy
    # 1/3 and two standard errors are 0.388; the rest is the margin.
    needed = 1 / 3 + 2 * (2 / 9 / N) ** 0.5 + 0.04 * 2 / 3
    for accuracy, count in ((needed - 0.001, 1), (needed + 0.001, 0)):
        rows = [{"epoch": 1, "validation_accuracy": accuracy}]
        assert len(diagnose(replace(run, validation=rows)).severe) == count


def test_a_rare_class_is_learnt_though_accuracy_hardly_shows_it():
    codes = np.repeat([0, 1], [280, 20])
    predicted = np.repeat([0, 1, 1, 0], [274, 6, 10, 10])
    rows = [{"epoch": 1, "validation_accuracy": float((predicted == codes).mean())}]
    changes = {"validation": rows, "source_codes": codes}
    assert not diagnose(healthy(source_probabilities=probabilities(predicted), **changes))
    constant = healthy(source_probabilities=probabilities(np.zeros(N, int)), **changes)
    assert only(constant).name == "unlearnt source"
    assert "class_weight" not in only(constant).remedy
    lopsided = replace(constant, source_prior=np.array([0.8, 0.1, 0.1]))
    (finding,) = (f for f in diagnose(lopsided).severe if f.name == "unlearnt source")
    assert "class_weight='balanced'" in finding.remedy


def test_knowledge_that_counts_for_nothing():
    finding = only(healthy(weights=[("Graph", 0.0), ("Lexicon", 0.4), ("Rules", 0.0)]))
    assert (finding.name, finding.severity) == ("knowledge without weight", "note")
    assert "Graph and Rules changes nothing" in finding.evidence
    assert not diagnose(healthy(weights=[("Graph", 0.1)]))


def test_a_damaged_source_task():
    rng = np.random.default_rng(9)
    codes = np.arange(N) % 3
    damaged = healthy(source_probabilities=with_errors(rng, codes, 0.3))
    finding = only(damaged)
    assert (finding.name, finding.severity) == ("damaged source task", "warning")
    after = (damaged.source_probabilities.argmax(1) == codes).mean()
    assert "epoch 2 the model got 90% of 300" in finding.evidence
    assert finding.evidence.endswith(f"gets {after:.0%}.")
    assert not diagnose(replace(damaged, method="source_only"))
    # The models that adda, shot and student keep are only for the target.
    rows = [{k: v for k, v in row.items() if k != "task_loss"} for row in damaged.history]
    assert not diagnose(replace(damaged, history=rows))


# Missing data.


def test_a_run_without_columns_of_domains_validation_and_held_out_texts():
    rows = [{"step": i, "strength": 0.0, "task_loss": 1.0} for i in range(1, STEPS)]
    bare = wordy(
        method="source_only",
        max_strength=0.0,
        history=rows,
        validation=[],
        source_features=np.empty((0, 8)),
        source_probabilities=np.empty((0, 3)),
        source_codes=np.empty(0, int),
        target_prior=None,
        truncated={},
        unknown={},
    )
    assert not diagnose(bare)
    nothing = {"target_features": np.empty((0, 8)), "target_probabilities": np.empty((0, 3))}
    assert not diagnose(replace(bare, target_texts=[], history=[], **nothing))
    # Without held-out features, source-only is judged by words.
    assert only(replace(bare, target_texts=texts_of(np.random.default_rng(3), 0))).severity == (
        "note"
    )
    # Texts without a single word.
    blank = replace(bare, source_texts=[" "] * N, target_texts=["\n"] * N)
    assert [f.name for f in diagnose(blank)] == ["shared texts"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"source_prior": np.ones(2) / 2},
            r"source_prior has shape \(2,\).* each of the 3 classes",
        ),
        ({"target_probabilities": np.ones((5, 2))}, r"target_probabilities has shape \(5, 2\)"),
        ({"source_codes": np.zeros(4, int)}, "got 4 source_codes and 300 source_probabilities"),
    ],
)
def test_shapes_that_do_not_fit(changes, words):
    with pytest.raises(ValueError, match=words):
        healthy(**changes)


def test_the_same_run_has_the_same_findings_and_only_texts_are_sampled():
    rng = np.random.default_rng(10)
    large = healthy(target_texts=texts_of(rng, 0.3, 1500), source_texts=texts_of(rng, 0, 1200))
    assert len(large.sample.texts) == 2 * doctor.MAX_TEXTS
    assert replace(large).sample.texts == large.sample.texts
    assert set(large.sample.texts[: doctor.MAX_TEXTS]) <= set(large.source_texts)


def test_no_target_label_can_be_passed():
    assert not {"y_target", "target_codes", "target_labels"} & {f.name for f in fields(Run)}


def test_a_class_named_like_html_is_escaped():
    run = healthy(
        classes=np.array(["<b>", "<script>", "none"]),
        target_probabilities=shares(2, 298, 0),
        target_prior=None,
    )
    page = diagnose(run)._repr_html_()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_a_whole_diagnosis_can_be_written_as_json():
    """It holds no numpy numbers."""
    real = diagnose(healthy(truncated={"source": 12}, target_prior=np.array([0.1, 0.3, 0.6])))
    assert len(real) == 2
    json.dumps(real.to_json())


def test_class_shares_within_the_estimate_s_interval_are_no_finding():
    prior = np.array([0.15, 0.35, 0.5])
    wide = np.array([0.05, 0.1, 0.2]), np.array([0.5, 0.6, 0.8])
    assert diagnose(healthy(target_prior=prior, prior_interval=wide)) == ()
    narrow = prior - 0.05, prior + 0.05
    finding = only(healthy(target_prior=prior, prior_interval=narrow))
    assert finding.name == "shifted class shares"


def test_capitals_that_the_encoder_lowers_are_no_finding():
    shouted = [text.upper() for text in TARGET]
    assert diagnose(wordy(target_texts=shouted, sees_case=False)) == ()


def test_a_target_of_a_single_class_is_a_collapse_whatever_the_source_favours():
    codes = np.zeros(N, int)
    favoured = np.array([0.92, 0.04, 0.04])
    run = healthy(
        source_prior=favoured, target_probabilities=probabilities(codes), target_prior=None
    )
    assert (only(run).name, only(run).severity) == ("collapsed class", "severe")
    # A few texts of the others are no collapse there.
    codes[: N // 25] = 1
    run = replace(run, target_probabilities=probabilities(codes))
    assert "collapsed class" not in {finding.name for finding in diagnose(run)}


def test_a_short_training_is_said_once_and_for_the_cause():
    """Nine steps, unsure: one remedy, also where the model has collapsed."""
    few = history(np.full(9, 0.7), np.full(9, 0.6))
    unsure = 0.3 + 0.1 * np.eye(3)[np.arange(N) % 3]
    run = healthy(method="source_only", max_strength=0.0, history=few, source_probabilities=unsure)
    finding = only(run)
    assert (finding.name, finding.severity) == ("short training", "warning")
    assert "9 steps, where 3 classes take about 99" in finding.evidence
    assert "confidence on held-out source texts is 0.40" in finding.evidence
    # A sure model was quick, and a long one is unsure for other reasons.
    assert diagnose(replace(run, source_probabilities=healthy().source_probabilities)) == ()
    long = history(np.full(99, 0.7), np.full(99, 0.6))
    assert diagnose(replace(run, history=long)) == ()
    collapsed = replace(run, target_probabilities=probabilities(np.zeros(N, int)))
    names = ("collapsed class", finding.name)
    remedies = {each.remedy for each in diagnose(collapsed) if each.name in names}
    assert remedies == {finding.remedy}

"""The doctor: findings about a run in plain words, from what a fit leaves behind.

No finding shows whether adaptation helped: only labelled target texts can, and none are used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np

from dann_transfer.ground.length import steps_for
from dann_transfer.judging.answering import answered
from dann_transfer.judging.diagnostics import (
    EXPECTED,
    MIN_PREDICTED,
    MOSTLY_UNKNOWN,
    collapse_on,
    domain_classifier,
    mixing,
    proxy_a_distance,
)
from dann_transfer.judging.findings import UNLEARNT, Finding, Findings
from dann_transfer.judging.label_shift import absent
from dann_transfer.judging.selection import balanced

# The discriminator, over the steps in which strength is above 0.
MIN_STEPS = 50
"""With fewer steps the adaptation is short, and the discriminator cannot be judged."""
WON = 0.95
"""Above this domain accuracy it has won. Healthy runs of the benchmarks end at 0.70 to 0.94."""
FOOLED = 0.6
"""Up to this domain accuracy it is all but guessing; chance is 0.5."""
SWING = 0.2
"""A rise and fall of the smoothed domain accuracy that is more than noise: with batches of 32 texts
per domain, the mean of ten steps has a standard error of 0.02."""
SWINGS = 3
"""With this many or more it oscillates: a single peak or trough is not a pattern."""
FLAT = 0.03
"""Share by which a flat domain loss may differ from ln 2: the noise of tens of steps."""

# The domains, by their features and by their texts.
FAR = 1.2
"""Above this A-distance features are clearly apart: four texts in five are told apart."""
NEAR = 0.5
"""Below this A-distance they are alike: at most five texts in eight are told apart."""
GUESSED = 0.55
"""If a classifier by words is less accurate than this, texts are alike: two standard errors above
chance with `MANY_TEXTS` of each domain."""
TOLD = 0.9
"""At this accuracy, length, casing or a handful of words are enough to tell domains apart.
Movie and newspaper sentences, which differ in style, reach 0.7 by eight words."""
HANDFUL = 8
"""Number of words in a handful: few enough to read, and to remove by hand."""
TELLING = 0.01
"""How much a word must lower the Gini impurity, which starts at one half, to be in the handful: on
a few hundred texts the best of `MAX_WORDS` words lowers it by less through chance alone."""
MIN_TEXTS = 100
"""With fewer texts of each domain, 0.9 against 0.8 may be chance."""
MANY_TEXTS = 200
"""With fewer texts of each domain, "no better than chance" may only mean too few texts."""
MAX_TEXTS = 1000
"""Texts examined in each domain: the accuracy's standard error is then 0.01."""
MAX_WORDS = 2000
"""How many of the commonest words are examined; rarer ones identify few texts."""
MAX_CHARACTERS = 2000
"""Characters examined in each text: about 500 tokens, which is as far as most encoders read."""

# The classes.
SHIFTED = 0.15
"""Difference in class shares: the estimates themselves are checked to ten points."""

# The texts and the source's task.
SHARED = 0.01
"""Share of the target that is also in the source; below it, short texts coincide."""
UNKNOWN = 0.2
"""Share of unknown tokens: names and rare words make up a few per cent, and an unknown script makes
up most."""
CUT = 0.2
"""Above this share of cut texts, a role loses more than the ends of its few longest texts."""
MIN_HELD_OUT = 30
"""With fewer held-out texts, two standard errors are 18 points or more, which is uninformative."""
MARGIN = 0.04
"""Share of what the constant answer gets wrong that the model must get right, beyond two standard
errors, since the best of several epochs is better by chance."""
RECALL = 0.1
"""Mean recall above chance that shows that a rare class was learnt, whatever the accuracy."""
SHORT = 0.6
"""Share of the steps that its classes need below which a training is short."""
CONFIDENT = 0.7
"""Mean confidence on held-out texts from which a short training was long enough."""
DAMAGE = 0.1
"""Loss of source accuracy since the best epoch: epochs of a healthy run differ by less."""


class _Sample(NamedTuple):
    """Equally many texts of both domains, so that chance is one half."""

    texts: list[str]
    domains: np.ndarray


class _Bag(NamedTuple):
    """Which of the commonest words and signs each text of a sample contains, as a sparse matrix."""

    presence: Any
    words: np.ndarray


@dataclass(frozen=True, eq=False)
class Run:
    """Everything that the doctor examines in a run. It includes no target label.

    Parameters
    ----------
    method : str
    max_strength : float
    classes : ndarray, shape (classes,)
    history : sequence of mapping
        One for each step: "step", "strength", "task_loss" where the task was trained, perhaps
        "domain_loss", "domain_accuracy" and others.
    validation : sequence of mapping
        "epoch" and "validation_accuracy"; empty if nothing was held out.
    source_prior : ndarray, shape (classes,)
        Class shares of the source texts.
    source_texts, target_texts : sequence of str
    source_features, target_features : ndarray, shapes (n, width) and (m, width)
        Features of held-out source texts, of which there may be none, and of target texts.
    source_probabilities : ndarray, shape (n, classes)
        Probabilities of the same source texts, from the model that was kept.
    source_codes : ndarray of int, shape (n,)
        The class positions of their labels.
    target_probabilities : ndarray, shape (m, classes)
    target_prior : ndarray, shape (classes,), optional
        An estimate of the target's class shares from calibrated predictions.
    prior_interval : tuple of ndarray, optional
        Low and high ends of its 95 % interval.
    sees_case : bool
        Whether the encoder tells capital letters from small ones.
    truncated : mapping of str to int
        How many of `source_texts` and of `target_texts` were cut, under "source" and "target".
    unknown : mapping of str to float
        Share of unknown tokens by role.
    aligned : bool
        Whether `target_features` were mapped after training.
    weights : sequence of tuple of str and float
        Of each kind of knowledge its name, and what it counts beside the model.
    ranks : ndarray of int, shape (classes,), optional
        The ranks of ordered classes, of which the median is answered.

    Raises
    ------
    ValueError
        If shapes do not match.

    """

    method: str
    max_strength: float
    classes: np.ndarray
    history: Sequence[Mapping[str, Any]]
    validation: Sequence[Mapping[str, Any]]
    source_prior: np.ndarray
    source_texts: Sequence[str]
    target_texts: Sequence[str]
    source_features: np.ndarray
    target_features: np.ndarray
    source_probabilities: np.ndarray
    source_codes: np.ndarray
    target_probabilities: np.ndarray
    target_prior: np.ndarray | None
    truncated: Mapping[str, int]
    unknown: Mapping[str, float]
    prior_interval: tuple[np.ndarray, np.ndarray] | None = None
    sees_case: bool = True
    aligned: bool = False
    weights: Sequence[tuple[str, float]] = ()
    ranks: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("source_prior", "source_probabilities", "target_probabilities"):
            shape = getattr(self, name).shape
            if shape[-1:] != (len(self.classes),):
                raise ValueError(
                    f"{name} has shape {shape}; it needs one column for each of the "
                    f"{len(self.classes)} classes."
                )
        if len(self.source_codes) != len(self.source_probabilities):
            raise ValueError(
                f"got {len(self.source_codes)} source_codes and {len(self.source_probabilities)} "
                "source_probabilities; both must be of the held-out source texts."
            )

    def adapted(self, column: str) -> np.ndarray:
        """Return a column of the history, at the steps that have it and a strength above 0.

        It is empty if there are fewer than `MIN_STEPS` such steps.
        """
        rows = [row for row in self.history if row["strength"] > 0 and column in row]
        return np.array([float(row[column]) for row in rows if len(rows) >= MIN_STEPS])

    @property
    def trains_source(self) -> bool:
        """Whether the task trained to the end: with adda, shot and student, the kept model is for
        the target alone, and its predictions on source texts mean little."""
        return bool(self.history) and "task_loss" in self.history[-1]

    @property
    def predicted(self) -> np.ndarray:
        """Share of the target texts that are predicted to be of each class, shape (classes,)."""
        answers = answered(self.target_probabilities, self.ranks)
        counts = np.bincount(answers, minlength=len(self.classes))
        return np.asarray(counts / len(self.target_probabilities))

    @property
    def source_hits(self) -> np.ndarray:
        """Which of the held-out source texts are right, shape (n,)."""
        return answered(self.source_probabilities, self.ranks) == self.source_codes

    @cached_property
    def a_distance(self) -> float | None:
        """The A-distance between held-out source texts and target texts, if there are enough."""
        if min(len(self.source_features), len(self.target_features)) < MIN_TEXTS:
            return None
        return proxy_a_distance(self.source_features, self.target_features, max_texts=MAX_TEXTS)

    @cached_property
    def mixing(self) -> float | None:
        """How far the same texts are mixed among their neighbours, if there are enough."""
        if self.a_distance is None:
            return None
        return mixing(self.source_features, self.target_features, max_texts=MAX_TEXTS)

    @cached_property
    def sample(self) -> _Sample | None:
        """The beginnings of texts of both domains, if there are enough."""
        n = min(len(self.source_texts), len(self.target_texts), MAX_TEXTS)
        if n < MIN_TEXTS:
            return None
        rng = np.random.default_rng(0)
        texts = [
            domain[i][:MAX_CHARACTERS]
            for domain in (self.source_texts, self.target_texts)
            for i in rng.choice(len(domain), n, replace=False)
        ]
        return _Sample(texts, np.repeat([0, 1], n))

    @cached_property
    def bag(self) -> _Bag | None:
        """The words of the sample, if there is one."""
        if self.sample is None or not any(map(str.strip, self.sample.texts)):
            return None
        from sklearn.feature_extraction.text import CountVectorizer

        # A sign counts as a word: "@" and "#" alone tell tweets from most other texts.
        counter = CountVectorizer(binary=True, max_features=MAX_WORDS, token_pattern=r"\w+|[^\w\s]")
        presence = counter.fit_transform(self.sample.texts)
        return _Bag(presence, counter.get_feature_names_out())


def _fold_accuracy(X: Any, domains: np.ndarray, model: Any) -> float:
    """Return the share of texts whose domain a classifier not fitted to them gets right."""
    from sklearn.model_selection import cross_val_score

    return float(cross_val_score(model, X, domains, cv=domain_classifier()[1]).mean())


def _won(run: Run) -> Finding | None:
    values = run.adapted("domain_accuracy")
    last = values[-len(values) // 4 :]
    if not len(last) or last.mean() <= WON:
        return None
    return Finding(
        "unbeaten discriminator",
        "warning",
        f"Over the last quarter of the adaptation the discriminator got the domain of "
        f"{last.mean():.0%} of the texts right (50% is guessing), so the features are not aligned: "
        "it sees more than the encoder hides.",
        f"Raise max_strength (it was {run.max_strength:g}), train for more epochs, or lower "
        "freeze_layers, because frozen layers cannot hide anything.",
    )


def _fooled(run: Run) -> Finding | None:
    values = run.adapted("domain_accuracy")
    last = values[-len(values) // 4 :]
    if not len(last) or last.mean() > FOOLED or not run.trains_source:
        return None
    if run.a_distance is None or run.a_distance <= FAR:
        return None
    told = 0.5 + run.a_distance / 4
    return Finding(
        "fooled discriminator",
        "warning",
        f"At the end the discriminator got the domain of only {last.mean():.0%} of texts right, "
        f"but a plain linear classifier on the same features gets {told:.0%} (A-distance "
        f"{run.a_distance:.2f} of 2, mixing {run.mixing:.2f} of 1): the domains look aligned but "
        "are not.",
        "Give the discriminator more steps, as in method_options={'discriminator_steps': 5}, or a "
        "larger discriminator_learning_rate; or lower max_strength.",
    )


def _oscillating(run: Run) -> Finding | None:
    from scipy.signal import find_peaks

    values = run.adapted("domain_accuracy")
    if not len(values):
        return None
    width = max(10, len(values) // 50)
    smooth = np.convolve(values, np.full(width, 1 / width), "valid")
    half = smooth[len(smooth) // 2 :]
    swings = sum(len(find_peaks(sign * half, prominence=SWING)[0]) for sign in (1, -1))
    if swings < SWINGS:
        return None
    return Finding(
        "oscillating discriminator",
        "warning",
        f"In the second half of the adaptation the discriminator's accuracy turned {swings} "
        f"times between {half.min():.0%} and {half.max():.0%} (means of {width} steps): encoder "
        "and discriminator chase each other, and the result depends on when the run ends.",
        "Lower discriminator_learning_rate, learning_rate or max_strength, or use a larger "
        "batch_size.",
    )


def _flat(run: Run) -> Finding | None:
    values = run.adapted("domain_loss")
    if not len(values):
        return None
    # mdan adds up one loss per source, so that the sum starts at a multiple of ln 2.
    means = np.array([block.mean() for block in np.array_split(values, 5)])
    start = max(1, round(means[0] / np.log(2))) * np.log(2)
    if (np.abs(means / start - 1) > FLAT).any():
        return None
    return Finding(
        "flat domain loss",
        "warning",
        f"The domain loss was {means[0]:.2f} in the first fifth of the adaptation and "
        f"{means[-1]:.2f} in the last, which is what guessing costs ({start:.2f}). Either the "
        "domains do not differ, or the discriminator never learnt to tell them apart.",
        "Raise discriminator_learning_rate or the discriminator's steps, as in "
        "method_options={'discriminator_steps': 5}; if the loss stays flat, method='source_only' "
        "does as well.",
    )


def _collapsed(run: Run) -> Finding | None:
    n = len(run.target_probabilities)
    if n < MIN_PREDICTED:
        return None
    top = collapse_on(run.predicted, run.source_prior, n)
    if top is None:
        return _absent(run, n)
    if _is_short(run):
        remedy = _LONGER
    elif run.unknown.get("target", 0.0) > MOSTLY_UNKNOWN:
        remedy = "Use an encoder that was trained on the target's language and script."
    elif run.method == "source_only":
        remedy = "Train for more epochs or with another learning_rate, and look at validation_."
    else:
        remedy = (
            f"Lower max_strength (it was {run.max_strength:g}), freeze more layers with "
            "freeze_layers, or compare with method='source_only'."
        )
    return Finding(
        "collapsed class",
        "severe",
        f"{run.predicted[top]:.0%} of the {n:,} target texts are predicted to be "
        f"{run.classes.tolist()[top]!r}, a class that {run.source_prior[top]:.0%} of the source "
        "texts have: the model no longer tells target texts apart.",
        remedy,
    )


def _absent(run: Run, n: int) -> Finding | None:
    """Name classes that are never predicted, which is right if they do not occur."""
    absent = np.flatnonzero((run.predicted == 0) & (run.source_prior * n >= EXPECTED))
    if not len(absent):
        return None
    named = [f"{run.classes.tolist()[i]!r} ({run.source_prior[i]:.0%})" for i in absent[:5]]
    others = f" and {len(absent) - 5} other classes" if len(absent) > 5 else ""
    return Finding(
        "absent class",
        "warning",
        f"None of the {n:,} target texts is predicted to be {' or '.join(named)}{others}; "
        "brackets give the class's share of the source texts.",
        "Read some target texts. If the class occurs there, try class_weight='balanced' and, if "
        "the model was adapted, a lower max_strength.",
    )


def _missing(run: Run) -> Finding | None:
    """Name classes that are predicted though the estimate of class shares finds none of them."""
    n = len(run.target_probabilities)
    if run.prior_interval is None or n < MIN_TEXTS:
        return None
    rows = absent(run.prior_interval[1], run.source_prior) & (run.predicted > 0)
    if not rows.any():
        return None
    places = np.flatnonzero(rows)
    named = [
        f"{run.classes.tolist()[i]!r} ({run.predicted[i]:.0%}, source {run.source_prior[i]:.0%})"
        for i in places[:5]
    ]
    others = f" and {len(places) - 5} other classes" if len(places) > 5 else ""
    return Finding(
        "missing classes",
        "warning",
        f"The target seems to have no text of {' or '.join(named)}{others}, by the estimate from "
        "calibrated predictions; brackets give the shares of target texts predicted so and of "
        "source texts.",
        "Read some of these texts. If the target lacks the classes, train method='student' with "
        "method_options={'partial': True}, or 'iwdan' instead of 'dann', or leave the classes' "
        "texts out of the source.",
    )


def _shifted(run: Run) -> Finding | None:
    if run.target_prior is None or len(run.target_probabilities) < MIN_TEXTS:
        return None
    gaps = np.abs(run.predicted - run.target_prior)
    if run.prior_interval is not None:
        low, high = run.prior_interval
        # Within its interval, the estimate is no evidence against what is predicted.
        gaps = np.where((run.predicted < low) | (run.predicted > high), gaps, 0.0)
    worst = int(gaps.argmax())
    if gaps[worst] <= SHIFTED:
        return None
    return Finding(
        "shifted class shares",
        "warning",
        f"{run.predicted[worst]:.0%} of the target texts are predicted to be "
        f"{run.classes.tolist()[worst]!r}, while calibrated predictions estimate the class's share "
        f"of the target at {run.target_prior[worst]:.0%} (in the source it is "
        f"{run.source_prior[worst]:.0%}).",
        "Set correct_prior='em', unless it is already set, to correct predictions by the estimate. "
        "If the model was adapted, lower max_strength: alignment draws the target towards the "
        "source's shares.",
    )


def _alike(run: Run) -> Finding | None:
    from sklearn.linear_model import LogisticRegression

    # Features of an adapted model are alike because it was adapted, so only the texts can show it.
    held_out = min(len(run.source_features), len(run.target_features))
    unadapted = run.method == "source_only" and not run.aligned
    if unadapted and held_out >= MANY_TEXTS and run.a_distance is not None:
        if run.a_distance >= NEAR:
            return None
        evidence = (
            f"Without any adaptation a linear classifier on the features gets the domain of "
            f"{0.5 + run.a_distance / 4:.0%} of the texts right (A-distance "
            f"{run.a_distance:.2f} of 2, mixing {run.mixing:.2f} of 1)"
        )
    else:
        if run.sample is None or run.bag is None or len(run.sample.texts) < 2 * MANY_TEXTS:
            return None
        model = LogisticRegression(C=0.1, max_iter=1000)
        accuracy = _fold_accuracy(run.bag.presence, run.sample.domains, model)
        if accuracy >= GUESSED:
            return None
        evidence = f"A classifier by words gets the domain of {accuracy:.0%} of the texts right"
    return Finding(
        "similar domains",
        "note",
        f"{evidence}, where guessing gets 50%: source and target are much alike, and adaptation "
        "has little to do.",
        "Expect little from adaptation, and compare with method='source_only' before you use it. "
        "Labels, or a larger encoder, may help more.",
    )


def _weightless(run: Run) -> Finding | None:
    """Name knowledge that was not shown to say anything."""
    names = [name for name, weight in run.weights if not weight]
    if not names:
        return None
    return Finding(
        "knowledge without weight",
        "note",
        f"Of the knowledge, {' and '.join(names)} changes nothing: what it says about the texts "
        "was not shown to be more than chance, or more than the rest of the knowledge says.",
        "Leave it out, or look with knowledge_.explain(text) at what it says about some texts.",
    )


def _length(run: Run) -> Finding | None:
    if run.sample is None:
        return None
    sizes, domains = np.array([len(text) for text in run.sample.texts]), run.sample.domains
    accuracy = _fold_accuracy(np.log1p(sizes)[:, None], domains, domain_classifier()[0])
    if accuracy <= TOLD:
        return None
    source, target = (np.median(sizes[domains == domain]) for domain in (0, 1))
    return Finding(
        "length difference",
        "note",
        f"Length alone gives away the domain of {accuracy:.0%} of the texts: half of the source "
        f"texts have more than {source:,.0f} characters, half of the target texts more than "
        f"{target:,.0f} (counted up to {MAX_CHARACTERS:,}). Adaptation may hide length and leave "
        "what matters as it is.",
        "Split the longer texts into pieces that are as long as the others, or lower max_length so "
        "that both are cut to the same length.",
    )


def _casing(run: Run) -> Finding | None:
    if run.sample is None or not run.sees_case:
        return None
    domains = run.sample.domains
    capitals = np.array(
        [sum(map(str.isupper, t)) / max(1, sum(map(str.isalpha, t))) for t in run.sample.texts]
    )
    accuracy = _fold_accuracy(capitals[:, None], domains, domain_classifier()[0])
    if accuracy <= TOLD:
        return None
    source, target = (capitals[domains == domain].mean() for domain in (0, 1))
    return Finding(
        "casing difference",
        "note",
        f"Capital letters alone give away the domain of {accuracy:.0%} of the texts: they are "
        f"{source:.1%} of the letters in the source and {target:.1%} in the target. An encoder "
        "that sees capitals may hide these and leave what matters as it is.",
        "Use an uncased encoder, or lower-case the texts of both domains.",
    )


def _telltales(run: Run) -> Finding | None:
    if run.sample is None or run.bag is None:
        return None
    from sklearn.tree import DecisionTreeClassifier

    # A tree tests one word at each split, so that this many leaves need at most a handful.
    tree = DecisionTreeClassifier(
        max_leaf_nodes=HANDFUL + 1, min_impurity_decrease=TELLING, random_state=0
    )
    accuracy = _fold_accuracy(run.bag.presence, run.sample.domains, tree)
    if accuracy <= TOLD:
        return None
    weights = tree.fit(run.bag.presence, run.sample.domains).feature_importances_
    words = [repr(str(run.bag.words[i])) for i in np.argsort(-weights) if weights[i] > 0]
    return Finding(
        "telltale words",
        "warning",
        f"Whether a text has {', '.join(words)} is enough to tell {accuracy:.0%} of the texts' "
        "domains right. Adaptation may hide these few words or signs and leave what matters as "
        "it is.",
        "Look where they come from: take headers, addresses, markup and the like out of the texts "
        "of both domains, or replace them by one common word.",
    )


def _shared(run: Run) -> Finding | None:
    source = {text.strip() for text in run.source_texts}
    n, shared = len(run.target_texts), sum(text.strip() in source for text in run.target_texts)
    if shared <= SHARED * n:
        return None
    return Finding(
        "shared texts",
        "warning",
        f"{shared:,} of the {n:,} target texts ({shared / n:.0%}) are also source texts, whose "
        "labels the model has seen.",
        "Remove them from the target, or at least from the texts that you score on: a score on "
        "them says nothing about new texts.",
    )


def _unknown(run: Run) -> Finding | None:
    many = {role: share for role, share in run.unknown.items() if share > UNKNOWN}
    if not many:
        return None
    parts = " and ".join(f"{share:.0%} of the {role} texts'" for role, share in many.items())
    return Finding(
        "unknown tokens",
        "severe" if max(many.values()) > MOSTLY_UNKNOWN else "warning",
        f"{parts} tokens are not in the encoder's vocabulary, and they all look alike to it.",
        "Choose an encoder that was trained on the language and script of both domains.",
    )


def _cut(run: Run) -> Finding | None:
    sizes = {"source": len(run.source_texts), "target": len(run.target_texts)}
    shares = {role: run.truncated.get(role, 0) / n for role, n in sizes.items() if n}
    many = [f"{share:.0%} of the {role} texts" for role, share in shares.items() if share > CUT]
    if not many:
        return None
    return Finding(
        "cut texts",
        "note",
        f"{' and '.join(many)} are longer than max_length and were cut.",
        "Raise max_length as far as the encoder and the memory allow, or split the texts. If the "
        "beginning of a text is enough to classify it, nothing needs to change.",
    )


def _unlearnt(run: Run) -> Finding | None:
    n, k = len(run.source_codes), len(run.classes)
    if n < MIN_HELD_OUT or not run.validation:
        return None
    shares = np.bincount(run.source_codes, minlength=k) / n
    constant = shares.max()
    best = max(row["validation_accuracy"] for row in run.validation)
    needed = constant + 2 * np.sqrt(constant * (1 - constant) / n) + MARGIN * (1 - constant)
    hits = run.source_hits
    recall = np.mean([hits[run.source_codes == code].mean() for code in np.flatnonzero(shares)])
    # If nearly all texts are of one class, not even perfect answers are clearly above its share.
    if best > needed or needed >= 1 or recall > 1 / (shares > 0).sum() + RECALL:
        return None
    remedy = (
        "Check that the labels belong to the texts. Then train for more epochs, at another "
        "learning_rate or with lower freeze_layers, at first with method='source_only'."
    )
    if not balanced(run.source_prior):
        remedy = (
            "Its classes are lopsided: try class_weight='balanced', which lets rare classes count "
            "as much as common ones. " + remedy
        )
    return Finding(
        UNLEARNT,
        "severe",
        f"In its best epoch the model had {best:.0%} of {n:,} held-out source texts right; to "
        f"answer always {run.classes.tolist()[int(shares.argmax())]!r} gets {constant:.0%}. It "
        "has not learnt the source's task, so there is nothing to carry over.",
        _LONGER if _is_short(run) else remedy,
    )


_LONGER = "Leave epochs at None, which takes as many as the classes need, or set more of them."


def _is_short(run: Run) -> bool:
    """Return whether the task had far fewer steps than so many classes need."""
    steps = sum("task_loss" in row for row in run.history)
    return 0 < steps < SHORT * steps_for(len(run.classes))


def _hurried(run: Run) -> Finding | None:
    """Look at steps and confidence together: a model may be quick, or unsure for good reasons."""
    p = run.source_probabilities
    confidence = float(p.max(1).mean()) if len(p) else 1.0
    if not _is_short(run) or confidence >= CONFIDENT:
        return None
    steps = sum("task_loss" in row for row in run.history)
    return Finding(
        "short training",
        "warning",
        f"The task was trained in {steps} steps, where {len(run.classes)} classes take about "
        f"{steps_for(len(run.classes))}, and the model's mean confidence on held-out source texts "
        f"is {confidence:.2f}: it has hardly begun.",
        _LONGER,
    )


def _short(run: Run) -> Finding | None:
    # What came before a later teacher is not in the model that is kept.
    acted = [row["strength"] > 0 for row in run.history]
    steps = len(list(takewhile(bool, reversed(acted))))
    if run.method == "source_only" or not run.max_strength or steps >= MIN_STEPS:
        return None
    return Finding(
        "short adaptation",
        "warning",
        f"Adaptation acted in {steps} steps, of which the first have little strength; fewer than "
        f"{MIN_STEPS} change little.",
        "Take more epochs, a smaller batch_size or more source texts.",
    )


def _damaged(run: Run) -> Finding | None:
    n = len(run.source_codes)
    if run.method == "source_only" or not run.trains_source or not n or not run.validation:
        return None
    best = max(run.validation, key=lambda row: row["validation_accuracy"])
    before = best["validation_accuracy"]
    after = run.source_hits.mean()
    if before - after <= max(DAMAGE, 2 * np.sqrt(before * (1 - before) / n)):
        return None
    return Finding(
        "damaged source task",
        "warning",
        f"After epoch {best['epoch']} the model got {before:.0%} of {n:,} held-out source texts "
        f"right; the adapted model that was kept gets {after:.0%}.",
        f"Lower max_strength (it was {run.max_strength:g}) or learning_rate, and compare with "
        "method='source_only'.",
    )


CHECKS: tuple[Callable[[Run], Finding | None], ...] = (
    _unlearnt,
    _collapsed,
    _hurried,
    _unknown,
    _won,
    _fooled,
    _oscillating,
    _flat,
    _short,
    _damaged,
    _missing,
    _shifted,
    _weightless,
    _telltales,
    _shared,
    _alike,
    _length,
    _casing,
    _cut,
)
"""Each looks for one problem. Findings of the same severity are in this order."""


def diagnose(run: Run) -> Findings:
    """Look for common problems, and describe them in plain words.

    Parameters
    ----------
    run : Run

    References
    ----------
    Ben-David et al., Analysis of Representations for Domain Adaptation, NIPS 2006, for the
    A-distance; Goodfellow, NIPS 2016 Tutorial: Generative Adversarial Networks, for what can go
    wrong in adversarial training.

    Examples
    --------
    >>> none = np.empty((0, 2))
    >>> run = Run(
    ...     method="source_only", max_strength=0.0, classes=np.array(["bad", "good"]),
    ...     history=[], validation=[], source_prior=np.array([0.5, 0.5]),
    ...     source_texts=["fine", "dull"], target_texts=["lol"] * 40,
    ...     source_features=none, target_features=np.zeros((40, 2)),
    ...     source_probabilities=none, source_codes=np.empty(0, int),
    ...     target_probabilities=np.tile([0.1, 0.9], (40, 1)), target_prior=None,
    ...     truncated={}, unknown={"target": 0.7},
    ... )
    >>> print(diagnose(run))
    severe: collapsed class
      100% of the 40 target texts are predicted to be 'good', a class that 50% of the source ...
    severe: unknown tokens
      70% of the target texts' tokens are not in the encoder's vocabulary, ...

    """
    return Findings(finding for check in CHECKS if (finding := check(run)) is not None)

"""What is looked at after training: predictions for held-out and for target texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dann_transfer.fitting.fitted import Fitted
from dann_transfer.fitting.predicting import Passed, Trained, aligned, pass_once
from dann_transfer.ground.notices import warn
from dann_transfer.judging import decision
from dann_transfer.judging.alignment import AffineMap, AlignmentWarning
from dann_transfer.judging.answering import answered
from dann_transfer.judging.diagnostics import class_shares, warn_of_collapse
from dann_transfer.judging.doctor import Run, diagnose
from dann_transfer.judging.findings import warn_of_findings
from dann_transfer.judging.label_shift import calibration_of, estimate
from dann_transfer.judging.neighbors import Neighborhood
from dann_transfer.judging.novelty import Novelty
from dann_transfer.judging.thresholds import thresholds_of
from dann_transfer.judging.weighing import Counsel, inform
from dann_transfer.model.model import check_outputs, infer
from dann_transfer.model.runtime import Runtime
from dann_transfer.texts.roles import Roles
from dann_transfer.texts.target import sample
from dann_transfer.texts.tokens import Tokens
from dann_transfer.training.mapping import map_onto_source


def _sees_case(tokenizer: Any, texts: Sequence[str]) -> bool:
    """Return whether capital letters change the tokens of some texts."""
    texts = [*texts[:20], "Words With Capitals"]
    plain, lower = (
        tokenizer(part, verbose=False)["input_ids"] for part in (texts, [t.lower() for t in texts])
    )
    return bool(plain != lower)


def look(
    trained: Trained,
    tokens: Mapping[str, Tokens],
    roles: Roles,
    runtime: Runtime,
    counsel: Counsel | None = None,
    new: np.ndarray | None = None,
) -> Trained:
    """Record what a model's predictions show about held-out and target texts.

    Parameters
    ----------
    trained : Trained
    tokens : mapping
        Texts by role.
    roles : Roles
    runtime : Runtime
        With the processes that trained, which all look: in later calls they are not here.
    counsel : Counsel, optional
        What knowledge says about the texts.
    new : ndarray of bool, shape (n_target,), optional
        Which target texts the model of the source took for texts of new classes.

    Returns
    -------
    Trained
        With its map of features, its neighbourhood, and the fields of `Fitted` about the target
        filled in. These show what is predicted with the map, except for the estimates of the
        target's class shares, which decide whether there is one.

    """
    model, fitted, codes = trained.model, trained.fitted, roles.codes["validation"]
    params = fitted.params
    held_out = _held_out(trained, tokens, runtime)
    if roles.form is not None:
        return _look_at_several(trained, held_out[1], codes, tokens, runtime)
    if "target" not in tokens:
        fitted.calibration = calibration_of(held_out[1].numpy(), codes)
        return trained
    rows = sample([list(range(len(tokens["target"])))])[0]
    looked_at = tokens["target"].take(rows)
    features, logits = pass_once(model, looked_at, runtime)
    check_outputs(features, logits)
    if runtime.processes.world == 1:
        trained = replace(trained, passed=Passed(looked_at, features, logits))
    trained, known = _novelty(trained, features, logits, held_out[0], new, rows)
    estimates = estimate(held_out[1].numpy(), codes, logits.numpy()[known])
    fitted.target_prior, fitted.refused_prior = estimates.priors, estimates.refused
    fitted.prior_intervals, fitted.calibration = estimates.intervals, estimates.calibration
    if params["align"] is not None:
        affine = _map_of(trained, tokens["source"], roles, runtime, features[known], logits[known])
        trained, features, logits = _with_map(trained, affine, runtime, features, logits)
        # New classes are told by the features that are predicted from.
        trained, known = _novelty(trained, features, logits, held_out[0], new, rows)
    p = logits.softmax(1).numpy()
    trained = _weighed(trained, counsel, p, rows)
    if params["neighbors"]:
        neighborhood = Neighborhood.of(features.numpy()[known], p[known], params["neighbors"])
        trained = replace(trained, neighborhood=neighborhood)
    p = _informed(trained, counsel, p, rows)
    features, p = features[known], p[known]
    _count(fitted, p, roles)
    decision.prior_for(params["correct_prior"], fitted)
    fitted.findings = diagnose(_run_of(trained, roles, held_out, features, p))
    warn_of_findings(fitted.findings)
    return trained


def _run_of(
    trained: Trained,
    roles: Roles,
    held_out: tuple[Tensor, Tensor],
    features: Tensor,
    p: np.ndarray,
) -> Run:
    """Return what the doctor examines: `features` and `p` are of target texts."""
    fitted = trained.fitted
    return Run(
        method=str(fitted.params["method"]),
        max_strength=fitted.max_strength,
        classes=fitted.classes,
        history=fitted.history,
        validation=fitted.validation,
        source_prior=roles.shares,
        source_texts=roles.texts["source"],
        target_texts=roles.texts["target"],
        source_features=held_out[0].numpy(),
        target_features=features.numpy(),
        source_probabilities=held_out[1].softmax(1).numpy(),
        source_codes=roles.codes["validation"],
        target_probabilities=p,
        target_prior=fitted.target_prior.get("em"),
        truncated=fitted.truncated,
        unknown=fitted.unknown,
        prior_interval=fitted.prior_intervals.get("em"),
        sees_case=_sees_case(trained.model.encoder.tokenizer, roles.texts["source"]),
        aligned=trained.alignment is not None,
        weights=() if trained.knowledge is None else trained.knowledge.named(),
        ranks=fitted.ranks,
    )


def _look_at_several(
    trained: Trained,
    logits: Tensor,
    marks: np.ndarray,
    tokens: Mapping[str, Tokens],
    runtime: Runtime,
) -> Trained:
    """Choose a threshold for each label on held-out texts, and count the target's labels."""
    fitted = trained.fitted
    fitted.thresholds = thresholds_of(torch.sigmoid(logits).numpy(), marks)
    if "target" in tokens:
        rows = sample([list(range(len(tokens["target"])))])[0]
        passed = pass_once(trained.model, tokens["target"].take(rows), runtime)
        check_outputs(*passed)
        shares = (torch.sigmoid(passed[1]).numpy() >= fitted.thresholds).mean(0)
        fitted.target_shares = dict(zip(fitted.classes.tolist(), shares.tolist(), strict=True))
    return trained


def _count(fitted: Fitted, p: np.ndarray, roles: Roles) -> None:
    """Record which classes target texts are predicted to be of, and warn if one collapsed."""
    fitted.target_shares = class_shares(answered(p, fitted.ranks), fitted.classes)
    warn_of_collapse(
        fitted.target_shares,
        class_shares(roles.codes["source"], fitted.classes),
        len(p),
        str(fitted.params["method"]),
        fitted.unknown["target"],
    )


def _held_out(
    trained: Trained, tokens: Mapping[str, Tokens], runtime: Runtime
) -> tuple[Tensor, Tensor]:
    """Return features and logits of held-out source texts, of which there may be none."""
    model = trained.model
    if "validation" not in tokens:
        classes = len(trained.fitted.classes)
        return torch.empty(0, model.encoder.features), torch.empty(0, classes)
    passed = infer(model, tokens["validation"], runtime)
    check_outputs(*passed)
    return passed


def _novelty(
    trained: Trained,
    features: Tensor,
    logits: Tensor,
    held_out: Tensor,
    new: np.ndarray | None,
    rows: list[int],
) -> tuple[Trained, np.ndarray]:
    """Let a model tell target texts of new classes, if `unknown` is set.

    Returns
    -------
    Trained
    ndarray of bool, shape (n,)
        Which of the target texts seem to be of the source's classes; all, if none does.

    """
    if trained.fitted.params["unknown"] is None:
        return trained, np.full(len(features), True)
    if new is None:
        novelty = Novelty.of(features.numpy(), logits.numpy(), held_out.numpy())
    else:
        novelty = Novelty.voted(features.numpy(), new[rows])
    known = ~novelty.is_new(features.numpy())
    return replace(trained, novelty=novelty), known if known.any() else ~known


def _weighed(trained: Trained, counsel: Counsel | None, p: np.ndarray, rows: list[int]) -> Trained:
    """Weigh knowledge beside a model with these probabilities of some target texts."""
    if counsel is None or trained.knowledge is None:
        return trained
    weights = counsel.weights(p, rows)
    return replace(trained, knowledge=replace(trained.knowledge, weights=weights))


def _informed(
    trained: Trained, counsel: Counsel | None, p: np.ndarray, rows: list[int]
) -> np.ndarray:
    """Return probabilities of some target texts as they are predicted, (n, classes)."""
    if counsel is None or trained.knowledge is None or not trained.fitted.params["use_knowledge"]:
        return p
    return inform(p, counsel.target[rows] @ trained.knowledge.weights)


def _with_map(
    trained: Trained,
    affine: AffineMap | None,
    runtime: Runtime,
    features: Tensor,
    logits: Tensor,
) -> tuple[Trained, Tensor, Tensor]:
    """Return the model with its map, and what this makes of the target's features and logits."""
    trained = replace(trained, alignment=affine)
    every = np.full(len(features), True)
    return trained, *aligned(trained, features, logits, every, runtime)


def _map_of(
    trained: Trained,
    source: Tokens,
    roles: Roles,
    runtime: Runtime,
    features: Tensor,
    logits: Tensor,
) -> AffineMap | None:
    """Return the map of target features onto those of the source, or warn why there is none.

    Parameters
    ----------
    trained : Trained
        With the estimates of the target's class shares.
    source : Tokens
        The source texts that the model was trained on.
    roles : Roles
    runtime : Runtime
    features, logits : Tensor, shapes (n, width) and (n, classes)
        Of target texts.

    """
    fitted = trained.fitted
    texts = source, roles.codes["source"], roles.weights
    refused = fitted.refused_prior.get("em")
    affine, why = map_onto_source(trained.model, texts, (features, logits), refused, runtime)
    if affine is None:
        warn(
            f"align={fitted.params['align']!r} maps nothing: {why}. Features and predictions are "
            "those of align=None; for a map, train with another method or hold out more source "
            "texts.",
            AlignmentWarning,
        )
    return affine

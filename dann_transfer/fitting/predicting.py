"""What a fitted model says about texts: features and class probabilities."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dann_transfer.fitting.fitted import Fitted
from dann_transfer.judging import decision
from dann_transfer.judging.alignment import AffineMap
from dann_transfer.judging.neighbors import Neighborhood
from dann_transfer.judging.novelty import Novelty
from dann_transfer.judging.weighing import inform
from dann_transfer.knowledge.weighted import Weighted
from dann_transfer.model.model import Classifier, check_outputs, infer
from dann_transfer.model.runtime import Runtime
from dann_transfer.texts.files import PART
from dann_transfer.texts.reading import texts_in_parts
from dann_transfer.texts.target import target_rows
from dann_transfer.texts.tokens import (
    Tokens,
    tokenize,
    unknown_share,
    warn_truncated,
    warn_unknown,
)
from dann_transfer.training.mapping import through


class Outputs(NamedTuple):
    """What one pass over texts returns."""

    features: np.ndarray
    """Pooled features, shape (n, width), float32; those of target texts mapped, with `align`."""
    probabilities: np.ndarray
    """Class probabilities, shape (n, n_classes), in the order of ``classes_``."""


class Passed(NamedTuple):
    """Texts that went through a model after its training, which need not do so again."""

    tokens: Tokens
    features: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Trained:
    """What a run leaves behind."""

    model: Classifier
    """Encoder and task head, in evaluation mode."""
    method_weights: dict[str, Tensor]
    """The method's own parameters, such as a discriminator's, which prediction does not need."""
    fitted: Fitted
    neighborhood: Neighborhood | None = None
    """The target's texts that predictions are averaged with, if `neighbors` is set."""
    alignment: AffineMap | None = None
    """The map of target texts' features, if `align` is set and nothing speaks against it."""
    knowledge: Weighted | None = None
    """The knowledge of the fit, with its weights against the model."""
    novelty: Novelty | None = None
    """Which target texts are of new classes, by their features, if `unknown` is set."""
    passed: Passed | None = None
    """The target texts that were looked at after training, before the map. Not kept by adapters."""


def parts_with_domains(
    parts: Iterable[Any], domain: Any, text_column: str
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield checked texts part by part, each with which of them are from the target.

    Parameters
    ----------
    parts : iterable of sequence of str
    domain : {"target", "source"}, or iterable of what `target_rows` takes
        For all parts, or for each.
    text_column : str

    Raises
    ------
    ValueError
        At the part that is wrong, and if there is not one entry for each part.

    """
    entries = repeat(domain) if isinstance(domain, str) else iter(domain)
    # Empty parts are left out on the way, and their entries with them.
    waiting: deque[Any] = deque()

    def noted() -> Iterator[Any]:
        for i, part in enumerate(parts):
            part = part if hasattr(part, "__len__") else list(part)
            try:
                entry = next(entries)
            except StopIteration:
                raise ValueError(
                    f"domain has {i} entries and there are more parts; pass one for each part, or "
                    "'target' or 'source' for all."
                ) from None
            if len(part):
                name = "domain" if isinstance(domain, str) else f"domain[{i}]"
                waiting.append((entry, name))
            yield part

    for texts in texts_in_parts(noted(), "X", text_column):
        entry, name = waiting.popleft()
        yield texts, target_rows(entry, len(texts), name)
    if not isinstance(domain, str) and next(entries, None) is not None:
        raise ValueError("domain has more entries than there are parts; pass one for each part.")


def predict_parts(
    trained: Trained,
    params: Mapping[str, Any],
    parts: Iterable[tuple[list[str], np.ndarray]],
) -> Iterator[Outputs]:
    """Yield the outputs of texts part by part; at the end, warn of cut texts and unknown tokens.

    Parameters
    ----------
    trained : Trained
    params : mapping
        The hyperparameters in `settings.AT_PREDICTION`, as they are now.
    parts : iterable of (list of str, ndarray of bool)
        Texts, and which of them are from the target.

    """
    max_length, tokenizer = trained.fitted.params["max_length"], trained.model.encoder.tokenizer
    prior = _prior(trained, params)
    n, cut, unknown = 0, 0, 0.0
    for part, of_target in parts:
        tokens, too_long = tokenize(tokenizer, part, max_length)
        n, cut = n + len(part), cut + too_long
        unknown += unknown_share(tokenizer, tokens) * len(part)
        p = _predict(trained, params, prior, tokens, of_target)
        yield _informed(trained, params, p, part, of_target)
    warn_truncated({"given": (cut, n)}, max_length)
    warn_unknown({"given": unknown / max(n, 1)})


def predict_tokens(
    trained: Trained,
    params: Mapping[str, Any],
    tokens: Tokens,
    domain: str = "target",
    texts: Sequence[str] = (),
) -> Outputs:
    """Return the outputs of texts that are tokenised already, as `predict_parts` would.

    Knowledge reads the texts themselves, which are needed where `use_knowledge` is set.
    """
    prior, passed = _prior(trained, params), trained.passed
    of_target = target_rows(domain, len(tokens))
    known = passed if passed is not None and passed.tokens.same_as(tokens) else None
    parts = (
        _predict(
            trained,
            params,
            prior,
            tokens.take(range(len(tokens))[part]),
            of_target[part],
            None if known is None else (known.features[part], known.logits[part]),
        )
        for part in _parts(len(tokens))
    )
    return _informed(trained, params, joined(parts, trained), texts, of_target)


def pass_once(model: Classifier, tokens: Tokens, runtime: Runtime) -> tuple[Tensor, Tensor]:
    """Return features and logits of texts, to the last bit those that `predict_tokens` computes."""
    if runtime.processes.world > 1:
        return infer(model, tokens, runtime)
    parts = [
        infer(model, tokens.take(range(len(tokens))[part]), runtime) for part in _parts(len(tokens))
    ]
    features, logits = (torch.cat(each) for each in zip(*parts, strict=True))
    return features, logits


def _parts(n: int) -> list[slice]:
    return [slice(start, start + PART) for start in range(0, n, PART)]


def aligned(
    trained: Trained,
    features: Tensor,
    logits: Tensor,
    of_target: np.ndarray,
    runtime: Runtime,
) -> tuple[Tensor, Tensor]:
    """Map the features of target texts, if the model has a map, and pass them to the head again.

    Parameters
    ----------
    trained : Trained
    features, logits : Tensor, shapes (n, width) and (n, classes)
        As the model gives them.
    of_target : ndarray of bool, shape (n,)
    runtime : Runtime

    """
    if trained.alignment is None or not of_target.any():
        return features, logits
    rows = torch.from_numpy(of_target)
    mapped = through(trained.alignment, trained.model, features[rows], runtime)
    features, logits = features.clone(), logits.clone()
    features[rows], logits[rows] = mapped
    return features, logits


def joined(parts: Iterable[Outputs], trained: Trained) -> Outputs:
    """Return the outputs of all parts as one, also where there is no part."""
    fitted, width = trained.fitted, trained.model.encoder.features
    features = [np.empty((0, width), np.float32)]
    probabilities = [np.empty((0, len(fitted.classes)), np.float32)]
    for part in parts:
        features.append(part.features)
        probabilities.append(part.probabilities)
    return Outputs(np.concatenate(features), np.concatenate(probabilities))


def _informed(
    trained: Trained,
    params: Mapping[str, Any],
    outputs: Outputs,
    texts: Sequence[str],
    of_target: np.ndarray,
) -> Outputs:
    """Add what knowledge says about target texts to their probabilities, if the user asks."""
    if not params["use_knowledge"] or not of_target.any():
        return outputs
    assert trained.knowledge is not None
    p, rows = outputs.probabilities.copy(), np.flatnonzero(of_target)
    values = trained.knowledge.evidence([texts[i] for i in rows.tolist()]).values
    p[rows] = inform(p[rows], values)
    return outputs._replace(probabilities=p)


def _check_knowledge(trained: Trained, params: Mapping[str, Any], prior: np.ndarray | None) -> None:
    """Raise if predictions are to be informed by knowledge that is missing, or changed twice."""
    if not params["use_knowledge"]:
        return
    if trained.knowledge is None:
        raise ValueError(
            "use_knowledge=True, but the model has no knowledge; fit it with knowledge=..., or set "
            "use_knowledge=False."
        )
    for name, value in (("neighbors", trained.neighborhood), ("correct_prior", prior)):
        if value is not None:
            raise ValueError(
                f"use_knowledge=True and {name} both change predictions, and were never measured "
                "together; set only one of them."
            )


def _prior(trained: Trained, params: Mapping[str, Any]) -> np.ndarray | None:
    """Return the target's class prior to correct predictions by, or None."""
    prior = decision.prior_for(params["correct_prior"], trained.fitted)
    if trained.neighborhood is not None and prior is not None:
        raise ValueError(
            f"correct_prior={params['correct_prior']!r}, but the model was fitted with neighbors="
            f"{trained.fitted.params['neighbors']}, and the two were never measured together."
        )
    _check_knowledge(trained, params, prior)
    return prior


def _predict(
    trained: Trained,
    params: Mapping[str, Any],
    prior: np.ndarray | None,
    tokens: Tokens,
    of_target: np.ndarray,
    known: tuple[Tensor, Tensor] | None = None,
) -> Outputs:
    """Pass texts through the model, then the map, the head, and neighbours or prior.

    Features and logits that are known already, those before the map, save the first step.
    """
    model, neighborhood = trained.model, trained.neighborhood
    device = next(model.parameters()).device
    if params["device"] is not None:
        wanted = Runtime.of(params["device"], params["precision"]).device
        if (wanted.type, wanted.index or 0) != (device.type, device.index or 0):
            model.to(wanted)
            device = wanted
    runtime = Runtime(device, params["precision"])
    features, logits = known or infer(model, tokens, runtime)
    check_outputs(features, logits)
    features, logits = aligned(trained, features, logits, of_target, runtime)
    if trained.fitted.form is not None:
        return Outputs(features.numpy(), torch.sigmoid(logits).numpy())
    p = decision.probabilities(logits, trained.fitted, prior)
    if neighborhood is not None:
        p = neighborhood.smooth(features.numpy(), p, trained.fitted.params["neighbors"])
    return Outputs(features.numpy(), p)

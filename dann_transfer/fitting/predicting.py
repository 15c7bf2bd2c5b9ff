"""What a fitted model says about texts: features and class probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from dann_transfer.fitting.fitted import Fitted
from dann_transfer.judging import decision
from dann_transfer.judging.neighbors import Neighborhood
from dann_transfer.model.model import Classifier, check_outputs, infer
from dann_transfer.model.runtime import Runtime
from dann_transfer.texts.files import PART
from dann_transfer.texts.tokens import (
    Tokens,
    tokenize,
    unknown_share,
    warn_truncated,
    warn_unknown,
)


class Outputs(NamedTuple):
    """What one pass over texts returns."""

    features: np.ndarray
    """Pooled features, shape (n, width), float32."""
    probabilities: np.ndarray
    """Class probabilities, shape (n, n_classes), in the order of ``classes_``."""


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


def predict_parts(
    trained: Trained, params: Mapping[str, Any], parts: Iterable[list[str]]
) -> Iterator[Outputs]:
    """Yield the outputs of texts part by part; at the end, warn of cut texts and unknown tokens.

    Parameters
    ----------
    trained : Trained
    params : mapping
        The hyperparameters in `settings.AT_PREDICTION`, as they are now.
    parts : iterable of list of str

    """
    max_length, tokenizer = trained.fitted.params["max_length"], trained.model.encoder.tokenizer
    prior = _prior(trained, params)
    n, cut, unknown = 0, 0, 0.0
    for part in parts:
        tokens, too_long = tokenize(tokenizer, part, max_length)
        n, cut = n + len(part), cut + too_long
        unknown += unknown_share(tokenizer, tokens) * len(part)
        yield _predict(trained, params, prior, tokens)
    warn_truncated({"given": (cut, n)}, max_length)
    warn_unknown({"given": unknown / max(n, 1)})


def predict_tokens(trained: Trained, params: Mapping[str, Any], tokens: Tokens) -> Outputs:
    """Return the outputs of texts that are tokenised already, as `predict_parts` would."""
    prior = _prior(trained, params)
    starts = range(0, len(tokens), PART)
    parts = (tokens.take(range(i, min(i + PART, len(tokens)))) for i in starts)
    return joined((_predict(trained, params, prior, part) for part in parts), trained)


def joined(parts: Iterable[Outputs], trained: Trained) -> Outputs:
    """Return the outputs of all parts as one, also where there is no part."""
    fitted, width = trained.fitted, trained.model.encoder.features
    features = [np.empty((0, width), np.float32)]
    probabilities = [np.empty((0, len(fitted.classes)), np.float32)]
    for part in parts:
        features.append(part.features)
        probabilities.append(part.probabilities)
    return Outputs(np.concatenate(features), np.concatenate(probabilities))


def _prior(trained: Trained, params: Mapping[str, Any]) -> np.ndarray | None:
    """Return the target's class prior to correct predictions by, or None."""
    prior = decision.prior_for(params["correct_prior"], trained.fitted)
    if trained.neighborhood is not None and prior is not None:
        raise ValueError(
            f"correct_prior={params['correct_prior']!r}, but the model was fitted with neighbors="
            f"{trained.fitted.params['neighbors']}, and the two were never measured together."
        )
    return prior


def _predict(
    trained: Trained, params: Mapping[str, Any], prior: np.ndarray | None, tokens: Tokens
) -> Outputs:
    """Pass texts through the model once."""
    model, neighborhood = trained.model, trained.neighborhood
    device = next(model.parameters()).device
    if params["device"] is not None:
        wanted = Runtime.of(params["device"], params["precision"]).device
        if (wanted.type, wanted.index or 0) != (device.type, device.index or 0):
            model.to(wanted)
            device = wanted
    features, logits = infer(model, tokens, Runtime(device, params["precision"]))
    check_outputs(features, logits)
    p = decision.probabilities(logits, trained.fitted, prior)
    if neighborhood is not None:
        p = neighborhood.smooth(features.numpy(), p, trained.fitted.params["neighbors"])
    return Outputs(features.numpy(), p)

"""A map of the target's features onto the source's, fitted on what a model makes of both."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dann_transfer.judging.alignment import AffineMap, obstacle, transport
from dann_transfer.model.model import Classifier, check_outputs, infer, logits_of
from dann_transfer.model.runtime import Runtime
from dann_transfer.texts.target import sample
from dann_transfer.texts.tokens import Tokens


def map_onto_source(
    model: Classifier,
    source: tuple[Tokens, np.ndarray, np.ndarray | None],
    target: tuple[Tensor, Tensor],
    refused: str | None,
    runtime: Runtime,
) -> tuple[AffineMap | None, str]:
    """Return a map of target features onto those of the source, or None and why there is none.

    Parameters
    ----------
    model : Classifier
    source : (Tokens, ndarray of int, ndarray or None)
        The source texts that the model was trained on, their class positions, and their weights.
    target : (Tensor, Tensor), shapes (n, width) and (n, classes)
        Features and logits of target texts.
    refused : str or None
        Why the estimate of the target's class shares was refused, if it was.
    runtime : Runtime

    """
    if refused is not None:
        # Weights by predictions that contradict the source would move texts between classes.
        return None, f"the estimate of the target's class shares was refused ({refused})"
    tokens, codes, weights = source
    rows = sample([list(range(len(tokens)))])[0]
    passed = infer(model, tokens.take(rows), runtime)
    check_outputs(*passed)
    features, p = target[0].numpy(), target[1].softmax(1).numpy()
    if (why := obstacle(passed[0].numpy(), features, p)) is not None:
        return None, why
    each = None if weights is None else weights[rows]
    return transport(passed[0].numpy(), codes[rows], features, p, each), ""


def through(
    affine: AffineMap, model: Classifier, features: Tensor, runtime: Runtime
) -> tuple[Tensor, Tensor]:
    """Return mapped features and the head's logits for them."""
    mapped = torch.from_numpy(affine(features.numpy()))
    return mapped, logits_of(model, mapped, runtime)

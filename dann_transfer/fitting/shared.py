"""What runs on the same texts share: encoders, tokens, states of frozen layers, source phases."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from dann_transfer.fitting.informed import counsel_of
from dann_transfer.ground import streams
from dann_transfer.ground.settings import ADAPTATION, AT_PREDICTION
from dann_transfer.judging.weighing import Counsel
from dann_transfer.knowledge.weighted import Weighted
from dann_transfer.model import loading
from dann_transfer.model.caching import MAX_BYTES
from dann_transfer.model.encoder import Encoder
from dann_transfer.texts.roles import Roles, Texts
from dann_transfer.texts.tokens import Tokens, TokenStore
from dann_transfer.training.source_phase import SourcePhase

T = TypeVar("T")

# What a phase on the source alone does not depend on.
_OF_METHODS = {*ADAPTATION, *AT_PREDICTION, "method", "neighbors", "align", "patience"}
_OF_METHODS |= {"checkpoint_dir", "checkpoint_every", "random_state"}
_OF_METHODS -= {"device", "precision"}


class Shared:
    """What is read from disk or computed once for several runs on the same texts.

    Parameters
    ----------
    several : bool
        Whether more than one run will use it; a single run need not keep anything.

    """

    def __init__(self, several: bool = True) -> None:
        self.several = several
        self.states: dict[str, Tensor] | None = {} if several else None
        """The frozen layers' output for texts, as `model.caching` keeps it."""
        self._loaded: dict[tuple[Any, ...], loading.Loaded] = {}
        self._stores: dict[tuple[Any, ...], TokenStore] = {}
        self._source_phases: dict[tuple[int, str], SourcePhase] = {}
        self._counsels: list[tuple[Texts, Roles, tuple[Counsel, Weighted]]] = []
        self._heard: set[tuple[str, str]] = set()

    def encoder(self, params: Mapping[str, Any], seed: int) -> Encoder:
        """Return a run's encoder, as its folder has it; what the folder lacks is drawn by seed.

        Raises
        ------
        ValueError
            As `loading.load`, or if the encoder does not suit the hyperparameters.

        """
        loaded = self._load(params)
        model = copy.deepcopy(loaded.model) if self.several else loaded.model
        torch.manual_seed(streams.number(seed, streams.ENCODER))
        loading.draw(model, loaded.missing)
        loaded = loaded._replace(model=model)
        return Encoder.of(loaded, params["pooling"], params["freeze_layers"], params["lora"])

    def _load(self, params: Mapping[str, Any]) -> loading.Loaded:
        key = _source_of(params)
        if key in self._loaded:
            return self._loaded[key]
        loaded = loading.load(params["encoder"], params["trust_remote_code"])
        if self.several:
            self._loaded[key] = loaded
        return loaded

    def tokens(
        self, encoder: Encoder, params: Mapping[str, Any], texts: Sequence[str]
    ) -> tuple[Tokens, int]:
        """Return the tokens of texts, and how many of them are cut."""
        key = (*_source_of(params), params["max_length"])
        if key not in self._stores:
            self._stores[key] = TokenStore(encoder.tokenizer, params["max_length"])
        return self._stores[key].tokens(texts)

    def counsel(self, texts: Texts, roles: Roles) -> tuple[Counsel | None, Weighted | None]:
        """Return what knowledge says about a run's texts, if there is any."""
        if not texts.knowledge:
            return None, None
        for others, same, counsel in self._counsels:
            # Runs of one seed hold out the same texts, and may see more or less of the target.
            if others is texts and same.texts == roles.texts:
                return counsel
        counsel = counsel_of(texts.knowledge, roles)
        if self.several:
            self._counsels.append((texts, roles, counsel))
        return counsel

    def unheard(self, what: str, by_role: Mapping[str, T]) -> dict[str, T]:
        """Return the roles that no run has warned of yet, which this one does.

        Runs on the same texts would repeat the same warnings.
        """
        new = {role: value for role, value in by_role.items() if (what, role) not in self._heard}
        self._heard.update((what, role) for role in new)
        return new

    def source_phase(self, params: Mapping[str, Any], seed: int) -> SourcePhase | None:
        """Return the source phase of a run, if another has trained the same one."""
        return self._source_phases.get(_key_of_phase(params, seed))

    def keep(self, params: Mapping[str, Any], seed: int, phase: SourcePhase) -> None:
        """Keep a run's source phase for others; the oldest make room, since each is a model.

        Those of another seed go, as runs go through one seed after another.
        """
        phases = self._source_phases
        for key in [key for key in phases if key[0] != seed]:
            del phases[key]
        while phases and sum(p.nbytes for p in phases.values()) + phase.nbytes > MAX_BYTES:
            phases.pop(next(iter(phases)))
        phases[_key_of_phase(params, seed)] = phase


def _key_of_phase(params: Mapping[str, Any], seed: int) -> tuple[int, str]:
    settings = sorted((k, repr(v)) for k, v in params.items() if k not in _OF_METHODS)
    return seed, repr(settings)


def _source_of(params: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what decides which weights and which tokenizer are read."""
    return str(params["encoder"]), bool(params["trust_remote_code"])

"""Where a run is: phase, epoch, strength and rate as pure functions of the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from dann_transfer.ground.settings import Settings
from dann_transfer.training.phases import Phase
from dann_transfer.training.schedules import STRENGTH, warmup_decay


@dataclass(frozen=True)
class Moment:
    """One step of a run.

    Attributes
    ----------
    step : int
        Counted from 1.
    phase : int
        Position of its phase.
    starts_phase, starts_epoch : bool
        Whether it is the first step of its phase, and of its epoch.
    progress : float
        The share of the adaptation's steps that come before it, from 0 to 1.
    strength : float
        From 0 to the run's `max_strength`.
    rate : float
        Factor on the learning rates of encoder and head.

    """

    step: int
    phase: int
    starts_phase: bool
    starts_epoch: bool
    progress: float
    strength: float
    rate: float


class Timeline:
    """The steps of a run.

    Parameters
    ----------
    phases : sequence of Phase
    length : int
        Steps per epoch.
    settings : Settings

    """

    def __init__(self, phases: Sequence[Phase], length: int, settings: Settings) -> None:
        self.phases, self.length, self.settings = phases, length, settings
        self.ends = list(accumulate(phase.epochs * length for phase in phases))
        self.total = self.ends[-1]

    @property
    def epochs(self) -> int:
        """Number of epochs in all phases."""
        return self.total // self.length

    def at(self, step: int) -> Moment:
        """Return where the run is at a step, counted from 1."""
        i = next(i for i, end in enumerate(self.ends) if step <= end)
        phase, start = self.phases[i], self.ends[i] - self.phases[i].epochs * self.length
        steps = self.ends[i] - start
        rate = 1.0
        if steps > 1:
            rate = warmup_decay((step - start) / (steps + 1), self.settings.warmup)
        if phase.strength_is_rate:
            rate = self.settings.max_strength * rate
        return Moment(
            step=step,
            phase=i,
            starts_phase=step == start + 1,
            starts_epoch=(step - 1) % self.length == 0,
            progress=self._progress(step - 1),
            strength=self.settings.max_strength * self._growth(step) if phase.adapts else 0.0,
            rate=rate,
        )

    def may_be_kept(self, step: int) -> bool:
        """Return whether the model after this step may be kept: whether it is adapted.

        An epoch at less than nine tenths of the final strength scores well on the source because
        it is not yet adapted.
        """
        phase = self.phases[self.at(step).phase]
        if not phase.chooses_epoch:
            return False
        if not phase.adapts or not self.settings.max_strength:
            return True
        return self._growth(step) >= 0.9 * self._growth(self.total)

    def _progress(self, step: int) -> float:
        """Return the share of the adaptation's steps that are done after this one."""
        done = total = start = 0
        for phase, end in zip(self.phases, self.ends, strict=True):
            if phase.adapts:
                done += min(max(step - start, 0), end - start)
                total += end - start
            start = end
        return done / total if total else 0.0

    def _growth(self, step: int) -> float:
        progress = self._progress(step)
        return STRENGTH[self.settings.strength_schedule](progress) if progress > 0 else 0.0

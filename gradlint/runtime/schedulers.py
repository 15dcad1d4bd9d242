"""Learning-rate schedulers: whether each waits for its optimizer's first step.

A schedule that only is previewed (no optimizer step follows) is no mistake, so a violation is held back until
the optimizer does step. Knows schedulers by what they offer; must not know torch.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.protocols import SCHEDULER
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.registry import Registry
from gradlint.runtime.sites import NOWHERE, name_of
from gradlint.runtime.tracks import Track
from gradlint.typestate import State


class WatchedScheduler:
    """One scheduler and its state; `first` is the first parameter of its optimizer, which survives wrappers."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = weakref.ref(scheduler)
        optimizer = scheduler.optimizer
        self.first = weakref.ref(first_parameter(optimizer))
        begun = getattr(optimizer, "_opt_called", False) or getattr(scheduler, "last_epoch", 0) > 0
        self.track = Track(SCHEDULER, State("ready") if begun else None)


@dataclass(frozen=True, slots=True)
class _Early:
    """A schedule that began too early, if its optimizer ever steps; `backwards`: the passes that had fed it by then."""

    first: weakref.ref[Any]
    scheduler: weakref.ref[Any]
    place: Location
    name: str
    backwards: int
    stepped: Location = NOWHERE
    other: str = ""


class Schedulers:
    """The schedulers of the run."""

    def __init__(self, ledger: Ledger, registry: Registry) -> None:
        self._ledger = ledger
        self._registry = registry
        self._watched: dict[int, WatchedScheduler] = {}
        self._stepped: dict[int, weakref.ref[Any]] = {}
        self._early: list[_Early] = []
        self._between: list[_Early] = []  # between the batches of a window: perhaps it counts batches

    def scheduled(self, scheduler: Any, place: Location, frame: FrameType | None) -> None:
        """A scheduler was stepped at `place`."""
        watched = self._of(scheduler)
        if self._has_stepped(watched.first()):
            watched.track.advance(EventKind.STEP, NOWHERE)
        if watched.track.advance(EventKind.SCHEDULE, place) is not None:
            backwards = self._registry.of(scheduler.optimizer).backwards
            self._early.append(_Early(watched.first, watched.scheduler, place, name_of(scheduler, frame), backwards))

    def tried(self, optimizer: Any) -> None:
        """A gradient scaler is about to step `optimizer`; if it skips the step, the schedule is not to blame."""
        first = first_parameter(optimizer)
        self._stepped[id(first)] = weakref.ref(first)

    def stepped(self, optimizer: Any, place: Location, frame: FrameType | None) -> None:
        """An optimizer stepped for the first time at `place`, or again while a schedule was waiting for it."""
        self.tried(optimizer)
        first = first_parameter(optimizer)
        backwards = self._registry.of(optimizer).backwards
        for early in [each for each in self._early if each.first() is first]:
            self._early.remove(early)
            told = replace(early, stepped=place, other=name_of(optimizer, frame))
            if 0 < early.backwards < backwards:
                self._between.append(told)
            else:
                self._report(told)

    def ended(self, counts_batches: Callable[[weakref.ref[Any]], bool]) -> None:
        """The run is over: decide about the schedules that moved on between the batches of a window."""
        for early in self._between:
            if not counts_batches(early.scheduler):
                self._report(early)

    def _report(self, early: _Early) -> None:
        marks = (("stepped", early.stepped),)
        self._ledger.report("GL201", early.place, marks, subject=early.name, other=early.other)

    @property
    def waiting(self) -> bool:
        """Tell whether a schedule has begun before its optimizer."""
        return bool(self._early)

    def _of(self, scheduler: Any) -> WatchedScheduler:
        watched = self._watched.get(id(scheduler))
        if watched is None or watched.scheduler() is not scheduler:
            watched = self._watched[id(scheduler)] = WatchedScheduler(scheduler)
        return watched

    def _has_stepped(self, parameter: Any) -> bool:
        known = self._stepped.get(id(parameter))
        return known is not None and known() is parameter


def first_parameter(optimizer: Any) -> Any:
    """Return the parameter by which an optimizer and its wrappers are known to be the same; itself if it has none."""
    return next((parameter for group in optimizer.param_groups for parameter in group["params"]), optimizer)

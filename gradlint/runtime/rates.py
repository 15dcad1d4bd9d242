"""Schedules against the steps that were taken: whether a schedule counts what it is stepped with.

Knows schedulers by what they offer; must not know torch.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from types import FrameType
from typing import Any

from gradlint.diagnostics import Location
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.optimizers import WatchedOptimizer
from gradlint.runtime.registry import Registry
from gradlint.runtime.sites import name_of, text_at

_EPOCHS = ("StepLR", "MultiStepLR", "ExponentialLR")
_BATCHES = ("OneCycleLR",)
_TAKE_EPOCHS = ("CosineAnnealingWarmRestarts",)  # step(epoch + batch / batches) is what its documentation shows
_GONE = 1e-6
_MOST = 0.9
_STEPS = 3


@dataclass(slots=True)
class _Schedule:
    """One scheduler: what it is, how often it was stepped, and when its rate had shrunk to nothing."""

    scheduler: weakref.ref[Any]
    watched: WatchedOptimizer
    cls: str
    place: Location
    name: str
    total: int
    steps: int = 0
    gone: int | None = None
    other: Location | None = None  # where an optimizer was built that steps the same parameters
    epoch: float = 0.0


class Rates:
    """The schedules of the run; judged when it is over."""

    def __init__(self, ledger: Ledger, registry: Registry) -> None:
        self._ledger = ledger
        self._registry = registry
        self._schedules: list[_Schedule] = []

    def scheduled(self, scheduler: Any, epoch: Any, place: Location, frame: FrameType | None) -> None:
        """A scheduler was stepped, perhaps with a number that it takes for an epoch."""
        schedule = self._of(scheduler, place, frame)
        schedule.steps += 1
        if schedule.gone is None and schedule.cls in _EPOCHS:
            rates = [(group["lr"], group.get("initial_lr", 0.0)) for group in scheduler.optimizer.param_groups]
            if all(_is_gone(now, first) for now, first in rates):
                schedule.gone = schedule.steps
        if epoch is not None and not isinstance(epoch, int) and schedule.cls not in _TAKE_EPOCHS:
            self._told(schedule, epoch, place)
        if schedule.steps == _STEPS:
            self._compare(schedule, scheduler.optimizer, place)

    def _told(self, schedule: _Schedule, epoch: Any, place: Location) -> None:
        """GL206: a tensor is a metric, and so is a number that is no epoch and does not grow; batches of epochs only grow."""
        measured = hasattr(epoch, "grad_fn") and epoch.is_floating_point()
        number = schedule.epoch if measured else float(epoch)  # the value of a tensor would be waited for
        if measured or (not number.is_integer() and number < schedule.epoch):
            metric = text_at(place).partition("(")[2].removesuffix(")") or f"{number:.4g}"
            self._ledger.report("GL206", place, subject=schedule.name, cls=schedule.cls, metric=metric)
        schedule.epoch = number

    def _compare(self, schedule: _Schedule, optimizer: Any, place: Location) -> None:
        """Note that the optimizer of the schedule has not stepped yet, and another one steps the same parameters."""
        if schedule.watched.steps:
            return
        for other in self._registry:
            groups = getattr(other.optimizer, "param_groups", None)
            if other.steps and self._registry.sharing(other, schedule.watched) and not _is_wrapped(optimizer, groups):
                schedule.other = other.built or place
                return

    def _replaced(self, schedule: _Schedule, place: Location) -> None:
        """GL211: the turn of the scheduled optimizer never came."""
        what = "its own was replaced by another one, built later"
        way = "build the scheduler after the optimizer, and anew with it"
        self._ledger.report("GL211", place, subject=schedule.name, what=what, way=way)

    def _of(self, scheduler: Any, place: Location, frame: FrameType | None) -> _Schedule:
        for schedule in self._schedules:
            if schedule.scheduler() is scheduler:
                return schedule
        cls, watched = type(scheduler).__name__, self._registry.of(scheduler.optimizer)
        total = getattr(scheduler, "total_steps", 0)
        made = _Schedule(weakref.ref(scheduler), watched, cls, place, name_of(scheduler, frame), total)
        self._schedules.append(made)
        return made

    def ended(self) -> None:
        """Compare each schedule with the steps of its optimizer."""
        for schedule in self._schedules:
            steps, subject, cls = schedule.watched.steps, schedule.name, schedule.cls
            if schedule.gone is not None and _MOST * steps <= schedule.steps and 2 * schedule.gone < schedule.steps:
                self._ledger.report("GL203", schedule.place, subject=subject, cls=cls)
            elif schedule.other is not None and not steps:
                self._replaced(schedule, schedule.other)
            elif cls in _BATCHES and _is_late(schedule, steps):
                self._ledger.report("GL204", schedule.place, subject=subject, cls=cls, how="epoch", way="epochs")


def _is_gone(now: Any, first: Any) -> bool:
    """Tell whether a rate has shrunk to nothing; one that lives on the device is not waited for."""
    return isinstance(now, float) and isinstance(first, float) and 0 < now < _GONE * first


def _is_wrapped(optimizer: Any, groups: Any) -> bool:
    """Tell whether an optimizer and the owner of `groups` are a wrapper and what it wraps: they share their groups."""
    return groups is None or any(mine is other for mine in optimizer.param_groups for other in groups)


def _is_late(schedule: _Schedule, steps: int) -> bool:
    """Tell whether a schedule as long as the training has moved on once for many steps of its optimizer."""
    return abs(steps - schedule.total) <= (1 - _MOST) * schedule.total and 1 < 2 * schedule.steps <= steps

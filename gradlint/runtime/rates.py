"""Schedules against the steps that were taken: whether a schedule counts what it is stepped with.

Knows schedulers by what they offer; must not know torch.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

from gradlint.diagnostics import Location
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.lengths import counts_steps, counts_updates, overrun
from gradlint.runtime.observers import Observer
from gradlint.runtime.optimizers import WatchedOptimizer
from gradlint.runtime.registry import Registry
from gradlint.runtime.schedule import Schedule, is_constant, length_of, turns_of
from gradlint.runtime.sites import name_of, text_at
from gradlint.runtime.unstepped import Unstepped

_EPOCHS = ("StepLR", "MultiStepLR", "ExponentialLR")
_BATCHES = ("OneCycleLR",)
_TAKE_EPOCHS = ("CosineAnnealingWarmRestarts",)  # step(epoch + batch / batches) is what its documentation shows
_GONE = 1e-6
_MOST = 0.9
_STEPS = 3
_SOON = 4
_IDLE = 3  # A warm-up begins with 0, and some step twice for each step of the schedule.
_SKIPPED = 3
_AGAIN = 2  # after which a third one begins
_PATIENCE = 10  # that of ReduceLROnPlateau, if it is told no other


class Rates(Observer):
    """The schedules of the run; judged when it is over."""

    def __init__(self, ledger: Ledger, registry: Registry, interrupted: Callable[[], bool]) -> None:
        self._ledger = ledger
        self._registry = registry
        self._schedules: list[Schedule] = []
        self._known: dict[int, Schedule] = {}
        self._unstepped = Unstepped(ledger, interrupted)

    def built(self, scheduler: Any, place: Location, frame: FrameType | None) -> None:
        """A scheduler was built at `place`."""
        schedule = self._of(scheduler)
        schedule.built, schedule.before = place, schedule.watched.steps
        schedule.constant = is_constant(scheduler)
        for inner in getattr(scheduler, "_schedulers", ()):
            self._of(inner).held = True
        self._unstepped.built(frame)
        self._begins_again(schedule, place)

    def _begins_again(self, schedule: Schedule, place: Location) -> None:
        """Count how often a schedule takes the place of one of the same optimizer that had only just begun."""
        before = next((each for each in reversed(self._schedules[:-1]) if each.built is place), None)
        if before is None or before.steps > 1 or not self._registry.sharing(before.watched, schedule.watched):
            return
        schedule.again = before.again + (before.steps == 1 < (before.length or 0) - 1)

    def scheduled(self, scheduler: Any, epoch: Any, place: Location, frame: FrameType | None) -> None:
        """A scheduler was stepped, perhaps with a number that it takes for an epoch."""
        schedule = self._of(scheduler)
        schedule.count(scheduler, place)
        if schedule.steps == 1:
            schedule.name = name_of(scheduler, frame)
        self._look_at_rates(schedule, scheduler)
        if epoch is not None and not isinstance(epoch, int) and schedule.cls not in _TAKE_EPOCHS:
            self._told(schedule, epoch, place)
        if schedule.steps == _STEPS:
            self._compare(schedule, scheduler.optimizer, place)

    def _look_at_rates(self, schedule: Schedule, scheduler: Any) -> None:
        """See whether the rates have gone: to nothing by division, down after a few steps, or to 0 at the end of a schedule."""
        optimizer = scheduler.optimizer
        schedule.below += any(_is_negative(group) for group in optimizer.param_groups)
        if schedule.gone is None and schedule.cls in _EPOCHS:
            rates = [(group["lr"], group.get("initial_lr", 0.0)) for group in optimizer.param_groups]
            if all(_is_gone(now, first) for now, first in rates):
                schedule.gone = schedule.steps
        elif schedule.gone is None and getattr(scheduler, "patience", None) == _PATIENCE:
            now = optimizer.param_groups[0]["lr"]
            schedule.first = now if schedule.first is None and isinstance(now, float) else schedule.first
            schedule.gone = schedule.steps if schedule.first is not None and now < schedule.first else None
        elif schedule.length is not None and schedule.last > schedule.length:
            schedule.rests = _is_idle(optimizer)

    def before_step(self, watched: WatchedOptimizer, place: Location, frame: FrameType | None) -> None:
        """Count the first steps that an optimizer takes with the rate 0, as its schedules want it."""
        for schedule in self._schedules:
            if schedule.watched is watched and schedule.cls == "LambdaLR" and schedule.idle == schedule.taken:
                schedule.idle += _is_idle(watched.optimizer)
        self._unstepped.stepped(watched, place, frame)

    def _told(self, schedule: Schedule, epoch: Any, place: Location) -> None:
        """GL206: a tensor is a metric, and so is a number that is no epoch and does not grow; batches of epochs only grow."""
        measured = hasattr(epoch, "grad_fn") and epoch.is_floating_point()
        number = schedule.epoch if measured else float(epoch)  # the value of a tensor would be waited for
        if measured or (not number.is_integer() and number < schedule.epoch):
            metric = text_at(place).partition("(")[2].removesuffix(")") or f"{number:.4g}"
            self._ledger.report("GL206", place, subject=schedule.name, cls=schedule.cls, metric=metric)
        schedule.epoch = number

    def _compare(self, schedule: Schedule, optimizer: Any, place: Location) -> None:
        """Note that the optimizer of the schedule has not stepped yet, and another one steps the same parameters."""
        if schedule.watched.steps:
            return
        for other in self._registry:
            groups = getattr(other.optimizer, "param_groups", None)
            if other.steps and self._registry.sharing(other, schedule.watched) and not _is_wrapped(optimizer, groups):
                schedule.other = other.built or place
                return

    def _of(self, scheduler: Any) -> Schedule:
        known = self._known.get(id(scheduler))
        if known is None or known.scheduler() is not scheduler:
            watched = self._registry.of(scheduler.optimizer)
            cls = type(scheduler).__name__
            known = Schedule(weakref.ref(scheduler), watched, cls, cls, length_of(scheduler), turns_of(scheduler))
            self._known[id(scheduler)] = known
            self._schedules.append(known)
        return known

    def counts_batches(self, scheduler: weakref.ref[Any]) -> bool:
        """Tell whether a schedule that moves on between the batches of a window is as long as it was stepped, or judged."""
        return any(
            each.scheduler is scheduler and (counts_steps(each) or counts_updates(each)) for each in self._schedules
        )

    def ended(self) -> None:
        """Compare each schedule with the steps of its optimizer."""
        for schedule in self._schedules:
            place = schedule.place
            if place is None:
                self._unstepped.judge(schedule)
            else:
                self._judge(schedule, place)
            if schedule.again >= _AGAIN and schedule.built is not None:
                what = f"each is stepped once, of {schedule.length} times, and the rate hardly leaves where it begins"
                self._ledger.report("GL805", schedule.built, count=schedule.again, subject=schedule.name, what=what)
            if schedule.idle >= _IDLE and schedule.built is not None:
                self._ledger.report("GL220", schedule.built, count=schedule.idle)

    def _judge(self, schedule: Schedule, place: Location) -> None:
        steps, subject, cls = schedule.watched.steps, schedule.name, schedule.cls
        if _MOST * steps <= schedule.steps and self._counts_epochs(schedule):
            self._ledger.report("GL203", place, subject=subject, cls=cls)
        elif schedule.other is not None and not steps:
            self._replaced(schedule, schedule.other)
        elif (cls in _BATCHES and _is_late(schedule, steps)) or self._counts_batches(schedule):
            self._ledger.report("GL204", place, subject=subject, cls=cls, how="epoch", way="epochs")
        elif counts_updates(schedule):
            self._too_often(schedule, place)
        elif what := overrun(schedule):
            marks = (("built", schedule.built),) if schedule.built is not None else ()
            self._ledger.report("GL213", place, marks, subject=subject, what=what)
        elif (skipped := _skipped(schedule)) >= _SKIPPED:
            self._ledger.report("GL219", place, count=skipped, subject=subject, skipped=str(skipped))

    def _counts_epochs(self, schedule: Schedule) -> bool:
        """Tell whether a schedule that was stepped with every batch counts epochs: it was over soon, or began again and again."""
        epochs, batches = self._registry.epochs, schedule.taken
        if schedule.cls == "CosineAnnealingLR":
            return (
                schedule.length == epochs > 0 and not schedule.restarted and 2 * epochs <= min(schedule.last, batches)
            )
        if schedule.cls == "ReduceLROnPlateau":
            return schedule.gone is not None and _PATIENCE * epochs < batches and epochs > 1
        # Turns that all lie within the epochs, and were over in a fraction of the batches, were meant for epochs.
        turns = schedule.turns or 0
        soon = 1 < turns < epochs and _SOON * turns <= min(schedule.last, batches)
        return soon or (schedule.gone is not None and 2 * schedule.gone < schedule.steps)

    def _counts_batches(self, schedule: Schedule) -> bool:
        """Tell whether a schedule that was stepped with every epoch is exactly as long as its optimizer has stepped."""
        epochs = self._registry.epochs
        return schedule.length == schedule.taken and schedule.steps == epochs and 2 < 2 * epochs <= schedule.taken

    def _too_often(self, schedule: Schedule, place: Location) -> None:
        """GL212: a schedule as long as its optimizer steps was over long before."""
        last = schedule.watched.last_step
        marks = [("built", schedule.built), ("step", last)]
        known = [(role, where) for role, where in marks if where is not None]
        other = text_at(last).partition(".step(")[0] if last is not None else ""
        self._ledger.report("GL212", place, known, subject=schedule.name, other=other or "the optimizer")

    def _replaced(self, schedule: Schedule, place: Location) -> None:
        """GL211: the turn of the scheduled optimizer never came."""
        what = "its own was replaced by another one, built later"
        way = "build the scheduler after the optimizer, and anew with it"
        self._ledger.report("GL211", place, subject=schedule.name, what=what, way=way)


def _is_gone(now: Any, first: Any) -> bool:
    """Tell whether a rate has shrunk to nothing; one that lives on the device is not waited for."""
    return isinstance(now, float) and isinstance(first, float) and 0 < now < _GONE * first


def _is_negative(group: Any) -> bool:
    """Tell whether a rate that began above 0 is below it; one that lives on the device is not waited for."""
    now, first = group["lr"], group.get("initial_lr", 0.0)
    return isinstance(now, float) and isinstance(first, float) and now < 0 < first


def _is_idle(optimizer: Any) -> bool:
    """Tell whether all rates of an optimizer are 0."""
    groups = optimizer.param_groups if optimizer is not None else ()
    return bool(groups) and all(_is_zero(group["lr"]) for group in groups)


def _is_zero(rate: Any) -> bool:
    return isinstance(rate, float) and rate == 0


def _is_wrapped(optimizer: Any, groups: Any) -> bool:
    """Tell whether an optimizer and the owner of `groups` are a wrapper and what it wraps: they share their groups."""
    return groups is None or any(mine is other for mine in optimizer.param_groups for other in groups)


def _is_late(schedule: Schedule, steps: int) -> bool:
    """Tell whether a schedule as long as the training has moved on once for many steps of its optimizer."""
    length = schedule.length or 0
    return abs(steps - length) <= (1 - _MOST) * length and 1 < 2 * schedule.steps <= steps


def _skipped(schedule: Schedule) -> int:
    """Return how often a schedule that moves on with every step has moved on where a scaler had skipped the step."""
    tries = schedule.watched.tries
    return tries - schedule.watched.steps if _MOST * tries <= schedule.steps else 0

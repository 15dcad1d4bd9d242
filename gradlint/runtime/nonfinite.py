"""Parameters that a step has made NaN or infinite, for good (GL909).

Whatever is computed from them is NaN from then on. The values are looked at rarely: in the first steps, at intervals that grow, where
the mode changes, and at the end, when the model may be gone (`remains`); what was put back by the next look (a search for the rate
goes too far on purpose) is no mistake. A device is asked, and heard at a later step. Knows optimizers and tensors; must not know how
torch is hooked.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from math import isfinite
from types import FrameType
from typing import Any

from gradlint.diagnostics import Location
from gradlint.runtime.answers import Answer, on_one_device
from gradlint.runtime.gradients import values_of
from gradlint.runtime.graph import named
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.observers import Observer
from gradlint.runtime.optimizers import WatchedOptimizer
from gradlint.runtime.remains import Remains, largest, stored
from gradlint.runtime.sites import NOWHERE, name_of

_FIRST = 8
_GROWTH = 4
_SELDOM = 1024
_EVENTS = 32
_LASTING = 4  # steps for which it has to last
_AT_MOST = 1024


@dataclass(frozen=True, slots=True)
class _Asked:
    """Parameters, and the largest value of each after a number of `steps`."""

    parameters: list[weakref.ref[Any]]
    answers: list[Answer]
    steps: int

    @property
    def is_there(self) -> bool:
        """Whether it can be heard without waiting."""
        return all(answer.is_there for answer in self.answers)

    def ill(self) -> list[Any]:
        """Return the parameters that held something else."""
        fine = [isfinite(each) for answer in self.answers for each in answer.read()]
        if all(fine):
            return []
        found = (parameter() for parameter, well in zip(self.parameters, fine, strict=True) if not well)
        return [each for each in found if each is not None]


@dataclass(slots=True)
class _Health:
    """What is known of the values of one optimizer's parameters; those that held no numbers `before` any step need none."""

    before: _Asked
    remains: Remains
    asked: _Asked | None = None
    next: int = 1  # the step after which they are looked at again
    place: Location = NOWHERE
    name: str = ""
    since: int = 0  # the step after which they were first seen without numbers
    fine: int = 0  # the last one after which they had them
    what: str = ""
    told: bool = False

    def heard(self) -> Any:
        """Hear the answer; return a parameter that has lost its numbers, None if there is none."""
        asked, self.asked = self.asked, None
        found = [] if asked is None else asked.ill()
        spared = {id(each) for each in self.before.ill()} if found else set()
        return next((each for each in found if id(each) not in spared), None)


class NonFinite(Observer):
    """Looks at the parameters of every optimizer now and then."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._health: weakref.WeakKeyDictionary[WatchedOptimizer, _Health] = weakref.WeakKeyDictionary()
        self._progress = (0, 0)  # of the rhythm, at the last question

    def before_step(self, watched: WatchedOptimizer, place: Location, frame: FrameType | None) -> None:
        """Ask which parameters hold no numbers from the beginning."""
        if watched not in self._health:
            self._health[watched] = _Health(_ask(watched), Remains(watched), next=watched.steps + 1)

    def after_step(self, watched: WatchedOptimizer, place: Location, frame: FrameType | None) -> None:
        """Look at the parameters if it is time."""
        health = self._health.get(watched)
        if health is None or health.told:
            return
        if health.asked is None and watched.steps >= health.next:
            if not health.since and health.place is not place:
                health.place, health.name = place, name_of(watched.optimizer, frame)
            self._look(watched, health)
        self._hear(watched, health, frame)

    def is_due(self, progress: tuple[int, int]) -> bool:
        """Tell whether enough has happened unseen since the last time that this was asked and told."""
        last = self._progress
        if progress[0] == last[0] and progress[1] - last[1] < _EVENTS:
            return False
        self._progress = progress
        return True

    def finds(self) -> bool:
        """Tell whether some parameters are known to hold no numbers; a device will tell the next time."""
        found = False
        for watched, health in self._untold():
            health.asked = health.asked or _ask(watched)
            if health.asked.is_there and health.heard() is not None:
                health.next, found = 0, True
        return found

    def unsettled(self, frame: FrameType | None) -> None:
        """A pass over the data may be over: look at whoever has taken many steps since the last time."""
        for watched, health in self._untold():
            if health.asked is None and watched.steps >= health.next:
                self._look(watched, health)
            self._hear(watched, health, frame)

    def ended(self) -> None:
        """Judge by what is left of the parameters."""
        for watched, health in self._untold():
            if watched.optimizer is not None:
                self._look(watched, health)
                self._hear(watched, health, None, wait=True)
                self._tell(watched, health)
            elif what := health.remains.lost():
                health.since, health.what = health.since or watched.steps, health.what or what
                self._tell(watched, health)

    def _untold(self) -> list[tuple[WatchedOptimizer, _Health]]:
        return [(watched, health) for watched, health in self._health.items() if not health.told]

    def _look(self, watched: WatchedOptimizer, health: _Health) -> None:
        steps = watched.steps
        health.asked = _ask(watched)
        health.remains.renew(watched)
        health.next = steps + (1 if steps < _FIRST else min(steps // _GROWTH, _SELDOM))

    def _hear(self, watched: WatchedOptimizer, health: _Health, frame: FrameType | None, *, wait: bool = False) -> None:
        """Take in the answer, if it has come."""
        asked = health.asked
        if asked is None or not (wait or asked.is_there):
            return
        ill = health.heard()
        if ill is None:
            health.since, health.fine = 0, asked.steps
        elif health.since:
            self._tell(watched, health)
        else:
            kind = "NaN" if bool(values_of(ill).isnan().any()) else "infinite"
            subject = named(ill, frame)
            health.what = f"{f'`{subject}`' if subject else 'parameters'} {kind}"
            health.since, health.next = asked.steps, watched.steps + _LASTING

    def _tell(self, watched: WatchedOptimizer, health: _Health) -> None:
        if health.since and health.place is not NOWHERE:
            health.told = watched.explained = True
            exact = health.since - health.fine <= 1
            when = "" if exact else f" between its steps {health.fine} and {health.since}"
            self._ledger.report(
                "GL909", health.place, iteration=health.since, subject=health.name, what=health.what, when=when
            )


def _ask(watched: WatchedOptimizer) -> _Asked:
    """Ask of each parameter whether all of its values are numbers."""
    plain = [(parameter, values) for parameter in watched.parameters() if (values := stored(parameter)) is not None]
    groups = on_one_device(plain[:: max(1, -(-len(plain) // _AT_MOST))], lambda each: each[1])
    ordered = [weakref.ref(parameter) for group in groups for parameter, _ in group]
    return _Asked(ordered, [largest([values for _, values in group]) for group in groups], watched.steps)

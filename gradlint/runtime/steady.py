"""A loop that repeats itself: while every event is the expected one, nothing more is looked at.

Once the same events have come round three times without a finding, only their order is compared, and at each step the
version of one gradient. Whatever deviates, or some dozens of repetitions, ends it, and the automata go on in the
states in which they were at this point of the cycle. Must not know rules or torch.

Example: the cycle `zero, backward, step`; at the first `backward` that comes without its `zero` the gradients are
taken to be as `step` left them, spent, and the automata see what follows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import get_ident

from gradlint.diagnostics import Location
from gradlint.protocols import State
from gradlint.runtime.gradients import Gradient, version_of
from gradlint.runtime.optimizers import WatchedOptimizer
from gradlint.runtime.registry import Registry

_LONGEST = 128
_WIDEST = 64
_FIRST_STAY = 32
_LONGEST_STAY = 512


@dataclass(slots=True)
class Event:
    """One event of a cycle: its key, and the state of every gradient after it."""

    key: int
    place: Location
    states: list[tuple[Gradient, State]] = field(default_factory=list)
    stepped: WatchedOptimizer | None = None
    gradient: Gradient | None = None
    version: int = 0
    growth: int = 0  # by how much the version grows from one cycle to the next


class Steady:
    """Recognizes the cycle, and compares with it."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._thread = get_ident()
        self._anchor: int | None = None
        self._events: list[Event] = []
        self._before: list[Event] = []
        self._same = 0
        self._cycle: list[Event] = []
        self._position = 0
        self._rounds = 0
        self._stay = _FIRST_STAY
        self.running = False
        self.stepping: Event | None = None
        self.passing: Event | None = None

    def meets(self, key: int) -> Event | None:
        """Return the expected event if this is it; else look closely from here on. Ask only while `running`."""
        event = self._cycle[self._position]
        if event.key != key or get_ident() != self._thread:
            self.leave()
            return None
        if event.gradient is not None and not _as_expected(event, event.gradient):
            self.leave()
            return None
        self._position += 1
        if self._position == len(self._cycle):
            self._position = 0
            self._rounds += 1
        return event

    def stepped(self, event: Event) -> None:
        """The expected step has ended."""
        gradient = event.gradient
        parameter = None if gradient is None else gradient.parameter
        if gradient is not None and parameter is not None:
            gradient.remember(parameter.grad)
        self.stepping = None
        if self._rounds >= self._stay and self._position == 0:
            self.leave()
            self._stay = min(2 * self._stay, _LONGEST_STAY)

    def note(
        self,
        key: int,
        place: Location,
        stepped: WatchedOptimizer | None = None,
        gradient: Gradient | None = None,
        version: int = 0,
    ) -> None:
        """An event has been looked at closely; if an optimizer `stepped`, a `gradient` of it was of this `version`."""
        if get_ident() != self._thread:
            self.spoil()
            return
        if self._anchor is None or len(self._events) > _LONGEST:
            self._anchor = key if stepped is not None else None
            self.spoil()
            return
        event = Event(key, place, stepped=stepped, gradient=gradient, version=version)
        if self._same:
            event.states = [(each, each.track.state) for watched in self._registry for each in watched.gradients]
        self._events.append(event)
        if key == self._anchor:
            self._end_cycle()

    def spoil(self) -> None:
        """Something happened that a cycle cannot stand for: begin anew."""
        self._events, self._before, self._same = [], [], 0

    def _end_cycle(self) -> None:
        cycle, self._events = self._events, []
        before, self._before = self._before, cycle
        self._same = self._same + 1 if [each.key for each in cycle] == [each.key for each in before] else 0
        watched = list(self._registry)
        settled = all(each.settled for each in watched) and sum(len(each.gradients) for each in watched) <= _WIDEST
        if (
            self._same < 3
            or not settled
            or any(now.gradient is not was.gradient for now, was in zip(cycle, before, strict=True))
        ):
            return
        for now, was in zip(cycle, before, strict=True):
            now.growth = now.version - was.version
        self._cycle, self._position, self._rounds, self.running = cycle, 0, 0, True

    def leave(self) -> None:
        """Look closely again: put the automata where they were at this point of the cycle."""
        if not self.running:
            return
        self.running = False
        self.spoil()
        exact = {id(each.gradient) for each in self._cycle}
        for gradient, state in self._cycle[self._position - 1].states:
            gradient.resume(state, exact=id(gradient) in exact)
        for index, event in enumerate(self._cycle):
            if event.stepped is not None:
                event.stepped.steps += self._rounds + (index < self._position)


def _as_expected(event: Event, gradient: Gradient) -> bool:
    """Tell whether the gradient of a step has the version that it must have; expect the next one."""
    parameter = gradient.parameter
    grad = None if parameter is None else parameter.grad
    if grad is None or version_of(grad) != event.version + event.growth:
        return False
    event.version += event.growth
    return True

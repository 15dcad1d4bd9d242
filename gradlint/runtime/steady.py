"""A loop that repeats itself: while every event is the expected one, nothing more is looked at.

Once the same events have come round three times without a finding, only their order is compared, and at each step the
version of one gradient. Whatever deviates, or some dozens of repetitions, ends it, and the automata go on in the
states in which they were at this point of the cycle; a loop that is known needs fewer rounds to be believed again.
Here it is said what is to come; the hooks compare (`listening.Expected`), for a call would cost more than the
comparison. Must not know rules or torch.

Example: the cycle `zero, backward, step`; at the first `backward` that comes without its `zero` the gradients are
taken to be as `step` left them, spent, and the automata see what follows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, repeat
from operator import length_hint
from threading import get_ident
from types import CodeType, FrameType
from typing import NamedTuple

from gradlint.diagnostics import Location
from gradlint.runtime.gradients import Gradient
from gradlint.runtime.listening import NOTHING, Expected
from gradlint.runtime.optimizers import WatchedOptimizer
from gradlint.runtime.registry import Registry
from gradlint.runtime.sites import NOWHERE, Origin, frames, origin_of
from gradlint.typestate import State

_LONGEST = 128
_WIDEST = 64
_FIRST_STAY = 128
_LONGEST_STAY = 1024
_LONGER = 8
_ROUNDS = 3
_ROUNDS_AGAIN = 2  # enough to see that graphs are let go


class Call(NamedTuple):
    """Where a backward pass is called: how many frames away from who asks, and by which instruction of which code."""

    distance: int
    code: CodeType
    instruction: int


@dataclass(slots=True, kw_only=True)
class Event(Expected):
    """One event of a cycle: its key, and the state of every gradient after it."""

    key: int | Call
    place: Location
    states: list[tuple[Gradient, State]] = field(default_factory=list)
    stepped: WatchedOptimizer | None = None
    gradient: Gradient | None = None
    change: int = 0  # by how much the step itself changes the version

    def __post_init__(self) -> None:
        """Say what the hooks have to compare."""
        if isinstance(self.key, Call):
            self.distance, self.code, self.instruction = self.key
        elif self.stepped is not None:
            self.optimizer = self.stepped.reference
        else:
            self.cleared = self.key
        if self.gradient is not None:
            self.change = self.gradient.version - self.version
            self.parameter, self.sharded = self.gradient.reference, self.gradient.is_sharded


_CLOSELY = Event(key=0, place=NOWHERE)  # which nothing is


class Steady:
    """Recognizes the cycle, and says what comes next; `passes` hears of the backward passes that were as expected."""

    def __init__(self, registry: Registry, passes: deque[tuple[Location, int]]) -> None:
        self._registry = registry
        self._passes = passes
        self._thread = get_ident()
        self._anchor: int | Call | None = None
        self._events: list[Event] = []
        self._before: list[Event] = []
        self._same = 0
        self._rest: list[int | Call] = []  # of the round in which a routine check began, as it is known
        self._known: list[int | Call] = []
        self._cycle: list[Event] = []
        self._ahead: list[Event] = []
        self._left: Iterator[Expected] = iter(())  # of what lies ahead
        self.coming: Iterator[Expected] = repeat(NOTHING)
        self._stay = _FIRST_STAY
        self._possible = True
        self.running = False
        self.runs = 0  # how often a cycle has run
        self._latest: list[Event] = []

    def note(
        self,
        key: int | Call,
        place: Location,
        stepped: WatchedOptimizer | None = None,
        gradient: Gradient | None = None,
        version: int = 0,
    ) -> None:
        """An event has been looked at closely; if an optimizer `stepped`, a `gradient` of it was of this `version`."""
        if get_ident() != self._thread or not self._possible:
            self.spoil()
            return
        if self._anchor is None or len(self._events) > _LONGEST:
            self._anchor = key if stepped is not None else None
            self.spoil()
            return
        event = Event(key=key, place=place, stepped=stepped, gradient=gradient, version=version)
        if self._same + 1 >= (_ROUNDS_AGAIN if self._known else _ROUNDS):
            event.states = [(each, each.track.state) for watched in self._registry for each in watched.gradients]
        self._events.append(event)
        if key == self._anchor:
            self._end_cycle()

    def spoil(self) -> None:
        """Something happened that a cycle cannot stand for: begin anew."""
        self._events, self._before, self._same, self._rest = [], [], 0, []

    def forbid(self) -> None:
        """Something happened that no cycle of this run can stand for: never run again."""
        self.leave()
        self._possible = False

    def unspent(self, watched: WatchedOptimizer) -> int:
        """Return how many backward passes of the cycle that ran last came after the last step of `watched`, if it had one."""
        passes = 0
        for event in reversed(self._latest):
            if event.stepped is watched:
                return passes
            passes += isinstance(event.key, Call)
        return 0

    @property
    def progress(self) -> tuple[int, int]:
        """What changes with each event that is as expected: how often a cycle has run, and how far this one has come."""
        return self.runs, len(self._ahead) - length_hint(self._left) if self.running else 0

    def last_pass(self) -> tuple[Location, int] | None:
        """Return where the last backward pass was called, and when it began."""
        if self.running:
            happened = len(self._ahead) - length_hint(self._left)
            for event in reversed(self._ahead[max(0, happened - len(self._cycle)) : happened]):
                if event.code is not None:
                    return event.place, event.began
        return self._passes[-1] if self._passes else None

    def _end_cycle(self) -> None:
        cycle, self._events = self._events, []
        before, self._before = self._before, cycle
        keys = [each.key for each in cycle]
        if self._rest and keys == self._rest:
            self._before = self._cycle
        self._rest = []
        self._same = self._same + 1 if keys == [each.key for each in before] else 0
        if self._same >= (_ROUNDS_AGAIN if keys == self._known else _ROUNDS) and self._is_settled(cycle, before):
            for now, was in zip(cycle, before, strict=True):
                now.growth = now.version - was.version
                now.version += now.growth
                if not now.growth and not now.sharded:
                    now.constant = now.version
            self._stay = min(_LONGER * self._stay, _LONGEST_STAY) if keys == self._known else _FIRST_STAY
            self._known, self._cycle = keys, cycle
            self._ahead = cycle * self._stay
            # Looking closely again begins with the first backward pass of a round: a third graph, besides those of two whole rounds.
            turn = next((index for index, event in enumerate(cycle) if event.code is not None), len(cycle) - 1)
            self._ahead[turn - len(cycle) :] = [_CLOSELY]
            self._left = iter(self._ahead)
            self.coming = chain(self._left, repeat(NOTHING))  # another thread may take the last one
            self.running = True

    def _is_settled(self, cycle: list[Event], before: list[Event]) -> bool:
        """Tell whether the same few gradients are looked at in each round."""
        watched = list(self._registry)
        if not all(each.settled for each in watched) or sum(len(each.gradients) for each in watched) > _WIDEST:
            return False
        return all(
            now.states
            and now.gradient is was.gradient
            and (now.stepped is None or now.gradient is None or now.gradient in now.stepped.gradients)
            for now, was in zip(cycle, before, strict=True)
        )

    def leave(self) -> None:
        """Look closely again: put the automata where they were at this point of the cycle."""
        self._leave(0)

    def unexpected(self) -> None:
        """Look closely again, from before the last event that was expected."""
        self._leave(1)

    def _leave(self, missed: int) -> None:
        if self.running:
            self.running = False
            self.spoil()
            self.runs += 1
            happened = len(self._ahead) - length_hint(self._left) - missed
            rounds, position = divmod(happened, len(self._cycle))
            self._catch_up(rounds, position)
            self._rest = self._known[position:] if happened == len(self._ahead) - 1 else []
            self._passes.extend(self._passed(self._ahead[max(0, happened - _LONGEST) : happened]))
            self._ahead, self.coming = [], repeat(NOTHING)

    def _passed(self, lately: list[Event]) -> list[tuple[Location, int]]:
        """Return the backward passes among the latest events; when each began is known of the last of its kind that ended well."""
        began = {id(event): [event.before, event.began] for event in self._cycle}
        passes = [event for event in lately if event.code is not None]
        found = [(event.place, (began[id(event)] or [0]).pop()) for event in reversed(passes)]
        return found[::-1]

    def _catch_up(self, rounds: int, position: int) -> None:
        """Take all that is known from as many rounds of the cycle, and as many events of another one, as happened."""
        self._latest = self._cycle[position:] + self._cycle[:position]
        exact = {id(each.gradient) for each in self._cycle}
        for gradient, state in self._cycle[position - 1].states:
            gradient.resume(state, exact=id(gradient) in exact)
        for index, event in enumerate(self._cycle):
            if event.stepped is not None:
                event.stepped.steps += rounds + (index < position)
        for event in self._cycle[position:] + self._cycle[:position]:
            if event.gradient is not None and event.last is not None:
                event.gradient.saw(event.last, event.version - event.growth + event.change)


def call_of(frame: FrameType) -> Call:
    """Return what tells apart the calls of a backward pass, the nearest one outside of torch; `frame` is who called our caller."""
    distance, caller = next(
        (each for each in enumerate(frames(frame)) if origin_of(each[1].f_code) is not Origin.MACHINERY), (0, frame)
    )
    return Call(distance + 1, caller.f_code, caller.f_lasti)

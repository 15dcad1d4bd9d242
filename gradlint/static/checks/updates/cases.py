"""A step of one optimizer: the states in which paths reach it, and what is told of it.

It knows events and states; it must not know what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping

from gradlint.data import NamedTuple
from gradlint.diagnostics import Confidence, Diagnostic, Location, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.flow.tree import Event, Uid
from gradlint.static.lowering.values import Object
from gradlint.typestate import State


class Case(NamedTuple):
    """A step of one optimizer, the states in which paths reach it, and all events around."""

    optimizer: Object
    step: Event
    states: frozenset[State]
    events: list[Event]
    objects: Mapping[Uid, Object]

    def report(self, code: str, state: State, confidence: Confidence = Confidence.CERTAIN, **names: str) -> Diagnostic:
        """Return what a rule says of the step, with the marks of the state in which it is reached."""
        marks = [mark for mark in state.marks if mark[0] not in _silent(code)]
        return compose(
            code, Side.STATIC, self.step.place, marks, confidence=confidence, subject=self.step.name, **names
        )


def _silent(code: str) -> tuple[str, ...]:
    # Where nothing was cleared, an old clearing explains nothing.
    return ("cleared",) if code in ("GL101", "GL107", "GL108") else ()


def is_outside(case: Case, place: Location) -> bool:
    """Whether the clearing at `place` stands around the loop that steps, not in it."""
    loops = case.step.loops
    return any(
        event.place == place and len(event.loops) < len(loops) and event.loops == loops[: len(event.loops)]
        for event in case.events
        if event.kind is EventKind.ZERO
    )

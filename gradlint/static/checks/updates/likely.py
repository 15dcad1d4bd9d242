"""Steps of what is not proven to be an optimizer, but is cleared and stepped as one: GL103 and GL104."""

from __future__ import annotations

from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.protocols import OPTIMIZER
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.checks.updates.empty import cleared_behind_a_forward
from gradlint.static.flow.following import follow_to
from gradlint.static.flow.roots import Root
from gradlint.static.flow.tree import Effect, Event
from gradlint.typestate import State

_WITHOUT = frozenset(
    name for name in OPTIMIZER.states if OPTIMIZER.broken_by(State(name), EventKind.STEP) in ("GL103", "GL104")
)
"""The states in which a step finds no gradients."""


@check
def stepped_in_vain(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL103 and GL104: gradients are cleared before the step uses them, or nothing has computed any."""
    for root in analysis.roots:
        found = analysis.events[root]
        cleared = {event.name for event in root.of(EventKind.ZERO) if event.targets is None}
        for step in dict.fromkeys(root.of(EventKind.OTHER_STEP)):
            if step.name in cleared and "scaler" not in step.roles:
                states = _broken(root, step)
                codes = {OPTIMIZER.broken_by(state, EventKind.STEP) for state in states}
                if codes == {"GL103"} or (codes == {"GL104"} and cleared_behind_a_forward(found, step, states)):
                    state = min(states, key=lambda state: state.marks)
                    yield compose(codes.pop() or "", Side.STATIC, step.place, state.marks, subject=step.name)


def _broken(root: Root, step: Event) -> set[State]:
    """Return the states in which a step is reached, if it finds no gradients in any of them."""
    arrivals = follow_to(root.bare, OPTIMIZER, _as_optimizer(step), lambda event, _: _WITHOUT if event == step else ())
    states = arrivals.get(step, set())
    return states if all(state.name in _WITHOUT for state in states) else set()


def _as_optimizer(step: Event) -> Effect:
    """Return what events mean to somebody unknown who is known by his calls in one function."""

    def effect(event: Event) -> EventKind | None:
        match event.kind:
            case EventKind.ZERO if event.name == step.name and event.frame == step.frame and event.loops == step.loops:
                # In another loop the same name may be somebody else.
                return EventKind.ZERO
            case EventKind.OTHER_STEP if event == step:
                return EventKind.STEP
            case EventKind.BACKWARD | EventKind.SETGRAD:
                # Whatever was before, there are gradients now.
                return EventKind.SETGRAD
            case EventKind.ESCAPE if event.place != step.place:
                # Whoever it is may be given to anybody under another name.
                return EventKind.ESCAPE
            case _:
                return None

    return effect

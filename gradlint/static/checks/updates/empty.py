"""Steps without gradients: they were cleared, written by hand and cleared, or never computed: GL103, GL104, GL117 and GL513.

It knows the states in which a step is reached; it must not know other steps.
"""

from __future__ import annotations

from collections.abc import Iterable

from gradlint.diagnostics import Confidence, Diagnostic
from gradlint.events import EventKind
from gradlint.protocols import OPTIMIZER
from gradlint.static.checks.updates.cases import Case, is_outside
from gradlint.static.flow.kinship import overlap, touches
from gradlint.static.flow.tree import Event
from gradlint.typestate import State


def empty(case: Case, broken: set[str | None]) -> Diagnostic | None:
    """Return what is wrong with a step that finds no gradients on any path, by the codes that the paths break, if it can be told."""
    states = list(case.states)
    if broken == {"GL103"}:
        state = min(states, key=lambda state: state.marks)
        return case.report("GL117" if _by_hand(case, state) else "GL103", state)
    lost = _lost_at_once(case, states)
    if lost is not None:
        return case.report("GL103", lost, Confidence.LIKELY)
    aside = _computed_aside(case)
    if aside is not None:
        return case.report("GL513", State(states[0].name, (("computed", aside.place),)))
    in_vain = case.step.loops and _would_train(case)
    if not in_vain and not cleared_behind_a_forward(case.events, case.step, states):
        return None
    # The first iteration tells: it comes to the step before any backward.
    first = [state for state in states if OPTIMIZER.broken_by(state, EventKind.STEP) == "GL104"]
    return case.report("GL104", max(first, key=lambda state: state.marks))


def _lost_at_once(case: Case, states: list[State]) -> State | None:
    """Return what one clearing in front of each step throws away on each path on which there was a backward pass before it."""
    places = {state.mark("cleared") for state in states}
    cleared = places.pop()
    if cleared is None or places or is_outside(case, cleared):
        return None
    lost = [state for state in states if (fresh := state.mark("fresh")) is not None and fresh < cleared]
    return min(lost, key=lambda state: state.marks, default=None)


def _by_hand(case: Case, state: State) -> bool:
    """Whether the gradients that are thrown away were written, not computed by a backward pass."""
    written = state.mark("fresh")
    return any(event.place == written and event.kind is EventKind.SETGRAD for event in case.events)


def _computed_aside(case: Case) -> Event | None:
    """Return the `autograd.grad` before the step that computes what the step lacks."""
    for event in case.events:
        if event == case.step:
            return None
        aside = event.kind is EventKind.RETAIN and "of-parameters" in event.roles and event.loops == case.step.loops
        owned = case.optimizer.of or ()
        if aside and any(overlap(node.module, uid) for node in event.nodes for uid in owned):
            return event
    return None


def _would_train(case: Case) -> bool:
    """Whether the loop around the step runs the model, so that a backward pass is what is missing."""
    ring = [event for event in case.events if event.loops[:1] == case.step.loops[:1]]
    if any(event.kind is EventKind.ESCAPE and event.nodes for event in ring):
        return False  # Somebody unknown gets what carries a graph.
    if any(event.kind is EventKind.BACKWARD for event in ring):
        return True
    owned = case.optimizer.of
    return owned is not None and any(_computes(event) and touches(event, owned) for event in ring)


def cleared_behind_a_forward(found: list[Event], step: Event, states: Iterable[State]) -> bool:
    """Whether whatever a model computed in this turn, or call, is cleared right in front of a step on each path."""
    cleared = {state.mark("cleared") for state in states}
    # Where the first turn of a loop differs from the others, its events come twice.
    clearing = {
        event.place: number
        for number, event in reversed(list(enumerate(found)))
        if event.kind is EventKind.ZERO and event.frame == step.frame and event.loops == step.loops
    }
    if not cleared <= clearing.keys():
        return False
    begun = min(clearing[place] for place in cleared if place is not None)
    end = found.index(step, begun) if step in found[begun:] else begun
    if any(event.kind is EventKind.ESCAPE for event in found[begun:end]):
        return False  # What is given to somebody unknown may hold the loss.
    before = found[:begun]
    here = [event for event in before if event.is_in(step.loops) and event.frame[: len(step.frame)] == step.frame]
    return (bool(step.loops) or len(step.frame) > 1) and any(
        _computes(event) and "grad" in event.roles for event in here
    )


def _computes(event: Event) -> bool:
    """Whether a model is run, and not only told something by a method of its own."""
    return event.kind is EventKind.FORWARD and "told" not in event.roles

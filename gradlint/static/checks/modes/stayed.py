"""Models that were evaluated once and are trained as they were left then: GL304 before the first step in training mode.

It knows which passes need an evaluation mode; `modes` asks it, which tells what comes after a first epoch in training mode.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Severity
from gradlint.events import EventKind
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.checks.modes.left_off import left_off
from gradlint.static.facts.layers import Sensitivity
from gradlint.static.facts.sensitivity import Makers
from gradlint.static.flow.following import breaches
from gradlint.static.flow.protocols import STAYED
from gradlint.static.flow.roots import Root
from gradlint.static.flow.trained import on_evaluated
from gradlint.static.flow.tree import Event, Uid
from gradlint.static.syntax.certain import first_time
from gradlint.typestate import State
from gradlint.wordings.modes import AFTER_AN_EVALUATION

_UNSEEN = frozenset({"alias", "implied"})
"""Words of a switch to evaluation mode that does not say whom it switches: by another name, or inside of a library."""
_DECIDED = frozenset({"chosen", "unknown"})


@check
def left_within_a_step(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL304: between the `train()` of a library's trainer and its backward pass, something switches the model to evaluation mode."""
    for root in analysis.roots:
        found = analysis.events[root]
        steps = [event for event in root.of(EventKind.STEP) if "hosted" in event.roles]
        owned = {
            uid for step in steps for each in step.targets or () for uid in analysis.lowering.objects[each].of or ()
        }
        for index, event in enumerate(found if owned else ()):
            unseen = event.kind is EventKind.EVAL and event.roles & _UNSEEN and event.is_in(steps[0].loops)
            if unseen and owned <= (event.targets or frozenset()) and not _is_undone(found[index + 1 :], owned):
                when = f"after `{event.name}` was, which it is on a path or inside of this call"
                name = analysis.named(min(owned))
                diagnostic = left_off(analysis, min(owned), event.place, (), name, when)
                yield replace(diagnostic, severity=Severity.WARNING)


def _is_undone(later: list[Event], owned: set[Uid]) -> bool:
    """Whether the model is switched back before the library runs backward."""
    for event in later:
        if event.kind is EventKind.TRAIN and owned <= (event.targets or frozenset()):
            return True
        if event.kind is EventKind.BACKWARD and "hosted" in event.roles:
            return False
    return True


def trained_as_left(analysis: Analysis, root: Root, module: Uid, owners: frozenset[Uid]) -> Iterator[Diagnostic]:
    """GL304: a model is trained in the mode in which a pass without gradients has left it."""
    arrivals = breaches(root.bare, STAYED, on_evaluated(module, owners))
    for event, states in sorted(arrivals.items(), key=lambda item: item[0].place):
        state = _left(event, states) if event.kind is EventKind.STEP else None
        begun = state.mark("eval") if state is not None else None
        if state is None or begun is None or not _matters(analysis, module, asked=state.mark("train") is not None):
            continue
        if _is_switched_first(analysis, root, module, event):
            continue
        marks = [("forward", place) for role, place in state.marks if role == "forward"]
        name = analysis.named(module)
        yield left_off(analysis, module, begun, marks, name, AFTER_AN_EVALUATION)
        return


def _left(step: Event, states: set[State]) -> State | None:
    """Return a state in which a step trains a model as an evaluation left it, unless its mode is somebody's decision on a path."""
    if any(state.name in _DECIDED for state in states):
        return None
    broken = (state for state in states if STAYED.broken_by(state, step.kind) is not None)
    return min(broken, key=lambda each: each.marks, default=None)


def _is_switched_first(analysis: Analysis, root: Root, module: Uid, step: Event) -> bool:
    """Whether the model is told to train under a condition that certainly holds the first time, around no other loops than the step."""
    return any(
        event.kind is EventKind.TRAIN
        and module in (event.targets or ())
        and event.frame == step.frame
        and step.is_in(event.loops)
        and event.place < step.place
        and any(_stands_in(event, each) for each in _first_time(analysis, event))
        for event in analysis.events[root]
    )


def _first_time(analysis: Analysis, event: Event) -> frozenset[ast.If]:
    frame = analysis.lowering.frames.get(event.frame)
    return first_time(frame.node if frame is not None and frame.node is not None else analysis.tree)


def _stands_in(event: Event, condition: ast.If) -> bool:
    return condition.body[0].lineno <= event.place.row <= (condition.body[-1].end_lineno or 0)


def _matters(analysis: Analysis, module: Uid, *, asked: bool) -> bool:
    """Whether the mode of a module matters: for certain, or perhaps where somebody has asked for training mode."""
    sensitivity = analysis.kept(Makers).sensitivity(module)
    return sensitivity is Sensitivity.YES or (asked and sensitivity is not Sensitivity.NO)

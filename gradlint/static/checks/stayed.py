"""Models that were evaluated once and are trained as they were left then: GL304 before the first step in training mode.

It knows which passes need an evaluation mode; `modes` asks it, which tells what comes after a first epoch in training mode.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.protocols import STAYED
from gradlint.static.analysis import Analysis
from gradlint.static.flow import World
from gradlint.static.following import breaches
from gradlint.static.lowering import Root
from gradlint.static.sensitivity import Makers, Sensitivity
from gradlint.static.trained import on_evaluated
from gradlint.static.tree import Event, Uid
from gradlint.typestate import State
from gradlint.wordings.modes import AFTER_AN_EVALUATION

_DECIDED = frozenset({"chosen", "unknown"})


def trained_as_left(analysis: Analysis, root: Root, module: Uid, owners: frozenset[Uid]) -> Iterator[Diagnostic]:
    """GL304: a model is trained in the mode in which a pass without gradients has left it."""
    arrivals = breaches(root.tree, STAYED, on_evaluated(module, owners))
    for event, worlds in sorted(arrivals.items(), key=lambda item: item[0].place):
        state = _left(event, worlds) if event.kind is EventKind.STEP else None
        begun = state.mark("eval") if state is not None else None
        if state is None or begun is None or not _matters(analysis, module, asked=state.mark("train") is not None):
            continue
        marks = [("forward", place) for role, place in state.marks if role == "forward"]
        name = analysis.named(module)
        yield compose("GL304", Side.STATIC, begun, marks, subject=name, when=AFTER_AN_EVALUATION)
        return


def _left(step: Event, worlds: set[World[State]]) -> State | None:
    """Return a state in which a step trains a model as an evaluation left it, unless its mode is somebody's decision on a path."""
    states = {world.state for world in worlds}
    if any(state.name in _DECIDED for state in states):
        return None
    broken = (state for state in states if STAYED.advance(state, step.kind, step.place)[1] is not None)
    return min(broken, key=lambda each: each.marks, default=None)


def _matters(analysis: Analysis, module: Uid, *, asked: bool) -> bool:
    """Whether the mode of a module matters: for certain, or perhaps where somebody has asked for training mode."""
    sensitivity = analysis.kept(Makers).sensitivity(module)
    return sensitivity is Sensitivity.YES or (asked and sensitivity is not Sensitivity.NO)

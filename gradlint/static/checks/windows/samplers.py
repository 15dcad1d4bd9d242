"""Distributed samplers that are never told the epoch: GL709."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Location, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.protocols import SAMPLER
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.checks.modes.regions import VALIDATION_DATA
from gradlint.static.facts.cadence import turns
from gradlint.static.flow.following import follow_to
from gradlint.static.flow.glance import breaking
from gradlint.static.flow.roots import Root
from gradlint.static.flow.subjects import on_sampler
from gradlint.static.flow.tree import Event
from gradlint.static.lowering.values import Const, Kind, Object, Value
from gradlint.static.syntax.nodes import asks_for, walk, walk_of
from gradlint.typestate import State

_TRAINING = regex(r"train", re.IGNORECASE)
_OPTIMIZES = regex(r"(?:^|_)(?:optimi[sz]e|train|learn|fit)(?:$|_)")


@check
def same_order(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL709: each epoch of training draws from a sampler that has been told nothing since the last one."""
    for sampler in analysis.lowering.samplers.values():
        for root in analysis.roots:
            drawn = [each for each in analysis.events[root] if _draws(each, sampler) and each.loops]
            if drawn:
                yield from _again(analysis, root, sampler, drawn)


def _draws(event: Event, sampler: Object) -> bool:
    return event.kind is EventKind.DRAW and sampler.uid in (event.targets or ())


def _again(analysis: Analysis, root: Root, sampler: Object, drawn: list[Event]) -> Iterator[Diagnostic]:
    # A path on which nobody builds it, such as one where training is not distributed, draws without it.
    built = [
        each for each in analysis.events[root] if each.kind is EventKind.CREATE and sampler.uid in (each.targets or ())
    ]
    arrivals = follow_to(
        root.bare, SAMPLER, on_sampler(sampler.uid), breaking(SAMPLER), State("absent") if built else None
    )
    for event in dict.fromkeys(drawn):
        if _is_asked_again(analysis, sampler, event):
            continue  # Whoever builds it under this condition may not come here.
        states = arrivals.get(event, set())
        # In the first epoch nothing has been drawn yet.
        later = {state for state in states if state.name == "unknown" or state.mark("drawn") is not None}
        untold = bool(later) and all(_broken(event, state) for state in later)
        bound = turns(analysis, event.loops[-1])
        once = bound is not None and bound[0] == Const(1)
        if not untold or once:
            continue
        if (_trains(analysis, root, event) and _steps(analysis, root, event)) or _lets_train(analysis, root, event):
            # Who builds the sampler knows of the epochs.
            here = sampler.place.filename == analysis.source.filename
            call = _in_turn(analysis, event) or (_call_here(analysis, event) if here else None)
            place, name = (event.place, event.name) if call is None else _called_by(analysis, call, event, sampler)
            yield compose("GL709", Side.STATIC, place, (("built", sampler.place),), subject=name)


def _is_asked_again(analysis: Analysis, sampler: Object, draw: Event) -> bool:
    """Whether on the way to where another function draws from it the contrary is asked of what a sampler is built under."""
    built = {each for call in sampler.calls if call.scope is not None for each in _asked(call.scope, call.node.lineno)}
    calls = analysis.calls_into(draw.frame) if built else []
    return any((word, not held) in built for call in calls for word, held in _asked(analysis.tree, call.lineno))


def _asked(scope: ast.AST, row: int) -> Iterator[tuple[str, bool]]:
    """Yield the flags that are asked for around a row, and whether they hold there."""
    for branch in walk_of(scope, ast.If):
        if branch.lineno < row <= (branch.end_lineno or row):
            test, held = branch.test, row < branch.orelse[0].lineno if branch.orelse else True
            if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
                test, held = test.operand, not held
            if isinstance(test, ast.Attribute | ast.Name):
                yield test.attr if isinstance(test, ast.Attribute) else test.id, held


def _in_turn(analysis: Analysis, draw: Event) -> ast.Call | None:
    """Return the call that stands in the loop of epochs of another file than that of the function which draws."""
    loop, frame = analysis.lowering.loop_nodes.get(draw.loops[-1]), analysis.lowering.frames.get(draw.frame)
    if loop is None or frame is None or analysis.source.place(loop).filename == draw.place.filename:
        return None
    inside = set(walk(loop))
    return next((node for _, node in frame.callers if isinstance(node, ast.Call) and node in inside), None)


def _call_here(analysis: Analysis, draw: Event) -> ast.Call | None:
    """Return the call in this file of a function of another one, which knows of no epochs, that draws."""
    calls = analysis.calls_into(draw.frame) if draw.place.filename != analysis.source.filename else []
    return calls[-1] if calls else None


def _called_by(analysis: Analysis, call: ast.Call, draw: Event, sampler: Object) -> tuple[Location, str]:
    """Return where a function is called that draws from a loader, and the loader's name there."""
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    names = [ast.unparse(each) for each in given if _draws_by(analysis.value(each), sampler)]
    return analysis.source.place(call), names[0] if len(names) == 1 else draw.name


def _draws_by(value: Value, sampler: Object) -> bool:
    """Whether a value is what draws by a sampler."""
    return isinstance(value, Object) and sampler.uid in (value.of or ())


def _broken(event: Event, state: State) -> bool:
    return SAMPLER.broken_by(state, EventKind.DRAW) is not None


def _trains(analysis: Analysis, root: Root, draw: Event) -> bool:
    """Whether the loop that draws runs backward."""
    depth = len(draw.loops)
    return any(
        event.kind is EventKind.BACKWARD
        and event.loops[:depth] == draw.loops
        and len(event.loops) > depth
        and _over(analysis, event.loops[depth], draw)
        for event in analysis.events[root]
    )


def _lets_train(analysis: Analysis, root: Root, draw: Event) -> bool:
    """Whether the loop over what is called training data hands each batch to somebody unknown who by the method's name trains."""
    loop, escapes = analysis.lowering.loop_nodes.get(draw.loops[-1]), EventKind.ESCAPE
    trained = _TRAINING.search(draw.name) and not VALIDATION_DATA.search(draw.name)
    if not trained or not isinstance(loop, (ast.For, ast.AsyncFor, ast.While)):
        return False
    inside = {event.place for event in analysis.ring(root, draw.loops) if event.kind is escapes}
    calls = (node for node in walk(loop) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute))
    return any(_OPTIMIZES.search(call.func.attr) and analysis.source.place(call) in inside for call in calls)  # type: ignore[attr-defined]


def _steps(analysis: Analysis, root: Root, draw: Event) -> bool:
    """Whether somebody may step in the loop of epochs: for a sum of gradients, the order of the batches is all one."""
    optimizers = frozenset(made.uid for made in analysis.objects(Kind.OPTIMIZER))
    inside = [event for event in analysis.events[root] if event.loops[: len(draw.loops)] == draw.loops]
    if any(
        event.kind in _STEPPING or (event.kind is EventKind.ESCAPE and optimizers & (event.targets or optimizers))
        for event in inside
    ):
        return True
    passes = (event for event in inside if event.kind is EventKind.BACKWARD)
    places = (place for event in passes for place in (*_around(analysis, event), *analysis.called_for(event)))
    return any(asks_for(place, "step") for place in places)


def _around(analysis: Analysis, event: Event) -> list[ast.AST]:
    """Return the innermost loop around an event: what an unknown optimizer does in it is said there."""
    loop = analysis.lowering.loop_nodes.get(event.loops[-1]) if event.loops else None
    return [] if loop is None else [loop]


_STEPPING = frozenset({EventKind.STEP, EventKind.OTHER_STEP, EventKind.HAND_STEP})


def _over(analysis: Analysis, loop: int, draw: Event) -> bool:
    source = getattr(analysis.lowering.loop_nodes.get(loop), "iter", None)
    if source is None:
        return False
    place = analysis.source.place(source)
    same = place.filename == draw.place.filename
    return same and (place.row, place.column) <= (draw.place.row, draw.place.column) <= (
        place.end_row,
        place.end_column,
    )

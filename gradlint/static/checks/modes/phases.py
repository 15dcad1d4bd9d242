"""One function for both phases that is given the optimizer in both: GL301 where nobody switches to evaluation mode.

It knows what a caller calls its data; what a validation pass in evaluation mode does is told in `modes`.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from gradlint.data import NamedTuple
from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.checks.modes.regions import TRAINS, VALIDATION_DATA
from gradlint.static.flow.roots import Root
from gradlint.static.flow.tree import Event
from gradlint.static.syntax.nodes import walk, walk_of, words
from gradlint.static.syntax.passing import given_to
from gradlint.static.syntax.questions import FunctionNode

_PHASES = frozenset(["training", "is_grad_enabled"])


class _Pass(NamedTuple):
    """A step, the call of the function whose loop it stands in, what the caller gives this loop to go through, and all else."""

    step: Event
    call: ast.Call
    data: str
    rest: tuple[str, ...]


@check
def both_phases_train(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL301: a function is called with training data and with validation data, and steps the same optimizer for both."""
    for root in analysis.roots:
        passes: dict[object, list[_Pass]] = defaultdict(list)
        for event in root.of(EventKind.STEP):
            if event.loops and "no-grad" not in event.roles:
                for each in _passes(analysis, event):
                    passes[event.place, event.targets].append(each)
        for found in passes.values():
            training = {each.rest: each for each in found if TRAINS.search(each.data)}
            for each in {each.call: each for each in found if _is_validation(each.data)}.values():
                if each.rest in training:
                    marks = [("step", each.step.place), ("training", analysis.source.place(training[each.rest].call))]
                    what, place = f"{each.step.name}.step()", analysis.source.place(each.call)
                    yield compose("GL301", Side.STATIC, place, marks, what=what, where=f"on `{each.data}`")


def is_over_validation(analysis: Analysis, root: Root, event: Event) -> bool:
    """Whether callers give the function in whose loop something happens validation data, and nothing else."""
    if not event.loops or not any(True for _ in _passes(analysis, event)):
        return False
    same = [other for other in analysis.events[root] if other.place == event.place and other.loops]
    return all(_is_validation(each.data) for other in same for each in _passes(analysis, other))


def _is_validation(data: str) -> bool:
    return bool(VALIDATION_DATA.search(data)) and not TRAINS.search(data)


def _passes(analysis: Analysis, step: Event) -> Iterator[_Pass]:
    """Yield the call by which the data of the loop around a step came into its function, if it is a parameter of this."""
    frame = analysis.lowering.frames.get(step.frame)
    loop = analysis.lowering.loop_nodes.get(step.loops[-1])
    while frame is not None and frame.callers and isinstance(loop, (ast.For, ast.AsyncFor)):
        call, node = frame.callers[-1][1], frame.node
        if isinstance(call, ast.Call) and isinstance(node, FunctionNode) and loop in walk(node) and not _asks(node):
            yield from _given(step, call, node, words(loop.iter), bound=frame.receiver is not None)
        frame = analysis.lowering.frames.get(frame.path[:-1])


def _asks(function: FunctionNode) -> bool:
    """Whether a function asks in which phase it is."""
    return any(each.attr in _PHASES for each in walk_of(function, ast.Attribute))


def _given(step: Event, call: ast.Call, function: FunctionNode, wanted: set[str], *, bound: bool) -> Iterator[_Pass]:
    given = given_to(function, call, bound=bound)
    for name, value in given.items():
        if name in wanted and isinstance(value, (ast.Name, ast.Attribute, ast.Subscript)):
            rest = sorted(f"{other}={ast.unparse(each)}" for other, each in given.items() if other != name)
            yield _Pass(step, call, ast.unparse(value), (ast.unparse(call.func), *rest))

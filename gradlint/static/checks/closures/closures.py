"""Closures of optimizers that call them many times: GL401 to GL405 and GL407."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Edit, Fix, Location, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.protocols import OPTIMIZER
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check, in_tests
from gradlint.static.flow.following import follow, run
from gradlint.static.flow.kinship import any_overlap
from gradlint.static.flow.roots import Root
from gradlint.static.flow.subjects import MANY_EVALUATIONS, on_optimizer
from gradlint.static.flow.tree import EMPTY, Branch, Call, Loop, Node, Seq, Uid, events
from gradlint.static.lowering.actions import Step
from gradlint.static.lowering.values import Const, Function, Kind, Object, Tensor
from gradlint.static.syntax.nodes import asks_for, children
from gradlint.typestate import State


@check
@in_tests
def closures(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL401, GL402, GL403, GL404 and GL405: what is given to `step`."""
    for step in analysis.lowering.steps:
        called = _called(analysis, step)
        if called is not None:
            yield called
        elif step.optimizer.origin in MANY_EVALUATIONS:
            yield from _many_evaluations(analysis, step)


def _called(analysis: Analysis, step: Step) -> Diagnostic | None:
    """GL405: `step(closure())`."""
    match step.node.args:
        case [ast.Call((ast.Name() | ast.Attribute()) as callee, [], []) as given]:
            name = ast.unparse(callee)
        case _:
            return None
    if not isinstance(analysis.lowering.values.get(callee), Function):
        return None
    if not isinstance(analysis.lowering.values.get(given), (Tensor, Const)) and not _returns_loss(analysis, callee):
        return None
    place = analysis.source.place(step.node)
    found = compose("GL405", Side.STATIC, place, subject=step.spelled, closure=name)
    return replace(found, fix=Fix("Pass the function", (Edit(analysis.source.place(given), name),), safe=True))


def _returns_loss(analysis: Analysis, callee: ast.expr) -> bool:
    """Whether a called function runs backward itself: it is a closure, not a maker of closures."""
    known = analysis.lowering.values.get(callee)
    return isinstance(known, Function) and asks_for(known.node, "backward")


def _many_evaluations(analysis: Analysis, step: Step) -> Iterator[Diagnostic]:
    place, subject = analysis.source.place(step.node), step.spelled
    if not step.node.args and not step.node.keywords:
        yield compose("GL401", Side.STATIC, place, subject=subject)
        return
    if step.closure is None or step.body is None:
        return
    code = _broken(step.closure, step)
    if code is not None:
        marks = (("closure", analysis.source.place(step.closure.node)),)
        yield compose(code, Side.STATIC, place, marks, subject=subject)


def _broken(closure: Function, step: Step) -> str | None:
    assert step.body is not None
    ends = {state.name for state in _evaluate_once(step, step.body)}
    if not ends or ends & {"unknown", "unknown-fresh", "fresh"}:
        return None if ends != {"fresh"} or _returns(closure) else "GL404"
    if "dirty" in ends:
        return "GL402"
    return "GL403" if ends <= {"spent", "clean"} else None


def _evaluate_once(step: Step, body: Seq) -> set[State]:
    """Return the states after one evaluation that begins with used-up gradients, as all but the first do."""
    return run(body, OPTIMIZER, on_optimizer(step.optimizer, {}), State("spent")).ends


def _returns(closure: Function) -> bool:
    if isinstance(closure.node, ast.Lambda):
        return True
    todo: list[ast.AST] = list(closure.node.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Return):
            match node.value:
                case None | ast.Constant(None):
                    continue
                case _:
                    return True
        if not isinstance(node, (ast.FunctionDef, ast.Lambda)):
            todo.extend(children(node))
    return False


@check
def backward_before_closure(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL407: a backward pass whose gradients the closure clears before anybody uses them."""
    for optimizer in analysis.objects(Kind.OPTIMIZER):
        if optimizer.origin not in MANY_EVALUATIONS:
            continue
        good = {
            analysis.source.place(step.node)
            for step in analysis.lowering.steps
            if step.body is not None
            and step.optimizer.uid == optimizer.uid
            and {state.name for state in _evaluate_once(step, step.body)} == {"fresh"}
        }
        for root in analysis.roots:
            yield from _wasted(analysis, root, good, optimizer.uid)


def _wasted(analysis: Analysis, root: Root, good: set[Location], uid: Uid) -> Iterator[Diagnostic]:
    optimizer = analysis.lowering.objects[uid]
    effect = on_optimizer(optimizer, analysis.lowering.objects)
    closures = {id(step.body): step for step in analysis.lowering.steps if step.body is not None}
    bodies = _closure_events(closures)
    for event, states in follow(_without(root.tree, closures), OPTIMIZER, effect).items():
        if event.kind is not EventKind.STEP or event.place not in good or uid not in (event.targets or ()):
            continue
        places = {state.mark("fresh") for state in states}
        if {state.name for state in states} == {"fresh"} and len(places) == 1:
            backward = places.pop()
            if backward is None or backward in bodies or not _reaches(analysis, root, backward, optimizer):
                continue
            if not _read_between(analysis, backward, event.place):
                yield compose("GL407", Side.STATIC, backward, (("step", event.place),), subject=event.name)


def _reaches(analysis: Analysis, root: Root, backward: Location, optimizer: Object) -> bool:
    """Whether a backward pass may leave gradients for an optimizer: not if it only runs through what others step."""
    inside, found = analysis.lowering.with_contained, analysis.events[root]
    nodes = {node for event in found if event.place == backward for node in event.nodes}
    if nodes and optimizer.of is not None:
        return any_overlap(inside(optimizer.of), inside(node.module for node in nodes))
    steps = (event for event in found if event.kind is EventKind.STEP)
    return all(optimizer.uid in (step.targets or ()) for step in steps)


def _read_between(analysis: Analysis, backward: Location, step: Location) -> bool:
    """Whether the gradients are looked at before the closure clears them."""
    return any(
        node.attr == "grad" and backward.row <= node.lineno <= step.row for node in analysis.nodes(ast.Attribute)
    )


def _closure_events(closures: dict[int, Step]) -> set[Location]:
    return {event.place for step in closures.values() if step.body is not None for event in events(step.body)}


def _without(node: Node, closures: dict[int, Step]) -> Node:
    """Return the tree without the closures' bodies: what is left is what the user runs besides them."""
    match node:
        case Seq(items):
            return EMPTY if id(node) in closures else Seq(tuple(_without(item, closures) for item in items))
        case Branch(test, then, orelse):
            return Branch(test, _without(then, closures), _without(orelse, closures))
        case Loop(number, first, later, orelse, endless):
            body = _without(first, closures)
            again = body if later is first else _without(later, closures)
            return Loop(number, body, again, _without(orelse, closures), endless)
        case Call(body):
            return replace(node, body=_without(body, closures))
        case _:
            return node

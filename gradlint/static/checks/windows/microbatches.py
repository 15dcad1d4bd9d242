"""Loops of microbatches inside the loop that steps: GL701, GL702 and GL705."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.data import NamedTuple
from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.protocols import OPTIMIZER
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.checks.windows.accumulation import scale_matters
from gradlint.static.facts.averages import Means
from gradlint.static.facts.cadence import turns
from gradlint.static.facts.guards import paths_of
from gradlint.static.flow.following import follow
from gradlint.static.flow.kinship import touches
from gradlint.static.flow.roots import Root
from gradlint.static.flow.subjects import on_optimizer
from gradlint.static.flow.tree import Event
from gradlint.static.lowering.values import Const, Function, Kind, Object
from gradlint.static.syntax.nodes import walk, words
from gradlint.typestate import State

_UPDATES = (EventKind.STEP, EventKind.OTHER_STEP)


class _Inner(NamedTuple):
    """A loop in which all backward passes for one step run; the step comes after it, in the loop around it."""

    root: Root
    optimizer: Object
    step: Event
    loop: int
    node: ast.For
    ring: tuple[Event, ...]
    inside: tuple[Event, ...]
    backwards: tuple[Event, ...]


@check
def microbatches(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL701, GL702 and GL705 where the window is a loop of its own."""
    means = Means(analysis)
    for inner in _inner_loops(analysis):
        effect = on_optimizer(inner.optimizer, analysis.lowering.objects)
        cleared = [event for event in inner.inside if effect(event) is EventKind.ZERO]
        if any(effect(event) is EventKind.ESCAPE for event in inner.ring):
            continue
        if cleared:
            yield from _cleared_each_turn(analysis, inner, cleared)
            continue
        yield from _clipped_each_turn(analysis, inner)
        if _draws(analysis, inner) and scale_matters(inner.optimizer, inner.ring):
            yield from _undivided(means, inner)


def _undivided(means: Means, inner: _Inner) -> Iterator[Diagnostic]:
    if all(map(means.starts, inner.backwards)):
        found, step = inner.backwards[0], inner.step
        marks = (("step", step.place),)
        yield compose("GL702", Side.STATIC, found.place, marks, subject=step.name, loss=found.name, times="several")


def _clipped_each_turn(analysis: Analysis, inner: _Inner) -> Iterator[Diagnostic]:
    paths, first = paths_of(analysis, inner.root), inner.inside.index(inner.backwards[0])
    shared = paths.guards(inner.backwards[0], inner.loop)
    for event in inner.inside[first:]:
        certain = event.kind is EventKind.CLIP and touches(event, inner.optimizer.of or frozenset())
        if certain and all(guard in shared for guard in paths.guards(event, inner.loop)):
            marks, name = (("step", inner.step.place),), inner.step.name
            when = "behind the loop that adds up"
            yield compose("GL705", Side.STATIC, event.place, marks, clipped=event.name, subject=name, when=when)
            return


def _inner_loops(analysis: Analysis) -> Iterator[_Inner]:
    optimizers = {each.uid: (number, each) for number, each in enumerate(analysis.objects(Kind.OPTIMIZER))}
    for root in analysis.roots:
        around = {event.loops[:-1] for event in root.events if event.loops} if root.of(EventKind.STEP) else ()
        for step in dict.fromkeys(event for event in root.of(EventKind.STEP) if event.loops in around):
            stepped = [optimizers[uid] for uid in step.targets or () if uid in optimizers]
            for _, optimizer in sorted(stepped, key=lambda item: item[0]):
                inner = _inner(analysis, root, step, optimizer)
                if inner is not None:
                    yield inner


def _inner(analysis: Analysis, root: Root, step: Event, optimizer: Object) -> _Inner | None:
    depth, ring = len(step.loops), tuple(analysis.ring(root, step.loops))
    backwards = tuple(event for event in ring if event.kind is EventKind.BACKWARD)
    loops = {event.loops[depth] if len(event.loops) == depth + 1 else 0 for event in backwards}
    loop = loops.pop() if len(loops) == 1 else 0
    node = analysis.lowering.loop_nodes.get(loop)
    inside = tuple(event for event in ring if loop in event.loops)
    after = bool(inside) and ring.index(inside[-1]) < ring.index(step)
    if not isinstance(node, ast.For) or not after or any(event.kind in _UPDATES for event in inside):
        return None
    # A loop that is left early looks for one good turn; one that reads gradients uses them itself.
    own = any(isinstance(part, ast.Break) or getattr(part, "attr", "") == "grad" for part in walk(node))
    if own or any("engine" in event.roles for event in backwards):
        return None
    return _Inner(root, optimizer, step, loop, node, ring, inside, backwards)


def _cleared_each_turn(analysis: Analysis, inner: _Inner, cleared: list[Event]) -> Iterator[Diagnostic]:
    paths, places = paths_of(analysis, inner.root), {event.place for event in inner.backwards}
    effect = on_optimizer(inner.optimizer, analysis.lowering.objects)
    arrivals = follow(inner.root.bare, OPTIMIZER, effect)
    shared = paths.guards(inner.backwards[0], inner.loop)
    used = arrivals.get(inner.step, set())

    def lost(state: State) -> bool:
        return state.name == "fresh" and state.mark("fresh") in places

    for event in cleared:
        plain = all(guard in shared for guard in paths.guards(event, inner.loop))
        if plain and used and all(map(lost, used)) and any(map(lost, arrivals.get(event, ()))):
            marks = (("fresh", inner.backwards[0].place), ("step", inner.step.place))
            yield compose("GL701", Side.STATIC, event.place, marks, subject=event.name, step=inner.step.name)
            return


def _draws(analysis: Analysis, inner: _Inner) -> bool:
    """Whether each of several turns draws a batch of its own, and does not tell the turns apart."""
    bound = turns(analysis, inner.loop)
    if bound is None or bound[0] == Const(1) or not isinstance(inner.node.target, ast.Name):
        return False
    turn = inner.node.target.id
    apart = any(turn in words(part) for statement in inner.node.body for part in _told_apart(statement))
    return not apart and ("next" in words(inner.node) or _fetches(analysis, inner.node))


def _told_apart(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what a statement does with its turn, but for whether gradients are exchanged in it."""
    match node:
        case ast.Assign([ast.Attribute(attr="require_backward_grad_sync")]):
            return
        case ast.If(test, body, orelse):
            yield test
            for each in (*body, *orelse):
                yield from _told_apart(each)
        case ast.With(items, body):
            yield from (item.context_expr for item in items if "sync" not in ast.unparse(item.context_expr))
            for each in body:
                yield from _told_apart(each)
        case _:
            yield node


def _fetches(analysis: Analysis, loop: ast.For) -> bool:
    """Whether each turn gets what its model is called with by a call of a function that is given nothing of the loop's."""
    made = {name for node in walk(loop) for name in _bound(node)}
    run = {name for node in walk(loop) if isinstance(node, ast.Call) for arg in node.args for name in words(arg)}
    for statement in loop.body:
        match statement:
            case ast.Assign(_, ast.Call(callee) as call) if not words(call) & made:
                fetched = set(_bound(statement))
                if fetched and fetched <= run and isinstance(analysis.value(callee), Function):
                    return True
            case _:
                continue
    return False


def _bound(node: ast.AST) -> Iterator[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.For) else []
    return (each.id for target in targets for each in walk(target) if isinstance(each, ast.Name))

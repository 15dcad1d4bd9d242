"""Evaluations that record graphs which nobody uses: GL302.

It knows the forwards of an evaluation; it must not know whether one may be trained in that mode (`modes`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Location, Severity, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks.graphs.keeping import keeps, kept
from gradlint.static.facts.cadence import over_batches, sources_of
from gradlint.static.flow.following import follow_to
from gradlint.static.flow.kinship import within
from gradlint.static.flow.protocols import LEARNING
from gradlint.static.flow.roots import Root
from gradlint.static.flow.trained import on_learning
from gradlint.static.flow.tree import Event, Uid
from gradlint.static.lowering.notes import Keeping
from gradlint.static.lowering.values import Instance, Tensor
from gradlint.static.syntax.lineage import runs_backward
from gradlint.static.syntax.nodes import called, own_of, spelled, walk, walk_of
from gradlint.static.syntax.reaching import Assigned
from gradlint.static.syntax.telling import begins_anew
from gradlint.typestate import State
from gradlint.wordings.modes import BUILDS, VOLATILE

_SWITCHING = ("enable_grad", "set_grad_enabled")
_LAPSED = frozenset({"lapsed", "lapsed-forward", "lapsed-backward"})
_USES = frozenset({EventKind.BACKWARD, EventKind.RETAIN, EventKind.SETGRAD})
"""What is done with a graph that is recorded on purpose."""
IN_EVALUATION = _LAPSED | {"eval"}
_ASKS = r"requires_grad(?! ?= ?False|_\(False)|\.grad\b|autograd(?!\.Variable)|functorch"
ON_INPUTS = regex(rf"{_ASKS}|adapt|attack|perturb")
DIFFERENTIATES = regex(rf"{_ASKS}|\.func\.")


def tracked(
    analysis: Analysis,
    root: Root,
    arrivals: dict[Event, set[State]],
    proven: frozenset[Event],
    passing: dict[tuple[int, ...], Diagnostic],
) -> Iterator[Diagnostic]:
    """GL302: forwards in evaluation mode, in a loop that never runs backward, with gradients enabled.

    Graphs that are kept are each a finding; of those that are let go at once, the first one of an evaluation tells of all,
    whichever module it is: these are `passing`. Of the forwards that are `proven` callers have not switched gradients off.
    """
    told = False
    reported = {found.location for found in kept(analysis)}
    for event, state in _untouched(analysis, root, arrivals, proven):
        begun = begun_by(analysis, root, state)
        held_by = [each for each in analysis.lowering.keepings if keeps(each, event) and _lasts(analysis, each, begun)]
        keepings = [each.place for each in held_by]
        held = bool(keepings) or event.place in analysis.collected
        if reported.intersection(keepings) or (not held and (told or _is_thrown_away(analysis, event))):
            # GL501 says it of what is kept, with the same consequence.
            continue
        told = True
        place, name = _run_from(analysis, event, begun)
        inner = [("forward", event.place)] if place != event.place else []
        marks = [
            *(mark for mark in state.marks if mark[0] == "eval"),
            *inner,
            *(("kept", place) for place in keepings[:1]),
        ]
        effect = VOLATILE if analysis.says("volatile") and _is_volatile(_scope(analysis, event)) else BUILDS
        found = compose("GL302", Side.STATIC, place, marks, subject=name, effect=effect)
        if held:
            yield found
        else:
            evaluation = _evaluation_loops(analysis, root, event, state)
            light = replace(found, severity=Severity.INFO)
            passing[evaluation] = min(passing.get(evaluation, light), light, key=lambda each: each.order)


def behind_training(analysis: Analysis, root: Root, module: Uid) -> frozenset[Event]:
    """Return the evaluating forwards before which, on some path, somebody has trained in the same mode: gradients are recorded."""
    if analysis.says(*_SWITCHING):
        return frozenset()
    arrivals = follow_to(root.bare, LEARNING, on_learning(module), lambda _, __: ("evaluated",))
    return frozenset(event for event, states in arrivals.items() if any(state.name == "evaluated" for state in states))


def _lasts(analysis: Analysis, keeping: Keeping, begun: list[Event]) -> bool:
    """Whether what keeps graphs outlives a batch of an evaluation: what begins anew in each turn may hold parts of one."""
    nodes = analysis.lowering.loop_nodes
    kept_in = nodes.get(keeping.loops[-1])
    if kept_in is not None and begins_anew(kept_in, keeping.name):
        return False
    anew = any(len(keeping.outer) > len(event.loops) for event in begun)
    if not anew and not any(over_batches(analysis, number) for number in keeping.outer):
        return True
    made = frozenset(Assigned()[nodes[keeping.outer[-1]]] if keeping.outer[-1] in nodes else ())
    return not all(_is_of_a_turn(nodes.get(number), made) for number in keeping.loops[len(keeping.outer) :])


def _is_of_a_turn(loop: ast.AST | None, made: frozenset[str]) -> bool:
    """Whether a loop runs over what the loop around it has `made`, or so many times."""
    if not isinstance(loop, (ast.For, ast.AsyncFor)):
        return False
    sources = list(sources_of(loop.iter))
    return any(
        isinstance(source, ast.Call) and called(source) in ("range", "trange") and not _counts_data(source)
        for source in sources
    ) or any(spelled(part) in made for source in sources for part in walk(source) if isinstance(part, ast.Name))


def _counts_data(node: ast.Call) -> bool:
    """Whether a range goes over indices of data: in steps, or up to the length of something."""
    return len(node.args) > 2 or any(isinstance(part, ast.Call) for arg in node.args for part in walk(arg))


def begun_by(analysis: Analysis, root: Root, state: State) -> list[Event]:
    """Return the events by which the evaluation begins of which a state tells."""
    begun = state.mark("eval")
    return [event for event in analysis.events[root] if event.place == begun and event.kind is EventKind.EVAL]


def _run_from(analysis: Analysis, event: Event, begun: list[Event]) -> tuple[Location, str]:
    """Return where an evaluation runs a module, and what it is called there: the model whose own method holds the forward."""
    lowering = analysis.lowering
    place, name = event.place, event.name
    frame = lowering.frames.get(event.frame)
    while (
        frame is not None
        and frame.callers
        and isinstance(model := frame.receiver, Instance)
        and lowering.is_module(model.cls)
        and isinstance(call := frame.callers[-1][1], ast.Call)
        and isinstance(call.func, ast.Attribute)
        and not any(each.frame[: len(frame.path)] == frame.path for each in begun)
    ):
        place, name = analysis.source.place(call), ast.unparse(call.func.value)
        frame = lowering.frames.get(frame.path[:-1])
    return place, name


def _is_thrown_away(analysis: Analysis, event: Event) -> bool:
    """Whether a function runs the module once and for nothing: warming up costs what one forward costs."""
    around = _scope(analysis, event)
    nodes = set(walk(around))
    if any(analysis.lowering.loop_nodes.get(number) in nodes for number in event.loops):
        return False
    return any(isinstance(node, ast.Expr) and analysis.source.place(node.value) == event.place for node in nodes)


def _untouched(
    analysis: Analysis, root: Root, arrivals: dict[Event, set[State]], proven: frozenset[Event]
) -> Iterator[tuple[Event, State]]:
    """Yield the forwards of evaluations that record a graph which nothing in the evaluation uses."""
    forwards = [item for item in arrivals.items() if item[0].kind is EventKind.FORWARD]
    used = [event for event in analysis.events[root] if event.kind in _USES] if forwards else []
    for event, states in sorted(forwards, key=lambda item: item[0].place):
        if "method" in event.roles or not _is_repeated(analysis, event):
            continue
        if _is_for_training(analysis, event):
            continue
        evaluated = {state for state in states if state.name in IN_EVALUATION and state.mark("eval")}
        given = not root.complete and event not in proven and any(state.name not in _LAPSED for state in evaluated)
        if not evaluated or given:
            # Callers may have switched gradients off; where a step has gone before, they have not.
            continue
        state = min(evaluated, key=lambda each: each.marks)
        evaluation = _evaluation_loops(analysis, root, event, state)
        inside = [other for other in used if other.is_in(evaluation) and other.phase == event.phase]
        alone = not inside if evaluated == states else _is_another_phase(event, inside, arrivals)
        alone = alone or _is_apart(analysis, root, event, state, used)
        if _asks_gradients(analysis, event) or _is_trained_through(analysis, event):
            continue
        if alone and not _is_used_in_its_turn(analysis, root, event) and not _is_taken(analysis, root, event):
            yield event, state


def _is_used_in_its_turn(analysis: Analysis, root: Root, event: Event) -> bool:
    """Whether a module that still is as an evaluation left it trains: told so behind the forward, by a backward pass through that."""
    ring = [
        each for each in analysis.ring(root, event.loops) if each.loops == event.loops and each.frame == event.frame
    ]
    told = any(each.kind is EventKind.TRAIN and event.place < each.place for each in ring)
    return told and any(node.place == event.place for each in ring if each.kind in _USES for node in each.nodes)


def _is_trained_through(analysis: Analysis, event: Event) -> bool:
    """Whether a backward pass behind the loop runs through a forward, on one of several paths: values only tell what all have."""
    scope, row = _scope(analysis, event), event.place.row
    loop = analysis.lowering.loop_nodes.get(event.loops[-1])
    statements = (*own_of(scope, ast.Assign), *own_of(scope, ast.AugAssign))
    holding = [each for each in statements if each.lineno <= row <= (each.end_lineno or row)]
    return loop is not None and any(runs_backward(scope, each, loop) for each in holding)


def _is_taken(analysis: Analysis, root: Root, event: Event) -> bool:
    """Whether a caller runs backward through what a function returns, or beside giving it to somebody unknown."""
    depth = len(event.frame)
    above = [
        each for each in analysis.events[root] if len(each.frame) < depth and each.loops and event.is_in(each.loops)
    ]
    takers = [each for each in above if any(node.place == event.place for node in each.nodes)]
    taken = {(each.frame, each.loops) for each in takers if each.kind in (EventKind.ESCAPE, EventKind.BACKWARD)}
    return any((each.frame, each.loops) in taken for each in above if each.kind is EventKind.BACKWARD)


def _scope(analysis: Analysis, event: Event) -> ast.AST:
    """Return the function in which something happens, else the module."""
    frame = analysis.lowering.frames.get(event.frame)
    return analysis.tree if frame is None or frame.node is None else frame.node


def _is_volatile(scope: ast.AST) -> bool:
    """Whether a function asks for no graph as torch did before it knew `no_grad`."""
    given = (each for call in walk_of(scope, ast.Call) for each in call.keywords if each.arg == "volatile")
    return any(isinstance(each.value, ast.Constant) and each.value.value is True for each in given)


def _is_apart(analysis: Analysis, root: Root, event: Event, state: State, used: list[Event]) -> bool:
    """Whether a function switches to evaluation and runs the module once, and nobody goes back through what that gave."""
    frame = analysis.lowering.frames.get(event.frame)
    if (
        frame is None
        or frame.node is None
        or not any(each.frame == event.frame for each in begun_by(analysis, root, state))
    ):
        return False
    if any(other.frame[: len(event.frame)] == event.frame for other in used):
        return False
    roots = (given for descent in analysis.lowering.descents for given in descent.roots)
    return not any(event.place == node.place for given in roots if isinstance(given, Tensor) for node in given.nodes)


def _is_another_phase(event: Event, used: list[Event], arrivals: dict[Event, set[State]]) -> bool:
    """Whether a forward serves for training and for evaluation, and no backward pass beside it is reached in evaluation mode."""
    descents = [other for other in used if other.kind is EventKind.BACKWARD and other in arrivals]
    if not descents or descents != used or not any(other.is_in(event.loops) for other in descents):
        return False
    return not any(state.name in IN_EVALUATION for other in descents for state in arrivals[other])


def _is_for_training(analysis: Analysis, event: Event) -> bool:
    """Whether a forward stands in the branch of a condition that asks whether a module is in training mode."""
    around = _scope(analysis, event)
    return any(
        analysis.source.place(node) == event.place
        for branch in walk(around)
        if isinstance(branch, ast.If) and isinstance(branch.test, ast.Attribute) and branch.test.attr == "training"
        for statement in branch.body
        for node in walk(statement)
        if isinstance(node, ast.Call)
    )


def _is_repeated(analysis: Analysis, event: Event) -> bool:
    """Whether a loop is around that has another turn: some only take the first of something, and break."""
    loops = (analysis.lowering.loop_nodes.get(number) for number in event.loops)
    return any(not isinstance(node, (ast.For, ast.While)) or not isinstance(node.body[-1], ast.Break) for node in loops)


def _evaluation_loops(analysis: Analysis, root: Root, event: Event, state: State) -> tuple[int, ...]:
    """Return the loops of the forward up to the outermost one that the evaluation does not share with `eval()`."""
    begun = state.mark("eval")
    outer = max(
        (len(other.loops) for other in analysis.events[root] if other.place == begun and event.is_in(other.loops)),
        default=0,
    )
    return event.loops[: outer + 1]


def _asks_gradients(analysis: Analysis, event: Event) -> bool:
    """Whether the loop around a forward, or the `forward` of what is run, differentiates by itself, or a context switches on."""
    node = analysis.lowering.loop_nodes.get(event.loops[-1])
    if (node is not None and ON_INPUTS.search(ast.unparse(node))) or _is_switched_on(analysis, event):
        return True
    return any(DIFFERENTIATES.search(ast.unparse(forward)) for forward in _forwards(analysis, event))


def _is_switched_on(analysis: Analysis, event: Event) -> bool:
    """Whether a context around a forward that records a graph says so: somebody wants it."""
    row = event.place.row
    around = [
        each for each in walk_of(_scope(analysis, event), ast.With) if each.lineno < row <= (each.end_lineno or row)
    ]
    contexts = [item.context_expr for each in around for item in each.items]
    return any(isinstance(each, ast.Call) and called(each) in _SWITCHING for each in contexts)


def _forwards(analysis: Analysis, event: Event) -> Iterator[ast.AST]:
    """Yield the `forward` of each class of the file that a forward pass runs, and the methods to which it goes on."""
    lowering = analysis.lowering
    run = {cls.node: cls for uid, cls in lowering.instances.items() for m in event.targets or () if within(uid, m)}
    for cls in run.values():
        bodies = [each for ancestor in lowering.lineage(cls) for each in ancestor.node.body]
        methods = [each for each in bodies if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))]
        todo, seen = ["forward"], set[str]()
        while todo:
            seen.add(name := todo.pop())
            for method in (each for each in methods if each.name == name):
                yield method
                called = {node.attr for node in walk(method) if isinstance(node, ast.Attribute)}
                todo += called - seen

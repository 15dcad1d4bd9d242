"""Training and evaluation: GL301, GL302 and GL304."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import takewhile

from gradlint.diagnostics import Diagnostic, Location, Severity, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.protocols import MODE
from gradlint.static.analysis import Analysis
from gradlint.static.bearing import owners_of_all
from gradlint.static.checks import check
from gradlint.static.checks.graphs import kept
from gradlint.static.checks.stayed import trained_as_left
from gradlint.static.following import follow
from gradlint.static.kinship import within
from gradlint.static.lowering import Root
from gradlint.static.nodes import walk
from gradlint.static.sensitivity import Makers, Sensitivity
from gradlint.static.trained import on_module
from gradlint.static.tree import Event, GraphNode, Uid
from gradlint.static.values import Instance
from gradlint.typestate import Marks, State
from gradlint.wordings.modes import AFTER_EVALUATION, EVALUATING

_LAPSED = frozenset({"lapsed", "lapsed-forward", "lapsed-backward"})
_MODES = frozenset({"training", "is_grad_enabled"})
_STEPS = (EventKind.STEP, EventKind.HAND_STEP)
_EVALUATING = _LAPSED | {"eval"}
_VALIDATION = re.compile(r"(?:^|[^a-z])(?:val|valid|validation|dev|test|eval|evaluation)(?:$|[^a-z])", re.IGNORECASE)
_SENSITIVE = re.compile(
    r"drop|norm|rrelu|training|rnn|lstm|gru|transformer|attention|models?\.|pretrained|timm|create_model|import",
    re.IGNORECASE,
)
_ON_INPUTS = re.compile(r"requires_grad|\.grad\b|autograd|functorch|adapt|attack|perturb")
_DIFFERENTIATES = re.compile(r"requires_grad|\.grad\b|autograd|functorch|\.func\.")


@check
def modes(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL301, GL302 and GL304, module by module."""
    for root in analysis.roots:
        found = analysis.events[root]
        modules = {uid for event in found if event.kind is EventKind.EVAL for uid in event.targets or ()}
        known: dict[frozenset[tuple[Event, EventKind]], dict[Event, set[State]]] = {}
        passing: dict[tuple[int, ...], Diagnostic] = {}
        for module in sorted(modules | _trained_inside(analysis, modules)):
            yield from _module(analysis, root, module, known, passing)
        yield from passing.values()


def _trained_inside(analysis: Analysis, modules: Iterable[Uid]) -> set[Uid]:
    return {owned for owned in analysis.trained_by for uid in modules if within(owned, uid)}


def _module(
    analysis: Analysis,
    root: Root,
    module: Uid,
    known: dict[frozenset[tuple[Event, EventKind]], dict[Event, set[State]]],
    passing: dict[tuple[int, ...], Diagnostic],
) -> Iterator[Diagnostic]:
    owners = owners_of_all(analysis, module)
    tracks = (root.complete or bool(owners)) and module not in analysis.lowering.frozen
    if not owners and not tracks:
        return
    effect = on_module(module, owners, _parts(analysis, root, module))
    felt = frozenset((event, kind) for event in analysis.events[root] if (kind := effect(event)) is not None)
    if felt not in known:  # Parts of one model mostly go through the same.
        known[felt] = follow(root.tree, MODE, effect)
    arrivals = known[felt]
    updates = list(_updates(analysis, root, owners, arrivals)) if owners else []
    if owners or any(event.kind is EventKind.HAND_STEP for event in arrivals):
        found = updates or list(_lapsed(analysis, root, module, arrivals))
        yield from found or trained_as_left(analysis, root, module, owners)
    if tracks:
        yield from _tracked(analysis, root, arrivals, passing)


def _parts(analysis: Analysis, root: Root, module: Uid) -> frozenset[Uid]:
    """Return what goes into evaluation mode together with a module."""
    evals = (event.targets or frozenset() for event in analysis.events[root] if event.kind is EventKind.EVAL)
    return frozenset(uid for targets in evals if module in targets for uid in targets)


def _lapsed(analysis: Analysis, root: Root, module: Uid, arrivals: dict[Event, set[State]]) -> Iterator[Diagnostic]:
    if not _sensitive(analysis, module):
        return
    for event, reached in arrivals.items():
        # An update by hand steps once for each parameter.
        states = {state for state in reached if event.kind is EventKind.STEP or state.name != "lapsed"}
        lapsed = [state for state in states if MODE.advance(state, EventKind.STEP, event.place)[1] is not None]
        excused = any(_excuses(state, lapsed) for state in states) or _asks_mode(analysis, event)
        if event.kind in _STEPS and lapsed and not excused:
            state = min(lapsed, key=lambda each: each.marks)
            restored = [each for each in states if each.name == "restored"]
            if not all(_only_outside(analysis, root, event, state, each) for each in restored):
                continue
            place, marks = _remedy(analysis, root, event, state, restored=bool(restored))
            name = analysis.named(module)
            yield compose("GL304", Side.STATIC, place, marks, subject=name, when=AFTER_EVALUATION)
            return


def _asks_mode(analysis: Analysis, event: Event) -> bool:
    """Whether a function in which something is trained does so under a condition on the mode: `if model.training`."""
    frames = (analysis.lowering.frames.get(event.frame[:length]) for length in range(1, len(event.frame) + 1))
    nodes = (frame.node for frame in frames if frame is not None and frame.node is not None)
    tests = (each.test for node in nodes for each in walk(node) if isinstance(each, ast.If))
    return any(isinstance(part, ast.Attribute) and part.attr in _MODES for test in tests for part in walk(test))


def _excuses(state: State, lapsed: list[State]) -> bool:
    """Whether the mode on another path may be meant: it is unknown, or `eval()` stands there and not between steps only."""
    if state.name == "eval":
        # The same call, in an epoch without a step, is no freezing.
        return all(state.mark("eval") != each.mark("eval") for each in lapsed)
    return state.name in ("unknown", "lapsed")


def _remedy(analysis: Analysis, root: Root, step: Event, lapsed: State, *, restored: bool) -> tuple[Location, Marks]:
    """Return where `train()` is missing: behind an evaluation amid an epoch that is `restored` later, else in the loop around."""
    begun, marks = lapsed.mark("eval"), (*lapsed.marks, ("step", step.place))
    if begun is not None and restored:
        return begun, marks[1:]
    switched = (each for each in analysis.events[root] if each.place == begun and each.kind is EventKind.EVAL)
    around = next((_common(each.loops, step.loops) for each in switched), ())
    match analysis.lowering.loop_nodes.get(around[-1]) if around else None:
        case (ast.For(iter=last) | ast.AsyncFor(iter=last) | ast.While(test=last)) as loop:
            source = analysis.source.of(last)
            begin, end = source.place(loop), source.place(last)
            if begin.filename != step.place.filename:  # Whose loop it is knows nothing of modes.
                return step.place, lapsed.marks
            return replace(begin, end_row=end.end_row, end_column=end.end_column), marks
        case _:
            return step.place, lapsed.marks


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """Return the loops that two places share."""
    return tuple(mine for mine, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _only_outside(analysis: Analysis, root: Root, step: Event, lapsed: State, restored: State) -> bool:
    """Whether `train()` stands around the loop in which `eval()` and the step are."""
    loops = {event.place: event.loops for event in analysis.events[root]}
    begun, back = lapsed.mark("eval"), restored.mark("train")
    if begun is None or back is None:
        return False
    depth = len(step.loops)
    return loops.get(begun, ())[:depth] == step.loops and len(loops.get(back, step.loops)) < depth


def _sensitive(analysis: Analysis, module: Uid) -> bool:
    """Whether anything in the module behaves differently in evaluation mode, as far as its source is in sight."""
    return analysis.kept(Makers).sensitivity(module) is not Sensitivity.NO


def _updates(
    analysis: Analysis, root: Root, owners: frozenset[Uid], arrivals: dict[Event, set[State]]
) -> Iterator[Diagnostic]:
    """GL301: backward or step in a validation loop, beside a training pass of the same optimizer."""
    training = [
        event
        for event, states in arrivals.items()
        if event.kind is EventKind.STEP and not any(state.name in _EVALUATING for state in states)
    ]
    if not training:
        return
    for event, states in sorted(arrivals.items(), key=lambda item: item[0].place):
        if event.kind not in (EventKind.BACKWARD, EventKind.STEP) or event in training or "engine" in event.roles:
            continue
        if all(state.name in _EVALUATING and state.mark("eval") for state in states) and _validates(analysis, event):
            state = min(states, key=lambda each: each.marks)
            marks = (*((role, place) for role, place in state.marks if role == "eval"), ("training", training[0].place))
            what = "backward()" if event.kind is EventKind.BACKWARD else "step()"
            where = EVALUATING.format(_module_name(analysis, owners))
            yield compose("GL301", Side.STATIC, event.place, marks, what=what, where=where)
            return


def _module_name(analysis: Analysis, owners: frozenset[Uid]) -> str:
    trained = (module for module, found in analysis.trained_by.items() if found & owners)
    outermost = min(trained, key=lambda uid: (len(uid), uid), default=None)
    return "the model" if outermost is None else analysis.named(outermost)


def _validates(analysis: Analysis, event: Event) -> bool:
    """Whether the innermost loop is over validation data, by its own words, and nothing in it asks for the gradient of an input."""
    if any(_DIFFERENTIATES.search(ast.unparse(function)) for function in analysis.called_for(event)):
        return False
    for number in reversed(event.loops):
        node = analysis.lowering.loop_nodes.get(number)
        if isinstance(node, (ast.For, ast.AsyncFor)):
            if _ON_INPUTS.search(ast.unparse(node)):
                return False
            return bool(_VALIDATION.search(ast.unparse(node.iter)) or _VALIDATION.search(event.name))
    return False


def _tracked(
    analysis: Analysis,
    root: Root,
    arrivals: dict[Event, set[State]],
    passing: dict[tuple[int, ...], Diagnostic],
) -> Iterator[Diagnostic]:
    """GL302: forwards in evaluation mode, in a loop that never runs backward, with gradients enabled.

    Graphs that are kept are each a finding; of those that are let go at once, the first one of an evaluation tells of all,
    whichever module it is: these are `passing`.
    """
    told = False
    reported = {found.location for found in kept(analysis)}
    for event, state in _untouched(analysis, root, arrivals):
        keepings = [each.place for each in analysis.lowering.keepings if _keeps(each.nodes, event)]
        held = bool(keepings) or event.place in analysis.collected
        if reported.intersection(keepings) or (not held and (told or _is_thrown_away(analysis, event))):
            # GL501 says it of what is kept, with the same consequence.
            continue
        told = True
        place, name = _run_from(analysis, event, _begun(analysis, root, state))
        inner = [("forward", event.place)] if place != event.place else []
        marks = [
            *(mark for mark in state.marks if mark[0] == "eval"),
            *inner,
            *(("kept", place) for place in keepings[:1]),
        ]
        found = compose("GL302", Side.STATIC, place, marks, subject=name)
        if held:
            yield found
        else:
            evaluation = _evaluation_loops(analysis, root, event, state)
            light = replace(found, severity=Severity.INFO)
            passing[evaluation] = min(passing.get(evaluation, light), light, key=lambda each: each.order)


def _begun(analysis: Analysis, root: Root, state: State) -> list[Event]:
    """Return the events by which an evaluation begins."""
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
    frame = analysis.lowering.frames.get(event.frame)
    around = analysis.tree if frame is None or frame.node is None else frame.node
    nodes = set(walk(around))
    if any(analysis.lowering.loop_nodes.get(number) in nodes for number in event.loops):
        return False
    return any(isinstance(node, ast.Expr) and analysis.source.place(node.value) == event.place for node in nodes)


def _keeps(nodes: frozenset[GraphNode], event: Event) -> bool:
    return any(node.place == event.place for node in nodes)


def _untouched(analysis: Analysis, root: Root, arrivals: dict[Event, set[State]]) -> Iterator[tuple[Event, State]]:
    """Yield the forwards of evaluations that record a graph which nothing in the evaluation uses."""
    used = [
        event
        for event in analysis.events[root]
        if event.kind in (EventKind.BACKWARD, EventKind.RETAIN, EventKind.SETGRAD)
    ]
    for event, states in sorted(arrivals.items(), key=lambda item: item[0].place):
        if event.kind is not EventKind.FORWARD or "method" in event.roles or not _is_repeated(analysis, event):
            continue
        if _is_for_training(analysis, event):
            continue
        if not all(state.name in _EVALUATING and state.mark("eval") for state in states):
            continue
        if not root.complete and any(state.name not in _LAPSED for state in states):
            # Callers may have switched gradients off; where a step has gone before, they have not.
            continue
        state = min(states, key=lambda each: each.marks)
        evaluation = _evaluation_loops(analysis, root, event, state)
        if not any(other.is_in(evaluation) for other in used) and not _asks_gradients(analysis, event):
            yield event, state


def _is_for_training(analysis: Analysis, event: Event) -> bool:
    """Whether a forward stands in the branch of a condition that asks whether a module is in training mode."""
    frame = analysis.lowering.frames.get(event.frame)
    around = analysis.tree if frame is None or frame.node is None else frame.node
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
    """Whether the loop around a forward, or the `forward` of what is run, differentiates by itself."""
    node = analysis.lowering.loop_nodes.get(event.loops[-1])
    if node is not None and _ON_INPUTS.search(ast.unparse(node)):
        return True
    return any(_DIFFERENTIATES.search(ast.unparse(forward)) for forward in _forwards(analysis, event))


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

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
from gradlint.protocols import MODE, Marks, State
from gradlint.static.analysis import Analysis
from gradlint.static.bearing import owners_of_all
from gradlint.static.checks import check
from gradlint.static.checks.graphs import kept
from gradlint.static.following import follow
from gradlint.static.kinship import within
from gradlint.static.lowering import Root
from gradlint.static.sensitivity import Makers, Sensitivity
from gradlint.static.trained import on_module
from gradlint.static.tree import Event, GraphNode, Uid
from gradlint.static.windows import Paths, end_of
from gradlint.wordings.modes import AFTER_EVALUATION

_EVALUATING = frozenset({"eval", "lapsed", "lapsed-forward", "lapsed-backward"})
_VALIDATION = re.compile(r"(?:^|[^a-z])(?:val|valid|validation|dev|test|eval|evaluation)(?:$|[^a-z])", re.IGNORECASE)
_SENSITIVE = re.compile(
    r"drop|norm|rrelu|training|rnn|lstm|gru|transformer|attention|models?\.|pretrained|timm|create_model|import",
    re.IGNORECASE,
)
_ON_INPUTS = re.compile(r"requires_grad|\.grad\b|autograd|functorch|adapt|attack|perturb")


@check
def modes(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL301, GL302 and GL304, module by module."""
    for root in analysis.roots:
        found = analysis.events[root]
        modules = {uid for event in found if event.kind is EventKind.EVAL for uid in event.targets or ()}
        known: dict[frozenset[tuple[Event, EventKind]], dict[Event, set[State]]] = {}
        for module in sorted(modules | _trained_inside(analysis, modules)):
            yield from _module(analysis, root, module, known)


def _trained_inside(analysis: Analysis, modules: Iterable[Uid]) -> set[Uid]:
    return {owned for owned in analysis.trained_by for uid in modules if within(owned, uid)}


def _module(
    analysis: Analysis,
    root: Root,
    module: Uid,
    known: dict[frozenset[tuple[Event, EventKind]], dict[Event, set[State]]],
) -> Iterator[Diagnostic]:
    owners = owners_of_all(analysis, module)
    tracks = root.complete and module not in analysis.lowering.frozen
    if not owners and not tracks:
        return
    effect = on_module(module, owners)
    felt = frozenset((event, kind) for event in analysis.events[root] if (kind := effect(event)) is not None)
    if felt not in known:  # Parts of one model mostly go through the same.
        known[felt] = follow(root.tree, MODE, effect)
    arrivals = known[felt]
    if owners:
        updates = list(_updates(analysis, root, owners, arrivals))
        yield from updates or _lapsed(analysis, root, module, arrivals)
    if tracks:
        yield from _tracked(analysis, root, arrivals)


def _lapsed(analysis: Analysis, root: Root, module: Uid, arrivals: dict[Event, set[State]]) -> Iterator[Diagnostic]:
    if not _sensitive(analysis, module):
        return
    for event, states in arrivals.items():
        lapsed = [state for state in states if MODE.advance(state, event.kind, event.place)[1] is not None]
        if event.kind is not EventKind.STEP or not lapsed:
            continue
        begun = {state.mark("eval") for state in lapsed} if _ends_window(analysis, root, event) else set()
        # Where no window had ended before `eval()`, the model was in training mode all the same.
        names = {state.name for state in states if state.name != "eval" or state.mark("eval") not in begun}
        if not names & {"unknown", "eval", "lapsed"}:
            state = min(lapsed, key=lambda each: each.marks)
            restored = [each for each in states if each.name == "restored"]
            if not all(_only_outside(analysis, root, event, state, each) for each in restored):
                continue
            place, marks = _remedy(analysis, root, event, state, restored=bool(restored))
            name = analysis.named(module)
            yield compose("GL304", Side.STATIC, place, marks, subject=name, when=AFTER_EVALUATION)
            return


def _ends_window(analysis: Analysis, root: Root, step: Event) -> bool:
    """Whether a step comes once in several batches."""
    if "window" in step.roles:
        return True
    paths = Paths()
    paths.read(root.tree)
    found = end_of(analysis, root, step, paths) if step.loops else None
    return found is not None and found[1] is not None


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
    return Makers(analysis).sensitivity(module) is not Sensitivity.NO


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
            yield compose("GL301", Side.STATIC, event.place, marks, what=what, subject=_module_name(analysis, owners))
            return


def _module_name(analysis: Analysis, owners: frozenset[Uid]) -> str:
    names = [analysis.named(module) for module, found in analysis.trained_by.items() if found & owners]
    return names[0] if names else "the model"


def _validates(analysis: Analysis, event: Event) -> bool:
    """Whether the innermost loop is over validation data, by its own words, and asks for no gradient of an input."""
    for number in reversed(event.loops):
        node = analysis.lowering.loop_nodes.get(number)
        if isinstance(node, (ast.For, ast.AsyncFor)):
            if _ON_INPUTS.search(ast.unparse(node)):
                return False
            return bool(_VALIDATION.search(ast.unparse(node.iter)) or _VALIDATION.search(event.name))
    return False


def _tracked(analysis: Analysis, root: Root, arrivals: dict[Event, set[State]]) -> Iterator[Diagnostic]:
    """GL302: forwards in evaluation mode, in a loop that never runs backward, with gradients enabled.

    Graphs that are kept are each a finding; of those that are let go at once, the first one tells of all.
    """
    told = False
    reported = {found.location for found in kept(analysis)}
    for event, state in _untouched(analysis, root, arrivals):
        keepings = [each.place for each in analysis.lowering.keepings if _keeps(each.nodes, event)]
        held = bool(keepings) or event.place in analysis.collected
        if reported.intersection(keepings) or (told and not held):
            # GL501 says it of what is kept, with the same consequence.
            continue
        told = True
        marks = [*(mark for mark in state.marks if mark[0] == "eval"), *(("kept", place) for place in keepings[:1])]
        found = compose("GL302", Side.STATIC, event.place, marks, subject=event.name)
        yield found if held else replace(found, severity=Severity.INFO)


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
        if event.kind is not EventKind.FORWARD or not event.loops or "method" in event.roles:
            continue
        if not all(state.name in _EVALUATING and state.mark("eval") for state in states):
            continue
        state = min(states, key=lambda each: each.marks)
        evaluation = _evaluation_loops(analysis, root, event, state)
        if not any(other.is_in(evaluation) for other in used) and not _asks_gradients(analysis, event):
            yield event, state


def _evaluation_loops(analysis: Analysis, root: Root, event: Event, state: State) -> tuple[int, ...]:
    """Return the loops of the forward up to the outermost one that the evaluation does not share with `eval()`."""
    begun = state.mark("eval")
    outer = max(
        (len(other.loops) for other in analysis.events[root] if other.place == begun and event.is_in(other.loops)),
        default=0,
    )
    return event.loops[: outer + 1]


def _asks_gradients(analysis: Analysis, event: Event) -> bool:
    node = analysis.lowering.loop_nodes.get(event.loops[-1])
    return node is not None and bool(_ON_INPUTS.search(ast.unparse(node)))

"""Training and evaluation: GL301, GL302 and GL304."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import takewhile

from gradlint.diagnostics import Diagnostic, Location, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.protocols import MODE
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.checks.modes.left_off import left_off
from gradlint.static.checks.modes.phases import is_over_validation
from gradlint.static.checks.modes.regions import is_validation_phase
from gradlint.static.checks.modes.stayed import trained_as_left
from gradlint.static.checks.modes.tracking import (
    DIFFERENTIATES,
    IN_EVALUATION,
    ON_INPUTS,
    begun_by,
    behind_training,
    tracked,
)
from gradlint.static.facts.bearing import owners_of_all
from gradlint.static.facts.cadence import tree_of
from gradlint.static.facts.layers import Sensitivity
from gradlint.static.facts.sensitivity import Makers
from gradlint.static.flow.following import follow_to
from gradlint.static.flow.kinship import Nearby
from gradlint.static.flow.roots import Root
from gradlint.static.flow.trained import on_module
from gradlint.static.flow.tree import Event, Uid
from gradlint.static.syntax.nodes import walk
from gradlint.static.syntax.turns import at_last
from gradlint.typestate import Marks, State
from gradlint.wordings.modes import AFTER_EVALUATION, EVALUATING

_MODES = frozenset({"training", "is_grad_enabled"})
_SWITCHES = frozenset({EventKind.TRAIN, EventKind.EVAL})
_STEPS = (EventKind.STEP, EventKind.HAND_STEP)
_TOLD = (EventKind.FORWARD, EventKind.HAND_STEP)
"""Of what an untrained module does in evaluation mode something may be to be said."""
_ROWS = regex(r"(?::(?=\d+:\d+[\[\]\d]*/)|@)(\d+)")
"""The rows in an identity: of the calls that led to a frame, and where a name got its value."""
_VALIDATION = regex(r"(?:^|[^a-z])(?:val|valid|validation|dev|test|eval|evaluation)(?:$|[^a-z])", re.IGNORECASE)


@check
def modes(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL301, GL302 and GL304, module by module."""
    for root in analysis.roots:
        switched = [event.targets for event in root.of(EventKind.EVAL) if event.targets]
        modules = {uid for targets in switched for uid in targets}
        known: dict[frozenset[tuple[Event, EventKind]], dict[Event, set[State]]] = {}
        passing: dict[tuple[int, ...], Diagnostic] = {}
        nearby = Nearby(analysis.events[root], _whom)
        for module in sorted(modules | _trained_inside(analysis, modules)):
            together = frozenset(uid for targets in switched if module in targets for uid in targets)
            yield from _module(analysis, root, module, together, nearby, known, passing)
        yield from passing.values()


def _whom(event: Event) -> frozenset[Uid] | None:
    """Return whose mode an event may concern."""
    return None if event.kind is EventKind.BACKWARD else event.targets or None


def _trained_inside(analysis: Analysis, modules: Iterable[Uid]) -> set[Uid]:
    return {owned for uid in modules for owned in analysis.trained.parts(uid)}


def _module(
    analysis: Analysis,
    root: Root,
    module: Uid,
    together: frozenset[Uid],
    nearby: Nearby[Event],
    known: dict[frozenset[tuple[Event, EventKind]], dict[Event, set[State]]],
    passing: dict[tuple[int, ...], Diagnostic],
) -> Iterator[Diagnostic]:
    """Look at one module, which goes into evaluation mode `together` with others."""
    owners = owners_of_all(analysis, module)
    proven = frozenset() if root.complete else behind_training(analysis, root, module)
    tracks = (root.complete or bool(owners) or bool(proven)) and module not in analysis.lowering.frozen
    if not owners and not tracks:
        return
    effect = on_module(module, owners, together)
    concerned = nearby.of((module, *owners, *together))
    felt = [(event, kind) for event in concerned if (kind := effect(event)) is not None]
    if not owners and not any(event.kind in _TOLD for event, _ in felt):
        return
    same = frozenset(felt)
    if same not in known:  # Parts of one model mostly go through the same.
        kinds = {id(event): kind for event, kind in felt}
        known[same] = follow_to(root.bare, MODE, lambda event: kinds.get(id(event)), _telling)
    arrivals = known[same]
    updates = list(_updates(analysis, root, owners, arrivals)) if owners else []
    if owners or any(event.kind is EventKind.HAND_STEP for event, _ in felt):
        found = updates or list(_lapsed(analysis, root, module, arrivals))
        yield from found or trained_as_left(analysis, root, module, owners)
    if tracks:
        yield from tracked(analysis, root, arrivals, proven, passing)


def _telling(event: Event, kind: EventKind) -> frozenset[str]:
    """Return the states in which something is to be said of what a module does, or may be: those of an evaluation."""
    return frozenset() if event.kind in _SWITCHES else IN_EVALUATION


def _lapsed(analysis: Analysis, root: Root, module: Uid, arrivals: dict[Event, set[State]]) -> Iterator[Diagnostic]:
    for event, reached in arrivals.items():
        if event.kind not in _STEPS:
            continue
        # An update by hand steps once for each parameter.
        states = {state for state in reached if event.kind is EventKind.STEP or state.name != "lapsed"}
        lapsed = [state for state in states if MODE.broken_by(state, EventKind.STEP) is not None]
        excused = not lapsed or any(_excuses(state, lapsed) for state in states) or _asks_mode(analysis, event)
        if excused:
            continue
        if not _sensitive(analysis, module):
            return
        state = min(lapsed, key=lambda each: each.marks)
        restored = [each for each in states if each.name == "restored"]
        around = _around(analysis, root, event, state)
        if not all(_only_outside(analysis, root, around, each) for each in restored):
            continue
        if restored and _ends_its_loop(analysis, root, around, state):
            continue
        # Where somebody has thought of the mode of each pass, no word is said of layers that may have none, but of a stranger's
        # right where it ends.
        near = around == event.loops and module not in analysis.lowering.instances
        if restored and not near and analysis.kept(Makers).sensitivity(module) is not Sensitivity.YES:
            continue
        if _is_unknown(analysis, module) and _is_made_within(analysis, around, module):
            continue
        place, marks = _remedy(analysis, event, state, around, restored=bool(restored))
        name = analysis.named(module)
        yield left_off(analysis, module, place, marks, name, AFTER_EVALUATION)
        return


def _is_unknown(analysis: Analysis, module: Uid) -> bool:
    """Whether nobody was seen to make a module: a value without a source, or an element of a container of such values."""
    return module[0] == "?" or not (module in analysis.lowering.objects or module in analysis.lowering.instances)


def _is_made_within(analysis: Analysis, loops: tuple[int, ...], module: Uid) -> bool:
    """Whether an unknown module got its name in a turn of a loop, or in a function that each turn calls: it may be another one."""
    loop = analysis.lowering.loop_nodes.get(loops[-1]) if loops else None
    if not isinstance(loop, (ast.For, ast.AsyncFor, ast.While)):
        return False
    rows = range(loop.lineno + 1, (loop.end_lineno or loop.lineno) + 1)
    path, frames = "/".join(module).removeprefix("?/").split("/"), analysis.lowering.frames
    own = analysis.source.of(loop.test if isinstance(loop, ast.While) else loop.iter).filename
    begin, home = 0, frames.get(("module",))
    for index, part in enumerate(path):
        if part == "module":  # The identity of an owner begins, which is one of its own.
            begin, home = index, frames.get(("module",))
        home = frames.get(tuple(path[begin:index]), home)
        # Rows of another file say nothing of the loop's.
        near = home is None or home.module.source.filename == own
        if near and any(int(row) in rows for row in _ROWS.findall(f"{part}/")):
            return True
    return False


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


def _remedy(
    analysis: Analysis, step: Event, lapsed: State, around: tuple[int, ...], *, restored: bool
) -> tuple[Location, Marks]:
    """Return where `train()` is missing: behind an evaluation amid an epoch that is `restored` later, else in the loop around."""
    begun, marks = lapsed.mark("eval"), (*lapsed.marks, ("step", step.place))
    if begun is not None and restored and around == step.loops:
        return begun, marks[1:]
    match analysis.lowering.loop_nodes.get(around[-1]) if around else None:
        case (ast.For(iter=last) | ast.AsyncFor(iter=last) | ast.While(test=last)) as loop:
            source = analysis.source.of(last)
            begin, end = source.place(loop), source.place(last)
            if begin.filename != step.place.filename:  # Whose loop it is knows nothing of modes.
                return step.place, lapsed.marks
            return replace(begin, end_row=end.end_row, end_column=end.end_column), marks
        case _:
            return step.place, lapsed.marks


def _around(analysis: Analysis, root: Root, step: Event, lapsed: State) -> tuple[int, ...]:
    """Return the loops around both an evaluation, where it is called closest to it, and the training that goes on in its mode."""
    return max((_common(each.loops, step.loops) for each in begun_by(analysis, root, lapsed)), key=len, default=())


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """Return the loops that two places share."""
    return tuple(mine for mine, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _only_outside(analysis: Analysis, root: Root, around: tuple[int, ...], restored: State) -> bool:
    """Whether `train()` stands outside of the loop that is `around` both `eval()` and the step."""
    back = restored.mark("train")
    events = [each for each in analysis.events[root] if each.place == back and each.kind is EventKind.TRAIN]
    return bool(around and events) and not any(each.is_in(around) for each in events)


def _ends_its_loop(analysis: Analysis, root: Root, around: tuple[int, ...], lapsed: State) -> bool:
    """Whether an evaluation stands in the last turn of the loop around it and the training: nothing is trained behind it there."""
    loop = analysis.lowering.loop_nodes.get(around[-1]) if around else None
    begun = begun_by(analysis, root, lapsed)
    return (
        loop is not None
        and bool(begun)
        and all(at_last(loop, _row_in(analysis, loop, each), tree_of(analysis, loop)) for each in begun)
    )


def _row_in(analysis: Analysis, loop: ast.AST, event: Event) -> int:
    """Return the row of a loop in which something happens, or the call of the function in which it does."""
    frame = analysis.lowering.frames.get(event.frame)
    calls = [getattr(call, "lineno", 0) for _, call in reversed(frame.callers)] if frame is not None else []
    first, last = getattr(loop, "lineno", 0), getattr(loop, "end_lineno", 0) or 0
    return next((row for row in (event.place.row, *calls) if first <= row <= last), 0)


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
        if event.kind is EventKind.STEP and not any(state.name in IN_EVALUATION for state in states)
    ]
    if not training:
        return
    for event, states in sorted(arrivals.items(), key=lambda item: item[0].place):
        if event.kind not in (EventKind.BACKWARD, EventKind.STEP) or event in training or "engine" in event.roles:
            continue
        if _is_for_others(analysis, root, event, owners):
            continue
        if all(state.name in IN_EVALUATION and state.mark("eval") for state in states) and _validates(
            analysis, root, event
        ):
            state = min(states, key=lambda each: each.marks)
            marks = (*((role, place) for role, place in state.marks if role == "eval"), ("training", training[0].place))
            what = "backward()" if event.kind is EventKind.BACKWARD else "step()"
            where = EVALUATING.format(_module_name(analysis, owners))
            yield compose("GL301", Side.STATIC, event.place, marks, what=what, where=where)
            return


def _is_for_others(analysis: Analysis, root: Root, event: Event, owners: frozenset[Uid]) -> bool:
    """Whether each turn of the loop around a backward pass steps, but nobody who trains the module: something else is fitted to it."""
    if event.kind is not EventKind.BACKWARD or not event.loops:
        return False
    steps = [each for each in analysis.ring(root, event.loops) if each.kind is EventKind.STEP]
    return bool(steps) and not any(owners & (each.targets or frozenset()) for each in steps)


def _module_name(analysis: Analysis, owners: frozenset[Uid]) -> str:
    trained = (module for module, found in analysis.trained_by.items() if found & owners)
    outermost = min(trained, key=lambda uid: (len(uid), uid), default=None)
    return "the model" if outermost is None else analysis.named(outermost)


def _validates(analysis: Analysis, root: Root, event: Event) -> bool:
    """Whether the innermost loop is over validation data, by its own words or a caller's, and nothing in it asks for the gradient of an input."""
    if any(DIFFERENTIATES.search(ast.unparse(function)) for function in analysis.called_for(event)):
        return False
    nodes = (analysis.lowering.loop_nodes.get(number) for number in reversed(event.loops))
    around = next((node for node in nodes if isinstance(node, (ast.For, ast.AsyncFor))), None)
    if around is None or ON_INPUTS.search(ast.unparse(around)):
        return around is None and is_validation_phase(event)
    told = _VALIDATION.search(ast.unparse(around.iter)) or _VALIDATION.search(event.name)
    return is_validation_phase(event) or bool(told) or is_over_validation(analysis, root, event)

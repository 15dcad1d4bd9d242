"""Optimizers that nothing in sight clears, where something out of sight has a part in the training: GL101, likely but not proven.

A function that runs backward and steps, but does neither in a loop, is made to be called for each batch: it is read as if it were called
twice. And whoever is shown the model, but not the optimizer, in a loop that runs backward and steps is taken not to clear where it is asked
for a value, unless its name says that it trains. It must not know what is certain (`optimizers`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Severity, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.protocols import OPTIMIZER
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.checks.updates.optimizers import judge
from gradlint.static.flow.following import breaches, follow
from gradlint.static.flow.roots import Root
from gradlint.static.flow.subjects import on_optimizer
from gradlint.static.flow.tree import Effect, Event, Node, Seq
from gradlint.static.lowering.attributes import SUSPECT
from gradlint.static.lowering.values import Kind, Object
from gradlint.wordings.updates import ALL_STEPS

_TRAINS = regex(
    rf"{SUSPECT.pattern}|engine|solver|algo|agent|attack|hook|callback|closure|prepare|init|wrap|call", re.IGNORECASE
)
"""Words in the name of a call for which it may do more with a model than run it."""
_COPIES = regex(
    r"(?:soft|hard|polyak|target|ema|average).*(?:update|sync|copy)|(?:update|sync|copy)_?(?:target|ema|average|state|weights)"
    r"|\b(?:load|save)\w*$"
)
"""What is called so gives the weights of a model to another one, or to a file."""


@check
def uncleared(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL101: an optimizer that was built in sight steps again and again, and nothing in sight clears it."""
    events = [event for found in analysis.events.values() for event in found]
    # Nearly every optimizer is cleared by its own name, or by its module's: the others are worth a closer look.
    cleared = {uid for event in analysis.all_of(EventKind.ZERO) for uid in event.targets or ()}
    for optimizer in analysis.objects(Kind.OPTIMIZER):
        if not optimizer.calls or optimizer.of is None or {optimizer.uid, *optimizer.of} & cleared:
            continue
        usual = on_optimizer(optimizer, analysis.lowering.objects)
        copies = _copies(analysis, events, usual)
        effect = _without(copies, usual)
        if _is_cleared(events, effect):
            continue
        shown = _shown(analysis, events, optimizer, effect)
        if shown is None:
            continue
        for root in analysis.roots:
            if not shown and isinstance(root.node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield from _twice(analysis, root, effect)
            if shown or copies:
                yield from _in_loops(analysis, root, optimizer, effect, shown)


def _copies(analysis: Analysis, events: list[Event], usual: Effect) -> frozenset[Event]:
    """Return what only copies the weights of a model, whoever does."""
    escapes = {event for event in events if event.kind is EventKind.ESCAPE and usual(event)}
    calls = ((event, _call_of(analysis, event)) for event in escapes)
    return frozenset(event for event, call in calls if call and _COPIES.search(ast.unparse(call.func).lower()))


def _without(left_out: frozenset[Event], usual: Effect) -> Effect:
    return lambda event: None if event in left_out else usual(event)


def _call_of(analysis: Analysis, event: Event) -> ast.Call | None:
    """Return the call of this file that an event is."""
    calls = analysis.calls_in(event.place.row) if event.place.filename == analysis.source.filename else ()
    return next((node for node in calls if analysis.source.place(node) == event.place), None)


def _is_cleared(events: list[Event], effect: Effect) -> bool:
    """Whether anything in sight clears or writes the gradients of an optimizer, or may do so."""
    return any(event.kind in (EventKind.ZERO, EventKind.SETGRAD) and effect(event) for event in events)


def _shown(analysis: Analysis, events: list[Event], optimizer: Object, effect: Effect) -> frozenset[Event] | None:
    """Return where somebody unknown gets the model; None if one of them may train it."""
    escapes = {event for event in events if event.kind is EventKind.ESCAPE and effect(event)}
    return frozenset(escapes) if all(_only_looks(analysis, optimizer, event) for event in escapes) else None


def _only_looks(analysis: Analysis, optimizer: Object, escape: Event) -> bool:
    """Whether a call is given the model and no optimizer, is asked for a value, and has a name that does not say that it trains."""
    targets = escape.targets
    kinds = {made.kind for uid in targets or () if (made := analysis.lowering.objects.get(uid)) is not None}
    if targets is None or kinds & {Kind.OPTIMIZER, Kind.ENGINE, Kind.SCALER} or optimizer.uid in targets:
        return False
    if escape.place.filename != analysis.source.filename:
        return False
    call = _call_of(analysis, escape)
    # Whoever is asked for no value is asked for what it does.
    acts = any(statement.value is call for statement in analysis.nodes(ast.Expr))
    return call is not None and not acts and not _TRAINS.search(ast.unparse(call.func))


# Called again ---------------------------------------------------------------------------------


def _twice(analysis: Analysis, root: Root, effect: Effect) -> Iterator[Diagnostic]:
    found = analysis.events[root]
    if any(event.kind is EventKind.CREATE and effect(event) for event in found):
        return
    steps = [event for event in dict.fromkeys(found) if event.kind is EventKind.STEP and effect(event)]
    if len(steps) == 1 and not steps[0].loops and "closure" not in steps[0].roles:
        yield from _told(Seq((root.bare, root.bare)), steps[0], effect)


# In a loop ------------------------------------------------------------------------------------


def _in_loops(
    analysis: Analysis, root: Root, optimizer: Object, effect: Effect, shown: frozenset[Event]
) -> Iterator[Diagnostic]:
    """Yield steps in loops, each of which is to find gradients of one batch, where nothing certain is told of the optimizer."""
    found = dict.fromkeys(analysis.events[root])
    stepped = (each for each in found if each.kind is EventKind.STEP and each.loops and effect(each))
    steps = [each for each in stepped if "closure" not in each.roles and analysis.declared(each.loops) <= 1]
    if not steps or (breaches(root.bare, OPTIMIZER, effect) if shown else any(judge(analysis, root, optimizer))):
        return
    for step in steps:
        yield from _told(root.bare, step, _without(shown, effect))


def _told(tree: Node, step: Event, effect: Effect) -> Iterator[Diagnostic]:
    """Yield a step if on all paths on which it comes again it finds what it has used before."""
    reached = follow(tree, OPTIMIZER, effect).get(step, ())
    again = {state for state in reached if state.mark("spent") is not None}
    if again and all(OPTIMIZER.broken_by(state, EventKind.STEP) == "GL101" for state in again):
        state = min(again, key=lambda each: each.marks)
        diagnostic = compose("GL101", Side.STATIC, step.place, state.marks, subject=step.name, steps=ALL_STEPS)
        yield replace(diagnostic, severity=Severity.WARNING)

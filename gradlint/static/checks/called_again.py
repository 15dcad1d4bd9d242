"""Steps of whoever is called again and again by code that is not in sight: GL101.

A function that runs backward and steps, but does neither in a loop, is made to be called for each batch. It knows an optimizer that was
built before the call, and is read as if it were called twice; it must not know loops, which tell by themselves (`optimizers`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Severity, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.protocols import OPTIMIZER
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.following import Effect, run
from gradlint.static.lowering import Root
from gradlint.static.subjects import on_optimizer
from gradlint.static.tree import Event, Seq
from gradlint.static.values import Kind, Object
from gradlint.typestate import State


@check
def called_again(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL101: a function steps an optimizer of its object, or of its module, that nothing ever clears."""
    for optimizer in analysis.objects(Kind.OPTIMIZER):
        effect = on_optimizer(optimizer, analysis.lowering.objects)
        if not optimizer.calls or optimizer.of is None or _is_cleared(analysis, effect):
            continue
        for root in analysis.roots:
            if isinstance(root.node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield from _twice(analysis, root, optimizer, effect)


def _is_cleared(analysis: Analysis, effect: Effect) -> bool:
    """Whether anything in sight clears the gradients of an optimizer, or may do so."""
    kinds = (EventKind.ZERO, EventKind.SETGRAD, EventKind.ESCAPE)
    return any(event.kind in kinds and effect(event) for found in analysis.events.values() for event in found)


def _twice(analysis: Analysis, root: Root, optimizer: Object, effect: Effect) -> Iterator[Diagnostic]:
    found = analysis.events[root]
    if any(event.kind is EventKind.CREATE and effect(event) for event in found):
        return
    steps = [event for event in dict.fromkeys(found) if event.kind is EventKind.STEP and effect(event)]
    if len(steps) != 1 or steps[0].loops or "closure" in steps[0].roles:
        return
    worlds = run(Seq((root.bare, root.bare)), OPTIMIZER, effect).worlds(steps[0])
    again = [world.state for world in worlds if world.state.mark("spent") is not None]
    if again and all(_is_stale(state, steps[0]) for state in again):
        state = min(again, key=lambda each: each.marks)
        diagnostic = compose("GL101", Side.STATIC, steps[0].place, state.marks, subject=steps[0].name)
        yield replace(diagnostic, severity=Severity.WARNING)


def _is_stale(state: State, step: Event) -> bool:
    violation = OPTIMIZER.advance(state, EventKind.STEP, step.place)[1]
    return violation is not None and violation.code == "GL101"

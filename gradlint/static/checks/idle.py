"""Optimizers that never step while gradients are computed for them: GL106.

It knows events and who owns whom; it must not know the order of clearing and stepping.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.kinship import overlap, touches
from gradlint.static.subjects import on_optimizer
from gradlint.static.tree import Event, Uid
from gradlint.static.values import Kind, Object


@check
def never_stepped(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL106: the loop clears an optimizer and runs backward, but the optimizer never steps."""
    lowering = analysis.lowering
    for optimizer in analysis.objects(Kind.OPTIMIZER):
        hidden = optimizer.uid in lowering.escaped | analysis.stepped or not analysis.private(optimizer)
        if hidden or optimizer.origin == "" or any(touched in lowering.escaped for touched in optimizer.of or ()):
            continue
        if _is_stepped_by_another(analysis, optimizer):
            continue
        for root in analysis.roots:
            found = analysis.events[root]
            if any(event.kind is EventKind.CREATE and optimizer.uid in (event.targets or ()) for event in found):
                yield from _unused(analysis, optimizer, found) or _left_out(analysis, optimizer, found)


def _is_stepped_by_another(analysis: Analysis, optimizer: Object) -> bool:
    """Whether an optimizer that steps owns all of the same modules, as where a property builds one at each use."""
    owned = {
        uid for other in analysis.objects(Kind.OPTIMIZER) if other.uid in analysis.stepped for uid in other.of or ()
    }
    return bool(optimizer.of) and owned.issuperset(optimizer.of or ())


def _unused(analysis: Analysis, optimizer: Object, found: list[Event]) -> list[Diagnostic]:
    effect = on_optimizer(optimizer, analysis.lowering.objects)
    owned = optimizer.of or ()
    if any(event.kind is EventKind.HAND_STEP and (not owned or touches(event, owned)) for event in found):
        return []
    cleared = [event for event in found if event.kind is EventKind.ZERO and effect(event) is EventKind.ZERO]
    # In a function that reads them the gradients are for an attack or a statistic, not for an update.
    cleared = [zero for zero in cleared if not any(map(_reads_gradients, analysis.called_for(zero)))]
    for event in found:
        if event.kind is not EventKind.BACKWARD or not event.loops or "engine" in event.roles:
            continue
        if _reads_gradients(analysis.lowering.loop_nodes.get(event.loops[-1])):
            continue
        name = next((zero.name for zero in cleared if zero.loops == event.loops and "module" not in zero.roles), None)
        if name is not None:
            return [compose("GL106", Side.STATIC, event.place, subject=name)]
    return []


def _left_out(analysis: Analysis, optimizer: Object, found: list[Event]) -> list[Diagnostic]:
    """Return the finding about the optimizer of one of two models that a loop runs, where only that of the other one steps."""
    effect, owned = on_optimizer(optimizer, analysis.lowering.objects), optimizer.of or frozenset()
    for event in found:
        # A function that was not given the optimizer is another rule's.
        here = event.kind is EventKind.BACKWARD and bool(event.loops) and event.frame == optimizer.uid[:-1]
        if not here or effect(event) is not EventKind.BACKWARD:
            continue
        ring = [other for other in found if other.is_in(event.loops)]
        others = _stepped_in(analysis, ring)
        cleared = any(effect(other) is EventKind.ZERO for other in ring)
        if others and not cleared and _runs(ring, owned) and not any(overlap(a, b) for a in others for b in owned):
            return [compose("GL106", Side.STATIC, event.place, subject=optimizer.uid[-1].partition("#")[0])]
    return []


def _stepped_in(analysis: Analysis, ring: list[Event]) -> frozenset[Uid]:
    """Return the models that a loop runs and whose optimizers it steps (none: not all of those are known)."""
    stepped = {uid for event in ring if event.kind is EventKind.STEP for uid in event.targets or ()}
    owned = [made.of for made in analysis.objects(Kind.OPTIMIZER) if made.uid in stepped]
    if not owned or any(not each or not _runs(ring, each) for each in owned):
        return frozenset()
    return frozenset(module for each in owned for module in each or ())


def _runs(ring: list[Event], modules: frozenset[Uid]) -> bool:
    """Whether a loop runs one of these modules with gradients on."""
    return any(event.kind is EventKind.FORWARD and "grad" in event.roles and touches(event, modules) for event in ring)


def _reads_gradients(code: ast.AST | None) -> bool:
    """Whether a loop or a function uses the gradients itself: it computes a statistic, not an update."""
    return code is None or any(isinstance(node, ast.Attribute) and node.attr == "grad" for node in ast.walk(code))

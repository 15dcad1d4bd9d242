"""Clipping in front of a step whose closure computes the gradients anew: GL602.

It knows what a closure does first; it must not know in which states gradients are (`clipping`).
"""

from __future__ import annotations

from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.checks.scaling.clipping import concerns
from gradlint.static.flow.subjects import MANY_EVALUATIONS, on_optimizer
from gradlint.static.flow.tree import Call, Effect, Event, Node, Seq
from gradlint.static.lowering.actions import Step

_STEPS = (EventKind.STEP, EventKind.OTHER_STEP)


@check
def clipped_before_closure(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL602: `clip_grad_norm_(...)` and then `optimizer.step(closure)`, whose closure clears the gradients before all else."""
    for step in analysis.lowering.steps:
        if step.body is None or step.optimizer.origin not in MANY_EVALUATIONS:
            continue
        effect = on_optimizer(step.optimizer, analysis.lowering.objects)
        if _clears_first(step.body, effect):
            for event in _in_front(analysis, step):
                what = f"the gradients of `{event.name}` are clipped before the closure of `{step.spelled}` clears them and computes others: no update is bounded"
                when = "in the closure, after `backward()`"
                yield compose("GL602", Side.STATIC, event.place, what=what, when=when)


def _clears_first(body: Seq, effect: Effect) -> bool:
    """Whether the first thing that a closure does to the gradients of its optimizer, whatever happens, is to clear them."""
    for event in _straight(body):
        kind = None if event is None else effect(event)
        if event is None or kind is not None:
            return kind is EventKind.ZERO
    return False


def _straight(node: Node) -> Iterator[Event | None]:
    """Yield the events of a tree as long as no condition and no loop comes between; then None."""
    match node:
        case Seq(items):
            for item in items:
                yield from _straight(item)
        case Call(body):
            yield from _straight(body)
        case Event():
            yield node
        case _:
            yield None


def _in_front(analysis: Analysis, step: Step) -> Iterator[Event]:
    """Yield what the same turn of the same function clips of an optimizer's gradients between its last step and this one."""
    place = analysis.source.place(step.node)
    for found in analysis.events.values():
        at = next((index for index, each in enumerate(found) if each.kind in _STEPS and each.place == place), None)
        for event in reversed(found[:at] if at is not None else []):
            if event.kind in _STEPS:
                break
            same = event.frame == found[at or 0].frame and event.loops == found[at or 0].loops
            if same and event.kind is EventKind.CLIP and concerns(analysis, event, step.optimizer):
                yield event

"""Schedules that are as long as one epoch and stepped in several: GL213."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.facts.cadence import conditional, over_batches, sources_of, turns
from gradlint.static.facts.counts import Count, Counts
from gradlint.static.facts.schedules import class_of
from gradlint.static.flow.roots import Root
from gradlint.static.flow.tree import Event
from gradlint.static.lowering.values import Const, Kind, Object
from gradlint.static.syntax.nodes import spelled

_ENDS = {
    "OneCycleLR": (2, "total_steps", "torch raises ValueError"),
    "PolynomialLR": (1, "total_iters", "the learning rate is 0 and nothing is trained"),
    "get_linear_schedule_with_warmup": (2, "num_training_steps", "the learning rate is 0 and nothing is trained"),
    "get_cosine_schedule_with_warmup": (2, "num_training_steps", "the learning rate rises again"),
}
"""Where schedules have their lengths, and what comes after."""


@check
def one_epoch_long(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL213: the length of a schedule is the number of batches of one epoch, and it is stepped in all of them."""
    counts = Counts(analysis, literals=True)
    for scheduler in analysis.objects(Kind.SCHEDULER):
        if len(scheduler.calls) != 1 or class_of(scheduler) not in _ENDS or scheduler.uid in analysis.lowering.prepared:
            continue
        for root in analysis.roots:
            for event in dict.fromkeys(analysis.events[root]):
                if event.kind is EventKind.SCHEDULE and event.targets == frozenset({scheduler.uid}):
                    yield from _too_short(analysis, counts, root, scheduler, event)


def _too_short(analysis: Analysis, counts: Counts, root: Root, scheduler: Object, event: Event) -> Iterator[Diagnostic]:
    position, name, after = _ENDS[class_of(scheduler)]
    (call,) = scheduler.calls
    written, loops = call.expression(position, name), _loops_since(analysis, root, scheduler, event)
    if written is None or len(loops) != 2 or "argument" in event.roles or not over_batches(analysis, loops[1]):
        return
    bound = turns(analysis, loops[0])
    if bound is None or (isinstance(bound[0], Const) and bound[0].value in (0, 1)):
        return
    batches, windowed = _batches(analysis, loops[1]), conditional(root.bare, event, loops[1])
    lengths = counts.of(written, call.scope, call.callers)
    if lengths and all(_is_one_epoch(length, batches, windowed) for length in lengths):
        epochs = ast.unparse(bound[1])
        what = f"is stepped in each of {epochs} epochs, but its schedule is as long as one of them: after the first, {after}"
        marks = (("built", scheduler.place),)
        yield compose("GL213", Side.STATIC, event.place, marks, subject=event.name, what=what)


def _loops_since(analysis: Analysis, root: Root, scheduler: Object, event: Event) -> tuple[int, ...]:
    """Return the loops around a step of a scheduler inside of those in which it is built."""
    for each in analysis.events[root]:
        if each.kind is EventKind.CREATE and scheduler.uid in (each.targets or ()):
            return event.loops[len(each.loops) :] if event.is_in(each.loops) else ()
    return ()


def _batches(analysis: Analysis, loop: int) -> frozenset[str]:
    """Return what a loop over batches runs over, as it is written."""
    node = analysis.lowering.loop_nodes.get(loop)
    sources = sources_of(node.iter) if isinstance(node, (ast.For, ast.AsyncFor)) else ()
    return frozenset(spelled(source) for source in sources if isinstance(source, (ast.Name, ast.Attribute)))


def _is_one_epoch(length: Count, batches: frozenset[str], windowed: bool) -> bool:
    """Whether a length is the number of batches of a loader, or where only some of them step, of a part of them."""
    above = [(factor, power) for factor, power in length.powers if power > 0]
    match above:
        case [(factor, 1)]:
            return factor.is_length and factor.spelled in batches and bool(length.below) is windowed
        case _:
            return False

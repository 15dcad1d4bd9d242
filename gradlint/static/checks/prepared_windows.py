"""Schedules that Accelerate does not hold back until a window ends: GL212."""

from __future__ import annotations

from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.counts import Count, Counts
from gradlint.static.lowering import Root
from gradlint.static.prepared import ACCELERATORS
from gradlint.static.schedules import class_of, lengths_of
from gradlint.static.tree import Event, Uid
from gradlint.static.values import Kind, Object
from gradlint.static.windows import Paths


@check
def not_held_back(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL212: a scheduler that is not prepared moves on with every batch, and its length counts the updates of a window."""
    lowering = analysis.lowering
    accelerators = [made for made in analysis.objects(Kind.ENGINE) if made.origin in ACCELERATORS]
    if not any(made.uid in lowering.windows for made in accelerators):
        return
    counts = Counts(analysis)
    for scheduler in analysis.objects(Kind.SCHEDULER):
        owners = {lowering.prepared.get(uid) for uid in scheduler.of or ()}
        mine = [made for made in accelerators if {made.uid} == owners and made.uid in lowering.windows]
        if scheduler.uid in lowering.prepared or scheduler.uid in lowering.escaped or not mine:
            continue
        if scheduler.calls and _counts_updates(counts, scheduler, mine[0]):
            for root in analysis.roots:
                yield from _in_each_batch(analysis, root, scheduler)


def _counts_updates(counts: Counts, scheduler: Object, accelerator: Object) -> bool:
    """Whether the lengths of a schedule are divided by the number of batches that an accelerator accumulates."""
    windows = [
        made_of
        for call in accelerator.calls
        for written in [call.expression(3, "gradient_accumulation_steps")]
        for made_of in (counts.of(written, call.scope, call.callers) if written is not None else ())
    ]
    lengths = [
        count
        for call in scheduler.calls
        for written in lengths_of(class_of(scheduler), call)
        for count in counts.of(written, call.scope, call.callers)
    ]
    return len(windows) == 1 and any(_is_divided(length, windows[0]) for length in lengths)


def _is_divided(length: Count, window: Count) -> bool:
    counted = any(factor.is_length for factor in length.above)
    return counted and bool(window.above) and not window.below and window.above <= length.below


def _in_each_batch(analysis: Analysis, root: Root, scheduler: Object) -> Iterator[Diagnostic]:
    steps = [event for event in analysis.events[root] if _is_step(event, scheduler.of or frozenset())]
    paths = Paths()
    if steps:
        paths.read(root.tree)
    for event in dict.fromkeys(analysis.events[root]):
        beside = [step for step in steps if step.loops == event.loops and event.loops]
        mine = event.kind is EventKind.SCHEDULE and scheduler.uid in (event.targets or ())
        if mine and beside and "argument" not in event.roles and _is_always(paths, event):
            marks = (("built", scheduler.place), ("step", beside[0].place))
            other = beside[0].name
            yield compose("GL212", Side.STATIC, event.place, marks, subject=event.name, other=other)


def _is_step(event: Event, owners: frozenset[Uid]) -> bool:
    held = event.kind is EventKind.STEP and "window" in event.roles
    return held and bool((event.targets or frozenset()) & owners)


def _is_always(paths: Paths, event: Event) -> bool:
    """Whether an event happens in each turn of its loop: no condition that changes stands before it."""
    loop = event.loops[-1]
    return not any(paths.changes(atom, loop) for guard in paths.guards(event, loop) for atom in guard.atoms)

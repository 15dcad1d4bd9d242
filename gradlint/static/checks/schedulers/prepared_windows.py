"""Schedules that Accelerate does not hold back until a window ends, or that do not know that it does: GL204 and GL212."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Severity, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.facts.counts import Count, Counts
from gradlint.static.facts.guards import Paths, paths_of
from gradlint.static.facts.prepared import ACCELERATORS, splits
from gradlint.static.facts.schedules import class_of, lengths_of
from gradlint.static.flow.roots import Root
from gradlint.static.flow.tree import Event, Uid
from gradlint.static.lowering.values import Kind, Object


@check
def not_held_back(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL212: a scheduler that is not prepared moves on with every batch, and its length counts the updates of a window."""
    lowering = analysis.lowering
    accelerators = [made for made in analysis.objects(Kind.ENGINE) if made.origin in ACCELERATORS]
    if not any(made.uid in lowering.windows for made in accelerators):
        return
    counts = analysis.kept(Counts)
    for scheduler in analysis.objects(Kind.SCHEDULER):
        owners = {lowering.prepared.get(uid) for uid in scheduler.of or ()}
        mine = [made for made in accelerators if {made.uid} == owners and made.uid in lowering.windows]
        if scheduler.uid in lowering.prepared or scheduler.uid in lowering.escaped or not mine:
            continue
        if scheduler.calls and _counts_updates(counts, scheduler, mine[0]):
            for root in analysis.roots:
                yield from _in_each_batch(analysis, root, scheduler)


@check
def held_back(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL204: a prepared scheduler moves on once in a window, and its length is multiplied by that of the window."""
    lowering = analysis.lowering
    counts = analysis.kept(Counts)
    for scheduler in analysis.objects(Kind.SCHEDULER):
        owner = lowering.prepared.get(scheduler.uid)
        accelerator = lowering.objects.get(owner) if owner in lowering.windows and owner is not None else None
        if accelerator is None or not splits(accelerator) or scheduler.uid not in analysis.stepped:
            continue
        windows, lengths = _windows(counts, accelerator), _lengths(counts, scheduler)
        if len(windows) == 1 and any(_is_multiple(length, windows[0]) for length in lengths):
            (factor,) = windows[0].above
            told, name = factor.spelled, scheduler.uid[-1].partition("#")[0]
            how, way = f"`{told}` batches", f"updates: do not multiply by `{told}`"
            cls = class_of(scheduler)
            found = compose("GL204", Side.STATIC, scheduler.place, subject=name, cls=cls, how=how, way=way)
            # Nothing is wrong where nobody accumulates.
            yield replace(found, severity=Severity.WARNING)


def _is_multiple(length: Count, window: Count) -> bool:
    return len(window.above) == 1 and not window.below and window.above <= length.above


def _windows(counts: Counts, accelerator: Object) -> list[Count]:
    """Return what the number of batches that an accelerator accumulates is made of."""
    return [
        made_of
        for call in accelerator.calls
        for written in [call.expression(3, "gradient_accumulation_steps")]
        for made_of in (counts.of(written, call.scope, call.callers) if written is not None else ())
    ]


def _lengths(counts: Counts, scheduler: Object) -> list[Count]:
    """Return what the length of a schedule is made of; that of its warm-up stands before it."""
    return [
        count
        for call in scheduler.calls
        for written in list(lengths_of(class_of(scheduler), call))[-1:]
        for count in counts.of(written, call.scope, call.callers)
    ]


def _counts_updates(counts: Counts, scheduler: Object, accelerator: Object) -> bool:
    """Whether the lengths of a schedule are divided by the number of batches that an accelerator accumulates."""
    windows, lengths = _windows(counts, accelerator), _lengths(counts, scheduler)
    return len(windows) == 1 and any(_is_divided(length, windows[0]) for length in lengths)


def _is_divided(length: Count, window: Count) -> bool:
    counted = any(factor.is_length for factor in length.above)
    return counted and bool(window.above) and not window.below and window.above <= length.below


def _in_each_batch(analysis: Analysis, root: Root, scheduler: Object) -> Iterator[Diagnostic]:
    steps = [event for event in analysis.events[root] if _is_step(event, scheduler.of or frozenset())]
    paths = paths_of(analysis, root) if steps else Paths()
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

"""Windows of accumulated batches: GL701, GL702, GL703, GL705 and GL212."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Location, Severity, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.facts.averages import Means
from gradlint.static.facts.cadence import counts_updates, first_turn
from gradlint.static.facts.guards import Guard
from gradlint.static.facts.tallies import counted_from
from gradlint.static.facts.windows import Window, windows
from gradlint.static.flow.subjects import clips, on_optimizer
from gradlint.static.flow.tree import Event
from gradlint.static.lowering.values import Kind, Object
from gradlint.typestate import State

_SCALELESS = frozenset(["Adam", "AdamW", "Adamax", "NAdam", "RAdam", "Adagrad", "Adadelta", "RMSprop", "AdamW8bit"])
"""Optimizers to which the scale of the gradients is all one, as long as nobody clips them."""


@check
def accumulation(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL701, GL702, GL703, GL705 and GL212: what does not fit the window in which gradients are accumulated."""
    means = Means(analysis)
    for window in windows(analysis):
        if not window.accumulates:
            yield from _cleared_each_turn(analysis, window)
            continue
        yield from _undivided(means, window)
        yield from _one_turn_early(analysis, window)
        yield from _clipped_each_turn(window)
        yield from _scheduled_each_turn(analysis, window)


def _cleared_each_turn(analysis: Analysis, window: Window) -> Iterator[Diagnostic]:
    """GL701: every turn throws away what the turns before it have computed for the step."""
    effect = on_optimizer(window.optimizer, analysis.lowering.objects)
    own = {event.place for event in window.backwards}
    for event in dict.fromkeys(window.ring):
        if effect(event) is EventKind.ZERO and window.each_turn(event):
            lost = [state for state in window.arrivals.get(event, ()) if _fresh_from(state, own)]
            if lost:
                marks = (*min(state.marks for state in lost), ("step", window.step.place))
                yield compose("GL701", Side.STATIC, event.place, marks, subject=event.name, step=window.step.name)
                return


def _fresh_from(state: State, places: set[Location]) -> bool:
    return state.name == "fresh" and state.mark("fresh") in places


def _undivided(means: Means, window: Window) -> Iterator[Diagnostic]:
    """GL702: the sum of the batches' mean losses is as many times too large as a window has batches."""
    if scale_matters(window.optimizer, window.ring) and all(map(means.starts, window.backwards)):
        found = window.backwards[0]
        marks = (("step", window.step.place),)
        yield compose(
            "GL702", Side.STATIC, found.place, marks, subject=window.step.name, loss=found.name, times=_length(window)
        )


def scale_matters(optimizer: Object, ring: Iterable[Event]) -> bool:
    """Whether a factor on the gradients changes the updates of an optimizer, and nobody in the loop `ring` corrects it."""
    kinds = {event.kind for event in ring}
    origin = optimizer.origin.rpartition(".")[2]
    edited = kinds & {EventKind.EDIT, EventKind.SETGRAD}
    return bool(origin) and not edited and (origin not in _SCALELESS or EventKind.CLIP in kinds)


def _length(window: Window) -> str:
    cycle = window.end.cycle if window.end is not None else None
    return str(cycle.turns) if cycle is not None and cycle.turns is not None else "several"


def _one_turn_early(analysis: Analysis, window: Window) -> Iterator[Diagnostic]:
    """GL703: the counter begins at a multiple of the length, so that the first window has one batch."""
    cycle = window.end.cycle if window.end else None
    begins = first_turn(analysis.lowering.loop_nodes.get(window.loop))
    if cycle is None or cycle.offset is None:
        return
    once = begins is None or not cycle.counter.endswith(f"/{begins[0]}")
    first = counted_from(analysis, window.step, cycle.counter) if once or begins is None else begins[1]
    if first is None:
        return
    begin = first + cycle.offset
    early = begin % cycle.turns == 0 if cycle.turns else begin == 0
    after = window.ring.index(window.backwards[-1]) < window.ring.index(window.step)
    if early and after and not _excused(window, cycle.counter):
        what = f"the counter starts at 0, so that `{window.step.name}` steps after the first batch already, not after "
        flushed = _steps_at_the_end(analysis, window, cycle.counter)
        what += f"{_length(window)} batches: " + (_ONCE if once else _of_passes(analysis, window, flushed=flushed))
        remedy = "count from one, `(i + 1) % steps == 0`"
        remedy += "" if flushed else ", and step once more after the loop for what is left"
        marks = (("fresh", window.backwards[-1].place),)
        found = compose("GL703", Side.STATIC, window.step.place, marks, what=what, remedy=remedy)
        yield replace(found, severity=Severity.INFO) if once else found


_BEGINS = "each pass begins with an update from a single batch"
_DROPS = ", and ends with batches that no update has used"
_CARRIES = (
    "the first update comes from a single batch, and what a pass leaves over goes into the first update of the next one"
)
_ONCE = "training begins with an update from a single batch, which is a part of what the others are"


def _of_passes(analysis: Analysis, window: Window, *, flushed: bool) -> str:
    """Return what becomes of the batches of a pass that begins one turn early."""
    effect = on_optimizer(window.optimizer, analysis.lowering.objects)
    dropped = any(effect(event) is EventKind.ZERO for event in _between_passes(analysis, window))
    if dropped and not flushed:
        return _BEGINS + _DROPS
    return _BEGINS if flushed or len(window.step.loops) == 1 else _CARRIES


def _steps_at_the_end(analysis: Analysis, window: Window, counter: str) -> bool:
    """Whether a pass that is not over with a window steps all the same: in another turn as well, or behind the loop."""
    if any(counter in atom.ids for atom in window.guard.atoms if atom != window.end):
        return True
    behind = (event for event in _between_passes(analysis, window) if event.place > window.step.place)
    return any(event.kind is EventKind.STEP and window.optimizer.uid in (event.targets or ()) for event in behind)


def _between_passes(analysis: Analysis, window: Window) -> list[Event]:
    """Return what happens around the loop of the batches, as often as this is run through."""
    around = window.step.loops[:-1]
    found = (each for each in analysis.events.values() if window.step in each)
    return [event for each in found for event in each if event.loops == around]


def _excused(window: Window, counter: str) -> bool:
    """Whether something else is asked of the counter before the step: the first turn may be left out."""
    needs = window.guard.needs
    others = (needed for needed in needs if needed != window.end) if window.end in needs else ()
    return any(counter in atom.ids for needed in others for atom in Guard(needed, True).atoms)


def _clipped_each_turn(window: Window) -> Iterator[Diagnostic]:
    """GL705: gradients are bounded before they are complete."""
    if any(event.kind is EventKind.UNSCALE and window.each_turn(event) for event in window.ring):
        # Unscaling in each turn raises: that is another rule's finding.
        return
    begin = window.ring.index(window.backwards[0])
    for event in window.ring[begin:]:
        if event.kind is EventKind.CLIP and clips(event, window.optimizer) and window.each_turn(event):
            marks = (("step", window.step.place),)
            yield compose(
                "GL705",
                Side.STATIC,
                event.place,
                marks,
                clipped=event.name,
                subject=window.step.name,
                when="under the same condition",
            )
            return


def _scheduled_each_turn(analysis: Analysis, window: Window) -> Iterator[Diagnostic]:
    """GL212: a schedule whose length counts updates moves on with every batch."""
    cycle = window.end.cycle if window.end is not None else None
    for scheduler in analysis.objects(Kind.SCHEDULER) if cycle is not None else ():
        mine = window.optimizer.uid in (scheduler.of or ()) and scheduler.uid not in analysis.lowering.prepared
        event = next((each for each in window.ring if _schedules(each, scheduler) and window.each_turn(each)), None)
        if mine and cycle is not None and event is not None and _in_updates(analysis, scheduler, cycle.length):
            marks = (("built", scheduler.place), ("step", window.step.place))
            other = window.step.name
            yield compose("GL212", Side.STATIC, event.place, marks, subject=event.name, other=other)


def _schedules(event: Event, scheduler: Object) -> bool:
    mine = event.kind is EventKind.SCHEDULE and scheduler.uid in (event.targets or ())
    return mine and "argument" not in event.roles


def _in_updates(analysis: Analysis, scheduler: Object, length: str) -> bool:
    """Whether a schedule is built for a number of updates, not of batches."""
    return bool(scheduler.calls) and all(
        any(counts_updates(analysis, given, call.scope, length) for given in _given(call.node))
        for call in scheduler.calls
    )


def _given(call: ast.Call) -> Iterator[ast.expr]:
    yield from call.args[1:]
    yield from (keyword.value for keyword in call.keywords)

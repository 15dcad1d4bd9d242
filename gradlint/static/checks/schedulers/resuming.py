"""Schedules of a run that goes on where it was stopped: GL217."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Location, Severity, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.facts.schedules import class_of
from gradlint.static.lowering.notes import StateCall
from gradlint.static.lowering.values import UNKNOWN, Instance, Kind, Object, Value, const

_BEGINS = frozenset(["OneCycleLR", "CyclicLR", "LambdaLR", "CosineAnnealingWarmRestarts"])
"""Schedulers that set the first rate of their schedule when they are built, and compute each later one from their own state."""
_SCALES = frozenset(["LinearLR", "ConstantLR", "SequentialLR"])
"""Schedulers that do so and compute each later rate from the one before."""
_TORCHS = "torch.optim.lr_scheduler."


@check
def restored_too_early(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL217: a schedule that begins anew over a restored optimizer, or that is told where it stands before it can know."""
    states = analysis.lowering.states
    for scheduler in analysis.objects(Kind.SCHEDULER):
        if scheduler.origin.startswith(_TORCHS) and len(scheduler.calls) == 1:
            yield from _rewritten(analysis, scheduler, states)
            yield from _never_restored(analysis, scheduler, states)
            yield from _without_first_rate(analysis, scheduler, states)


def _rewritten(analysis: Analysis, scheduler: Object, states: list[StateCall]) -> Iterator[Diagnostic]:
    """The scheduler is built after its optimizer was restored, and restored itself: the rate is that of a new run."""
    name, restored = class_of(scheduler), analysis.lowering.restored.get(scheduler.uid)
    resumed = _calls(states, "load_state_dict", scheduler)
    if not resumed and restored is not None and not _moved_alone(analysis, scheduler):
        resumed = _told_where(analysis, scheduler)
    if restored is None or not resumed or name not in _BEGINS | _SCALES or "last_epoch" in scheduler.calls[0].named:
        return
    lasting = name in _SCALES
    effect = "every later rate is computed from it" if lasting else "it lasts until the scheduler is stepped"
    what = f"`{name}` writes the first rate of its schedule over the one that was just restored: {effect}"
    marks = (("restored", restored), ("resumed", resumed[0]))
    remedy = "build the scheduler before `optimizer.load_state_dict(...)`"
    found = compose("GL217", Side.STATIC, scheduler.place, marks, what=what, remedy=remedy)
    yield found if lasting else replace(found, severity=Severity.WARNING)


def _told_where(analysis: Analysis, scheduler: Object) -> list[Location]:
    """Return where a schedule is told by hand where it stands."""
    return [
        analysis.source.place(node)
        for node in analysis.nodes(ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Attribute)
        and target.attr == "last_epoch"
        and not isinstance(node.value, ast.Constant)
        if analysis.value(target.value) == scheduler
    ]


def _never_restored(analysis: Analysis, scheduler: Object, states: list[StateCall]) -> Iterator[Diagnostic]:
    """The state of a schedule is saved, that of its optimizer restored, and its own is not."""
    owners = scheduler.of or frozenset()
    saved = _calls(states, "state_dict", scheduler)
    loads = [call for call in states if call.name == "load_state_dict"]
    restored = [call.place for call in loads if isinstance(call.owner, Object) and call.owner.uid in owners]
    others = [call for call in loads if not _is_known(call.owner) or _is_scheduler(call.owner)]
    if saved and restored and not others and not _wound_forward(analysis, scheduler):
        what = f"the state of this `{class_of(scheduler)}` is saved but never restored: a run that goes on begins its schedule anew"
        remedy = "restore it together with the optimizer: `scheduler.load_state_dict(...)`"
        marks = (("saved", saved[0]), ("restored", restored[0]))
        yield compose("GL217", Side.STATIC, scheduler.place, marks, what=what, remedy=remedy)


def _is_known(owner: Value) -> bool:
    return isinstance(owner, (Object, Instance))


def _is_scheduler(owner: Value) -> bool:
    return isinstance(owner, Object) and owner.kind is Kind.SCHEDULER


def _wound_forward(analysis: Analysis, scheduler: Object) -> bool:
    """Whether a schedule may be brought to where it stood in another way."""
    words = ("last_epoch", "load_state(", "_step_count")
    return any(word in analysis.source.text for word in words) or _moved_alone(analysis, scheduler)


def _moved_alone(analysis: Analysis, scheduler: Object) -> bool:
    """Whether a schedule moves on somewhere without its optimizer, or to where it is told to."""
    for found in analysis.events.values():
        for event in found:
            if event.kind is EventKind.SCHEDULE and scheduler.uid in (event.targets or ()):
                steps = [each for each in found if each.is_in(event.loops) and each.kind is EventKind.STEP]
                apart = not event.loops and all(each.loops for each in steps)
                if "argument" in event.roles or not steps or apart:
                    return True
    return False


def _without_first_rate(analysis: Analysis, scheduler: Object, states: list[StateCall]) -> Iterator[Diagnostic]:
    """A new optimizer is scheduled from the middle: nobody has told it the first rate."""
    (call,), epoch = scheduler.calls, const(scheduler.calls[0].named.get("last_epoch", UNKNOWN))
    optimizers = [analysis.lowering.objects.get(uid) for uid in scheduler.of or ()]
    new = all(each is not None and each.origin.startswith("torch.optim.") and each.calls for each in optimizers)
    if not isinstance(epoch, int) or epoch < 0 or "initial_lr" in analysis.source.text or not optimizers or not new:
        return
    if scheduler.uid not in analysis.lowering.restored and not _escaped_load(states, scheduler):
        what = f"`last_epoch={epoch}` asks for the `initial_lr` of each group, which a new optimizer does not have: torch raises KeyError"
        remedy = "restore the optimizer first: `optimizer.load_state_dict(...)`"
        yield compose("GL217", Side.STATIC, analysis.source.place(call.node), what=what, remedy=remedy)


def _escaped_load(states: list[StateCall], scheduler: Object) -> bool:
    """Whether somebody unknown is restored, who may be the optimizer."""
    loads = (call for call in states if call.name == "load_state_dict" and call.place < scheduler.place)
    return any(not isinstance(call.owner, Object) for call in loads)


def _calls(states: list[StateCall], name: str, scheduler: Object) -> list[Location]:
    return [
        call.place
        for call in states
        if call.name == name and isinstance(call.owner, Object) and call.owner.uid == scheduler.uid
    ]

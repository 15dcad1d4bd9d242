"""Schedulers stepped in the wrong loop: GL203 and GL204."""

from __future__ import annotations

from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.cadence import conditional, in_batches, over_batches, same_count, turns
from gradlint.static.checks import check
from gradlint.static.lowering import Root
from gradlint.static.tree import Event, Uid
from gradlint.static.values import Const, Construction, Items, Kind, Object

_FEW = 50
"""Nobody counts a decay in so few batches (a literal step size, patience or milestone)."""
_SLOW = 0.95
"""A factor below this, applied a hundred times, leaves nothing of a learning rate."""
_CYCLE = 2000
"""Half a period of CyclicLR, unless it is told otherwise."""


def _class(scheduler: Object) -> str:
    return scheduler.origin.rpartition(".")[2]


@check
def per_batch(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL203: a schedule that counts epochs moves on with every batch."""
    for root, scheduler, event in _scheduled(analysis):
        if len(event.loops) < 2 or not over_batches(analysis, event.loops[-1]):
            continue
        epochs, batches = event.loops[-2:]
        older = _outlives(analysis, scheduler, epochs)
        steps = any(step.loops == event.loops for step in _steps(analysis, root, scheduler))
        if not older or not steps or conditional(root.tree, event, batches):
            continue
        if all(_counts_epochs(analysis, scheduler, call, epochs) for call in scheduler.calls):
            marks = (("built", scheduler.place),)
            yield compose("GL203", Side.STATIC, event.place, marks, subject=event.name, cls=_class(scheduler))


@check
def per_epoch(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL204: a schedule that counts batches moves on once per epoch."""
    for root, scheduler, event in _scheduled(analysis):
        if not event.loops or over_batches(analysis, event.loops[-1]):
            continue
        depth, epochs = len(event.loops), event.loops[-1]
        inner = {
            step.loops[depth]
            for step in _steps(analysis, root, scheduler)
            if step.loops[:depth] == event.loops and len(step.loops) > depth
        }
        deeper = any(
            other.kind is EventKind.SCHEDULE and scheduler.uid in (other.targets or ()) and other.loops != event.loops
            for other in analysis.events[root]
        )
        if deeper or not any(over_batches(analysis, number) for number in inner):
            continue
        if _outlives(analysis, scheduler, epochs) and all(
            _counts_batches(analysis, scheduler, call, epochs) for call in scheduler.calls
        ):
            marks = (("built", scheduler.place),)
            yield compose("GL204", Side.STATIC, event.place, marks, subject=event.name, cls=_class(scheduler))


def _scheduled(analysis: Analysis) -> Iterator[tuple[Root, Object, Event]]:
    """Yield the places where a scheduler of a known optimizer is stepped without an argument for the epoch."""
    for scheduler in analysis.objects(Kind.SCHEDULER):
        if scheduler.of is None or not scheduler.calls:
            continue
        plateau = _class(scheduler) == "ReduceLROnPlateau"
        for root in analysis.roots:
            for event in analysis.events[root]:
                mine = event.kind is EventKind.SCHEDULE and scheduler.uid in (event.targets or ())
                if mine and (plateau or "argument" not in event.roles):
                    yield root, scheduler, event


def _steps(analysis: Analysis, root: Root, scheduler: Object) -> Iterator[Event]:
    owners: frozenset[Uid] = scheduler.of or frozenset()
    for event in analysis.events[root]:
        if event.kind is EventKind.STEP and (event.targets or frozenset()) & owners:
            yield event


def _outlives(analysis: Analysis, scheduler: Object, loop: int) -> bool:
    """Whether a scheduler is built outside a loop: it is the loop's turns that it may count."""
    return not any(
        event.kind is EventKind.CREATE and scheduler.uid in (event.targets or ()) and loop in event.loops
        for found in analysis.events.values()
        for event in found
    )


def _counts_epochs(analysis: Analysis, scheduler: Object, call: Construction, epochs: int) -> bool:
    """Whether the arguments make sense in epochs only: in batches the rate would be gone before the first epoch is."""
    bound = turns(analysis, epochs)
    total = bound[0] if bound is not None else None
    match _class(scheduler):
        case "StepLR":
            size, factor = call.argument(1, "step_size"), call.argument(2, "gamma")
            return _decays(factor) and _few(size, total)
        case "MultiStepLR":
            milestones, factor = call.argument(1, "milestones"), call.argument(2, "gamma")
            known = milestones.elements if isinstance(milestones, Items) else ()
            return _decays(factor) and bool(known) and all(_few(each, total) for each in known)
        case "ExponentialLR":
            match call.argument(1, "gamma"):
                case Const(float(gamma)):
                    return gamma <= _SLOW
            return False
        case "CosineAnnealingLR":
            period = call.argument(1, "T_max")
            return total is not None and period is not None and same_count(period, total)
        case "ReduceLROnPlateau":
            patience = call.argument(3, "patience")
            return patience is None or (isinstance(patience, Const) and _few(patience, None))
        case _:
            return False


def _decays(factor: object) -> bool:
    """Whether a decay factor (None: torch's default) takes away enough to be seen."""
    return factor is None or (isinstance(factor, Const) and isinstance(factor.value, float) and factor.value <= 0.9)


def _few(count: object, total: object) -> bool:
    """Whether a literal count is one of epochs: fewer than there are, or few at all where that is not known."""
    if not isinstance(count, Const) or not isinstance(count.value, int):
        return False
    if isinstance(total, Const) and isinstance(total.value, int):
        return count.value < total.value
    return count.value <= _FEW


def _counts_batches(analysis: Analysis, scheduler: Object, call: Construction, epochs: int) -> bool:
    """Whether the length of a schedule is given in batches."""

    def batches(position: int, name: str) -> bool:
        return in_batches(analysis, call.expression(position, name), call.scope) > 0

    match _class(scheduler):
        case "OneCycleLR":
            given = call.argument(4, "steps_per_epoch")
            many = isinstance(given, Const) and isinstance(given.value, int) and given.value > 1
            return many or batches(4, "steps_per_epoch") or batches(2, "total_steps")
        case "CosineAnnealingLR":
            return batches(1, "T_max")
        case "CyclicLR":
            never = call.argument(3, "step_size_up") is None and _ends_within(analysis, epochs, _CYCLE)
            return batches(3, "step_size_up") or never
        case "get_linear_schedule_with_warmup" | "get_cosine_schedule_with_warmup":
            return batches(2, "num_training_steps")
        case "get_scheduler":
            return batches(3, "num_training_steps")
        case _:
            return False


def _ends_within(analysis: Analysis, loop: int, count: int) -> bool:
    bound = turns(analysis, loop)
    return (
        bound is not None and isinstance(bound[0], Const) and isinstance(bound[0].value, int) and bound[0].value < count
    )

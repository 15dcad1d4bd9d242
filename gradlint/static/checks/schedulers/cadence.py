"""Schedulers stepped in the wrong loop: GL203 and GL204."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from gradlint.diagnostics import Confidence, Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.facts.cadence import (
    conditional,
    definitions,
    is_loader,
    last_name,
    over_batches,
    same_count,
    turns,
)
from gradlint.static.facts.counts import Counts
from gradlint.static.facts.schedules import class_of, lengths_of
from gradlint.static.flow.roots import Root
from gradlint.static.flow.tree import Event, Uid
from gradlint.static.lowering.values import Const, Construction, Items, Kind, Object, Unknown, Value
from gradlint.static.syntax.nodes import walk

_FEW = 50
"""Nobody counts a decay in so few batches (a literal step size, patience or milestone)."""
_SLOW = 0.95
"""A factor below this, applied a hundred times, leaves nothing of a learning rate."""
_SIZE = regex(r"batch_?size|^bs$", re.IGNORECASE)
_TOTALS = {
    "CosineAnnealingLR": (1, "T_max"),
    "PolynomialLR": (1, "total_iters"),
    "OneCycleLR": (2, "total_steps"),
    "get_linear_schedule_with_warmup": (2, "num_training_steps"),
    "get_cosine_schedule_with_warmup": (2, "num_training_steps"),
    "get_scheduler": (3, "num_training_steps"),
}
"""Where schedules have the number of steps that they are made for."""
_CYCLE = 2000
"""Half a period of CyclicLR, unless it is told otherwise."""


@check
def per_batch(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL203: a schedule that counts epochs moves on with every batch."""
    for root, scheduler, event in _scheduled(analysis):
        if len(event.loops) < 2 or not over_batches(analysis, event.loops[-1]):
            continue
        epochs, batches = event.loops[-2:]
        older = _outlives(analysis, scheduler, epochs)
        steps = any(step.loops == event.loops for step in _steps(analysis, root, scheduler))
        if not older or not steps or conditional(root.bare, event, batches):
            continue
        if all(_counts_epochs(analysis, scheduler, call, epochs) for call in scheduler.calls):
            marks = (("built", scheduler.place),)
            yield compose("GL203", Side.STATIC, event.place, marks, subject=event.name, cls=class_of(scheduler))


@check
def per_epoch(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL204: a schedule that counts batches moves on once per epoch."""
    for root, scheduler, event in _scheduled(analysis):
        if not event.loops:
            continue
        if over_batches(analysis, event.loops[-1]):
            yield from _per_window(analysis, root, scheduler, event)
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
            cls, way = class_of(scheduler), "epochs"
            yield compose("GL204", Side.STATIC, event.place, marks, subject=event.name, cls=cls, how="epoch", way=way)


def _per_window(analysis: Analysis, root: Root, scheduler: Object, event: Event) -> Iterator[Diagnostic]:
    """A schedule counts batches, but moves on only where the optimizer steps, every so many batches."""
    if len(event.loops) < 2 or not conditional(root.bare, event, event.loops[-1]):
        return
    window = _window(analysis, event)
    if window is None or not _outlives(analysis, scheduler, event.loops[-2]):
        return
    steps = [step for step in _steps(analysis, root, scheduler) if step.loops == event.loops]
    guarded = bool(steps) and all(conditional(root.bare, step, event.loops[-1]) for step in steps)
    counted = all(
        _counts_batches(analysis, scheduler, call, event.loops[-2]) and not _knows(analysis, call, window)
        for call in scheduler.calls
    )
    if guarded and counted:
        # Here the length is what is wrong: the schedule moves on where it should.
        told = ast.unparse(window)
        marks, cls, how = (("stepped", event.place),), class_of(scheduler), f"`{told}` batches"
        names = {"subject": event.name, "cls": cls, "how": how, "way": f"updates: divide it by `{told}`"}
        yield compose("GL204", Side.STATIC, scheduler.place, marks, confidence=Confidence.CERTAIN, **names)


def _window(analysis: Analysis, event: Event) -> ast.expr | None:
    """Return the number of batches that the condition around an event in its batch loop counts to."""
    loop = analysis.lowering.loop_nodes[event.loops[-1]]
    for node in walk(loop):
        inside = isinstance(node, ast.If) and any(
            part.lineno <= event.place.row <= (part.end_lineno or part.lineno) for part in node.body
        )
        for part in walk(node.test) if isinstance(node, ast.If) and inside else ():
            match part:
                case ast.BinOp(_, ast.Mod(), (ast.Name() | ast.Attribute()) as count):
                    return count
    return None


def _knows(analysis: Analysis, call: Construction, window: ast.expr) -> bool:
    """Whether anything that goes into a schedule's length has to do with the window, by its value or its last word."""
    value, word = analysis.value(window), last_name(window)
    todo, seen = [*call.node.args, *(keyword.value for keyword in call.node.keywords)], set[str]()
    while todo:
        for part in walk(todo.pop()):
            # Equal literals may be numbers of different things.
            if last_name(part) == word or (isinstance(value, Unknown) and same_count(value, analysis.value(part))):
                return True
            if isinstance(part, (ast.Name, ast.Attribute)) and (text := ast.unparse(part)) not in seen:
                seen.add(text)
                todo.extend(definitions(analysis, part, call.scope))
    return False


def _scheduled(analysis: Analysis) -> Iterator[tuple[Root, Object, Event]]:
    """Yield the places where a scheduler of a known optimizer is stepped without an argument for the epoch."""
    for scheduler in analysis.objects(Kind.SCHEDULER):
        if scheduler.of is None or not scheduler.calls:
            continue
        plateau = class_of(scheduler) == "ReduceLROnPlateau"
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
    match class_of(scheduler):
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
        case name if name in _TOTALS:
            position, keyword = _TOTALS[name]
            return _is_of_epochs(analysis, call, position, keyword, total)
        case "ReduceLROnPlateau":
            patience = call.argument(3, "patience")
            return patience is None or (isinstance(patience, Const) and _few(patience, None))
        case _:
            return False


def _is_of_epochs(analysis: Analysis, call: Construction, position: int, name: str, total: Value | None) -> bool:
    """Whether a length is the number of epochs, or what a warm-up leaves of it."""
    length, written = call.argument(position, name), call.expression(position, name)
    if total is None or length is None:
        return False
    rest = (
        analysis.value(written.left) if isinstance(written, ast.BinOp) and isinstance(written.op, ast.Sub) else length
    )
    return same_count(length, total) or same_count(rest, total)


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
    match class_of(scheduler):
        case "OneCycleLR":
            given, written = call.argument(4, "steps_per_epoch"), call.expression(4, "steps_per_epoch")
            many = isinstance(given, Const) and isinstance(given.value, int) and given.value > 1
            if many or (written is not None and _in_batches(analysis, written, call)):
                return True
        case "CyclicLR" if call.argument(3, "step_size_up") is None:
            return _ends_within(analysis, epochs, _CYCLE)
    return any(_in_batches(analysis, written, call) for written in lengths_of(class_of(scheduler), call))


def _in_batches(analysis: Analysis, written: ast.expr, call: Construction) -> bool:
    """Whether a count is a multiple of the length of a data loader, by one of the ways to get it; batches that are divided by their size are none."""
    counts = analysis.kept(Counts).of(written, call.scope, call.callers)
    return any(
        factor.is_length and factor.node is not None and is_loader(analysis, factor.node)
        for count in counts
        if not any(_SIZE.search(each.word) for each in count.below)
        for factor in count.above
    )


def _ends_within(analysis: Analysis, loop: int, count: int) -> bool:
    bound = turns(analysis, loop)
    return (
        bound is not None and isinstance(bound[0], Const) and isinstance(bound[0].value, int) and bound[0].value < count
    )

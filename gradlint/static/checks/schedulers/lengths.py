"""Schedules that end too early, begin with nothing, or undo what is written by hand: GL213, GL216 and GL220."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.facts.cadence import conditional, is_loader, last_name, over_batches
from gradlint.static.facts.factors import factor_at
from gradlint.static.facts.schedules import class_of
from gradlint.static.flow.following import follow_to
from gradlint.static.flow.glance import breaking
from gradlint.static.flow.protocols import RATE
from gradlint.static.flow.roots import Root
from gradlint.static.flow.subjects import on_rate
from gradlint.static.flow.tree import Event, Uid
from gradlint.static.lowering.values import Const, Construction, Function, Items, Kind, Object, Value
from gradlint.static.syntax.nodes import own_of, walk

_ABSOLUTE = frozenset(["LambdaLR", "OneCycleLR", "CyclicLR", "CosineAnnealingWarmRestarts"])
"""Schedulers that compute every rate from the first one, whatever the rate is now."""

_STATE = frozenset(["last_epoch", "_step_count", "T_max", "total_steps", "total_iters", "load_state_dict"])
"""What says how far a schedule is, or how long: written, or loaded, it begins anew or ends elsewhere."""


def _torch_schedulers(analysis: Analysis) -> Iterator[Object]:
    for scheduler in analysis.objects(Kind.SCHEDULER):
        if scheduler.origin.startswith("torch.optim.lr_scheduler."):
            yield scheduler


# Too many steps -------------------------------------------------------------------------------


@check
def overrun(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL213: a schedule of literal length in loops of literal length that are longer."""
    for scheduler in _torch_schedulers(analysis):
        if len(scheduler.calls) != 1:
            continue
        for root in analysis.roots:
            for event in dict.fromkeys(analysis.events[root]):
                if event.kind is EventKind.SCHEDULE and scheduler.uid in (event.targets or ()):
                    yield from _too_long(analysis, root, scheduler, event)


def _too_long(analysis: Analysis, root: Root, scheduler: Object, event: Event) -> Iterator[Diagnostic]:
    (call,) = scheduler.calls
    built = next((each for each in analysis.events[root] if _builds(each, scheduler)), None)
    if built is None or not event.loops or built.loops != event.loops[: len(built.loops)]:
        return
    loops = event.loops[len(built.loops) :]
    if not loops or "argument" in event.roles or any(conditional(root.bare, event, loop) for loop in loops):
        return
    if _is_looked_at(analysis, root, scheduler, loops[0]):
        return
    count, length = _turns_of(analysis, loops, call), _length(class_of(scheduler), call)
    if count is None or length is None or "last_epoch" in call.named or _is_set_back(analysis, scheduler):
        return
    harm = _harm(class_of(scheduler), count, length)
    if harm is not None:
        marks = (("built", scheduler.place),)
        yield compose("GL213", Side.STATIC, event.place, marks, subject=event.name, what=harm)


def _is_looked_at(analysis: Analysis, root: Root, scheduler: Object, loop: int) -> bool:
    """Whether nothing is trained in a loop, which only shows the rates of a schedule."""
    alone = frozenset({scheduler.uid})
    kinds = {event.kind for event in analysis.events[root] if loop in event.loops and event.targets != alone}
    return not kinds & {EventKind.BACKWARD, EventKind.SETGRAD, EventKind.ESCAPE}


def _is_set_back(analysis: Analysis, scheduler: Object) -> bool:
    """Whether the count or the length of a schedule is written by hand, or another state is loaded into it."""
    for node in analysis.nodes(ast.Assign, ast.AugAssign, ast.Call):
        match node:
            case (
                ast.Assign(targets=[ast.Attribute(owner, attr), *_])
                | ast.AugAssign(target=ast.Attribute(owner, attr))
                | ast.Call(ast.Attribute(owner, attr))
            ) if attr in _STATE:
                value = analysis.value(owner)
                if value.uid == scheduler.uid if isinstance(value, Object) else attr != "load_state_dict":
                    return True
            case _:
                continue
    return False


def _builds(event: Event, scheduler: Object) -> bool:
    return event.kind is EventKind.CREATE and scheduler.uid in (event.targets or ())


def _harm(name: str, count: int, length: int) -> str | None:
    """Return what more steps than the schedule is long do."""
    # What the last step of all sets is used by nobody.
    used = count - 1
    told = f"is stepped {count} times, but its schedule is {length} steps long"
    match name:
        case "OneCycleLR" if count > length:
            return f"{told}: torch raises ValueError at step {length + 1}"
        case "CosineAnnealingLR" if length < used < 2 * length - 1:
            # Whole periods are a choice; to end in the middle of the way up is none.
            return f"{told}: after that the learning rate rises again"
        case "PolynomialLR" if used > length:
            return f"{told}: after that the learning rate is 0 and nothing is trained"
        case _:
            return None


def _length(name: str, call: Construction) -> int | None:
    match name:
        case "OneCycleLR":
            total = _whole(call.argument(2, "total_steps"))
            epochs = _whole(call.argument(3, "epochs"))
            return total if total is not None else epochs
        case "CosineAnnealingLR":
            return _whole(call.argument(1, "T_max"))
        case "PolynomialLR":
            given = call.argument(1, "total_iters")
            return 5 if given is None else _whole(given)
        case _:
            return None


def _turns_of(analysis: Analysis, loops: tuple[int, ...], call: Construction) -> int | None:
    """Return how often loops turn in the unit of the schedule: steps, or epochs where it counts one loader's batches."""
    batches = call.expression(4, "steps_per_epoch") if _whole(call.argument(2, "total_steps")) is None else None
    if batches is not None:
        if len(loops) != 2 or not _same_loader(analysis, batches, loops[1]):
            return None
        loops = loops[:1]
    counts = [_turns(analysis, loop) for loop in loops]
    return None if None in counts else math.prod(count for count in counts if count is not None)


def _same_loader(analysis: Analysis, batches: ast.expr, loop: int) -> bool:
    node = analysis.lowering.loop_nodes.get(loop)
    match batches, node:
        case ast.Call(ast.Name("len"), [owner]), ast.For(iter=source) if over_batches(analysis, loop):
            whole = not any(isinstance(part, ast.Break) for part in walk(node))
            names = {ast.unparse(part) for part in walk(source) if isinstance(part, (ast.Name, ast.Attribute))}
            return whole and is_loader(analysis, owner) and ast.unparse(owner) in names and not _cut_short(source)
        case _:
            return False


def _cut_short(source: ast.expr) -> bool:
    return any(
        isinstance(part, ast.Call) and last_name(part.func) in ("zip", "islice", "range") for part in walk(source)
    )


def _turns(analysis: Analysis, loop: int) -> int | None:
    """Return how often a loop over a literal range turns, if it always turns to the end."""
    match analysis.lowering.loop_nodes.get(loop):
        case ast.For(iter=ast.Call(ast.Name("range" | "trange"), args, [])) as node if not _leaves(node):
            bounds = [_whole(analysis.value(arg)) for arg in args]
            known = [bound for bound in bounds if bound is not None]
            return len(range(*known)) if len(known) == len(bounds) and 0 < len(known) <= 2 else None
        case _:
            return None


def _leaves(loop: ast.For) -> bool:
    return any(isinstance(part, (ast.Break, ast.Return, ast.Raise)) for part in walk(loop))


def _whole(value: Value | None) -> int | None:
    return value.value if isinstance(value, Const) and type(value.value) is int else None


# Written in vain ------------------------------------------------------------------------------


@check
def overwritten(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL216: a learning rate that is written and, before any step uses it, computed anew by a scheduler."""
    for scheduler in _torch_schedulers(analysis):
        if class_of(scheduler) not in _ABSOLUTE or len(scheduler.of or ()) != 1:
            continue
        for root in analysis.roots:
            if not any(event.kind is EventKind.RATE for event in analysis.events[root]):
                continue
            for event, states in follow_to(root.bare, RATE, on_rate(scheduler), breaking(RATE)).items():
                mine = event.kind is EventKind.SCHEDULE and scheduler.uid in (event.targets or ())
                written = {state.mark("written") for state in states}
                place = written.pop() if mine and len(written) == 1 else None
                if place is not None and event.loops:
                    marks = (("scheduled", event.place),)
                    yield compose("GL216", Side.STATIC, place, marks, subject=event.name, cls=class_of(scheduler))


# Nothing at first -----------------------------------------------------------------------------


@check
def starts_at_zero(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL220: a factor that is 0 at the first step of the schedule, and still 0 at the second, or for a whole epoch."""
    for scheduler in _torch_schedulers(analysis):
        if class_of(scheduler) != "LambdaLR" or len(scheduler.calls) != 1:
            continue
        given = scheduler.calls[0].argument(1, "lr_lambda")
        for function in given.elements if isinstance(given, Items) else (given,):
            nothing = factor_at(function, 0) == 0 and not _has_no_length(analysis, function)
            if nothing and (factor_at(function, 1) == 0 or _per_epoch(analysis, scheduler)):
                yield compose("GL220", Side.STATIC, scheduler.place)
                break


def _has_no_length(analysis: Analysis, function: Value | None) -> bool:
    """Whether a length that a factor asks for is known to be 0, so that there is nothing to warm up."""
    if not isinstance(function, Function):
        return False
    nothing = _nothing_around(analysis, function)
    asked = (each for each in walk(function.node) if isinstance(each, (ast.Name, ast.Attribute)))
    return any(
        analysis.value(each) == Const(0) or (isinstance(each, ast.Name) and each.id in nothing) for each in asked
    )


def _nothing_around(analysis: Analysis, function: Function) -> frozenset[str]:
    """Return the names to which the function around another one gives 0."""
    frame = analysis.lowering.frames.get(function.frame)
    assigned = own_of(frame.node, ast.Assign) if frame is not None and frame.node is not None else ()
    zeros = (each for each in assigned if analysis.value(each.value) == Const(0))
    return frozenset(target.id for each in zeros for target in each.targets if isinstance(target, ast.Name))


def _moved_by(analysis: Analysis, scheduler: Object) -> frozenset[Uid]:
    """Return who moves a scheduler on: itself, or one that runs it first, or beside others."""
    found = {scheduler.uid}
    for other in _torch_schedulers(analysis):
        if class_of(other) in ("SequentialLR", "ChainedScheduler") and len(other.calls) == 1:
            index = int(class_of(other) == "SequentialLR")
            match other.calls[0].argument(index, "schedulers"):
                case Items([Object(uid=first), *_] as parts):
                    inner = {first} if index else {each.uid for each in parts if isinstance(each, Object)}
                    found |= {other.uid} if scheduler.uid in inner else set()
                case _:
                    continue
    return frozenset(found)


def _per_epoch(analysis: Analysis, scheduler: Object) -> bool:
    """Whether a scheduler moves on once per pass over the batches: what is 0 first is 0 for an epoch."""
    movers = _moved_by(analysis, scheduler)
    for found in analysis.events.values():
        for event in found:
            if event.kind is EventKind.SCHEDULE and movers & (event.targets or frozenset()) and event.loops:
                depth = len(event.loops)
                deeper = (
                    step.loops[depth]
                    for step in found
                    if step.kind is EventKind.STEP
                    and (step.targets or frozenset()) & (scheduler.of or frozenset())
                    and step.loops[:depth] == event.loops
                    and len(step.loops) > depth
                )
                return any(over_batches(analysis, loop) for loop in deeper)
    return False

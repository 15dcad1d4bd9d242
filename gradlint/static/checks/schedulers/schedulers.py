"""Learning-rate schedulers: GL201 and GL202."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.protocols import SCHEDULER
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check, local_check
from gradlint.static.flow.following import breaches, run
from gradlint.static.flow.interpreter import Flow
from gradlint.static.flow.roots import Root
from gradlint.static.flow.subjects import on_scheduler
from gradlint.static.flow.tree import Event, Uid, events
from gradlint.static.lowering.algebra import held
from gradlint.static.lowering.values import UNKNOWN, Kind, Object, const
from gradlint.static.syntax.nodes import walk, walk_of, words
from gradlint.typestate import State
from gradlint.wordings.schedulers import NEVER_STEPPED, ONLY_BY_ANOTHER, ONLY_BY_HAND, STEP_IT


@check
def before_optimizer(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL201: the schedule moves on before its optimizer has used the first learning rate."""
    for scheduler in analysis.objects(Kind.SCHEDULER):
        if scheduler.of is None:
            continue
        for root in analysis.roots:
            yield from _too_early(analysis, root, scheduler)


def _too_early(analysis: Analysis, root: Root, scheduler: Object) -> Iterator[Diagnostic]:
    if not any(event.kind is EventKind.SCHEDULE for event in analysis.events[root]):
        return
    # A schedule inside a closure is another rule's.
    inside = {event.place for step in analysis.lowering.steps if step.body is not None for event in events(step.body)}
    effect = on_scheduler(scheduler)
    for event, states in breaches(root.bare, SCHEDULER, effect).items():
        if event.kind is not EventKind.SCHEDULE or "argument" in event.roles or event.place in inside:
            continue
        if any(state.mark("scheduled") not in (None, event.place) for state in states):
            continue  # Where its optimizer stepped, it has followed at once elsewhere.
        first = [state for state in states if state.mark("scheduled") is None]
        step = _step_after(analysis.events[root], event, scheduler)
        broken = {SCHEDULER.broken_by(state, event.kind) is not None for state in first}
        early = broken == {True} or (True in broken and _is_for_the_first(analysis, event))
        if step is not None and early and (event.loops or _comes_anyhow(run(root.bare, SCHEDULER, effect), event)):
            marks = (("stepped", step.place),)
            yield compose("GL201", Side.STATIC, event.place, marks, subject=event.name, other=step.name)


def _comes_anyhow(flow: Flow[State], event: Event) -> bool:
    """Whether paths come to an event for the first time whatever they assume."""
    return not any(world.facts for world in flow.worlds(event) if world.state.mark("scheduled") is None)


def _is_for_the_first(analysis: Analysis, event: Event) -> bool:
    """Whether a schedule moves on in the first turns of a loop and no others, as in a warm-up: `if epoch <= warm:`."""
    if event.place.filename != analysis.source.filename:
        return False
    function = analysis.function_in(event.place.row)
    scope = function or analysis.tree
    counted = {arg.arg for arg in function.args.args} if function else set[str]()
    counted |= {name for node in walk_of(scope, ast.For) for name in words(node.target)}
    guards = [node for node in walk_of(scope, ast.If) if event.place.row in _rows(node.body) and not _is_main(node)]
    return bool(guards) and all(_is_below(node.test, counted) for node in guards)


def _is_main(node: ast.If) -> bool:
    return ast.unparse(node.test) == "__name__ == '__main__'"


def _rows(body: list[ast.stmt]) -> range:
    return range(body[0].lineno, (body[-1].end_lineno or body[-1].lineno) + 1)


def _is_below(test: ast.expr, counted: set[str]) -> bool:
    """Whether a condition says that a number is still below another one."""
    match test:
        case ast.Compare(ast.Name(name), [ast.Lt() | ast.LtE()], [ast.Constant() | ast.Name() | ast.Attribute()]):
            return name in counted
        case ast.Compare(ast.Constant() | ast.Name() | ast.Attribute(), [ast.Gt() | ast.GtE()], [ast.Name(name)]):
            return name in counted
        case _:
            return False


def _step_after(found: list[Event], schedule: Event, scheduler: Object) -> Event | None:
    """Return a step of the scheduler's optimizer in the same loop; a schedule wound forward alone has none."""
    owners = scheduler.of or frozenset()
    depth = len(schedule.loops)
    for event in found:
        if (
            event.kind is EventKind.STEP
            and event.loops[:depth] == schedule.loops
            and (event.targets or frozenset()) & owners
        ):
            return event
    return None


@check
def never_stepped(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL202: a scheduler that nobody can step, beside an optimizer that steps."""
    hidden = analysis.lowering.escaped | analysis.lowering.lent | analysis.stepped
    # A method may be read twice, the second time only for what it gives to attributes.
    read = {uid[-2:] for uid in hidden}
    for scheduler in analysis.objects(Kind.SCHEDULER):
        if scheduler.uid[-2:] in read or not analysis.private(scheduler) or _is_replaced(analysis, scheduler, hidden):
            continue
        if _keeps_rate(scheduler):
            continue
        if _steps_on(analysis, scheduler):
            what = _moved_by(analysis, scheduler, hidden)
            call = _asked_for(analysis, scheduler)
            place = analysis.source.place(call) if call else scheduler.place
            name = (_assigned(analysis, call) if call else "") or _name(scheduler)
            marks = (("built", scheduler.place),) if call else ()
            yield compose("GL202", Side.STATIC, place, marks, subject=name, what=what, remedy=STEP_IT)


def _asked_for(analysis: Analysis, scheduler: Object) -> ast.Call | None:
    """Return the call in this file that gets a scheduler built in another file: there it is known who steps it."""
    frame = analysis.lowering.frames.get(scheduler.uid[:-1])
    if frame is None or scheduler.place.filename == analysis.source.filename:
        return None
    call = next(reversed(analysis.calls_into(frame.path)), None)
    got = analysis.value(call) if call is not None else UNKNOWN
    # A method may keep what it builds for the others of its class: those step it.
    handed = got == scheduler if frame.receiver is not None else scheduler.uid in held((got,))
    return call if handed else None


def _assigned(analysis: Analysis, call: ast.Call) -> str:
    """Return the name that the value of a call gets, "" if it gets none."""
    given = (node.targets[0] for node in analysis.nodes(ast.Assign) if node.value is call)
    return next((ast.unparse(target) for target in given if not isinstance(target, ast.Tuple)), "")


def _moved_by(analysis: Analysis, scheduler: Object, used: set[Uid]) -> str:
    """Return what becomes of the rate of an optimizer without one of its schedulers."""
    if _is_written(analysis, scheduler):
        return ONLY_BY_HAND
    beside = (other for other in analysis.objects(Kind.SCHEDULER) if scheduler.of and other.of == scheduler.of)
    parts = held(value for call in scheduler.calls for value in (*call.args, *call.named.values()))
    return ONLY_BY_ANOTHER if any(other.uid in used - parts for other in beside) else NEVER_STEPPED


def _is_written(analysis: Analysis, scheduler: Object) -> bool:
    """Whether the rate of the optimizer is written by hand, whatever its scheduler does."""
    owners = scheduler.of or frozenset()
    found = (event for root in analysis.roots for event in analysis.events[root] if event.kind is EventKind.RATE)
    return any((event.targets or frozenset()) & owners for event in found)


def _is_replaced(analysis: Analysis, scheduler: Object, used: set[Uid]) -> bool:
    """Whether another scheduler took the name of this one, and moves the rate on."""
    return any(
        other.uid in used and other.uid[:-1] == scheduler.uid[:-1] and _name(other) == _name(scheduler)
        for other in analysis.objects(Kind.SCHEDULER)
        if other.of == scheduler.of
    )


def _keeps_rate(scheduler: Object) -> bool:
    """Whether a scheduler stands for no schedule at all: a constant factor of 1, where another branch has a real one."""
    constant = scheduler.origin.endswith(".ConstantLR") and bool(scheduler.calls)
    return constant and all(const(call.argument(1, "factor") or UNKNOWN) == 1 for call in scheduler.calls)


def _steps_on(analysis: Analysis, scheduler: Object) -> bool:
    """Whether the optimizer steps once its scheduler is there: one that is built behind the last step is only shown."""
    owners = scheduler.of or frozenset()
    for root in analysis.roots:
        steps: list[Event] = []
        for event in analysis.events[root]:
            if event.kind is EventKind.CREATE and scheduler.uid in (event.targets or ()):
                steps = [step for step in steps if set(step.loops) & set(event.loops)]
            elif event.kind is EventKind.STEP and (event.targets or frozenset()) & owners:
                steps.append(event)
        if steps:
            return True
    return False


@local_check
def stepped_when_over(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL202: a step of a schedule waits until the schedule's own count, which only it moves on, has reached the end."""
    if not analysis.says("total_steps") or not analysis.says("last_epoch", "_step_count"):
        return
    for node in analysis.nodes(ast.If):
        for subject in _waits_for_end(node.test):
            inside = [part for statement in node.body for part in walk(statement)]
            outside = [part for statement in node.orelse for part in walk(statement)]
            if _steps(inside, subject) and not _steps(outside, subject) and not _renews(inside, subject):
                told = "is stepped here only when its count has reached `total_steps`: until then the rate stays, and then torch raises"
                remedy = "step it as long as its count is below `total_steps`"
                place = analysis.source.place(node.test)
                yield compose("GL202", Side.STATIC, place, subject=subject, what=told, remedy=remedy)


def _waits_for_end(test: ast.expr) -> Iterator[str]:
    """Yield the schedulers whose count has to be as large as their length for a condition to be true."""
    match test:
        case ast.BoolOp(ast.And(), values):
            for value in values:
                yield from _waits_for_end(value)
        case ast.Compare(length, [ast.Lt() | ast.LtE()], [ast.Attribute(owner, "last_epoch" | "_step_count")]):
            yield from [ast.unparse(owner)] if _is_length(length, owner) else []
        case ast.Compare(ast.Attribute(owner, "last_epoch" | "_step_count"), [ast.Gt() | ast.GtE()], [length]):
            yield from [ast.unparse(owner)] if _is_length(length, owner) else []


def _is_length(node: ast.expr, owner: ast.expr) -> bool:
    match node:
        case ast.Attribute(of, "total_steps") | ast.Call(ast.Name("getattr"), [of, ast.Constant("total_steps"), *_]):
            return ast.unparse(of) == ast.unparse(owner)
        case _:
            return False


def _steps(nodes: list[ast.AST], subject: str) -> bool:
    """Whether a scheduler is stepped in some nodes."""
    called = [node.func for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    return any(method.attr == "step" and ast.unparse(method.value) == subject for method in called)


def _renews(nodes: list[ast.AST], subject: str) -> bool:
    """Whether another scheduler takes the place of one, or its count begins anew."""
    targets = (target for node in nodes if isinstance(node, ast.Assign) for target in node.targets)
    return any(ast.unparse(target).startswith(subject) for target in targets)


def _name(scheduler: Object) -> str:
    last = scheduler.uid[-1].partition("#")[0]
    if not last.startswith("@") and last != "return":
        return last
    # What a function returns has no name of its own, and one of several has no origin.
    return scheduler.origin.rpartition(".")[2].strip("*") or "scheduler"

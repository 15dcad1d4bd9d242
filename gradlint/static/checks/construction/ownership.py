"""Optimizers and schedulers that hold what nobody uses any more: GL211 and GL806."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.data import NamedTuple
from gradlint.diagnostics import Diagnostic, Location, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.facts.bearing import bears_weights, built_in_place
from gradlint.static.facts.cadence import conditional
from gradlint.static.flow.following import pruned
from gradlint.static.flow.interpreter import Flow, World
from gradlint.static.flow.kinship import overlap, within
from gradlint.static.flow.relevance import relevant
from gradlint.static.flow.roots import Root
from gradlint.static.flow.tree import Event, Uid
from gradlint.static.lowering.values import Construction, Instance, Kind, Object, Params, Value
from gradlint.static.syntax.nodes import spelled, walk_of
from gradlint.wordings.construction import rebuilt

_K = EventKind
_EITHER = regex(r"#\d+$")
"""At the end of the identity of a name to which two paths have given different values."""


class _Tie(NamedTuple):
    """How one subject stands to what it was built for: `lost` where that was replaced, `used` what the replacement did since.

    What is not `built` on this path loses nothing: where no branch has built it, its name is unbound.
    """

    lost: Event | None = None
    used: str = ""
    built: bool = True


def _beginning(analysis: Analysis, root: Root, subject: Uid) -> _Tie:
    """Return how a subject stands where a root begins: one that is built in it is not there yet."""
    made = (event for event in analysis.events[root] if event.kind is _K.CREATE)
    return _Tie(built=not any(subject in (event.targets or ()) for event in made))


@check
def stale_parameters(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL806: an optimizer goes on with the parameters of a module, or a part of one, that was replaced."""
    if "add_param_group" in analysis.source.text:
        return
    for root in analysis.roots:
        for optimizer, replaced in _replaced(analysis, root, Kind.OPTIMIZER):
            if any(_loses(analysis, optimizer, event) for event in replaced):
                yield from _stale(analysis, root, optimizer)


def _replaced(analysis: Analysis, root: Root, kind: Kind) -> Iterator[tuple[Object, list[Event]]]:
    """Yield the objects of a kind, each with what is replaced when it may be there: behind its construction, or in a loop with it."""
    found = analysis.events[root]
    replaced = [(number, event) for number, event in enumerate(found) if event.kind is _K.REPLACE]
    for made in analysis.objects(kind) if replaced else ():
        built = (each for each in enumerate(found) if each[1].kind is _K.CREATE and made.uid in (each[1].targets or ()))
        begin, loops = next(((number, event.loops) for number, event in built), (-1, ()))
        yield made, [event for number, event in replaced if number > begin or not set(loops).isdisjoint(event.loops)]


def _loses(analysis: Analysis, optimizer: Object, event: Event) -> bool:
    """Whether an event builds parameters anew in the place of what an optimizer owns, whole or in part."""
    owned, replaced = optimizer.of or frozenset(), event.targets or frozenset()
    built = built_in_place(analysis, event)
    return any(within(gone, own) for gone in replaced for own in owned) and all(
        bears_weights(analysis, uid) for uid in built
    )


def _stale(analysis: Analysis, root: Root, optimizer: Object) -> Iterator[Diagnostic]:
    ownership = _Ownership(analysis, optimizer)
    flow: Flow[_Tie] = Flow(ownership.advance)
    flow.run(relevant(pruned(root.bare, ownership.effect)), _beginning(analysis, root, optimizer.uid))
    found = _lost_before(flow, _K.STEP, "backward")
    yield from (_report(analysis, optimizer, root, place, step) for place, step in found.items())


class _Ownership(NamedTuple):
    """What events mean to an optimizer and what it was built for."""

    analysis: Analysis
    optimizer: Object

    def effect(self, event: Event) -> EventKind | None:
        """Return what an event does: to what the optimizer owns, to what takes its place or by the optimizer."""
        targets, objects = event.targets or frozenset(), self.analysis.lowering.objects
        match event.kind:
            case _K.REPLACE if _loses(self.analysis, self.optimizer, event):
                return _K.REPLACE
            case _K.STEP | _K.CREATE if self.optimizer.uid in targets:
                return event.kind
            case _K.CREATE if any(_takes_over(objects.get(uid), self.optimizer) for uid in targets):
                return _K.ESCAPE
            case _K.ESCAPE if event.targets is None or any(overlap(self.optimizer.uid, uid) for uid in targets):
                return _K.ESCAPE
            case _K.BACKWARD:
                return _K.BACKWARD
            case _K.FORWARD if "no-grad" not in event.roles:
                return _K.FORWARD
            case _:
                return None

    def advance(self, tie: _Tie, event: Event) -> _Tie:
        """Return how they stand after an event."""
        match self.effect(event):
            case _K.REPLACE:
                return _Tie(event) if tie.built else tie
            case _K.CREATE | _K.ESCAPE:
                return _Tie()
            case _K.FORWARD if tie.lost is not None and not tie.used and _runs_new(self.analysis, tie.lost, event):
                return _Tie(tie.lost, "forward")
            case _K.BACKWARD if tie.used == "forward":
                return _Tie(tie.lost, "backward")
            case _:
                return tie


def _lost_before(flow: Flow[_Tie], kind: EventKind, used: str) -> dict[Location, Event]:
    """Return where something was replaced before events of a kind, once it had been used like this."""
    found: dict[Location, Event] = {}
    for event, worlds in flow.arrivals.items():
        if event.kind is kind:
            found |= {lost.place: event for lost in _lost(flow, worlds, used)}
    return found


def _lost(flow: Flow[_Tie], worlds: set[World[_Tie]], used: str) -> list[Event]:
    """Return what an event comes too late for on some path, or on every one where not all of them can be taken."""
    late = [world.state.lost for world in worlds if world.state.used == used and world.state.lost is not None]
    return late if len(late) == len(worlds) or not flow.blurred else []


def _takes_over(other: Object | None, optimizer: Object) -> bool:
    """Whether another optimizer owns some of the same modules, or nobody knows what it owns."""
    if other is None or other.kind is not Kind.OPTIMIZER:
        return False
    return other.of is None or any(overlap(a, b) for a in other.of for b in optimizer.of or ())


def _runs_new(analysis: Analysis, lost: Event, event: Event) -> bool:
    """Whether a forward runs what was built in the place of something; a module runs what it had before."""
    ran = event.targets or frozenset()
    parts = lost.targets or frozenset() if "part" in lost.roles else frozenset[Uid]()
    return bool(ran & built_in_place(analysis, lost)) or any(within(part, whole) for part in parts for whole in ran)


def _report(analysis: Analysis, optimizer: Object, root: Root, place: Location, step: Event) -> Diagnostic:
    lost = next(each for each in analysis.events[root] if each.kind is _K.REPLACE and each.place == place)
    marks = (("built", optimizer.place), ("step", step.place))
    return compose("GL806", Side.STATIC, place, marks, what=rebuilt(lost.name, step.name))


@check
def stale_optimizer(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL211: a scheduler goes on with an optimizer that was built anew after it."""
    for root in analysis.roots:
        for scheduler, replaced in _replaced(analysis, root, Kind.SCHEDULER):
            if any((event.targets or frozenset()) & (scheduler.of or frozenset()) for event in replaced):
                yield from _scheduled_in_vain(analysis, root, scheduler)


def _scheduled_in_vain(analysis: Analysis, root: Root, scheduler: Object) -> Iterator[Diagnostic]:
    scheduling = _Scheduling(analysis, scheduler)
    flow: Flow[_Tie] = Flow(scheduling.advance)
    flow.run(relevant(pruned(root.bare, scheduling.effect)), _beginning(analysis, root, scheduler.uid))
    found = _lost_before(flow, _K.SCHEDULE, "step")
    perhaps = _lost_before(flow, _K.SCHEDULE, "either").items()
    found |= {place: schedule for place, schedule in perhaps if _goes_on(analysis, root, schedule)}
    for place, schedule in found.items():
        marks = (("built", scheduler.place), ("scheduled", schedule.place))
        name = next(each.name for each in analysis.events[root] if each.kind is _K.REPLACE and each.place == place)
        what = f"`{name}` is built anew here, after it, and its learning rate never changes"
        way = "build the scheduler after this"
        yield compose("GL211", Side.STATIC, place, marks, subject=schedule.name, what=what, way=way)


class _Scheduling(NamedTuple):
    """What events mean to a scheduler and the optimizers that it was built for."""

    analysis: Analysis
    scheduler: Object

    def effect(self, event: Event) -> EventKind | None:
        """Return what an event does: to the optimizers, by any of them or by the scheduler."""
        targets = event.targets or frozenset()
        match event.kind:
            case _K.REPLACE if targets & (self.scheduler.of or frozenset()):
                return _K.REPLACE
            case _K.STEP | _K.OTHER_STEP:
                return _K.STEP
            case _K.SCHEDULE | _K.CREATE if self.scheduler.uid in targets:
                return event.kind
            case _K.ESCAPE if event.targets is None or any(overlap(self.scheduler.uid, uid) for uid in targets):
                return _K.ESCAPE
            case _:
                return None

    def advance(self, tie: _Tie, event: Event) -> _Tie:
        """Return how they stand after an event."""
        match self.effect(event):
            case _K.REPLACE:
                return _Tie(event) if tie.built else tie
            case _K.CREATE | _K.ESCAPE:
                return _Tie()
            case _K.STEP if tie.lost is not None:
                return self._stepped(tie, tie.lost, event)
            case _:
                return tie

    def _stepped(self, tie: _Tie, lost: Event, step: Event) -> _Tie:
        if step.targets and step.targets <= built_in_place(self.analysis, lost):
            return _Tie(lost, "step")
        if step.kind is _K.OTHER_STEP:
            return _Tie(lost, "either") if _steps_either(lost, step) else tie
        return _Tie() if step.targets is None or step.targets & (self.scheduler.of or frozenset()) else tie


def _steps_either(lost: Event, step: Event) -> bool:
    """Whether the name steps that was given what was built in the place of something: on other paths, it has what it had."""
    either = any(_EITHER.search(uid[-1]) for uid in step.targets or ())
    return either and (step.name, step.frame) == (lost.name, lost.frame)


def _is_asked_for(analysis: Analysis, schedule: Event) -> bool:
    """Whether a condition is written around a scheduler's step, in its loop, even one that holds wherever the scheduler is known."""
    loop, row = analysis.lowering.loop_nodes.get(schedule.loops[-1]), schedule.place.row
    conditions = walk_of(loop, ast.If) if loop is not None else ()
    return any(each.lineno <= row <= (each.end_lineno or 0) for each in conditions)


def _goes_on(analysis: Analysis, root: Root, schedule: Event) -> bool:
    """Whether a scheduler steps in each turn of its loop, and is not told which optimizer is its own."""
    if schedule.loops and (conditional(root.bare, schedule, schedule.loops[-1]) or _is_asked_for(analysis, schedule)):
        return False  # The condition may be known only where nothing was built anew.
    targets = (target for node in analysis.nodes(ast.Assign) for target in node.targets)
    return not any(spelled(target) == f"{schedule.name}.optimizer" for target in targets)


@check
def not_an_optimizer(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL211: a scheduler is built on a model."""
    for scheduler in analysis.objects(Kind.SCHEDULER):
        for call in scheduler.calls if scheduler.origin.startswith("torch.optim.") else ():
            given, written = call.argument(0, "optimizer"), call.expression(0, "optimizer")
            if given is None or written is None or not _is_model(analysis, given):
                continue
            node = _origin(call, written)
            said, name = ast.unparse(node), scheduler.uid[-1].partition("#")[0]
            what, way = f"`{said}` is no optimizer, and torch raises TypeError", "give it the optimizer"
            marks = (("built", scheduler.place),)
            yield compose("GL211", Side.STATIC, analysis.source.place(node), marks, subject=name, what=what, way=way)


def _is_model(analysis: Analysis, value: Value) -> bool:
    match value:
        case Object(kind=kind, uid=uid):
            # An attribute of an unknown module is only presumed to be a part of it: some keep their optimizer.
            return kind is Kind.MODULE and (uid[0] != "?" or ".".join(uid[1:]) in analysis.lowering.proven)
        case Instance(cls=cls):
            return analysis.lowering.is_module(cls)
        case Params():
            return True
        case _:
            return False


def _origin(call: Construction, written: ast.expr) -> ast.expr:
    """Return where an argument comes from: out of parameters, as their callers wrote it."""
    scope = call.scope
    for around, caller in reversed(call.callers):
        if not isinstance(written, ast.Name) or not isinstance(caller, ast.Call):
            break
        given = _argument(scope, caller, written.id)
        if given is None:
            break
        scope, written = around, given
    return written


def _argument(function: ast.AST | None, call: ast.Call, name: str) -> ast.expr | None:
    if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return None
    named = next((keyword.value for keyword in call.keywords if keyword.arg == name), None)
    names = [arg.arg for arg in (*function.args.posonlyargs, *function.args.args)]
    if named is not None or name not in names or names[:1] == ["self"]:
        return named
    index = names.index(name)
    plain = not any(isinstance(arg, ast.Starred) for arg in call.args[: index + 1])
    return call.args[index] if plain and index < len(call.args) else None

"""Parameters that nobody updates, although somebody holds them: GL801."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from gradlint.data import NamedTuple, dataclass
from gradlint.diagnostics import Diagnostic, Location, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.flow.following import pruned
from gradlint.static.flow.interpreter import Flow
from gradlint.static.flow.kinship import overlap, within
from gradlint.static.flow.relevance import relevant
from gradlint.static.flow.roots import Root
from gradlint.static.flow.tree import Event, Uid
from gradlint.static.lowering.algebra import held
from gradlint.static.lowering.values import Function, Kind, Object

_K = EventKind


@dataclass(frozen=True, slots=True)
class _Fed:
    """Which modules of an optimizer are frozen, since where, and whether a backward came by since the last step, in vain or not.

    What is exchanged when the optimizer is `built` brings parameters that it does not hold.
    """

    frozen: frozenset[Uid] = frozenset()
    since: Location | None = None
    backward: bool = False
    real: bool = False
    built: bool = False


@check
def frozen_parameters(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL801: an optimizer of parameters that do not require gradients at any backward."""
    for root in analysis.roots:
        if not any(event.kind is _K.FREEZE for event in analysis.events[root]):
            continue
        for optimizer in analysis.objects(Kind.OPTIMIZER):
            if optimizer.of:
                yield from _starved(analysis, root, optimizer, optimizer.of)


def _starved(analysis: Analysis, root: Root, optimizer: Object, owned: frozenset[Uid]) -> Iterator[Diagnostic]:
    feeding = _Feeding(optimizer, owned)
    flow: Flow[_Fed] = Flow(feeding.advance)
    flow.run(relevant(pruned(root.bare, feeding.effect)), _Fed())
    yield from _never_fed(optimizer, flow)


@dataclass(frozen=True, slots=True)
class _Feeding:
    """What events mean to an optimizer of these modules."""

    optimizer: Object
    owned: frozenset[Uid]

    def effect(self, event: Event) -> EventKind | None:
        """Return what an event does: to the modules, to their gradients or by the optimizer."""
        targets = event.targets or frozenset()
        touched = event.targets is None or any(overlap(uid, own) for uid in targets for own in self.owned)
        match event.kind:
            case _K.FREEZE if any(within(own, uid) for uid in targets for own in self.owned):
                return _K.FREEZE
            case _K.THAW | _K.REPLACE | _K.CREATE | _K.ESCAPE if touched:
                return _K.THAW
            case _K.THAW if any(uid[0] == "?" for uid in targets):
                return _K.THAW  # Whoever that is may be a part of them, by a name that it got before.
            case _K.FORWARD if touched and "method" in event.roles:
                return _K.THAW
            case _K.STEP | _K.ESCAPE | _K.CREATE if self.optimizer.uid in targets:
                return event.kind
            case _K.BACKWARD | _K.SETGRAD:
                return event.kind
            case _:
                return None

    def advance(self, fed: _Fed, event: Event) -> _Fed:
        """Return what is so after an event."""
        match self.effect(event):
            case _K.FREEZE:
                gone = {own for own in self.owned for uid in event.targets or () if within(own, uid)}
                return replace(fed, frozen=fed.frozen | gone, since=event.place)
            case _K.THAW if fed.built and "exchanged" in event.roles:
                return fed
            case _K.THAW:
                return replace(fed, frozen=frozenset(), since=None)
            case _K.CREATE:
                return replace(fed, built=True)
            case _K.SETGRAD | _K.ESCAPE:
                return replace(fed, real=True)
            case _K.BACKWARD:
                return replace(fed, backward=True, real=fed.real or fed.frozen != self.owned)
            case _K.STEP:
                return replace(fed, backward=False, real=False)
            case _:
                return fed


def _never_fed(optimizer: Object, flow: Flow[_Fed]) -> Iterator[Diagnostic]:
    """Yield the first step to which no path brings a gradient."""
    for event, worlds in flow.arrivals.items():
        states = [world.state for world in worlds]
        if event.kind is _K.STEP and states and all(state.backward and not state.real for state in states):
            since = next((state.since for state in states if state.since is not None), None)
            marks = (("step", event.place), *((("frozen", since),) if since else ()))
            what = "they were told not to require gradients, and no backward reaches them"
            yield compose("GL801", Side.STATIC, optimizer.place, marks, subject=event.name, what=what)
            return


class Twice(NamedTuple):
    """A call of a function of the file that gets one optimizer twice, where another one is left without a step."""

    call: ast.Call
    first: ast.expr
    second: ast.expr
    optimizer: Uid
    idle: Object


@check
def optimizer_never_stepped(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL801: an optimizer that nobody can step, where another one was passed in its place."""
    for twice in given_twice(analysis):
        marks = (("given", analysis.source.place(twice.first)), ("built", twice.idle.place))
        what = f"`{ast.unparse(twice.call.func)}` is given `{ast.unparse(twice.second)}` twice"
        subject = analysis.named(twice.idle.uid)
        yield compose("GL801", Side.STATIC, analysis.source.place(twice.second), marks, subject=subject, what=what)


def given_twice(analysis: Analysis) -> Iterator[Twice]:
    """Yield the calls that are given an optimizer in the place of another one, too."""
    optimizers = list(analysis.objects(Kind.OPTIMIZER))
    if len(optimizers) < 2:
        return
    hidden = analysis.lowering.escaped | analysis.stepped
    idle = [made for made in optimizers if made.of and made.uid not in hidden and analysis.private(made)]
    for call in analysis.nodes(ast.Call) if idle else ():
        if isinstance(analysis.value(call.func), Function):
            yield from _given_twice(analysis, call, idle)


def _given_twice(analysis: Analysis, call: ast.Call, idle: list[Object]) -> Iterator[Twice]:
    arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
    given = held(analysis.value(argument) for argument in arguments)
    seen: dict[Uid, ast.expr] = {}
    for argument in arguments:
        match analysis.value(argument):
            case Object(kind=Kind.OPTIMIZER, uid=uid) if uid in analysis.stepped:
                if uid in seen:
                    meant = (made for made in idle if (made.of or frozenset()) & given)
                    yield Twice(call, seen[uid], argument, uid, next(meant, idle[0]))
                seen[uid] = argument
            case _:
                continue

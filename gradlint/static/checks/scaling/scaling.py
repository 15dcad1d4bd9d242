"""Gradient scalers: GL601, GL604, GL605 and GL607.

The subject is a pair: one gradient scaler and one optimizer whose gradients it scales. A scaler that the file makes with
`enabled=False` scales nothing and is no subject.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradlint.data import NamedTuple
from gradlint.diagnostics import Diagnostic, Location, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.protocols import SCALING
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.flow.following import follow
from gradlint.static.flow.glance import may_break
from gradlint.static.flow.roots import Root
from gradlint.static.flow.subjects import on_scaling
from gradlint.static.flow.tree import Effect, Event, Kill, Loop, Uid, walk
from gradlint.static.lowering.values import Kind, Object
from gradlint.typestate import State

_STEPS = (EventKind.STEP, EventKind.OTHER_STEP)


class _Pair(NamedTuple):
    """A gradient scaler and an optimizer in one root, and the states in which paths reach what happens to them."""

    scaler: Object
    optimizer: Uid
    name: str
    effect: Effect
    arrivals: dict[Event, set[State]]

    def updated(self, step: Event) -> bool:
        """Whether the scaler is left to update itself on any path around a step."""
        return any(
            self.effect(event) is EventKind.UPDATE and event.loops[:1] == step.loops[:1] and "told" not in event.roles
            for event in self.arrivals
        )

    def codes(self, event: Event) -> set[str | None]:
        """Return the rules that the paths to an event break (None: a path that breaks none)."""
        kind = self.effect(event)
        if kind is None:
            return set()
        broken = (SCALING.advance(state, kind, event.place)[1] for state in self.arrivals[event])
        return {violation.code if violation else None for violation in broken}

    def states(self, event: Event) -> set[str]:
        """Return the names of the states in which paths reach an event."""
        return {state.name for state in self.arrivals[event]}

    def steps_in(self, loops: tuple[int, ...]) -> bool:
        """Whether the optimizer steps inside of all of some loops."""
        steps = (EventKind.STEP, EventKind.SCALED_STEP)
        return any(event.is_in(loops) and self.effect(event) in steps for event in self.arrivals)

    def marks(self, event: Event, role: str) -> list[tuple[str, Location]]:
        """Return a place that explains the state at an event."""
        places = [place for state in self.arrivals[event] if (place := state.mark(role)) is not None]
        return [(role, min(places))] if places else []


@check
def scaled_gradients(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL601, GL604, GL605, GL607."""
    for root in analysis.roots:
        pairs = _pairs(analysis, root)
        yield from _clipped_scaled([pair for pair in pairs if not any(_bypasses(pair))])
        for pair in pairs:
            yield from _bypassed(pair)
            yield from _never_updated(pair)
            yield from _unscaled_again(pair)


def _pairs(analysis: Analysis, root: Root) -> list[_Pair]:
    """Return the pairs of a root if any of them may break a rule."""
    asked = list(_asked(analysis, root))
    if not any(may_break(root.bare, SCALING, effect) for _, _, _, effect in asked):
        return []
    return [_Pair(*each, follow(root.bare, SCALING, each[-1])) for each in asked]


def _asked(analysis: Analysis, root: Root) -> Iterator[tuple[Object, Uid, str, Effect]]:
    found = analysis.events[root]
    for scaler in analysis.objects(Kind.SCALER):
        if scaler.uid in analysis.lowering.disabled or not any(scaler.uid in event.scalers for event in found):
            continue
        for optimizer, step in _stepped(analysis, found, scaler).items():
            if _anew(optimizer, step, root):
                continue
            yield scaler, optimizer, step.name, on_scaling(scaler, optimizer, analysis.lowering.objects)


def _anew(optimizer: Uid, step: Event, root: Root) -> bool:
    """Whether an unknown optimizer is another one in each iteration of the loop that steps it."""
    if not step.loops:
        return False
    ring = (each for each in walk(root.tree) if isinstance(each, Loop) and each.number == step.loops[-1])
    renewed = {id_ for loop in ring for node in walk(loop) if isinstance(node, Kill) for id_ in node.ids}
    own = (".".join(optimizer[1:end]) for end in range(2, len(optimizer) + 1)) if optimizer[0] == "?" else ()
    return not renewed.isdisjoint(("/".join(optimizer), *own))


def _stepped(analysis: Analysis, found: list[Event], scaler: Object) -> dict[Uid, Event]:
    """Return the first steps of the optimizers that step by a scaler here, or beside it and never by any."""
    anywhere = [event for each in analysis.events.values() for event in each if event.kind in _STEPS]
    by_scalers = frozenset(uid for event in anywhere if event.scalers for uid in event.targets or ())
    result: dict[Uid, Event] = {}
    for event in found:
        if event.kind in _STEPS:
            direct = not event.scalers and _is_optimizer(event, found)
            for uid in event.targets or ():
                if scaler.uid in event.scalers or (direct and uid not in by_scalers):
                    result.setdefault(uid, event)
    return result


def _is_optimizer(step: Event, found: list[Event]) -> bool:
    """Whether what steps is an optimizer: made as one, or cleared like one."""
    return step.kind is EventKind.STEP or any(
        event.kind is EventKind.ZERO and event.name == step.name and "module" not in event.roles for event in found
    )


def _bypasses(pair: _Pair) -> Iterator[Event]:
    for event in sorted(pair.arrivals, key=lambda each: each.place):
        codes = pair.codes(event)
        if "GL604" in codes and None not in codes:
            yield event


def _bypassed(pair: _Pair) -> Iterator[Diagnostic]:
    for event in _bypasses(pair):
        scaler = _spelled(pair.scaler)
        if pair.effect(event) is EventKind.STEP:
            what = f"`{pair.name}` steps on gradients that are still multiplied by the scale: `{scaler}` is bypassed"
            remedy = f"step through the scaler: `{scaler}.step({pair.name})`, then `{scaler}.update()`"
            marks = pair.marks(event, "scaled")
        else:
            what = f"`{scaler}` divides gradients by a scale that they were never multiplied by"
            remedy = f"scale the loss: `{scaler}.scale(loss).backward()`"
            marks = pair.marks(event, "plain")
        yield compose("GL604", Side.STATIC, event.place, marks, what=what, remedy=remedy)
        return


def _clipped_scaled(pairs: list[_Pair]) -> Iterator[Diagnostic]:
    silent = {
        event
        for pair in pairs
        for event in pair.arrivals
        if (pair.states(event) & {"unscaled", "unknown", "mixed"} and pair.steps_in(event.loops))
        or "scaled-bound" in event.roles
    }
    for pair in pairs:
        for event in pair.arrivals:
            if "GL601" in pair.codes(event) and event not in silent and "stepped" not in pair.states(event):
                scaler, marks = _spelled(pair.scaler), pair.marks(event, "scaled")
                yield compose("GL601", Side.STATIC, event.place, marks, scaler=scaler, subject=pair.name)


def _never_updated(pair: _Pair) -> Iterator[Diagnostic]:
    for event in sorted(pair.arrivals, key=lambda each: each.place):
        codes = pair.codes(event)
        if "GL605" in codes and (not pair.updated(event) or codes == {"GL605"}):
            step = pair.marks(event, "stepped")
            place = event.place if pair.effect(event) is EventKind.SCALED_STEP else step[0][1]
            yield compose("GL605", Side.STATIC, place, step, scaler=_spelled(pair.scaler))
            return


def _unscaled_again(pair: _Pair) -> Iterator[Diagnostic]:
    for event in sorted(pair.arrivals, key=lambda each: each.place):
        if pair.codes(event) == {"GL607"}:
            marks, scaler = pair.marks(event, "unscaled"), _spelled(pair.scaler)
            yield compose("GL607", Side.STATIC, event.place, marks, scaler=scaler, subject=pair.name)
            return


def _spelled(scaler: Object) -> str:
    return scaler.uid[-1].partition("#")[0]


@check
def backward_in_autocast(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL608: a backward pass inside `autocast`."""
    for root in analysis.roots:
        for event in dict.fromkeys(root.of(EventKind.BACKWARD)):
            if "autocast" in event.roles:
                yield compose("GL608", Side.STATIC, event.place)

"""Gradients and updates by hand: GL114, GL115 and GL116.

One loop gets one finding: an update that cannot work is not also stale.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gradlint.diagnostics import Diagnostic, Location, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.protocols import OPTIMIZER
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.flow.following import follow_to, run
from gradlint.static.flow.glance import breaking, may_reach
from gradlint.static.flow.protocols import GRADIENT
from gradlint.static.flow.roots import Root
from gradlint.static.flow.trained import on_gradient, on_parameter
from gradlint.static.flow.tree import Event, Kill, Uid, walk
from gradlint.static.lowering.gradients import is_own
from gradlint.typestate import State
from gradlint.wordings.updates import BY_GRADIENT, NOT_YET, REBOUND, TRACKED

_HARM = {
    "tracked": TRACKED,
    "name-only": "it gives the name of the loop a new tensor, and no parameter moves",
    "rebound": REBOUND,
}


@check
def updates(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL114 and GL115: what is wrong with an update by hand, and with the gradients it uses."""
    for root in analysis.roots:
        found = root.of(EventKind.HAND_STEP)
        if not found:
            continue
        broken = list(_broken(analysis, root, found))
        yield from broken
        if not broken:
            yield from _stale(analysis, root, found)


def _broken(analysis: Analysis, root: Root, found: list[Event]) -> Iterator[Diagnostic]:
    """GL114: an update that autograd records, or that moves no parameter."""
    trains = bool(root.of(EventKind.BACKWARD))
    for event in found:
        role = next((role for role in _HARM if role in event.roles), None)
        # A caller may have switched gradients off; one that runs backward has not.
        if role is not None and (trains or root.complete or role == "name-only"):
            what = _HARM[role].format(subject=event.name)
            update = BY_GRADIENT.format(event.name)
            yield compose("GL114", Side.STATIC, event.place, subject=event.name, what=what, update=update)


def _stale(analysis: Analysis, root: Root, found: list[Event]) -> Iterator[Diagnostic]:
    """GL115: an update uses gradients that it has used before; one finding for each loop."""
    renewed = frozenset(id_ for node in walk(root.tree) if isinstance(node, Kill) for id_ in node.ids)
    told: set[int] = set()
    for subject in dict.fromkeys(each for event in found for each in _subjects(event, renewed)):
        effect = on_parameter(subject, analysis.lowering.objects)
        arrivals = follow_to(root.bare, OPTIMIZER, effect, _dirty_at)
        for event, states in sorted(arrivals.items(), key=lambda item: item[0].place):
            if effect(event) is not EventKind.STEP or told & set(event.loops[:1]):
                continue
            dirty = _dirty(states, event, analysis.events[root])
            if dirty is not None:
                told.add(event.loops[0])
                yield compose("GL115", Side.STATIC, event.place, dirty.marks, subject=event.name)


def _dirty_at(_: Event, kind: EventKind) -> tuple[str, ...]:
    return ("dirty",) if kind is EventKind.STEP else ()


def _subjects(event: Event, renewed: frozenset[str]) -> Iterator[frozenset[Uid]]:
    """Yield who an update changes: each of the known parameters, a tensor of its own, or somebody unknown who stays the same."""
    targets = event.targets or frozenset()
    if "name-only" in event.roles or not targets:
        return
    unknown = frozenset(uid for uid in targets if uid[0] == "?")
    if not unknown:
        # A tensor that is made at one of several places is the same subject, wherever it is made anew.
        one = frozenset(uid for uid in targets if is_own(uid))
        yield from ([one] if one else [])
        yield from (frozenset({uid}) for uid in sorted(targets - one))
        return
    lasting = [uid for uid in unknown if ".".join(uid[1:]) not in renewed]
    if lasting:
        yield targets


def _dirty(states: set[State], step: Event, events: list[Event]) -> State | None:
    """Return how the gradients are stale on every path on which they have been used before."""
    again = [state for state in states if state.mark("spent") is not None]
    stale = [state for state in again if state.name == "dirty"]
    if not stale:
        return None
    dirty = min(stale, key=lambda state: state.marks)
    places = _loops_by_place(events)
    ring = _shared(step.loops, places.get(dirty.mark("dirty"), ()))
    # A loop over the parameters comes to one update many times: "spent" is the turn of the next of them.
    others = [state for state in again if state.name not in ("dirty", "spent") and not _begins(state, ring, places)]
    return dirty if ring and not others else None


def _loops_by_place(events: list[Event]) -> Mapping[Location | None, tuple[int, ...]]:
    return {event.place: event.loops for event in events}


def _begins(state: State, ring: tuple[int, ...], places: Mapping[Location | None, tuple[int, ...]]) -> bool:
    """Whether a path comes from a clearing outside the ring of backward and update."""
    cleared = state.mark("cleared")
    return cleared is not None and len(_shared(places.get(cleared, ()), ring)) < len(ring)


def _shared(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return one[:count]


@check
def no_gradient(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL116: a gradient is used as a tensor where it is None."""
    for root in analysis.roots:
        seen: set[Location] = set()
        for subject in dict.fromkeys(
            frozenset({uid}) for event in root.of(EventKind.READ) for uid in event.targets or ()
        ):
            effect = on_gradient(subject, analysis.lowering.objects)
            start = State("unknown")
            if not may_reach(root.bare, GRADIENT, effect, breaking(GRADIENT), start):
                continue
            for event, worlds in run(root.bare, GRADIENT, effect, start).arrivals.items():
                # Whatever a path has asked before may have told it that there is a gradient.
                sure = [world.state for world in worlds if world.state.name == "none" and not world.facts]
                if effect(event) is EventKind.READ and sure and event.place not in seen:
                    seen.add(event.place)
                    state = min(sure, key=lambda state: state.marks)
                    what, remedy = NOT_YET[0], NOT_YET[1].format(event.name)
                    yield compose(
                        "GL116", Side.STATIC, event.place, state.marks, subject=event.name, what=what, remedy=remedy
                    )
                    break

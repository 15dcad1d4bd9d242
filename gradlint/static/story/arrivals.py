"""What an event does to one subject: the states in which paths come to it, those in which they leave it, and what that breaks.

It runs a protocol over a tree, as the checks do; it must not know files or how the story is told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from gradlint.data import dataclass
from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.protocols import MODE
from gradlint.static.flow.following import pruned
from gradlint.static.flow.interpreter import Flow
from gradlint.static.flow.protocols import RATE, SHARDING
from gradlint.static.flow.tree import Branch, Call, Effect, Event, Loop, Node, Seq
from gradlint.story import Broken, Change
from gradlint.typestate import Protocol, State

_LATER = "later iterations"
SHOWN = {
    # Of a mode, what the model is in; that it was trained before is worth a word only where that matters.
    "trained": "train",
    "restored": "train",
    "lapsed-forward": "lapsed",
    "lapsed-backward": "lapsed",
    **dict.fromkeys(("pretrained", "pretrained-forward", "pretrained-backward"), "eval"),
}


@dataclass(frozen=True, slots=True)
class Watched:
    """A subject's name, its automaton and what events mean to it."""

    name: str
    protocol: Protocol
    effect: Effect


@dataclass(frozen=True, slots=True)
class Arrival:
    """The state in which a path comes to an event, and where it became unknown."""

    state: State
    since: Location | None = None

    @property
    def shown(self) -> str:
        """The state as it is told to a user."""
        return SHOWN.get(self.state.name, self.state.name)


def marked(node: Node, *, later: bool) -> Node:
    """Return a tree in which the events of later iterations are others than those of the first."""
    match node:
        case Event() if later:
            return replace(node, frame=(*node.frame, _LATER))
        case Seq(items):
            return Seq(tuple(marked(item, later=later) for item in items))
        case Branch(test, then, orelse):
            return Branch(test, marked(then, later=later), marked(orelse, later=later))
        case Loop(number, first, again, orelse, endless):
            ahead = marked(again, later=True)
            begin = ahead if later and first is again else marked(first, later=later)
            return Loop(number, begin, ahead, marked(orelse, later=later), endless)
        case Call(body):
            return replace(node, body=marked(body, later=later))
        case _:
            return node


def followed(tree: Node, watched: Watched) -> dict[Event, set[Arrival]]:
    """Return the states in which the paths through a tree come to each event."""
    flow: Flow[Arrival] = Flow(lambda arrival, event: _advanced(watched, arrival, event))
    flow.run(pruned(tree, watched.effect), Arrival(watched.protocol.initial))
    return flow.states


def _advanced(watched: Watched, arrival: Arrival, event: Event) -> Arrival:
    kind = watched.effect(event)
    if kind is None:
        return arrival
    state = watched.protocol.advance(arrival.state, kind, event.place)[0]
    if not state.name.startswith("unknown"):
        return Arrival(state)
    return Arrival(state, arrival.since or event.place)


def change(watched: Watched, event: Event, arrivals: set[Arrival]) -> Change | None:
    """Return what an event did to a subject; None if there is nothing to tell."""
    after = [_advanced(watched, arrival, event) for arrival in arrivals]
    shown = {arrival.shown for arrival in after}
    means = watched.effect(event)
    own = watched.protocol is not MODE and means not in (EventKind.ESCAPE, None)
    asked = watched.protocol is MODE and means in (EventKind.TRAIN, EventKind.EVAL, EventKind.CREATE)
    if not arrivals or not (own or asked or shown != {arrival.shown for arrival in arrivals}):
        return None
    states = tuple(sorted(shown))
    since = {arrival.since for arrival in after if arrival.since and arrival.since != event.place}
    again = event.frame[-1:] == (_LATER,)
    return Change(
        watched.name,
        () if again else states,
        states if again else (),
        tuple(sorted(since)),
        tuple(_broken(watched, event, arrivals)),
    )


def _broken(watched: Watched, event: Event, arrivals: set[Arrival]) -> Iterator[Broken]:
    # What is wrong with a rate or with shards is reported where they were changed.
    kind = watched.effect(event) if watched.protocol not in (RATE, SHARDING) else None
    found: dict[str, set[str]] = defaultdict(set)
    for arrival in arrivals if kind is not None else ():
        violation = watched.protocol.advance(arrival.state, kind, event.place)[1] if kind else None
        if violation is not None:
            found[violation.code].add(arrival.shown)
    everything = {arrival.shown for arrival in arrivals}
    for code, states in sorted(found.items()):
        yield Broken(code, tuple(sorted(states)), tuple(sorted(everything - states)))

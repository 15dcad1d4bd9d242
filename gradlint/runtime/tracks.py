"""One subject's walk through its protocol, with every move computed only once.

A run repeats the same few moves for hours; `Protocol.advance` is pure, so its answers are kept.
"""

from __future__ import annotations

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.typestate import Protocol, State, Violation

# Keyed by the ids of interned objects (states live in the values, places in `sites`): hashing them by content is slower
# than the move itself. The last item keeps the state of the key alive.
_moves: dict[tuple[int, EventKind, int], tuple[State, Violation | None, State, Location]] = {}
_states: dict[State, State] = {}


class Track:
    """Where one subject stands in its protocol."""

    __slots__ = ("protocol", "state")

    def __init__(self, protocol: Protocol, state: State | None = None) -> None:
        self.protocol = protocol
        self.state = _interned(state or protocol.initial)

    def put(self, state: State) -> None:
        """Go on from another state."""
        if state is not self.state:
            self.state = _interned(state)

    def advance(self, kind: EventKind, place: Location) -> Violation | None:
        """Move on by an event at `place`; return the violation that it is, if any."""
        key = (id(self.state), kind, id(place))
        move = _moves.get(key)
        if move is None:
            state, violation = self.protocol.advance(self.state, kind, place)
            move = _moves[key] = (_interned(state), violation, self.state, place)
        self.state = move[0]
        return move[1]


def _interned(state: State) -> State:
    return _states.setdefault(state, state)

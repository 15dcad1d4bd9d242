"""Typestates: what an automaton is, and how a subject goes through it.

Terms. A *protocol* is a table of *edges*; an edge leads from a *state* under an *event* to the
next state and may *violate* a rule. A state carries *marks*: the places worth telling the
user about ("spent" by this step). The static side keeps a set of states per subject, one per
path; the run-time side keeps one. Neither decides here whether a violation on some paths is
enough: that is the reader's question, not the table's.

Example: a loop without `zero_grad`

    event      state     marks
    BACKWARD   fresh     fresh=line 2
    STEP       spent     spent=line 3
    BACKWARD   dirty     dirty=line 2
    STEP       spent     violates GL101: gradients spent at line 3 were added to at line 2
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

from gradlint.data import dataclass
from gradlint.diagnostics import Location
from gradlint.events import EventKind

Marks = tuple[tuple[str, Location], ...]


@dataclass(frozen=True, slots=True)
class State:
    """A named state of one subject, with the places that led to it."""

    name: str
    marks: Marks = ()

    def __hash__(self) -> int:
        # States are looked up millions of times, and there are few: their marks need not be hashed.
        return hash(self.name)

    def mark(self, role: str) -> Location | None:
        """Return the place remembered under `role`, if any."""
        return next((place for name, place in self.marks if name == role), None)

    def moved(self, name: str, role: str | None, place: Location, worth: frozenset[str]) -> State:
        """Return the state `name` with the marks `worth` keeping, remembering `place` under `role` (None: nothing new)."""
        kept = tuple(item for item in self.marks if item[0] != role and item[0] in worth)
        if role is None:
            return self if name == self.name and len(kept) == len(self.marks) else State(name, kept)
        return State(name, tuple(sorted((*kept, (role, place)))))


@dataclass(frozen=True, slots=True)
class Edge:
    """Where an event leads, what it leaves behind, and which rule it breaks."""

    to: str
    mark: str | None = None
    violates: str | None = None


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken rule: its code, the state in which the event found the subject, the event's place."""

    code: str
    before: State
    place: Location


@dataclass(frozen=True, eq=False)
class Protocol:
    """A table of edges; an event without an edge leaves the state as it is.

    `worth` names, by state, the marks that explain something there; the others are dropped, so
    that few states differ by their past only. `anew` is where a subject begins that is built when
    something has happened already (None: where every subject begins).
    """

    name: str
    initial: State
    edges: Mapping[tuple[str, EventKind], Edge]
    worth: Mapping[str, frozenset[str]]
    anew: State | None = None

    def advance(self, state: State, kind: EventKind, place: Location) -> tuple[State, Violation | None]:
        """Return the state after an event at `place`, and the violation it is, if any."""
        if kind is EventKind.CREATE:
            return self.initial if state == self.initial else self.anew or self.initial, None
        edge = self.edges.get((state.name, kind))
        if edge is None:
            return state, None
        violation = Violation(edge.violates, state, place) if edge.violates else None
        return state.moved(edge.to, edge.mark, place, self.worth.get(edge.to, frozenset())), violation

    def led(self, name: str, kind: EventKind) -> tuple[str, ...]:
        """Return the names of the states to which an event may lead from one that is called so, whatever it remembers."""
        if kind is EventKind.CREATE:
            anew = (self.anew or self.initial).name
            return (anew, name) if name == self.initial.name else (anew,)
        return (self.edges.get((name, kind), Edge(name)).to,)

    def forbidding(self, kind: EventKind) -> frozenset[str]:
        """Return the names of the states in which an event violates a rule."""
        return self._forbidding.get(kind, frozenset())

    @cached_property
    def _forbidding(self) -> Mapping[EventKind, frozenset[str]]:
        kinds = {kind for (_, kind), edge in self.edges.items() if edge.violates} - {EventKind.CREATE}
        return {
            each: frozenset(n for (n, kind), e in self.edges.items() if kind is each and e.violates) for each in kinds
        }

    def broken_by(self, state: State, kind: EventKind) -> str | None:
        """Return the rule that an event violates in a state, if it violates one."""
        edge = self.edges.get((state.name, kind)) if kind is not EventKind.CREATE else None
        return edge.violates if edge is not None else None

    @cached_property
    def settling(self) -> frozenset[EventKind]:
        """The kinds of events that break no rule and of which a second one, right after the first, changes nothing."""
        return frozenset(kind for _, kind in self.edges) - {
            kind
            for (_, kind), edge in self.edges.items()
            if edge.violates or self.edges.get((edge.to, kind), Edge(edge.to)) != Edge(edge.to)
        }

    @property
    def codes(self) -> frozenset[str]:
        """The rules that an edge of this protocol can violate."""
        return frozenset(edge.violates for edge in self.edges.values() if edge.violates)

    @property
    def states(self) -> frozenset[str]:
        """The names of all states."""
        return frozenset(name for name, _ in self.edges) | {edge.to for edge in self.edges.values()}


def from_each(names: Iterable[str], kind: EventKind, edge: Edge) -> dict[tuple[str, EventKind], Edge]:
    """Return the rows of a table in which an event leads from several states along one edge."""
    return {(name, kind): edge for name in names}

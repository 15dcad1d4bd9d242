"""The interpreter: runs a flow tree over every feasible path and tells which states reach which event.

It knows the tree and *a* transition function, nothing of Python, optimizers or rules.

A *world* is one path's state and what that path has assumed of conditions. Control leaves a
node through one of four *exits*. A loop is *peeled*: its first iteration is run apart from the
later ones, which are run to a fixpoint; worlds are finite, so there is one.

Inside of a run a world is one integer, for there are many: the number of its state in the low bits, and above
them two bits for each condition, that it was true and that it was false. Outside it is a `World`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import Generic, TypeAlias, TypeVar

from gradlint.data import dataclass
from gradlint.static.flow.tree import (
    EMPTY,
    Atom,
    Both,
    Branch,
    Call,
    Event,
    Jump,
    JumpKind,
    Kill,
    Known,
    Loop,
    Node,
    Not,
    Open,
    Predicate,
    Seq,
)

S = TypeVar("S", bound=Hashable)

_MOST_WORLDS = 96
"""Past this many worlds the assumptions are dropped: fewer correlations, more paths, never fewer."""
_STATE_BITS = 24
_STATE = (1 << _STATE_BITS) - 1
"""What a world says of its state."""

Worlds: TypeAlias = AbstractSet[int]
"""Nobody changes one: many nodes are left in the worlds in which they were reached."""
_NOWHERE: Worlds = frozenset()


@dataclass(frozen=True, slots=True)
class World(Generic[S]):
    """One path so far: the subject's state and the conditions that the path has taken to be true or false."""

    state: S
    facts: frozenset[tuple[Atom, bool]] = frozenset()


@dataclass(slots=True)
class Exits:
    """The worlds that leave a node, by the way they leave it."""

    normal: Worlds = _NOWHERE
    brk: Worlds = _NOWHERE
    cont: Worlds = _NOWHERE
    ret: Worlds = _NOWHERE

    def absorb(self, other: Exits) -> None:
        """Add the jumps of `other` (not its normal exit)."""
        # There are many nodes, and few of them jump.
        if other.brk:
            self.brk = self.brk | other.brk
        if other.cont:
            self.cont = self.cont | other.cont
        if other.ret:
            self.ret = self.ret | other.ret


class Flow(Generic[S]):
    """One run of the interpreter.

    `advance` maps a state and an event to the next state, and knows nothing else. After `run`, `states` and `arrivals` hold the
    states and the worlds in which each event was reached.
    """

    def __init__(self, advance: Callable[[S, Event], S]) -> None:
        self._advance = advance
        self._states: list[S] = []
        self._numbers: dict[S, int] = {}
        self._bits: dict[Atom, int] = {}
        self._depending: dict[str, int] = defaultdict(int)
        self._reached: dict[Event, set[int]] = defaultdict(set)
        self._known: dict[int, tuple[Event, set[int], dict[int, int]]] = {}
        self._done: dict[tuple[int, frozenset[int]], tuple[Loop, Exits]] = {}
        self.ends: set[S] = set()
        self.blurred = False
        """Whether assumptions were dropped: some paths that were taken may be none."""

    def run(self, node: Node, start: S) -> None:
        """Interpret `node` from the state `start`; then `ends` holds the states in which it ends."""
        exits = self._run(node, {self._number(start)})
        self.ends = self._states_of(exits.normal | exits.ret)

    @cached_property
    def states(self) -> dict[Event, set[S]]:
        """The states in which each event was reached."""
        return {event: self._states_of(worlds) for event, worlds in self._reached.items()}

    @cached_property
    def arrivals(self) -> dict[Event, set[World[S]]]:
        """The worlds in which each event was reached."""
        return {event: self.worlds(event) for event in self._reached}

    def worlds(self, event: Event) -> set[World[S]]:
        """Return the worlds in which an event was reached."""
        return set(map(self._world, self._reached[event]))

    def _states_of(self, worlds: Worlds) -> set[S]:
        return {self._states[number] for number in {world & _STATE for world in worlds}}

    def _world(self, world: int) -> World[S]:
        true = ((atom, True) for atom, bit in self._bits.items() if world & bit)
        false = ((atom, False) for atom, bit in self._bits.items() if world & bit << 1)
        return World(self._states[world & _STATE], frozenset((*true, *false)))

    def _number(self, state: S) -> int:
        number = self._numbers.setdefault(state, len(self._states))
        if number == len(self._states):
            self._states.append(state)
        return number

    def _bit(self, atom: Atom) -> int:
        """Return what a world in which a condition is true has set; where it is false, the next bit is."""
        bit = self._bits.get(atom)
        if bit is None:
            bit = self._bits[atom] = 1 << (_STATE_BITS + 2 * len(self._bits))
            for id_ in atom.ids:
                self._depending[id_] |= bit | bit << 1
        return bit

    def _run(self, node: Node, worlds: Worlds) -> Exits:
        if not worlds or node is EMPTY:
            return Exits(worlds)
        # No patterns: see `tree.walk`.
        if isinstance(node, Seq):
            return self._seq(node.items, worlds)
        if isinstance(node, Branch):
            return self._branch(node, worlds)
        if isinstance(node, Kill):
            return Exits(self._forget(worlds, node.ids))
        if isinstance(node, Call):
            return self._call(node, worlds)
        if isinstance(node, Event):
            return Exits(self._event(node, worlds))
        if isinstance(node, Jump):
            return _jump(node.kind, worlds)
        # The turns of the loops around it bring the same worlds again: without this, each level doubles the work.
        key = (id(node), frozenset(worlds))
        if key not in self._done:
            self._done[key] = node, self._loop(node, worlds)
        return self._done[key][1]

    def _call(self, call: Call, worlds: Worlds) -> Exits:
        inner = self._run(call.body, worlds)
        if call.ends is JumpKind.CONTINUE:
            return Exits(inner.normal | inner.cont, brk=inner.brk, ret=inner.ret)
        return Exits(inner.normal | inner.ret)

    def _event(self, event: Event, worlds: Worlds) -> Worlds:
        # Equal events of the first and the later turns of a loop need not mean the same.
        known = self._known.get(id(event))
        if known is None:
            known = self._known[id(event)] = event, self._reached[event], {}
        _, arrived, moves = known
        arrived |= worlds
        after = set()
        for world in worlds:
            state = world & _STATE
            if state not in moves:
                moves[state] = self._number(self._advance(self._states[state], event))
            after.add(world - state + moves[state])
        return after

    def _bounded(self, worlds: Worlds) -> Worlds:
        if len(worlds) <= _MOST_WORLDS:
            return worlds
        self.blurred = True
        return {world & _STATE for world in worlds}

    def _seq(self, items: Iterable[Node], worlds: Worlds) -> Exits:
        result = Exits(worlds)
        for item in items:
            if type(item) is Event:  # Most items are, and there is one way out of them.
                result.normal = self._event(item, self._bounded(result.normal))
                continue
            step = self._run(item, self._bounded(result.normal))
            result.absorb(step)
            result.normal = step.normal
            if not result.normal:
                break
        return result

    def _branch(self, branch: Branch, worlds: Worlds) -> Exits:
        result = Exits()
        for node, truth in ((branch.then, True), (branch.orelse, False)):
            side = self._run(node, self._assume(worlds, branch.test, truth))
            result.normal = result.normal | side.normal
            result.absorb(side)
        return result

    def _loop(self, loop: Loop, worlds: Worlds) -> Exits:
        first = self._run(loop.first, worlds)
        result = Exits(first.brk, ret=first.ret)
        ended = _NOWHERE
        fresh = self._bounded(first.normal | first.cont)
        while fresh:
            ended = ended | fresh
            later = self._run(loop.later, fresh)
            result.normal = result.normal | later.brk
            result.ret = result.ret | later.ret
            fresh = self._bounded(later.normal | later.cont) - ended
        if not loop.endless:
            after = self._run(loop.orelse, self._bounded(ended))
            result.normal = result.normal | after.normal
            result.absorb(after)
        return result

    def _forget(self, worlds: Worlds, ids: frozenset[str]) -> Worlds:
        """Return the worlds without what they assume of `ids`."""
        gone = 0
        for id_ in ids:
            gone |= self._depending.get(id_, 0)
        return {world & ~gone for world in worlds} if gone else worlds

    def _assume(self, worlds: Worlds, test: Predicate, truth: bool) -> Worlds:
        """Return the worlds in which `test` has the given truth; those that contradict it are left out."""
        match test:
            case Atom():
                bit = self._bit(test)
                held, denied = (bit, bit << 1) if truth else (bit << 1, bit)
                return {world | held for world in worlds if not world & denied}
            case Known(known):
                return worlds if known is truth else set()
            case Open():
                return worlds
            case Not():
                return self._assume(worlds, test.operand, not truth)
            case Both(left, right) if truth:
                return self._assume(self._assume(worlds, left, True), right, True)
            case Both(left, right):
                beyond = self._assume(self._assume(worlds, left, True), right, False)
                return self._assume(worlds, left, False) | beyond


def _jump(kind: JumpKind, worlds: Worlds) -> Exits:
    match kind:
        case JumpKind.BREAK:
            return Exits(brk=worlds)
        case JumpKind.CONTINUE:
            return Exits(cont=worlds)
        case JumpKind.RETURN:
            return Exits(ret=worlds)
        case JumpKind.RAISE:
            # An exceptional path creates no finding.
            return Exits()

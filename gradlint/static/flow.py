"""The interpreter: runs a flow tree over every feasible path and tells which states reach which event.

It knows the tree and *a* transition function, nothing of Python, optimizers or rules.

A *world* is one path's state and what that path has assumed of conditions. Control leaves a
node through one of four *exits*. A loop is *peeled*: its first iteration is run apart from the
later ones, which are run to a fixpoint; worlds are finite, so there is one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gradlint.static.tree import (
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
    Predicate,
    Seq,
)

S = TypeVar("S", bound=Hashable)

_MOST_WORLDS = 96
"""Past this many worlds the assumptions are dropped: fewer correlations, more paths, never fewer."""


@dataclass(
    slots=True, unsafe_hash=True
)  # Nobody changes one; to be frozen costs three times as much, and there are many.
class World(Generic[S]):
    """One path so far: the subject's state and the conditions that the path has taken to be true or false."""

    state: S
    facts: frozenset[tuple[Atom, bool]] = frozenset()


@dataclass(slots=True)
class Exits(Generic[S]):
    """The worlds that leave a node, by the way they leave it."""

    normal: set[World[S]] = field(default_factory=set)
    brk: set[World[S]] = field(default_factory=set)
    cont: set[World[S]] = field(default_factory=set)
    ret: set[World[S]] = field(default_factory=set)

    def absorb(self, other: Exits[S]) -> None:
        """Add the jumps of `other` (not its normal exit)."""
        self.brk |= other.brk
        self.cont |= other.cont
        self.ret |= other.ret


class Flow(Generic[S]):
    """One run of the interpreter.

    `advance` maps a state and an event to the next state. After `run`, `arrivals` holds the
    worlds in which each event was reached. A `blind` run assumes nothing of conditions: it takes
    paths that nobody can take, too, and costs next to nothing.
    """

    def __init__(self, advance: Callable[[S, Event], S], *, blind: bool = False) -> None:
        self._advance = advance
        self._blind = blind
        self.arrivals: dict[Event, set[World[S]]] = defaultdict(set)
        self._done: dict[tuple[int, frozenset[World[S]]], tuple[Loop, Exits[S]]] = {}
        self.ends: set[S] = set()
        self.blurred = False
        """Whether assumptions were dropped: some paths that were taken may be none."""

    def run(self, node: Node, start: S) -> None:
        """Interpret `node` from the state `start`; then `ends` holds the states in which it ends."""
        exits = self._run(node, {World(start)})
        self.ends = {world.state for world in exits.normal | exits.ret}

    def _run(self, node: Node, worlds: set[World[S]]) -> Exits[S]:
        if not worlds:
            return Exits()
        match node:
            case Event():
                return Exits(self._event(node, worlds))
            case Kill(ids):
                return Exits(_forget(worlds, ids))
            case Jump(kind):
                return _jump(kind, worlds)
            case Seq(items):
                return self._seq(items, worlds)
            case Branch():
                return self._branch(node, worlds)
            case Loop():
                # The turns of the loops around it bring the same worlds again: without this, each level doubles the work.
                key = (id(node), frozenset(worlds))
                if key not in self._done:
                    self._done[key] = node, self._loop(node, worlds)
                return self._done[key][1]
            case Call(body, ends):
                inner = self._run(body, worlds)
                if ends is JumpKind.CONTINUE:
                    return Exits(inner.normal | inner.cont, brk=inner.brk, ret=inner.ret)
                return Exits(inner.normal | inner.ret)

    def _bounded(self, worlds: set[World[S]]) -> set[World[S]]:
        if len(worlds) <= _MOST_WORLDS:
            return worlds
        self.blurred = True
        return {World(world.state) for world in worlds}

    def _event(self, event: Event, worlds: set[World[S]]) -> set[World[S]]:
        self.arrivals[event] |= worlds
        if len(worlds) == 1:
            (world,) = worlds
            state = self._advance(world.state, event)
            return worlds if state is world.state else {World(state, world.facts)}
        after = {state: self._advance(state, event) for state in {world.state for world in worlds}}
        if all(state is found for state, found in after.items()):
            return worlds
        return {World(after[world.state], world.facts) for world in worlds}

    def _seq(self, items: Iterable[Node], worlds: set[World[S]]) -> Exits[S]:
        result: Exits[S] = Exits(worlds)
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

    def _branch(self, branch: Branch, worlds: set[World[S]]) -> Exits[S]:
        result: Exits[S] = Exits()
        for node, truth in ((branch.then, True), (branch.orelse, False)):
            if self._blind and not isinstance(branch.test, Known):
                taken = worlds
            else:
                taken = set(_assume(worlds, branch.test, truth))
            side = self._run(node, taken)
            result.normal |= side.normal
            result.absorb(side)
        return result

    def _loop(self, loop: Loop, worlds: set[World[S]]) -> Exits[S]:
        first = self._run(loop.first, worlds)
        result: Exits[S] = Exits(set(first.brk), ret=set(first.ret))
        ended: set[World[S]] = set()
        fresh = self._bounded(first.normal | first.cont)
        while fresh:
            ended |= fresh
            later = self._run(loop.later, fresh)
            result.normal |= later.brk
            result.ret |= later.ret
            fresh = self._bounded(later.normal | later.cont) - ended
        if not loop.endless:
            after = self._run(loop.orelse, self._bounded(ended))
            result.normal |= after.normal
            result.absorb(after)
        return result


def _jump(kind: JumpKind, worlds: set[World[S]]) -> Exits[S]:
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


def _forget(worlds: set[World[S]], ids: frozenset[str]) -> set[World[S]]:
    """Return the worlds without what they assume of `ids`."""
    # As sets, for these remember the hashes of what they hold; many worlds have the same facts.
    facts = frozenset[tuple[Atom, bool]]().union(*(world.facts for world in worlds))
    gone = frozenset([fact for fact in facts if not fact[0].ids.isdisjoint(ids)])
    return {World(world.state, world.facts - gone) for world in worlds} if gone else worlds


def _assume(worlds: Iterable[World[S]], test: Predicate, truth: bool) -> list[World[S]]:
    """Return the worlds in which `test` has the given truth; those that contradict it are left out."""
    match test:
        case Known(known):
            return list(worlds) if known is truth else []
        case Not(operand):
            return _assume(worlds, operand, not truth)
        case Both(left, right) if truth:
            return _assume(_assume(worlds, left, True), right, True)
        case Both(left, right):
            return _assume(worlds, left, False) + _assume(_assume(worlds, left, True), right, False)
        case Atom():
            # As sets, for these remember the hashes of what they hold.
            held, denied = frozenset({(test, truth)}), frozenset({(test, not truth)})
            return [
                world if held <= world.facts else World(world.state, world.facts | held)
                for world in worlds
                if denied.isdisjoint(world.facts)
            ]

"""A glance: whether any path could come to an event in a state that matters, if each branch could be taken.

It remembers neither conditions nor places, so that it costs next to nothing; what it does not find, no run does. States are known
by their names only, and some of them are one integer.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator

from gradlint.events import EventKind
from gradlint.static.flow.tree import Branch, Call, Effect, Event, Jump, JumpKind, Kill, Known, Loop, Node, Seq
from gradlint.typestate import Protocol, State

_Meaning = tuple[EventKind, int]
"""What an event is to a subject, and the states in which something is to be said of it."""

Telling = Callable[[Event, EventKind], Iterable[str]]
"""The names of the states in which something is to be said of an event, which means something to the subject."""


def may_break(tree: Node, protocol: Protocol, effect: Effect) -> bool:
    """Whether a subject may break a rule of a protocol on some path through a tree."""
    return _comes_to_it(tree, Glance(_names(protocol), effect, breaking(protocol), protocol.settling), protocol.initial)


def breaking(protocol: Protocol) -> Telling:
    """Return what tells in which states an event breaks a rule of a protocol."""
    return lambda _, kind: protocol.forbidding(kind)


def may_reach(tree: Node, protocol: Protocol, effect: Effect, telling: Telling, start: State | None = None) -> bool:
    """Whether a path through a tree may come to an event in a state that is `telling` there."""
    return _comes_to_it(tree, Glance(_names(protocol), effect, telling), start or protocol.initial)


def _comes_to_it(tree: Node, glance: Glance, start: State) -> bool:
    try:
        glance.over(tree, start.name)
    except _FoundError:
        return True
    return False


class _FoundError(Exception):
    """A path has come to what was looked for."""


class _Names:
    """The states of a protocol by their names, a bit for each."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._bits: dict[str, int] = {}
        self._moves: defaultdict[EventKind, dict[int, int]] = defaultdict(dict)

    def of(self, names: Iterable[str]) -> int:
        """Return the states of these names."""
        states = 0
        for name in names:
            states |= self._bits.setdefault(name, 1 << len(self._bits))
        return states

    def moved(self, states: int, kind: EventKind) -> int:
        """Return the states after an event."""
        moves = self._moves[kind]
        if states not in moves:
            before = [name for name, bit in self._bits.items() if states & bit]
            moves[states] = self.of(after for name in before for after in self._protocol.led(name, kind))
        return moves[states]


_names = functools.cache(_Names)


class Glance:
    """One look over a tree; a jump leaves its states to what it leads to, and of `settling` events in a row the first is enough."""

    def __init__(self, names: _Names, effect: Effect, telling: Telling, settling: Collection[EventKind] = ()) -> None:
        self._names = names
        self._effect = effect
        self._telling = telling
        self._settling = settling
        self._kept: dict[int, list[_Meaning | Node]] = {}
        self._broken = self._continued = self._returned = 0
        self._done: dict[tuple[int, int], tuple[int, int, int, int]] = {}

    def over(self, node: Node, start: str) -> None:
        """Follow all paths; one that comes to what is looked for ends it."""
        self._run(node, self._names.of([start]))

    def _run(self, node: Node, states: int) -> int:
        """Return the states in which paths go on behind a node."""
        # No patterns: see `tree.walk`.
        if type(node) is Seq:
            return self._seq(node, states)
        if type(node) is Branch:
            return self._branch(node, states)
        if type(node) is Call:
            return self._call(node, states)
        if type(node) is Jump:
            return self._jump(node.kind, states)
        if type(node) is Loop:
            return self._loop(node, states)
        if type(node) is Kill:
            return states
        return self._through(self._relevant((node,)), states)

    def _seq(self, seq: Seq, states: int) -> int:
        known = self._kept.get(id(seq))
        if known is None:  # Other turns come by again, and little of it means anything to one subject.
            known = self._kept[id(seq)] = list(self._relevant(seq.items))
        return self._through(known, states)

    def _relevant(self, items: Iterable[Node]) -> Iterator[_Meaning | Node]:
        """Yield what events mean to the subject, and what is none, in order."""
        effect = self._effect
        last: EventKind | None = None
        for item in items:
            if isinstance(item, Event):
                kind = effect(item)
                if kind is not None and (kind is not last or kind not in self._settling):
                    yield kind, self._names.of(self._telling(item, kind))
                    last = kind
            elif not isinstance(item, Kill):
                yield item
                last = None

    def _through(self, items: Iterable[_Meaning | Node], states: int) -> int:
        for each in items:
            if isinstance(each, tuple):
                kind, telling = each
                if states & telling:
                    raise _FoundError
                states = self._names.moved(states, kind)
            else:
                states = self._run(each, states)
            if not states:
                break
        return states

    def _branch(self, branch: Branch, states: int) -> int:
        if isinstance(branch.test, Known):
            return self._run(branch.then if branch.test.truth else branch.orelse, states)
        return self._run(branch.then, states) | self._run(branch.orelse, states)

    def _call(self, call: Call, states: int) -> int:
        if call.ends is JumpKind.CONTINUE:
            outside, self._continued = self._continued, 0
            states = self._run(call.body, states) | self._continued
            self._continued = outside
        else:
            outside, self._returned = self._returned, 0
            states = self._run(call.body, states) | self._returned
            self._returned = outside
        return states

    def _jump(self, kind: JumpKind, states: int) -> int:
        if kind is JumpKind.RETURN:
            self._returned |= states
        elif kind is JumpKind.CONTINUE:
            self._continued |= states
        elif kind is JumpKind.BREAK:
            self._broken |= states
        return 0

    def _loop(self, loop: Loop, states: int) -> int:
        # The turns of the loops around it bring the same states again: without this, each level doubles the work.
        key = id(loop), states
        outside = self._broken, self._continued, self._returned
        if key not in self._done:
            self._broken = self._continued = self._returned = 0
            left = self._turns(loop, states)
            self._done[key] = left, self._broken, self._continued, self._returned
        left, broken, continued, returned = self._done[key]
        self._broken, self._continued, self._returned = (
            outside[0] | broken,
            outside[1] | continued,
            outside[2] | returned,
        )
        return left

    def _turns(self, loop: Loop, states: int) -> int:
        ended, fresh = 0, self._run(loop.first, states) | self._continued
        while fresh:
            ended |= fresh
            self._continued = 0
            fresh = (self._run(loop.later, fresh) | self._continued) & ~ended
        left, self._broken, self._continued = self._broken, 0, 0
        return left if loop.endless else left | self._run(loop.orelse, ended)

"""Following one subject: a tree is pruned to what concerns it, and a protocol is run over the rest.

It knows an effect as a function only, not whose it is, and no rule.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from gradlint.events import EventKind
from gradlint.static.flow.glance import Telling, may_break, may_reach
from gradlint.static.flow.interpreter import Flow
from gradlint.static.flow.relevance import relevant
from gradlint.static.flow.tree import (
    EMPTY,
    Branch,
    Call,
    Effect,
    Event,
    Jump,
    JumpKind,
    Kill,
    Loop,
    Node,
    Predicate,
    Seq,
    atoms,
    rebuilt,
    walk,
)
from gradlint.typestate import Protocol, State


def follow(tree: Node, protocol: Protocol, effect: Effect, start: State | None = None) -> dict[Event, set[State]]:
    """Run a protocol for one subject over a tree; return the states in which each of its events was reached."""
    return _over(relevant(pruned(tree, effect)), protocol, effect, start).states


def follow_to(
    tree: Node, protocol: Protocol, effect: Effect, telling: Telling, start: State | None = None
) -> dict[Event, set[State]]:
    """Return what `follow` does if a glance comes to an event in a state that is `telling` there, else nothing."""
    return follow(tree, protocol, effect, start) if may_reach(tree, protocol, effect, telling, start) else {}


def breaches(tree: Node, protocol: Protocol, effect: Effect) -> dict[Event, set[State]]:
    """Return the states in which the events were reached that break a rule on some path that somebody can take."""
    if not may_break(tree, protocol, effect):
        return {}
    broken: dict[Event, None] = {}

    def advance(state: State, event: Event) -> State:
        kind = effect(event)
        after, violation = (state, None) if kind is None else protocol.advance(state, kind, event.place)
        if violation is not None:
            broken[event] = None
        return after

    kept = pruned(tree, effect, protocol.settling)
    flow: Flow[State] = Flow(advance)
    flow.run(relevant(kept), protocol.initial)
    if broken and flow.blurred:  # Where other assumptions are dropped, it may turn out to be impossible.
        broken.clear()
        flow = Flow(advance)
        flow.run(kept, protocol.initial)
    return {event: flow.states[event] for event in broken}


def run(tree: Node, protocol: Protocol, effect: Effect, start: State | None = None) -> Flow[State]:
    """Run a protocol for one subject over a tree and return the interpreter with its arrivals, and all that paths have assumed."""
    return _over(pruned(tree, effect), protocol, effect, start)


def _over(kept: Node, protocol: Protocol, effect: Effect, start: State | None) -> Flow[State]:
    def advance(state: State, event: Event) -> State:
        kind = effect(event)
        return state if kind is None else protocol.advance(state, kind, event.place)[0]

    flow: Flow[State] = Flow(advance)
    flow.run(kept, protocol.initial if start is None else start)
    return flow


def pruned(node: Node, effect: Effect, settling: Collection[EventKind] = ()) -> Node:
    """Return the tree without what means nothing to the subject; of `settling` events right after one another, the first is kept."""
    return _Pruning(effect, settling).of(node) or EMPTY


def bare(node: Node) -> Node:
    """Return the tree without what means nothing to anybody, and without kills of what no condition mentions."""
    pruning = _Pruning(lambda event: event.kind)
    kept = pruning.of(node)
    mentioned = frozenset(id_ for test in pruning.tests for atom in atoms(test) for id_ in atom.ids)
    return (kept and _without_kills(kept, mentioned)) or EMPTY


def _without_kills(node: Node, wanted: frozenset[str]) -> Node | None:
    # No patterns: see `tree.walk`.
    if isinstance(node, Kill):
        kept = node.ids & wanted
        return node if kept == node.ids else Kill(kept) if kept else None
    if isinstance(node, Seq):
        return Seq(tuple(_joined(node.items, wanted)))
    return rebuilt(node, lambda inner: _without_kills(inner, wanted) or EMPTY)


def _joined(items: Iterable[Node], wanted: frozenset[str]) -> list[Node]:
    """Return the items of a sequence without kills of what is not wanted; those that follow one another are one."""
    joined: list[Node] = []
    ids: frozenset[str] = frozenset()
    for item in items:
        kept = item if type(item) is Event else _without_kills(item, wanted)
        if isinstance(kept, Kill):
            ids |= kept.ids
        elif kept is not None:
            if ids:
                joined.append(Kill(ids))
                ids = frozenset()
            joined.append(kept)
    return [*joined, Kill(ids)] if ids else joined


class _Pruning:
    """One pruning, and the `tests` of the branches that it keeps."""

    def __init__(self, effect: Effect, settling: Collection[EventKind] = ()) -> None:
        self._effect = effect
        self._settling = settling
        self.tests: list[Predicate] = []
        self._returns = self._continues = 0
        """The jumps out of the innermost call, and the innermost turn, so far."""

    def of(self, node: Node) -> Node | None:
        """Return what is left of a node."""
        # No patterns: see `tree.walk`.
        if type(node) is Seq:
            kept = self._kept(node.items)
            if len(kept) == 1:
                return kept[0]
            return Seq(tuple(kept)) if kept else None
        if type(node) is Branch:
            return self._branch(node)
        if type(node) is Kill:
            return node
        if type(node) is Jump:
            self._returns += node.kind is JumpKind.RETURN
            self._continues += node.kind is JumpKind.CONTINUE
            return node
        if type(node) is Call:
            return self._call(node)
        if type(node) is Loop:
            return self._loop(node)
        return node if type(node) is Event and self._effect(node) is not None else None

    def _kept(self, items: Iterable[Node]) -> list[Node]:
        effect, settling = self._effect, self._settling
        kept: list[Node] = []
        last: EventKind | None = None
        for item in items:
            # Most of what there is are events that mean nothing here.
            if type(item) is Event:
                kind = effect(item)
                if kind is not None and (kind is not last or kind not in settling):
                    kept.append(item)
                    last = kind
            elif (inner := self.of(item)) is not None:
                kept.append(inner)
                last = last if isinstance(inner, Kill) else None
        return kept

    def _branch(self, node: Branch) -> Node | None:
        left, right = self.of(node.then), self.of(node.orelse)
        if _idle(left) and _idle(right):
            return _kills(left, right)
        self.tests.append(node.test)
        return Branch(node.test, left or EMPTY, right or EMPTY)

    def _loop(self, node: Loop) -> Node | None:
        body = self.of(node.first)
        again = body if node.later is node.first else self.of(node.later)
        after = self.of(node.orelse)
        if _idle(body) and _idle(again) and not node.endless:
            # What the loop makes anew stays made anew after it.
            rest = [each for each in (_kills(body, again), after) if each is not None]
            return Seq(tuple(rest)) if rest else None
        return Loop(node.number, body or EMPTY, again or EMPTY, after or EMPTY, node.endless)

    def _call(self, node: Call) -> Node | None:
        """Return a call without the jumps with which it ends anyhow, and no call but what it does where no other jump ends it."""
        if node.ends is JumpKind.CONTINUE:
            outside, self._continues = self._continues, 0
            body, jumps = self.of(node.body), self._continues
            self._continues = outside
        else:
            outside, self._returns = self._returns, 0
            body, jumps = self.of(node.body), self._returns
            self._returns = outside
        items = body.items if isinstance(body, Seq) else () if body is None else (body,)
        rest = len(items)
        while rest and _idle(items[rest - 1], node.ends):
            rest -= 1
        left = [each for item in items[rest:] for each in walk(item)]
        jumps -= sum(isinstance(each, Jump) for each in left)
        last = _kills(*items[rest:])
        kept = Seq((*items[:rest], last) if last else items[:rest])
        if jumps:
            return Call(kept, node.ends)
        return kept if kept.items else None


def _idle(node: Node | None, ends: JumpKind | None = None) -> bool:
    """Whether nothing happens in a node but kills (or local jumps of loops and calls inside it) and jumps that only end what `ends`."""
    if type(node) is Seq:
        return all(_idle(each, ends) for each in node.items)
    if type(node) is Branch:
        return _idle(node.then, ends) and _idle(node.orelse, ends)
    return node is None or type(node) is Kill or (type(node) is Jump and node.kind is ends)


def _kills(*nodes: Node | None) -> Node | None:
    ids = {id_ for node in nodes if node for each in walk(node) if isinstance(each, Kill) for id_ in each.ids}
    return Kill(frozenset(ids)) if ids else None

"""Following one subject: a tree is pruned to what concerns it, and a protocol is run over the rest.

It knows an effect as a function only, not whose it is, and no rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from gradlint.events import EventKind
from gradlint.static.flow import Flow, World
from gradlint.static.relevance import relevant
from gradlint.static.tree import (
    EMPTY,
    Atom,
    Both,
    Branch,
    Call,
    Event,
    Jump,
    Kill,
    Loop,
    Node,
    Not,
    Predicate,
    Seq,
    walk,
)
from gradlint.typestate import Protocol, State

Effect = Callable[[Event], EventKind | None]


def follow(
    tree: Node, protocol: Protocol, effect: Effect, start: State | None = None, *, blind: bool = False
) -> dict[Event, set[State]]:
    """Run a protocol for one subject over a tree; return the states in which each of its events was reached."""
    flow: Flow[State] = Flow(_advancing(protocol, effect), blind=blind)
    kept = pruned(tree, effect)
    flow.run(kept if blind else relevant(kept), protocol.initial if start is None else start)
    return flow.states


def breaches(tree: Node, protocol: Protocol, effect: Effect) -> dict[Event, set[World[State]]]:
    """Return the worlds in which the events were reached that break a rule on some path that somebody can take."""
    kept = pruned(tree, effect)
    broken: dict[Event, None] = {}

    def advance(state: State, event: Event) -> State:
        kind = effect(event)
        after, violation = (state, None) if kind is None else protocol.advance(state, kind, event.place)
        if violation is not None:
            broken[event] = None
        return after

    # What a cheap run finds impossible needs no dear one; only the last one tells what paths have assumed.
    for blind, made in ((True, False), (False, True), (False, False)):
        broken.clear()
        flow: Flow[State] = Flow(advance, blind=blind)
        flow.run(relevant(kept) if made else kept, protocol.initial)
        if not broken:
            return {}
    return {event: flow.worlds(event) for event in broken}


def run(
    tree: Node, protocol: Protocol, effect: Effect, start: State | None = None, *, blind: bool = False
) -> Flow[State]:
    """Run a protocol for one subject over a tree and return the interpreter with its arrivals (`blind`: see Flow)."""
    flow: Flow[State] = Flow(_advancing(protocol, effect), blind=blind)
    flow.run(pruned(tree, effect), protocol.initial if start is None else start)
    return flow


def _advancing(protocol: Protocol, effect: Effect) -> Callable[[State, Event], State]:
    """Return what an event makes of the subject's state."""

    def advance(state: State, event: Event) -> State:
        kind = effect(event)
        return state if kind is None else protocol.advance(state, kind, event.place)[0]

    return advance


def pruned(node: Node, effect: Effect) -> Node:
    """Return the tree without what means nothing to the subject, and without kills of what no condition mentions."""
    kept = _prune(node, effect)
    if kept is None:
        return EMPTY
    return _without_kills(kept, frozenset(_mentioned(kept))) or EMPTY


def _mentioned(node: Node) -> Iterator[str]:
    """Yield the ids that the conditions of a tree depend on."""
    for each in walk(node):
        if isinstance(each, Branch):
            yield from _ids(each.test)


def _ids(test: Predicate) -> Iterator[str]:
    match test:
        case Atom(ids=ids):
            yield from ids
        case Not(operand):
            yield from _ids(operand)
        case Both(left, right):
            yield from _ids(left)
            yield from _ids(right)
        case _:
            return


def _without_kills(node: Node, wanted: frozenset[str]) -> Node | None:
    match node:
        case Kill(ids):
            kept = ids & wanted
            return node if kept == ids else Kill(kept) if kept else None
        case Seq(items):
            inner = (_without_kills(each, wanted) for each in items)
            return Seq(tuple(_joined(item for item in inner if item is not None)))
        case Branch(test, then, orelse):
            return Branch(test, _without_kills(then, wanted) or EMPTY, _without_kills(orelse, wanted) or EMPTY)
        case Loop(number, first, later, orelse, endless):
            body = _without_kills(first, wanted) or EMPTY
            again = body if later is first else _without_kills(later, wanted) or EMPTY
            return Loop(number, body, again, _without_kills(orelse, wanted) or EMPTY, endless)
        case Call(body):
            return replace(node, body=_without_kills(body, wanted) or EMPTY)
        case _:
            return node


def _joined(items: Iterable[Node]) -> Iterator[Node]:
    """Yield the items of a sequence, kills that follow one another as one."""
    ids: frozenset[str] = frozenset()
    for item in items:
        if isinstance(item, Kill):
            ids |= item.ids
            continue
        if ids:
            yield Kill(ids)
            ids = frozenset()
        yield item
    if ids:
        yield Kill(ids)


def _prune(node: Node, effect: Effect) -> Node | None:
    match node:
        case Event():
            return node if effect(node) is not None else None
        case Kill() | Jump():
            return node
        case Seq(items):
            kept: list[Node] = []
            for item in items:
                # Most of what there is are events that mean nothing here.
                if type(item) is Event:
                    if effect(item) is not None:
                        kept.append(item)
                elif (inner := _prune(item, effect)) is not None:
                    kept.append(inner)
            if len(kept) == 1:
                return kept[0]
            return Seq(tuple(kept)) if kept else None
        case Branch(test, then, orelse):
            left, right = _prune(then, effect), _prune(orelse, effect)
            if _idle(left) and _idle(right):
                return _kills(left, right)
            return Branch(test, left or EMPTY, right or EMPTY)
        case Loop(number, first, later, orelse, endless):
            body = _prune(first, effect)
            again = body if later is first else _prune(later, effect)
            after = _prune(orelse, effect)
            if _idle(body) and _idle(again) and not endless:
                # What the loop makes anew stays made anew after it.
                rest = [node for node in (_kills(body, again), after) if node is not None]
                return Seq(tuple(rest)) if rest else None
            return Loop(number, body or EMPTY, again or EMPTY, after or EMPTY, endless)
        case Call(body):
            inner = _prune(body, effect)
            return None if inner is None else replace(node, body=inner)


def _idle(node: Node | None) -> bool:
    """Whether nothing happens in a node but kills (or local jumps of loops and calls inside it)."""
    match node:
        case None | Kill():
            return True
        case Seq(items):
            return all(map(_idle, items))
        case _:
            return False


def _kills(*nodes: Node | None) -> Node | None:
    ids: set[str] = set()
    for node in nodes:
        match node:
            case Kill(found):
                ids |= found
            case Seq(items):
                inner = _kills(*items)
                ids |= inner.ids if isinstance(inner, Kill) else frozenset()
            case _:
                continue
    return Kill(frozenset(ids)) if ids else None

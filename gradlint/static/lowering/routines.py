"""Routines: functions that do the same again where they are given the same sort of values, and leave nothing behind but numbers.

Meters, logs and whole programs that make all that they train are read once; it knows values and what was emitted, and must
not know statements, states or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Hashable, Iterable
from itertools import compress
from operator import is_not
from types import NoneType

from gradlint.events import EventKind
from gradlint.static.flow.tree import Event, Seq, Uid, events
from gradlint.static.lowering.algebra import held
from gradlint.static.lowering.bystanders import Bystanders
from gradlint.static.lowering.frames import Frame, Key, Routine, Store
from gradlint.static.lowering.values import Const, Function, Gathered, Instance, Items, Library, Tensor, Unknown, Value


class Routines(Bystanders):
    """Remembers what calls have left behind, and leaves it behind again."""

    def routine_of(self, function: Function, given: list[Value], names: tuple[str, ...]) -> Hashable:
        """Return what calls have in common that do the same (None: others may do something else)."""
        if not self._stands_alone(function):
            return None
        sorts = tuple(map(self._sort, given))
        if None in sorts or self.trained(given):
            return None
        return (function.node, names, sorts, self.grad, bool(self.loops), self.inference, self.autocast)

    def learn(
        self, routine: Hashable, frame: Frame, given: list[Value], result: Value, emitted: Seq, before: Store
    ) -> None:
        """Remember of a call that it leaves nothing behind but numbers, if that is so, and does nothing to anybody who was not made in it."""
        if self._again(result, given) is None:
            return
        hands_on = False
        for event in events(emitted):
            if not _is_within(event, frame.path):
                if event.kind is not EventKind.ESCAPE:
                    return
                hands_on = True
        changed = compress(self.store.items(), map(is_not, self.store.values(), map(before.get, self.store)))
        left = {key: value for key, value in changed if not _is_of(key[0], frame.path)}
        if not all(map(_is_number, left.values())) or self._may_decide(left, frame, before):
            return
        owners = self.instances_among(given) if left else frozenset[Uid]()
        if all(uid in owners or uid in self.frames for uid, _ in left):
            attributes = frozenset(name for uid, name in left if uid in owners)
            names = frozenset(key for key in left if key[0] not in owners)
            self.routines[routine] = Routine(attributes, names, result, hands_on)

    def _may_decide(self, left: Iterable[Key], frame: Frame, before: Store) -> bool:
        """Whether a call may do something else now, by what it has changed: a count that a condition asks for."""
        known = {key[1] for key in left if not isinstance(before.get(key), (Tensor, Unknown))}
        return bool(known) and not known.isdisjoint(self.syntax.decisive(frame.module.contents.tree))

    def done_again(self, routine: Hashable, node: ast.AST, given: list[Value]) -> Value | None:
        """Return what a call returns that does what another one did; the numbers that it leaves behind are other ones."""
        known = self.routines.get(routine)
        if known is None:
            return None
        owners = self.instances_among(given)
        left = (*known.names, *((uid, name) for uid in owners for name in known.attributes))
        if not all(_is_number(self.store.get(key)) for key in left):
            return None
        for uid in sorted(owners):
            self.unsettle(uid, node, known.attributes)
        for path, name in sorted(known.names):
            self.store[path, name] = self.fresh(name, node)
        if known.hands_on:
            self.escape(node, given)
        return self._again(known.result, given)

    def _again(self, result: Value, given: list[Value]) -> Value | None:
        """Return what another call returns, where one returned `result` (None: somebody who can be acted on)."""
        match result:
            case Unknown(holds=holds):
                return Unknown(holds=held(given)) if holds.isdisjoint(self.objects) else None
            case Const() | Library():
                return result
            case Gathered(whole):
                return None if self._again(whole, given) is None else Gathered(whole)
            case Tensor(nodes=nodes, leaves=leaves, scalers=scalers, dropped=dropped):
                return None if nodes or leaves or scalers or dropped else result
            case _:
                return None

    def _sort(self, value: Value) -> Hashable:
        """Return what is the same of two values with which a function does the same (None: of nothing else)."""
        match value:
            case Unknown():
                return Unknown
            case Const(literal):
                return (type(literal), literal)
            case Instance(cls=cls, uid=uid):
                members = ((name, self.store.get((uid, name))) for name in self.members.get(uid, ()))
                return (cls.node, frozenset(each for each in members if _is_flag(each[1])))
            case Tensor(made=made, cut=cut, dropped=dropped):
                return (Tensor, made and made.op, bool(cut), bool(dropped))
            case Library():
                return value
            case Items(elements, keys):
                sorts = tuple(map(self._sort, elements))
                return None if None in sorts else (sorts, keys)
            case _:
                return None


def _is_within(event: Event, path: Uid) -> bool:
    """Whether all to whom something happens were made in a frame."""
    whose = {node.module for node in event.nodes} if event.targets is None else event.targets
    return bool(whose) and all(_is_of(uid, path) for uid in whose)


def _is_of(uid: Uid, path: Uid) -> bool:
    return uid[: len(path)] == path or (uid[0] == "?" and uid[1].startswith(f"{'/'.join(path)}/"))


def _is_number(value: Value | None) -> bool:
    """Whether a value may be a number."""
    match value:
        case Const(literal):
            return type(literal) in (int, float)
        case Tensor(nodes=nodes):
            return not nodes
        case _:
            return isinstance(value, Unknown)


def _is_flag(value: Value | None) -> bool:
    """Whether a value is one on which conditions hang."""
    return isinstance(value, Const) and isinstance(value.value, (bool, NoneType))

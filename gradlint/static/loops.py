"""Loops: the first iteration, the later ones, and what one hands on to the next.

It knows values and stores; it must not know states or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.static.calls import Calls
from gradlint.static.context import Store
from gradlint.static.tree import (
    EMPTY,
    Jump,
    JumpKind,
    Kill,
    Known,
    Loop,
    Predicate,
    Seq,
    events,
)
from gradlint.static.values import (
    UNKNOWN,
    Const,
    Function,
    Instance,
    Items,
    Object,
    Tensor,
    Unknown,
    Value,
    aged,
    held,
    parts,
)


class Loops(Calls):
    """Lowers loops."""

    def _for(self, node: ast.For | ast.AsyncFor) -> None:
        source = self.evaluate(node.iter)
        each = _unrolled(source)
        if each is not None:
            for value in each:
                if not self.dead:
                    self.assign(node.target, value, node.target)
                    self._unrolled_body(node)
            self.block(node.orelse)
            return
        self._loop(
            node, lambda: self.assign(node.target, self.iterated(source), node.target), Known(True), node.orelse, False
        )
        if isinstance(node.iter, ast.Name) and any(_detaches(part, node.target) for part in ast.walk(node)):
            self.assign(node.iter, UNKNOWN, node)

    def _unrolled_body(self, node: ast.For | ast.AsyncFor) -> None:
        self.pending.append([])
        number = self.number(node)
        with self.aside() as out:
            self.block(node.body)
        stores = self.pending.pop()
        self.store = (
            self.merge([*([] if self.dead else [self.store]), *stores]) if stores or not self.dead else self.store
        )
        returned = self.dead and not stores
        self.dead = returned
        once = Seq((*out, Jump(JumpKind.BREAK))) if not returned else Seq(tuple(out))
        self.out.append(Loop(number, once, once, EMPTY))

    def _while(self, test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt], node: ast.While) -> None:
        endless = isinstance(test, ast.Constant) and bool(test.value)
        holder: list[Predicate] = []

        def head() -> None:
            holder[:] = [self.condition(test)]

        self._loop(node, head, Known(True), orelse, endless)

    def _loop(
        self,
        node: ast.For | ast.AsyncFor | ast.While,
        head: Callable[[], None],
        _: Predicate,
        orelse: list[ast.stmt],
        endless: bool,
    ) -> None:
        number = self.number(node)
        self.loop_nodes[number] = node
        renewed = self._renew(node, number)
        outer, self.loops = self.loops, (*self.loops, number)
        before = dict(self.store)
        first, ends, breaks = self._iteration(node.body, head, renewed)
        later = first
        if ends and self._carries(before, ends) and len(self.stack) + len(self.loops) < 9:
            inside = frozenset(
                part.place for event in events(first) for part in event.nodes if event.kind is EventKind.FORWARD
            )
            self.store = self._handed_on(self.merge(ends), inside)
            later, more, others = self._iteration(node.body, head, renewed)
            ends, breaks = ends + more, breaks + others
        self.loops = outer
        exits = breaks if endless else [*ends, *breaks]
        self.dead = not exits
        self.store = self.merge(exits) if exits else before
        with self.aside() as after:
            if not self.dead:
                self.block(orelse)
        self.out.append(Loop(number, first, later, Seq(tuple(after)), endless))

    def _handed_on(self, store: Store, inside: frozenset[Location]) -> Store:
        """Return what the next iteration gets: graphs built in this one are older, and known by who carries them."""
        older = {key: aged(value, inside) for key, value in store.items()}
        for (_, name), value in store.items():
            for part in parts(value):
                if isinstance(part, Tensor):
                    for node in part.nodes:
                        self.carriers.setdefault(node, name)
        return older

    def _iteration(
        self, body: list[ast.stmt], head: Callable[[], None], renewed: frozenset[str]
    ) -> tuple[Seq, list[Store], list[Store]]:
        """Lower one iteration; return its tree, the stores at its ends and those at its breaks."""
        self.pending.append([])
        self.dead = False
        with self.aside() as out:
            self.out.append(Kill(renewed))
            head()
            self.block(body)
        jumped = self.pending.pop()
        ends = [] if self.dead else [self.store]
        self.dead = False
        return Seq(tuple(out)), ends + jumped, []

    def _renew(self, node: ast.For | ast.AsyncFor | ast.While, number: int) -> frozenset[str]:
        """Forget the constants that the loop changes: what held before it need not hold in it."""
        ids = set()
        for name in self.syntax.assigned(node):
            frame = self.frame.shared.get(name, self.frame)
            key = (frame.path, name)
            if isinstance(self.store.get(key), (Const, Unknown)):
                unknown = Unknown(f"{'/'.join(frame.path)}/{name}%{number}", held((self.store[key],)))
                self.store[key] = unknown
                ids.add(unknown.id)
        for name in self.syntax.assigned_attributes(node):
            for key, value in list(self.store.items()):
                if key[1] == name and isinstance(value, Const):
                    self.store[key] = Unknown(f"{'/'.join(key[0])}.{name}%{number}")
                    ids.add(f"{'/'.join(key[0])}.{name}%{number}")
        return frozenset(ids)

    def _carries(self, before: Store, ends: list[Store]) -> bool:
        """Whether the loop hands a graph, an object or a function on to its next iteration."""
        for end in ends:
            for key, old in before.items():
                new = end.get(key)
                if new is None or new is old:
                    continue
                flag = isinstance(new, Const) and isinstance(old, Unknown) and "%" in old.id
                if (
                    flag
                    or any(isinstance(part, Tensor) and part.nodes for part in parts(new))
                    or isinstance(new, (Object, Function, Instance))
                ) and new != old:
                    return True
        return False


def _unrolled(source: Value) -> tuple[Value, ...] | None:
    """A loop over a few known objects is as many bodies: each does to its own what the text says."""
    match source:
        case Items(elements, None) if 0 < len(elements) <= 8 and any(
            isinstance(part, (Object, Instance)) for element in elements for part in parts(element)
        ):
            return elements
        case _:
            return None


def _detaches(node: ast.AST, target: ast.expr) -> bool:
    match node, target:
        case ast.Call(ast.Attribute(ast.Name(name), "detach_")), ast.Name(wanted):
            return name == wanted
        case _:
            return False

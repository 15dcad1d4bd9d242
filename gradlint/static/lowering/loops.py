"""Loops: the first iteration, the later ones, and what one hands on to the next.

It knows values and stores; it must not know states or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from itertools import compress
from operator import is_not
from typing import TypeGuard

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.static.flow.tree import (
    EMPTY,
    Call,
    Jump,
    JumpKind,
    Kill,
    Loop,
    Seq,
    events,
)
from gradlint.static.lowering.algebra import aged, held, parts
from gradlint.static.lowering.calls import Calls
from gradlint.static.lowering.frames import Grad, Key, Pending, Store
from gradlint.static.lowering.provenance import is_leaf, is_rebound, unmarked
from gradlint.static.lowering.values import (
    DATA,
    UNKNOWN,
    Const,
    Function,
    Gathered,
    Instance,
    Items,
    Kind,
    Library,
    Object,
    Tensor,
    Unknown,
    Value,
    is_loader,
)
from gradlint.static.sources.library import role_of
from gradlint.static.syntax.nodes import walk, walk_of

_MOST_PHASES = 3
"""Of more words a loop is read as one that goes through anything."""
_MOST_PEELED = 9
"""Deeper than this in calls and loops, the later iterations are not read apart from the first."""


class Loops(Calls):
    """Lowers loops."""

    def _for(self, node: ast.For | ast.AsyncFor) -> None:
        source = self.evaluate(node.iter)
        self._drawn(node.iter)
        each = _unrolled(source) or _phases(node, source)
        if each is not None:
            self._unrolled_for(node, each)
            return
        self._loop(node, lambda: self.take(node.target, self._each(node.iter, source)))
        if isinstance(node.iter, ast.Name) and any(_detaches(call, node.target) for call in walk_of(node, ast.Call)):
            self.assign(node.iter, UNKNOWN, node)

    def _drawn(self, node: ast.expr) -> None:
        """Emit that a loop takes batches from loaders whose order depends on a sampler."""
        match self.latest.get(node), node:
            case Object(kind=Kind.LOADER, of=samplers), _:
                self.emit(EventKind.DRAW, node, samplers, ast.unparse(node))
            case _, ast.Call(ast.Name("len" | "range")):
                return
            case _, ast.Call(args=args):
                for arg in args:
                    self._drawn(arg)
            case _:
                return

    def _each(self, node: ast.expr, source: Value) -> Value:
        """Return what a loop gets each time; numbered batches are told apart from their numbers."""
        match node:
            case ast.Call(ast.Name() as callee, [inner, *_]) if source == Unknown():
                match self.latest.get(callee):
                    case Library("builtins.enumerate") if is_loader(self.latest.get(inner)):
                        return Items((UNKNOWN, DATA))
                    case Library(name) if role_of(name) == "wrapper":
                        return self._each(inner, source)
                return self.iterated(source)
            case _:
                return self.iterated(source)

    def _while(self, node: ast.While) -> None:
        self._loop(node, lambda: self.evaluate(node.test))

    def _unrolled_for(self, node: ast.For | ast.AsyncFor, each: tuple[Value, ...]) -> None:
        left: list[Store] = []
        outer = self.phase
        with self.aside() as out:
            for value in each:
                if self.dead:
                    break
                self.phase = str(value.value) if _is_word(value) else outer
                self.assign(node.target, value, node.target)
                turn, ends, breaks = self._iteration(node.body, lambda: None, frozenset())
                out.append(Call(turn, JumpKind.CONTINUE))
                left += breaks
                self.dead = not ends
                self.store = self.merge(ends) if ends else self.store
            self.phase = outer
            if not self.dead:
                self.block(node.orelse)
        exits = [*left, *([] if self.dead else [self.store])]
        self.dead = not exits
        self.store = self.merge(exits) if exits else self.store
        # The whole runs once: a break inside leaves all the turns that are left.
        once = Seq((*out, Jump(JumpKind.BREAK)))
        self.out.append(Loop(self.number(node), once, once, EMPTY))

    def _loop(self, node: ast.For | ast.AsyncFor | ast.While, head: Callable[[], object]) -> None:
        endless = isinstance(node, ast.While) and isinstance(node.test, ast.Constant) and bool(node.test.value)
        self.repeated(node, head, node.body, node.orelse, endless)

    def repeated(
        self,
        node: ast.AST,
        head: Callable[[], object],
        body: list[ast.stmt],
        orelse: list[ast.stmt],
        endless: bool = False,
    ) -> None:
        """Lower what is done again and again: `head`, then the statements of `body`; `node` is the loop, or what stands for one."""
        number = self.number(node)
        self.loop_nodes[number] = node
        if self.frame.module is not self.module.module:
            self.foreign[node] = self.frame.module
        renewed = self._renew(node, number)
        outer, self.loops = self.loops, (*self.loops, number)
        before, mode = dict(self.store), self.grad
        first, ends, breaks = self._iteration(body, head, renewed)
        later = first
        if len(ends) > 1 and self.grad is not mode:
            self.grad = Grad.MAYBE
        moved = self._reset(before, ends)
        again = self.grad is not mode or moved or self._carries(before, ends)
        if ends and again and len(self.stack) + len(self.loops) < _MOST_PEELED:
            self.store = self._handed_on(self.merge(ends), _built(first))
            for key in moved:
                self.store[key] = Unknown(f"{'/'.join(key[0])}.{key[1]}%{number}", held((self.store[key],)))
            renewed |= {unknown.id for key in moved if isinstance(unknown := self.store[key], Unknown)}
            later, more, others = self._iteration(body, head, renewed)
            ends, breaks = ends + more, breaks + others
        self.loops = outer
        exits = breaks if endless else ends + breaks
        self.dead = not exits
        self.store = self.merge(exits) if exits else before
        with self.aside() as after:
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
        self, body: list[ast.stmt], head: Callable[[], object], renewed: frozenset[str]
    ) -> tuple[Seq, list[Store], list[Store]]:
        """Lower one iteration; return its tree, the stores at its ends and those at its breaks."""
        self.pending.append(Pending())
        self.dead = False
        with self.aside() as out:
            self.renewals.update(renewed)
            self.out.append(Kill(renewed))
            head()
            self.block(body)
        pending = self.pending.pop()
        ends = [] if self.dead else [self.store]
        self.dead = False
        return Seq(tuple(out)), ends + pending.continues, pending.breaks

    def _renew(self, node: ast.AST, number: int) -> frozenset[str]:
        """Forget the constants that the loop changes: what held before it need not hold in it."""
        ids = set()
        repeated = self.syntax.repeated(node)
        for name in self.syntax.assigned(node):
            frame = self.frame.shared.get(name, self.frame)
            key = (frame.path, name)
            held_before = self.settled(key)
            if name in repeated and held_before == Const(repeated[name].value):
                continue  # A flag that the loop can only set to what it is already.
            if isinstance(held_before, Tensor) and not is_leaf(held_before):
                # What it came out of before the loop need not hold in it.
                self.store[key] = unmarked(held_before)
            if isinstance(held_before, (Const, Unknown)):
                unknown = Unknown(f"{'/'.join(frame.path)}/{name}%{number}", held((self.store[key],)))
                self.store[key] = unknown
                ids.add(unknown.id)
        attributes = self.syntax.assigned_attributes(node)
        for key, value in list(self.store.items()) if attributes else ():
            if key[1] in attributes and isinstance(value, Const):
                unknown = Unknown(f"{'/'.join(key[0])}.{key[1]}%{number}")
                self.store[key] = unknown
                ids.add(unknown.id)
        return frozenset(ids)

    def _reset(self, before: Store, ends: list[Store]) -> list[Key]:
        """Return the flags which the text of the loop does not set, but something that it calls: no turn but the first begins as before."""
        found: dict[Key, None] = {}
        for end in ends:
            differ = map(is_not, before.values(), map(end.get, before))
            for key, old in compress(before.items(), differ):
                if _is_flag(old) and isinstance(new := end.get(key, old), (Const, Unknown, Items)) and new != old:
                    found[key] = None
        return list(found)

    def _carries(self, before: Store, ends: list[Store]) -> bool:
        """Whether the loop hands a graph, an object or a function on to its next iteration."""
        for end in ends:
            differ = map(is_not, before.values(), map(end.get, before))
            for key, old in compress(before.items(), differ):
                new = end.get(key)
                if new is None:
                    continue
                flag = isinstance(new, Const) and isinstance(old, Unknown) and "%" in old.id
                if (
                    flag
                    or any(
                        isinstance(part, Tensor) and (part.nodes or part.leaves or is_rebound(part))
                        for part in parts(new)
                    )
                    or isinstance(new, (Object, Function, Instance))
                ) and new != old:
                    return True
        return False


def _is_flag(value: Value) -> bool:
    """Whether conditions may be decided by a value, or by an element of it."""
    return isinstance(value, Const) or (
        isinstance(value, Items) and bool(value.elements) and all(isinstance(each, Const) for each in value.elements)
    )


def _built(iteration: Seq) -> frozenset[Location]:
    """Return where an iteration builds graphs."""
    return frozenset(
        part.place for event in events(iteration) for part in event.nodes if event.kind is EventKind.FORWARD
    )


def _unrolled(source: Value) -> tuple[Value, ...] | None:
    """A loop over a few known objects, or lists, is as many bodies: each does to its own what the text says."""
    match source:
        case Items(elements, None) if 0 < len(elements) <= 8 and any(
            isinstance(part, (Object, Instance, Gathered)) and not is_loader(part)
            for element in elements
            for part in parts(element)
        ):
            return elements
        case _:
            return None


def _phases(node: ast.For | ast.AsyncFor, source: Value) -> tuple[Value, ...] | None:
    """A loop over a few words that it asks for, as `phase == "train"`, is a body for each: what it asks is known in there."""
    match source, node.target:
        case Items(elements, None), ast.Name(name) if 0 < len(elements) <= _MOST_PHASES and all(
            map(_is_word, elements)
        ):
            tests = (each for each in walk(node) if isinstance(each, ast.Compare))
            return elements if any(isinstance(each.left, ast.Name) and each.left.id == name for each in tests) else None
        case _:
            return None


def _is_word(value: Value) -> TypeGuard[Const]:
    return isinstance(value, Const) and isinstance(value.value, str)


def _detaches(node: ast.AST, target: ast.expr) -> bool:
    match node, target:
        case ast.Call(ast.Attribute(ast.Name(name), "detach_")), ast.Name(wanted):
            return name == wanted
        case _:
            return False

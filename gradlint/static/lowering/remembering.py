"""Remembering: what an expression was, where a sum or list began, and which graphs a name from outside a loop keeps.

It knows values, places and loops; it emits nothing and must not know any rule.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter

from gradlint.static.flow.tree import GraphNode, Uid
from gradlint.static.lowering.algebra import exchanged, graph_of, held, join
from gradlint.static.lowering.context import Context
from gradlint.static.lowering.frames import Grad
from gradlint.static.lowering.notes import Keeping, Mirrored
from gradlint.static.lowering.provenance import is_computed
from gradlint.static.lowering.values import (
    UNKNOWN,
    Const,
    Function,
    Gathered,
    Instance,
    Items,
    Kind,
    Library,
    Method,
    Object,
    Tensor,
    Unknown,
    Value,
    unknown_uid,
)
from gradlint.static.syntax.idioms import counter_of

_SORTS: dict[type, Callable[[Value], object]] = {
    Object: attrgetter("kind", "origin"),
    Instance: attrgetter("cls.node"),
    Function: attrgetter("node"),
    Method: attrgetter("name"),
}
"""By what a value is of one sort with another one."""


class Remembering(Context):
    """Remembers what was read, for the checks that look at source."""

    def note(self, node: ast.AST, value: Value) -> Value:
        """Remember what an expression was, for the checks that look at source."""
        self.latest[node] = value
        if self.frame.module is not self.module.module:
            self.foreign[node] = self.frame.module
        known = self.values.setdefault(node, value)
        if known is not value and known != value and not _alike(known, value):
            self.values[node] = join(known, value)
        return value

    def begin(self, key: tuple[Uid, str], value: Value, node: ast.AST) -> None:
        """Remember where a name became an empty sum or list, or a dict of such; anything else makes it forgotten."""
        empty = _is_empty(value) or (isinstance(value, Unknown) and self._is_made_empty(node))
        if empty or (isinstance(value, Tensor) and not value.nodes and not is_computed(value)):
            self.begun[key] = (self.loops, self.place(node))
        else:
            self.begun.pop(key, None)

    def _is_made_empty(self, node: ast.AST) -> bool:
        """Whether a statement gives a name a queue without an end, zeros, or a dict of lists or numbers that are made when asked for."""
        match node.value if isinstance(node, ast.Assign) else None:
            case ast.Call(callee, [ast.Name("list" | "float" | "int")], []):
                return self.latest.get(callee) == Library("collections.defaultdict")
            case ast.Call(ast.Name("float" | "int"), [] | [ast.Constant(0)], []):
                return True
            case ast.Call(callee, [], []):
                return self.latest.get(callee) == Library("collections.deque")
            case ast.BinOp(ast.List([ast.Constant(0)]), ast.Mult(), _):
                return True
            case _:
                return False

    def keep(self, target: ast.expr, value: Value, node: ast.AST) -> None:
        """Remember that `target` from outside the loop now holds a graph of this iteration."""
        if self.frame.cls is not None and self.is_module(self.frame.cls):
            # What a module collects while it runs is its output.
            return
        nodes = graph_of((value,))
        if isinstance(node, ast.Call) and any(part.age for part in nodes):
            # The steps of one sequence: the state that goes from turn to turn keeps them all.
            self.keepings = [each for each in self.keepings if each.place != self.place(node)]
            return
        match target:
            case ast.Subscript(owner) | ast.Call(ast.Attribute(owner, "setdefault")):
                target = owner
        match target:
            case ast.Name(name):
                key, scope = (self.frame.path, name), self.frame.node
            case ast.Attribute(owner, name) if isinstance(self.latest.get(owner), Instance):
                uid = next(iter(held((self.latest[owner],))))
                key, scope = (uid, name), self._home()
                if nodes and self._collected(uid, nodes):
                    return
            case _:
                return
        loops, created = self.begun.get(key, (self.loops, None))
        if created is not None and len(loops) < len(self.loops):
            found = Keeping(self.place(node), ast.unparse(target), nodes, self.loops, loops, created, scope)
            if nodes:
                self.keepings.append(found)
            elif self.grad is Grad.ON and (isinstance(target, ast.Name) or scope is None):
                named = (self.latest.get(name, UNKNOWN) for name in _factors(node))
                for known in (each for each in named if each != UNKNOWN):
                    self.awaited.setdefault(id(known), []).append((known, found))

    def has_room(self, owner: ast.expr, index: ast.expr, container: Value) -> bool:
        """Whether each turn of the innermost loop writes an element of its own: `losses[i] = loss` by the number of the turn."""
        if self.grad is not Grad.ON or not self.loops or not isinstance(index, ast.Name):
            return False
        match self.loop_nodes.get(self.loops[-1]):
            case ast.For(target, ast.Call(ast.Name("tqdm"), [ast.Call(ast.Name("enumerate")) as source, *_])):
                counter = counter_of(target, source)
            case ast.For(target, source):
                counter = counter_of(target, source)
            case _:
                return False
        return counter == index.id and isinstance(owner, ast.Name) and isinstance(container, (Items, Tensor))

    def turned_out(self, value: Value, part: GraphNode) -> None:
        """Remember who had kept a value before a backward pass from it has shown that it has a graph."""
        for _, found in self.awaited.pop(id(value), ()):
            self.keepings.append(found._replace(nodes=frozenset({part})))

    def _home(self) -> ast.AST | None:
        """Return the other file in which an object keeps something; None: it is this one."""
        foreign = self.frame.module is not self.module.module
        return self.frame.module.contents.tree if foreign else None

    def _collected(self, uid: Uid, nodes: frozenset[GraphNode]) -> bool:
        """Whether an object of another file collects what a loop gives to one of its methods; the call is what is remembered."""
        caller = self.frames.get(self.frame.path[:-1])
        call = self.frame.callers[-1][1] if self.frame.callers else None
        match call:
            case ast.Call(ast.Attribute(ast.Name(name)), args) if caller is not None and self.frame.cls is not None:
                known = self.store.get((caller.path, name))
                loops, created = self.begun.get((uid, "*"), (self.loops, None))
                given = graph_of(self.latest.get(arg, UNKNOWN) for arg in args)
                apart = self.frame.module is not caller.module and not self.trains(self.frame.cls) and nodes <= given
                if not apart or not isinstance(known, Instance) or known.uid != uid or self._loops_here():
                    return False
                if created is not None and len(loops) < len(self.loops):
                    place = caller.module.source.place(call)
                    self.keepings.append(Keeping(place, name, nodes, self.loops, loops, created, caller.node))
                return True
            case _:
                return False

    def changes(self, old: Value, new: Value, node: ast.AST) -> None:
        """Bind what still stands for a collection that was changed in place to what it is now, under whatever name."""
        nameless = isinstance(new, Unknown) and not new.id
        for key, value in self.store.items() if isinstance(old, (Items, Gathered)) else ():
            if value is old and nameless:
                self.store[key] = self.fresh(".".join(("/".join(key[0]), key[1])), node, held((new,)))
            else:
                self.store[key] = exchanged(value, old, new)

    def unsettle(self, uid: Uid, node: ast.AST, names: Iterable[str] | None = None) -> None:
        """Forget attributes of an instance (None: whichever are flags) that may have been set by now."""
        members = self.members.get(uid, set())
        for name in sorted(members if names is None else members.intersection(names)):
            value = self.store.get((uid, name))
            if value is not None and (names is not None or isinstance(value, Const)):
                self.set_member(uid, name, self.fresh(f"{'/'.join(uid)}.{name}", node))

    def mirrors(self, node: ast.Call, one: ast.expr, other: ast.expr) -> None:
        """Remember that weights are paired with themselves: the owners of two expressions are one module under two names."""
        names = ast.unparse(one), ast.unparse(other)
        mine, theirs = (_module_of(self.latest.get(each)) for each in (one, other))
        # Who takes weights out of a wrapper again says so.
        unwrapped = any(name.endswith((".module", "._orig_mod")) for name in names)
        if mine is not None and mine == theirs and names[0] != names[1] and not unwrapped:
            names_of_it = (key for key, value in self.store.items() if _module_of(value) == mine)
            attributes = frozenset(key for key in names_of_it if key[1] in self.members.get(key[0], ()))
            self.mirrored.append(Mirrored(node, names, mine, self.loops, attributes))

    def _loops_here(self) -> bool:
        """Whether a loop of this activation is around."""
        return any(number in self.loops for (path, _), number in self.loop_numbers.items() if path == self.frame.path)


def _factors(node: ast.AST) -> Iterator[ast.Name]:
    """Yield the names that what is kept stands for, multiplied and divided at most: `loss` of `total += loss * n`."""
    match node:
        case ast.Name():
            yield node
        case ast.AugAssign(value=value) | ast.Call(args=[value]):
            yield from _factors(value)
        case ast.Assign(value=ast.BinOp(_, ast.Add(), value)):
            yield from _factors(value)
        case ast.BinOp(left, ast.Mult(), right):
            yield from _factors(left)
            yield from _factors(right)
        case ast.BinOp(left, ast.Div()):
            yield from _factors(left)
        case _:
            return


def _module_of(value: Value | None) -> Uid | None:
    """Return who a value is, if it may be a module (None: of several, nobody knows which)."""
    match value:
        case Object(kind=Kind.MODULE, uid=uid) | Instance(uid=uid):
            return None if str(...) in uid else uid
        case Unknown(id=id_) if id_:
            return unknown_uid(id_)
        case _:
            return None


def _is_empty(value: Value) -> bool:
    """Whether a value is where a sum or a list begins, or a list or dict of nothing else."""
    if isinstance(value, Const):
        return value.value is None or value.value == 0
    return isinstance(value, Items) and all(map(_is_empty, value.elements))


def _alike(known: Value, value: Value) -> bool:
    """Whether two readings of one expression found the same sort of thing, perhaps in two activations."""
    sort = _SORTS.get(type(known))
    return sort is not None and type(value) is type(known) and bool(sort(known) == sort(value))

"""What every part of lowering shares: the state of the reading, how events are emitted, names, and who can reach whom.

It knows frames, values and nodes; it must not know syntax beyond names, nor any rule.
"""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.models import Models
from gradlint.static.flow.tree import Event, GraphNode, Jump, JumpKind, Kill, Uid
from gradlint.static.lowering.algebra import INERT, exchanged, graph_of, held, parameters_in, parts, scalers_of
from gradlint.static.lowering.frames import Frame
from gradlint.static.lowering.provenance import without
from gradlint.static.lowering.state import Noted, Where, Who
from gradlint.static.lowering.values import (
    UNKNOWN,
    Choice,
    Class,
    Function,
    Gathered,
    Imported,
    Instance,
    Items,
    Library,
    Object,
    Rows,
    Tensor,
    Unknown,
    Value,
    unknown_uid,
)
from gradlint.static.sources.library import role_of_builtin
from gradlint.static.sources.project import Module, Project
from gradlint.static.syntax.footprint import Footprints
from gradlint.static.syntax.questions import Syntax

_MOST_CALLS = 12
"""Calls are followed this deep."""
_MOST_STATEMENTS = 60_000
"""And no more statements than this are read per file, calls and all."""
_MOST_FOREIGN_STATEMENTS = 20_000
"""When so many were read, calls into other files are not followed any more."""


class Context(Where, Who, Noted, ABC):
    """What every part of lowering shares."""

    def __init__(self, project: Project, module: Module, models: Models) -> None:
        Where.__init__(self)
        Who.__init__(self)
        Noted.__init__(self)
        self.module = self.frame = Frame(("module",), None, module)
        self.frames = {self.module.path: self.module}
        self.project = project
        self.models = models
        self.syntax = Syntax()
        self.footprints = Footprints(project, self.syntax)

    @abstractmethod
    def evaluate(self, node: ast.expr) -> Value:
        """Return the value of an expression and emit the events of computing it."""

    @abstractmethod
    def block(self, statements: Iterable[ast.stmt]) -> None:
        """Lower statements into the current sequence."""

    @abstractmethod
    def call(self, callee: Value, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Emit the events of a call and return its value."""

    @abstractmethod
    def beyond(self, frame: Frame, name: str) -> Value | None:
        """Return what the module of `frame` binds to a name that was not read yet."""

    @abstractmethod
    def named(self, dotted: str) -> Value:
        """Return what a dotted name stands for: something of a file that is in sight, else of a library."""

    @abstractmethod
    def trains(self, cls: Class) -> bool:
        """Whether a class has a hand in training."""

    @abstractmethod
    def is_module(self, cls: Class) -> bool:
        """Whether a class is proven to be a torch module."""

    @abstractmethod
    def may_have_weights(self, cls: Class) -> bool:
        """Whether modules of a class may have parameters, by its source and by those of its bases."""

    @abstractmethod
    def is_scheduler(self, cls: Class) -> bool:
        """Whether a class is proven to be a scheduler that steps as torch's do."""

    def place(self, node: ast.AST) -> Location:
        """Return where `node` stands."""
        return self.frame.module.source.place(node)

    # Emitting ---------------------------------------------------------------------------------

    def emit(
        self,
        kind: EventKind,
        node: ast.AST,
        targets: frozenset[Uid] | None,
        name: str = "",
        nodes: frozenset[GraphNode] = frozenset(),
        roles: Iterable[str] = (),
        scalers: frozenset[Uid] = frozenset(),
    ) -> Event:
        """Append an event to the current sequence and return it."""
        everything = frozenset({*roles, self.grad.value, *(("no-sync",) if self.unsynced else ())})
        place, path = self.place(node), self.frame.path
        made = Event(kind, place, targets, path, self.loops, nodes, name, everything, scalers, self.phase)
        self.out.append(made)
        return made

    def escape(self, node: ast.AST, values: Iterable[Value], roles: Iterable[str] = ()) -> frozenset[Uid]:
        """Emit that somebody unknown got `values`, and return the subjects that it can act on."""
        values = list(values)
        self.forget(values)
        scaled = scalers_of(values)
        targets, nodes = self.reach(values) | scaled, graph_of(values)
        if targets:
            self.escaped |= targets
            others = [value for value in values if parameters_in(value) is None]
            held = targets if len(others) == len(values) else self.reach(others)
            if held:
                self.emit(EventKind.ESCAPE, node, held, nodes=nodes, roles=roles)
            if targets - held:  # By its parameters nobody puts a module into a mode.
                self.emit(EventKind.ESCAPE, node, targets - held, nodes=nodes, roles=(*roles, "parameters"))
        if not targets - scaled and nodes:
            # It has no hand on parameters, but it may run backward.
            self.emit(EventKind.ESCAPE, node, frozenset(), nodes=nodes, roles=("loss",))
        return targets

    def jump(self, kind: JumpKind) -> None:
        """Append a jump; what follows in this block is dead."""
        self.out.append(Jump(kind))
        self.dead = True

    def reach(self, values: Iterable[Value]) -> frozenset[Uid]:
        """Return the subjects that whoever gets `values` can act on, through attributes and closures too."""
        # Most of what is handed on is of no account.
        given = [value for value in values if type(value) not in INERT and value is not UNKNOWN]
        return frozenset(self.reaching(given)) if given else frozenset()

    def reaching(self, values: Iterable[Value]) -> Iterator[Uid]:
        """Yield each subject that whoever gets `values` can act on; there may be very many."""
        found: set[Uid] = set()
        given = list(values)
        todo, seen, told = [*given], set[int](), set[frozenset[Uid]]()  # Who holds much is held by much.
        while todo:
            value = todo.pop()
            if type(value) in INERT or id(value) in seen:
                continue
            seen.add(id(value))
            if type(value) is Unknown:
                new = {unknown_uid(value.id)} if value.id else set()
                if value.holds not in told:
                    told.add(value.holds)
                    new |= value.holds
            else:
                if type(value) is Choice:
                    todo.extend(value.functions)
                elif type(value) is Items:
                    todo.extend(value.elements)
                elif type(value) is Rows:
                    todo.append(value.each)
                elif type(value) is Function:
                    todo.extend(value.args if value.receiver is not None else (*value.args, *self._captured(value)))
                new = set(held((value,)))
            for uid in new - found:
                found.add(uid)
                yield uid
                todo.extend(self.store[uid, name] for name in self.members.get(uid, ()) if (uid, name) in self.store)

    def _captured(self, function: Function) -> Iterator[Value]:
        for name in self.syntax.names(function.node):
            value = self.settled((function.frame, name))
            if isinstance(value, (Object, Instance, Unknown)):
                yield value

    # Names ------------------------------------------------------------------------------------

    def lookup(self, name: str) -> Value:
        """Return the value of a name where we are."""
        frame: Frame | None = self.frame.shared.get(name, self.frame)
        while frame is not None:
            value = self.store.get((frame.path, name))
            if type(value) is Imported:
                value = self.settled((frame.path, name))
            elif value is None and frame.parent is None:
                value = self.beyond(frame, name)
            if value is not None:
                return value
            frame = frame.parent
        return UNKNOWN if role_of_builtin(name) == "unknown" else Library(f"builtins.{name}")

    def settled(self, key: tuple[Uid, str]) -> Value | None:
        """Return what the store has for a name; what was imported is looked for now."""
        value = self.store.get(key)
        if isinstance(value, Imported):
            value = self.store[key] = self.named(value.name)
        return value

    def bind(self, name: str, value: Value) -> None:
        """Give a name a value where we are."""
        frame = self.frame.shared.get(name, self.frame)
        frame.bound.add(name)
        self.store[frame.path, name] = value

    def set_member(self, uid: Uid, name: str, value: Value) -> None:
        """Give an attribute of an instance a value."""
        self.members.setdefault(uid, set()).add(name)
        self.contained.setdefault(uid, set()).update(held((value,)))
        self.store[uid, name] = value

    def with_contained(self, uids: Iterable[Uid]) -> frozenset[Uid]:
        """Return subjects with all whom they have ever had among their attributes, at any depth."""
        found, todo = set[Uid](), list(uids)
        while todo:
            uid = todo.pop()
            if uid not in found:
                found.add(uid)
                todo.extend(self.contained.get(uid, ()))
        return frozenset(found)

    def forget(self, values: Iterable[Value]) -> None:
        """Drop what is known of where tensors come from and of what lists hold, under whatever name: somebody may have changed them in place."""
        values = list(values)
        for gathered in (part for value in values for part in parts(value) if isinstance(part, Gathered)):
            anybody = Unknown(holds=held((gathered,)))
            for key, value in self.store.items():
                self.store[key] = exchanged(value, gathered, anybody)
        tensors = (part for value in values for part in parts(value) if isinstance(part, Tensor) and part.made)
        # By identity: to tell whether two are equal takes longer than to look for one of them twice.
        for tensor in {id(tensor): tensor for tensor in tensors}.values():
            for key, value in self.store.items():
                if isinstance(value, (Tensor, Items)):
                    self.store[key] = without(value, tensor)

    def fresh(self, name: str, node: ast.AST, holds: frozenset[Uid] = frozenset()) -> Unknown:
        """Return a new unknown value that `name` gets at `node`."""
        unknown = Unknown(f"{'/'.join(self.frame.path)}/{name}@{getattr(node, 'lineno', 0)}", holds)
        self.renewed(unknown.id)
        return unknown

    def renewed(self, id_: str) -> None:
        """Emit that what was assumed of an unknown value is void: it is another one from here on."""
        if self.loops:
            self.void(id_)
        else:
            self.renewals[id_] += 1

    def void(self, id_: str) -> None:
        """Emit that what was assumed of an unknown value is void: it has been changed in place, under the same name."""
        self.renewals[id_] += 1
        self.out.append(Kill(frozenset({id_})))

    def number(self, loop: ast.AST) -> int:
        """Return the number of a loop in this frame; reading it again does not change it."""
        return self.loop_numbers.setdefault((self.frame.path, loop), len(self.loop_numbers) + 1)

    # Limits -----------------------------------------------------------------------------------

    def exhausted(self, function: Function) -> bool:
        """Whether a call of `function` is not followed: recursion, depth or size."""
        foreign = self.frames.get(function.frame, self.module).module is not self.module.module
        most = _MOST_FOREIGN_STATEMENTS if foreign else _MOST_STATEMENTS
        return function.node in self.stack or len(self.stack) >= _MOST_CALLS or self.statements > most

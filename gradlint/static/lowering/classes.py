"""Classes whose source is in sight: their instances, methods and bases.

It knows lineages and attributes; it must not know states or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from gradlint.events import EventKind
from gradlint.static.flow.tree import Uid
from gradlint.static.lowering.frames import PRESENT
from gradlint.static.lowering.functions import Functions
from gradlint.static.lowering.values import (
    OPTIMIZERS,
    UNKNOWN,
    Class,
    Function,
    Instance,
    Items,
    Library,
    Made,
    Method,
    Object,
    Super,
    Value,
)
from gradlint.static.syntax.computing import computed_parts
from gradlint.static.syntax.endings import Forward
from gradlint.static.syntax.initializers import DATACLASSES, RECORDS, fields_of, initializer, record
from gradlint.static.syntax.nodes import receiver, walk_of
from gradlint.static.syntax.weights import may_bear_weights

_ACTIVATIONS = frozenset(["oftmax", "igmoid"])
"""In the names of activations that a loss may apply itself."""
TRAINING = frozenset({"backward", "step", "zero_grad", "manual_backward"})
"""Methods that make a module more than something that is run."""
_MOVED = frozenset(["last_epoch", "_step_count", "param_groups"])
"""Attributes by which a scheduler knows how often it has been stepped."""


class Classes(Functions):
    """Makes instances and finds their methods."""

    def instantiate(self, cls: Class, node: ast.AST, args: list[Value], named: dict[str, Value]) -> Value:
        """Make an instance: run its `__init__` on it."""
        instance = Instance(cls, self._instance_uid(cls, node))
        if self.is_optimizer(cls):
            return self.own_optimizer(cls, node, args, named)
        if isinstance(node, ast.Call) and self.is_scheduler(cls):
            return self.own_scheduler(cls, node, args, named)
        if self._only_runs(cls) and isinstance(node, ast.Call):
            made = self.opaque_module(cls.node.name, node, args, named)
            self.instances[made.uid] = cls
            if self._switches_itself(cls):
                self.emit(EventKind.ESCAPE, node, frozenset({made.uid}), roles=("mode",))
            return made
        for name in self.members.pop(instance.uid, ()):
            self.store.pop((instance.uid, name), None)
        self.hint = ""
        self.instances[instance.uid] = cls
        self.store[instance.uid, PRESENT] = instance
        self.born.append(instance.uid)
        self.begun[instance.uid, "*"] = (self.loops, self.place(node))
        self.emit(EventKind.CREATE, node, frozenset({instance.uid}))
        init = self._initializer(cls)
        if init is not None:
            self.inline(replace(init, receiver=instance), node, args, named)
        for index, value in enumerate([*args, *named.values()]):
            # What a base of another package does with them is unknown: it holds them.
            self.set_member(instance.uid, f"*{index}", value)
        return instance

    def _initializer(self, cls: Class) -> Function | None:
        """Return the `__init__` of a class, its own or that of the nearest base which has one or is a dataclass."""
        lineage = list(self.lineage(cls))
        for index, each in enumerate(lineage):
            if any(isinstance(one, ast.FunctionDef) and one.name == "__init__" for one in each.node.body):
                break
            if self._is_dataclass(each):
                if each.node not in self.initializers:
                    bases = [base.node for base in reversed(lineage[index:]) if self._is_dataclass(base)]
                    goes_on = self.method_of(each, "__post_init__") is not None
                    self.initializers[each.node] = initializer(bases, goes_on=goes_on)
                return Function(self.initializers[each.node], each.frame)
        return self.method_of(cls, "__init__")

    def record(self, node: ast.Call) -> Value:
        """Return the class that a call of `namedtuple` makes."""
        if node not in self.records and (made := record(node)) is not None:
            self.records[node] = Class(made, self.frame.path)
        return self.records.get(node, UNKNOWN)

    def is_record(self, cls: Class) -> bool:
        """Whether instances of a class are tuples whose elements have names."""
        return cls in self.records.values() or self.is_a(cls, *RECORDS)

    def as_tuple(self, value: Value) -> Value:
        """Return a record as the tuple that it is, anything else as it is."""
        if not isinstance(value, Instance) or not self.is_record(value.cls):
            return value
        fields = fields_of(value.cls.node)
        return Items(tuple(self.store.get((value.uid, name), UNKNOWN) for name in fields))

    def _is_dataclass(self, cls: Class) -> bool:
        if self.is_record(cls):
            return True
        callees = (node.func if isinstance(node, ast.Call) else node for node in cls.node.decorator_list)
        known = [self.seen_from(cls.frame, callee) for callee in callees]
        return any(isinstance(value, Library) and value.name in DATACLASSES for value in known)

    def _instance_uid(self, cls: Class, node: ast.AST) -> Uid:
        """Return who an instance is: under one name, one of another class is another one."""
        name = self.hint or f"@{getattr(node, 'lineno', 0)}:{getattr(node, 'col_offset', 0)}{self.turn}"
        uid, count = (*self.frame.path, name), 1
        while self.instances.get(uid, cls) != cls:
            count += 1
            uid = (*self.frame.path, f"{name}#{count}")
        return uid

    def _only_runs(self, cls: Class) -> bool:
        """Whether a class is a module of another file without a hand in training: as good as a library's."""
        return self.is_foreign(cls) and self.is_module(cls) and not self.trains(cls)

    def _switches_itself(self, cls: Class) -> bool:
        """Whether a module may be in evaluation mode as soon as it is made: its `__init__` asks for it."""
        inits = (each for one in self.lineage(cls) for each in one.node.body if isinstance(each, ast.FunctionDef))
        return any("eval" in self.syntax.called(each) for each in inits if each.name == "__init__")

    def trains(self, cls: Class) -> bool:
        """Whether a method of a class runs backward, clears or steps."""
        return any(self.syntax.called(each.node) & TRAINING for each in self.lineage(cls))

    def endings(self, cls: Class) -> tuple[Made | None, ...]:
        """Return the activations that the parts of what a module returns certainly come out of."""
        if cls.node not in self.ended:
            self.ended[cls.node] = tuple(self._endings(cls))
        return self.ended[cls.node]

    def _endings(self, cls: Class) -> Iterator[Made | None]:
        lineage = list(self.lineage(cls))
        forward = self.method_of(cls, "forward")
        if forward is None or isinstance(forward.node, ast.Lambda) or not any(map(self._says_activation, lineage)):
            return
        home = self.frames.get(forward.frame, self.module).module
        asked = tuple(each.node for each in lineage)
        read = Forward(forward.node, asked, lambda node: self.seen_from(forward.frame, node))
        for ending in read.endings():
            yield None if ending is None else Made(ending.op, home.source.place(ending.node))

    def _says_activation(self, cls: Class) -> bool:
        return self.frames.get(cls.frame, self.module).module.contents.says(_ACTIVATIONS, cls.node)

    def parts_computed(self, cls: Class) -> int:
        """Return of how many parts the result of a module is, if its own layers certainly compute each (0: not known)."""
        if cls.node not in self.weighed:
            self.weighed[cls.node] = 0  # Who holds itself is not known.
            self.weighed[cls.node] = self._computed(cls)
        return self.weighed[cls.node]

    def _computed(self, cls: Class) -> int:
        forward = self.method_of(cls, "forward")
        if forward is None or isinstance(forward.node, ast.Lambda) or self.is_open(cls):
            return 0
        lineage = tuple(each.node for each in self.lineage(cls))
        read = Forward(forward.node, lineage, lambda node: self.seen_from(cls.frame, node))
        return computed_parts(read, lambda held: self.parts_computed(held) > 0)

    def opaque_module(self, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Object:
        """Make a module of which nothing else is known; the layer of constructors knows how."""
        raise NotImplementedError

    def own_optimizer(self, cls: Class, node: ast.AST, args: list[Value], named: dict[str, Value]) -> Value:
        """Make an optimizer of the file's own class; the layer of calls knows how."""
        raise NotImplementedError

    def own_scheduler(self, cls: Class, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Make a scheduler of the file's own class; the layer of constructors knows how."""
        raise NotImplementedError

    def is_foreign(self, cls: Class) -> bool:
        """Whether a class is of another file."""
        frame = self.frames.get(cls.frame, self.module)
        return frame.module is not self.module.module

    def bases(self, cls: Class) -> Iterator[Value]:
        """Return the bases of a class as values."""
        known = self.known_bases.get((cls.node, cls.frame))
        if known is None:
            known = tuple(self.seen_from(cls.frame, base) for base in cls.node.bases)
            if all(map(self._is_told, known)):
                self.known_bases[cls.node, cls.frame] = known
        return iter(known)

    def _is_told(self, base: Value) -> bool:
        """Whether it is settled what a base is: the file of one of which nothing is known may still be looked for."""
        return isinstance(base, Class) or (isinstance(base, Library) and self.models.role_of(base.name) != "unknown")

    def lineage(self, cls: Class) -> Iterator[Class]:
        """Yield a class and its bases in this file, nearest first."""
        todo, seen = [cls], set()
        while todo:
            current = todo.pop(0)
            if current.node in seen:
                continue
            seen.add(current.node)
            yield current
            todo.extend(base for base in self.bases(current) if isinstance(base, Class))

    def is_a(self, cls: Class, *names: str) -> bool:
        """Whether a class descends from one of the named library classes."""
        return any(
            isinstance(base, Library) and base.name in names
            for ancestor in self.lineage(cls)
            for base in self.bases(ancestor)
        )

    def is_optimizer(self, cls: Class) -> bool:
        """Whether a class descends from torch's optimizers."""
        return self.is_a(cls, *OPTIMIZERS) or any(
            isinstance(base, Library) and self.models.role_of(base.name) == "optimizer"
            for ancestor in self.lineage(cls)
            for base in self.bases(ancestor)
        )

    def is_scheduler(self, cls: Class) -> bool:
        """Whether a class descends from torch's schedulers, and leaves to them what a step is."""
        bases = (base for ancestor in self.lineage(cls) for base in self.bases(ancestor))
        torchs = any(isinstance(base, Library) and self.models.role_of(base.name) == "scheduler" for base in bases)
        rate = self.method_of(cls, "get_lr") if torchs else None
        return torchs and self.method_of(cls, "step") is None and (rate is None or _moves_on(rate.node))

    def is_module(self, cls: Class) -> bool:
        """Whether a class is proven to be a torch module."""
        return any(
            isinstance(base, Library) and self.models.role_of(base.name) in ("module", "criterion")
            for ancestor in self.lineage(cls)
            for base in self.bases(ancestor)
        )

    def may_have_weights(self, cls: Class) -> bool:
        """Whether modules of a class may have parameters, by its source and by those of its bases."""
        for each in self.lineage(cls):
            beyond = [
                base for base, known in zip(each.node.bases, self.bases(each), strict=True) if type(known) is not Class
            ]
            if may_bear_weights(each.node, beyond):
                return True
        return False

    def is_open(self, cls: Class) -> bool:
        """Whether a class has a base whose source is not here (`object` and torch's modules aside)."""
        closed = ("builtins.object", "torch.nn.Module", "torch.nn.modules.Module", "abc.ABC", *RECORDS)
        for ancestor in self.lineage(cls):
            for base in self.bases(ancestor):
                if not isinstance(base, Class) and not (isinstance(base, Library) and base.name in closed):
                    return True
        return False

    def method_of(self, cls: Class, name: str, *, after: Class | None = None) -> Function | None:
        """Return a method, bound to nobody, looked up along the lineage (beyond the class `after`, if given)."""
        passed = after is None
        for ancestor in self.lineage(cls):
            if passed:
                for statement in ancestor.node.body:
                    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)) and statement.name == name:
                        return Function(statement, ancestor.frame)
            passed = passed or (after is not None and ancestor.node is after.node)
        return None

    def class_member(self, owner: Class, name: str) -> Value:
        """Return an attribute of a class of this file."""
        method = self.method_of(owner, name)
        if method is None:
            return UNKNOWN
        return replace(method, receiver=owner) if "classmethod" in decorators(method) else method

    def superior(self, owner: Super, name: str) -> Value:
        """Return the method `name` of what stands above a class."""
        method = self.method_of(owner.instance.cls, name, after=owner.cls)
        if method is None:
            return Method(owner, name)
        return replace(method, receiver=owner.instance)


def decorators(method: Function) -> set[str]:
    """Return the names of what a function is decorated with."""
    return {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in getattr(method.node, "decorator_list", ())
        if isinstance(node, (ast.Name, ast.Attribute))
    }


def _moves_on(rate: ast.AST) -> bool:
    """Whether what computes a scheduler's rate asks for what a step moves, by itself or by asking others."""
    asked = walk_of(rate, ast.Attribute)
    counts = any(each.attr in _MOVED or not isinstance(each.ctx, ast.Load) for each in asked)
    return counts or any(receiver(call).partition(".")[0] in ("self", "super()") for call in walk_of(rate, ast.Call))

"""Classes whose source is in sight: their instances, methods and bases.

It knows lineages and attributes; it must not know states or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.static.endings import Forward
from gradlint.static.functions import Functions, name_of
from gradlint.static.initializers import DATACLASSES, initializer
from gradlint.static.library import words
from gradlint.static.nodes import walk
from gradlint.static.tree import Uid
from gradlint.static.values import (
    NONE,
    OPTIMIZERS,
    UNKNOWN,
    Class,
    Function,
    Instance,
    Kind,
    Library,
    Made,
    Method,
    Object,
    Super,
    Unknown,
    Value,
    unknown_uid,
)

_ACTIVATIONS = frozenset(["oftmax", "igmoid"])
"""In the names of activations that a loss may apply itself."""
TRAINING = frozenset({"backward", "step", "zero_grad", "manual_backward"})
"""Methods that make a module more than something that is run."""


class Classes(Functions):
    """Makes instances and finds their methods."""

    def instantiate(self, cls: Class, node: ast.AST, args: list[Value], named: dict[str, Value]) -> Value:
        """Make an instance: run its `__init__` on it."""
        instance = Instance(cls, self._instance_uid(cls, node))
        if self.is_optimizer(cls):
            return self.own_optimizer(cls, node, args, named)
        if isinstance(node, ast.Call) and self._is_scheduler(cls):
            return self.own_scheduler(cls, node, args, named)
        if self._only_runs(cls) and isinstance(node, ast.Call):
            made = self.opaque_module(cls.node.name, node, args, named)
            self.instances[made.uid] = cls
            return made
        for name in self.members.pop(instance.uid, ()):
            self.store.pop((instance.uid, name), None)
        self.hint = ""
        self.instances[instance.uid] = cls
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

    def _is_dataclass(self, cls: Class) -> bool:
        callees = (node.func if isinstance(node, ast.Call) else node for node in cls.node.decorator_list)
        known = [self.seen_from(cls.frame, callee) for callee in callees]
        return any(isinstance(value, Library) and value.name in DATACLASSES for value in known)

    def _instance_uid(self, cls: Class, node: ast.AST) -> Uid:
        """Return who an instance is: under one name, one of another class is another one."""
        name = self.hint or f"@{getattr(node, 'lineno', 0)}:{getattr(node, 'col_offset', 0)}"
        uid, count = (*self.frame.path, name), 1
        while self.instances.get(uid, cls) != cls:
            count += 1
            uid = (*self.frame.path, f"{name}#{count}")
        return uid

    def _only_runs(self, cls: Class) -> bool:
        """Whether a class is a module of another file without a hand in training: as good as a library's."""
        return self.is_foreign(cls) and self.is_module(cls) and not self.trains(cls)

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
        home = self.frames.get(cls.frame, self.module).module
        forward = self.method_of(cls, "forward")
        if forward is None or isinstance(forward.node, ast.Lambda) or not home.contents.says(_ACTIVATIONS, cls.node):
            return
        read = Forward(forward.node, tuple(each.node for each in lineage), lambda node: self.seen_from(cls.frame, node))
        for ending in read.endings():
            yield None if ending is None else Made(ending.op, home.source.place(ending.node))

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
        """Yield the bases of a class as values."""
        yield from [self.seen_from(cls.frame, base) for base in cls.node.bases]

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

    def _is_scheduler(self, cls: Class) -> bool:
        """Whether a class descends from torch's schedulers, and leaves to them what a step is."""
        bases = (base for ancestor in self.lineage(cls) for base in self.bases(ancestor))
        torchs = any(isinstance(base, Library) and self.models.role_of(base.name) == "scheduler" for base in bases)
        return torchs and self.method_of(cls, "step") is None

    def is_module(self, cls: Class) -> bool:
        """Whether a class is proven to be a torch module."""
        return any(
            isinstance(base, Library) and self.models.role_of(base.name) in ("module", "criterion")
            for ancestor in self.lineage(cls)
            for base in self.bases(ancestor)
        )

    def is_open(self, cls: Class) -> bool:
        """Whether a class has a base whose source is not here (`object` and torch's modules aside)."""
        closed = ("builtins.object", "torch.nn.Module", "torch.nn.modules.Module", "abc.ABC")
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
        return replace(method, receiver=owner) if "classmethod" in _decorators(method) else method

    def member(self, owner: Instance, name: str, node: ast.expr) -> Value:
        """Return an attribute of an instance of this file's class; what nobody was seen to assign is what its class declares."""
        value = self._found_member(owner, name, node)
        # Using None would raise: by then, another method has assigned it.
        unseen = value == NONE or (isinstance(value, Unknown) and not self._held(value))
        inherited = self._inherited_member(owner, name, node) if unseen else None
        if inherited is not None:
            return inherited
        declared = self._declared(owner.cls, name) if unseen else None
        if declared is None:
            return self._by_use(owner, name, value, node)
        module = Object(Kind.MODULE, (*owner.uid, name), "", self.place(node))
        self.declared[module.uid] = declared
        self.set_member(owner.uid, name, module)
        return module

    def _by_use(self, owner: Instance, name: str, value: Value, node: ast.expr) -> Value:
        """Return an attribute, or the optimizer that it is by what the methods of the class ask it for."""
        made = None
        if isinstance(value, Unknown) and isinstance(node, ast.Attribute):
            made = self.optimizer_by_use(value, (*owner.uid, name), node) or self._asked_for(owner, name, value, node)
        if made is None:
            return value
        self.set_member(owner.uid, name, made)
        return made

    def _asked_for(self, owner: Instance, name: str, value: Unknown, node: ast.expr) -> Object | None:
        """Return what somebody unknown gave an attribute, where its class asks it for what only an optimizer, or a scaler, does."""
        kinds = {self.objects[uid].kind for uid in value.holds if uid in self.objects}
        asks = ((Kind.OPTIMIZER, self.syntax.stepped_by_name), (Kind.SCALER, self.syntax.scaled_by_name))
        for kind, asked in asks if value.id else ():
            if kind not in kinds and any(f"self.{name}" in asked(each.node) for each in self.lineage(owner.cls)):
                return self.objects.setdefault(
                    unknown_uid(value.id), Object(kind, unknown_uid(value.id), "", self.place(node))
                )
        return None

    def by_then(self, owner: Instance, function: ast.AST) -> None:
        """Give what begins as None what another method gives it: by the time that `function` uses it, that one has run."""
        for name in sorted(self.members.get(owner.uid, ())):
            if self.store.get((owner.uid, name)) == NONE and name in self.syntax.mentioned(function):
                setters = [each for each in self._setters(owner, name) if name_of(each) != "__init__"]
                if len(setters) == 1 and setters[0].node is not function and not self.exhausted(setters[0]):
                    self._assigns(setters[0])

    def pair(self, owner: Instance) -> None:
        """Take the only optimizer that an object is given to train the only module that its class trains."""
        lineage = list(self.lineage(owner.cls))
        stepped = {name for each in lineage for name in self.syntax.stepped_by_name(each.node)}
        run = {name for each in lineage for name in self.syntax.run_by_name(each.node)} if len(stepped) == 1 else set()
        names = [name.partition(".") for name in (*stepped, *run)]
        if len(run) != 1 or any(first != "self" or not name or "." in name for first, _, name in names):
            return
        (_, _, optimizer), (_, _, model) = names
        given, module = (self.store.get((owner.uid, name)) for name in (optimizer, model))
        known = isinstance(given, Object) and (given.of is not None or bool(given.calls))
        if known or not isinstance(given, (Object, Unknown)) or not isinstance(module, Unknown) or not module.id:
            return
        self.proven.add(module.id)
        self.module_owners.add(module.id)
        uid = given.uid if isinstance(given, Object) else (*owner.uid, optimizer)
        made = Object(Kind.OPTIMIZER, uid, "", self.place(owner.cls.node), frozenset({unknown_uid(module.id)}))
        self.objects[uid] = made
        self.set_member(owner.uid, optimizer, made)

    def _inherited_member(self, owner: Instance, name: str, node: ast.expr) -> Object | None:
        """Return the optimizer or the scheduler that a trainer of a library makes for its instances."""
        if name not in ("optimizer", "lr_scheduler") or not self.is_a(owner.cls, *words("trainer", "bases")):
            return None
        optimizer, scheduler = (*owner.uid, "optimizer"), (*owner.uid, "lr_scheduler")
        for uid, made in (
            (optimizer, Object(Kind.OPTIMIZER, optimizer, "", self.place(node))),
            (scheduler, Object(Kind.SCHEDULER, scheduler, "", self.place(node), frozenset({optimizer}))),
        ):
            self.objects.setdefault(uid, made)
        made = self.objects[(*owner.uid, name)]
        self.set_member(owner.uid, name, made)
        return made

    def _held(self, value: Unknown) -> bool:
        return any(uid in self.objects for uid in value.holds)

    def _declared(self, cls: Class, name: str) -> Class | None:
        """Return the class of modules that the body of a class, or of its bases, declares an attribute to be of."""
        for ancestor in self.lineage(cls):
            for statement in ancestor.node.body:
                match statement:
                    case ast.AnnAssign(ast.Name(id=target), annotation) if target == name:
                        found = self.seen_from(ancestor.frame, annotation)
                        return found if isinstance(found, Class) and self.is_module(found) else None
        return None

    def submodule(self, owner: Object, name: str) -> Value:
        """Return a part of a module; of one whose class is in sight, the optimizer of its own parameters that it makes itself."""
        cls = self.declared.get(owner.uid) or self.instances.get(owner.uid)
        made = next(self._makes_optimizer(cls, name), None) if cls is not None else None
        if made is None:
            return super().submodule(owner, name)
        uid = (*owner.uid, name)
        if uid not in self.objects:
            self.objects[uid] = Object(Kind.OPTIMIZER, uid, "", made, frozenset({owner.uid}))
        return self.objects[uid]

    def _makes_optimizer(self, cls: Class, name: str) -> Iterator[Location]:
        """Yield where a class assigns `self.{name} = optimizer_class(self.parameters(), ...)`."""
        for ancestor in self.lineage(cls):
            for method in self.syntax.setters(ancestor.node, name):
                for node in walk(method):
                    match node:
                        case ast.Assign([ast.Attribute(ast.Name("self"), attr)], ast.Call(callee, [first, *_])) if (
                            attr == name and ast.unparse(first) == "self.parameters()"
                        ):
                            if self._is_optimizer_class(callee, ancestor):
                                yield self.frames.get(ancestor.frame, self.module).module.source.place(node)

    def _is_optimizer_class(self, callee: ast.expr, cls: Class) -> bool:
        """Whether a callee is a class of optimizers: one of a library, or what the constructor takes for one."""
        value = self.seen_from(cls.frame, callee)
        if isinstance(value, Library):
            return self.models.role_of(value.name) == "optimizer"
        init = self.method_of(cls, "__init__")
        taken = init.node.args if init is not None else None
        return taken is not None and any(
            isinstance(callee, ast.Attribute)
            and arg.arg == callee.attr
            and arg.annotation is not None
            and ast.unparse(arg.annotation).endswith(("Optimizer]", "Optimizer"))
            for arg in (*taken.args, *taken.kwonlyargs)
        )

    def _found_member(self, owner: Instance, name: str, node: ast.expr) -> Value:
        value = self.store.get((owner.uid, name))
        if value is not None:
            return value
        method = self.method_of(owner.cls, name)
        if method is not None:
            decorators = _decorators(method)
            if "staticmethod" in decorators:
                return method
            function = replace(method, receiver=owner)
            return self.inline(function, node, [], {}) if decorators & {"property", "cached_property"} else function
        if name == "module" and owner.uid in self.parallel:
            # What a wrapper wraps is its `module`.
            return owner
        if self._assigned_elsewhere(owner, name):
            return self.store.get((owner.uid, name)) or Unknown(self._path(owner, name), frozenset({owner.uid}))
        if self.is_module(owner.cls):
            # Only what wraps it has one, and a wrapper stands for what it wraps.
            return owner if name == "module" else Method(owner, name)
        return Unknown(self._path(owner, name), frozenset({owner.uid}) if self.is_open(owner.cls) else frozenset())

    def _path(self, owner: Instance, name: str) -> str:
        return f"{'/'.join(owner.uid)}.{name}"

    def _assigned_elsewhere(self, owner: Instance, name: str) -> bool:
        """Run the method that sets `self.name` for its assignments only, if there is exactly one."""
        setters = self._setters(owner, name)
        if len(setters) == 1 and not self.exhausted(setters[0]) and name_of(setters[0]) != "__init__":
            self._assigns(setters[0])
        return bool(setters)

    def _setters(self, owner: Instance, name: str) -> list[Function]:
        return [
            Function(method, ancestor.frame, owner)
            for ancestor in self.lineage(owner.cls)
            for method in self.syntax.setters(ancestor.node, name)
        ]

    def _assigns(self, setter: Function) -> None:
        """Run a method for its assignments only."""
        (loops, self.loops), mode = (self.loops, ()), (self.grad, self.switch)
        reached = set(self.reached)
        with self.aside():
            self.inline(setter, setter.node, [], {})
        self.loops, self.reached = loops, reached
        self.grad, self.switch = mode

    def superior(self, owner: Super, name: str) -> Value:
        """Return the method `name` of what stands above a class."""
        method = self.method_of(owner.instance.cls, name, after=owner.cls)
        if method is None:
            return Method(owner, name)
        return replace(method, receiver=owner.instance)


def _decorators(method: Function) -> set[str]:
    return {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in getattr(method.node, "decorator_list", ())
        if isinstance(node, (ast.Name, ast.Attribute))
    }

"""Functions and classes of the file: what calling them does, followed into their bodies.

A call is *inlined*: the callee's body is lowered with the caller's values in its parameters.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from gradlint.events import EventKind
from gradlint.static.context import Frame, Grad
from gradlint.static.expressions import Expressions
from gradlint.static.syntax import FunctionNode
from gradlint.static.tree import Call, Seq
from gradlint.static.values import (
    NONE,
    UNKNOWN,
    Class,
    Function,
    Instance,
    Items,
    Kind,
    Library,
    Method,
    Object,
    Params,
    Super,
    Unknown,
    Value,
    graph_of,
    held,
    join,
)

TRAINING = frozenset({"backward", "step", "zero_grad", "manual_backward"})
"""Methods that make a module more than something that is run."""


class Classes(Expressions):
    """Follows calls into the file's own functions and classes."""

    # Functions --------------------------------------------------------------------------------

    def inline(self, function: Function, node: ast.AST, args: list[Value], named: dict[str, Value]) -> Value:
        """Lower the body of a function at its call and return what it returns."""
        given = [*function.args, *args]
        if function.receiver is not None:
            given.insert(0, function.receiver)
        if self._beside_the_point(function, [*given, *named.values()]):
            return Unknown(holds=held([*given, *named.values()]))
        if self.exhausted(function.node) or self.syntax.is_generator(function.node):
            holds = self.escape(node, [*given, *named.values(), Function(function.node, function.frame)])
            return Unknown(holds=holds)
        self.reached.add(function.node)
        self.followed.add(function.node)
        frame = self._enter(function, node)
        if frame.module is not self.module.module:
            self.foreign[function.node] = frame.module
        outer = (self.frame, self.grad, self.dead, self.hint, self.pending)
        self.frame, self.dead, self.hint, self.pending = frame, False, "", []
        self.stack.append(function.node)
        with self.aside() as out:
            self._parameters(function.node.args, given, named)
            self._body(function.node)
        self.stack.pop()
        self.frame, self.grad, self.dead, self.hint, self.pending = outer
        if out:
            self.out.append(Call(Seq(tuple(out))))
        self._leave(frame)
        return self._result(frame)

    def _beside_the_point(self, function: Function, given: list[Value]) -> bool:
        """Whether a function of another file gets nothing that is trained, and cannot train anything else."""
        module = self.frames.get(function.frame, self.module).module
        if module is self.module.module or isinstance(function.node, ast.Lambda) or self._trained(given):
            return False
        places: list[ast.AST] = [function.node]
        if isinstance(function.receiver, Instance):
            places += [each.node for each in self.lineage(function.receiver.cls)]
        return not any(self.footprints.trains(place, module) for place in places)

    def _trained(self, values: list[Value]) -> bool:
        """Whether `values` have a hold on an object of training, or on a graph."""
        return (
            any(uid in self.objects for uid in self.reach(values))
            or bool(graph_of(values))
            or any(isinstance(value, (Function, Params)) for value in values)
        )

    def _enter(self, function: Function, node: ast.AST) -> Frame:
        path = (*self.frame.path, f"{_name(function)}:{getattr(node, 'lineno', 0)}:{getattr(node, 'col_offset', 0)}")
        parent = self.frames.get(function.frame, self.module)
        cls = function.receiver.cls if isinstance(function.receiver, Instance) else None
        frame = Frame(path, parent, parent.module, node=function.node, cls=cls, receiver=function.receiver)
        module_names, outer_names = self.syntax.declared(function.node)
        frame.shared = dict.fromkeys(module_names, self.module) | dict.fromkeys(outer_names, parent)
        self.frames[path] = frame
        return frame

    def _leave(self, frame: Frame) -> None:
        if frame.captured:
            return
        for name in frame.bound:
            self.store.pop((frame.path, name), None)

    def _result(self, frame: Frame) -> Value:
        if not frame.returned:
            return NONE
        result = frame.returned[0]
        for other in frame.returned[1:]:
            result = join(result, other)
        return result

    def _body(self, node: FunctionNode | ast.Lambda) -> None:
        if isinstance(node, ast.Lambda):
            self.frame.returned.append(self.evaluate(node.body))
            return
        mode = self.decorated_mode(node)
        if mode is not None:
            self.grad = mode
        elif node in self.wrapped_by_others:
            self.grad = Grad.MAYBE
        self.block(node.body)

    def decorated_mode(self, node: FunctionNode) -> Grad | None:
        """Return the grad mode that the decorators of a function put it in, if any."""
        for decorator in node.decorator_list:
            target = decorator.func if isinstance(decorator, ast.Call) else decorator
            value = self.quietly(target)
            if isinstance(value, Library):
                match self.models.role_of(value.name):
                    case "no-grad":
                        return Grad.OFF
                    case "enable-grad":
                        return Grad.ON
                    case "set-grad":
                        return Grad.MAYBE
        return None

    def quietly(self, node: ast.expr) -> Value:
        """Return what names alone tell of an expression; nothing is emitted."""
        """Return what names alone tell of an expression; nothing is emitted."""
        match node:
            case ast.Name(name):
                return self.lookup(name)
            case ast.Attribute(owner, name):
                value = self.quietly(owner)
                return self.named(f"{value.name}.{name}") if isinstance(value, Library) else UNKNOWN
            case _:
                return UNKNOWN

    def _parameters(self, arguments: ast.arguments, given: list[Value], named: dict[str, Value]) -> None:
        positional = [*arguments.posonlyargs, *arguments.args]
        defaults = dict(zip([arg.arg for arg in reversed(positional)], reversed(arguments.defaults), strict=False))
        defaults |= {
            arg.arg: default
            for arg, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
            if default is not None
        }
        spread = any(isinstance(value, Unknown) and value.id == "*" for value in [*given, *named.values()])
        values = dict(zip([arg.arg for arg in positional], given, strict=False)) | named
        for arg in [*positional, *arguments.kwonlyargs]:
            value = values.get(arg.arg)
            if isinstance(value, Unknown) and arg.annotation is not None:
                value = self._annotated_as(value, arg)
            if value is not None:
                self.bind(arg.arg, value)
            elif arg.arg in defaults and not spread:
                self.bind(arg.arg, self.evaluate(defaults[arg.arg]))
            else:
                self.bind(arg.arg, self.parameter(arg))
        if arguments.vararg is not None:
            self.bind(arguments.vararg.arg, Items(tuple(given[len(positional) :])) if not spread else UNKNOWN)
        if arguments.kwarg is not None:
            self.bind(arguments.kwarg.arg, Unknown(holds=self.reach(named.values())))

    def _annotated_as(self, value: Unknown, arg: ast.arg) -> Value:
        """Return what an unknown argument is by the annotation of its parameter."""
        if any(uid in self.objects and self.objects[uid].kind is Kind.OPTIMIZER for uid in value.holds):
            return value
        known = self.parameter(arg)
        return known if isinstance(known, Object) else value

    def parameter(self, arg: ast.arg) -> Value:
        """Return the value of a parameter that no caller gives: what its annotation says, else unknown."""
        annotation = self.quietly(arg.annotation) if arg.annotation is not None else UNKNOWN
        uid = (*self.frame.path, arg.arg)
        if isinstance(annotation, Library):
            if annotation.name in ("torch.optim.Optimizer", "torch.optim.optimizer.Optimizer"):
                return self._annotated(Object(Kind.OPTIMIZER, uid, "", self.place(arg)))
            match self.models.role_of(annotation.name):
                case "optimizer":
                    return self._annotated(Object(Kind.OPTIMIZER, uid, annotation.name, self.place(arg)))
                case "scaler":
                    return self._annotated(Object(Kind.SCALER, uid, annotation.name, self.place(arg)))
                case "module":
                    return Object(Kind.MODULE, uid, "", self.place(arg))
        return Unknown("/".join(uid))

    def _annotated(self, value: Object) -> Object:
        self.objects[value.uid] = value
        return value

    # Classes ----------------------------------------------------------------------------------

    def instantiate(self, cls: Class, node: ast.AST, args: list[Value], named: dict[str, Value]) -> Value:
        """Make an instance: run its `__init__` on it."""
        name = self.hint or f"@{getattr(node, 'lineno', 0)}:{getattr(node, 'col_offset', 0)}"
        instance = Instance(cls, (*self.frame.path, name))
        if self.is_optimizer(cls):
            return self.own_optimizer(cls, node, args, named)
        if self._only_runs(cls) and isinstance(node, ast.Call):
            made = self.opaque_module(cls.node.name, node, args, named)
            self.instances[made.uid] = cls
            return made
        for name in self.members.pop(instance.uid, ()):
            self.store.pop((instance.uid, name), None)
        self.hint = ""
        self.instances[instance.uid] = cls
        self.emit(EventKind.CREATE, node, frozenset({instance.uid}))
        init = self.method_of(cls, "__init__")
        if init is not None:
            self.inline(replace(init, receiver=instance), node, args, named)
        for index, value in enumerate([*args, *named.values()]):
            # What a base of another package does with them is unknown: it holds them.
            self.set_member(instance.uid, f"*{index}", value)
        return instance

    def _only_runs(self, cls: Class) -> bool:
        """Whether a class is a module of another file without a hand in training: as good as a library's."""
        return (
            self.is_foreign(cls)
            and self.is_module(cls)
            and not any(self.syntax.called(each.node) & TRAINING for each in self.lineage(cls))
        )

    def opaque_module(self, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Object:
        """Make a module of which nothing else is known; the layer of constructors knows how."""
        raise NotImplementedError

    def own_optimizer(self, cls: Class, node: ast.AST, args: list[Value], named: dict[str, Value]) -> Value:
        """Make an optimizer of the file's own class; the layer of calls knows how."""
        raise NotImplementedError

    def is_foreign(self, cls: Class) -> bool:
        """Whether a class is of another file."""
        frame = self.frames.get(cls.frame, self.module)
        return frame.module is not self.module.module

    def bases(self, cls: Class) -> Iterator[Value]:
        """Yield the bases of a class as values."""
        frame = self.frame
        self.frame = self.frames.get(cls.frame, self.module)
        try:
            yield from [self.quietly(base) for base in cls.node.bases]
        finally:
            self.frame = frame

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
        return self.is_a(cls, "torch.optim.Optimizer", "torch.optim.optimizer.Optimizer") or any(
            isinstance(base, Library) and self.models.role_of(base.name) == "optimizer"
            for ancestor in self.lineage(cls)
            for base in self.bases(ancestor)
        )

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
        """Return an attribute of an instance of this file's class."""
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
        if self._assigned_elsewhere(owner, name):
            return self.store.get((owner.uid, name)) or Unknown(self._path(owner, name), frozenset({owner.uid}))
        if self.is_module(owner.cls):
            return Method(owner, name)
        return Unknown(self._path(owner, name), frozenset({owner.uid}) if self.is_open(owner.cls) else frozenset())

    def _path(self, owner: Instance, name: str) -> str:
        return f"{'/'.join(owner.uid)}.{name}"

    def _assigned_elsewhere(self, owner: Instance, name: str) -> bool:
        """Run the method that sets `self.name` for its assignments only, if there is exactly one."""
        setters = [
            Function(method, ancestor.frame, owner)
            for ancestor in self.lineage(owner.cls)
            for method in self.syntax.setters(ancestor.node, name)
        ]
        if len(setters) != 1 or self.exhausted(setters[0].node) or _name(setters[0]) == "__init__":
            return bool(setters)
        loops, self.loops = self.loops, ()
        reached = set(self.reached)
        with self.aside():
            self.inline(setters[0], setters[0].node, [], {})
        self.loops, self.reached = loops, reached
        return True

    def superior(self, owner: Super, name: str) -> Value:
        """Return the method `name` of what stands above a class."""
        method = self.method_of(owner.instance.cls, name, after=owner.cls)
        if method is None:
            return Method(owner, name)
        return replace(method, receiver=owner.instance)


def _name(function: Function) -> str:
    return getattr(function.node, "name", "lambda")


def _decorators(method: Function) -> set[str]:
    return {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in getattr(method.node, "decorator_list", ())
        if isinstance(node, (ast.Name, ast.Attribute))
    }

"""What calling a name of another package makes or does, by the role that `models/*.toml` gives it.

It knows roles; it must not know states or rules.
"""

from __future__ import annotations

import ast
import math
import re
from dataclasses import replace

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.models import Meaning
from gradlint.static.algebra import held, join
from gradlint.static.arithmetic import combined
from gradlint.static.endings import SEQUENCES
from gradlint.static.frames import Grad
from gradlint.static.gradients import Gradients
from gradlint.static.library import made_by, words
from gradlint.static.nodes import walk
from gradlint.static.provenance import copied, cut, is_computed, lost_by, marked, summed
from gradlint.static.syntax import weights_of
from gradlint.static.tree import (
    JumpKind,
    Loop,
    Seq,
    Uid,
)
from gradlint.static.values import (
    ANY_OPTIMIZER,
    DATA,
    LOADER,
    NONE,
    UNKNOWN,
    Class,
    Const,
    Construction,
    Function,
    Instance,
    Items,
    Kind,
    Library,
    Object,
    Params,
    Tensor,
    Unknown,
    Value,
    const,
    is_loader,
)

COPIES = frozenset(["torch.tensor", "torch.autograd.Variable"])
"""Make a new tensor of what they are given, without its graph (the second where `requires_grad` is given)."""

RESTORED = "*restored"
"""Under this name an optimizer holds the place where its state was loaded."""
_OWN_STEP = re.compile(r"\bself\.step\(|\bsuper\([^)]*\)\.step\(")
_TOUCHES = re.compile(r"\b(?:step|data|grad|params)\b")
"""Words in a method of an optimizer that may change parameters; whatever else it does leaves them alone."""

_SUMS = frozenset(["torch.sum", "torch.mean", "torch.add"])
"""Functions whose result is a sum of the terms of what they are given."""


def _has_weights(name: str, args: list[Value], named: dict[str, Value]) -> bool:
    """Whether a module is made with trained weights, as some always are: nobody is seen to load them."""
    given = [const(named.get(key, NONE)) for key in words("pretrained", "arguments")]
    # A class of the project may call by that name what its terms weigh.
    asked = any(each for each in given if "." in name or each is not ...)
    # The number 1, equal to `True`, is a width.
    return asked or (bool(args) and const(args[0]) is True) or name in words("pretrained", "always")


def _steps_without_gradients(cls: Class) -> bool:
    """Whether an optimizer's class has a step that asks for no gradient, nor another step: it projects, or shrinks."""
    steps = [each for each in cls.node.body if isinstance(each, ast.FunctionDef) and each.name == "step"]
    asked = {node.attr for node in walk(cls.node) if isinstance(node, ast.Attribute)} & {"grad", "step"}
    return bool(steps) and not asked


class Constructors(Gradients):
    """Evaluates calls of libraries."""

    def call_library(self, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Emit the events of calling a function or class of another package."""
        values = [*args, *named.values()]
        if name.startswith("builtins."):
            return self._builtin(name.removeprefix("builtins."), node, args, named)
        if name.startswith("torch._foreach"):
            self.emit(EventKind.ESCAPE, node, None)
        meaning = self.models.meaning_of(name)
        match meaning.role:
            case "acts":
                return self.perform(meaning, node, None, args, named)
            case "optimizer" | "scheduler" | "scaler" | "module" | "criterion" | "engine" as kind:
                return self._construct(Kind(kind), name, node, args, named)
            case "sharding" if args:
                if const(named.get("use_orig_params", Const(False))) is False:
                    self.emit(EventKind.SHARD, node, self.reach(args[:1]), self.spelled(node))
                return self._wrapped(args[0], "wrapper")
            case "wrapper" | "copy" if args:
                if name in words("parallel", "wrappers"):
                    self.parallel |= held(args[:1])
                return self._wrapped(args[0], meaning.role)
            case "tensor" if "requires_grad" not in named and "out" not in named:
                if name.endswith("_"):
                    self.forget(values)
                self.compares(name, node, args, named)
                result = combined(values) if self.grad is Grad.ON else self.ungraphed(DATA, node, values)
                if name in _SUMS and args:
                    result = summed(result, args[0])
                return marked(result, made_by(name), self.place(node))
            case "tensor" | "fresh-tensor" if "out" in named:
                self.forget(values)
                return UNKNOWN
            case "tensor" | "fresh-tensor":
                flag = const(named.get("requires_grad", Const(False)))
                source = args[0] if args and name in COPIES else DATA
                copy = copied(source, flag, self.place(node))
                return UNKNOWN if copy is None else self.leaf(copy, node)
            case "parameter":
                return self._parameter(node, named)
            case "backward":
                return self.backward(node, args[:1] or list(named.values())[:1], named)
            case "grad":
                return self._autograd_grad(node, args, named)
            case "clip":
                return self.clip(node, args, named)
            case "set-grad":
                self._set_grad(node, args)
                return UNKNOWN
            case "partial" if args and isinstance(args[0], Library) and len(args) == 1:
                return args[0]
            case "partial" if args and isinstance(args[0], Function):
                return replace(args[0], args=(*args[0].args, *args[1:]))
            case "chain":
                return self._chained(values)
            case "spawn" | "spawn-target":
                return self._spawned(node, args, named)
            case "exit":
                self.jump(JumpKind.RAISE)
                return NONE
            case "no-grad":
                return self._untracked(name, node, args)
            case "loader":
                return self._loader(name, node, values)
            case "saved" if self.hint and self.hint in self.syntax.functions(
                self.frame.node or self.frame.module.contents.tree
            ):
                saved = self._construct(Kind.MODULE, name, node, [], {})
                self.emit(EventKind.LOAD, node, frozenset({saved.uid}), self.hint)
                return saved
            case "sampler":
                return self._sampler(name, node, args, named)
            case "tool":
                return Library(name if name.endswith("()") else f"{name}()")
            case "pure" | "seed" | "enable-grad" | "saved":
                return UNKNOWN
            case _:
                return Unknown(holds=self.escape(node, values, self._built(name, values)))

    def _untracked(self, name: str, node: ast.Call, args: list[Value]) -> Value:
        """Return a context that switches gradients off, or the function that it, or its class, was called on."""
        match args:
            case [Function() as function]:
                return replace(function, untracked=True)
            case [_, *_] if isinstance(node.func, ast.Call):
                return Unknown(holds=self.escape(node, args))
            case _:
                return Library(name)

    def _built(self, name: str, values: list[Value]) -> tuple[str, ...]:
        """Return the word that says that an unknown class is given modules: what it makes holds them, but does nothing yet."""
        made = [known for uid in self.reach(values) if (known := self.objects.get(uid)) is not None]
        is_class = name.rpartition(".")[2][:1].isupper()
        return (
            ("construction",) if is_class and all(each.kind in (Kind.MODULE, Kind.CRITERION) for each in made) else ()
        )

    def perform(
        self, meaning: Meaning, node: ast.Call, receiver: Value | None, args: list[Value], named: dict[str, Value]
    ) -> Value:
        """Do what a model says that a call does; the layer of actions knows how."""
        raise NotImplementedError

    def _builtin(self, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        if name == "zip" and len(node.args) == 2:
            one, other = (weights_of(each) for each in node.args)
            if one is not None and other is not None:
                self.mirrors(node, one, other)
        match name:
            case "exit" | "quit":
                self.jump(JumpKind.RAISE)
            case "float" if args and str(const(args[0])).lower() in ("inf", "infinity"):
                return Const(math.inf)
            case "getattr" if len(args) >= 2 and isinstance(args[1], Const):
                return self.attribute(args[0], str(args[1].value), node)
            case "getattr" if args[:1] == [Library("torch.optim")]:
                return ANY_OPTIMIZER
            case "getattr":
                return Unknown(holds=self.reach(args))
            case "list" | "tuple" | "iter" | "reversed" | "sorted" | "filter" if args:
                return args[-1] if isinstance(args[-1], (Items, Params)) else Unknown(holds=held(args))
            case "dict" if not args:
                return (
                    Items(tuple(named.values()), tuple(named))
                    if "**" not in named
                    else Unknown(holds=held(named.values()))
                )
            case "zip" if args and all(isinstance(arg, Items) and arg.keys is None for arg in args):
                columns = [arg.elements for arg in args if isinstance(arg, Items)]
                return Items(tuple(Items(row) for row in zip(*columns, strict=False)))
            case "enumerate" if args and isinstance(args[0], Items) and args[0].keys is None:
                return Items(tuple(Items((Const(i), each)) for i, each in enumerate(args[0].elements)))
            case "enumerate" | "zip" if args:
                if any(isinstance(arg, Params) for arg in args):
                    return next(arg for arg in args if isinstance(arg, Params))
                return Unknown(holds=held(arg for arg in args if not is_loader(arg)))
            case "map" if len(args) == 2 and isinstance(args[0], Function):
                return self._mapped(args[0], args[1], node)
            case "map" if args and not isinstance(args[0], (Library, Class)):
                return Unknown(holds=self.escape(node, args))
            case "float" | "int" if args and is_computed(args[0]):
                return cut(self.place(node), lost_by(name, self.place(node), args))
            case "setattr":
                self.forget(args)
                # What is put in the place of a frozen part may train.
                self.emit(EventKind.THAW, node, self.reach(args[:1]) or None, roles=("exchanged",))
            case "sum" if args and isinstance(args[0], Items):
                return summed(combined(args[0].elements), args[0])
        return UNKNOWN

    def _parameter(self, node: ast.Call, named: dict[str, Value]) -> Params:
        made = frozenset({(*self.frame.path, self.hint or "@")})
        self.emit(EventKind.CREATE, node, made)
        if const(named.get("requires_grad", Const(True))) is not True:
            self.frozen |= made
        return Params(made)

    def _mapped(self, function: Function, source: Value, node: ast.Call) -> Value:
        number = self.number(node)
        outer, self.loops = self.loops, (*self.loops, number)
        with self.aside() as out:
            self.inline(function, node, [self.iterated(source)], {})
        self.loops = outer
        body = Seq(tuple(out))
        self.out.append(Loop(number, body, body, Seq(())))
        return UNKNOWN

    def _construct(self, kind: Kind, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Object:
        uid = self._identity_of(node)
        meaning = self.models.meaning_of(name)
        given = dict(zip(meaning.parameters, args, strict=False)) | named
        values = [given[meaning.of]] if meaning.of in given else [*args, *named.values()]
        call = Construction(node, tuple(args), named, self.frame.node, self.frame.callers)
        made = Object(kind, uid, name, self.place(node), self._acts_on(kind, values), (call,))
        made = self._with_alternatives(made)
        for parameter in meaning.parameters if kind is Kind.ENGINE else ():
            # What its methods are said to act on.
            self.set_member(uid, parameter, given.get(parameter, NONE))
        for index, value in enumerate([*args, *named.values()] if kind is Kind.MODULE else ()):
            if isinstance(value, (Object, Instance, Items)):
                # A module that is built of others has their parameters.
                self.set_member(uid, f"*{index}", value)
        self.objects[uid] = made
        for owner in made.of or () if kind is Kind.SCHEDULER else ():
            restored = const(self.store.get((owner, RESTORED), UNKNOWN))
            if isinstance(restored, Location):
                self.restored[uid] = restored
        if kind is Kind.SCALER and const(named.get("enabled", UNKNOWN)) is False:
            self.disabled.add(uid)
        if name in SEQUENCES:
            op = self.output(args[-1]) if args and isinstance(args[-1], Object) else ""
            self.outputs[uid] = op if self.outputs.get(uid, op) == op else ""
        self.born.append(uid)
        self.emit(EventKind.CREATE, node, frozenset({uid}), self.hint)
        if kind is Kind.MODULE and _has_weights(name, args, named):
            self.pretrained[uid] = self.place(node)
            self.emit(EventKind.LOAD, node, frozenset({uid}), self.hint)
        return made

    def _sampler(self, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Make a sampler whose order depends on the epoch that it is told; others need not be told."""
        call = Construction(node, tuple(args), named, self.frame.node)
        if const(call.argument(3, "shuffle") or Const(True)) is not True:
            return UNKNOWN
        made = Object(Kind.SAMPLER, self._identity_of(node), name, self.place(node), None, (call,))
        self.samplers[made.uid] = made
        self.emit(EventKind.CREATE, node, frozenset({made.uid}), self.hint)
        return made

    def _loader(self, name: str, node: ast.Call, values: list[Value]) -> Value:
        """Make a loader; it has an identity where it has a sampler that must be told the epoch."""
        samplers = frozenset(uid for uid in held(values) if uid in self.samplers)
        if not samplers:
            return LOADER
        made = Object(Kind.LOADER, self._identity_of(node), name, self.place(node), samplers)
        for uid in samplers:
            self.set_member(made.uid, "sampler", self.samplers[uid])
        return made

    def _with_alternatives(self, made: Object) -> Object:
        """Return an object that two branches make as what is known of either."""
        other = self.objects.get(made.uid)
        if other is None or other.place == made.place:
            return made
        either = join(made, other)
        return either if isinstance(either, Object) else made

    def _identity_of(self, node: ast.Call) -> Uid:
        """Return who is made here: two branches that make one name make one object, a name made anew is another one."""
        name = self.hint or f"@{node.lineno}:{node.col_offset}"
        uid, place, count = (*self.frame.path, name), self.place(node), 1
        bound = self.lookup(name)
        anew = isinstance(bound, Object) and bound.uid[-1].partition("#")[0] == name
        while anew and uid in self.objects and self.objects[uid].place != place:
            count += 1
            uid = (*self.frame.path, f"{name}#{count}")
        return uid

    def _acts_on(self, kind: Kind, values: list[Value]) -> frozenset[Uid] | None:
        match kind:
            case Kind.OPTIMIZER:
                # Nobody is given an empty list: what was put in there is not in sight.
                return (self._owners(values[0]) or None) if values else None
            case Kind.SCHEDULER:
                # A scheduler built on schedulers steps them.
                self.escaped |= self.reach(
                    value for value in values if not (isinstance(value, Object) and value.kind is Kind.OPTIMIZER)
                )
                found = frozenset(
                    value.uid for value in values if isinstance(value, Object) and value.kind is Kind.OPTIMIZER
                )
                return found or None
            case _:
                return None

    def _owners(self, value: Value) -> frozenset[Uid] | None:
        match value:
            case Params(of):
                return of
            case Object(kind=Kind.MODULE, uid=uid) | Instance(uid=uid):
                return frozenset({uid})
            case Tensor(leaves=leaves) if leaves:
                return leaves
            case Items(elements, keys) if keys is not None:
                return self._owners(elements[keys.index("params")]) if "params" in keys else None
            case Items(elements):
                owners = [self._owners(element) for element in elements]
                return None if None in owners else frozenset(uid for each in owners for uid in each or ())
            case _:
                return None

    def opaque_module(self, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Object:
        """Make a module of which nothing else is known."""
        return self._construct(Kind.MODULE, name, node, args, named)

    def own_optimizer(self, cls: Class, node: ast.AST, args: list[Value], named: dict[str, Value]) -> Value:
        """Make an optimizer of the file's own class: torch's protocol, unless it clears or differentiates by itself."""
        text = ast.unparse(cls.node)
        if any(word in text for word in ("zero_grad", "backward", "grad = None", "closure()", "autograd")):
            return Unknown(holds=self.escape(node, [*args, *named.values()]))
        assert isinstance(node, ast.Call)
        made = self._construct(Kind.OPTIMIZER, cls.node.name, node, args, named)
        methods = {each.name: ast.unparse(each) for each in cls.node.body if isinstance(each, ast.FunctionDef)}
        steps = frozenset(name for name, body in methods.items() if _OWN_STEP.search(body))
        self.own_steps[made.uid] = steps - {"__init__"}
        if _steps_without_gradients(cls):
            self.projections.add(made.uid)
        self.own_methods[made.uid] = frozenset(name for name in methods if not _TOUCHES.search(methods[name]))
        return made

    def own_scheduler(self, cls: Class, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Make a scheduler of the file's own class: it counts as torch's do, how long it is nobody knows."""
        made = self._construct(Kind.SCHEDULER, "", node, args, named)
        self.own_methods[made.uid] = frozenset(each.name for each in cls.node.body if isinstance(each, ast.FunctionDef))
        return made

    def _wrapped(self, value: Value, role: str) -> Value:
        match value:
            case Object(kind=Kind.MODULE) if role == "copy":
                return UNKNOWN
            case Instance() if role == "copy":
                return UNKNOWN
            case Object() | Instance() | Items() | Params():
                return value
            case Library() if is_loader(value):
                return value
            case Unknown(id=known) if known and role == "wrapper":
                return value  # Its mode is that of what it wraps.
            case _:
                return Unknown(holds=held((value,)))

    def _chained(self, values: list[Value]) -> Value:
        owners = [value.of for value in values if isinstance(value, Params)]
        if len(owners) < len(values) or None in owners:
            return Params(None)
        return Params(frozenset(uid for each in owners for uid in each or ()))

    def _spawned(self, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        target = named.get("target") or named.get("fn") or (args[0] if args else UNKNOWN)
        given = named.get("args") or (args[1] if len(args) > 1 else Items(()))
        if isinstance(target, Function):
            rank: list[Value] = [] if "target" in named else [UNKNOWN]
            arguments: list[Value] = list(given.elements) if isinstance(given, Items) else [Unknown("*")]
            self.inline(target, node, rank + arguments, {})
        return UNKNOWN

    def _set_grad(self, node: ast.Call, args: list[Value]) -> None:
        wanted = const(args[0]) if args else ...
        self.grad = {True: Grad.ON, False: Grad.OFF}.get(wanted, Grad.MAYBE) if isinstance(wanted, bool) else Grad.MAYBE
        self.switch = self.place(node)

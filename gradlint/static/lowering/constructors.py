"""What calling a name of another package makes or does, by the role that `models/*.toml` gives it.

It knows roles; it must not know states or rules.
"""

from __future__ import annotations

import ast
from dataclasses import replace

from gradlint.events import EventKind
from gradlint.models import Meaning
from gradlint.static.flow.tree import JumpKind
from gradlint.static.lowering.algebra import held, parameters_in
from gradlint.static.lowering.arithmetic import combined
from gradlint.static.lowering.builtins import Builtins
from gradlint.static.lowering.frames import Grad
from gradlint.static.lowering.provenance import copied, cut, marked, ranked, summed
from gradlint.static.lowering.values import (
    DATA,
    NONE,
    UNKNOWN,
    Const,
    Function,
    Gathered,
    Instance,
    Items,
    Kind,
    Library,
    Object,
    Params,
    Unknown,
    Value,
    const,
    is_loader,
)
from gradlint.static.sources.library import made_by, words
from gradlint.static.syntax.questions import has_dimension

COPIES = frozenset(["torch.tensor", "torch.autograd.Variable"])
"""Make a new tensor of what they are given, without its graph (the second where `requires_grad` is given)."""

_TYPED = frozenset(f"torch.{name}Tensor" for name in ("", "Float", "Double", "Half", "BFloat16"))
"""Make a new tensor of the numbers in a list, too, but another name of the tensor that they are given."""

_DOES = frozenset(["backward", "grad", "clip", "set-grad", "chain", "spawn", "spawn-target", "exit", "no-grad"])
"""Roles of what does something, and makes nothing of its own."""

_FIRST = ("model", "module", "sampler", "iterable", "x")
"""What those who return their first argument call it."""

_SUMS = frozenset(["torch.sum", "torch.mean", "torch.add"])
"""Functions whose result is a sum of the terms of what they are given."""


class Constructors(Builtins):
    """Evaluates calls of libraries."""

    def call_library(self, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Emit the events of calling a function or class of another package."""
        values = [*args, *named.values()]
        if name.startswith("builtins."):
            return self.builtin(name.removeprefix("builtins."), node, args, named)
        if name.startswith("torch._foreach"):
            self.emit(EventKind.ESCAPE, node, None)
        meaning = self.models.meaning_of(name)
        if meaning.role == "acts":
            return self.perform(meaning, node, None, args, named)
        if meaning.role in ("tensor", "fresh-tensor"):
            return self._tensors(name, meaning.role, node, args, named)
        if meaning.role in _DOES:
            return self._done(name, meaning.role, node, args, named)
        if meaning.role in ("pure", "seed", "enable-grad"):
            return UNKNOWN
        made = self._built_by_role(name, meaning.role, node, args, named)
        return Unknown(holds=self.escape(node, values, self._built(name, values))) if made is None else made

    def _built_by_role(
        self, name: str, role: str, node: ast.Call, args: list[Value], named: dict[str, Value]
    ) -> Value | None:
        """Return what is made, or what something is wrapped in; None: nobody knows."""
        first = args[:1] or [named[each] for each in _FIRST if each in named]
        match role:
            case "optimizer" | "scheduler" | "scaler" | "module" | "criterion" | "engine" as kind:
                return self.construct(Kind(kind), name, node, args, named)
            case "sharding" if first:
                if const(named.get("use_orig_params", Const(False))) is False:
                    self.emit(EventKind.SHARD, node, self.reach(first), self.spelled(node))
                return self._wrapped(first[0], "wrapper")
            case "cast" if len(args) > 1:
                return args[1]
            case "wrapper" | "copy" if first:
                if name in words("parallel", "wrappers"):
                    self.parallel |= held(first)
                return self._wrapped(first[0], role)
            case "parameter":
                return self.make_parameter(node, named)
            case "partial" if args and isinstance(args[0], Library) and len(args) == 1:
                return args[0]
            case "partial" if args and isinstance(args[0], Function):
                return replace(args[0], args=(*args[0].args, *args[1:]))
            case "record":
                return self.record(node)
            case "calls" if args:
                return self.call(args[0], node, args[1:], named)
            case "loader":
                return self.make_loader(name, node, [*args, *named.values()])
            case "saved":
                return self._saved(name, node)
            case "sampler":
                return self.make_sampler(name, node, args, named)
            case "tool":
                return Library(name if name.endswith("()") else f"{name}()")
            case _:
                return None

    def _tensors(self, name: str, role: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Return a tensor that is computed, or a new one."""
        values = [*args, *named.values()]
        if "out" in named:
            self.forget(values)
            return UNKNOWN
        listed = name in _TYPED and bool(args) and isinstance(args[0], (Items, Gathered))
        if role == "tensor" and "requires_grad" not in named and not listed:
            return self._calculated(name, node, args, named)
        flag = const(named.get("requires_grad", Const(False)))
        source = args[0] if args and (listed or name in COPIES) else DATA
        copy = copied(source, flag, self.place(node))
        return UNKNOWN if copy is None else self.leaf(copy, node)

    def _calculated(self, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        values, plain = [*args, *named.values()], name.rpartition(".")[2]
        if name.endswith("_"):
            self.forget(values)
        self.compares(name, node, args, named)
        if plain in words("tensor", "cut"):
            return cut(self.place(node))
        result = combined(values) if self.grad is Grad.ON else self.ungraphed(DATA, node, values)
        if name in _SUMS and args:
            result = summed(result, args[0])
        result = marked(result, made_by(name), self.place(node))
        return ranked(result, plain, self.place(node), along=has_dimension(node, 1))

    def _done(self, name: str, role: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Do what changes gradients, modes or the way on; return what comes of it, if anything."""
        match role:
            case "backward":
                return self.backward(node, args[:1] or list(named.values())[:1], named)
            case "grad":
                return self._autograd_grad(node, args, named)
            case "clip":
                return self.clip(node, args, named)
            case "set-grad":
                self._set_grad(node, args)
                return UNKNOWN
            case "chain":
                return self._chained([*args, *named.values()])
            case "spawn" | "spawn-target":
                return self._spawned(node, args, named)
            case "exit":
                self.jump(JumpKind.RAISE)
                return NONE
            case _:
                return self._untracked(name, node, args)

    def _saved(self, name: str, node: ast.Call) -> Value:
        """Return what was saved: a model, if it is called where it is loaded."""
        called = self.syntax.functions(self.frame.node or self.frame.module.contents.tree)
        if not self.hint or self.hint not in called:
            return UNKNOWN
        saved = self.construct(Kind.MODULE, name, node, [], {})
        self.emit(EventKind.LOAD, node, frozenset({saved.uid}), self.hint)
        return saved

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

    def _wrapped(self, value: Value, role: str) -> Value:
        match value:
            case Object(kind=Kind.MODULE) | Instance() | Unknown() if role == "copy":
                return UNKNOWN  # It shares nothing.
            case Object() | Instance() | Items() | Params():
                return value
            case Library() if is_loader(value):
                return value
            case Unknown(id=known) if known and role == "wrapper":
                return value  # Its mode is that of what it wraps.
            case _:
                return Unknown(holds=held((value,)))

    def _chained(self, values: list[Value]) -> Value:
        return (parameters_in(Items(tuple(values))) or Params(None)) if values else UNKNOWN

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

"""Builtins: what calling a function of Python's own makes of the objects of training that it is given.

It knows `zip`, `getattr`, `map` and their like; it must not know libraries, states or rules.
"""

from __future__ import annotations

import ast
import math

from gradlint.events import EventKind
from gradlint.static.flow.tree import JumpKind, Loop, Seq
from gradlint.static.lowering.algebra import held
from gradlint.static.lowering.arithmetic import combined
from gradlint.static.lowering.creation import Creation
from gradlint.static.lowering.provenance import cut, is_computed, lost_by, summed
from gradlint.static.lowering.values import (
    ANY_OPTIMIZER,
    ANY_SCHEDULER,
    UNKNOWN,
    Class,
    Const,
    Function,
    Gathered,
    Instance,
    Items,
    Library,
    Params,
    Rows,
    Unknown,
    Value,
    const,
    is_loader,
)
from gradlint.static.syntax.idioms import weights_of


class Builtins(Creation):
    """Evaluates calls of Python's own functions."""

    def builtin(self, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Return what a call of the function `name` of Python makes, and emit what it does."""
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
            case "getattr" if args[:1] == [Library("torch.optim.lr_scheduler")]:
                return ANY_SCHEDULER
            case "getattr":
                return Unknown(holds=self.reach(args))
            case "float" | "int" if args and is_computed(args[0]):
                return cut(self.place(node), lost_by(name, self.place(node), args))
            case "setattr":
                self.forget(args)
                self._set_by_name(node, args)
                # What is put in the place of a frozen part may train.
                self.emit(EventKind.THAW, node, self.reach(args[:1]) or None, roles=("exchanged",))
            case "sum" if args and isinstance(args[0], (Items, Gathered)):
                return summed(combined(args), args[0])
            case "vars" if args and isinstance(args[0], Instance):
                self.unsettle(args[0].uid, node)
            case _:
                return self._of_elements(name, node, args, named)
        return UNKNOWN

    def _set_by_name(self, node: ast.Call, args: list[Value]) -> None:
        match args:
            case [Instance(), Const(str(name)), value]:
                target = ast.copy_location(ast.Attribute(node.args[0], name, ast.Store()), node)
                self.assign(target, value, node)
            case [Instance(uid=uid), *_]:
                self.unsettle(uid, node)
            case _:
                return

    def _of_elements(self, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Return what a function makes of the elements of a container."""
        match name:
            case "list" | "tuple" | "set" | "frozenset" | "iter" | "reversed" | "sorted" | "filter" if args:
                return args[-1] if isinstance(args[-1], (Items, Gathered, Params, Rows)) else Unknown(holds=held(args))
            case "list" | "tuple" if not named:
                return Items(())
            case "dict" if args and isinstance(args[0], Params):
                return args[0]
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
            case "zip" if any(isinstance(arg, Params) for arg in args):
                return Rows(Items(tuple(map(self.iterated, args))))
            case "enumerate" if args and isinstance(args[0], Params):
                return args[0]
            case "enumerate" if args and isinstance(args[0], Rows):
                return Rows(Items((UNKNOWN, args[0].each)))
            case "enumerate" | "zip" if args:
                return Unknown(holds=held(arg for arg in args if not is_loader(arg)))
            case "map" if len(args) == 2 and isinstance(args[0], Function):
                return self._mapped(args[0], args[1], node)
            case "map" if args and not isinstance(args[0], (Library, Class)):
                return Unknown(holds=self.escape(node, args))
            case "map":
                self.forget(args[1:])
        return UNKNOWN

    def _mapped(self, function: Function, source: Value, node: ast.Call) -> Value:
        number = self.number(node)
        outer, self.loops = self.loops, (*self.loops, number)
        with self.aside() as out:
            self.inline(function, node, [self.iterated(source)], {})
        self.loops = outer
        body = Seq(tuple(out))
        self.out.append(Loop(number, body, body, Seq(())))
        return UNKNOWN

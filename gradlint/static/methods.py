"""Methods: which event a method call is, by who its receiver is.

It knows roles and events; it must not know states or rules.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from gradlint.events import EventKind
from gradlint.static.context import const
from gradlint.static.expressions import combined
from gradlint.static.instances import SUSPECT, Instances
from gradlint.static.library import words
from gradlint.static.tree import (
    Seq,
)
from gradlint.static.values import (
    DATA,
    UNKNOWN,
    Class,
    Const,
    Function,
    Instance,
    Items,
    Kind,
    Library,
    Method,
    Object,
    Params,
    Super,
    Tensor,
    Unknown,
    Value,
    held,
    unknown_uid,
)

_OPTIMIZER_NEUTRAL = frozenset(
    [
        "state_dict",
        "load_state_dict",
        "add_param_group",
        "register_step_post_hook",
        "register_step_pre_hook",
        "param_groups",
        "state",
        "defaults",
    ]
)


@dataclass(frozen=True, slots=True)
class Step:
    """One `optimizer.step(...)` as written, with the closure that it was given."""

    node: ast.Call
    optimizer: Object
    arguments: tuple[Value, ...]
    closure: Function | None
    body: Seq | None


class Methods(Instances):
    """Evaluates method calls."""

    steps: list[Step]
    schedules: list[tuple[ast.Call, Object]]

    def method(self, receiver: Value, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Emit the events of calling a method and return the result."""
        match receiver:
            case Library(dotted):
                return self.call_library(f"{dotted}.{name}", node, args, named)
            case Object(kind=Kind.OPTIMIZER):
                return self._optimizer(receiver, name, node, args, named)
            case Object(kind=Kind.SCHEDULER):
                return self._scheduler(receiver, name, node)
            case Object(kind=Kind.SCALER):
                return self._scaler(name, node, args)
            case Object(kind=Kind.ACCELERATOR):
                return self._accelerator(name, node, args, named)
            case Object():
                return self.on_module(receiver.uid, receiver, name, node, args, named)
            case Instance():
                return self.on_instance(receiver, name, node, args, named)
            case Class():
                return self.on_class(receiver, name, node, args, named)
            case Super():
                return self.on_super(receiver, name, node, args, named)
            case Tensor():
                return self._tensor(receiver, name, node, args, named)
            case Items() | Params():
                return self._collection(receiver, name, node, args)
            case _:
                return self._unknown(receiver, name, node, args, named)

    def _optimizer(
        self, optimizer: Object, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]
    ) -> Value:
        targets = frozenset({optimizer.uid})
        spelled = self._spelled_receiver(node)
        match name:
            case "zero_grad":
                self.emit(EventKind.ZERO, node, targets, spelled)
            case "step":
                return self._step(optimizer, node, [*args, *(named[key] for key in ("closure",) if key in named)])
            case "register_step_post_hook" | "register_step_pre_hook" if args:
                self.hooks.setdefault(optimizer.uid, []).append(args[0])
            case _ if name not in _OPTIMIZER_NEUTRAL | self.own_methods.get(optimizer.uid, frozenset()):
                return Unknown(holds=self.escape(node, [optimizer, *args]))
        return UNKNOWN

    def _step(self, optimizer: Object, node: ast.Call, args: list[Value], roles: tuple[str, ...] = ()) -> Value:
        closure = next((arg for arg in args if isinstance(arg, (Function, Method))), None)
        body: Seq | None = None
        if isinstance(closure, Function):
            with self.aside() as out:
                self.inline(closure, node, [], {})
            body = Seq(tuple(out))
            self.out.append(body)
            roles = (*roles, "closure")
        elif any(not isinstance(arg, Const) for arg in args):
            roles = (*roles, "argument")
        found = closure if isinstance(closure, Function) else None
        self.steps.append(Step(node, optimizer, tuple(args), found, body))
        self.emit(EventKind.STEP, node, frozenset({optimizer.uid}), self._spelled_receiver(node), roles=roles)
        for hook in self.hooks.get(optimizer.uid, ()):
            self.call(hook, node, [optimizer, UNKNOWN, UNKNOWN], {})
        return UNKNOWN

    def _scheduler(self, scheduler: Object, name: str, node: ast.Call) -> Value:
        if name == "step":
            self.schedules.append((node, scheduler))
            roles = ("argument",) if node.args or node.keywords else ()
            self.emit(EventKind.SCHEDULE, node, frozenset({scheduler.uid}), self._spelled_receiver(node), roles=roles)
        return UNKNOWN

    def _scaler(self, name: str, node: ast.Call, args: list[Value]) -> Value:
        match name:
            case "scale" if args:
                return args[0]
            case "step" if args:
                first = args[0]
                if isinstance(first, Object) and first.kind is Kind.OPTIMIZER:
                    return self._scaler_step(first, node, args[1:])
                return Unknown(holds=self.escape(node, args))
            case _:
                return UNKNOWN

    def _scaler_step(self, optimizer: Object, node: ast.Call, args: list[Value]) -> Value:
        self.emit(EventKind.STEP, node, frozenset({optimizer.uid}), ast.unparse(node.args[0]), roles=("scaler",))
        return UNKNOWN

    def _accelerator(self, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        match name:
            case "backward":
                return self.backward(node, args[:1] or list(named.values())[:1], {})
            case (
                "prepare"
                | "setup"
                | "prepare_model"
                | "prepare_optimizer"
                | "prepare_scheduler"
                | "setup_module"
                | "unwrap_model"
            ):
                return args[0] if len(args) == 1 or name == "unwrap_model" else Items(tuple(args))
            case (
                "setup_optimizers"
                | "prepare_data_loader"
                | "setup_dataloaders"
                | "gather"
                | "gather_for_metrics"
                | "reduce"
            ):
                return args[0] if len(args) == 1 and isinstance(args[0], Object) else UNKNOWN
            case _:
                return UNKNOWN

    def _tensor(self, tensor: Tensor, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        if name == "backward":
            return self.backward(node, [tensor], named)
        if name in words("tensor", "cut"):
            return DATA
        if name in words("tensor", "keep"):
            return combined((tensor, *args))
        return UNKNOWN

    def _collection(self, receiver: Items | Params, name: str, node: ast.Call, args: list[Value]) -> Value:
        match receiver, name:
            case Items(elements, keys), "values" if keys is not None:
                return Items(elements)
            case Items(elements, keys), "items" if keys is not None:
                return Items(tuple(Items((Const(key), value)) for key, value in zip(keys, elements, strict=True)))
            case Items(elements, keys), "get" if keys is not None and args and const(args[0]) in keys:
                return elements[keys.index(const(args[0]))]
            case _, "append" | "extend" | "update" | "insert" | "pop" | "clear" | "remove" | "add":
                self._rebound(node, Unknown(holds=held((receiver, *args))))
                return Unknown(holds=held((receiver,)))
            case _:
                return Unknown(holds=held((receiver, *args)))

    def _rebound(self, node: ast.Call, value: Value) -> None:
        """A collection changed in place: the name it was called through is no longer what it was."""
        target = node.func.value if isinstance(node.func, ast.Attribute) else None
        if isinstance(target, (ast.Name, ast.Attribute)):
            self.grown(target, value, node)

    def _unknown(self, receiver: Value, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        values = [receiver, *args, *named.values()]
        match name:
            case "backward" if not args or all(isinstance(arg, Tensor) and not arg.nodes for arg in args):
                return self.backward(node, [receiver], named)
            case "backward":
                # Y.backward(x) of an unknown Y: an engine that owns the whole cycle.
                self.emit(EventKind.BACKWARD, node, None, roles=("engine",))
                self.emit(EventKind.ESCAPE, node, None)
                return UNKNOWN
            case "parameters" | "named_parameters" if isinstance(receiver, Unknown) and receiver.id and not args:
                return self.proven_module(receiver, node)
            case "zero_grad" | "zero_grads":
                self.emit(EventKind.ZERO, node, None, self._spelled_receiver(node))
                return UNKNOWN
            case _ if isinstance(receiver, Unknown) and receiver.id in self.module_owners and not SUSPECT.search(name):
                return self._ran_by_owner(unknown_uid(receiver.id), node, args, named)
            case _ if name in words("tensor", "cut"):
                return DATA
            case _ if name in words("tensor", "keep") | words("tensor", "tell"):
                return Unknown(holds=held((receiver,)))
            case "zero_" | "detach_":
                return UNKNOWN
            case _:
                return Unknown(holds=self.escape(node, values))

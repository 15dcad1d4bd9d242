"""Calls: which event a call is, by who its receiver is.

It knows roles and events; it must not know states or rules.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from gradlint.events import EventKind
from gradlint.static.classes import Classes
from gradlint.static.context import Grad, const
from gradlint.static.expressions import MODULE_METHODS, combined
from gradlint.static.library import role_of, words
from gradlint.static.tree import GraphNode, JumpKind, Loop, Seq, Uid
from gradlint.static.values import (
    DATA,
    NONE,
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
    join,
    parts,
    unknown_uid,
)

_SAME = frozenset("to cuda cpu half double float bfloat16 apply requires_grad_ share_memory compile".split())
_OPTIMIZER_NEUTRAL = frozenset(
    "state_dict load_state_dict add_param_group register_step_post_hook register_step_pre_hook param_groups state defaults".split()
)


@dataclass(frozen=True, slots=True)
class Step:
    """One `optimizer.step(...)` as written, with the closure that it was given."""

    node: ast.Call
    optimizer: Object
    arguments: tuple[Value, ...]
    closure: Function | None
    body: Seq | None


class Calls(Classes):
    """Evaluates calls."""

    steps: list[Step]
    schedules: list[tuple[ast.Call, Object]]

    def evaluate_call(self, node: ast.Call) -> Value:
        """Evaluate receiver, arguments and call, in this order."""
        if isinstance(node.func, ast.Name) and node.func.id == "super":
            return self._super()
        if isinstance(node.func, ast.Attribute):
            receiver = self._receiver(node.func)
            args, named = self._arguments(node)
            if self._changes_gradient(node.func):
                return UNKNOWN
            if node.func.attr == "append" and len(args) == 1:
                self.keep(node.func.value, args[0], node)
            if node.func.attr == "detach_":
                self._detached_in_place(node.func.value, node)
            if node.func.attr == "enter_context":
                self.grad = Grad.MAYBE
            return self.method(receiver, node.func.attr, node, args, named)
        callee = self.evaluate(node.func)
        args, named = self._arguments(node)
        return self.call(callee, node, args, named)

    def _receiver(self, node: ast.Attribute) -> Value:
        hint, self.hint = self.hint, ""
        receiver = self.evaluate(node.value)
        self.hint = hint
        return receiver

    def _super(self) -> Value:
        cls, receiver = self.frame.cls, self.frame.receiver
        if cls is None or not isinstance(receiver, Instance):
            return UNKNOWN
        owner = next((each for each in self.lineage(cls) if self.frame.node in each.node.body), cls)
        return Super(owner, receiver)

    def _arguments(self, node: ast.Call) -> tuple[list[Value], dict[str, Value]]:
        hint, self.hint = self.hint, ""
        args: list[Value] = []
        for arg in node.args:
            value = self.evaluate(arg)
            if not isinstance(arg, ast.Starred):
                args.append(value)
            elif isinstance(value, Items) and value.keys is None:
                args.extend(value.elements)
            else:
                args.append(Unknown("*", held((value,))))
        named = {}
        for keyword in node.keywords:
            value = self.evaluate(keyword.value)
            named[keyword.arg or "**"] = value if keyword.arg else Unknown("*", self.reach((value,)))
        self.hint = hint
        return args, named

    def _changes_gradient(self, method: ast.Attribute) -> bool:
        """Whether this is a call like `p.grad.zero_()`; its event is emitted here."""
        owner = method.value
        if isinstance(owner, ast.Attribute) and owner.attr == "data":
            owner = owner.value
        if not isinstance(owner, ast.Attribute) or owner.attr not in ("grad", "_grad"):
            return False
        if method.attr == "zero_":
            self.by_hand(method, self.latest.get(owner.value, UNKNOWN), EventKind.ZERO)
        elif method.attr in ("copy_", "fill_", "set_"):
            self.by_hand(method, UNKNOWN, EventKind.SETGRAD)
        return True

    def by_hand(self, node: ast.AST, owner: Value, kind: EventKind) -> None:
        """Emit that the gradients of `owner`, a parameter, were cleared or assigned without an optimizer."""
        targets = owner.of if isinstance(owner, Params) else None
        self.emit(kind, node, targets, roles=("module", "by-hand"))

    def _detached_in_place(self, target: ast.expr, node: ast.Call) -> None:
        match target:
            case ast.Name():
                self.assign(target, DATA, node)
            case ast.Subscript(ast.Name() as owner):
                self.assign(owner, UNKNOWN, node)

    def grown(self, target: ast.expr, value: Value, node: ast.AST) -> None:
        """Bind a target that grew in place: where it began does not change."""
        begun = dict(self.begun)
        self.assign(target, value, node)
        self.begun = begun

    # Callees ----------------------------------------------------------------------------------

    def call(self, callee: Value, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Emit the events of calling a value and return the result."""
        match callee:
            case Function():
                return self.inline(callee, node, args, named)
            case Class():
                return self.instantiate(callee, node, args, named)
            case Instance():
                return self._call_instance(callee, node, args, named)
            case Object(kind=Kind.MODULE | Kind.CRITERION):
                return self._forward(callee, node, args, named)
            case Object():
                return UNKNOWN
            case Library(name):
                return self.call_library(name, node, args, named)
            case Method(receiver, name):
                return self.method(receiver, name, node, args, named)
            case Unknown(id=id_) if id_ in self.module_owners:
                return self._ran_by_owner(unknown_uid(id_), node, args, named)
            case _:
                return Unknown(holds=self.escape(node, [callee, *args, *named.values()]))

    def _ran_by_owner(self, uid: Uid, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Run a module, or what has modules, whose source is not in sight: its output may carry its graph."""
        made = self._ran(uid, node, sure=False, roles=("method",))
        values = [*args, *named.values()]
        self.escape(node, [value for value in values if not isinstance(value, Tensor)])
        given = frozenset(node for value in values for part in parts(value) if isinstance(part, Tensor) for node in part.nodes)
        return Tensor(given | {made}) if self.grad is Grad.ON else _without_graph(DATA, self.grad)

    def _call_instance(self, instance: Instance, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        module = self.is_module(instance.cls)
        method = self.method_of(instance.cls, "__call__") or (self.method_of(instance.cls, "forward") if module else None)
        if not module:
            if method is None:
                return Unknown(holds=self.escape(node, [instance, *args, *named.values()]))
            return self.inline(Function(method, self.home(instance.cls), instance), node, args, named)
        made = self._ran(instance.uid, node)
        if method is None:
            return UNKNOWN
        with self.aside() as out:
            result = self.inline(Function(method, self.home(instance.cls), instance), node, args, named)
        if any(_acts(item) for item in out):
            self.out.extend(out)
        return self._collapsed(result, made, args) if self.grad is Grad.ON else _without_graph(result, self.grad)

    def _ran(self, uid: Uid, node: ast.AST, sure: bool = True, roles: tuple[str, ...] = ()) -> GraphNode:
        made = GraphNode(self.place(node), uid, sure=sure)
        self.emit(EventKind.FORWARD, node, frozenset({uid}), self.spelled(node), frozenset({made}), roles)
        return made

    def spelled(self, node: ast.AST) -> str:
        """Return how the user writes the callee, or the receiver of a method, of a call."""
        return ast.unparse(node.func) if isinstance(node, ast.Call) else ""

    def _collapsed(self, result: Value, made: GraphNode, args: list[Value]) -> Value:
        """Replace the graph parts that a module built inside by the one part that it is to its caller."""
        given = frozenset(node for arg in args for part in parts(arg) if isinstance(part, Tensor) for node in part.nodes)
        match result:
            case Tensor(nodes) if nodes:
                return Tensor((nodes & given) | {made})
            case Items(elements, keys):
                return Items(tuple(self._collapsed(element, made, args) for element in elements), keys)
            case _:
                return result

    def _forward(self, module: Object, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        values = [*args, *named.values()]
        if module.kind is Kind.CRITERION:
            return combined(values) if self.grad is Grad.ON else _without_graph(DATA, self.grad)
        made = self._ran(module.uid, node, sure=module.origin.startswith("torch."))
        if self.grad is not Grad.ON:
            return _without_graph(DATA, self.grad)
        self.escape(node, [value for value in values if not isinstance(value, Tensor)])
        given = frozenset(node for value in values for part in parts(value) if isinstance(part, Tensor) for node in part.nodes)
        result = Tensor(given | {made})
        if module.origin in ("torch.nn.RNN", "torch.nn.GRU"):
            return Items((result, result))
        if module.origin == "torch.nn.LSTM":
            return Items((result, Items((result, result))))
        return result

    # Libraries --------------------------------------------------------------------------------

    def call_library(self, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Emit the events of calling a function or class of another package."""
        values = [*args, *named.values()]
        if name.startswith("builtins."):
            return self._builtin(name.removeprefix("builtins."), node, args, named)
        if name.startswith("torch._foreach"):
            self.emit(EventKind.ESCAPE, node, None)
        match role_of(name):
            case "optimizer" | "scheduler" | "scaler" | "module" | "criterion" | "accelerator" as kind:
                return self._construct(Kind(kind), name, node, args, named)
            case "wrapper" | "copy" if args:
                return self._wrapped(args[0], role_of(name))
            case "tensor":
                return combined(values) if self.grad is Grad.ON else _without_graph(DATA, self.grad)
            case "fresh-tensor":
                return UNKNOWN if const(named.get("requires_grad", Const(False))) else DATA
            case "parameter":
                return Params(frozenset({(*self.frame.path, self.hint or "@")}))
            case "backward":
                return self.backward(node, args[:1] or list(named.values())[:1], named)
            case "grad":
                self._autograd_grad(node, args, named)
                return UNKNOWN
            case "set-grad":
                self._set_grad(args)
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
                return Library(name)
            case "pure" | "seed" | "enable-grad":
                return UNKNOWN
            case _:
                return Unknown(holds=self.escape(node, values))

    def _builtin(self, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        match name:
            case "exit" | "quit":
                self.jump(JumpKind.RAISE)
            case "getattr" if len(args) >= 2 and isinstance(args[1], Const):
                return self.attribute(args[0], str(args[1].value), node)
            case "list" | "tuple" | "iter" | "reversed" | "sorted" | "filter" if args:
                return args[-1] if isinstance(args[-1], (Items, Params)) else Unknown(holds=held(args))
            case "dict" if not args:
                return Items(tuple(named.values()), tuple(named)) if "**" not in named else Unknown(holds=held(named.values()))
            case "zip" if args and all(isinstance(arg, Items) and arg.keys is None for arg in args):
                columns = [arg.elements for arg in args if isinstance(arg, Items)]
                return Items(tuple(Items(row) for row in zip(*columns, strict=False)))
            case "enumerate" if args and isinstance(args[0], Items) and args[0].keys is None:
                return Items(tuple(Items((Const(i), each)) for i, each in enumerate(args[0].elements)))
            case "enumerate" | "zip" if args:
                if any(isinstance(arg, Params) for arg in args):
                    return next(arg for arg in args if isinstance(arg, Params))
                return Unknown(holds=held(args))
            case "map" if len(args) == 2 and isinstance(args[0], Function):
                return self._mapped(args[0], args[1], node)
            case "sum" if args and isinstance(args[0], Items):
                return combined(args[0].elements)
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

    def _construct(self, kind: Kind, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Object:
        uid = self._identity_of(node)
        values = [*args, *named.values()]
        made = Object(kind, uid, name, self.place(node), self._acts_on(kind, values))
        made = self._with_alternatives(made)
        self.objects[uid] = made
        self.emit(EventKind.CREATE, node, frozenset({uid}), self.hint)
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
                return self._owners(values[0]) if values else None
            case Kind.SCHEDULER:
                # A scheduler built on schedulers steps them.
                self.escaped |= self.reach(value for value in values if not (isinstance(value, Object) and value.kind is Kind.OPTIMIZER))
                found = frozenset(value.uid for value in values if isinstance(value, Object) and value.kind is Kind.OPTIMIZER)
                return found or None
            case _:
                return None

    def _owners(self, value: Value) -> frozenset[Uid] | None:
        match value:
            case Params(of):
                return of
            case Object(kind=Kind.MODULE, uid=uid) | Instance(uid=uid):
                return frozenset({uid})
            case Items(elements, keys) if keys is not None:
                return self._owners(elements[keys.index("params")]) if "params" in keys else None
            case Items(elements):
                owners = [self._owners(element) for element in elements]
                return None if None in owners else frozenset(uid for each in owners for uid in each or ())
            case _:
                return None

    def own_optimizer(self, cls: Class, node: ast.AST, args: list[Value], named: dict[str, Value]) -> Value:
        """Make an optimizer of the file's own class: torch's protocol, unless it clears or differentiates by itself."""
        text = ast.unparse(cls.node)
        if any(word in text for word in ("zero_grad", "backward", "grad = None", "closure()", "autograd")):
            return Unknown(holds=self.escape(node, [*args, *named.values()]))
        assert isinstance(node, ast.Call)
        made = self._construct(Kind.OPTIMIZER, cls.node.name, node, args, named)
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
            arguments = list(given.elements) if isinstance(given, Items) else [Unknown("*")]
            self.inline(target, node, rank + arguments, {})
        return UNKNOWN

    def _set_grad(self, args: list[Value]) -> None:
        wanted = const(args[0]) if args else ...
        self.grad = {True: Grad.ON, False: Grad.OFF}.get(wanted, Grad.MAYBE) if isinstance(wanted, bool) else Grad.MAYBE

    # Methods ----------------------------------------------------------------------------------

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
                return self._module(receiver.uid, receiver, name, node, args, named)
            case Instance():
                return self._instance(receiver, name, node, args, named)
            case Class():
                return self._class(receiver, name, node, args, named)
            case Super():
                return self._superior(receiver, name, node, args, named)
            case Tensor():
                return self._tensor(receiver, name, node, args, named)
            case Items() | Params():
                return self._collection(receiver, name, node, args)
            case _:
                return self._unknown(receiver, name, node, args, named)

    def _optimizer(self, optimizer: Object, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
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

    def _spelled_receiver(self, node: ast.Call) -> str:
        return ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)

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
            case "prepare" | "setup" | "prepare_model" | "prepare_optimizer" | "prepare_scheduler" | "setup_module" | "unwrap_model":
                return args[0] if len(args) == 1 or name == "unwrap_model" else Items(tuple(args))
            case "setup_optimizers" | "prepare_data_loader" | "setup_dataloaders" | "gather" | "gather_for_metrics" | "reduce":
                return args[0] if len(args) == 1 and isinstance(args[0], Object) else UNKNOWN
            case _:
                return UNKNOWN

    def _module(
        self, uid: Uid, module: Value, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]
    ) -> Value:
        spelled = self._spelled_receiver(node)
        targets = frozenset({uid})
        match name:
            case "zero_grad":
                self.emit(EventKind.ZERO, node, self.reach((module,)), spelled, roles=("module",))
            case "train" | "eval":
                self._mode(name, node, self.reach((module,)), spelled, [*args, *named.values()])
                return module
            case "parameters" | "named_parameters":
                return Params(targets)
            case "forward":
                return self.call(module, node, args, named)
            case "requires_grad_":
                self.frozen |= targets
                return module
            case _ if name in _SAME:
                return module
            case "modules" | "named_modules" | "children" | "named_children" | "buffers":
                return Unknown(holds=targets)
            case _ if name in MODULE_METHODS:
                return UNKNOWN
            case _ if _SUSPECT.search(name) or isinstance(module, Instance):
                return Unknown(holds=self.escape(node, [module, *args, *named.values()]))
            case _:
                return self._ran_by_owner(uid, node, args, named)
        return UNKNOWN

    def _mode(self, name: str, node: ast.Call, targets: frozenset[Uid], spelled: str, args: list[Value]) -> None:
        flag = const(args[0]) if args else True
        if name == "eval" or flag is False:
            self.emit(EventKind.EVAL, node, targets, spelled)
        elif flag is True:
            self.emit(EventKind.TRAIN, node, targets, spelled)
        else:
            self.emit(EventKind.ESCAPE, node, targets, spelled, roles=("mode",))

    def _instance(self, instance: Instance, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        value = self.note(node.func, self.member(instance, name, node))
        match value:
            case Method():
                return self._module(instance.uid, instance, name, node, args, named)
            case Unknown(holds=holds) if self.is_module(instance.cls) and name in ("parameters", "zero_grad", "train", "eval", "to"):
                return self._module(instance.uid, instance, name, node, args, named)
            case Unknown(holds=holds) if name == "backward" and self.is_open(instance.cls):
                self.escape(node, [instance, *args])
                return UNKNOWN
            case Unknown(holds=holds):
                reached = self.escape(node, [*args, *named.values(), value])
                return Unknown(holds=reached)
            case _:
                return self.call(value, node, args, named)

    def _class(self, cls: Class, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        method = self.class_member(cls, name)
        if isinstance(method, Function):
            receiver = args[0] if args and method.receiver is None and isinstance(args[0], Instance) else None
            if receiver is not None:
                return self.inline(replace(method, receiver=receiver), node, args[1:], named)
            return self.inline(method, node, args, named)
        return UNKNOWN if self.is_a(cls, "torch.autograd.Function") else Unknown(holds=self.escape(node, args))

    def _superior(self, owner: Super, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        method = self.superior(owner, name)
        if isinstance(method, Function):
            return self.inline(method, node, args, named)
        if self.is_module(owner.instance.cls):
            return UNKNOWN if name == "__init__" else self._module(owner.instance.uid, owner.instance, name, node, args, named)
        for index, value in enumerate([*args, *named.values()]):
            self.set_member(owner.instance.uid, f"*{index}", value)
        return UNKNOWN if name == "__init__" else Unknown(holds=self.escape(node, [owner.instance, *args]))

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
                return self._proven_module(receiver, node)
            case "zero_grad" | "zero_grads":
                self.emit(EventKind.ZERO, node, None, self._spelled_receiver(node))
                return UNKNOWN
            case _ if isinstance(receiver, Unknown) and receiver.id in self.module_owners and not _SUSPECT.search(name):
                return self._ran_by_owner(unknown_uid(receiver.id), node, args, named)
            case _ if name in words("tensor", "cut"):
                return DATA
            case _ if name in words("tensor", "keep") | words("tensor", "tell"):
                return Unknown(holds=held((receiver,)))
            case "zero_" | "detach_":
                return UNKNOWN
            case _:
                return Unknown(holds=self.escape(node, values))

    def _proven_module(self, receiver: Unknown, node: ast.Call) -> Value:
        """What has parameters is a module, whoever made it: from here on its name stands for one."""
        module = Object(Kind.MODULE, unknown_uid(receiver.id), "", self.place(node))
        self.module_owners.update(_prefixes(receiver.id))
        target = node.func.value if isinstance(node.func, ast.Attribute) else None
        match target:
            case ast.Name(name):
                self.bind(name, module)
            case ast.Attribute(owner, name) if isinstance(self.latest.get(owner), Instance):
                for uid in held((self.latest[owner],)):
                    self.set_member(uid, name, module)
        return Params(frozenset({module.uid}))

    # Gradients --------------------------------------------------------------------------------

    def backward(self, node: ast.Call, roots: list[Value], named: dict[str, Value]) -> Value:
        """Emit a backward pass from the given roots."""
        nodes = frozenset(part for root in roots if isinstance(root, Tensor) for part in root.nodes)
        roles = []
        if any(const(named.get(key, Const(False))) is not False for key in ("retain_graph", "create_graph", "**")):
            roles.append("retain")
        if "inputs" in named:
            self.emit(EventKind.ESCAPE, node, None)
            roles.append("partial")
        self.emit(EventKind.BACKWARD, node, None, self._spelled_receiver(node), nodes, roles)
        return NONE

    def _autograd_grad(self, node: ast.Call, args: list[Value], named: dict[str, Value]) -> None:
        roots = [args[0]] if args else [named.get("outputs", UNKNOWN)]
        nodes = frozenset(part for root in roots if isinstance(root, Tensor) for part in root.nodes)
        self.emit(EventKind.RETAIN, node, None, "", nodes, ("autograd-grad",))


_SUSPECT = re.compile(r"zero|clear|reset|step|optim|train|update|fit|backward|learn|grad|adapt|run|epoch")
"""Words in a method's name for which we do not presume that it only runs the module."""


def _prefixes(id_: str) -> Iterator[str]:
    head, dot, _ = id_.rpartition(".")
    yield id_
    if dot:
        yield from _prefixes(head)


def _without_graph(result: Value, grad: Grad) -> Value:
    if grad is Grad.MAYBE:
        return UNKNOWN
    match result:
        case Items(elements, keys):
            return Items(tuple(_without_graph(element, grad) for element in elements), keys)
        case Tensor():
            return DATA
        case _:
            return UNKNOWN


def _acts(node: object) -> bool:
    from gradlint.static.tree import Branch, Call, Event

    match node:
        case Event(kind=kind):
            return kind in (EventKind.BACKWARD, EventKind.STEP, EventKind.ZERO, EventKind.RETAIN)
        case Seq(items):
            return any(map(_acts, items))
        case Branch(_, then, orelse):
            return _acts(then) or _acts(orelse)
        case Loop(_, first, later, orelse):
            return _acts(first) or _acts(orelse)
        case Call(body):
            return _acts(body)
        case _:
            return False

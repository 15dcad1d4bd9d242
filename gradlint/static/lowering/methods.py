"""Methods: which event a method call is, by who its receiver is.

It knows roles and events; it must not know states or rules.
"""

from __future__ import annotations

import ast
import re

from gradlint.events import EventKind
from gradlint.regex import regex
from gradlint.static.flow.tree import Atom, Known, Predicate
from gradlint.static.lowering.algebra import held
from gradlint.static.lowering.attributes import SUSPECT
from gradlint.static.lowering.creation import RESTORED
from gradlint.static.lowering.instances import SAME
from gradlint.static.lowering.notes import StateCall
from gradlint.static.lowering.tensors import Tensors
from gradlint.static.lowering.values import (
    UNKNOWN,
    Class,
    Const,
    Function,
    Gathered,
    Instance,
    Items,
    Kind,
    Library,
    Object,
    Params,
    Super,
    Tensor,
    Unknown,
    Value,
    unknown_uid,
)
from gradlint.static.syntax.nodes import words
from gradlint.static.syntax.own_steps import Clears

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

_CHANGING = frozenset(
    [
        "append",
        "appendleft",
        "extend",
        "insert",
        "add",
        "update",
        "pop",
        "popleft",
        "popitem",
        "remove",
        "discard",
        "clear",
    ]
)
"""Methods by which a collection becomes another one in place."""
_PROFILER = regex(r"(?:^|[._/])prof(?:iler)?(?:[@#%]\d+)?$")
"""At the end of the identity of somebody unknown: what a profiler is called."""
_SCHEDULE = regex(r"(?:^|[._/])\w*sched(?:uler)?(?:[@#%]\d+)?$", re.IGNORECASE)
"""At the end of the identity of somebody unknown: what a schedule is called."""


class Methods(Tensors):
    """Evaluates method calls."""

    def method(self, receiver: Value, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Emit the events of calling a method and return the result."""
        if name in ("state_dict", "load_state_dict"):
            self._state_of(receiver, name, node)
        meaning = self.meaning_of_method(receiver, name)
        if meaning is not None:
            return self.perform(meaning, node, receiver, args, named)
        match receiver:
            case Library():
                return self.call(self.note(node.func, self.named(f"{receiver.name}.{name}")), node, args, named)
            case Tensor():
                return self.on_tensor(receiver, name, node, args, named)
            case Instance():
                return self.on_instance(receiver, name, node, args, named)
            case Object():
                return self._object(receiver, name, node, args, named)
            case Class():
                return self.on_class(receiver, name, node, args, named)
            case Super():
                return self.on_super(receiver, name, node, args, named)
            case Unknown(id=id_) if id_ in self.alternatives and name in ("train", "eval") and not args:
                return self._put_in_mode(receiver, name, node)
            case Unknown(id=id_) if id_ in self.proven:
                module = Object(Kind.MODULE, unknown_uid(id_), "", self.place(node))
                return self.on_module(module.uid, module, name, node, args, named)
            case Items() | Gathered() | Params():
                return self.on_container(receiver, name, node, args)
            case _:
                return self._unknown(receiver, name, node, args, named)

    def _object(self, receiver: Object, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        match receiver.kind:
            case Kind.OPTIMIZER:
                return self._optimizer(receiver, name, node, args, named)
            case Kind.SCHEDULER:
                return self._scheduler(receiver, name, node, args)
            case Kind.SCALER:
                return self.on_scaler(receiver, name, node, args or list(named.values()))
            case Kind.SAMPLER | Kind.LOADER:
                return self._sampler_told(receiver, name, node)
            case Kind.ENGINE:
                return Unknown(holds=self.escape(node, [receiver, *args, *named.values()]))
            case _:
                return self.on_module(receiver.uid, receiver, name, node, args, named)

    def _optimizer(
        self, optimizer: Object, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]
    ) -> Value:
        targets = frozenset({optimizer.uid})
        spelled = self._spelled_receiver(node)
        match name:
            case "zero_grad":
                roles = (*self.window_roles(optimizer.uid), *self.fills([*args, *named.values()]))
                self.fork(
                    self.window_of(optimizer.uid),
                    lambda: self.emit(EventKind.ZERO, node, targets, spelled, roles=roles),
                    lambda: None,
                )
            case "step" if optimizer.uid in self.projections:
                # It moves parameters without gradients: what it finds of them is nobody's mistake.
                return Unknown(holds=self.escape(node, [optimizer, *args]))
            case _ if name in (own := self.own_uses.get(optimizer.uid, {})):
                self._used_up(optimizer, own[name], node, args, named)
            case "step" if optimizer.uid in self.own_uses:
                return Unknown(holds=self.escape(node, [optimizer, *args]))
            case "step":
                given = [*args, *(named[key] for key in ("closure",) if key in named)]
                self.stepped(optimizer, node, given, spelled)
            case _ if name in self.own_steps.get(optimizer.uid, frozenset()):
                self.stepped(optimizer, node, [], spelled)
            case "register_step_post_hook" | "register_step_pre_hook" if args:
                self.hooks.setdefault(optimizer.uid, []).append(args[0])
            case _ if name in _OPTIMIZER_NEUTRAL | self.own_methods.get(optimizer.uid, frozenset()):
                return UNKNOWN
            case _ if name.startswith("get_") and not args and not named:
                # A library's optimizer tells of itself, such as its rate; the file's own ones are read.
                return UNKNOWN
            case _:
                return Unknown(holds=self.escape(node, [optimizer, *args]))
        return UNKNOWN

    def _used_up(
        self, optimizer: Object, clears: Clears, node: ast.Call, args: list[Value], named: dict[str, Value]
    ) -> None:
        """Emit what a method of the file's own optimizer does: it steps, and clears where it is told to."""
        spelled = self._spelled_receiver(node)
        self.stepped(optimizer, node, [each for each in args if isinstance(each, Function)], spelled, ("own",))
        match clears:
            case bool(always):
                test: Predicate = Known(always)
            case option:
                given = named.get(option.name) or (args[option.position] if len(args) > option.position else None)
                known = self.truth(given) if given is not None else option.default
                test = Atom(f"{option.name}@{self.place(node)}") if known is None else Known(known)
        self.fork(test, lambda: self.emit(EventKind.ZERO, node, frozenset({optimizer.uid}), spelled), lambda: None)

    def _scheduler(self, scheduler: Object, name: str, node: ast.Call, args: list[Value]) -> Value:
        if name == "step":
            roles = ("argument",) if node.args or node.keywords else ()
            self.scheduled(scheduler, node, self._spelled_receiver(node), roles)
        elif name in self.own_methods.get(scheduler.uid, frozenset()):
            return Unknown(holds=self.escape(node, [scheduler, *args]))
        return UNKNOWN

    def _state_of(self, owner: Value, name: str, node: ast.Call) -> None:
        """Remember whose state is told or restored; on the paths that go on from here, an optimizer has an old rate."""
        self.states.append(StateCall(name, self.place(node), owner))
        match node:
            case ast.Call(ast.Attribute(loaded, "load_state_dict"), [ast.Call(ast.Attribute(told, "state_dict"), [])]):
                self.mirrors(node, loaded, told)
        if name == "load_state_dict" and isinstance(owner, Object) and owner.kind is Kind.OPTIMIZER:
            self.store[owner.uid, RESTORED] = Const(self.place(node))
        if name == "load_state_dict" and isinstance(owner, Unknown) and owner.id:
            self.loaded.add(owner.id)

    def _sampler_told(self, sampler: Object, name: str, node: ast.Call) -> Value:
        if name == "set_epoch":
            self.emit(EventKind.EPOCH, node, sampler.of or frozenset({sampler.uid}), self._spelled_receiver(node))
        return UNKNOWN

    def _perhaps_in_mode(self, id_: str, module: Value, name: str, node: ast.Call) -> None:
        """Emit a change of mode that concerns one of several modules: the one that a name stands for on this path."""
        kind = EventKind.EVAL if name == "eval" else EventKind.TRAIN
        targets, spelled = self.reach((module,)), self._spelled_receiver(node)
        self.fork(
            self.stands_for(id_, module),
            lambda: self.emit(kind, node, targets, spelled, roles=("alias",)),
            lambda: None,
        )

    def _moved(self, node: ast.Call) -> Unknown | None:
        """Return whose method `net.to(device).train()` calls, if methods that return a module itself stand between."""
        owner = node.func.value if isinstance(node.func, ast.Attribute) else node
        while isinstance(owner, ast.Call) and isinstance(owner.func, ast.Attribute) and owner.func.attr in SAME:
            owner = owner.func.value
        known = self.latest.get(owner)
        return known if isinstance(known, Unknown) and known.id else None

    def _unknown(self, receiver: Value, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        if name in ("train", "eval") and isinstance(receiver, Unknown) and not receiver.id:
            receiver = self._moved(node) or receiver
        values = [receiver, *args, *named.values()]
        if isinstance(receiver, Unknown) and receiver.id:
            self.hooks_on(unknown_uid(receiver.id), name, node)
            if name in _CHANGING:
                self.void(receiver.id)
        if (
            name in ("append", "extend", "clear", "pop", "remove")
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Subscript)
        ):
            self.rebound(node, Unknown(holds=held(values)))
        match name:
            case "backward" if not args or all(isinstance(arg, Tensor) and not arg.nodes for arg in args):
                return self.backward(node, [receiver], named)
            case "backward" | "manual_backward":
                # Y.backward(x) of an unknown Y: an engine that owns the whole cycle, or a module of Lightning.
                self.emit(EventKind.BACKWARD, node, None, roles=("engine",))
                self.emit(EventKind.ESCAPE, node, None)
                return UNKNOWN
            case "set_epoch" | "zero_grad" | "zero_grads":
                kind = EventKind.EPOCH if name == "set_epoch" else EventKind.ZERO
                self.emit(kind, node, None, self._spelled_receiver(node))
                return UNKNOWN
            case "reset_parameters" if not values[1:]:
                # Modules, and what has some, draw new weights in place: modes and gradients stay what they are.
                return UNKNOWN
            case "train" | "eval" if held([*args, *named.values()]) and not self._has_modules(receiver):
                # It is given somebody: a trainer, not a module.
                return Unknown(holds=self.escape(node, values))
        known = self._of_somebody(receiver, name, node, args, named) if isinstance(receiver, Unknown) else None
        known = self.as_of_tensor(receiver, name, node, args, named) if known is None else known
        if known is None and name == "step" and not args and isinstance(receiver, Unknown) and receiver.id:
            self._stepped_by_somebody(receiver.id, node)
            if _SCHEDULE.search(receiver.id):
                # Whatever it moves, it leaves the gradients of the optimizer that it was built on.
                moved = (self.objects[uid] for uid in self.reach((receiver,)) if uid in self.objects)
                self.escape(node, [each for each in moved if each.kind is Kind.SCHEDULER])
                return UNKNOWN
        return Unknown(holds=self.escape(node, values)) if known is None else known

    def _stepped_by_somebody(self, id_: str, node: ast.Call) -> None:
        """Emit that somebody unknown steps, who may be an optimizer; of a profiler, that only tells that a turn is over."""
        if not _PROFILER.search(id_):
            self.emit(EventKind.OTHER_STEP, node, frozenset({unknown_uid(id_)}), self._spelled_receiver(node))

    def _of_somebody(
        self, somebody: Unknown, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]
    ) -> Value | None:
        """Return what somebody unknown returns who may prove to be a module; None: nobody knows."""
        uid, is_module = unknown_uid(somebody.id), self._has_modules(somebody)
        match name:
            case _ if not somebody.id:
                return None
            case "parameters" | "named_parameters" if not args:
                return self.proven_module(somebody, node)
            case "train" | "eval" if is_module:
                return self.on_module(uid, somebody, name, node, args, named)
            case "train" | "eval" if not args:
                return self._put_in_mode(somebody, name, node)
            case "requires_grad_":
                wanted = next(iter((*args, *named.values())), Const(True))
                if wanted != Const(False):
                    self.told(node, frozenset({uid}), wanted)
                return Unknown(holds=held((somebody,)))
            case _ if is_module and name in SAME:
                return somebody
            case _ if is_module and not SUSPECT.search(name):
                return self._ran_by_owner(uid, node, args, named)
            case _:
                return None

    def _has_modules(self, receiver: Value) -> bool:
        """Whether somebody unknown has proven to be a module, or to have some."""
        return isinstance(receiver, Unknown) and receiver.id in self.module_owners

    def _put_in_mode(self, somebody: Unknown, name: str, node: ast.Call) -> Value:
        """Set the mode of somebody who may turn out to be a module; whoever it is, nobody's gradients change."""
        self.set_mode(name, node, frozenset({unknown_uid(somebody.id)}), self._spelled_receiver(node), [])
        for each in self.alternatives.get(somebody.id, ()):
            if not self._is_routine(each, name):
                self._perhaps_in_mode(somebody.id, each, name, node)
        if somebody.id in self.loaded:
            # What restores a state is a module or an optimizer, and only one of them has a mode.
            self.proven.add(somebody.id)
            self.module_owners.add(somebody.id)
        return somebody

    def _is_routine(self, somebody: Value, name: str) -> bool:
        """Whether the method that switches the mode of modules is a routine of the class's own, which is told of none."""
        method = self.method_of(somebody.cls, name) if isinstance(somebody, Instance) else None
        if method is None:
            return False
        taken = method.node.args
        return len(taken.args) == 1 and taken.vararg is None and "super" not in words(method.node)

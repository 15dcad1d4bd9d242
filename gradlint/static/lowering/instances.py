"""Methods of modules and of the file's own classes.

It knows events; it must not know states or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from gradlint.events import EventKind
from gradlint.static.flow.kinship import within
from gradlint.static.flow.tree import (
    Uid,
)
from gradlint.static.lowering.algebra import held
from gradlint.static.lowering.attributes import MODULE_METHODS, SUSPECT
from gradlint.static.lowering.classes import decorators
from gradlint.static.lowering.constructors import Constructors
from gradlint.static.lowering.notes import Hooked
from gradlint.static.lowering.values import (
    UNKNOWN,
    Class,
    Const,
    Function,
    Instance,
    Items,
    Kind,
    Method,
    Object,
    Params,
    Super,
    Unknown,
    Value,
    const,
    unknown_uid,
)
from gradlint.static.sources.library import words
from gradlint.static.syntax.nodes import asks_for, spelled

SAME = frozenset(
    ["to", "cuda", "cpu", "half", "double", "float", "bfloat16", "apply", "requires_grad_", "share_memory", "compile"]
)
"""Methods that return the module itself."""

_OF_PARAMETERS = frozenset(["parameters", "named_parameters", "zero_grad"])
"""Methods that only modules have: what inherits them from a library is one, by whatever name."""

_TAKES_IN = frozenset(["append", "extend", "insert", "add_module", "register_module", "update"])
"""Methods by which torch's containers of modules are given more of them."""


class Instances(Constructors):
    """Evaluates method calls on modules, instances and classes."""

    def on_module(
        self, uid: Uid, module: Value, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]
    ) -> Value:
        """Call a method that torch's modules have, or one of an unknown module."""
        spelled = self._spelled_receiver(node)
        targets = frozenset({uid})
        self.hooks_on(uid, name, node)
        match name:
            case "zero_grad":
                roles = ("module", *self.fills([*args, *named.values()]))
                cleared = None if self._was_taken(uid) else self.reach((module,)) | self._as_part(uid)
                self.emit(EventKind.ZERO, node, cleared, spelled, roles=roles)
            case "train" | "eval":
                self.set_mode(name, node, self.reach((module,)), spelled, [*args, *named.values()])
                return module
            case "parameters" | "named_parameters":
                return Params(self._with_parts(uid, module, own=False))
            case _ if name in _TAKES_IN and isinstance(module, Object):
                self.set_member(uid, f"*{node.lineno}:{node.col_offset}", Items((*args, *named.values())))
                return module
            case "forward":
                return self.call(module, node, args, named)
            case "load_state_dict":
                self._loaded(node, self.reach((module,)), spelled)
            case "requires_grad_":
                whole = self._with_parts(uid, module)
                self.frozen |= whole
                self.told(node, whole, next(iter((*args, *named.values())), Const(True)))
                return module
            case "clip_grad_norm_" if isinstance(module, Object):
                # Torch's modules have none: this one is sharded.
                self.clipped(node, targets, args[0] if args else named.get("max_norm", UNKNOWN), spelled)
            case _ if name in words("module", "evaluating"):
                self.emit(EventKind.EVAL, node, self.reach((module,)), spelled, roles=("implied",))
            case _:
                return self._asked_of_module(uid, module, name, node, args, named)
        return UNKNOWN

    def _asked_of_module(
        self, uid: Uid, module: Value, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]
    ) -> Value:
        """Call a method by which a module's state stays what it is, or one that torch's modules do not have."""
        match name:
            case "no_sync":
                # Of a wrapper, and a context that concerns only the processes.
                return UNKNOWN
            case _ if name in SAME:
                return module
            case "modules" | "named_modules" | "children" | "named_children" | "buffers":
                return Unknown(holds=frozenset({uid}))
            case _ if name in MODULE_METHODS or name in words("module", "setters"):
                return UNKNOWN
            case _ if (SUSPECT.search(name) or "param" in name or self._is_entrusted([*args, *named.values()])) and (
                method := self._method_in_sight(uid, name)
            ) is not None:
                alone = "staticmethod" in decorators(method)
                return self.inline(method if alone else replace(method, receiver=module), node, args, named)
            case _ if SUSPECT.search(name) or isinstance(module, Instance):
                return Unknown(holds=self.escape(node, [module, *args, *named.values()]))
            case _:
                return self._ran_by_owner(uid, node, args, named)

    def _is_entrusted(self, values: list[Value]) -> bool:
        """Whether anybody of training is given to a call: what becomes of him is told only where it is followed."""
        return any(uid in self.objects for uid in self.reach(values))

    def _was_taken(self, uid: Uid) -> bool:
        """Whether somebody was taken out of a collection: he has another name, too."""
        return uid[0] == "?" and ".".join(uid[1:]) in self.taken

    def _with_parts(self, uid: Uid, module: Value, *, own: bool = True) -> frozenset[Uid]:
        """Return a module and those of its parts that were made under names of their own, by itself only if `own`."""
        others = (part for part in self.reach((module,)) if not within(part, uid) and self._is_module(part))
        return frozenset([uid, *(part for part in others if own or not self._is_made_by(module, part))])

    def _is_made_by(self, module: Value, part: Uid) -> bool:
        """Whether a method of a module made a part of it: nobody else has a name for it."""
        return any(receiver == module for receiver in self._makers(part))

    def _as_part(self, uid: Uid) -> frozenset[Uid]:
        """Return what a module is called as a part of those whose methods made it: a function that they called gave it its own name."""
        makers = {
            maker.uid for maker in self._makers(uid) if isinstance(maker, Instance) and not within(uid, maker.uid)
        }
        return frozenset((*maker, uid[-1]) for maker in makers)

    def _makers(self, uid: Uid) -> Iterator[Value]:
        """Yield those whose methods were running when somebody was made."""
        frames = (self.frames.get(uid[:length]) for length in range(1, len(uid)))
        return (frame.receiver for frame in frames if frame is not None and frame.receiver is not None)

    def _is_module(self, uid: Uid) -> bool:
        made, cls = self.objects.get(uid), self.instances.get(uid)
        return made.kind is Kind.MODULE if made is not None else cls is not None and self.is_module(cls)

    def hooks_on(self, uid: Uid, name: str, node: ast.Call) -> None:
        """Remember that a hook is registered, if a method of a module does."""
        if name in words("module", "hooks"):
            self.hooked.append(Hooked(node, uid, self.emit(EventKind.ESCAPE, node, frozenset(), roles=("hook",))))

    def _method_in_sight(self, uid: Uid, name: str) -> Function | None:
        """Return a method of a module that is otherwise only run, where its class is in sight."""
        cls = self.instances.get(uid)
        found = self.method_of(cls, name) if cls is not None and uid in self.objects else None
        return found if isinstance(found, Function) else None

    def fills(self, args: list[Value]) -> tuple[str, ...]:
        """Return the word that says that `zero_grad` fills gradients with zeros, or perhaps does, instead of dropping them."""
        return () if all(const(arg) is True for arg in args) else ("fills",)

    def _loaded(self, node: ast.Call, targets: frozenset[Uid], spelled: str) -> None:
        """Emit that a module got trained parameters; another module's state is only copied."""
        if not asks_for(node, "state_dict"):
            self.emit(EventKind.LOAD, node, targets, spelled)

    def set_mode(self, name: str, node: ast.Call, targets: frozenset[Uid], spelled: str, args: list[Value]) -> None:
        """Emit a change between training and evaluation mode."""
        flag = const(args[0]) if args else True
        if name == "eval" or flag is False:
            self.emit(EventKind.EVAL, node, targets, spelled)
        elif flag is True:
            self.emit(EventKind.TRAIN, node, targets, spelled)
        else:
            self.emit(EventKind.ESCAPE, node, targets, spelled, roles=("mode",))

    def on_instance(
        self, instance: Instance, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]
    ) -> Value:
        """Call a method of an instance of the file's own class."""
        value = self.note(node.func, self.member(instance, name, node))
        match value:
            case Function() if name == "forward" and self.is_module(instance.cls):
                return self.call(instance, node, args, named)
            case Method():
                return self.on_module(instance.uid, instance, name, node, args, named)
            case Unknown() if self.is_module(instance.cls) and name in (
                "parameters",
                "zero_grad",
                "train",
                "eval",
                "to",
            ):
                return self.on_module(instance.uid, instance, name, node, args, named)
            case Unknown() if name in _OF_PARAMETERS and self.is_open(instance.cls):
                return self.on_module(instance.uid, instance, name, node, args, named)
            case Unknown(id=id_) if id_ in self.module_owners:
                return self.call(value, node, args, named)
            case Unknown(id=id_) if id_ and self.has_a_mode(node.func, id_):
                return self.call(self.proven_by_mode(value), node, args, named)
            case Unknown() if name == "backward" and not args and not self.is_open(instance.cls):
                # Nobody has it: Python's own error comes before whatever follows, and is another mistake than a backward left out.
                return self.backward(node, [UNKNOWN], named)
            case Unknown() if name == "backward" and self.is_open(instance.cls):
                self.escape(node, [instance, *args])
                return UNKNOWN
            case Unknown() if name in words("trainer", "methods") and self.is_a(
                instance.cls, *words("trainer", "bases")
            ):
                return UNKNOWN
            case Unknown():
                reached = self.escape(node, [*args, *named.values(), value])
                return Unknown(holds=reached)
            case _:
                return self.call(value, node, args, named)

    def on_class(self, cls: Class, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Call a method of a class of the file."""
        method = self.class_member(cls, name)
        if isinstance(method, Function):
            receiver = args[0] if args and method.receiver is None and isinstance(args[0], Instance) else None
            if receiver is not None:
                return self.inline(replace(method, receiver=receiver), node, args[1:], named)
            return self.inline(method, node, args, named)
        return UNKNOWN if self.is_a(cls, "torch.autograd.Function") else Unknown(holds=self.escape(node, args))

    def on_super(self, owner: Super, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Call a method through `super()`."""
        method = self.superior(owner, name)
        if isinstance(method, Function):
            return self.inline(method, node, args, named)
        if self.is_module(owner.instance.cls):
            return (
                UNKNOWN
                if name == "__init__"
                else self.on_module(owner.instance.uid, owner.instance, name, node, args, named)
            )
        for index, value in enumerate([*args, *named.values()]):
            self.set_member(owner.instance.uid, f"*{index}", value)
        return UNKNOWN if name == "__init__" else Unknown(holds=self.escape(node, [owner.instance, *args]))

    def has_a_mode(self, callee: ast.expr, id_: str) -> bool:
        """Whether the function, or the class whose attribute it is, puts what it calls into a mode: only modules have both.

        Whoever steps or runs backward in this file or in the one that made it, by the name that it has there, is an engine around one.
        """
        homes = [self.frame.node or self.frame.module.contents.tree]
        homes += [each.node for each in self.lineage(self.frame.cls)] if self.frame.cls is not None else []
        if not any(spelled(callee) in self.syntax.switched_by_name(home) for home in homes):
            return False
        names = {spelled(callee), id_.rpartition("/")[2].partition("@")[0]}
        trees = (frame.module.contents.tree for frame in (self.frame, self.module))
        return not any(names & self.syntax.driving_by_name(tree) for tree in trees)

    def proven_by_mode(self, module: Unknown) -> Unknown:
        """Take somebody unknown for a module from here on."""
        self.proven.add(module.id)
        self.module_owners.add(module.id)
        return module

    def proven_module(self, receiver: Unknown, node: ast.Call) -> Value:
        """What has parameters is a module, whoever made it: from here on its name stands for one."""
        module = Object(Kind.MODULE, unknown_uid(receiver.id), "", self.place(node))
        self.module_owners.update(_prefixes(receiver.id))
        self.proven.add(receiver.id)
        for key, value in self.store.items():
            if isinstance(value, Unknown) and value.id == receiver.id:
                self.store[key] = module
        target = node.func.value if isinstance(node.func, ast.Attribute) else None
        match target:
            case ast.Name(name):
                self.bind(name, module)
            case ast.Attribute(owner, name) if isinstance(self.latest.get(owner), Instance):
                for uid in held((self.latest[owner],)):
                    self.set_member(uid, name, module)
        return Params(self._whose(receiver) if self._was_taken(module.uid) else frozenset({module.uid}))

    def _whose(self, taken: Unknown) -> frozenset[Uid] | None:
        """Return of which modules in sight somebody is one who was taken out of a collection (None: nobody knows)."""
        made = frozenset(uid for uid in taken.holds if uid[0] != "?")
        return made if made and all(map(self._is_module, made)) else None


def _prefixes(id_: str) -> Iterator[str]:
    head, dot, _ = id_.rpartition(".")
    yield id_
    if dot:
        yield from _prefixes(head)

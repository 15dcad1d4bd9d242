"""Attributes: what `owner.name` is, by what the owner is.

It knows values and the models of libraries; instances and classes of the file are another layer's.
"""

from __future__ import annotations

import ast

from gradlint.regex import regex
from gradlint.static.flow.kinship import within
from gradlint.static.flow.tree import Uid
from gradlint.static.lowering.algebra import held, part_of
from gradlint.static.lowering.conditions import Conditions
from gradlint.static.lowering.provenance import cut, lost_by, tells_where
from gradlint.static.lowering.values import (
    DATA,
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
    Tensor,
    Unknown,
    Value,
    unknown_uid,
)
from gradlint.static.sources.library import words
from gradlint.static.syntax.nodes import spelled, walk

SUSPECT = regex(r"zero|clear|reset|step|optim|train|update|fit|backward|learn|grad|adapt|run|epoch")
"""Words in a method's name for which we do not presume that it only runs the module."""
MODULE_METHODS = frozenset(
    [
        "parameters",
        "named_parameters",
        "zero_grad",
        "train",
        "eval",
        "to",
        "cuda",
        "cpu",
        "half",
        "double",
        "float",
        "bfloat16",
        "apply",
        "requires_grad_",
        "state_dict",
        "load_state_dict",
        "modules",
        "named_modules",
        "children",
        "named_children",
        "buffers",
        "named_buffers",
        "forward",
        "compile",
        "register_forward_hook",
        "register_buffer",
        "register_parameter",
        "register_module",
        "add_module",
        "share_memory",
        "no_sync",
        "reset_parameters",
    ]
)


_OF_PACKED = frozenset(["batch_sizes"])
"""What only packed sequences have."""


def window_end(owner: Uid) -> str:
    """Return the id of the flag that tells the end of a window of batches."""
    return f"{'/'.join(owner)}.window-end"


def told_by(owner: Uid, name: str) -> Unknown:
    """Return what a module tells of itself: whoever gets that has no hand on the module."""
    return Unknown(f"{'/'.join(owner)}.{name}")


class Attributes(Conditions):
    """Finds attributes of values."""

    def attribute(self, owner: Value, name: str, node: ast.expr) -> Value:
        """Return the attribute `name` of a value."""
        match owner:
            case Library(dotted):
                return self.named(f"{dotted}.{name}")
            case Instance(uid=uid) if name == "__dict__":
                self.unsettle(uid, node)  # Whoever has it may set any.
                return Unknown(holds=frozenset({uid}))
            case Instance():
                return self.member(owner, name, node)
            case Unknown(id=id_) if id_ and name in words("module", "facts") and self._is_run(id_, node):
                return told_by(unknown_uid(id_), name)
            case Unknown(id=id_, holds=holds):
                unknown = Unknown(f"{id_}.{name}" if id_ else "", holds)
                uid = unknown_uid(unknown.id)
                known = self.objects.get(uid) if unknown.id else None
                if known is not None and known.kind in (Kind.OPTIMIZER, Kind.SCALER):
                    return known
                return self.optimizer_by_use(unknown, uid, node) or unknown
            case Class():
                return self.class_member(owner, name)
            case Super() | Function() | Params() | Items():
                return Method(owner, name)
            case Object(kind=Kind.MODULE):
                if name == "module":
                    return owner
                if name in MODULE_METHODS:
                    return Method(owner, name)
                if name in words("module", "facts"):
                    return told_by(owner.uid, name)
                part = self.submodule(owner, name)
                return self.optimizer_by_use(part, (*owner.uid, name), node) or part
            case Object():
                return self._made_attribute(owner, name)
            case Tensor():
                return self._tensor_attribute(owner, name, node)
            case _:
                return UNKNOWN

    def optimizer_by_use(self, value: Value, uid: Uid, node: ast.expr) -> Object | None:
        """Return the optimizer that an attribute of somebody is, where it is asked for what only an optimizer does."""
        scope = self.frame.cls.node if self.frame.cls else self.frame.node or self.frame.module.contents.tree
        asked = self.syntax.stepped_by_name(scope)
        if value == UNKNOWN or not asked or spelled(node) not in asked:
            return None
        if any(self.objects[each].kind is Kind.OPTIMIZER for each in held((value,)) - {uid} if each in self.objects):
            return None
        self.presume(uid, value)
        return self.objects.setdefault(uid, Object(Kind.OPTIMIZER, uid, "", self.place(node)))

    def presume(self, optimizer: Uid, made: Value) -> None:
        """Take an optimizer to train the only module, with its parts, that somebody unknown was given who made it, or its parameters.

        Where another optimizer is known to train any of it, they share it, nobody knows how.
        """
        if not isinstance(made, Unknown) or not made.holds or optimizer in self.presumed:
            return
        modules = [uid for uid in made.holds if self._is_a_module(uid)]
        whole = (uid for uid in modules if all(other in self._parts_of(uid) or within(other, uid) for other in modules))
        found = next(whole, None)
        known = (each.of for uid, each in self.objects.items() if each.kind is Kind.OPTIMIZER and uid != optimizer)
        owned = {uid for of in (*known, *self.presumed.values()) for uid in of or ()}
        if found is not None and not owned & {found, *self._parts_of(found)}:
            self.presumed.setdefault(optimizer, frozenset({found}))

    def _is_a_module(self, uid: Uid) -> bool:
        known, cls = self.objects.get(uid), self.instances.get(uid)
        if known is not None:
            return known.kind is Kind.MODULE
        return self.is_module(cls) if cls is not None else uid[0] == "?" and ".".join(uid[1:]) in self.module_owners

    def _parts_of(self, uid: Uid) -> frozenset[Uid]:
        cls, known = self.instances.get(uid), self.objects.get(uid)
        whole: Value | None = known if known is not None else Instance(cls, uid) if cls is not None else None
        return self.reach([whole]) if whole is not None else frozenset()

    def _made_attribute(self, owner: Object, name: str) -> Value:
        """Return an attribute of an object that a framework makes: what it was made with, a flag, or a method."""
        if owner.kind in (Kind.SAMPLER, Kind.LOADER) and name in ("sampler", "batch_sampler"):
            return self.store.get((owner.uid, "sampler"), owner)
        if owner.kind is Kind.SCHEDULER and name == "optimizer" and len(owner.of or ()) == 1:
            return next((self.objects[uid] for uid in owner.of or () if uid in self.objects), Method(owner, name))
        meaning = self.models.method_of(owner.origin, name)
        if meaning is not None and any(action.verb == "window-end" for action in meaning.actions):
            return Unknown(window_end(owner.uid))
        if name == "step" and owner.kind in (Kind.OPTIMIZER, Kind.SCHEDULER):
            self.escaped.add(owner.uid)  # A step that is handed on and not called here may be taken anywhere.
        given = self.store.get((owner.uid, name)) if meaning is None and owner.kind is Kind.ENGINE else None
        return given or Method(owner, name)

    def _tensor_attribute(self, owner: Tensor, name: str, node: ast.expr) -> Value:
        if name == "data" and self._is_packed(node):
            return owner
        if name == "data":
            return cut(self.place(node), lost_by(name, self.place(node), (owner,)))
        if tells_where(owner, name):
            return DATA
        if name in ("T", "mT", "H", "real", "imag"):
            return owner
        # What an unknown module returned may be a record: its parts carry its graph. (A method that is called is not read here.)
        if owner.nodes and not any(node.sure for node in owner.nodes) and name not in words("tensor", "facts"):
            return part_of(owner, name)
        return Method(owner, name) if name in words("tensor", "keep", "cut") else UNKNOWN

    def submodule(self, owner: Object, name: str) -> Value:
        """Return the part `name` of a module of a library."""
        return Object(Kind.MODULE, (*owner.uid, name), "", owner.place)

    def _is_run(self, id_: str, node: ast.expr) -> bool:
        """Whether somebody unknown, of whom an attribute is asked, is a module by what is done with it here."""
        return id_ in self.module_owners or (isinstance(node, ast.Attribute) and self.has_a_mode(node.value, id_))

    def has_a_mode(self, callee: ast.expr, id_: str) -> bool:
        """Whether somebody unknown is put into a mode; the layer of instances knows how."""
        raise NotImplementedError

    def member(self, owner: Instance, name: str, node: ast.expr) -> Value:
        """Return an attribute of an instance of this file's class; the layer of classes knows how."""
        raise NotImplementedError

    def class_member(self, owner: Class, name: str) -> Value:
        """Return an attribute of a class of this file; the layer of classes knows how."""
        raise NotImplementedError

    def _is_packed(self, node: ast.expr) -> bool:
        """Whether the owner of an attribute is asked for what only a packed sequence has, whose `data` has its graph."""
        scope = self.frame.node or self.frame.module.contents.tree
        match node:
            case ast.Attribute(ast.Name(name)) if self.frame.module.contents.says(_OF_PACKED, scope):
                return any(
                    isinstance(each, ast.Attribute) and each.attr in _OF_PACKED and ast.unparse(each.value) == name
                    for each in walk(scope)
                )
            case _:
                return False

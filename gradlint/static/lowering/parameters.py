"""Parameters: what a function knows its parameters by: the caller, a default, an annotation, or how it uses them.

It knows signatures and values; it must not know bodies, states or rules.
"""

from __future__ import annotations

import ast
import re

from gradlint.regex import regex
from gradlint.static.flow.tree import Uid
from gradlint.static.lowering.expressions import Expressions
from gradlint.static.lowering.values import (
    NONE,
    OPTIMIZERS,
    UNKNOWN,
    Class,
    Const,
    Items,
    Kind,
    Library,
    Object,
    Unknown,
    Value,
    unknown_uid,
)
from gradlint.static.syntax.nodes import parameters, walk_of
from gradlint.static.syntax.questions import FunctionNode

_LOSS = regex(r"loss|crit|objective|metric|accuracy", re.IGNORECASE)
"""What losses and the like are called."""


class Parameters(Expressions):
    """Binds the parameters of functions."""

    def bind_parameters(self, arguments: ast.arguments, given: list[Value], named: dict[str, Value]) -> None:
        """Bind the parameters of a function to what it is given, or to what else is known of them."""
        positional = [*arguments.posonlyargs, *arguments.args]
        defaults = dict(zip([arg.arg for arg in reversed(positional)], reversed(arguments.defaults), strict=False))
        defaults |= {
            arg.arg: default
            for arg, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
            if default is not None
        }
        spread = any(isinstance(value, Unknown) and value.id == "*" for value in [*given, *named.values()])
        values = dict(zip([arg.arg for arg in positional], given, strict=False)) | named
        unseen = not self._is_called() and len(given) == (self.frame.receiver is not None)
        for arg in [*positional, *arguments.kwonlyargs]:
            value = values.get(arg.arg)
            if isinstance(value, Unknown):
                value = self._told_by(value, arg)
            if value is not None:
                self.bind(arg.arg, value)
            elif arg.arg in defaults and not spread:
                default = self.evaluate(defaults[arg.arg])
                undecided = unseen and (
                    _decides(default) or (default == NONE and self.syntax.adds(self.frame.node, arg.arg))
                )
                self.bind(arg.arg, self.parameter(arg) if undecided else default)
            else:
                self.bind(arg.arg, self.parameter(arg))
        if arguments.vararg is not None:
            self.bind(arguments.vararg.arg, Items(tuple(given[len(positional) :])) if not spread else UNKNOWN)
        if arguments.kwarg is not None:
            own = {arg.arg for arg in [*arguments.args, *arguments.kwonlyargs]}
            rest = {name: value for name, value in named.items() if name not in own}
            # Where nobody is seen to call, nothing is given, and anything may be.
            known = bool(rest) and "**" not in rest
            mixed = Unknown(holds=self.reach(rest.values()))
            self.bind(arguments.kwarg.arg, Items(tuple(rest.values()), tuple(rest)) if known else mixed)

    def given(self) -> frozenset[str]:
        """Return the names of the parameters of the function that we are in."""
        node = self.frame.node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            return frozenset()
        return parameters(node.args)

    def _is_called(self) -> bool:
        """Whether the function that we are in is seen to be called: else its defaults are what some callers leave, and others do not."""
        return not self.frame.callers or isinstance(self.frame.callers[-1][1], ast.Call)

    def _told_by(self, value: Unknown, arg: ast.arg) -> Value:
        """Return what an unknown argument is by the annotation of its parameter, or by what this is asked for."""
        if any(uid in self.objects and self.objects[uid].kind is Kind.OPTIMIZER for uid in value.holds):
            return value
        known = self.parameter(arg)
        if not isinstance(known, Object) or known.kind not in (Kind.OPTIMIZER, Kind.ENGINE):
            return value  # A module keeps its name: what acts on it was said of that one.
        if not value.id:
            self.renewed("/".join(known.uid))  # Who has no name may be another one in each call.
        return known

    def parameter(self, arg: ast.arg) -> Value:
        """Return the value of a parameter that no caller gives: what its annotation or its use says, else unknown."""
        annotation = self.quietly(arg.annotation) if arg.annotation is not None else UNKNOWN
        uid = (*self.frame.path, arg.arg)
        if isinstance(annotation, Library):
            if annotation.name in OPTIMIZERS:
                return self._annotated(Object(Kind.OPTIMIZER, uid, "", self.place(arg)))
            match self.models.role_of(annotation.name):
                case "optimizer":
                    return self._annotated(Object(Kind.OPTIMIZER, uid, annotation.name, self.place(arg)))
                case "scaler":
                    return self._annotated(Object(Kind.SCALER, uid, annotation.name, self.place(arg)))
                case "engine":
                    return self._annotated(Object(Kind.ENGINE, uid, annotation.name, self.place(arg)))
                case "module":
                    return Object(Kind.MODULE, uid, "", self.place(arg))
        if isinstance(annotation, Class):
            self.annotations["/".join(uid)] = annotation
        kind = self._kind_by_use(arg.arg) if arg.annotation is None else None
        if kind is not None:
            return self._annotated(Object(kind, uid, "", self.place(arg), self._trained_beside(arg.arg, kind)))
        return Unknown("/".join(uid))

    def _trained_beside(self, name: str, kind: Kind) -> frozenset[Uid] | None:
        """Return the module that a function is given together with its only optimizer, if there is one only as well."""
        node = self.frame.node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or kind is not Kind.OPTIMIZER:
            return None
        given = {arg.arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
        optimizers = given & self.syntax.stepped_by_name(node)
        modules = given & self.syntax.run_by_name(node) or self._switched_alone(node, given)
        if optimizers != {name} or len(modules) != 1:
            return None
        (module,) = modules
        id_ = "/".join((*self.frame.path, module))
        if self.store.get((self.frame.path, module), Unknown(id_)) != Unknown(id_):
            return None
        self.proven.add(id_)
        self.module_owners.add(id_)
        return frozenset({unknown_uid(id_)})

    def _switched_alone(self, node: FunctionNode, given: set[str]) -> frozenset[str]:
        """Return which modules are put into a mode, if all that is called of what a function is given is these and losses."""
        called = {call.func.id for call in walk_of(node, ast.Call) if isinstance(call.func, ast.Name)} & given
        switched = self.syntax.switched_by_name(node) & given
        return switched if all(_LOSS.search(name) for name in called - switched) else frozenset()

    def _kind_by_use(self, name: str) -> Kind | None:
        """Return what a parameter is by the calls of its function, or of the class that keeps it."""
        node, cls = self.frame.node, self.frame.cls
        if node is None:
            return None
        for kind, asked in ((Kind.OPTIMIZER, self.syntax.stepped_by_name), (Kind.SCALER, self.syntax.scaled_by_name)):
            if name in asked(node) or (cls and self.syntax.attributes_of(node, name) & asked(cls.node)):
                return kind
        return None

    def _annotated(self, value: Object) -> Object:
        self.objects[value.uid] = value
        return value


def _decides(default: Value) -> bool:
    """Whether conditions may be decided by a value, which is nothing that somebody could use."""
    match default:
        case Const(literal):
            return literal is not None
        case Items(elements):
            return any(isinstance(each, Const) for each in elements)
        case _:
            return False

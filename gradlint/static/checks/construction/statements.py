"""Statements that do not do what they say: GL307, GL803 and GL804."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Location, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import by_words, check, in_tests
from gradlint.static.checks.construction.uncalled import calling, required, uncalled
from gradlint.static.lowering.values import (
    UNKNOWN,
    Class,
    Function,
    Instance,
    Kind,
    Library,
    Method,
    Object,
    Params,
    Unknown,
    Value,
)
from gradlint.static.sources.library import role_of
from gradlint.static.syntax.nodes import root, walk

_PARAMETERS = ("parameters", "named_parameters")


@check
@by_words
@in_tests
def grad_mode_not_entered(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL307: `torch.no_grad()` as a statement, or `with torch.no_grad:`."""
    if not analysis.says("no_grad", "enable_grad", "inference_mode"):
        return
    for node in analysis.nodes(ast.Expr):
        call = node.value  # A grad mode is given no more than whether it holds.
        if not isinstance(call, ast.Call) or len(call.args) + len(call.keywords) > 1:
            continue
        if _is_grad_mode(analysis, call.func):
            yield _not_entered(analysis.source.place(node), call.func, "()` as a statement", _IDLE, "enter")
    for item in analysis.nodes(ast.withitem):
        mode = item.context_expr
        if _is_imported(analysis, mode) and _is_grad_mode(analysis, mode):
            place = analysis.source.place(mode)
            yield replace(_not_entered(place, mode, "` after `with`", _RAISES, "call"), fix=calling(place))


_IDLE = "does nothing: gradients stay enabled"
_RAISES = "is a class and no context: Python raises TypeError"


def _not_entered(place: Location, mode: ast.expr, written: str, does: str, way: str) -> Diagnostic:
    return compose("GL307", Side.STATIC, place, subject=ast.unparse(mode), written=written, does=does, way=way)


def _is_imported(analysis: Analysis, node: ast.expr) -> bool:
    """Whether an expression is a name that imports bring, or an attribute of one: what is assigned may be a context."""
    start = root(node)
    if not isinstance(start, ast.Name):
        return False
    bound = analysis.lowering.module.module.contents.bindings.get(start.id, ())
    if not bound:  # Imported under a condition, or in a function.
        return any((alias.asname or alias.name) == start.id for alias in analysis.nodes(ast.alias))
    return all(isinstance(each, (ast.Import, ast.ImportFrom)) for each in bound)


def _is_grad_mode(analysis: Analysis, callee: ast.expr) -> bool:
    known = analysis.value(callee)
    return isinstance(known, Library) and role_of(known.name) in ("no-grad", "enable-grad")


@check
@in_tests
def parameters_not_called(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL803: `SGD(model.parameters)` or `{"params": self.get_params}`."""
    for call in analysis.nodes(ast.Call):
        first = call.args[0] if call.args else None
        if isinstance(first, ast.Attribute) and _wants_parameters(analysis.value(call.func)):
            yield from _method_given(analysis, first)
    for display in analysis.nodes(ast.Dict) if analysis.says("params") else ():
        for key, value in zip(display.keys, display.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == "params" and isinstance(value, ast.Attribute):
                yield from _method_given(analysis, value)


def _wants_parameters(callee: Value) -> bool:
    return isinstance(callee, Library) and (
        role_of(callee.name) == "optimizer" or callee.name.startswith("torch.nn.utils.clip_grad_")
    )


def _method_given(analysis: Analysis, node: ast.Attribute) -> Iterator[Diagnostic]:
    match analysis.value(node):
        case Method(name=name) if name in _PARAMETERS:
            yield uncalled("GL803", analysis, node)
        case Function(function, _, receiver):
            mended = required(function) <= (receiver is not None)
            yield uncalled("GL803", analysis, node, mended=mended)
        case Unknown() if node.attr in _PARAMETERS and isinstance(analysis.value(node.value), Unknown):
            if not _is_attribute(analysis, node.attr):
                yield uncalled("GL803", analysis, node)
        case _:
            return


def _is_attribute(analysis: Analysis, name: str) -> bool:
    """Whether some class of the file has no method of that name, but a property or an attribute."""
    properties = (node for node in analysis.nodes(ast.FunctionDef) if node.name == name and node.decorator_list)
    assigned = (node for node in analysis.nodes(ast.Attribute) if node.attr == name and isinstance(node.ctx, ast.Store))
    declared = (
        node
        for cls in analysis.nodes(ast.ClassDef)
        for node in cls.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name
    )
    return any(next(found, None) is not None for found in (properties, assigned, declared))


@check
@by_words
@in_tests
def missing_super_init(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL804: a module that assigns modules before `super().__init__()`."""
    for node in analysis.nodes(ast.ClassDef):
        for method in node.body if node.bases else ():
            match method:
                case ast.FunctionDef(name="__init__") if _assigns_early(method):
                    if any(_is_module(analysis, base) for base in node.bases):
                        yield from _unready(analysis, node, method)
                case _:
                    continue


def _assigns_early(init: ast.FunctionDef) -> bool:
    """Whether an `__init__` assigns an attribute before it calls that of its base."""
    for statement in init.body:
        if _readies(statement):
            return False
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Attribute):
            return bool(init.args.args)
    return False


def _is_module(analysis: Analysis, base: ast.expr) -> bool:
    lowering, known = analysis.lowering, analysis.value(base)
    if isinstance(known, Class):
        return lowering.is_module(known) and not lowering.is_open(known)
    return isinstance(known, Library) and known.name in ("torch.nn.Module", "torch.nn.modules.Module")


def _unready(analysis: Analysis, cls: ast.ClassDef, init: ast.FunctionDef) -> Iterator[Diagnostic]:
    self_name = init.args.args[0].arg
    first: ast.Assign | None = None
    for statement in init.body:
        if _readies(statement):
            if first is not None:
                marks = (("super", analysis.source.place(statement)),)
                yield compose("GL804", Side.STATIC, analysis.source.place(first), marks, subject=f"{cls.name}.__init__")
            return
        if first is None and _assigns_module(analysis, statement, self_name):
            assert isinstance(statement, ast.Assign)
            first = statement
    if first is not None:
        yield compose("GL804", Side.STATIC, analysis.source.place(first), subject=f"{cls.name}.__init__")


def _readies(statement: ast.stmt) -> bool:
    """Whether a statement may run the base's __init__: any call of an `__init__`, or of a method of its own."""
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and (node.func.attr == "__init__" or _is_super(node.func.value) or _is_self(node.func.value))
        for node in walk(statement)
    )


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def _is_super(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"


def _assigns_module(analysis: Analysis, statement: ast.stmt, self_name: str) -> bool:
    match statement:
        case ast.Assign([ast.Attribute(ast.Name(owner))], value) if owner == self_name:
            known = analysis.value(value)
            if isinstance(value, ast.Call) and known == UNKNOWN:
                maker = analysis.value(value.func)
                return isinstance(maker, Library) and role_of(maker.name) in ("module", "criterion", "parameter")
            match known:
                case Object(kind=Kind.MODULE | Kind.CRITERION) | Params():
                    return True
                case Instance():
                    return analysis.lowering.is_module(known.cls)
                case _:
                    return False
        case _:
            return False

"""Modules and optimizers that are built once, in order, and with all their parts registered."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from gradlint.diagnostics import Diagnostic
from gradlint.static.fixes.changes import Insert, Move
from gradlint.static.fixes.remedy import Builder, Remedy, plain, related, replaced, unchanged, wrapped
from gradlint.static.syntax.outline import Outline, begin, parts, written


def _init_first(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL804: let the base class get ready before anything else."""
    assigned = outline.at(item.location, ast.Assign)
    init = outline.scope(assigned) if assigned else None
    first = begin(init.body) if isinstance(init, ast.FunctionDef) else None
    if first is None or not isinstance(init, ast.FunctionDef):
        return None
    late, cls = related(item, "super"), outline.scope(init)
    if late is not None:
        return _super_moved(outline, outline.at(late, ast.Expr), init, first)
    if not isinstance(cls, ast.ClassDef) or not _needs_nothing(outline, cls):
        return None
    change = Insert("super().__init__()", outline.place(first))
    return Remedy("Begin `__init__` with `super().__init__()`", (change,), safe=True)


def _super_moved(outline: Outline, late: ast.Expr | None, init: ast.FunctionDef, first: ast.stmt) -> Remedy | None:
    match late:
        case ast.Expr(ast.Call(ast.Attribute(ast.Call(ast.Name("super"), _, []), "__init__"))):
            made = written(init.body[: init.body.index(late)])
        case _:
            return None
    if parts(late) & made:
        return None
    change = Move(outline.place(late), outline.place(first))
    return Remedy(f"Begin `__init__` with `{ast.unparse(late)}`", (change,), safe=True)


def _needs_nothing(outline: Outline, cls: ast.ClassDef) -> bool:
    """Whether the `__init__` of the only base is known to take no arguments: it is torch's own Module."""
    local = any(isinstance(node, ast.ClassDef) and node.name == "Module" for node in ast.walk(outline.tree))
    match cls.bases:
        case [ast.Attribute(_, "Module")]:
            return True
        case [ast.Name("Module")]:
            return not local
        case _:
            return False


def _hoisted(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL805: build it once, before the loop."""
    call, loop = outline.at(item.location, ast.Call), outline.at(related(item, "loop"), ast.For)
    statement = outline.statement(call) if call else None
    if loop is None or not isinstance(statement, ast.Assign) or statement.value is not call:
        return None
    others = [node for node in loop.body if node is not statement]
    if statement not in loop.body or not unchanged(statement, [*others, loop.target]):
        return None
    change = Move(outline.place(statement), outline.place(loop))
    return Remedy(f"Build `{ast.unparse(statement.targets[0])}` before the loop", (change,))


def _registered(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL802 and GL809: make a container that registers what is in it."""
    assigned = outline.at(item.location, ast.Assign) or outline.at(item.location, ast.AnnAssign)
    kind = "Module" if item.code == "GL802" else "Parameter"
    match assigned.value if assigned else None:
        case ast.List() | ast.ListComp() as value:
            name = outline.spelling(f"torch.nn.{kind}List")
        case ast.Dict(keys) as value if all(
            isinstance(key, ast.Constant) and isinstance(key.value, str) for key in keys
        ):
            name = outline.spelling(f"torch.nn.{kind}Dict")
        case _:
            return None
    if name is None:
        return None
    return Remedy(f"Make it an `{name}`", wrapped(outline, value, f"{name}(", ")"))


def _told_all(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL807: tell the parameters of a module, not the module; spell the attribute of a parameter as it is."""
    statement = outline.at(item.location, ast.Assign) or outline.at(item.location, ast.Expr)
    match statement:
        case ast.Assign([ast.Attribute(owner, "requires_grad")], wanted) if plain(owner):
            text = f"{outline.spelled(owner)}.requires_grad_({outline.spelled(wanted)})"
        case ast.Assign([ast.Attribute(attr="requires_grad")]):
            return None
        case ast.Assign([ast.Attribute(owner)], value) | ast.Expr(ast.Compare(ast.Attribute(owner), [_], [value])):
            text = f"{outline.spelled(owner)}.requires_grad = {outline.spelled(value)}"
        case _:
            return None
    return Remedy(f"Make it `{text}`", (replaced(outline, statement, text),), safe=True)


def _made_first(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL811: make the loss before it is given its tensors."""
    call = outline.at(item.location, ast.Call)
    return Remedy("Make the loss first", wrapped(outline, call.func, "", "()")) if call else None


def _called(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL810: call the module itself."""
    match outline.at(item.location, ast.Call):
        case ast.Call(ast.Attribute(owner, "forward") as method):
            text = outline.spelled(owner)
            return Remedy(f"Call `{text}(...)`", (replaced(outline, method, text),))
        case _:
            return None


BUILDERS: Mapping[str, Builder] = {
    "GL802": _registered,
    "GL804": _init_first,
    "GL805": _hoisted,
    "GL807": _told_all,
    "GL809": _registered,
    "GL810": _called,
    "GL811": _made_first,
}

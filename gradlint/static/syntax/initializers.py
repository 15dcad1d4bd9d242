"""The `__init__` that a dataclass or a named tuple is given, and the class that `namedtuple` makes, as the syntax that nobody wrote.

It knows `ast` and the form of a field; it must not know values. Whether a class is a dataclass is for others to say.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

DATACLASSES = frozenset(["dataclasses.dataclass", "attr.s", "attr.define", "attrs.define", "attrs.frozen"])
"""Decorators that write an `__init__`."""
RECORDS = frozenset(["typing.NamedTuple", "typing_extensions.NamedTuple"])
"""Bases that do so, of tuples whose elements have names."""


def initializer(classes: Iterable[ast.ClassDef], *, goes_on: bool) -> ast.FunctionDef:
    """Return the `__init__` of the last of `classes`, each a base of the next (`goes_on`: to `__post_init__`)."""
    found = (field for cls in classes for field in cls.body if isinstance(field, ast.AnnAssign) and _is_given(field))
    fields = {field.target.id: field for field in found if isinstance(field.target, ast.Name)}
    # Only fields that have to be named may stand behind one with a default.
    ordered = {name: field for name, field in fields.items() if field.value is None} | fields
    args = [ast.arg(name, field.annotation) for name, field in ordered.items()]
    defaults = [_default(field.value) for field in ordered.values() if field.value is not None]
    body: list[ast.stmt] = [
        ast.Assign([_own(name, ast.Store())], ast.Name(name, ast.Load()), lineno=field.lineno)
        for name, field in ordered.items()
    ]
    if goes_on:
        body.append(ast.Expr(ast.Call(_own("__post_init__", ast.Load()), [], [])))
    arguments = ast.arguments([], [ast.arg("self"), *args], None, [], [], None, defaults)
    made = ast.FunctionDef("__init__", arguments, body or [ast.Pass()], [], lineno=1, col_offset=0)
    return ast.fix_missing_locations(ast.copy_location(made, next(iter(ordered.values()), made)))


def record(call: ast.Call) -> ast.ClassDef | None:
    """Return the class that `namedtuple("Name", "its fields")` makes, if both are written out."""
    match call.args:
        case [ast.Constant(str(name)), ast.Constant(str(told))]:
            fields = told.replace(",", " ").split()
        case [ast.Constant(str(name)), ast.List(elements) | ast.Tuple(elements)]:
            fields = [each.value for each in elements if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        case _:
            return None
    body: list[ast.stmt] = [ast.AnnAssign(ast.Name(each, ast.Store()), ast.Constant(None), None, 1) for each in fields]
    made = ast.ClassDef(name, [], [], body or [ast.Pass()], [])
    return ast.fix_missing_locations(ast.copy_location(made, call))


def fields_of(cls: ast.ClassDef) -> list[str]:
    """Return the fields that the body of a class declares, in their order."""
    fields = (each.target for each in cls.body if isinstance(each, ast.AnnAssign))
    return [target.id for target in fields if isinstance(target, ast.Name)]


def _is_given(field: ast.AnnAssign) -> bool:
    """Whether whoever makes an instance gives the field, or may."""
    match field.value:
        case ast.Call(keywords=keywords) if any(keyword.arg == "init" for keyword in keywords):
            return False
        case _:
            return "ClassVar" not in ast.unparse(field.annotation)


def _default(value: ast.expr) -> ast.expr:
    """Return what a field is where nobody gives it."""
    match value:
        case ast.Call(ast.Name("field") | ast.Attribute(attr="field" | "ib"), keywords=keywords):
            given = {keyword.arg: keyword.value for keyword in keywords}
            maker = given.get("default_factory", given.get("factory"))
            return given.get("default", value) if maker is None else ast.Call(maker, [], [])
        case _:
            return value


def _own(name: str, ctx: ast.expr_context) -> ast.Attribute:
    return ast.Attribute(ast.Name("self", ast.Load()), name, ctx)

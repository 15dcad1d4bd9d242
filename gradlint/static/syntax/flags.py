"""Attributes by which others switch on and off what a class does: `model.use_dropout = False`.

It knows syntax; it must not know values or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Location
from gradlint.static.syntax.nodes import walk, walk_of
from gradlint.static.syntax.questions import FunctionNode


class Excuses:
    """What the findings in a file rest on: that no other file steps an attribute of that name, or sets one."""

    def __init__(self, _: object) -> None:
        self.of: dict[Location, str] = {}


def setting(flag: str) -> str:
    """Return what the setting of a flag is called, beside what others may do with an attribute ("": there is no flag)."""
    return flag and f"{flag}="


def flag_of(asked: str) -> str:
    """Return the flag whose setting is asked for ("": it is something else)."""
    return asked.removesuffix("=") if asked.endswith("=") else ""


def needed(test: ast.expr) -> Iterator[str]:
    """Yield the attributes of `self` whose truth a condition needs."""
    match test:
        case ast.Attribute(ast.Name("self"), name):
            yield name
        case ast.Compare(ast.Attribute(ast.Name("self"), name), [ast.Is() | ast.Eq()], [ast.Constant(True)]):
            yield name
        case ast.BoolOp(ast.And(), values):
            for value in values:
                yield from needed(value)


def set_by_others(tree: ast.AST) -> Iterator[str]:
    """Yield the attributes that somebody sets who is not `self`."""
    for node in walk_of(tree, ast.Assign):
        for target in node.targets:
            match target:
                case ast.Attribute(ast.Name("self"), _):
                    continue
                case ast.Attribute(_, name):
                    yield name
    for call in walk_of(tree, ast.Call):
        match call:
            case ast.Call(ast.Name("setattr"), [owner, ast.Constant(str(name)), _]) if ast.unparse(owner) != "self":
                yield name


def set_on_demand(cls: ast.ClassDef) -> Iterator[str]:
    """Yield the attributes that a method of a class sets which its constructor does not call."""
    methods = [each for each in cls.body if isinstance(each, FunctionNode)]
    begins = [each for each in methods if each.name == "__init__"]
    called = {node.attr for each in begins for node in walk(each) if isinstance(node, ast.Attribute)}
    for method in methods:
        if method.name != "__init__" and method.name not in called:
            for node in walk_of(method, ast.Assign):
                yield from (
                    target.attr
                    for target in node.targets
                    if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self"
                )

"""By what others switch on and off what a class does: `model.use_dropout = False`, `Model("cpu")`.

It knows syntax; it must not know values or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from gradlint.diagnostics import Location
from gradlint.static.syntax.nodes import called, walk, walk_of
from gradlint.static.syntax.questions import FunctionNode


class Excuses:
    """What the findings in a file rest on: that no other file steps an attribute of that name, or sets one, or makes a class so."""

    def __init__(self, _: object) -> None:
        self.of: dict[Location, str] = {}


def setting(flag: str) -> str:
    """Return what the setting of a flag is called, beside what others may do with an attribute ("": there is no flag)."""
    return flag and f"{flag}="


def flag_of(asked: str) -> str:
    """Return the flag whose setting is asked for ("": it is something else)."""
    return asked.removesuffix("=") if asked.endswith("=") else ""


def on_cpu(cls: str) -> str:
    """Return what it is called to make a class on the CPU, where a tensor is from the start."""
    return f"{cls}(cpu)"


def made_on_cpu(calls: Iterable[ast.Call]) -> Iterator[str]:
    """Yield the names of what is called with the CPU for a device."""
    for call in calls:
        if any(map(_is_cpu, call.args)) or any(_is_cpu(keyword.value) for keyword in call.keywords):
            yield called(call)


def _is_cpu(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return node.value == "cpu"
    return isinstance(node, ast.Call) and called(node) == "device" and len(node.args) == 1 and _is_cpu(node.args[0])


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
            if isinstance(target, ast.Attribute) and not _is_self(target.value):
                yield target.attr
    for call in walk_of(tree, ast.Call):
        match call.args if isinstance(call.func, ast.Name) and call.func.id == "setattr" else None:
            case [owner, ast.Constant(str(name)), _] if not _is_self(owner):
                yield name


def _is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


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

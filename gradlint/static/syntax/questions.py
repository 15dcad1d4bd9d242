"""Questions about a file's syntax that are asked again and again, answered once per node.

It knows `ast` only; it must not know values.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TypeVar

from gradlint.static.syntax import uses
from gradlint.static.syntax.nodes import children, once, own, own_of, walk, walk_of
from gradlint.static.syntax.numbers import plain_results
from gradlint.static.syntax.options import always_on
from gradlint.static.syntax.terms import terms_by_name

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
T = TypeVar("T")


GRADIENT = frozenset(["grad", "_grad"])
"""Attributes that hold the gradient of a tensor."""
GRADIENT_WORDS = frozenset(f".{name}" for name in GRADIENT)
"""How these are written: few rows have them, while many name gradients."""


class Syntax:
    """The answers, as long as the tree lives that a node belongs to; many files ask the same of those that they import."""

    def setters(self, cls: ast.ClassDef, name: str) -> list[FunctionNode]:
        """Return the methods of a class that assign `self.name`."""
        return once(_setters, cls).get(name, [])

    def is_generator(self, function: ast.AST) -> bool:
        """Whether a function yields: its body does not run at the call."""
        return once(_is_generator, function)

    def declared(self, function: ast.AST) -> tuple[frozenset[str], frozenset[str]]:
        """Return the names that a function declares global and nonlocal; those in it declare their own."""
        return once(_declared, function)

    def assigned(self, loop: ast.AST) -> frozenset[str]:
        """Return the names that are bound somewhere in a loop."""
        return once(_assigned, loop)

    def repeated(self, loop: ast.AST) -> dict[str, ast.Constant]:
        """Return the names that a loop sets to one and the same constant each time, and never binds otherwise."""
        return once(_repeated, loop)

    def assigned_attributes(self, loop: ast.AST) -> frozenset[str]:
        """Return the attribute names that are assigned somewhere in a loop."""
        return once(_assigned_attributes, loop)

    def called(self, function: ast.AST) -> frozenset[str]:
        """Return the names of the methods that a function calls, or names as a statement."""
        return once(_called, function)

    def functions(self, scope: ast.AST) -> frozenset[str]:
        """Return the names that are called somewhere in a scope."""
        return once(_functions, scope)

    def mentioned(self, node: ast.AST) -> frozenset[str]:
        """Return the names and attributes that are read somewhere in a node."""
        return once(_mentioned, node)

    def decisive(self, tree: ast.AST) -> frozenset[str]:
        """Return the names and attributes on which conditions of a file hang."""
        return once(_decisive, tree)

    def gradients(self, scope: ast.AST) -> dict[str, set[str]]:
        """Return the names that a function computes from gradients, with the tensors whose gradients these are."""
        return once(_gradients, scope)

    def asked_of(self, scope: ast.AST, name: str) -> frozenset[str]:
        """Return the methods that are called of a name in a function."""
        return frozenset(uses.methods_asked(scope).get(name, ()))

    def terms_by_name(self, scope: ast.AST) -> Mapping[str, tuple[str, ...]]:
        """Return the terms of the sums that a function gives names, as far as they are computed of the same thing."""
        return once(terms_by_name, scope)

    def stepped_by_name(self, scope: ast.AST) -> frozenset[str]:
        """Return who is asked, in a function or class, for what only an optimizer does, as it is spelled: to clear gradients and to step."""
        return once(uses.stepped_by_name, scope)

    def scaled_by_name(self, scope: ast.AST) -> frozenset[str]:
        """Return who is asked, in a function or class, for what only a gradient scaler does: to scale, to step another and to update."""
        return once(uses.scaled_by_name, scope)

    def run_by_name(self, scope: ast.AST) -> frozenset[str]:
        """Return whom a function or class puts into training mode and calls, as it is spelled: modules."""
        return once(uses.run_by_name, scope)

    def evaluated_by_name(self, scope: ast.AST) -> frozenset[str]:
        """Return whom a function puts into evaluation mode and calls, as it is spelled, where it steps nobody: modules."""
        return once(uses.evaluated_by_name, scope)

    def switched_by_name(self, scope: ast.AST) -> frozenset[str]:
        """Return whom a function or class calls, and puts into training or evaluation mode without a word more, as it is spelled."""
        return once(uses.switched_by_name, scope)

    def adds(self, function: ast.AST | None, name: str) -> bool:
        """Whether a function does more where a name is given something, and nothing else where it is None."""
        return function is not None and name in once(uses.adding_names, function)

    def plain_results(self, function: ast.AST) -> frozenset[int]:
        """Return which of the results of a function are plain numbers."""
        return once(plain_results, function)

    def driving_by_name(self, scope: ast.AST) -> frozenset[str]:
        """Return who runs backward or steps by itself in a file, as it is spelled: an optimizer, or an engine around a module."""
        return once(uses.driving_by_name, scope)

    def always_on(self, tree: ast.AST) -> frozenset[str]:
        """Return the options of the command line that nobody can switch off."""
        return once(always_on, tree)

    def attributes_of(self, function: ast.AST, name: str) -> frozenset[str]:
        """Return the attributes of `self` that a function gives the value of a name, as they are spelled."""
        return once(_attributes_by_name, function).get(name, frozenset())

    def locals(self, function: ast.AST) -> frozenset[ast.AST]:
        """Return the mentions of names that a function binds itself: its parameters, and what it assigns."""
        return once(_locals, function)

    def names(self, function: ast.AST) -> frozenset[str]:
        """Return the names that a function mentions."""
        return once(_names, function)


def _setters(cls: ast.AST) -> dict[str, list[FunctionNode]]:
    found: dict[str, list[FunctionNode]] = defaultdict(list)
    for method in cls.body if isinstance(cls, ast.ClassDef) else ():
        if isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for name in sorted(_own_attributes(method)):
                found[name].append(method)
    return found


def _own_attributes(method: FunctionNode) -> set[str]:
    return {
        node.attr
        for node in walk(method)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }


def _is_generator(function: ast.AST) -> bool:
    if not walk_of(function, ast.Yield) and not walk_of(function, ast.YieldFrom):
        return False
    todo: list[ast.AST] = list(children(function))
    while todo:
        child = todo.pop()
        if isinstance(child, (ast.Yield, ast.YieldFrom)):
            return True
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.GeneratorExp)):
            todo.extend(children(child))
    return False


def _declared(function: ast.AST) -> tuple[frozenset[str], frozenset[str]]:
    if not walk_of(function, ast.Global) and not walk_of(function, ast.Nonlocal):
        return frozenset(), frozenset()
    here = list(own(function))
    return (
        frozenset(name for node in here if isinstance(node, ast.Global) for name in node.names),
        frozenset(name for node in here if isinstance(node, ast.Nonlocal) for name in node.names),
    )


def _assigned(loop: ast.AST) -> frozenset[str]:
    return frozenset(_bound(loop))


def _bound(loop: ast.AST) -> Iterator[str]:
    return (node.id for node in walk_of(loop, ast.Name) if type(node.ctx) is not ast.Load)


def _repeated(loop: ast.AST) -> dict[str, ast.Constant]:
    given: dict[str, list[ast.Constant]] = defaultdict(list)
    for node in walk_of(loop, ast.Assign):
        match node:
            case ast.Assign([ast.Name(name)], ast.Constant() as constant):
                given[name].append(constant)
            case _:
                continue
    bound = list(_bound(loop)) if given else []
    return {
        name: found[0]
        for name, found in given.items()
        if len(found) == bound.count(name) and len({repr(each.value) for each in found}) == 1
    }


def _assigned_attributes(loop: ast.AST) -> frozenset[str]:
    return frozenset(node.attr for node in walk_of(loop, ast.Attribute) if isinstance(node.ctx, ast.Store))


def _called(function: ast.AST) -> frozenset[str]:
    found = [node.func for node in walk_of(function, ast.Call)]
    found += [node.value for node in walk_of(function, ast.Expr)]
    return frozenset(node.attr for node in found if type(node) is ast.Attribute)


def _decisive(tree: ast.AST) -> frozenset[str]:
    tests = [each.test for each in walk_of(tree, ast.If)]
    tests += [each.test for each in walk_of(tree, ast.IfExp)]
    tests += [each.test for each in walk_of(tree, ast.While)]
    return frozenset[str]().union(*map(_mentioned, tests))


def _attributes_by_name(function: ast.AST) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for node in walk_of(function, ast.Assign):
        match node:
            case ast.Assign([ast.Attribute(ast.Name("self"), attribute)], ast.Name(name)):
                found[name].add(f"self.{attribute}")
            case _:
                continue
    return {name: frozenset(attributes) for name, attributes in found.items()}


def _functions(scope: ast.AST) -> frozenset[str]:
    calls = (node.func for node in walk_of(scope, ast.Call))
    return frozenset(func.id for func in calls if isinstance(func, ast.Name))


def _mentioned(tree: ast.AST) -> frozenset[str]:
    found: set[str] = set()
    for node in walk(tree):
        if type(node) is ast.Name and type(node.ctx) is ast.Load:
            found.add(node.id)
        elif type(node) is ast.Attribute and type(node.ctx) is ast.Load:
            found.add(node.attr)
    return frozenset(found)


def _locals(function: ast.AST) -> frozenset[ast.AST]:
    names = walk_of(function, ast.Name)
    bound = {node.id for node in names if type(node.ctx) is not ast.Load}
    bound |= {node.arg for node in walk_of(function, ast.arg)}
    bound -= {name for node in walk_of(function, ast.Global) for name in node.names}
    return frozenset(node for node in names if node.id in bound)


def _names(function: ast.AST) -> frozenset[str]:
    return frozenset(node.id for node in walk_of(function, ast.Name))


def _gradients(scope: ast.AST) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    rows = {node.lineno for node in walk_of(scope, ast.Attribute) if node.attr in GRADIENT}
    # What a function in it computes is for that to know.
    named = [node for node in own_of(scope, ast.Assign) if isinstance(node.targets[0], ast.Name)] if rows else []
    if all(rows.isdisjoint(range(node.lineno, (node.end_lineno or node.lineno) + 1)) for node in named):
        return {}
    assigned = [(node.targets[0].id, walk(node.value)) for node in named]  # type: ignore[attr-defined]
    # Twice: a name may be computed from another one.
    for name, parts in (*assigned, *assigned):
        for part in parts:
            if isinstance(part, ast.Attribute) and part.attr in GRADIENT:
                found[name].add(ast.unparse(part.value).removesuffix(".data"))
            elif isinstance(part, ast.Name) and part.id in found and part.id != name:
                found[name] |= found[part.id]
    return dict(found)


def has_dimension(call: ast.Call, index: int) -> bool:
    """Whether a call is told a dimension: by its name, or as the literal number that one of its arguments is."""
    match call.args[index : index + 1]:
        case [ast.Constant(int()) | ast.UnaryOp(ast.USub(), ast.Constant(int()))]:
            return True
        case _:
            return any(keyword.arg == "dim" for keyword in call.keywords)


def is_left_open(node: FunctionNode | ast.Lambda) -> bool:
    """Whether a method is left to subclasses: it does nothing but raise `NotImplementedError`."""
    body = [] if isinstance(node, ast.Lambda) else node.body
    match [each for each in body if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))]:
        case [ast.Raise(ast.Name("NotImplementedError") | ast.Call(ast.Name("NotImplementedError")))]:
            return True
        case _:
            return False

"""Which names of one function the value of an expression comes from, by its assignments alone.

For what no values are known of: parameters, and what unknown calls return. It knows syntax; it must not know rules.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property

from gradlint.regex import regex
from gradlint.static.sources.library import words
from gradlint.static.syntax.nodes import children, own_statements, walk
from gradlint.static.syntax.questions import FunctionNode

_NUMBERS = regex(r"(?:\w+\.)*(?:LongTensor|IntTensor|BoolTensor|int|float|bool|str)")
_CONVERSIONS = frozenset(["float", "int", "bool", "len", "str"])
_DEEP = 40
"""An expression that is nested deeper, through names, is not followed."""


class Dataflow:
    """The assignments of one function, and what follows from them."""

    def __init__(self, function: FunctionNode) -> None:
        self._function = function

    @cached_property
    def statements(self) -> list[ast.stmt]:
        """The statements of the function itself, in order."""
        return sorted(own_statements(self._function), key=lambda each: each.lineno)

    @cached_property
    def _assigned(self) -> dict[str, list[tuple[ast.stmt, ast.expr | None]]]:
        """The statements that bind each name; with the value, where it is that of the whole name."""
        found: dict[str, list[tuple[ast.stmt, ast.expr | None]]] = defaultdict(list)
        for statement in self.statements:
            match statement:
                case ast.Assign([ast.Name(name)], value):
                    found[name].append((statement, value))
                case _:
                    for name in _bound(statement):
                        found[name].append((statement, None))
        return dict(found)

    @cached_property
    def _numbers(self) -> frozenset[str]:
        """The parameters that are certainly without a graph, by their annotations."""
        arguments = self._function.args
        return frozenset(
            arg.arg
            for arg in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
            if arg.annotation is not None and _NUMBERS.fullmatch(ast.unparse(arg.annotation))
        )

    def value(self, name: ast.Name) -> ast.expr | None:
        """Return what a name was given last where it is read, if no branch and no loop does it."""
        before = [each for each in self._assigned.get(name.id, ()) if each[0].lineno < name.lineno]
        if not before or before[-1][0] not in self._always:
            return None
        return before[-1][1]

    @cached_property
    def _always(self) -> frozenset[ast.stmt]:
        """The statements that no branch and no loop leaves out."""
        found, todo = set[ast.stmt](), list(self._function.body)
        while todo:
            statement = todo.pop()
            found.add(statement)
            if isinstance(statement, (ast.With, ast.AsyncWith)):
                todo += statement.body
        return frozenset(found)

    def _added(self, name: str) -> Iterator[ast.expr]:
        """Yield what is added to a name, on whichever path."""
        for statement, _ in self._assigned.get(name, ()):
            match statement:
                case ast.AugAssign(ast.Name(), ast.Add(), value):
                    yield value
                case _:
                    continue

    def sources(self, names: set[str]) -> frozenset[str]:
        """Return `names` and all from which they are computed."""
        found, todo = set(names), list(names)
        while todo:
            for statement, _ in self._assigned.get(todo.pop(), ()):
                new = {node.id for node in _read(statement)} - found
                found |= new
                todo += new
        return frozenset(found)

    def is_number(self, node: ast.expr, depth: int = 0) -> bool:
        """Whether an expression certainly has no graph: literals, configuration, and what was cut off."""
        match node:
            case ast.Constant() | ast.Compare():
                return True
            case ast.Attribute(owner):
                return isinstance(owner, (ast.Name, ast.Attribute))
            case ast.Name(name):
                value = self.value(node)
                known = value is not None and depth < _DEEP and self.is_number(value, depth + 1)
                return known or (name in self._numbers and name not in self._assigned)
            case ast.Call(ast.Name("max" | "min"), args):
                return all(self.is_number(each, depth) for each in args)
            case ast.Call():
                return is_cut(node)
            case ast.BinOp(left, _, right):
                return self.is_number(left, depth) and self.is_number(right, depth)
            case ast.UnaryOp(operand=operand):
                return self.is_number(operand, depth)
            case _:
                return False

    def carriers(self, node: ast.expr, depth: int = 0, *, loss: bool = False) -> frozenset[str]:
        """Return the names that have a graph if `node` has one; every term of a `loss` is taken to have one."""
        if depth > _DEEP or self.is_number(node):
            return frozenset()
        match node:
            case ast.Name(name):
                value = self.value(node)
                terms = [*([] if value is None else [value]), *(self._added(name) if loss else ())]
                return frozenset({name}).union(*(self.carriers(each, depth + 1, loss=loss) for each in terms))
            case ast.BinOp(left, ast.Add(), right) if loss:
                return self.carriers(left, depth + 1, loss=True) | self.carriers(right, depth + 1, loss=True)
            case ast.BinOp(left, op, right):
                return self._any([left, right], depth, loss=loss and isinstance(op, ast.Mult))
            case ast.UnaryOp(operand=operand):
                return self.carriers(operand, depth + 1, loss=loss)
            case ast.Call(func, args, keywords):
                owner = [func.value] if isinstance(func, ast.Attribute) and not _is_namespace(func.value) else []
                return self._any([*owner, *args, *(keyword.value for keyword in keywords)], depth)
            case _:
                return frozenset()

    def _any(self, operands: list[ast.expr], depth: int, *, loss: bool = False) -> frozenset[str]:
        """Return the names that have a graph if one of the operands has one, whichever it is."""
        found = [self.carriers(each, depth + 1, loss=loss) for each in operands if not self.is_number(each)]
        return frozenset.intersection(*found) if found else frozenset()


def is_cut(node: ast.expr) -> bool:
    """Whether a chain of calls cuts the graph off somewhere: `x.detach().mean()`, `float(x)`."""
    while isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name):
            return node.func.id in _CONVERSIONS
        if not isinstance(node.func, ast.Attribute):
            return False
        if node.func.attr in words("tensor", "cut"):
            return True
        node = node.func.value
    return False


def base(node: ast.expr) -> ast.Name | None:
    """Return the name at the beginning of a chain of methods of tensors."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr not in words("tensor", "keep", "cut"):
            return None
        node = node.func.value
    return node if isinstance(node, ast.Name) else None


def _is_namespace(node: ast.expr) -> bool:
    """Whether a method's owner is a module: `torch`, `F`, `self` compute nothing themselves."""
    match node:
        case ast.Name(name):
            return name in ("self", "torch", "F", "np", "math")
        case ast.Attribute(owner):
            return _is_namespace(owner)
        case _:
            return False


def _heads(statement: ast.stmt) -> Iterator[ast.AST]:
    """Yield the nodes of a statement, but for the statements that it holds."""
    for child in children(statement):
        if not isinstance(child, ast.stmt):
            yield from walk(child)


def _bound(statement: ast.stmt) -> set[str]:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {statement.name}
    return {node.id for node in _heads(statement) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}


def _read(statement: ast.stmt) -> list[ast.Name]:
    return [node for node in _heads(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]

"""Which sums and lists of an object a method makes empty, itself or by another method of the same classes.

It knows syntax; it must not know values, events or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from gradlint.static.syntax.questions import FunctionNode


def emptied(method: FunctionNode, classes: Sequence[ast.ClassDef]) -> Iterator[tuple[str, ast.Assign]]:
    """Yield the attributes that a method gives 0 or an empty collection, with the statement: `reset`, and an `__init__` that calls it."""
    todo, seen = [method], {method}
    while todo:
        for statement in todo.pop().body:
            match statement:
                case ast.Assign(targets, ast.Constant(0) | ast.List([]) | ast.Dict([])):
                    yield from ((name, statement) for target in targets for name in _own(target))
                case ast.Expr(ast.Call(ast.Attribute(ast.Name("self"), name))):
                    other = next((each for cls in classes for each in cls.body if _is_called(each, name)), None)
                    if isinstance(other, ast.FunctionDef) and other not in seen:
                        seen.add(other)
                        todo.append(other)


def _own(target: ast.expr) -> Iterator[str]:
    match target:
        case ast.Attribute(ast.Name("self"), name):
            yield name


def _is_called(statement: ast.stmt, name: str) -> bool:
    return isinstance(statement, ast.FunctionDef) and statement.name == name

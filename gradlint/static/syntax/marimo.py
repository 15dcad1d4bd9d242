"""A marimo notebook as the script that it runs as: its cells are functions that take the names they read and return those they bind.

It must not know what is looked for in a notebook.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from gradlint.data import dataclass
from gradlint.static.syntax.nodes import walk

_Cell: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

SIGN = "marimo.App("


def as_script(tree: ast.Module) -> ast.Module:
    """Return the module with the bodies of its cells in the order in which marimo runs them: who binds a name before who reads it."""
    apps = {name for statement in tree.body for name in _app(statement)}
    found = [each for each in tree.body if isinstance(each, _Cell) and _is_cell(each, apps)]
    cells = [_Piece.of(each) for each in found]
    if not cells:
        return tree
    shared = {name for name, count in Counter(name for cell in cells for name in cell.own).items() if count > 1}
    rest = [each for each in tree.body if each not in found]
    guard = [each for each in rest if isinstance(each, ast.If)]
    run = [statement for cell in _in_order(cells) for statement in cell.statements(shared)]
    return ast.Module([*(each for each in rest if each not in guard), *run, *guard], tree.type_ignores)


@dataclass(frozen=True)
class _Piece:
    """One cell: what it runs, reads of others, binds for others, and binds for itself."""

    body: Sequence[ast.stmt]
    reads: frozenset[str]
    binds: frozenset[str]
    own: frozenset[str]

    @classmethod
    def of(cls, cell: _Cell) -> _Piece:
        *body, last = cell.body
        returned = walk(last) if isinstance(last, ast.Return) else ()
        return cls(
            body if isinstance(last, ast.Return) else cell.body,
            frozenset(each.arg for each in cell.args.args),
            frozenset(each.id for each in returned if isinstance(each, ast.Name)),
            frozenset(_own(body)),
        )

    def statements(self, shared: set[str]) -> Iterator[ast.stmt]:
        """Yield what the cell runs: its last expression is shown, and of names that others have, too, nothing is left."""
        for statement in self.body:
            yield _shown(statement) if statement is self.body[-1] else statement
        gone = [ast.copy_location(ast.Name(name, ast.Del()), self.body[-1]) for name in sorted(self.own & shared)]
        if gone:
            yield ast.copy_location(ast.Delete(list(gone)), self.body[-1])


def _app(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.Assign([ast.Name(name)], ast.Call(ast.Attribute(ast.Name("marimo"), "App"))):
            yield name
        case _:
            return


def _is_cell(function: _Cell, apps: set[str]) -> bool:
    for decorator in function.decorator_list:
        match decorator:
            case ast.Attribute(ast.Name(name), "cell") if name in apps:
                return True
            case ast.Call(ast.Attribute(ast.Name(name), "cell"), keywords=given) if name in apps:
                return not any(each.arg == "disabled" and ast.unparse(each.value) == "True" for each in given)
            case _:
                continue
    return False


def _own(body: Sequence[ast.stmt]) -> Iterator[str]:
    """Yield the names that a cell binds and that begin with an underscore: they are its own."""
    for node in (each for statement in body for each in walk(statement)):
        match node:
            case ast.Name(name, ast.Store()) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                if name.startswith("_") and name.strip("_"):
                    yield name
            case _:
                continue


def _shown(statement: ast.stmt) -> ast.stmt:
    if not isinstance(statement, ast.Expr):
        return statement
    name = ast.copy_location(ast.Name("_", ast.Store()), statement)
    return ast.copy_location(ast.Assign([name], statement.value), statement)


def _in_order(cells: Sequence[_Piece]) -> Iterator[_Piece]:
    """Yield cells behind those that bind what they read, else in the order of the file."""
    waiting = list(cells)
    while waiting:
        missing = frozenset[str]().union(*(each.binds - each.reads for each in waiting))
        ready = next((each for each in waiting if not each.reads & (missing - each.binds)), waiting[0])
        waiting.remove(ready)
        yield ready

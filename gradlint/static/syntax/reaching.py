"""Which assignments of one scope reach a place, by syntax alone: later ones take the place of earlier ones, branches add.

It knows statements; it must not know values or rules.
"""

from __future__ import annotations

import ast
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator

from gradlint.data import NamedTuple
from gradlint.static.syntax.nodes import blocks, spelled, walk, walk_of

_TARGETS: tuple[type[ast.Name | ast.Attribute | ast.Subscript], ...] = (ast.Name, ast.Attribute, ast.Subscript)


class Assigned(dict[ast.AST, dict[str, list[int]]]):
    """The rows in which something is assigned to in a node, and in the functions inside of it, by its text; found out when asked for."""

    def __missing__(self, node: ast.AST) -> dict[str, list[int]]:
        """Look for it."""
        self[node] = rows = defaultdict[str, list[int]](list)
        for kind in _TARGETS:
            for target in walk_of(node, kind):
                if type(target.ctx) is not ast.Load:
                    rows[spelled(target)].append(target.lineno)
        return rows


class Given(NamedTuple):
    """An assignment to a target: the statement, the word that it gives a value, and the value if it is that of the whole."""

    statement: ast.stmt
    word: str
    value: ast.expr | None


def reaching(
    scope: ast.AST, target: ast.expr, use: ast.AST | None, assigned: Assigned | None = None
) -> tuple[list[Given], bool]:
    """Return the assignments of `scope` that may have given `target` what it is at `use` (None: at the end).

    The flag tells whether one of them certainly has; else it may be what it was before the scope. `assigned` is what is
    known already.
    """
    word, words = spelled(target), frozenset({spelled(target), *_owners(target)})
    assigned = Assigned() if assigned is None else assigned
    known = assigned[scope]
    rows = sorted(row for each in words if each in known for row in known[each])
    if not rows:  # Most names are not assigned in most scopes.
        return [], False
    found, certain, _ = _block(getattr(scope, "body", []), words, use, rows)
    # Whoever gives a name to another thing gives it other parts.
    return [each if each.word == word else each._replace(value=None) for each in found], certain


def _owners(target: ast.expr) -> Iterator[str]:
    """Yield what a part of something is a part of: who is given anew has other parts."""
    while isinstance(target, (ast.Attribute, ast.Subscript)):
        target = target.value
        yield spelled(target)


def _block(
    body: Iterable[ast.stmt], words: frozenset[str], use: ast.AST | None, rows: list[int]
) -> tuple[list[Given], bool, bool]:
    """Return what reaches the use in a block or its end, whether that is certain, and whether the use was met.

    All that is assigned to one of the words stands in `rows`, in order: most statements are in none of them.
    """
    found: list[Given] = []
    certain, asked = False, getattr(use, "lineno", 0)
    for statement in body:
        begin = statement.lineno
        end = statement.end_lineno or begin
        if begin <= asked <= end:
            for inner in _sides(statement):
                if any(_holds(each, asked) for each in inner):
                    more, sure, _ = _block(inner, words, use, rows)
                    return (more if sure else [*found, *more]), certain or sure, True
            return found, certain, True
        at = bisect_left(rows, begin)
        if at == len(rows) or rows[at] > end:
            continue
        given = list(_own(statement, words))
        if given:
            found, certain = given, True
            continue
        sides = [_block(inner, words, None, rows) for inner in _sides(statement)]
        complete = isinstance(statement, ast.If) and all(sure for _, sure, _ in sides)
        inside = [each for more, _, _ in sides for each in more]
        if isinstance(statement, ast.With) and sides[0][1]:
            complete = True
        found, certain = (inside, True) if complete and inside else ([*found, *inside], certain)
    return found, certain, False


def _holds(statement: ast.stmt, row: int) -> bool:
    return statement.lineno <= row <= (statement.end_lineno or row)


def _sides(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    """Yield the blocks that a statement may run, that of an `else` which is not written included."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return
    yield from blocks(statement)
    if isinstance(statement, ast.If) and not statement.orelse:
        yield []
    for handler in getattr(statement, "handlers", ()):
        yield handler.body


def _own(statement: ast.stmt, words: frozenset[str]) -> Iterator[Given]:
    """Yield what a statement itself assigns to one of the words."""
    match statement:
        case ast.Assign(targets, value):
            for target in targets:
                if spelled(target) in words:
                    yield Given(statement, spelled(target), value)
                elif isinstance(target, (ast.Tuple, ast.List)):
                    yield from _parts(statement, target, value, words)
        case ast.AnnAssign(target, value=ast.expr() as value) if spelled(target) in words:
            yield Given(statement, spelled(target), value)
        case ast.AugAssign(target, op, value) if spelled(target) in words:
            yield Given(statement, spelled(target), ast.copy_location(ast.BinOp(target, op, value), statement))
        case ast.For() | ast.AsyncFor() | ast.With() | ast.AsyncWith():
            for node in _bound(statement):
                if isinstance(node, ast.expr) and spelled(node) in words:
                    yield Given(statement, spelled(node), None)
        case _:
            return


def _parts(
    statement: ast.stmt, target: ast.Tuple | ast.List, value: ast.expr, words: frozenset[str]
) -> Iterator[Given]:
    for index, part in enumerate(target.elts):
        if spelled(part) in words:
            plain = isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(target.elts)
            yield Given(statement, spelled(part), value.elts[index] if plain else None)  # type: ignore[attr-defined]


def _bound(statement: ast.stmt) -> Iterator[ast.AST]:
    match statement:
        case ast.For(target) | ast.AsyncFor(target):
            yield from walk(target)
        case ast.With(items) | ast.AsyncWith(items):
            for item in items:
                if item.optional_vars is not None:
                    yield from walk(item.optional_vars)

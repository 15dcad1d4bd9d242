"""What a fix does, in words and as changes, and what all builders ask of a finding and of the code around it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

from gradlint.data import dataclass
from gradlint.diagnostics import Diagnostic, Edit, Location
from gradlint.static.fixes.changes import Change
from gradlint.static.syntax.outline import Outline, parts, written
from gradlint.wordings import WORDINGS


@dataclass(frozen=True, slots=True)
class Remedy:
    """What a fix does: changes of statements, and edits of expressions."""

    message: str
    changes: tuple[Change | Edit, ...]
    safe: bool = False


Builder: TypeAlias = Callable[[Diagnostic, Outline], Remedy | None]


def related(item: Diagnostic, role: str) -> Location | None:
    """Return the place that the finding names in this role."""
    words = WORDINGS[item.code].roles[role].partition("{")[0]
    return next((each.location for each in item.related if each.text.startswith(words)), None)


def stepped(item: Diagnostic, step: ast.Call) -> ast.expr | None:
    """Return the optimizer of a step as it is spelled there, `scaler.step(optimizer)` included."""
    receiver = [step.func.value] if isinstance(step.func, ast.Attribute) else []
    named = (node for node in (*receiver, *step.args) if f"`{ast.unparse(node)}`" in item.message)
    return next((node for node in named if plain(node)), None)


def plain(node: ast.expr) -> bool:
    """Whether an expression can be repeated: it has no effect and means the same again."""
    return all(
        isinstance(inner, (ast.Name, ast.Attribute, ast.Subscript, ast.Constant, ast.expr_context))
        for inner in ast.walk(node)
    )


def receiver(node: ast.AST | None) -> ast.expr | None:
    """Return what a method is called on, if that can be repeated."""
    match node:
        case ast.Call(ast.Attribute(value)) if plain(value):
            return value
        case _:
            return None


def calls(nodes: Iterable[ast.AST], method: str) -> Iterator[ast.Call]:
    """Yield the calls of this method in `nodes`."""
    for node in (inner for outer in nodes for inner in ast.walk(outer)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method:
            yield node


def loads(name: str, nodes: Iterable[ast.AST]) -> Iterator[ast.Name]:
    """Yield the places in `nodes` where a name is read."""
    for node in (inner for outer in nodes for inner in ast.walk(outer)):
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load):
            yield node


def mentions(body: Sequence[ast.AST], names: set[str]) -> bool:
    """Whether one of `names` is a name or an attribute there."""
    return any(
        (isinstance(node, ast.Attribute) and node.attr in names) or (isinstance(node, ast.Name) and node.id in names)
        for outer in body
        for node in ast.walk(outer)
    )


def alone(outline: Outline, call: ast.Call | None) -> ast.Expr | None:
    """Return the statement of a call, if it is no more than that."""
    statement = outline.statement(call) if call is not None else None
    return statement if isinstance(statement, ast.Expr) and statement.value is call else None


def own_statement(item: Diagnostic, outline: Outline) -> ast.Expr | None:
    """Return the statement at which the finding stands, if it is no more than a call."""
    return alone(outline, outline.at(item.location, ast.Call))


def to_step(item: Diagnostic, outline: Outline) -> tuple[ast.Expr, ast.Expr, list[ast.stmt]] | None:
    """Return the finding's own statement, the step that it names, and what is between them, if it can stand beside that."""
    statement = own_statement(item, outline)
    step = alone(outline, outline.at(related(item, "step"), ast.Call))
    goal = outline.sibling(step, outline.block(statement)) if statement and step else None
    if statement is None or step is None or goal is None:
        return None
    return statement, step, [goal, *between(outline.block(statement), statement, goal)]


def unchanged(moved: ast.AST, across: Sequence[ast.AST]) -> bool:
    """Whether `moved` means the same on both sides of `across`."""
    return not parts(moved) & written(across)


def between(block: list[ast.stmt], one: ast.stmt, two: ast.stmt) -> list[ast.stmt]:
    """Return the statements of a block between two of them."""
    first, last = sorted((block.index(one), block.index(two)))
    return block[first + 1 : last]


def replaced(outline: Outline, node: ast.AST, text: str) -> Edit:
    """Return the edit that puts `text` in the place of `node`."""
    return Edit(outline.place(node), text)


def wrapped(outline: Outline, node: ast.AST, before: str, behind: str = "") -> tuple[Edit, ...]:
    """Return the edits that put `before` in front of `node` and `behind` after it."""
    place = outline.place(node)
    start = replace(place, end_row=place.row, end_column=place.column)
    end = replace(place, row=place.end_row, column=place.end_column)
    return tuple(Edit(where, text) for where, text in ((start, before), (end, behind)) if text)


def removed(outline: Outline, statement: ast.stmt) -> tuple[Edit, ...]:
    """Return the edit that takes a statement away and leaves the comment beside it; none if it shares its line or block."""
    place = outline.place(statement)
    before, behind = outline.lines[place.row - 1][: place.column - 1], outline.lines[place.end_row - 1]
    rest = behind[place.end_column - 1 :].strip()
    if before.strip() or not (not rest or rest.startswith("#")) or len(outline.block(statement)) == 1:
        return ()
    if rest:
        return (Edit(replace(place, end_column=behind.index(rest, place.end_column - 1) + 1), ""),)
    return (Edit(replace(place, column=1, end_row=place.end_row + 1, end_column=1), ""),)


def added(outline: Outline, statement: ast.stmt, text: str) -> Edit | None:
    """Return the edit that puts a line behind a statement; None if that shares its line with another."""
    place = outline.place(statement)
    first, last = outline.lines[place.row - 1], outline.lines[place.end_row - 1].rstrip("\r\n")
    indent, rest = first[: place.column - 1], last[place.end_column - 1 :].strip()
    if indent.strip() or not (not rest or rest.startswith("#")):
        return None
    end = len(last) + 1
    where = replace(place, row=place.end_row, column=end, end_row=place.end_row, end_column=end)
    return Edit(where, f"\n{indent}{text}")


def without(outline: Outline, call: ast.Call, given: ast.keyword) -> Edit:
    """Return the edit that takes an argument, and the comma beside it, out of a call."""
    places = sorted(outline.place(each) for each in (*call.args, *call.keywords))
    place = outline.place(given)
    index = places.index(place)
    if index:
        before = places[index - 1]
        return Edit(replace(place, row=before.end_row, column=before.end_column), "")
    if len(places) > 1:
        return Edit(replace(place, end_row=places[1].row, end_column=places[1].column), "")
    return Edit(place, "")

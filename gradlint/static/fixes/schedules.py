"""Schedulers that step where their arguments count, and are built in order."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from itertools import takewhile

from gradlint.diagnostics import Diagnostic
from gradlint.static.fixes.changes import Move
from gradlint.static.fixes.remedy import (
    Builder,
    Remedy,
    alone,
    between,
    calls,
    own_statement,
    related,
    replaced,
    to_step,
    unchanged,
    wrapped,
)
from gradlint.static.syntax.outline import Loop, Outline


def _behind_step(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL201: step the scheduler behind the optimizer, or behind the loop in which that steps."""
    statement, step = own_statement(item, outline), outline.at(related(item, "stepped"), ast.Call)
    block = outline.block(statement) if statement else []
    goal = outline.sibling(step, block) if step else None
    if statement is None or goal is None or block.index(goal) <= block.index(statement):
        return None
    return _moved(outline, statement, goal, [*between(block, statement, goal), goal])


def _once_per_epoch(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL203: step behind the loop over the batches."""
    statement = own_statement(item, outline)
    loop = outline.loop(statement) if statement else None
    if statement is None or loop is None or statement not in loop.body or outline.loop(loop) is None:
        return None
    return _moved(outline, statement, loop, [loop])


def _once_per_batch(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL204: step right behind the optimizer, in the loop over the batches."""
    statement = own_statement(item, outline)
    if statement is None:
        return None
    above = list(takewhile(lambda other: other is not statement, outline.block(statement)))
    steps = [alone(outline, call) for loop in above if isinstance(loop, Loop) for call in calls([loop], "step")]
    match steps:
        case [ast.Expr() as step]:
            return _moved(outline, statement, step, above)
        case _:
            return None


def _with_update(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL212: step right behind the optimizer, under its condition."""
    found = to_step(item, outline)
    return _moved(outline, *found) if found else None


def _before_restoring(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL217: build the scheduler before the optimizer's state is restored."""
    restored = alone(outline, outline.at(related(item, "restored"), ast.Call))
    call = outline.at(item.location, ast.Call)
    statement = outline.statement(call) if call else None
    if restored is None or not isinstance(statement, ast.Assign) or statement.value is not call:
        return None
    block = outline.block(restored)
    if statement not in block or block.index(statement) < block.index(restored):
        return None
    if not unchanged(statement.value, between(block, restored, statement)):
        return None
    change = Move(outline.place(statement), outline.place(restored))
    return Remedy(f"Move `{_short(statement)}` before the state is restored", (change,))


def _other_mode(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL207: build it with the mode that its metric has."""
    built = outline.at(related(item, "built"), ast.Call)
    mode = next((mode for mode in ("min", "max") if f'mode="{mode}"' in item.help), None)
    if built is None or mode is None or len(built.args) > 2 or any(key.arg is None for key in built.keywords):
        return None
    given = [key.value for key in built.keywords if key.arg == "mode"] or built.args[1:]
    if given:
        return Remedy(f'Build it with `mode="{mode}"`', (replaced(outline, given[0], f'"{mode}"'),))
    if not built.args:
        return None
    return Remedy(f'Build it with `mode="{mode}"`', wrapped(outline, built.args[0], "", f', mode="{mode}"'))


def _moved(outline: Outline, statement: ast.Expr, goal: ast.stmt, across: list[ast.stmt]) -> Remedy | None:
    """Return the move of `statement` behind `goal`, if it means the same there."""
    if outline.scope(statement) is not outline.scope(goal) or not unchanged(statement, across):
        return None
    change = Move(outline.place(statement), outline.place(goal), behind=True)
    where = "the loop" if isinstance(goal, Loop) else f"`{_short(goal)}`"
    return Remedy(f"Move `{ast.unparse(statement)}` behind {where}", (change,))


def _short(statement: ast.stmt) -> str:
    return ast.unparse(statement).split("\n")[0]


BUILDERS: Mapping[str, Builder] = {
    "GL201": _behind_step,
    "GL203": _once_per_epoch,
    "GL204": _once_per_batch,
    "GL207": _other_mode,
    "GL212": _with_update,
    "GL217": _before_restoring,
}

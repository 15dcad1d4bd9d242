"""Gradients that are cleared where they have to be."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from gradlint.diagnostics import Diagnostic
from gradlint.static.fixes.changes import Insert, Move
from gradlint.static.fixes.remedy import Builder, Remedy, alone, mentions, related, stepped
from gradlint.static.syntax.outline import Loop, Outline, parts, written


def _clear_in_loop(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL101 and GL107: clear at the start of each iteration, or before the pass of a second step in it."""
    loop, step = _ring(item, outline)
    subject = stepped(item, step) if step else None
    if loop is None or subject is None or parts(subject) & written(loop.body):
        return None
    call = f"{outline.spelled(subject)}.zero_grad()"
    again = outline.at(related(item, "dirty"), ast.Call) if _calls(loop.body, call) else None
    if again is not None:
        return Remedy(
            f"Insert `{call}` before the backward pass", (Insert(call, outline.place(outline.statement(again))),)
        )
    return Remedy(f"Insert `{call}` into the loop", (Insert(call, outline.place(loop.body[0])),))


def _calls(body: list[ast.stmt], call: str) -> bool:
    """Whether statements make a call, as it is spelled."""
    nodes = (node for statement in body for node in ast.walk(statement))
    return any(isinstance(node, ast.Call) and ast.unparse(node) == call for node in nodes)


def _ring(item: Diagnostic, outline: Outline) -> tuple[Loop | None, ast.Call | None]:
    """Return the loop of which each iteration is one update, and the step in it."""
    step = outline.at(item.location, ast.Call)
    backward = outline.at(related(item, "dirty"), ast.Call)
    if step is None or backward is None or backward.lineno > step.lineno:
        return None, step
    loop = outline.loop(step, backward)
    return (None if loop is None or _accumulates(outline, loop, step, backward) else loop), step


def _accumulates(outline: Outline, loop: Loop, step: ast.Call, backward: ast.Call) -> bool:
    """Whether some iterations may come to the backward pass and not to the step."""
    around = set(outline.above(backward))
    between = [node for node in outline.above(step) if node not in around]
    windows = [item.context_expr for node in outline.above(step) if isinstance(node, ast.With) for item in node.items]
    if mentions(windows, {"accumulate"}):
        return True
    return any(not isinstance(node, (ast.Expr, ast.Assign, ast.With, ast.Call)) for node in between) or any(
        isinstance(node, ast.Continue) and backward.lineno <= node.lineno <= step.lineno for node in ast.walk(loop)
    )


def _move_into_loop(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL102: clear in the loop, not around it."""
    loop, _ = _ring(item, outline)
    clearing = _clearing(item, outline)
    if loop is None or clearing is None:
        return None
    outer = outline.sibling(loop, outline.block(clearing))
    if outer is None or outline.scope(clearing) is not outline.scope(loop) or outer.lineno <= clearing.lineno:
        return None
    if parts(clearing) & written([outer]):
        return None
    change = Move(outline.place(clearing), outline.place(loop.body[0]))
    return Remedy(f"Move `{ast.unparse(clearing)}` into the loop", (change,))


def _clearing(item: Diagnostic, outline: Outline) -> ast.Expr | None:
    """Return the statement that clears, if it is no more than that call."""
    return alone(outline, outline.at(related(item, "cleared"), ast.Call))


def _clear_first(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL103: clear before the backward pass."""
    clearing = _clearing(item, outline)
    backward, step = outline.at(related(item, "fresh"), ast.Call), outline.at(item.location, ast.Call)
    if clearing is None or backward is None or step is None:
        return None
    block = outline.block(clearing)
    passed, stepped = outline.statement(backward), outline.statement(step)
    if passed not in block or stepped not in block:
        return None
    first, second, third = (block.index(statement) for statement in (passed, clearing, stepped))
    if not first < second < third or parts(clearing) & written(block[first:second]):
        return None
    if mentions([*block[first + 1 : second], *block[second + 1 : third]], {"backward", "step"}):
        return None  # Which of the passes is meant, and whose step, is not known.
    change = Move(outline.place(clearing), outline.place(passed))
    return Remedy(f"Move `{ast.unparse(clearing)}` before the backward pass", (change,))


BUILDERS: Mapping[str, Builder] = {
    "GL101": _clear_in_loop,
    "GL102": _move_into_loop,
    "GL103": _clear_first,
    "GL107": _clear_in_loop,
}

"""Statements that belong to the step: clipping, clearing and dividing what several batches add up."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from gradlint.diagnostics import Diagnostic
from gradlint.static.fixes.changes import Insert, Move
from gradlint.static.fixes.remedy import (
    Builder,
    Remedy,
    alone,
    between,
    calls,
    own_statement,
    plain,
    receiver,
    related,
    removed,
    to_step,
    unchanged,
    wrapped,
)
from gradlint.static.syntax.outline import Loop, Outline, written


def _clip_between(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL602: clip when the gradients are there, and before they are used."""
    clip = own_statement(item, outline)
    if clip is None:
        return None
    block = outline.block(clip)
    spent = alone(outline, outline.at(related(item, "spent"), ast.Call))
    spent = spent if spent in block[: block.index(clip)] else None
    goal = spent or next((other for other in block[block.index(clip) :] if any(calls([other], "backward"))), None)
    if not isinstance(goal, ast.Expr) or goal not in block or not unchanged(clip, between(block, clip, goal)):
        return None
    change = Move(outline.place(clip), outline.place(goal), behind=goal is not spent)
    return Remedy(f"Move the clipping {'before the step' if goal is spent else 'behind the backward pass'}", (change,))


def _under_guard(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL705: clip once for each step, right before it."""
    return _joined(item, outline, behind=False, what="Move the clipping before the step")


def _clear_after_step(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL701: clear once for each step, right behind it."""
    return _joined(item, outline, behind=True, what="Clear right behind the step")


def _joined(item: Diagnostic, outline: Outline, *, behind: bool, what: str) -> Remedy | None:
    """Return the move of the finding's own statement beside the step, under its condition."""
    found = to_step(item, outline)
    if found is None or not unchanged(found[0], found[2]):
        return None
    statement, step, _ = found
    return Remedy(what, (Move(outline.place(statement), outline.place(step), behind),))


def _divided(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL702: divide the loss by the number of batches that make one step."""
    backward, step = outline.at(item.location, ast.Call), outline.at(related(item, "step"), ast.Call)
    count = _count(outline, step) if step else None
    match backward:
        case ast.Call(ast.Attribute(ast.Call(ast.Attribute(_, "scale"), [loss]), "backward"), []):
            edits = wrapped(outline, loss, "", f" / {count}")
        case ast.Call(ast.Attribute(loss, "backward"), []):
            edits = wrapped(outline, loss, "(", f" / {count})")
        case _:
            return None
    return Remedy(f"Divide by `{count}`", edits) if count and plain(loss) else None


def _count(outline: Outline, step: ast.Call) -> str | None:
    """Return the number of batches that make one step, as its condition says it."""
    tests = [node.test for node in outline.above(step) if isinstance(node, ast.If)]
    found = {
        outline.spelled(node.right)
        for test in tests
        for node in ast.walk(test)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and plain(node.right)
    }
    return found.pop() if len(found) == 1 else None


def _set_epoch(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL709: tell the sampler the epoch before its batches are drawn, where it is of the kind that wants to know."""
    drawn = outline.at(item.location, ast.Name) or outline.at(item.location, ast.Attribute)
    inner = next((node for node in outline.above(drawn) if isinstance(node, Loop)), None) if drawn else None
    outer = outline.loop(inner) if inner else None
    built = outline.at(related(item, "built"), ast.Call)
    sampler = _sampler(outline, built, outer) if built and outer else None
    match outer:
        case ast.For(ast.Name(epoch)) if built and sampler and not epoch.startswith("_"):
            call = f"{sampler}.set_epoch({epoch})"
            code = call if _is_always(outline, built, sampler, outer) else _guarded(outline, built, sampler, call)
        case _:
            return None
    return Remedy(f"Begin the epoch with `{call}`", (Insert(code, outline.place(outer.body[0])),)) if code else None


def _sampler(outline: Outline, built: ast.Call, loop: Loop) -> str | None:
    """Return the name of the sampler, if the loop can see it."""
    statement = outline.statement(built)
    match statement:
        case ast.Assign([ast.Name(name)], value) if value is built and outline.scope(statement) is outline.scope(loop):
            return name
        case _:
            return None


def _is_always(outline: Outline, built: ast.Call, sampler: str, loop: Loop) -> bool:
    """Whether the sampler is this one in each run: bound once, and under no condition that the loop is not under."""
    bound = [
        node for node in ast.walk(outline.scope(loop)) if isinstance(node, ast.Assign) and sampler in written([node])
    ]
    return len(bound) == 1 and set(outline.above(bound[0])) <= set(outline.above(loop))


def _guarded(outline: Outline, built: ast.Call, sampler: str, call: str) -> str | None:
    if not outline.imports(built.func):
        return None
    return f"if isinstance({sampler}, {outline.spelled(built.func)}):\n    {call}"


def _removed(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL109 and GL407: leave the second step, or the needless backward pass, out."""
    statement = own_statement(item, outline)
    if statement is None or receiver(statement.value) is None:
        return None
    return Remedy(f"Delete `{ast.unparse(statement)}`", removed(outline, statement))


BUILDERS: Mapping[str, Builder] = {
    "GL109": _removed,
    "GL407": _removed,
    "GL602": _clip_between,
    "GL701": _clear_after_step,
    "GL702": _divided,
    "GL705": _under_guard,
    "GL709": _set_epoch,
}

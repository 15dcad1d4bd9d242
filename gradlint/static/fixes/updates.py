"""Updates by hand, and what is written to an optimizer or read from a gradient."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from gradlint.diagnostics import Diagnostic, Edit
from gradlint.static.fixes.changes import Insert, Move, Wrap
from gradlint.static.fixes.remedy import Builder, Remedy, mentions, own_statement, plain, replaced, unchanged
from gradlint.static.syntax.outline import Outline


def _untracked(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL114: change a parameter in place, and without a graph."""
    spelled = outline.spelling("torch.no_grad")
    changed = outline.at(item.location, ast.AugAssign) or own_statement(item, outline)
    if spelled is None:
        return None
    if changed is not None:
        return Remedy(f"Put it under `with {spelled}():`", (Wrap(f"with {spelled}():", outline.place(changed)),))
    match outline.at(item.location, ast.Assign):
        case ast.Assign([target], ast.BinOp(left, ast.Sub() | ast.Add() as way, right)) as rebound if plain(
            target
        ) and ast.unparse(target) == ast.unparse(left):
            text = f"{outline.spelled(target)} {'-' if isinstance(way, ast.Sub) else '+'}= {outline.spelled(right)}"
        case _:
            return None
    head = "" if _is_untracked(outline, rebound) else f"with {spelled}():"
    edit = _headed(outline, rebound, head, text)
    return Remedy("Change it in place, without a graph", (edit,)) if edit else None


def _is_untracked(outline: Outline, statement: ast.stmt) -> bool:
    around = [item for node in outline.above(statement) if isinstance(node, ast.With) for item in node.items]
    return mentions([item.context_expr for item in around], {"no_grad", "inference_mode", "set_grad_enabled"})


def _headed(outline: Outline, statement: ast.stmt, head: str, text: str) -> Edit | None:
    """Return the edit that makes of a statement `text` in a block of its own; None if it shares its line."""
    row = outline.lines[statement.lineno - 1]
    indent = row[: len(row) - len(row.lstrip())]
    if not head:
        return replaced(outline, statement, text)
    if outline.place(statement).column - 1 != len(indent):
        return None
    deeper = indent + ("\t" if indent.startswith("\t") else "    ")
    return replaced(outline, statement, f"{head}\n{deeper}{text}")


def _drop_gradient(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL115: drop the gradient behind the update that has used it."""
    update = outline.at(item.location, ast.AugAssign)
    if update is None or not plain(update.target):
        return None
    text = f"{outline.spelled(update.target).removesuffix('.data')}.grad = None"
    return Remedy(f"Insert `{text}`", (Insert(text, outline.place(update), behind=True),))


def _if_there(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL116: use a gradient only where there is one."""
    match outline.at(item.location, ast.Attribute):
        case ast.Attribute(ast.Attribute(_, "grad") as gradient) as used if plain(gradient):
            statement = outline.statement(used)
        case _:
            return None
    if not isinstance(statement, ast.Expr):
        return None
    test = f"if {outline.spelled(gradient)} is not None:"
    return Remedy(f"Ask `{test}`", (Wrap(test, outline.place(statement)),), safe=True)


def _written_to_groups(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL214: write the rate of each group."""
    match outline.at(item.location, ast.Attribute):
        case ast.Attribute(owner, "lr", ast.Store()) as target if plain(owner):
            statement = outline.statement(target)
        case _:
            return None
    if not isinstance(statement, ast.Assign) or statement.targets != [target]:
        return None
    head = f"for group in {outline.spelled(owner)}.param_groups:"
    edit = _headed(outline, statement, head, f'group["lr"] = {outline.spelled(statement.value)}')
    return Remedy("Write the rate of each group", (edit,)) if edit else None


def _seed_once(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL919: seed before the loop."""
    statement = own_statement(item, outline)
    loop = outline.loop(statement) if statement else None
    if statement is None or loop is None or statement not in loop.body or not unchanged(statement, [loop]):
        return None
    return Remedy("Seed before the loop", (Move(outline.place(statement), outline.place(loop)),))


BUILDERS: Mapping[str, Builder] = {
    "GL114": _untracked,
    "GL115": _drop_gradient,
    "GL116": _if_there,
    "GL214": _written_to_groups,
    "GL919": _seed_once,
}

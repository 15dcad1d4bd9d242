"""Updates by hand, and what is written to an optimizer or read from a gradient."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from gradlint.diagnostics import Diagnostic
from gradlint.static.fixes.remedy import Builder, Remedy, alone, plain, replaced, unchanged
from gradlint.static.outline import Outline
from gradlint.static.rewriting import Insert, Move, Wrap


def _untracked(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL114: change a parameter in place without a graph."""
    changed, spelled = outline.at(item.location, ast.AugAssign), outline.spelling("torch.no_grad")
    if changed is None or spelled is None:
        return None
    return Remedy(f"Put it under `with {spelled}():`", (Wrap(f"with {spelled}():", outline.place(changed)),))


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
    row = outline.lines[statement.lineno - 1]
    indent = row[: len(row) - len(row.lstrip())]
    if not isinstance(statement, ast.Assign) or statement.targets != [target] or statement.col_offset != len(indent):
        return None
    head = f"for group in {outline.spelled(owner)}.param_groups:"
    deeper = indent + ("\t" if indent.startswith("\t") else "    ")
    text = f'{head}\n{deeper}group["lr"] = {outline.spelled(statement.value)}'
    return Remedy("Write the rate of each group", (replaced(outline, statement, text),))


def _seed_once(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL919: seed before the loop."""
    statement = alone(outline, outline.at(item.location, ast.Call))
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

"""Gradients that are switched off where somebody meant them to be."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import TypeAlias

from gradlint.diagnostics import Diagnostic
from gradlint.static.fixes.changes import Enter, Wrap
from gradlint.static.fixes.remedy import Builder, Remedy, mentions, related
from gradlint.static.syntax.outline import Loop, Outline, written

_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_TRAINING = frozenset(["backward", "step", "train", "zero_grad", "requires_grad", "requires_grad_", "enable_grad"])


def _enter(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL307: enter the mode for the rest of the block."""
    statement = outline.at(item.location, ast.Expr)
    if statement is None:
        return None
    block = outline.block(statement)
    rest = block[block.index(statement) + 1 :]
    if not rest or _definitions(rest, outline, statement) or _trains(rest, outline) or _leaks(rest, outline, statement):
        return None
    message = f"Enter it for the rest of the block: `with {ast.unparse(statement)}:`"
    return Remedy(message, (Enter(item.location),))


def _definitions(rest: list[ast.stmt], outline: Outline, statement: ast.Expr) -> bool:
    """Whether a module goes on with other things than a script."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
    return isinstance(outline.scope(statement), (ast.Module, ast.ClassDef)) and any(
        isinstance(node, kinds) for outer in rest for node in ast.walk(outer)
    )


def _trains(rest: list[ast.stmt], outline: Outline) -> bool:
    """Whether something may want gradients there: directly, or in a function of this file."""
    functions = [node for node in ast.walk(outline.tree) if isinstance(node, _Function)]
    known = set(_TRAINING)
    while more := {node.name for node in functions if node.name not in known and mentions(node.body, known)}:
        known |= more
    return mentions(rest, known)


def _leaks(rest: list[ast.stmt], outline: Outline, statement: ast.Expr) -> bool:
    """Whether something that is assigned there is used elsewhere, where it may be expected to have a graph."""
    made = written(rest)
    if any(not name.isidentifier() for name in made) or any(
        isinstance(node, (ast.Global, ast.Nonlocal)) for outer in rest for node in ast.walk(outer)
    ):
        return True
    inside = {node for outer in rest for node in ast.walk(outer)}
    first, scope = rest[0].lineno, outline.scope(statement)
    looped = any(isinstance(node, Loop) for node in outline.above(statement))
    return any(
        isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in made and node not in inside
        for node in ast.walk(scope)
        if looped or getattr(node, "lineno", 0) >= first
    )


def _without_graphs(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL302: run what follows `eval()`, as far as the forward pass is part of it, without graphs."""
    forward, begun = outline.at(item.location, ast.Call), outline.at(related(item, "eval"), ast.Call)
    spelled = outline.spelling("torch.no_grad")
    # In a function that does not switch the mode itself the model may be trained as well.
    if forward is None or begun is None or spelled is None or outline.scope(begun) is not outline.scope(forward):
        return None
    goal = outline.sibling(forward, outline.block(outline.statement(begun)))
    if goal is None or isinstance(goal, ast.Return) or _trains([goal], outline):
        return None
    return Remedy(f"Put it under `with {spelled}():`", (Wrap(f"with {spelled}():", outline.place(goal)),))


BUILDERS: Mapping[str, Builder] = {"GL302": _without_graphs, "GL307": _enter}

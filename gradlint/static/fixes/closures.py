"""Closures of LBFGS that clear, and return their loss."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from gradlint.diagnostics import Diagnostic
from gradlint.static.fixes.changes import Insert
from gradlint.static.fixes.remedy import Builder, Remedy, related, stepped
from gradlint.static.syntax.nodes import own
from gradlint.static.syntax.outline import Outline, begin, parts, written


def _clear_in_closure(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL402: clear at the start of each evaluation."""
    step, closure = outline.at(item.location, ast.Call), outline.at(related(item, "closure"), ast.FunctionDef)
    subject = stepped(item, step) if step else None
    first = begin(closure.body) if closure else None
    if step is None or closure is None or subject is None or first is None:
        return None
    bound = written(closure.body) | {node.arg for node in ast.walk(closure.args) if isinstance(node, ast.arg)}
    if outline.scope(step) is not outline.scope(closure) or parts(subject) & bound:
        return None
    call = f"{outline.spelled(subject)}.zero_grad()"
    return Remedy(f"Begin the closure with `{call}`", (Insert(call, outline.place(first)),))


def _return_loss(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL404: return what the closure's backward pass began at."""
    closure = outline.at(related(item, "closure"), ast.FunctionDef)
    if closure is None or any(isinstance(node, (ast.Return, ast.Yield, ast.YieldFrom)) for node in own(closure)):
        return None
    match [node for node in own(closure) if _is_backward(node)]:
        case [ast.Call(ast.Attribute(ast.Name(loss)), []) as backward]:
            passed = outline.sibling(backward, closure.body)
        case _:
            return None
    if (
        passed is None
        or not _always(outline, backward, closure)
        or any(key.arg == "gradient" for key in backward.keywords)
    ):
        return None
    if loss in written(closure.body[closure.body.index(passed) + 1 :]):
        return None
    end = closure.body[-1]
    change = Insert(f"return {loss}", outline.place(end), behind=True)
    return Remedy(f"End the closure with `return {loss}`", (change,), safe=True)


def _is_backward(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "backward"


def _always(outline: Outline, node: ast.AST, function: ast.FunctionDef) -> bool:
    """Whether nothing but `with` stands between a function and a statement in it."""
    around = list(outline.above(node))
    return all(isinstance(item, (ast.Expr, ast.With)) for item in around[: around.index(function)])


BUILDERS: Mapping[str, Builder] = {"GL402": _clear_in_closure, "GL404": _return_loss}

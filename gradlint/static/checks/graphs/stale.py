"""Evaluations that add up the loss of the last training step, and never use their own: GL523.

It knows names and loops; it must not know what a loss is.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import local_check
from gradlint.static.syntax.nodes import children, own, own_named, own_of, walk, walk_of
from gradlint.static.syntax.questions import FunctionNode

_Scope = ast.Module | FunctionNode
_COLLECTS = frozenset(["append", "extend", "update", "add", "add_batch"])


@local_check
def stale_loss(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL523: a loop collects in each turn what an earlier loop has run backward from, and does not read what it computes."""
    for scope in _scopes(analysis) if analysis.says("backward") else ():
        loops: list[ast.For | ast.AsyncFor] = [*own_of(scope, ast.For), *own_of(scope, ast.AsyncFor)]
        for loop in loops:
            collected = list(_collected(loop))
            bound, read = (_bound(loop), _read(loop)) if collected else (set[str](), set[str]())
            for name, place in collected:
                unused = _unused(loop, bound, read)
                if name not in bound and unused is not None and _is_trained(name, loop, loops, scope):
                    what = f"`{ast.unparse(unused.targets[0])}` is computed and never used: `{name}`, what the last"
                    what += " training step has left, is collected in its place"
                    marks = (("collected", analysis.source.place(place)),)
                    remedy = f"collect `{ast.unparse(unused.targets[0])}`"
                    yield compose("GL523", Side.STATIC, analysis.source.place(unused), marks, what=what, remedy=remedy)


def _scopes(analysis: Analysis) -> list[_Scope]:
    """Return the functions, or the module, in which a loop begins behind one that may run backward."""
    loops = [(analysis.scope_of(loop), loop) for loop in analysis.nodes(ast.For, ast.AsyncFor)]
    words = frozenset(["backward"])
    trained = [(scope, loop.end_lineno or 0) for scope, loop in loops if analysis.contents.says(words, loop)]
    return list(
        dict.fromkeys(scope for scope, end in trained for home, loop in loops if home is scope and loop.lineno > end)
    )


def _bound(loop: ast.AST) -> set[str]:
    return {node.id for node in walk_of(loop, ast.Name) if not isinstance(node.ctx, ast.Load)}


def _read(loop: ast.AST) -> set[str]:
    added = {node.target.id for node in walk_of(loop, ast.AugAssign) if isinstance(node.target, ast.Name)}
    return added | {node.id for node in walk_of(loop, ast.Name) if isinstance(node.ctx, ast.Load)}


def _collected(loop: ast.For | ast.AsyncFor) -> Iterator[tuple[str, ast.AST]]:
    """Yield the names of which each turn of a loop adds something to a sum or a collection, and where."""
    for node in own(loop):
        match node:
            case ast.Expr(value=ast.Call(func=ast.Attribute(attr=method), args=args)) if method in _COLLECTS:
                values = args
            case ast.AugAssign(ast.Name(), ast.Add(), value):
                values = [value]
            case _:
                continue
        for each in (part for value in values for part in walk(value)):
            if isinstance(each, ast.Name):
                yield each.id, each


def _unused(loop: ast.For | ast.AsyncFor, bound: set[str], read: set[str]) -> ast.Assign | None:
    """Return the statement of a loop that computes something from its batch which the loop never reads."""
    for statement in loop.body:
        match statement:
            case ast.Assign([ast.Name(name)], value) if name not in read and not name.startswith("_"):
                if any(isinstance(part, ast.Name) and part.id in bound - {name} for part in walk(value)):
                    return statement
    return None


def _is_trained(name: str, loop: ast.AST, loops: list[ast.For | ast.AsyncFor], scope: _Scope) -> bool:
    """Whether another loop, which is over when this one begins, bound a name last and ran backward from it."""
    binds = [node.lineno for node in own_named(scope, name) if not isinstance(node.ctx, ast.Load)]
    last = max((row for row in binds if row < loop.lineno), default=0)  # type: ignore[attr-defined]
    inside = set(walk(loop))
    earlier = [each for each in loops if each not in inside and (each.end_lineno or 0) < loop.lineno]  # type: ignore[attr-defined]
    return any(each.lineno < last <= (each.end_lineno or 0) and _runs_backward(each, name) for each in earlier)


def _runs_backward(loop: ast.AST, name: str) -> bool:
    return any(
        isinstance(node.func, ast.Attribute)
        and node.func.attr in ("backward", "manual_backward")
        and any(isinstance(each, ast.Name) and each.id == name for part in children(node) for each in walk(part))
        for node in walk_of(loop, ast.Call)
    )

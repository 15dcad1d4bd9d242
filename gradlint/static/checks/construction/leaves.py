"""Tensors that are optimized by themselves: made anew beside their optimizer (GL805, GL806), or no leaves (GL519)."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from gradlint.data import NamedTuple
from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.checks.construction.plain_tensors import is_made_anew, is_so_already
from gradlint.static.lowering.values import Library
from gradlint.static.sources.library import role_of
from gradlint.static.syntax.nodes import blocks, called, walk
from gradlint.wordings.construction import rebuilt

_Loop = ast.For | ast.AsyncFor | ast.While
_MOVES = frozenset(["to", "cuda", "double", "half"])
"""Return the tensor itself where nothing is to be done: what was made right here, on no device, is where it is not wanted."""
_FUNCTIONS = frozenset(["log", "exp", "sqrt", "abs", "neg", "square", "pow", "sigmoid", "tanh", "logit"])
_COMPUTES = _FUNCTIONS | {"mul", "div", "reshape", "view", "unsqueeze", "clamp", "t"}


class _Built(NamedTuple):
    """`optimizer = SGD([w, b])`: the statement, and the spelled names of the optimizer and of its tensors."""

    node: ast.Assign
    name: str
    leaves: tuple[str, ...]


@check
def optimized_tensors(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL519, GL805 and GL806, for optimizers of tensors that a function has names for."""
    if "requires_grad" not in analysis.source.text and "Parameter(" not in analysis.source.text:
        return
    if not any(True for node in analysis.nodes(ast.Assign) for _ in _optimizer(analysis, node)):
        return
    for scope in walk(analysis.tree):
        if isinstance(scope, (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef)):
            statements = list(_statements(scope.body, None))
            built = [each for node, _ in statements for each in _optimizer(analysis, node)]
            for each in built:
                yield from _no_leaf(analysis, statements, each)
                yield from _made_anew(analysis, statements, each)
                yield from _thrown_away(analysis, statements, each)


def _statements(body: Iterable[ast.stmt], loop: _Loop | None) -> Iterator[tuple[ast.stmt, _Loop | None]]:
    """Yield the statements of a function, each with the innermost loop around it."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        yield node, loop
        inner = node if isinstance(node, (ast.For, ast.AsyncFor, ast.While)) else loop
        for block in blocks(node):
            yield from _statements(block, inner)


def _optimizer(analysis: Analysis, node: ast.stmt) -> Iterator[_Built]:
    match node:
        case ast.Assign(
            value=ast.Call(func=callee, args=[ast.List(elements), *_]),
            targets=[ast.Name() | ast.Attribute() as target],
        ):
            known = analysis.value(callee)
            leaves = tuple(ast.unparse(each) for each in elements if isinstance(each, (ast.Name, ast.Attribute)))
            if isinstance(known, Library) and role_of(known.name) == "optimizer" and len(leaves) == len(elements):
                yield _Built(node, ast.unparse(target), leaves)
        case _:
            return


def _no_leaf(
    analysis: Analysis, statements: list[tuple[ast.stmt, _Loop | None]], built: _Built
) -> Iterator[Diagnostic]:
    """GL519: what an optimizer is given was computed from the leaf."""
    for leaf in built.leaves:
        given = [
            node for node, _ in statements if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == leaf
        ]
        if len(given) == 1 and given[0].lineno < built.node.lineno and _is_computed(analysis, given[0].value):
            marks = (("optimizer", analysis.source.place(built.node)),)
            yield compose("GL519", Side.STATIC, analysis.source.place(given[0]), marks, subject=leaf)


def _is_computed(analysis: Analysis, value: ast.expr) -> bool:
    """Whether a value is computed from a tensor that requires gradients and is made right there."""
    match value:
        case ast.Call(ast.Attribute(inner, name), args) if name in _MOVES:
            scope = analysis.function_in(value.lineno) or analysis.tree
            placed = any(isinstance(each, ast.keyword) and each.arg in ("device", "dtype") for each in walk(inner))
            # What is made like another tensor lies where that one lies.
            placed = placed or (isinstance(inner, ast.Call) and called(inner).endswith("_like"))
            placed = placed or is_so_already(inner, args, scope) or not is_made_anew(inner, scope)
            told = isinstance(inner, ast.Call) and ast.unparse(inner.func).endswith(".requires_grad_")
            return (_requires(analysis, inner) and not placed and not told) or _is_computed(analysis, inner)
        case ast.Call(ast.Attribute(ast.Name("torch"), name), [inner, *_]) if name in _FUNCTIONS:
            return _requires(analysis, inner) or _is_computed(analysis, inner)
        case ast.Call(ast.Attribute(inner, name)) if name in _COMPUTES:
            return _requires(analysis, inner) or _is_computed(analysis, inner)
        case ast.BinOp(left, _, right):
            return any(_requires(analysis, side) or _is_computed(analysis, side) for side in (left, right))
        case _:
            return False


def _requires(analysis: Analysis, value: ast.expr) -> bool:
    match value:
        case ast.Call(ast.Attribute(_, "requires_grad_"), [] | [ast.Constant(True)]):
            return True
        case ast.Call(callee, keywords=keywords):
            told = any(each.arg == "requires_grad" and _is_true(each.value) for each in keywords)
            known = analysis.value(callee)
            return isinstance(known, Library) and (
                (told and role_of(known.name) in ("fresh-tensor", "tensor")) or role_of(known.name) == "parameter"
            )
        case _:
            return False


def _is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def _makes(analysis: Analysis, node: ast.stmt, leaf: str) -> bool:
    """Whether a statement gives a name to a new leaf, and not to the one that it was."""
    match node:
        case ast.Assign([target], ast.Call(ast.Attribute(same, "requires_grad_"))) if ast.unparse(target) == leaf:
            return ast.unparse(same) != leaf
        case ast.Assign([target], value) if ast.unparse(target) == leaf:
            return _requires(analysis, value)
        case _:
            return False


def _steps(node: ast.stmt, optimizer: str) -> bool:
    match node:
        case (
            ast.Expr(ast.Call(ast.Attribute(owner, "step"))) | ast.Assign(value=ast.Call(ast.Attribute(owner, "step")))
        ):
            return ast.unparse(owner) == optimizer
        case _:
            return False


def _made_anew(
    analysis: Analysis, statements: list[tuple[ast.stmt, _Loop | None]], built: _Built
) -> Iterator[Diagnostic]:
    """GL806: a loop that steps an optimizer makes its tensor anew."""
    steps = [(node, loop) for node, loop in statements if _steps(node, built.name) and loop is not None]
    for node, loop in statements:
        for leaf in built.leaves:
            step = next((step for step, around in steps if around is loop), None)
            if step is None or loop is None or not _makes(analysis, node, leaf) or _inside(loop, built.node):
                continue
            if not any(
                _inside(loop, other) and ast.unparse(other.targets[0]) == built.name for other in _assigns(statements)
            ):
                marks = (("built", analysis.source.place(built.node)), ("step", analysis.source.place(step)))
                place = analysis.source.place(node)
                yield compose("GL806", Side.STATIC, place, marks, what=rebuilt(leaf, built.name))


def _assigns(statements: list[tuple[ast.stmt, _Loop | None]]) -> Iterator[ast.Assign]:
    return (node for node, _ in statements if isinstance(node, ast.Assign))


def _inside(loop: _Loop, node: ast.stmt) -> bool:
    return loop.lineno <= node.lineno <= (loop.end_lineno or loop.lineno)


def _thrown_away(
    analysis: Analysis, statements: list[tuple[ast.stmt, _Loop | None]], built: _Built
) -> Iterator[Diagnostic]:
    """GL805: a turn makes a tensor and its optimizer, steps it once, and nobody reads what came out."""
    loop = next((loop for node, loop in statements if node is built.node), None)
    if loop is None or len(built.leaves) != 1 or built.node not in loop.body:
        return
    leaf = built.leaves[0]
    made = next((node for node in loop.body if _makes(analysis, node, leaf)), None)
    step = next((node for node in loop.body if _steps(node, built.name)), None)
    if made is None or step is None or not made.lineno < built.node.lineno < step.lineno or _reads(made, leaf):
        return
    unread = loop.body[: loop.body.index(made)] + loop.body[loop.body.index(step) + 1 :]
    after = [node for node, _ in statements if node.lineno > (loop.end_lineno or 0)]
    readers = _readers(analysis, leaf.removeprefix("self.")) if leaf.startswith("self.") else frozenset[str]()
    if not any(_hands_on(node, leaf, readers) for node in unread) and not any(_reads(node, leaf) for node in after):
        what = f"`{leaf}` is made anew as well, so that its only step is thrown away"
        marks = (("loop", analysis.source.place(loop)),)
        yield compose(
            "GL805", Side.STATIC, analysis.source.place(built.node.value), marks, subject=built.name, what=what
        )


def _readers(analysis: Analysis, attribute: str) -> frozenset[str]:
    """Return the names of the functions of the file that read an attribute, by way of others too."""
    syntax = analysis.lowering.syntax
    functions = [node for node in walk(analysis.tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    found, size = {attribute}, 0
    while len(found) != size:
        size = len(found)
        found |= {each.name for each in functions if syntax.mentioned(each) & found}
    return frozenset(found - {attribute})


def _reads(node: ast.AST, leaf: str) -> bool:
    return any(
        isinstance(each, (ast.Name, ast.Attribute)) and isinstance(each.ctx, ast.Load) and ast.unparse(each) == leaf
        for each in walk(node)
    )


def _hands_on(node: ast.stmt, leaf: str, readers: frozenset[str]) -> bool:
    """Whether a statement may use the value of a tensor for anything but the tensor itself."""
    if any(isinstance(each, ast.Attribute) and each.attr in readers for each in walk(node)):
        return True
    match node:
        case ast.If(body=body, orelse=orelse):
            return any(_hands_on(each, leaf, readers) for each in (*body, *orelse))
        case ast.Assign([ast.Attribute(owner, "data")]) if ast.unparse(owner) == leaf:
            return False
        case _:
            return _reads(node, leaf)

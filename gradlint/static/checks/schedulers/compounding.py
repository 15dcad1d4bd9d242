"""Learning rates that are computed from themselves by a factor of the step: GL223."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.data import NamedTuple
from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import local_check
from gradlint.static.lowering.values import Function
from gradlint.static.syntax.idioms import counter_of
from gradlint.static.syntax.nodes import own, spelled, walk
from gradlint.static.syntax.reaching import reaching


class _Turn(NamedTuple):
    """What runs once in each turn: a loop, or a function that one calls; and the names that count the turns there."""

    node: ast.AST
    body: list[ast.stmt]
    counters: frozenset[str]


@local_check
def compounds(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL223: in each turn the rate of the last one is multiplied by a factor that depends on the turn."""
    if not analysis.says("['lr']", '["lr"]'):
        return
    given: list[ast.Assign | ast.AugAssign] = [*analysis.nodes(ast.Assign), *analysis.nodes(ast.AugAssign)]
    for scope in dict.fromkeys(map(analysis.scope_of, filter(_sets_rate, given))):
        writes = [node for node in own(scope) if isinstance(node, (ast.Assign, ast.AugAssign)) and _sets_rate(node)]
        for turn in _turns(analysis, scope) if writes else ():
            for node in writes:
                if _always(turn.body, node) and _grows(analysis, scope, turn, node):
                    what = (
                        "this learning rate is computed from the one that was set in the turn before, by a factor that depends on "
                        "the turn: the factors of all turns are multiplied"
                    )
                    remedy = "compute it from the first rate, which is kept in a name of its own"
                    yield compose("GL223", Side.STATIC, analysis.source.place(node), what=what, remedy=remedy)


def _turns(analysis: Analysis, scope: ast.AST) -> Iterator[_Turn]:
    """Yield the loops of a scope that count their turns, and the scope itself where such a loop calls it in each turn."""
    for loop in own(scope):
        if isinstance(loop, (ast.For, ast.While)) and (counters := frozenset(_counters(loop))):
            yield _Turn(loop, loop.body, counters)
    if not isinstance(scope, ast.FunctionDef):
        return
    for call, loop in _calls(analysis, scope):
        names = [arg.arg for arg in (*scope.args.posonlyargs, *scope.args.args)]
        given = dict(zip(names, call.args, strict=False))
        counted = frozenset(name for name, value in given.items() if _names(value) & set(_counters(loop)))
        if counted:
            yield _Turn(scope, scope.body, counted)
            return


def _calls(analysis: Analysis, function: ast.FunctionDef) -> Iterator[tuple[ast.Call, ast.For | ast.While]]:
    """Yield the calls of a function that stand alone in loops, and run in each turn of them."""
    for loop in analysis.nodes(ast.For, ast.While):
        assert isinstance(loop, (ast.For, ast.While))
        for node in loop.body:
            match node:
                case ast.Expr(ast.Call(ast.Name(name)) as call) if name == function.name:
                    yield call, loop


def _sets_rate(node: ast.Assign | ast.AugAssign) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return any(map(_is_rate, targets))


def _is_rate(node: ast.expr) -> bool:
    """Whether an expression is the rate of a parameter group: `group["lr"]`."""
    match node:
        case ast.Subscript(ast.Name(name), ast.Constant("lr")):
            return "group" in name
        case ast.Subscript(ast.Subscript(ast.Attribute(attr="param_groups")), ast.Constant("lr")):
            return True
        case _:
            return False


def _counters(loop: ast.For | ast.While) -> Iterator[str]:
    """Yield the names that count the turns of a loop."""
    if isinstance(loop, ast.For) and (name := counter_of(loop.target, loop.iter)):
        yield name
    for node in walk(loop):
        match node:
            case ast.AugAssign(target, ast.Add(), ast.Constant(1)):
                yield spelled(target)


def _always(body: list[ast.stmt], node: ast.stmt) -> bool:
    """Whether a statement runs in each turn, or in all turns of a span: not only at times."""
    for statement in body:
        if statement is node:
            return True
        if not any(part is node for part in walk(statement)):
            continue
        match statement:
            case ast.If(test, inside, other):
                spans = all(isinstance(part, (ast.Lt, ast.LtE, ast.Gt, ast.GtE)) for part in _comparisons(test))
                return spans and bool(_comparisons(test)) and (_always(inside, node) or _always(other, node))
            case ast.For(iter=source, body=inside):
                return ast.unparse(source).endswith("param_groups") and _always(inside, node)
            case ast.With(body=inside):
                return _always(inside, node)
            case _:
                return False
    return False


def _comparisons(test: ast.expr) -> list[ast.cmpop]:
    return [op for node in walk(test) if isinstance(node, ast.Compare) for op in node.ops]


def _grows(analysis: Analysis, scope: ast.AST, turn: _Turn, node: ast.Assign | ast.AugAssign) -> bool:
    """Whether a rate is the last one times a factor of the turn, and nobody sets it back."""
    restored = [
        each for each in walk(turn.node) if isinstance(each, ast.Assign) and _sets_rate(each) and each is not node
    ]
    if restored or _has_schedule(turn.node):
        return False
    if isinstance(node, ast.AugAssign):
        return isinstance(node.op, (ast.Mult, ast.Div)) and bool(_names(node.value) & turn.counters)
    return _is_product(analysis, scope, turn, _resolved(scope, turn, node.value, node))


def _has_schedule(loop: ast.AST) -> bool:
    return any(
        isinstance(node, ast.Attribute) and node.attr == "step" and "sched" in ast.unparse(node) for node in walk(loop)
    )


def _names(node: ast.AST) -> set[str]:
    return {spelled(part) for part in walk(node) if isinstance(part, (ast.Name, ast.Attribute, ast.Subscript))}


def _resolved(scope: ast.AST, turn: _Turn, value: ast.expr, use: ast.AST) -> ast.expr:
    """Return what a name was given in the same turn, certainly."""
    if not isinstance(value, ast.Name):
        return value
    found, certain = reaching(scope, value, use)
    inside = [each for each in found if any(part is each.statement for part in walk(turn.node))]
    plain = certain and len(found) == len(inside) == 1 and inside[0].value is not None
    return inside[0].value if plain and inside[0].value is not None else value


def _is_product(analysis: Analysis, scope: ast.AST, turn: _Turn, value: ast.expr) -> bool:
    match value:
        case ast.BinOp(left, ast.Mult() | ast.Div(), right):
            sides = [_resolved(scope, turn, side, value) for side in (left, right)]
            last = any(map(_is_rate, sides))
            return (last and bool(_names(value) & turn.counters)) or any(
                _is_product(analysis, scope, turn, side) for side in sides
            )
        case ast.Call(func, args):
            given = [_resolved(scope, turn, arg, value) for arg in args]
            return any(map(_is_rate, given)) and _multiplies(analysis, func, given, turn.counters)
        case _:
            return False


def _multiplies(analysis: Analysis, callee: ast.expr, given: list[ast.expr], counters: frozenset[str]) -> bool:
    """Whether a function of the file returns the rate that it is given times something of the count that it is given."""
    match analysis.value(callee):
        case Function(ast.FunctionDef(args=arguments) as function, receiver=None, args=()):
            names = [arg.arg for arg in (*arguments.posonlyargs, *arguments.args)]
        case _:
            return False
    pairs = list(zip(names, given, strict=False))
    rates = {name for name, value in pairs if _is_rate(value)}
    counts = {name for name, value in pairs if _names(value) & counters}
    returned = (node.value for node in walk(function) if isinstance(node, ast.Return) and node.value is not None)
    products = (part for value in returned for part in walk(value) if isinstance(part, ast.BinOp))
    return any(
        isinstance(part.op, (ast.Mult, ast.Div)) and _names(part) & rates and _names(part) & counts for part in products
    )

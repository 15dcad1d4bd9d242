"""Gradients that a local copy hands to a shared model without clearing its own: GL107."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.data import NamedTuple
from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import local_check
from gradlint.static.syntax.nodes import receiver, walk
from gradlint.static.syntax.questions import FunctionNode

_Loop = ast.For | ast.AsyncFor | ast.While
_GRADS = ("grad", "_grad")


class _Handing(NamedTuple):
    """A place where the gradients of the module `source` become those of `shared`, as the same tensors."""

    node: ast.AST
    source: str
    shared: str


@local_check
def cleared_through_an_alias(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL107: `shared.grad = local.grad`, and only the optimizer of `shared` clears: since torch 2.0 that lets go of its own name only."""
    if "grad = " not in analysis.source.text or "zip(" not in analysis.source.text:
        return
    if not any(True for loop in analysis.nodes(ast.For) for _ in _handing(loop)):
        return
    nodes = walk(analysis.tree)
    functions = [node for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    handings = [handing for function in functions for handing in _handings(function)]
    by_call = {
        function.name: (function, handing)
        for function in functions
        for handing in handings
        if handing.node in walk(function) and {handing.source, handing.shared} <= _parameters(function)
    }
    for node in nodes if by_call else ():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in by_call:
            handings += _at_call(node, *by_call[node.func.id])
    for scope in functions if handings else ():
        for loop in (node for node in walk(scope) if isinstance(node, (ast.For, ast.AsyncFor, ast.While))):
            yield from _judge(analysis, scope, loop, handings)


def _handings(function: FunctionNode) -> Iterator[_Handing]:
    """Yield the loops over two modules' parameters in which one gets the gradients of the other."""
    return (handing for node in walk(function) if isinstance(node, ast.For) for handing in _handing(node))


def _handing(loop: ast.For) -> Iterator[_Handing]:
    match loop:
        case ast.For(
            ast.Tuple([ast.Name() as one, ast.Name() as other]),
            ast.Call(
                ast.Name("zip"),
                [
                    ast.Call(ast.Attribute(ast.Name(first), "parameters")),
                    ast.Call(ast.Attribute(ast.Name(second), "parameters")),
                ],
            ),
        ):
            whole = {one.id: first, other.id: second}
        case _:
            return
    for statement in walk(loop):
        match statement:
            case ast.Assign([ast.Attribute(ast.Name(target), into)], ast.Attribute(ast.Name(source), out)) if (
                into in _GRADS and out in _GRADS and {target, source} == whole.keys()
            ):
                yield _Handing(loop, whole[source], whole[target])
            case _:
                continue


def _parameters(function: FunctionNode) -> set[str]:
    return {arg.arg for arg in function.args.args}


def _at_call(call: ast.Call, function: FunctionNode, handing: _Handing) -> Iterator[_Handing]:
    names = [arg.arg for arg in function.args.args]
    given = {name: arg.id for name, arg in zip(names, call.args, strict=False) if isinstance(arg, ast.Name)}
    given |= {each.arg: each.value.id for each in call.keywords if each.arg and isinstance(each.value, ast.Name)}
    if {handing.source, handing.shared} <= given.keys():
        yield _Handing(call, given[handing.source], given[handing.shared])


def _judge(analysis: Analysis, scope: FunctionNode, loop: _Loop, handings: list[_Handing]) -> Iterator[Diagnostic]:
    inside = list(walk(loop))
    calls = [node for node in inside if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    for handing in handings:
        if handing.node not in inside or handing.node is loop or handing.source == handing.shared:
            continue
        owners = set(_optimizers(scope, handing.shared))
        stepped = {receiver(call) for call in calls if _method(call) == "step"} & owners
        clearings = [call for call in calls if _method(call) == "zero_grad" and not call.keywords and not call.args]
        wrong = [call for call in clearings if receiver(call) in stepped | {handing.shared}]
        ring = any(_method(call) == "backward" for call in calls)
        if ring and stepped and wrong and not _clears(scope, inside, handing):
            marks = (("handed", analysis.source.place(handing.node)),)
            place, other = analysis.source.place(wrong[0]), receiver(wrong[0])
            does = "gives its gradients away, but"
            yield compose("GL107", Side.STATIC, place, marks, subject=handing.source, other=other, does=does)


def _method(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _optimizers(scope: FunctionNode, module: str) -> Iterator[str]:
    """Yield the names of what a function builds with the parameters of a module."""
    for node in walk(scope):
        match node:
            case ast.Assign(
                [ast.Name(name)], ast.Call(args=[ast.Call(ast.Attribute(ast.Name(owner), "parameters")), *_])
            ) if owner == module:
                yield name
            case _:
                continue


def _clears(scope: FunctionNode, inside: list[ast.AST], handing: _Handing) -> bool:
    """Whether somebody may clear the gradients of the module that gives them away, or build it anew."""
    for node in inside:
        match node:
            case ast.Name(name, ast.Store()) if name == handing.source:
                return True
            case ast.Assign([ast.Attribute(attr=attr)], ast.Constant(None)) if attr in _GRADS:
                return True
            case ast.Attribute(ast.Attribute(attr=attr), "zero_") if attr in _GRADS:
                return True
            case ast.Call(args=args) if node is not handing.node:
                if any(isinstance(arg, ast.Name) and arg.id == handing.source for arg in args):
                    return True
            case _:
                continue
    cleared = (node for node in walk(scope) if isinstance(node, ast.Attribute) and node.attr == "zero_grad")
    return any(ast.unparse(node.value) == handing.source for node in cleared) or any(_optimizers(scope, handing.source))

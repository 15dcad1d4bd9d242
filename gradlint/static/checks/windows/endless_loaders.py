"""Loaders that a generator goes through for ever: GL709 where no loop of epochs is in sight.

It knows generators like `while True: yield from loader` by how they are written; it must not know what is done with the batches.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.lowering.values import Function, Kind, Object
from gradlint.static.syntax.nodes import own, walk
from gradlint.static.syntax.questions import FunctionNode


@check
def drawn_for_ever(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL709: `batches = infinite(loader)`, whose generator begins again and tells the sampler nothing."""
    if not analysis.lowering.samplers or analysis.says("set_epoch") or not _trains(analysis):
        return
    for call in analysis.nodes(ast.Call):
        for place, arg in enumerate(call.args):
            loader = analysis.value(arg)
            if not (isinstance(loader, Object) and loader.kind is Kind.LOADER and loader.of):
                continue
            sampler = next((analysis.lowering.samplers.get(uid) for uid in sorted(loader.of)), None)
            callee = analysis.value(call.func)
            if sampler is not None and isinstance(callee, Function) and _begins_again(callee, place):
                marks = (("built", sampler.place),)
                drawn = analysis.source.place(_drawn(analysis, call))
                yield compose("GL709", Side.STATIC, drawn, marks, subject=ast.unparse(arg))


def _drawn(analysis: Analysis, call: ast.Call) -> ast.Call:
    """Return where a batch is taken of what a call returns: the `next` of a loop; the call itself if there is none."""
    scope = analysis.function_in(call.lineno) or analysis.tree
    held = [each.targets for each in walk(scope) if isinstance(each, ast.Assign) and each.value is call]
    spelled = {ast.unparse(target) for targets in held for target in targets}
    loops = (each for each in walk(scope) if isinstance(each, (ast.For, ast.While)))
    calls = (each for loop in loops for each in walk(loop) if isinstance(each, ast.Call))
    return next((each for each in calls if _takes(each, spelled)), call)


def _takes(call: ast.Call, spelled: set[str]) -> bool:
    match call:
        case ast.Call(ast.Name("next"), [taken, *_]):
            return ast.unparse(taken) in spelled
        case _:
            return False


def _trains(analysis: Analysis) -> bool:
    """Whether an optimizer steps in a loop of this file."""
    return any(event.kind is EventKind.STEP and event.loops for found in analysis.events.values() for event in found)


def _begins_again(callee: Function, place: int) -> bool:
    """Whether a generator goes through what it is given again and again, and tells nobody the epoch."""
    node = callee.node
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return False
    args = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args)]
    if callee.receiver is not None or place >= len(args) or any(_tells(each) for each in walk(node)):
        return False
    return any(_goes_through(loop, args[place]) for loop in _endless(node))


def _tells(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in ("set_epoch", "sampler", "batch_sampler")


def _endless(function: FunctionNode) -> Iterator[ast.While]:
    for node in own(function):
        match node:
            case ast.While(ast.Constant(value)) if value:
                yield node
            case _:
                continue


def _goes_through(loop: ast.While, name: str) -> bool:
    """Whether a loop yields, in each of its turns, all of what `name` has."""
    for node in walk(loop):
        match node:
            case ast.For(iter=source) if _is_all_of(source, name):
                if any(isinstance(each, ast.Yield) for each in walk(node)):
                    return True
            case ast.YieldFrom(source) if _is_all_of(source, name):
                return True
            case _:
                continue
    return False


def _is_all_of(source: ast.expr, name: str) -> bool:
    match source:
        case ast.Name(spelled):
            return spelled == name
        case ast.Call(ast.Name("iter" | "enumerate" | "tqdm"), [inner, *_]):
            return _is_all_of(inner, name)
        case _:
            return False

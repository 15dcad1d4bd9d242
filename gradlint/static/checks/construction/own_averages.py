"""Averages of weights by a class of the project that nobody asks for: GL820.

It knows such a class by how its method mixes weights; who calls the method is what lowering has followed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.flow.kinship import overlap
from gradlint.static.flow.tree import Event, Uid
from gradlint.static.lowering.values import Class, Instance
from gradlint.static.syntax.idioms import weights_of
from gradlint.static.syntax.nodes import walk, walk_of
from gradlint.static.syntax.questions import FunctionNode


@check
def never_asked(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL820: a method that mixes weights is in sight, its object beside a loop that trains, and nobody calls it."""
    steps = [event for event in analysis.all_of(EventKind.STEP) if _is_in_a_loop(analysis, event)]
    for uid, cls in analysis.lowering.instances.items() if steps else ():
        mixing = [each for each in _methods(analysis, cls) if _mixes(each)]
        if len(mixing) == 1 and not _is_asked(analysis, uid, mixing[0]):
            step = min(steps, key=lambda each: each.place)
            marks = [("built", analysis.source.place(call)) for call in _made(analysis, uid)]
            if marks:
                name = analysis.named(uid)
                what = f"the average in `{name}`" if analysis.lowering.is_module(cls) else f"`{name}`"
                way = f"call `{name}.{mixing[0].name}(...)`"
                yield compose("GL820", Side.STATIC, step.place, marks[:1], what=what, way=way, step=step.name)
                return


def _is_in_a_loop(analysis: Analysis, event: Event) -> bool:
    """Whether an optimizer of this file steps in a loop that is in sight."""
    loops = (analysis.lowering.loop_nodes.get(number) for number in event.loops)
    own = event.place.filename == analysis.source.filename
    return own and any(isinstance(loop, (ast.For, ast.While)) for loop in loops)


def _methods(analysis: Analysis, cls: Class) -> Iterator[FunctionNode]:
    for ancestor in analysis.lowering.lineage(cls):
        for node in ancestor.node.body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name != "__init__":
                yield node


def _mixes(method: FunctionNode) -> bool:
    """Whether a method writes `d * old + (1 - d) * new` into the weights of a module of its own."""
    return any(map(_pairs, walk_of(method, ast.For))) and any(map(_is_rest, walk(method)))


def _pairs(loop: ast.For) -> bool:
    """Whether a loop takes the weights of two modules together, one of them of the object's own."""
    match loop.iter:
        case ast.Call(ast.Name("zip"), [one, other]):
            owners = [weights_of(one), weights_of(other)]
        case ast.Call(ast.Attribute(attr="items")) as items if any(
            isinstance(each, ast.Subscript) for each in walk(loop)
        ):
            owners = [weights_of(items)]
        case _:
            return False
    return None not in owners and any(ast.unparse(owner).startswith("self.") for owner in owners if owner is not None)


def _is_rest(node: ast.AST) -> bool:
    """Whether an expression is what a weight leaves of one, or a method that takes it by itself."""
    match node:
        case ast.BinOp(ast.Constant(1 | 1.0), ast.Sub()) | ast.Attribute(attr="lerp_"):
            return True
        case _:
            return False


def _is_asked(analysis: Analysis, uid: Uid, method: FunctionNode) -> bool:
    """Whether anybody has called a method, or may: it is named in the file, or somebody unknown got the object."""
    lowering = analysis.lowering
    inside = set(walk(method))
    named = any(each.attr == method.name for each in analysis.nodes(ast.Attribute) if each not in inside)
    return named or method in lowering.reached or any(overlap(uid, gone) for gone in lowering.escaped)


def _made(analysis: Analysis, uid: Uid) -> Iterator[ast.Call]:
    """Yield the calls in this file that build an object."""
    for call in analysis.nodes(ast.Call):
        made = analysis.value(call)
        if isinstance(made, Instance) and made.uid == uid:
            yield call

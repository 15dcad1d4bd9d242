"""The best weights, kept by an object that hands them out when training is over: GL815.

It knows the loop that tells the object of each turn; what keeping is, `snapshots` knows.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.checks.construction.snapshots import Kept, is_made_anew, kept_in
from gradlint.static.lowering.values import UNKNOWN, Class, Instance
from gradlint.static.syntax.nodes import own, own_of, walk
from gradlint.static.syntax.questions import FunctionNode


@check
def best_state_handed_out(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL815: `stopper.best_state()` behind the loop that told the stopper of one and the same module, turn after turn."""
    telling = [name for name in analysis.methods if "best" in name or "state" in name]
    for asking in analysis.nodes(ast.Call) if telling else ():
        callee = asking.func
        if not isinstance(callee, ast.Attribute) or callee.attr not in telling or asking.args or asking.keywords:
            continue
        known = analysis.value(callee.value) if isinstance(callee.value, ast.Name) else UNKNOWN
        name = _handed_out(analysis, known.cls, callee.attr) if isinstance(known, Instance) else ""
        if isinstance(known, Instance) and isinstance(callee.value, ast.Name) and name:
            yield from _kept_for(analysis, known.cls, name, callee.value)


def _handed_out(analysis: Analysis, cls: Class, how: str) -> str:
    """Return the attribute that a method returns as it is ("": there is none)."""
    method = analysis.lowering.method_of(cls, how)
    match method and method.node:
        case ast.FunctionDef(body=[*_, ast.Return(ast.Attribute(ast.Name("self"), name))]):
            return name
        case _:
            return ""


def _kept_for(analysis: Analysis, cls: Class, name: str, owner: ast.Name) -> Iterator[Diagnostic]:
    for ancestor in analysis.lowering.lineage(cls):
        source = analysis.lowering.frames[ancestor.frame].module.source
        for method in (each for each in ancestor.node.body if isinstance(each, FunctionNode)):
            for kept in kept_in(analysis, method):
                mine = ast.unparse(kept.target) == f"self.{name}" and not is_made_anew((*kept.loops, method)[0], kept)
                if mine and _is_told_of_one(analysis, method, kept, owner):
                    module = ast.unparse(kept.module)
                    yield compose("GL815", Side.STATIC, source.place(kept.node), subject=f"self.{name}", module=module)


def _is_told_of_one(analysis: Analysis, method: FunctionNode, kept: Kept, owner: ast.Name) -> bool:
    """Whether a loop that is over when the object is asked has called a method with the same module in every turn."""
    scope = analysis.function_in(owner.lineno) or analysis.tree
    loops = [each for each in own(scope) if isinstance(each, (ast.For, ast.While))]
    return any(
        not given & analysis.lowering.syntax.assigned(loop)
        for loop in loops
        if (loop.end_lineno or 0) < owner.lineno
        for call in own_of(loop, ast.Call)
        for given in _given(call, method, kept, owner.id)
    )


def _given(call: ast.Call, method: FunctionNode, kept: Kept, owner: str) -> Iterator[set[str]]:
    """Yield the names of the object and of the module that it is given, if a call is one of the method that keeps."""
    match call.func:
        case ast.Attribute(ast.Name(name), how) if (name, how) == (owner, method.name):
            pass
        case ast.Name(name) if (name, "__call__") == (owner, method.name):
            pass
        case _:
            return
    parameters = [each.arg for each in method.args.args[1:]]
    given = dict(zip(parameters, call.args, strict=False)) | {
        each.arg: each.value for each in call.keywords if each.arg
    }
    module = given.get(ast.unparse(kept.module))
    if module is not None:
        yield {owner} | {each.id for each in walk(module) if isinstance(each, ast.Name)}

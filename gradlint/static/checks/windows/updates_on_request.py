"""Functions that step only if their caller asks for it: GL705."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.lowering.values import Kind, Object
from gradlint.static.syntax.nodes import called, receiver, walk
from gradlint.static.syntax.questions import FunctionNode


@check
def clipped_anyhow(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL705: gradients are unscaled and clipped in every call, but the scaler steps and updates only if a flag is given."""
    if "unscale_" not in analysis.source.text:
        return
    for function in walk(analysis.tree):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            flags = {arg.arg for arg in (*function.args.args, *function.args.kwonlyargs)}
            for guarded in walk(function):
                match guarded:
                    case ast.If(ast.Name(flag), body) if flag in flags:
                        yield from _anyhow(analysis, function, _calls(body, "step"), set(_nodes(body)))


def _anyhow(
    analysis: Analysis, function: FunctionNode, steps: list[ast.Call], inside: set[ast.AST]
) -> Iterator[Diagnostic]:
    for step in steps:
        scaler = ast.unparse(step.func.value) if isinstance(step.func, ast.Attribute) and step.args else ""
        if not scaler or not _is_scaler(analysis, function, scaler):
            continue
        outside = {name: _outside(function, name, inside) for name in ("backward", "unscale_", "step")}
        unscaled = [call for call in outside["unscale_"] if receiver(call) == scaler and call.lineno < step.lineno]
        clips = [call for call in _outside(function, "", inside) if "clip" in called(call)]
        if unscaled and clips and outside["backward"] and not outside["step"]:
            later = [call for call in clips if call.lineno >= unscaled[0].lineno]
            place, marks = analysis.source.place((later or unscaled)[0]), (("step", analysis.source.place(step)),)
            subject = ast.unparse(step.args[0])
            yield compose(
                "GL705", Side.STATIC, place, marks, clipped=subject, subject=subject, when="under the same condition"
            )


def _is_scaler(analysis: Analysis, function: FunctionNode, spelled: str) -> bool:
    """Whether a function reads a name that is a gradient scaler."""
    return any(
        isinstance(node, (ast.Name, ast.Attribute))
        and ast.unparse(node) == spelled
        and isinstance(value := analysis.lowering.values.get(node), Object)
        and value.kind is Kind.SCALER
        for node in walk(function)
    )


def _nodes(body: list[ast.stmt]) -> Iterator[ast.AST]:
    for statement in body:
        yield from walk(statement)


def _calls(body: list[ast.stmt], name: str) -> list[ast.Call]:
    return [node for node in _nodes(body) if isinstance(node, ast.Call) and name in ("", called(node))]


def _outside(function: FunctionNode, name: str, inside: set[ast.AST]) -> list[ast.Call]:
    return [call for call in _calls(function.body, name) if call not in inside]

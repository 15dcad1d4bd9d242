"""Modules of Lightning that do by themselves what Lightning does, or do not let it: GL713 and GL523."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.lowering.values import Class, Tensor
from gradlint.static.syntax.nodes import own, walk

_MODE = "automatic_optimization"
_ALL = frozenset(["backward", "manual_backward", "step"])


@check
def done_twice(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL713: a training step that is optimized automatically runs backward or steps."""
    if "LightningModule" not in analysis.source.text:
        return
    for value in list(analysis.lowering.store.values()):
        if isinstance(value, Class) and not analysis.lowering.is_foreign(value) and _automatic(analysis, value):
            for method in value.node.body:
                if isinstance(method, ast.FunctionDef) and method.name == "training_step":
                    yield from _in_step(analysis, method)


@check
def returned_nothing(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL523: a training step that computes a loss and returns nothing, for Lightning to train on."""
    if "LightningModule" not in analysis.source.text:
        return
    for value in list(analysis.lowering.store.values()):
        if isinstance(value, Class) and not analysis.lowering.is_foreign(value) and _automatic(analysis, value):
            for method in value.node.body:
                if isinstance(method, ast.FunctionDef) and method.name == "training_step" and not _gives(method):
                    yield from _computed_in_vain(analysis, method)


def _gives(step: ast.FunctionDef) -> bool:
    """Whether a step returns something, does all by itself, or is none: what is to be overridden, or a generator."""
    nodes = list(own(step))
    calls = (each.func.attr for each in nodes if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute))
    return (
        not _ALL.isdisjoint(calls)
        or any(isinstance(each, (ast.Yield, ast.YieldFrom, ast.Raise)) for each in nodes)
        or any(isinstance(each, ast.Return) and each.value is not None for each in nodes)
    )


def _computed_in_vain(analysis: Analysis, step: ast.FunctionDef) -> Iterator[Diagnostic]:
    losses = [each for each in own(step) if isinstance(each, ast.Assign) and _is_loss(analysis, each)]
    for last in losses[-1:]:
        name = ast.unparse(last.targets[0])
        what = f"`{name}` is computed, but `training_step` returns nothing: Lightning skips every batch, and nothing is trained"
        yield compose(
            "GL523", Side.STATIC, analysis.source.place(last), what=what, remedy=f"return it: `return {name}`"
        )


def _is_loss(analysis: Analysis, node: ast.Assign) -> bool:
    known = analysis.value(node.value)
    return isinstance(known, Tensor) and bool(known.nodes) and isinstance(node.targets[0], ast.Name)


def _automatic(analysis: Analysis, cls: Class) -> bool:
    """Whether a class is a module of Lightning, all of it in sight, that never speaks of its mode."""
    lineage = list(analysis.lowering.lineage(cls))
    bases = [base for each in lineage for base in analysis.lowering.bases(each)]
    others = [base for base in bases if not isinstance(base, Class)]
    silent = all(_MODE not in ast.unparse(each.node) for each in lineage)
    return bool(others) and all(map(analysis.lowering.is_lightning_base, others)) and silent


def _in_step(analysis: Analysis, step: ast.FunctionDef) -> Iterator[Diagnostic]:
    nodes = list(walk(step))
    returned = {ast.unparse(node.value) for node in nodes if isinstance(node, ast.Return) and node.value is not None}
    optimizers = {name for node in nodes for name in _optimizers(node)}
    for node in nodes:
        match node:
            case ast.Call(ast.Attribute(ast.Name("self"), "manual_backward")):
                what = "`manual_backward` raises MisconfigurationException in this mode"
            case ast.Call(ast.Attribute(ast.Name(loss), "backward"), args=[]) if loss in returned:
                what = f"`{loss}` is returned, and its graph is gone when Lightning runs backward: RuntimeError"
            case ast.Call(ast.Attribute(ast.Name(name), "step")) if name in optimizers:
                what = f"`{name}` steps twice for each batch"
            case _:
                continue
        assert isinstance(node, ast.Call)
        subject = ast.unparse(node.func)
        yield compose("GL713", Side.STATIC, analysis.source.place(node), subject=subject, what=what)


def _optimizers(node: ast.AST) -> Iterator[str]:
    """Yield the names that get what `self.optimizers()` returns."""
    match node:
        case ast.Assign([target], ast.Call(ast.Attribute(ast.Name("self"), "optimizers"))):
            yield from (part.id for part in walk(target) if isinstance(part, ast.Name))

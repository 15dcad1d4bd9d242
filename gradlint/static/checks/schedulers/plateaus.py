"""ReduceLROnPlateau, which needs the value that it watches: GL205."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check, in_tests
from gradlint.static.facts.schedules import SCHEDULES
from gradlint.static.lowering.values import Library, Object
from gradlint.static.syntax.nodes import walk, walk_of
from gradlint.static.syntax.questions import FunctionNode


@check
@in_tests
def plateau_without_metric(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL205: ReduceLROnPlateau.step() needs the value that it watches."""
    for node, scheduler in analysis.lowering.schedules:
        if node.args or node.keywords:
            continue
        certain = scheduler.origin.endswith(".ReduceLROnPlateau") and not _is_for_another_kind(analysis, node)
        if certain or _may_be_plateau(analysis, scheduler, node):
            assert isinstance(node.func, ast.Attribute)
            place, when = analysis.source.place(node), "" if certain else ", where an option chooses it,"
            yield compose("GL205", Side.STATIC, place, subject=ast.unparse(node.func.value), when=when)


def _may_be_plateau(analysis: Analysis, scheduler: Object, step: ast.Call) -> bool:
    """Whether an option chose a scheduler, perhaps one of these, and nothing is asked where it is stepped."""
    made = [analysis.value(call.node.func) for call in scheduler.calls]
    plateaus = [isinstance(each, Library) and each.name.endswith(".ReduceLROnPlateau") for each in made]
    if not any(plateaus) or all(plateaus):
        return False
    function = analysis.function_in(step.lineno)
    around = function if isinstance(function, FunctionNode) else analysis.tree
    if not any(part is step for part in walk(around)):
        return False  # It stands in another file.
    asked = any(part is step for each in walk_of(around, ast.If) for part in walk(each))
    return not asked and not any(_steps_with_value(each, step) for each in analysis.nodes(ast.Call))


def _is_for_another_kind(analysis: Analysis, step: ast.Call) -> bool:
    """Whether a condition on the kind of scheduler decides between this step and one that gets a value."""
    return any(
        SCHEDULES.search(ast.unparse(branch.test))
        and any(step in nodes for nodes in sides)
        and any(_steps_with_value(node, step) for nodes in sides if step not in nodes for node in nodes)
        for branch in _branches(analysis)
        if (sides := [[node for each in body for node in walk(each)] for body in (branch.body, branch.orelse)])
    )


def _branches(analysis: Analysis) -> Iterator[ast.If]:
    """Yield the conditions of the file, and of the functions of other files that were followed."""
    yield from analysis.nodes(ast.If)
    for function in analysis.lowering.foreign:
        yield from (node for node in walk(function) if isinstance(node, ast.If))


def _steps_with_value(node: ast.AST, step: ast.Call) -> bool:
    return isinstance(node, ast.Call) and bool(node.args) and ast.unparse(node.func) == ast.unparse(step.func)

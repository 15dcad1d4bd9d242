"""Moving averages of weights that nobody updates, or that training goes on with: GL820 and GL821.

It knows who makes such averages by the models' words; it must not know how they are computed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.data import NamedTuple
from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.flow.tree import Event
from gradlint.static.lowering.values import Library
from gradlint.static.sources.library import words
from gradlint.static.syntax.nodes import called, own, walk, walk_of
from gradlint.static.syntax.questions import FunctionNode

_Scope = ast.Module | FunctionNode
_KEEPS = frozenset(["register_for_checkpointing", "prepare", "save", "print", "isinstance", "update_bn"])
"""Whoever gets an average in a call of one of these does not update it."""


class _Average(NamedTuple):
    """A name of a function that stands for an average: where it is made, and the methods that are called through it."""

    name: str
    made: ast.Assign
    calls: tuple[ast.Call, ...]

    def called(self, method: str) -> list[ast.Call]:
        return [each for each in self.calls if isinstance(each.func, ast.Attribute) and each.func.attr == method]


@check
def averages(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL820 and GL821: an average that is built beside a training loop and never updated, or that is left in the model."""
    if not any(maker.rpartition(".")[2] in analysis.source.text for maker in words("average", "makers")):
        return
    made = (node for node in analysis.nodes(ast.Assign) if _makes(analysis, node.value))
    for scope in dict.fromkeys(map(analysis.scope_of, made)):
        for average in _averages(analysis, scope):
            steps = [event for found in analysis.events.values() for event in found if _steps_in(event, scope)]
            if steps:
                yield from _never_updated(analysis, average, min(steps, key=lambda each: each.place))
                yield from _not_restored(analysis, average, steps)


def _steps_in(event: Event, scope: _Scope) -> bool:
    rows = range(scope.lineno, (scope.end_lineno or 0) + 1) if not isinstance(scope, ast.Module) else None
    return event.kind is EventKind.STEP and bool(event.loops) and (rows is None or event.place.row in rows)


def _averages(analysis: Analysis, scope: _Scope) -> Iterator[_Average]:
    made = {
        node.targets[0].id: node
        for node in own(scope)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and _makes(analysis, node.value)
    }
    for name, node in made.items():
        calls = _calls_through(scope, name)
        if calls is not None:
            yield _Average(name, node, tuple(calls))


def _makes(analysis: Analysis, node: ast.expr) -> bool:
    if not isinstance(node, ast.Call):
        return False
    callee = analysis.value(node.func)
    return isinstance(callee, Library) and callee.name in words("average", "makers")


def _calls_through(scope: ast.AST, name: str) -> list[ast.Call] | None:
    """Return the calls of methods through a name; None where somebody else may get what it stands for."""
    calls = [call for call in walk_of(scope, ast.Call) if _is_through(call.func, name)]
    harmless: set[ast.AST] = {node.value for node in walk_of(scope, ast.Attribute)}
    for call in walk_of(scope, ast.Call):
        harmless.add(call.func)
        if called(call) in _KEEPS and not _is_through(call.func, name):
            harmless.update(call.args)
    harmless.update(node.left for node in walk_of(scope, ast.Compare))
    harmless.update(node.test for node in walk_of(scope, ast.If))
    harmless.update(node.test for node in walk_of(scope, ast.IfExp))
    reads = (each for each in walk_of(scope, ast.Name) if each.id == name and isinstance(each.ctx, ast.Load))
    return calls if harmless.issuperset(reads) else None


def _is_through(callee: ast.expr, name: str) -> bool:
    """Whether what is called is a method of what a name stands for."""
    return isinstance(callee, ast.Attribute) and isinstance(callee.value, ast.Name) and callee.value.id == name


def _never_updated(analysis: Analysis, average: _Average, step: Event) -> Iterator[Diagnostic]:
    methods = {each.func.attr for each in average.calls if isinstance(each.func, ast.Attribute)}
    if not methods - words("average", "neutral"):
        marks = (("built", analysis.source.place(average.made)),)
        what, way = f"`{average.name}`", f"update `{average.name}`"
        yield compose("GL820", Side.STATIC, step.place, marks, what=what, way=way, step=step.name)


def _not_restored(analysis: Analysis, average: _Average, steps: list[Event]) -> Iterator[Diagnostic]:
    """GL821: a loop that trains stores the model's own weights, puts the average in their place, and never back."""
    training = {number for step in steps for number in step.loops}
    for number in sorted(training) if not average.called("restore") else ():
        loop = analysis.lowering.loop_nodes.get(number)
        inside = set(walk(loop)) if loop is not None else set()
        stored = [each for each in average.called("store") if each in inside]
        copied = [each for each in average.called("copy_to") if each in inside]
        if stored and copied:
            marks = (("stored", analysis.source.place(stored[0])),)
            yield compose("GL821", Side.STATIC, analysis.source.place(copied[0]), marks, subject=average.name)
            return

"""Conditions of windows in which `%` binds more strongly than what is meant: GL703."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.data import NamedTuple
from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import local_check
from gradlint.static.flow.tree import Event
from gradlint.static.syntax.nodes import walk

_OF_WINDOWS = frozenset([EventKind.STEP, EventKind.ZERO, EventKind.SCHEDULE])


class _Condition(NamedTuple):
    """A condition such as `i + 1 % n == 0`, the remainder that it asks for, and what is meant."""

    node: ast.expr
    asked: str
    meant: str


@local_check
def bound_wrongly(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL703: `i + 1 % n == 0` asks for the remainder of 1."""
    conditions = list(_conditions(analysis)) if analysis.says("%") else []
    flags = {
        target.id: each
        for each in conditions
        for node in analysis.nodes(ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and any(part is each.node for part in walk(node.value))
    }
    for node in analysis.nodes(ast.If) if conditions else ():
        parts = walk(node.test)
        found = [each for each in conditions if any(part is each.node for part in parts)]
        found += [flags[part.id] for part in parts if isinstance(part, ast.Name) and part.id in flags]
        held = _held(analysis, node) if found else None
        if held is not None:
            what = (
                f"`%` binds more strongly than `+` and `-`: `{ast.unparse(found[0].node)}` asks for `{found[0].asked}`, which is the "
                f"same in each turn, so that this is true once at most, and `{held.name}` waits for it"
            )
            place, remedy = analysis.source.place(found[0].node), f"write `{found[0].meant}`"
            yield compose("GL703", Side.STATIC, place, what=what, remedy=remedy)


def _conditions(analysis: Analysis) -> Iterator[_Condition]:
    for node in analysis.nodes(ast.Compare):
        match node:
            case ast.Compare(
                ast.BinOp(
                    (ast.Name() | ast.Attribute() | ast.Subscript()) as counter,
                    (ast.Add() | ast.Sub()) as op,
                    ast.BinOp(ast.Constant() as first, ast.Mod(), length) as asked,
                ),
                [ast.Eq()],
                [ast.Constant(0)],
            ):
                sign, by = "+" if isinstance(op, ast.Add) else "-", ast.unparse(length)
                meant = f"({ast.unparse(counter)} {sign} {ast.unparse(first)}) % {by} == 0"
                yield _Condition(node, ast.unparse(asked), meant)


def _held(analysis: Analysis, node: ast.If) -> Event | None:
    """Return a step, or what belongs to it, that a condition lets by in a loop."""
    first, last = node.body[0].lineno, node.body[-1].end_lineno or 0
    for found in analysis.events.values():
        for event in found:
            inside = first <= event.place.row <= last and event.place.filename == analysis.source.filename
            if inside and event.kind in _OF_WINDOWS and event.loops and event.name:
                return event
    return None

"""One loss from which two backward passes run: GL503 where the module behind it is not in sight.

Of such a module nobody knows what it saves; but what has run backward once from a loss cannot do so again. It knows pairs of
passes from the very same value; it must not know what else shares a graph (`graphs`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Location, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.protocols import GRAPH
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check, in_tests
from gradlint.static.flow.following import breaches
from gradlint.static.flow.roots import Root
from gradlint.static.flow.tree import Effect, Event, GraphNode
from gradlint.static.syntax.nodes import walk
from gradlint.wordings.graphs import ONCE

_CALLED = regex(r"(\w+)\(")
_OF_A_LOSS = frozenset(["scale", "mean", "sum"])
"""What is called of a loss that was computed before; whatever else is called makes another loss each time."""


@in_tests
@check
def run_twice(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL503: `loss.backward()` for one optimizer, and `loss.backward()` of the same loss for the next one."""
    for root in analysis.roots:
        passes = [event for event in root.of(EventKind.BACKWARD) if event.name]
        for name in sorted({event.name for event in passes if _OF_A_LOSS.issuperset(_CALLED.findall(event.name))}):
            mine = [event for event in passes if event.name == name]
            shared = frozenset[GraphNode].intersection(*(event.nodes for event in mine))
            if len(dict.fromkeys(mine)) > 1 and shared and not any(node.sure or node.age for node in shared):
                yield from _freed(analysis, root, mine, min(shared, key=lambda node: node.place))


def _freed(analysis: Analysis, root: Root, passes: list[Event], node: GraphNode) -> Iterator[Diagnostic]:
    for event, states in breaches(root.tree, GRAPH, _by(passes, node)).items():
        if {state.name for state in states} != {"freed"} or "retain" in event.roles:
            continue
        marks = min(state.marks for state in states)
        first = dict(marks)["freed"]
        if first < event.place and not _is_assigned(analysis, event, first):
            yield compose("GL503", Side.STATIC, event.place, marks, through="", remedy=ONCE)
            return


def _by(passes: list[Event], node: GraphNode) -> Effect:
    """Return what events mean to a graph, of all passes only those from one loss; what a module returns may be a part of it."""
    mine = frozenset(passes)

    def effect(event: Event) -> EventKind | None:
        match event.kind:
            case EventKind.FORWARD if event.place == node.place:
                return EventKind.FORWARD
            case EventKind.BACKWARD if event in mine:
                return EventKind.RETAIN if "retain" in event.roles else EventKind.BACKWARD
            case EventKind.RETAIN if node in event.nodes:
                return EventKind.ESCAPE
            case _:
                return None

    return effect


def _is_assigned(analysis: Analysis, event: Event, first: Location) -> bool:
    """Whether the loss is somebody else between two passes, or the passes are not of one function."""
    if {first.filename, event.place.filename} != {analysis.source.filename}:
        return True
    scope = analysis.function_in(event.place.row)
    if scope is not analysis.function_in(first.row):
        return True
    stored = (
        node
        for node in walk(scope or analysis.tree)
        if isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Store)
    )
    return any(first.row <= node.lineno <= event.place.row and ast.unparse(node) == event.name for node in stored)

"""Graphs used twice: GL503, GL504 and GL506."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.protocols import GRAPH
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check, in_tests
from gradlint.static.flow.following import breaches
from gradlint.static.flow.roots import Root
from gradlint.static.flow.trained import of_graphs, on_graph
from gradlint.static.flow.tree import Event, GraphNode
from gradlint.wordings.graphs import CUT_WHATEVER, TOGETHER


@check
@in_tests
def used_twice(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL503, GL504 and GL506: a backward through a graph that another one has freed."""
    for root in analysis.roots:
        found = analysis.events[root]
        backwards = [event for event in root.of(EventKind.BACKWARD) if event.nodes]
        carried = list(_carried(analysis, found, backwards))
        yield from carried
        if carried:
            continue
        for node in sorted(
            {node for event in backwards for node in event.nodes if not node.age}, key=lambda each: each.place
        ):
            if node.sure and is_trained(analysis, node):
                yield from _freed(root, node, found)


def is_trained(analysis: Analysis, node: GraphNode) -> bool:
    """Whether a graph part has gradients: a module of torch or of this file has, unless somebody may have frozen it."""
    lowering = analysis.lowering
    if analysis.kin(lowering.frozen).overlapping(node.module):
        return False
    made_here = node.module in lowering.objects or node.module in lowering.instances
    if node.sure and made_here and not analysis.kin(lowering.escaped).overlapping(node.module):
        return True
    return bool(analysis.trained.overlapping(node.module))


def _freed(root: Root, node: GraphNode, found: list[Event]) -> Iterator[Diagnostic]:
    arrivals = breaches(root.near((node.module,), of_graphs), GRAPH, on_graph(node))
    built = [event for event in found if event.kind is EventKind.FORWARD and node in event.nodes] if arrivals else []
    for event, states in arrivals.items():
        freed = next((state for state in states if GRAPH.broken_by(state, event.kind) is not None), None)
        if event.kind is not EventKind.BACKWARD or freed is None or "retain" in event.roles:
            continue
        again = freed.mark("freed") == event.place
        inside = any(forward.is_in(event.loops) for forward in built)
        if {state.name for state in states} == {"freed"} and inside and not again:
            yield compose("GL503", Side.STATIC, event.place, freed.marks, through="", remedy=TOGETHER)
        elif again and not inside and {state.name for state in states} <= {"live", "freed"}:
            yield compose("GL504", Side.STATIC, event.place, freed.marks, built="", where="the loop", turn="iteration")


def _carried(analysis: Analysis, found: list[Event], backwards: list[Event]) -> Iterator[Diagnostic]:
    """A backward that reaches both this iteration's graph part and the last one's has freed the last one."""
    for event in backwards:
        if "retain" in event.roles or "partial" in event.roles:
            continue
        for node in event.nodes:
            if node.age and node.sure and replace(node, age=0) in event.nodes and is_trained(analysis, node):
                marks = (("made", node.place), ("freed", event.place))
                name = analysis.lowering.carriers.get(replace(node, age=0), "the state")
                yield compose(
                    "GL506",
                    Side.STATIC,
                    event.place,
                    marks,
                    subject=f"`{name}`",
                    remedy=CUT_WHATEVER.format(subject=name),
                    earlier="the last",
                    ago="one iteration ago",
                )
                break

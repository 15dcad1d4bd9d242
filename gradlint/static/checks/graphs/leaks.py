"""Gradients that one model's loss leaves in another one: GL509."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Severity, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.checks.graphs.graphs import is_trained
from gradlint.static.facts.bearing import owners_of_all
from gradlint.static.flow.following import breaches
from gradlint.static.flow.protocols import CROSSED, LEAK
from gradlint.static.flow.roots import Root
from gradlint.static.flow.trained import on_crossed, on_leak
from gradlint.static.flow.tree import Event, GraphNode, Uid


@check
def generator_not_detached(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL509: the loss of a model runs backward into another one, whose gradients are thrown away or mixed up."""
    for root in analysis.roots:
        asked: set[tuple[GraphNode, frozenset[Uid]]] = set()
        for event in root.of(EventKind.BACKWARD):
            if event.loops and "partial" not in event.roles:
                asked |= set(_passed_through(analysis, event))
        for node, others in sorted(asked, key=lambda each: (each[0].place, sorted(each[1]))):
            yield from _leaked(analysis, root, node, others)
            yield from _crossed(analysis, root, node, others)


def _passed_through(analysis: Analysis, event: Event) -> Iterator[tuple[GraphNode, frozenset[Uid]]]:
    """Yield the parts that a backward runs through on its way, with the optimizers of what was computed from them."""
    known = [node for node in event.nodes if node.sure and not node.age]
    owners = {node: owners_of_all(analysis, node.module) for node in known}
    for node in known:
        after = [
            other for other in known if node in analysis.lowering.fed[other.place] and not owners[other] & owners[node]
        ]
        others = frozenset(uid for other in after for uid in owners[other])
        if owners[node] and others and is_trained(analysis, node):
            yield node, others


def _leaked(analysis: Analysis, root: Root, node: GraphNode, others: frozenset[Uid]) -> Iterator[Diagnostic]:
    effect = on_leak(node, owners_of_all(analysis, node.module), others)
    name = analysis.named(node.module)
    for event, states in breaches(root.bare, LEAK, effect).items():
        kind = effect(event)
        broken = [each for each in states if kind and LEAK.broken_by(each, kind) is not None]
        certain = {state.name for state in states} <= {"reached", "passed", "mixed", "unbuilt"}
        place = broken[0].mark("reached") if broken and certain else None
        if place is None:
            continue
        marks = [("made", node.place), ("cleared" if event.kind is EventKind.ZERO else "step", event.place)]
        if event.kind is EventKind.ZERO:
            what = "are computed and thrown away"
            found = compose("GL509", Side.STATIC, place, marks, subject=name, what=what)
            yield replace(found, severity=Severity.INFO)
        elif {state.name for state in states} == {"mixed"}:
            yield compose(
                "GL509", Side.STATIC, place, marks, subject=name, what="are left there and used by its next step"
            )


def _crossed(analysis: Analysis, root: Root, node: GraphNode, others: frozenset[Uid]) -> Iterator[Diagnostic]:
    """Yield the backward pass of the others' loss into a model that steps afterwards on both losses."""
    own = owners_of_all(analysis, node.module)
    effect = on_crossed(node, own, others)
    for event, states in breaches(root.tree, CROSSED, effect).items():
        place = next((place for state in states if (place := state.mark("reached")) is not None), None)
        if {state.name for state in states} != {"mixed"} or effect(event) is not EventKind.STEP or place is None:
            continue
        steps = (each for each in root.of(EventKind.STEP) if each.is_in(event.loops))
        if any((each.targets or frozenset()) & others for each in steps):
            marks = [("made", node.place), ("step", event.place)]
            name, what = analysis.named(node.module), "are added to those of its own loss and used by its step"
            yield compose("GL509", Side.STATIC, place, marks, subject=name, what=what)

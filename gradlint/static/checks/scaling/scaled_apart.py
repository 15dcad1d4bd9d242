"""Gradients that one function scales and another one clips and steps: GL601.

It knows events and what a scaler is; it must not know who calls.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.flow.following import follow_to
from gradlint.static.flow.glance import breaking
from gradlint.static.flow.protocols import APART
from gradlint.static.flow.roots import Root
from gradlint.static.flow.subjects import on_scaling
from gradlint.static.flow.tree import Event
from gradlint.static.lowering.values import Kind
from gradlint.static.syntax.nodes import walk

_STEPS = (EventKind.STEP, EventKind.OTHER_STEP)


@check
def clipped_apart(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL601: what a scaler is about to step is clipped, and nobody but methods of other classes knows of `unscale_`."""
    if not analysis.says("step"):
        return
    for root in analysis.roots:
        clipped = root.of(EventKind.CLIP) and not root.of(EventKind.BACKWARD)
        if clipped and not _unscales(analysis, root):
            yield from _clipped(analysis, root, root.events)


def _unscales(analysis: Analysis, root: Root) -> bool:
    """Whether the class of a method, or anything outside of classes, mentions `unscale_`: what other classes do is theirs."""
    if "unscale" not in analysis.source.text:
        return False
    classes = [node for node in analysis.nodes(ast.ClassDef) if root.node not in node.body]
    mine = [node for node in analysis.nodes(ast.ClassDef) if root.node in node.body]
    others = {part for cls in classes for part in walk(cls)}
    mentions = [node for node in analysis.nodes(ast.Attribute) if node.attr.startswith("unscale")]
    related = any(ast.unparse(base) in {cls.name for cls in classes} for each in mine for base in each.bases)
    return not mine or related or not mentions or not all(node in others for node in mentions)


def _clipped(analysis: Analysis, root: Root, found: list[Event]) -> Iterator[Diagnostic]:
    bounded = {event.place for event in found if event.kind is EventKind.CLIP and "scaled-bound" not in event.roles}
    for scaler in analysis.objects(Kind.SCALER):
        steps = [event for event in found if event.kind in _STEPS and scaler.uid in event.scalers]
        stepped = {uid: event.name for event in steps for uid in event.targets or ()}
        for optimizer, name in stepped.items() if scaler.uid not in analysis.lowering.disabled else ():
            effect = on_scaling(scaler, optimizer, analysis.lowering.objects)
            arrivals = follow_to(root.bare, APART, effect, breaking(APART))
            states = {state for event in steps for state in arrivals.get(event, ()) if state.name == "clipped"}
            places = {place for state in states if (place := state.mark("clipped")) in bounded and place is not None}
            for place in sorted(places):
                spelled = scaler.uid[-1].partition("#")[0]
                yield compose("GL601", Side.STATIC, place, scaler=spelled, subject=name)

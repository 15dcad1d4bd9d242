"""Data parallel training whose gradients are not averaged: GL710."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.flow.kinship import overlap
from gradlint.static.flow.roots import Root
from gradlint.static.flow.tree import Event, Uid

_BY_HAND = ("all_reduce", "broadcast", "average", "comm_hook", "reduce_scatter", "allreduce")
"""Words of a file that lets the ranks agree by itself."""

_WRAPPED = regex(r".*\bunwrap_model\(([^),]*).*", re.DOTALL)


@check
def bypassed(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL710: steps on gradients that went past the wrapper which averages them, or under `no_sync()`."""
    if analysis.says(*_BY_HAND):
        return
    for root in analysis.roots:
        steps = dict.fromkeys(root.of(EventKind.STEP))
        backwards = {loops: _backwards(analysis, root, loops) for loops in {step.loops for step in steps}}
        for step in steps:
            yield from _past_the_wrapper(analysis, step, backwards[step.loops])
            yield from _unsynced(step, backwards[step.loops])


def _backwards(analysis: Analysis, root: Root, loops: tuple[int, ...]) -> list[Event]:
    """Return the backward passes inside of some loops."""
    return [event for event in analysis.ring(root, loops) if event.kind is EventKind.BACKWARD]


def _past_the_wrapper(analysis: Analysis, step: Event, passes: list[Event]) -> Iterator[Diagnostic]:
    lowering = analysis.lowering
    for module in sorted(_trained(analysis, step) & (lowering.parallel | lowering.prepared.keys())):
        nodes = {node for event in passes for node in event.nodes if overlap(node.module, module)}
        past = sorted(node.place for node in nodes if node.place in lowering.bypassed)
        known = all(event.nodes for event in passes)
        if past and known and len(past) == len({node.place for node in nodes}):
            name = lowering.bypassed[past[0]]
            wrapper = _WRAPPED.sub(r"\1", name.partition(".module")[0])
            what = f"`{name}(...)` runs it past its wrapper, so that no gradient is averaged"
            remedy = f"call the wrapper itself: `{wrapper}(...)`"
            marks = (("forward", past[0]),)
            yield compose("GL710", Side.STATIC, step.place, marks, subject=wrapper, what=what, remedy=remedy)


def _trained(analysis: Analysis, step: Event) -> set[Uid]:
    objects = analysis.lowering.objects
    return {module for uid in step.targets or () if uid in objects for module in objects[uid].of or ()}


def _unsynced(step: Event, passes: list[Event]) -> Iterator[Diagnostic]:
    if passes and all("no-sync" in event.roles for event in passes):
        what = f"all backward passes in front of `{step.name}.step()` run inside `no_sync()`, where no gradient is averaged"
        remedy = "leave `no_sync()` before the last forward and backward pass in front of each step"
        marks = (("backward", passes[0].place),)
        yield compose("GL710", Side.STATIC, step.place, marks, subject="the model", what=what, remedy=remedy)

"""Optimizers that hold what sharding has replaced: GL711."""

from __future__ import annotations

from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.flow.following import follow_to
from gradlint.static.flow.glance import breaking
from gradlint.static.flow.protocols import SHARDING
from gradlint.static.flow.subjects import on_sharded
from gradlint.static.lowering.values import Kind


@check
def sharded_later(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL711: a model is sharded when its optimizer is built already."""
    for root in analysis.roots:
        sharded = {event.place: event for event in root.of(EventKind.SHARD)}
        for optimizer in analysis.objects(Kind.OPTIMIZER) if sharded else ():
            if not optimizer.of or not optimizer.calls:
                continue
            arrivals = follow_to(root.bare, SHARDING, on_sharded(optimizer), breaking(SHARDING))
            for step, states in arrivals.items():
                stale = {state.mark("sharded") for state in states if state.name == "stale"}
                known = step.kind is EventKind.STEP and all(state.name != "unknown" for state in states)
                for place in sorted(place for place in stale if place is not None and known):
                    marks = (("built", optimizer.place), ("step", step.place))
                    names = step.name, sharded[place].name
                    yield compose("GL711", Side.STATIC, place, marks, subject=names[0], sharding=names[1])

"""A plain backward pass for an optimizer that Accelerate steps in mixed precision: GL714.

It knows accelerators and who was prepared by them; windows of several batches are another check's (`accelerate`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Severity, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.facts.prepared import ACCELERATORS
from gradlint.static.flow.tree import Event, Uid
from gradlint.static.lowering.values import Const, Kind, Object, Value

_PRECISION = ("mixed_precision", "fp16")
_OFF = (Const("no"), Const(None), Const(False), Const("bf16"))


@check
def past_the_accelerator(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL714: gradients that the accelerator's scaler never scaled are divided by its scale in the prepared step."""
    found = [made for made in analysis.objects(Kind.ENGINE) if made.origin in ACCELERATORS]
    owners = {made.uid for made in found if not any(value in _OFF for value in _told(made))}
    told = {made.uid for made in found if _told(made)}
    for root in analysis.roots if owners else ():
        for finding, owner in _plain(analysis, analysis.events[root], owners):
            # Where nobody is told, whoever launches the program chooses.
            yield finding if owner in told else replace(finding, severity=Severity.INFO)


def _told(accelerator: Object) -> list[Value]:
    """Return what an accelerator is told of the precision."""
    return [call.named[name] for call in accelerator.calls for name in _PRECISION if name in call.named]


def _plain(analysis: Analysis, found: list[Event], owners: set[Uid]) -> Iterator[tuple[Diagnostic, Uid]]:
    for step in dict.fromkeys(event for event in found if event.kind is EventKind.STEP and event.loops):
        by = {analysis.lowering.prepared.get(uid) for uid in step.targets or ()}
        owner = by.pop() if len(by) == 1 else None
        if step.scalers or owner is None or owner not in owners:
            continue
        descents = [each for each in found if each.kind is EventKind.BACKWARD and each.is_in(step.loops)]
        passed = [each for each in descents if not each.roles & {"by-framework", "engine"} and not each.scalers]
        if passed and passed == descents:
            backward = passed[0]
            what = f"`{backward.name}.backward()` passes the accelerator by: in mixed precision it is not scaled, and the prepared "
            what += f"`{step.name}.step()` divides its gradients by the scale all the same"
            remedy = f"call `accelerator.backward({backward.name})`"
            marks = [("step", step.place)]
            yield compose("GL714", Side.STATIC, backward.place, marks, what=what, remedy=remedy), owner
            return

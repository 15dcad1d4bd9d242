"""Optimizers that were given another one's parameters in the place of those of the loss behind which they step: GL801."""

from __future__ import annotations

from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.flow.tree import Event, Uid
from gradlint.static.lowering.frames import PRESENT
from gradlint.static.lowering.values import Kind, Object


@check
def misgiven(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL801: two optimizers have the same parameters, and one of them steps behind the loss of a module that has no optimizer."""
    optimizers = list(analysis.objects(Kind.OPTIMIZER))
    if len({each.of for each in optimizers}) == len(optimizers) or not all(each.of for each in optimizers):
        return
    for optimizer in optimizers:
        others = [each for each in optimizers if each is not optimizer and each.of == optimizer.of]
        behind = [*_behind(analysis, optimizer)] if others else []
        meant = {node.module for event in behind for node in event.nodes}
        if behind and len(meant) == 1 and all(_is_forgotten(analysis, uid) for uid in meant):
            own, other = analysis.named(optimizer.uid), analysis.named(others[0].uid)
            what = f"`{own}` steps behind its loss, but was given the parameters that `{other}` has"
            marks = (("backward", behind[0].place), ("twin", others[0].place))
            subject = analysis.named(min(meant))
            yield compose("GL801", Side.STATIC, optimizer.place, marks, subject=subject, what=what)


def _behind(analysis: Analysis, optimizer: Object) -> Iterator[Event]:
    """Yield the backward passes behind which an optimizer steps, each the last one in the same turn of the same loop."""
    for found in analysis.events.values():
        last: Event | None = None
        for event in found:
            if event.kind is EventKind.BACKWARD:
                last = event
            steps = event.kind is EventKind.STEP and optimizer.uid in (event.targets or ())
            if steps and last is not None and (last.loops, last.frame) == (event.loops, event.frame):
                yield last


def _is_forgotten(analysis: Analysis, module: Uid) -> bool:
    """Whether a module was made in sight, and neither it nor a part of it has an optimizer, or may get one."""
    lowering = analysis.lowering
    made = lowering.store.get((module, PRESENT)) or lowering.objects.get(module)
    parts = lowering.reach((made,)) if made is not None else frozenset()
    apart = not any(map(analysis.trained.overlapping, parts))
    return bool(parts) and apart and not parts & (lowering.escaped | lowering.frozen)

"""Optimizers that were given another one's parameters in the place of those of the loss behind which they step: GL801."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from gradlint.data import NamedTuple
from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.flow.tree import Event, Uid
from gradlint.static.lowering.frames import PRESENT
from gradlint.static.lowering.values import Kind, Object


class _Misgiven(NamedTuple):
    """An optimizer, the one that has the same parameters, a backward pass behind which it steps, and whose loss that is."""

    optimizer: Object
    twin: Object
    behind: Event
    meant: Uid


@check
def misgiven(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL801: two optimizers have the same parameters, and one of them steps behind the loss of a module that has no optimizer."""
    optimizers = sorted(analysis.objects(Kind.OPTIMIZER), key=lambda each: each.place)
    if len({each.of for each in optimizers}) == len(optimizers) or not all(each.of for each in optimizers):
        return
    # If both step behind losses of the same module, the later one was meant for it: of the other's loss not all need be known.
    found = {
        (each.optimizer.of, each.meant): each
        for each in map(partial(_misgiven, analysis, optimizers), optimizers)
        if each
    }
    for optimizer, twin, behind, meant in found.values():
        own, other = analysis.named(optimizer.uid), analysis.named(twin.uid)
        what = f"`{own}` steps behind its loss, but was given the parameters that `{other}` has"
        marks = (("backward", behind.place), ("twin", twin.place))
        yield compose("GL801", Side.STATIC, optimizer.place, marks, subject=analysis.named(meant), what=what)


def _misgiven(analysis: Analysis, optimizers: list[Object], optimizer: Object) -> _Misgiven | None:
    twin = next((each for each in optimizers if each is not optimizer and each.of == optimizer.of), None)
    behind = [*_behind(analysis, optimizer)] if twin else []
    meant = {_whole(node.module) for event in behind for node in event.nodes}
    if twin is None or not behind or len(meant) != 1 or not all(_is_forgotten(analysis, uid) for uid in meant):
        return None
    return _Misgiven(optimizer, twin, behind[0], min(meant))


def _whole(part: Uid) -> Uid:
    """Return the module of which one of several results is a part."""
    return _whole(part[:-1]) if part[-1].startswith("[") else part


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

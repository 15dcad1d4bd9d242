"""Schedules of an optimizer that never steps, while another one trains the same parameters: GL211.

It knows who is built for whom and who steps; it must not know when (`construction.ownership`: what is built anew).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.flow.kinship import overlap
from gradlint.static.flow.roots import Root
from gradlint.static.flow.tree import Event
from gradlint.static.lowering.values import Kind, Object

_RATES = frozenset(["get_last_lr", "get_lr", "param_groups", "_last_lr"])
"""Who asks for one of these may give the rate to the optimizer that steps."""


@check
def scheduled_in_vain(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL211: a schedule moves on the rate of an optimizer that nobody steps."""
    for scheduler in analysis.objects(Kind.SCHEDULER):
        if scheduler.uid in analysis.stepped and _is_of_idle(analysis, scheduler):
            for root in analysis.roots:
                yield from _beside_another(analysis, root, scheduler)


def _owners(analysis: Analysis, scheduler: Object) -> list[Object]:
    made = [analysis.lowering.objects.get(uid) for uid in scheduler.of or ()]
    return [each for each in made if each is not None and each.kind is Kind.OPTIMIZER]


def _is_of_idle(analysis: Analysis, scheduler: Object) -> bool:
    """Whether nobody steps or sees the optimizers of a scheduler, and nobody asks for the rate that it makes."""
    owners = _owners(analysis, scheduler)
    if not owners or len(owners) != len(scheduler.of or ()) or not all(each.origin and each.of for each in owners):
        return False
    hidden = analysis.stepped | analysis.lowering.escaped
    if any(each.uid in hidden or not analysis.private(each) for each in owners):
        return False
    asked = (node.value for node in analysis.nodes(ast.Attribute) if node.attr in _RATES)
    names = {each.uid[-1].partition("#")[0] for each in (scheduler, *owners)}
    return names.isdisjoint(ast.unparse(owner).rpartition(".")[2] for owner in asked)


def _beside_another(analysis: Analysis, root: Root, scheduler: Object) -> Iterator[Diagnostic]:
    """Yield the finding where one program builds all of them, and steps another optimizer of the same parameters."""
    found, owners = analysis.events[root], _owners(analysis, scheduler)
    built = {uid for event in found if event.kind is EventKind.CREATE for uid in event.targets or ()}
    if not built.issuperset({scheduler.uid, *(each.uid for each in owners)}):
        return
    rebuilt = (event for event in found if event.kind is EventKind.REPLACE)
    if any((event.targets or frozenset()) & (scheduler.of or frozenset()) for event in rebuilt):
        return  # That is what `ownership` tells.
    if any(event.kind is EventKind.RATE for event in found):
        return
    moves = (event for event in found if event.kind is EventKind.SCHEDULE and scheduler.uid in (event.targets or ()))
    schedule = next((event for event in moves if event.loops), None)
    step = _step_of_another(analysis, found, owners)
    if schedule is not None and step is not None and step.loops[:1] == schedule.loops[:1]:
        idle = owners[0].uid[-1].partition("#")[0]
        named = (
            "the one that it was built for" if idle in ("return", step.name) or idle.startswith("@") else f"`{idle}`"
        )
        what = f"{named} never steps, and the learning rate of `{step.name}` never changes"
        marks = (("owner", owners[0].place), ("moved", schedule.place))
        way = f"build it on `{step.name}`"
        yield compose("GL211", Side.STATIC, scheduler.place, marks, subject=schedule.name, what=what, way=way)


def _step_of_another(analysis: Analysis, found: list[Event], owners: list[Object]) -> Event | None:
    """Return a step of optimizers that hold the same parameters and have no schedule of their own."""
    scheduled = {uid for other in analysis.objects(Kind.SCHEDULER) for uid in other.of or ()}
    for event in found:
        if event.kind is EventKind.STEP and event.loops and event.targets and not event.targets & scheduled:
            made = [analysis.lowering.objects.get(uid) for uid in event.targets]
            if all(other is not None and _shares(other, each) for other in made for each in owners):
                return event
    return None


def _shares(other: Object, idle: Object) -> bool:
    """Whether all that an optimizer owns is a part of what another one owns, or the other way round."""
    return bool(other.of) and all(any(overlap(one, uid) for one in other.of or ()) for uid in idle.of or ())

"""Clipping at the wrong time or of the wrong parameters: GL602 and GL610."""

from __future__ import annotations

import ast
from collections.abc import Collection, Container, Iterable, Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Location, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.protocols import OPTIMIZER
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.facts.schedules import SCHEDULES
from gradlint.static.flow.following import follow
from gradlint.static.flow.glance import may_reach
from gradlint.static.flow.kinship import overlap
from gradlint.static.flow.roots import Root
from gradlint.static.flow.subjects import clips, on_optimizer
from gradlint.static.flow.tree import Effect, Event, Uid
from gradlint.static.lowering.values import Kind, Object
from gradlint.static.syntax.nodes import walk_of
from gradlint.static.syntax.questions import GRADIENT
from gradlint.typestate import Marks, State

_USELESS = frozenset({"new", "clean", "discarded", "spent"})


@check
def clipping(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL602 and GL610."""
    for root in analysis.roots:
        clipped = root.of(EventKind.CLIP)
        if not clipped:
            continue
        optimizers = list(analysis.objects(Kind.OPTIMIZER))
        states = _States(analysis, root, frozenset(clipped))
        for event in dict.fromkeys(clipped):
            owners = [each for each in optimizers if event.targets and concerns(analysis, event, each)]
            found: list[Diagnostic] = []
            if any(_overlaps(event.targets or (), optimizer.of or ()) for optimizer in owners):
                found += _misplaced(analysis, root, event, owners, states.at(event, owners))
                all_known = all(owner.of is not None for owner in owners)
            elif event.targets and (only := _only_stepped(analysis, root)) is not None:
                found += _misplaced(analysis, root, event, [only], states.at(event, [only]))
                all_known = True
            else:
                found += _of_others(analysis, root, event, optimizers) if event.targets and not owners else ()
                all_known = False
            yield from found if found or all_known else _behind_all_steps(analysis, root, event)


def _only_stepped(analysis: Analysis, root: Root) -> Object | None:
    """Return the optimizer that a function is given, with nobody knows whose parameters, if it steps no other one."""
    kinds = (EventKind.STEP, EventKind.OTHER_STEP)
    stepped = {event.targets for event in analysis.events[root] if event.kind in kinds}
    found = [each for each in analysis.objects(Kind.OPTIMIZER) if stepped == {frozenset({each.uid})}]
    return found[0] if found and found[0].of is None and not found[0].calls else None


class _States:
    """The states of optimizers in which paths come to the places where something is clipped."""

    def __init__(self, analysis: Analysis, root: Root, clipped: frozenset[Event]) -> None:
        self._objects = analysis.lowering.objects
        self._root = root
        self._clipped = clipped
        self._known: dict[Uid, dict[Event, set[State]]] = {}

    def at(self, event: Event, owners: list[Object]) -> set[State]:
        """Return the states of all `owners`; none where not even a glance finds one in which it is useless to clip."""
        if not any(self._may_be_useless(event, owner) for owner in owners):
            return set()
        return {state for owner in owners for state in self._reached(owner).get(event, ())}

    def _may_be_useless(self, event: Event, owner: Object) -> bool:
        def telling(other: Event, _: EventKind) -> Iterable[str]:
            return _USELESS if other == event else ()

        return may_reach(self._root.bare, OPTIMIZER, self._effect(owner), telling)

    def _reached(self, owner: Object) -> dict[Event, set[State]]:
        if owner.uid not in self._known:
            self._known[owner.uid] = follow(self._root.bare, OPTIMIZER, self._effect(owner))
        return self._known[owner.uid]

    def _effect(self, optimizer: Object) -> Effect:
        usual = on_optimizer(optimizer, self._objects)
        return lambda event: EventKind.CLIP if event in self._clipped else usual(event)


def concerns(analysis: Analysis, event: Event, optimizer: Object) -> bool:
    """Whether what an event clips are parameters of an optimizer."""
    inside = analysis.lowering.with_contained
    return clips(event, optimizer) or _overlaps(inside(event.targets or ()), inside(optimizer.of or ()))


def _overlaps(some: Iterable[Uid], others: Iterable[Uid]) -> bool:
    return any(overlap(a, b) for a in some for b in others)


def _misplaced(
    analysis: Analysis, root: Root, event: Event, owners: list[Object], states: set[State]
) -> Iterator[Diagnostic]:
    names = {state.name for state in states}
    step = _step_of(analysis.events[root], event, owners)
    if not states or not names <= _USELESS or step is None:
        return
    if names == {"spent"}:
        what = _after(event, step)
    elif "discarded" in names and not _computed_before(analysis.events[root], event, step):
        return  # The step throws them away as well: that is GL103.
    elif _around(analysis.events[root], event, EventKind.BACKWARD):
        what = f"the gradients of `{event.name}` are clipped before any backward pass has computed them: no update is bounded"
    else:
        return
    yield _report(event, step, what, max(states, key=lambda state: len(state.marks)).marks)


def _behind_all_steps(analysis: Analysis, root: Root, event: Event) -> Iterator[Diagnostic]:
    """GL602 where nobody knows whose parameters are clipped: all have stepped, and nobody does before the next backward pass."""
    here = (
        each
        for each in analysis.events[root]
        if each.loops == event.loops and (event.loops or each.frame == event.frame)
    )
    found = [each for each in here if each.kind in (EventKind.BACKWARD, EventKind.CLIP) or _is_step(each)]
    before, after = found[: found.index(event)], found[found.index(event) + 1 :]
    computed = any(each.kind is EventKind.BACKWARD for each in before)
    if not computed or not _is_step(before[-1]) or any(map(_is_step, after[:1])):
        return
    if _bounds(analysis, event):
        held = {uid for each in (event, *filter(_is_step, before)) for uid in each.targets or ()}
        effect = _of_anybody(event, {each.place for each in before if each.kind is EventKind.OTHER_STEP}, held)
        states = follow(root.bare, OPTIMIZER, effect).get(event, set())
        if {state.name for state in states} == {"spent"}:
            there = replace(event, place=_beside(analysis, event, before[-1]))
            yield _report(there, before[-1], _after(event, before[-1]), (("spent", before[-1].place),))


def _beside(analysis: Analysis, event: Event, step: Event) -> Location:
    """Return where an event happens as the file of a step sees it: a call in there, if a helper in another file does it."""
    frame = analysis.lowering.frames.get(event.frame)
    calls = [analysis.source.place(call) for _, call in reversed(frame.callers)] if frame is not None else []
    return next((each for each in (event.place, *calls) if each.filename == step.place.filename), event.place)


def _bounds(analysis: Analysis, event: Event) -> bool:
    """Whether a call is there to clip: nobody takes its norm, which is the same behind the step, or its bound is an option."""
    frame = analysis.lowering.frames.get(event.frame)
    source, tree = (frame.module.source, frame.module.contents.tree) if frame else (analysis.source.own, analysis.tree)
    if any(source.place(each.value) == event.place for each in walk_of(tree, ast.Expr)):
        return True
    calls = (each for each in walk_of(tree, ast.Call) if each.lineno == event.place.row)
    found = next((each for each in calls if source.place(each) == event.place), None)
    bounds = [*found.args[1:2], *(each.value for each in found.keywords if each.arg == "max_norm")] if found else []
    return any(isinstance(each, (ast.Name, ast.Attribute)) and "inf" not in ast.unparse(each) for each in bounds)


def _is_step(event: Event) -> bool:
    """Whether somebody steps who is, or may be, an optimizer."""
    return event.kind is EventKind.STEP or (event.kind is EventKind.OTHER_STEP and not SCHEDULES.search(event.name))


def _of_anybody(clipping: Event, stepped: Container[Location], held: Collection[Uid]) -> Effect:
    """Return what events mean to the gradients of all who may step; whoever nobody knows does no more than that at these places.

    Who gets none of those who are `held` has nothing to do with their gradients.
    """

    def effect(event: Event) -> EventKind | None:
        if event.kind is EventKind.ESCAPE and event.place in stepped:
            return None
        if _is_step(event):
            return EventKind.STEP
        if event.kind is EventKind.ESCAPE and event.targets is not None and not _overlaps(event.targets, held):
            return None
        known = (EventKind.BACKWARD, EventKind.SETGRAD, EventKind.ESCAPE)
        return event.kind if event == clipping or event.kind in known else None

    return effect


def _after(event: Event, step: Event) -> str:
    return f"the gradients of `{event.name}` are clipped after `{step.name}` has used them: no update is bounded"


def _report(event: Event, step: Event, what: str, marks: Marks) -> Diagnostic:
    when = f"between `backward()` and `{step.name}.step()`"
    return compose("GL602", Side.STATIC, event.place, marks, what=what, when=when)


def _step_of(found: list[Event], event: Event, owners: list[Object]) -> Event | None:
    uids = {owner.uid for owner in owners}
    steps = (each for each in found if each.kind is EventKind.STEP and uids & (each.targets or frozenset()))
    return next((step for step in steps if step.loops[:1] == event.loops[:1]), None)


def _around(found: list[Event], event: Event, kind: EventKind) -> bool:
    """Whether an event of a kind comes later in the loop around `event`, or after it where there is none."""
    depth, after = len(event.loops), found[found.index(event) :]
    ring = (each.loops[:depth] == event.loops for each in (found if depth else after) if each.kind is kind)
    return any(ring)


def _computed_before(found: list[Event], event: Event, step: Event) -> bool:
    """Whether a backward pass runs between `event` and the next `step`."""
    between = found[found.index(event) : found.index(step)]
    return not between or any(each.kind is EventKind.BACKWARD for each in between)


def _of_others(analysis: Analysis, root: Root, event: Event, optimizers: list[Object]) -> Iterator[Diagnostic]:
    """GL610: nobody who steps owns what is clipped, although everybody is known."""
    modules = [uid for uids in (event.targets or (), *(each.of or () for each in optimizers)) for uid in uids]
    if any(uid[0] == "?" for uid in modules) or not event.loops:
        return
    found = analysis.events[root]
    frame = analysis.lowering.frames.get(event.frame)
    if frame is not None and any(map(_is_written_gradient, walk_of(frame.module.contents.tree, ast.Attribute))):
        return  # What is clipped may be given to those who step.
    step = next((each for each in found if each.kind is EventKind.STEP and each.loops == event.loops), None)
    if step is not None and any(each.kind is EventKind.BACKWARD and each.loops == event.loops for each in found):
        yield compose("GL610", Side.STATIC, event.place, (("step", step.place),), subject=step.name, clipped=event.name)


def _is_written_gradient(node: ast.Attribute) -> bool:
    return node.attr in GRADIENT and isinstance(node.ctx, ast.Store)

"""Optimizers that never step while gradients are computed for them: GL106.

It knows events and who owns whom; it must not know the order of clearing and stepping.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import chain, islice

from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.flow.kinship import overlap, touches
from gradlint.static.flow.subjects import on_optimizer
from gradlint.static.flow.tree import Effect, Event, Uid
from gradlint.static.lowering.values import Function, Instance, Kind, Object
from gradlint.static.syntax.flags import Excuses
from gradlint.static.syntax.nodes import asks_for, called, walk_of

_REGISTERS = regex(r"register.*hook")


@check
def never_stepped(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL106: the loop clears an optimizer and runs backward, or its model forward, but the optimizer never steps."""
    lowering = analysis.lowering
    for optimizer in analysis.objects(Kind.OPTIMIZER):
        # Gradients on their way are what such a hook is for.
        hooked = any("backward_hook" in name or "grad_hook" in name for name in analysis.attributes)
        if hooked or optimizer.uid in analysis.stepped or _is_stepped_by_another(analysis, optimizer):
            continue
        if optimizer.origin == "" or optimizer.uid in lowering.escaped or not analysis.private(optimizer):
            yield from _thrown_away(analysis, optimizer)
            continue
        # Whoever is given the model may train it by himself, which is no use of this optimizer: it is still cleared for nothing.
        shown = any(touched in lowering.escaped for touched in optimizer.of or ())
        built_in = [root for root in analysis.roots if _is_built(optimizer, analysis.events[root])]
        for root in built_in:
            found = analysis.events[root]
            yield from _unused(analysis, optimizer, found) or ([] if shown else _left_out(analysis, optimizer, found))
        if not built_in and optimizer.uid in lowering.kept:
            for found in map(analysis.events.__getitem__, analysis.roots):
                yield from _unless_asked(analysis, optimizer, _unused(analysis, optimizer, found, by_method=True))


def _thrown_away(analysis: Analysis, optimizer: Object) -> Iterator[Diagnostic]:
    """Yield that a loop clears what each of its turns has computed: all that happens there is in sight, whoever has the optimizer."""
    effect = on_optimizer(optimizer, analysis.lowering.objects)
    for root in analysis.roots:
        found = analysis.events[root]
        for event in found:
            if event.kind is not EventKind.ZERO or effect(event) is not EventKind.ZERO or "module" in event.roles:
                continue
            ring = [other for other in found if event.loops and other.is_in(event.loops)]
            passes = [other for other in ring if other.kind is EventKind.BACKWARD and other.loops == event.loops]
            if passes and not any(_may_use(other, effect) for other in ring) and not _is_read(analysis, event):
                yield _report(passes[0], event.name, "computed")
                return


def _may_use(event: Event, effect: Effect) -> bool:
    """Whether somebody may step in an event, or do something else with what was computed."""
    uses = event.kind in (EventKind.STEP, EventKind.OTHER_STEP, EventKind.HAND_STEP)
    return uses or effect(event) in (EventKind.ESCAPE, EventKind.SETGRAD, EventKind.EDIT)


def _is_read(analysis: Analysis, event: Event) -> bool:
    """Whether the loop or function in which an optimizer is cleared reads the gradients: for an attack or a statistic."""
    return _is_hooked(analysis, event) or any(
        _reads_gradients(analysis, code) for code in (*_innermost(analysis, event), *analysis.called_for(event))
    )


def _is_hooked(analysis: Analysis, event: Event) -> bool:
    """Whether a function around an event has a helper register hooks: what they read on its way is what gradients are computed for."""
    frames = (analysis.lowering.frames.get(event.frame[:length]) for length in range(1, len(event.frame) + 1))
    around = (frame.node for frame in frames if frame is not None and frame.node is not None)
    return any(_REGISTERS.search(called(call)) for node in around for call in walk_of(node, ast.Call))


def _is_built(optimizer: Object, found: list[Event]) -> bool:
    return any(event.kind is EventKind.CREATE and optimizer.uid in (event.targets or ()) for event in found)


def _unless_asked(analysis: Analysis, optimizer: Object, found: list[Diagnostic]) -> Iterator[Diagnostic]:
    """Yield what is found of an optimizer that an object keeps, which stands as long as no other file steps it."""
    for each in found:
        analysis.kept(Excuses).of[each.location] = optimizer.uid[-1]
        yield each


def _is_stepped_by_another(analysis: Analysis, optimizer: Object) -> bool:
    """Whether an optimizer that steps owns all of the same modules, as where a property builds one at each use."""
    owned = {
        uid for other in analysis.objects(Kind.OPTIMIZER) if other.uid in analysis.stepped for uid in other.of or ()
    }
    return bool(optimizer.of) and owned.issuperset(optimizer.of or ())


def _unused(analysis: Analysis, optimizer: Object, found: list[Event], *, by_method: bool = False) -> list[Diagnostic]:
    """Return the finding about what a loop computes for an optimizer, or a method that nobody in sight calls."""
    owned = optimizer.of or frozenset()
    if any(event.kind is EventKind.HAND_STEP and (not owned or touches(event, owned)) for event in found):
        return []
    cleared = _cleared(analysis, optimizer, found, by_method=by_method)
    passes = [event for event in found if event.kind is EventKind.BACKWARD and "engine" not in event.roles]
    forgotten = _forgotten(analysis, optimizer, found, passes)
    passes = [event for event in passes if event.loops in cleared and _is_for(event, cleared[event.loops])]
    own = (
        _report(event, clearing.name, "computed")
        for clearing in cleared.values()
        if _is_alone(found, clearing)
        for event in islice((each for each in passes if found.index(each) > found.index(clearing)), 1)
    )
    reaching = (event for event in passes if _reaches(event, owned, found))
    through = (_report(event, cleared[event.loops].name, "computed") for event in reaching)
    alone = (
        _report(each, each.name, "cleared")
        for each in cleared.values()
        if _is_run(found, each.loops, owned) and not _is_handed_on(analysis, each.name)
    )
    anyhow = (_report(event, cleared[event.loops].name, "computed") for event in passes)
    return list(islice(chain(own, through, alone, anyhow, forgotten), 1))


def _cleared(
    analysis: Analysis, optimizer: Object, found: list[Event], *, by_method: bool
) -> dict[tuple[int, ...], Event]:
    """Return where an optimizer is cleared for an update, first in each loop, or anywhere in a method."""
    effect = on_optimizer(optimizer, analysis.lowering.objects)
    # Where others step, a pass through the methods of a module may be for them alone: nobody knows which part each runs.
    stepped = {event.loops for event in found if event.kind is EventKind.STEP}
    parted = {event.loops for event in found if event.kind is EventKind.FORWARD and "method" in event.roles}
    cleared = {
        event.loops: event
        for event in reversed(found)
        if event.kind is EventKind.ZERO
        and effect(event) is EventKind.ZERO
        and (event.loops or by_method)
        # A module is cleared for whoever steps.
        and not ("module" in event.roles and _is_stepped_in(found, event.loops))
        # In a loop or function that reads them the gradients are for an attack or a statistic, not for an update.
        and not _is_read(analysis, event)
    }
    return {
        loops: event for loops, event in cleared.items() if loops not in stepped & parted or _is_alone(found, event)
    }


def _is_alone(found: list[Event], clearing: Event) -> bool:
    """Whether a clearing is followed by a backward pass of its own, and that by no step before another one."""
    turning = (EventKind.ZERO, EventKind.BACKWARD, EventKind.STEP, EventKind.OTHER_STEP)
    behind = [event.kind for event in found[found.index(clearing) + 1 :] if event.kind in turning]
    return behind[:1] == [EventKind.BACKWARD] and behind[1:2] not in ([EventKind.STEP], [EventKind.OTHER_STEP])


def _forgotten(analysis: Analysis, optimizer: Object, found: list[Event], passes: list[Event]) -> Iterator[Diagnostic]:
    """Yield the finding about a loop that trains with neither clearing nor step, where nobody else may use its gradients.

    What a script makes and does not use may be there for a later one.
    """
    owned, name = optimizer.of or frozenset(), optimizer.uid[-1].partition("#")[0]
    if optimizer.uid[:-1] == ("module",) or _is_mentioned(analysis, name):
        return
    others = (EventKind.STEP, EventKind.OTHER_STEP, EventKind.ZERO, EventKind.SETGRAD)
    shown = (event for event in found if event.kind is EventKind.ESCAPE)
    if any(event.kind in others for event in found) or any(touches(event, owned) for event in shown):
        return
    for event in passes:
        through = event.loops and any(overlap(node.module, each) for node in event.nodes for each in owned)
        if through and not asks_for(analysis.tree, "grad"):
            yield _report(event, name, "computed")


def _is_mentioned(analysis: Analysis, name: str) -> bool:
    """Whether a name, or an attribute of it, is read anywhere in the file."""
    names = (node.ctx for node in analysis.nodes(ast.Name) if node.id == name)
    attributes = (node.ctx for node in analysis.nodes(ast.Attribute) if node.attr == name)
    return any(isinstance(context, ast.Load) for context in chain(names, attributes))


def _is_stepped_in(found: list[Event], loops: tuple[int, ...]) -> bool:
    return any(event.kind in (EventKind.STEP, EventKind.OTHER_STEP) and event.is_in(loops) for event in found)


def _is_for(backward: Event, clearing: Event) -> bool:
    """Whether a backward pass is what gradients are cleared for; outside of loops, by the same function."""
    return bool(backward.loops) or backward.frame == clearing.frame


def _innermost(analysis: Analysis, event: Event) -> list[ast.AST | None]:
    """Return the loop around an event; where there is none, the function in which it happens."""
    lowering = analysis.lowering
    if event.loops:
        return [lowering.loop_nodes.get(event.loops[-1])]
    frames = (lowering.frames.get(event.frame[:length]) for length in range(1, len(event.frame) + 1))
    return [frame.node for frame in frames if frame is not None and frame.node is not None]


def _reaches(event: Event, owned: frozenset[Uid], found: list[Event]) -> bool:
    """Whether a backward pass may run through one of these modules; where its graph is unknown, they ran before."""
    if event.nodes or not owned:
        return any(overlap(node.module, each) for node in event.nodes for each in owned)
    return _runs(found[: found.index(event)], owned)


def _is_handed_on(analysis: Analysis, name: str) -> bool:
    """Whether a call is given what is spelled so."""
    calls = analysis.nodes(ast.Call)
    return any(ast.unparse(each) == name for call in calls for each in (*call.args, *(k.value for k in call.keywords)))


def _is_run(found: list[Event], loops: tuple[int, ...], owned: frozenset[Uid]) -> bool:
    return _runs([event for event in found if event.loops == loops], owned)


def _report(event: Event, name: str, done: str) -> Diagnostic:
    done += " in a loop" if event.loops else ""
    return compose("GL106", Side.STATIC, event.place, subject=name, done=done)


def _left_out(analysis: Analysis, optimizer: Object, found: list[Event]) -> list[Diagnostic]:
    """Return the finding about the optimizer of one of two models that a loop runs, where only that of the other one steps."""
    effect, owned = on_optimizer(optimizer, analysis.lowering.objects), optimizer.of or frozenset()
    # A function that was not given the optimizer is another rule's.
    here = [
        event
        for event in found
        if event.kind is EventKind.BACKWARD and event.loops and _holds(analysis, event, optimizer)
    ]
    through = [event for event in here if any(overlap(node.module, uid) for node in event.nodes for uid in owned)]
    for event in through or here:
        if effect(event) is not EventKind.BACKWARD:
            continue
        ring = [other for other in found if other.is_in(event.loops)]
        others = _stepped_in(analysis, ring)
        # A module is cleared for whoever steps.
        cleared = any(effect(other) is EventKind.ZERO and "module" not in other.roles for other in ring)
        if others and not cleared and _runs(ring, owned) and not any(overlap(a, b) for a in others for b in owned):
            return [_report(event, optimizer.uid[-1].partition("#")[0], "computed")]
    return []


def _holds(analysis: Analysis, event: Event, optimizer: Object) -> bool:
    """Whether something happens in the function that made an optimizer, or in a method of the object that has it and never steps it."""
    if event.frame == optimizer.uid[:-1]:
        return True
    frame, lowering = analysis.lowering.frames.get(event.frame), analysis.lowering
    owner = frame.receiver if frame is not None else None
    if not isinstance(owner, Instance):
        return False
    held = lowering.members.get(owner.uid, ())
    names = {f"self.{name}" for name in held if lowering.store.get((owner.uid, name)) == optimizer}
    # A method that steps it, and is not called here, is for another phase than this program's.
    stepped = (lowering.syntax.stepped_by_name(cls.node) for cls in lowering.lineage(owner.cls))
    return bool(names) and all(map(names.isdisjoint, stepped))


def _stepped_in(analysis: Analysis, ring: list[Event]) -> frozenset[Uid]:
    """Return the models that a loop runs and whose optimizers it steps (none: not all of those are known)."""
    stepped = {uid for event in ring if event.kind is EventKind.STEP for uid in event.targets or ()}
    owned = [made.of for made in analysis.objects(Kind.OPTIMIZER) if made.uid in stepped]
    if not owned or any(not each or not _runs(ring, each) for each in owned):
        return frozenset()
    return frozenset(module for each in owned for module in each or ())


def _runs(ring: list[Event], modules: frozenset[Uid]) -> bool:
    """Whether a loop runs one of these modules with gradients on."""
    return any(
        event.kind is EventKind.FORWARD and "no-grad" not in event.roles and touches(event, modules) for event in ring
    )


def _reads_gradients(analysis: Analysis, code: ast.AST | None) -> bool:
    """Whether a loop or a function, or one that it calls, uses the gradients itself: it computes a statistic, not an update."""
    if code is None or _asks_for_gradients(code):
        return True
    calls = walk_of(code, ast.Call)
    names = {called(call) for call in calls}
    known = [value.node for call in calls if isinstance(value := analysis.value(call.func), Function)]
    return any(_asks_for_gradients(each) for each in (*known, *(f for f in analysis.functions if f.name in names)))


def _asks_for_gradients(code: ast.AST) -> bool:
    """Whether anything is asked for its `.grad`; `autograd.grad` is a function."""
    asked = (each.value for each in walk_of(code, ast.Attribute) if each.attr == "grad")
    return any(ast.unparse(owner).rpartition(".")[2] != "autograd" for owner in asked)

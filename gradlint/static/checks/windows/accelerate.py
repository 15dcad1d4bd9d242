"""Accelerate's own windows, used against their rules: GL705 and GL714."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.data import NamedTuple
from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.protocols import OPTIMIZER
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.facts.averages import Means
from gradlint.static.facts.cadence import definitions, spelled
from gradlint.static.facts.guards import Guard, Paths, paths_of
from gradlint.static.facts.prepared import ACCELERATORS
from gradlint.static.flow.following import follow
from gradlint.static.flow.roots import Root
from gradlint.static.flow.subjects import clips, on_optimizer
from gradlint.static.flow.tree import Event, Uid
from gradlint.static.lowering.attributes import window_end
from gradlint.static.lowering.values import Const, Kind, Object, Value
from gradlint.static.syntax.nodes import walk_of


class _Turn(NamedTuple):
    """One turn of the loop in which a prepared optimizer steps, when its window ends."""

    root: Root
    optimizer: Object
    owner: Uid
    step: Event
    ring: tuple[Event, ...]
    backward: Event
    paths: Paths

    def plain(self, event: Event) -> bool:
        """Whether an event happens in every turn that runs backward, but for what the accelerator holds back itself."""
        shared = self._guards(self.backward)
        return all(guard in shared or self._held_back(guard) for guard in self._guards(event))

    def waits(self, event: Event) -> bool:
        """Whether an event happens at the end of a window only."""
        return any(map(self._held_back, self._guards(event)))

    def _guards(self, event: Event) -> tuple[Guard, ...]:
        return self.paths.guards(event, self.step.loops[-1])

    def _held_back(self, guard: Guard) -> bool:
        return any(atom.key == window_end(self.owner) for atom in guard.atoms)


@check
def windows_of_accelerate(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL714, and GL705 where the window is the accelerator's."""
    accelerators = [made for made in analysis.objects(Kind.ENGINE) if made.origin in ACCELERATORS and _length(made)]
    for accelerator in accelerators:
        for root in analysis.roots:
            yield from _divided_twice(analysis, root, accelerator)
    if any(made.uid in analysis.lowering.windows for made in accelerators):
        means = Means(analysis)
        for turn in _turns(analysis, {made.uid for made in accelerators}):
            yield from _cleared_first(analysis, turn)
            yield from _cleared_by_module(analysis, turn)
            yield from _not_by_framework(means, turn)
            yield from _clipped_each_batch(analysis, turn)


def _length(accelerator: Object) -> Value | None:
    """Return how many batches an accelerator accumulates, if it is told and that is not one."""
    given = {call.argument(3, "gradient_accumulation_steps") for call in accelerator.calls}
    found = given.pop() if len(given) == 1 else None
    return None if found in (Const(1), Const(None)) else found


def _turns(analysis: Analysis, owners: set[Uid]) -> Iterator[_Turn]:
    prepared = analysis.lowering.prepared
    for root in analysis.roots:
        found = analysis.events[root]
        steps = {event: uid for event in found for uid in event.targets or () if _in_window(event, EventKind.STEP)}
        for step, uid in steps.items():
            optimizer, loops = analysis.lowering.objects.get(uid), step.loops
            ring = tuple(event for event in found if event.is_in(loops))
            backward = next((event for event in ring if event.kind is EventKind.BACKWARD), None)
            if optimizer is not None and loops and backward is not None and prepared.get(uid) in owners:
                yield _Turn(root, optimizer, prepared[uid], step, ring, backward, paths_of(analysis, root))


def _in_window(event: Event, kind: EventKind) -> bool:
    return event.kind is kind and {"prepared", "window"} <= event.roles


def _cleared_first(analysis: Analysis, turn: _Turn) -> Iterator[Diagnostic]:
    """The gradients are cleared before the last backward of a window, not after its step."""
    effect = on_optimizer(turn.optimizer, analysis.lowering.objects)
    begun = turn.ring[: turn.ring.index(turn.backward)]
    cleared = [event for event in begun if _in_window(event, EventKind.ZERO) and effect(event) is EventKind.ZERO]
    arrivals = follow(turn.root.bare, OPTIMIZER, effect) if cleared else {}
    for event in dict.fromkeys(cleared):
        if turn.plain(event) and any(state.name == "fresh" for state in arrivals.get(event, ())):
            what = (
                f"`{event.name}` is cleared at the beginning of the last batch of a window, when Accelerate lets it: "
                "what the other batches have accumulated is thrown away"
            )
            yield _found(analysis, turn, event, what, f"clear after `{turn.step.name}.step()`")
            return


def _cleared_by_module(analysis: Analysis, turn: _Turn) -> Iterator[Diagnostic]:
    """A module does not know of the window: it clears in every batch."""
    effect = on_optimizer(turn.optimizer, analysis.lowering.objects)
    for event in turn.ring:
        own = event.kind is EventKind.ZERO and "module" in event.roles and effect(event) is EventKind.ZERO
        if own and turn.plain(event) and not turn.waits(event):
            what = (
                f"`{event.name}.zero_grad()` clears in every batch: only a prepared optimizer waits for the end of a window, "
                "and the gradients of all batches but the last are thrown away"
            )
            yield _found(analysis, turn, event, what, f"clear by `{turn.step.name}.zero_grad()` after its step")
            return


def _not_by_framework(means: Means, turn: _Turn) -> Iterator[Diagnostic]:
    """A plain backward is not divided by the length of the window."""
    for event in turn.ring:
        plain = event.kind is EventKind.BACKWARD and not event.roles & {"by-framework", "engine"}
        if plain and turn.plain(event) and means.starts(event):
            what = (
                f"`{event.name}.backward()` passes the accelerator by: the loss is not divided by the number of batches "
                "that it accumulates, nor scaled in mixed precision"
            )
            yield _found(means.analysis, turn, event, what, f"call `accelerator.backward({event.name})`")
            return


def _clipped_each_batch(analysis: Analysis, turn: _Turn) -> Iterator[Diagnostic]:
    """Clipping knows of no window: it bounds what has been accumulated so far, in every batch."""
    for event in turn.ring[turn.ring.index(turn.backward) :]:
        own = event.kind is EventKind.CLIP and clips(event, turn.optimizer)
        if own and turn.plain(event) and not turn.waits(event):
            marks = (("built", analysis.lowering.objects[turn.owner].place),)
            when, step = "where `accelerator.sync_gradients` tells that the window ends", turn.step.name
            yield compose("GL705", Side.STATIC, event.place, marks, when=when, clipped=event.name, subject=step)
            return


def _found(analysis: Analysis, turn: _Turn, event: Event, what: str, remedy: str) -> Diagnostic:
    marks = (("built", analysis.lowering.objects[turn.owner].place), ("step", turn.step.place))
    return compose("GL714", Side.STATIC, event.place, marks, what=what, remedy=remedy)


def _divided_twice(analysis: Analysis, root: Root, accelerator: Object) -> Iterator[Diagnostic]:
    """The loss is divided by hand by what `accelerator.backward` divides it by."""
    length = _length(accelerator)
    wanted = spelled(length) if length is not None else ""
    means = Means(analysis)
    for event in dict.fromkeys(analysis.events[root]) if wanted else ():
        call = means.call(event.place) if event.kind is EventKind.BACKWARD and "by-framework" in event.roles else None
        if call is None or not isinstance(call.func, ast.Attribute) or not call.args:
            continue
        owner, frame = analysis.value(call.func.value), analysis.lowering.frames.get(event.frame)
        scope = frame.node if frame is not None else None
        if isinstance(owner, Object) and owner.uid == accelerator.uid:
            for place in _divisions(analysis, call, scope, wanted):
                what = (
                    "the loss is divided by the number of accumulated batches here, and once more by "
                    f"`{ast.unparse(call)}`: the gradients are that many times too small"
                )
                marks = (("built", accelerator.place),)
                remedy = "drop this division: the accelerator knows the number"
                yield compose("GL714", Side.STATIC, analysis.source.place(place), marks, what=what, remedy=remedy)


def _divisions(analysis: Analysis, call: ast.Call, scope: ast.AST | None, wanted: str) -> Iterator[ast.AST]:
    root = call.args[0]
    given = [root]
    if isinstance(root, ast.Name):
        given = definitions(analysis, root, scope)
        for node in walk_of(scope or analysis.tree, ast.AugAssign):
            match node:
                case ast.AugAssign(ast.Name(name), ast.Div(), by) if name == root.id and _is(analysis, by, wanted):
                    given.append(ast.copy_location(ast.BinOp(root, ast.Div(), by), node))
    for each in given:
        match each:
            case ast.BinOp(_, ast.Div(), by) if _is(analysis, by, wanted) and each.lineno <= call.lineno:
                yield each


def _is(analysis: Analysis, node: ast.expr, wanted: str) -> bool:
    return spelled(analysis.value(node)) == wanted

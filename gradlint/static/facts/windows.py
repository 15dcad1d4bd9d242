"""Accumulation windows: optimizer steps that come once in several batches, and what stands under the same guard.

It knows trees and the protocol of an optimizer; it must not know rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gradlint.data import NamedTuple
from gradlint.events import EventKind
from gradlint.protocols import OPTIMIZER
from gradlint.static.analysis import Analysis
from gradlint.static.facts.guards import Guard, Paths, paths_of
from gradlint.static.flow.following import follow
from gradlint.static.flow.roots import Root
from gradlint.static.flow.subjects import on_optimizer
from gradlint.static.flow.tree import Atom, Cycle, Event
from gradlint.static.lowering.values import Kind, Object
from gradlint.typestate import State


class Window(NamedTuple):
    """A step that an optimizer takes once in several turns of the loop around it.

    `guard` lets the step by, `end` is the condition in it that comes true at regular turns (None: the window is declared);
    `backwards` are the passes of one turn; `arrivals` the states in which paths reach each event.
    """

    optimizer: Object
    step: Event
    guard: Guard
    end: Atom | None
    ring: tuple[Event, ...]
    backwards: tuple[Event, ...]
    arrivals: dict[Event, set[State]]
    paths: Paths

    @property
    def loop(self) -> int:
        """The loop whose turns are the batches."""
        return self.step.loops[-1]

    @property
    def accumulates(self) -> bool:
        """Whether a turn that does not step leaves its gradients to the next one."""
        return any(state.name in ("fresh", "unknown-fresh") for state in self.arrivals.get(self.backwards[0], ()))

    def guards(self, event: Event) -> tuple[Guard, ...]:
        """Return the guards of an event within one turn."""
        return self.paths.guards(event, self.loop)

    def holds(self, event: Event) -> bool:
        """Whether an event happens in turns that end a window only."""
        return any(guard == self.guard or self.end in set(guard.ends) for guard in self.guards(event))

    def apart(self, event: Event) -> bool:
        """Whether an event never happens where the step does: one asks for the opposite of what the other asks, in all turns."""
        told = {(atom, not truth) for guard in self.guards(self.step) for atom, truth in guard.told}
        asked = (item for guard in self.guards(event) for item in guard.told)
        return any(item in told and not self._changes(item[0]) for item in asked)

    def each_turn(self, event: Event) -> bool:
        """Whether an event happens in every turn that runs backward: no condition that changes stands before it alone.

        Of several passes, such as one for each precision, it is enough that it goes with one.
        """
        return event.loops == self.step.loops and any(self._goes_with(event, each) for each in self.backwards)

    def _goes_with(self, event: Event, backward: Event) -> bool:
        shared = self.guards(backward)
        own = (guard for guard in self.guards(event) if guard not in shared)
        return not any(self._changes(atom) for guard in own for atom in guard.atoms)

    def _changes(self, atom: Atom) -> bool:
        return not atom.ids or self.paths.changes(atom, self.loop)


def windows(analysis: Analysis) -> tuple[Window, ...]:
    """Return the windows of all known optimizers."""
    return analysis.kept(_windows)


def _windows(analysis: Analysis) -> tuple[Window, ...]:
    return tuple(_found(analysis))


def _found(analysis: Analysis) -> Iterator[Window]:
    if not analysis.lowering.counts and not analysis.declares:
        return
    optimizers = list(analysis.objects(Kind.OPTIMIZER))
    for root in analysis.roots:
        steps = [event for event in root.of(EventKind.STEP) if event.loops]
        if steps and any(event.loops for event in root.of(EventKind.BACKWARD)):
            paths = paths_of(analysis, root)
            for optimizer in optimizers:
                mine = dict.fromkeys(event for event in steps if optimizer.uid in (event.targets or ()))
                yield from _of(analysis, root, optimizer, list(mine), paths)


def _of(analysis: Analysis, root: Root, optimizer: Object, steps: list[Event], paths: Paths) -> Iterator[Window]:
    ends = {step: found for step in steps if (found := end_of(analysis, root, step, paths)) is not None}
    if not ends:
        return
    effect = on_optimizer(optimizer, analysis.lowering.objects)
    arrivals = follow(root.bare, OPTIMIZER, effect)
    for step, (guard, end) in ends.items():
        depth = len(step.loops)
        ring = tuple(event for event in analysis.events[root] if event.loops[:depth] == step.loops)
        backwards = tuple(event for event in ring if event.kind is EventKind.BACKWARD)
        window = _without_last(Window(optimizer, step, guard, end, ring, backwards, arrivals, paths))
        shown = (event for event in ring if effect(event) is EventKind.ESCAPE)
        if window.backwards and _is_one(window) and all(map(window.apart, shown)):
            yield window


def _without_last(window: Window) -> Window:
    """Leave out the passes of the turn that steps, where all others stand in the other branch of its condition."""
    early = tuple(event for event in window.backwards if not window.holds(event))
    other = Guard(window.guard.test, not window.guard.truth)
    apart = early and all(other in window.guards(event) for event in early)
    return window._replace(backwards=early) if apart else window


def ends(analysis: Analysis) -> Iterator[tuple[Event, Atom]]:
    """Yield the steps that end a window at regular turns, and the condition that does."""
    for root in analysis.roots if analysis.lowering.counts else ():
        steps = dict.fromkeys(event for event in root.of(EventKind.STEP) if event.loops)
        for step in steps:
            _, end = end_of(analysis, root, step, paths_of(analysis, root)) or (None, None)
            if end is not None:
                yield step, end


def end_of(analysis: Analysis, root: Root, step: Event, paths: Paths) -> tuple[Guard, Atom | None] | None:
    """Return the guard of a step that ends its window: true at regular turns of the loop around it, or declared to be."""
    loop, declared = step.loops[-1], analysis.declared(step.loops)
    changing = [guard for guard in paths.guards(step, loop) if any(paths.changes(atom, loop) for atom in guard.atoms)]
    for guard in changing if declared != 1 else ():
        for atom in guard.ends:
            regular = _regular(atom, root) if atom.ids & paths.renewed[loop] else None
            if regular is not None:
                return guard, regular
    return (changing[-1], None) if changing and declared > 1 else None


def _regular(atom: Atom, root: Root) -> Atom | None:
    """Return a condition as the end of windows of several turns; a default that no caller was seen to take is not their length."""
    match atom.cycle:
        case Cycle(turns=0 | 1) if root.complete:
            return None
        case Cycle(turns=0 | 1) as cycle:
            return replace(atom, cycle=replace(cycle, turns=None))
        case _:
            return atom


def _is_one(window: Window) -> bool:
    """Whether every turn runs backward, and nobody else uses the gradients before the window ends."""
    if any("engine" in event.roles or window.holds(event) for event in window.backwards):
        return False
    others = (event for event in window.ring if event.kind in (EventKind.STEP, EventKind.OTHER_STEP))
    return bool(window.arrivals.get(window.step)) and all(
        window.holds(event) or window.apart(event) for event in others
    )

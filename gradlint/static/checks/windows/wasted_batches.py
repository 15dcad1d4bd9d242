"""Windows of several batches of which only the last one counts: GL703.

The condition that lets the step by stands before the backward pass as well, or before a clearing in front of it. It knows what
stands under the condition; it must not know how windows are counted (`windows`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.data import NamedTuple
from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.facts.guards import Guard, Paths, paths_of
from gradlint.static.facts.windows import Window, end_of, windows
from gradlint.static.flow.roots import Root
from gradlint.static.flow.subjects import on_optimizer
from gradlint.static.flow.tree import Atom, Event
from gradlint.static.lowering.values import Kind, Object
from gradlint.static.syntax.nodes import names, walk

_WORD = regex(r"\w+")
_OTHERS = (EventKind.OTHER_STEP, EventKind.HAND_STEP, EventKind.ESCAPE)


@check
def cleared_at_the_end(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL703: `if (i + 1) % 4 == 0: optimizer.zero_grad()` in front of the last backward pass of a window."""
    for window in windows(analysis):
        if window.accumulates and window.end is not None:
            effect = on_optimizer(window.optimizer, analysis.lowering.objects)
            clears = [event for event in window.ring if effect(event) is EventKind.ZERO and window.holds(event)]
            first = window.ring.index(window.backwards[0])
            ahead = bool(clears) and window.ring.index(clears[-1]) < first < window.ring.index(window.step)
            if ahead and not _counts_between(analysis, window, clears[-1]):
                name = window.step.name
                what = (
                    f"`{clears[-1].name}` is cleared under the condition of the step, right before the last backward pass: "
                    f"`{name}` steps with the gradients of that batch alone, and all others were computed for nothing"
                )
                marks = (("cleared", clears[-1].place),)
                way = f"clear after `{name}.step()`, under the same condition"
                yield compose("GL703", Side.STATIC, window.step.place, marks, what=what, remedy=way)


def _counts_between(analysis: Analysis, window: Window, clear: Event) -> bool:
    """Whether what is counted moves on between clearing and step: then the condition is that of another turn."""
    assert window.end is not None
    scope = analysis.function_in(window.step.place.row) or analysis.tree
    if {clear.place.filename, window.step.place.filename} != {analysis.source.filename}:
        return True
    stored = (each for each in walk(scope) if isinstance(each, (ast.Name, ast.Attribute)))
    rows = range(clear.place.row, window.step.place.row)
    words = set(_WORD.findall(window.end.key))
    return any(isinstance(each.ctx, ast.Store) and each.lineno in rows and _name(each) in words for each in stored)


def _name(node: ast.Name | ast.Attribute) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr


@check
def one_of_many(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL703: `loss = model(x)` in each turn, and `if (i + 1) % 4 == 0: loss.backward(); optimizer.step()`."""
    optimizers = list(analysis.objects(Kind.OPTIMIZER)) if analysis.lowering.counts else []
    for root in analysis.roots if optimizers else ():
        for step in dict.fromkeys(each for each in root.of(EventKind.STEP) if each.loops):
            turn = _turn_of(analysis, root, step)
            if turn is not None and _is_alone(turn, optimizers):
                lost = [each for each in turn.backwards if _is_made_each_turn(analysis, turn, each)]
                if lost and len(lost) == len(turn.backwards):
                    name, made = lost[-1].name, min(node.place for node in lost[-1].nodes)
                    what = (
                        f"`{name}` is computed in every batch, but runs backward only where `{step.name}` steps: each update has "
                        "the gradients of one batch, and the other batches of the window teach nothing"
                    )
                    way = "run backward in every batch, and step and clear under the condition"
                    yield compose("GL703", Side.STATIC, step.place, (("wasted", made),), what=what, remedy=way)


class _Turn(NamedTuple):
    """A step under a condition that regular turns fulfil, and what is in the loop around it."""

    step: Event
    guard: Guard
    end: Atom
    ring: tuple[Event, ...]
    paths: Paths

    @property
    def backwards(self) -> list[Event]:
        """The backward passes of the loop, each once."""
        return list(dict.fromkeys(each for each in self.ring if each.kind is EventKind.BACKWARD))

    def holds(self, event: Event) -> bool:
        """Whether an event happens under the condition of the step."""
        guards = self.paths.guards(event, self.step.loops[-1])
        return any(guard == self.guard or self.end in set(guard.ends) for guard in guards)


def _turn_of(analysis: Analysis, root: Root, step: Event) -> _Turn | None:
    paths = paths_of(analysis, root)
    guard, end = end_of(analysis, root, step, paths) or (None, None)
    if guard is None or end is None:
        return None
    depth = len(step.loops)
    return _Turn(step, guard, end, tuple(e for e in analysis.events[root] if e.loops[:depth] == step.loops), paths)


def _is_alone(turn: _Turn, optimizers: list[Object]) -> bool:
    """Whether one known optimizer steps in the loop and no other: one may well be trained less often than another."""
    known = {optimizer.uid for optimizer in optimizers}
    steps = {each.targets for each in turn.ring if each.kind is EventKind.STEP}
    others = any(
        each.kind in _OTHERS
        and (each.targets is None or bool(each.targets & known) or each.kind is not EventKind.ESCAPE)
        for each in turn.ring
    )
    return len(steps) == 1 and steps == {turn.step.targets} and not others


def _is_made_each_turn(analysis: Analysis, turn: _Turn, backward: Event) -> bool:
    """Whether a loss that runs backward under the condition is computed outside of it, anew in each turn."""
    nodes = backward.nodes
    if not turn.holds(backward) or backward.loops != turn.step.loops or not nodes or any(node.age for node in nodes):
        return False
    built = [each for each in turn.ring if each.kind is EventKind.FORWARD and any(n.place == each.place for n in nodes)]
    if not built or any(turn.holds(each) or each.loops != turn.step.loops for each in built):
        return False
    return _is_assigned_outside(analysis, backward)


def _is_assigned_outside(analysis: Analysis, backward: Event) -> bool:
    """Whether the name that runs backward is given its value outside of the branches around the pass, and nothing is added to it."""
    row, loop = backward.place.row, analysis.lowering.loop_nodes.get(backward.loops[-1])
    around = loop if isinstance(loop, (ast.For, ast.AsyncFor, ast.While)) and _spans(loop, row) else None
    scope = around or analysis.function_in(row)
    if scope is None or backward.place.filename != analysis.source.filename:
        return False
    stored = [each for each in names(scope) if each.id == backward.name and isinstance(each.ctx, ast.Store)]
    branches = [each for each in walk(scope) if isinstance(each, ast.If) and _spans(each, row)]
    grows = any(isinstance(each, ast.AugAssign) and each.target in stored for each in walk(scope))
    inside = {name for branch in branches for name in names(branch)}
    # Under a condition of whoever calls the function all of it is.
    asked = around is not None or bool(branches)
    return bool(stored) and asked and not grows and not any(each in inside for each in stored)


def _spans(node: ast.stmt, row: int) -> bool:
    return node.lineno <= row <= (node.end_lineno or node.lineno)

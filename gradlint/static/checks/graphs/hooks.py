"""Hooks that pile up: GL517."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.facts.cadence import conditional
from gradlint.static.flow.kinship import overlap
from gradlint.static.flow.roots import Root
from gradlint.static.flow.tree import Event, Uid
from gradlint.static.lowering.notes import Hooked
from gradlint.static.lowering.values import Instance

_Loop = ast.For | ast.AsyncFor | ast.While
_REMOVED = regex(r"\.remove\(|_hooks\b")


@check
def registered_again(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL517: a loop registers a hook in each turn on a module that outlives the turn."""
    hooked = [each for each in analysis.lowering.hooked if each.event.loops]
    if not hooked or _REMOVED.search(analysis.source.text):
        return
    for root in analysis.roots:
        for each in hooked:
            loop = analysis.lowering.loop_nodes.get(each.event.loops[-1])
            if isinstance(loop, _Loop) and _piles_up(analysis, root, each):
                marks = (("loop", analysis.source.place(loop)),)
                place = analysis.source.place(each.node)
                yield compose("GL517", Side.STATIC, place, marks, subject=ast.unparse(each.node.func))


def _piles_up(analysis: Analysis, root: Root, hooked: Hooked) -> bool:
    """Whether each turn of the innermost loop registers a hook on the same module and runs it."""
    loops = hooked.event.loops
    turn = [event for event in analysis.events[root] if event.is_in(loops)]
    if hooked.event not in turn or conditional(root.bare, hooked.event, loops[-1]) or _bound_in(analysis, hooked):
        return False
    kinds = {event.kind for event in turn if any(overlap(hooked.module, uid) for uid in _with_parts(analysis, event))}
    return EventKind.FORWARD in kinds and EventKind.CREATE not in kinds


def _with_parts(analysis: Analysis, event: Event) -> frozenset[Uid]:
    """Return whom an event is about; a module that runs, runs its parts."""
    targets, lowering = event.targets or frozenset(), analysis.lowering
    if event.kind is not EventKind.FORWARD:
        return targets
    running = (Instance(lowering.instances[uid], uid) for uid in targets if uid in lowering.instances)
    return targets | lowering.reach(running)


def _bound_in(analysis: Analysis, hooked: Hooked) -> bool:
    """Whether an unknown module gets its name in the loop, or on several ways: it may be another one in each turn."""
    if hooked.module[0] != "?":
        return False
    spelled, loop = "/".join(hooked.module), analysis.lowering.loop_nodes[hooked.event.loops[-1]]
    assert isinstance(loop, _Loop)
    rows = range(loop.lineno, (loop.end_lineno or loop.lineno) + 1)
    return "#" in spelled or "%" in spelled or any(int(row) in rows for row in re.findall(r"@(\d+)", spelled))

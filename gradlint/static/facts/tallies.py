"""Counters that a function keeps by itself, beside its loops: from which number they count.

It knows what is written of a name in one function; it must not know events beyond their places, or rules.
"""

from __future__ import annotations

import ast

from gradlint.static.analysis import Analysis
from gradlint.static.flow.tree import Event
from gradlint.static.syntax.nodes import own


def counted_from(analysis: Analysis, step: Event, counter: str) -> int | None:
    """Return with which number a counter comes to a step for the first time: set in front of the loops, and counted on after it."""
    name = counter.rpartition("/")[2].partition("%")[0]
    frame = analysis.lowering.frames.get(step.frame)
    if frame is None or "%" not in counter:
        return None
    scope = frame.node or analysis.tree
    loops = [analysis.lowering.loop_nodes.get(number) for number in step.loops]
    begin = min((getattr(loop, "lineno", 0) for loop in loops), default=0)
    stores = [node for node in own(scope) if isinstance(node, ast.Name) and node.id == name and _is_stored(node)]
    written = [node for node in own(scope) if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign))]
    set_ = [node for node in written if isinstance(node, ast.Assign) and _is(node.targets[0], name)]
    counted = [node for node in written if isinstance(node, ast.AugAssign) and _is(node.target, name)]
    match set_, counted:
        case [ast.Assign([ast.Name()], ast.Constant(int(first)), lineno=row)], [
            ast.AugAssign(op=ast.Add(), value=ast.Constant(1), lineno=later)
        ] if len(stores) == 2 and row < begin and later > step.place.row:
            return first
        case _:
            return None


def _is_stored(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)


def _is(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name

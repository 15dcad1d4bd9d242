"""Weights that are copied onto themselves: two names for one network, where a second one was meant: GL823.

It knows the pairings that lowering has noted; it must not know how weights are averaged.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.flow.kinship import overlap
from gradlint.static.lowering.notes import Mirrored
from gradlint.static.syntax.nodes import walk
from gradlint.wordings.construction import MIRRORED

_WRITES = frozenset(["copy_", "mul_", "add_", "lerp_", "sub_", "set_"])
_ROWS = regex(r"[@%](\d+)")


@check
def onto_itself(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL823: `target.load_state_dict(online.state_dict())`, or an average in a loop, where both are one module."""
    seen: set[ast.Call] = set()
    for pairing in analysis.lowering.mirrored:
        otherwise = _is_another_by_turn(analysis, pairing) or _is_assigned_elsewhere(analysis, pairing)
        if pairing.node not in seen and _copies(analysis, pairing) and not otherwise:
            seen.add(pairing.node)
            one, other = pairing.names
            what, way = MIRRORED.format(subject=one, other=other), f"build a second one: `copy.deepcopy({other})`"
            yield compose("GL823", Side.STATIC, analysis.source.place(pairing.node), what=what, way=way)


def _copies(analysis: Analysis, pairing: Mirrored) -> bool:
    """Whether the state is loaded, or a loop over the pairs writes into the weights."""
    if isinstance(pairing.node.func, ast.Attribute):
        return True
    loops = (node for node in walk(_tree(analysis, pairing)) if isinstance(node, ast.For))
    around = next((loop for loop in loops if any(part is pairing.node for part in walk(loop.iter))), None)
    return around is not None and any(map(_writes, walk(around)))


def _tree(analysis: Analysis, pairing: Mirrored) -> ast.AST:
    foreign = analysis.lowering.foreign.get(pairing.node)
    return analysis.tree if foreign is None else foreign.contents.tree


def _writes(node: ast.AST) -> bool:
    match node:
        case ast.Call(ast.Attribute(attr=name)):
            return name in _WRITES
        case ast.Attribute(attr="data", ctx=ast.Store()):
            return True
        case _:
            return False


def _is_another_by_turn(analysis: Analysis, pairing: Mirrored) -> bool:
    """Whether a loop around makes the module anew in each turn: the other name may stand for that of the last one."""
    made = (
        event.loops
        for found in analysis.events.values()
        for event in found
        if event.kind is EventKind.CREATE and any(overlap(pairing.module, uid) for uid in event.targets or ())
    )
    if any(set(loops) & set(pairing.loops) for loops in made):
        return True
    rows = [int(row) for row in _ROWS.findall("/".join(pairing.module))]
    loops = (analysis.lowering.loop_nodes.get(number) for number in pairing.loops)
    spans = [range(loop.lineno, (loop.end_lineno or 0) + 1) for loop in loops if isinstance(loop, (ast.For, ast.While))]
    return any(row in span for span in spans for row in rows)


def _is_assigned_elsewhere(analysis: Analysis, pairing: Mirrored) -> bool:
    """Whether an attribute that holds the module gets another one outside of `__init__`, in whichever order methods are called."""
    words = {name for _, name in pairing.attributes}
    classes = (analysis.lowering.instances.get(owner) for owner, _ in pairing.attributes)
    trees: list[ast.AST] = [analysis.tree, *(cls.node for cls in classes if cls is not None)]
    return any(_assigns(tree, words) for tree in trees)


def _assigns(tree: ast.AST, words: set[str]) -> bool:
    inits = (node for node in walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    inside = {part for node in inits for part in walk(node)}
    stored = (node for node in walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store))
    return any(node.attr in words and node not in inside for node in stored)

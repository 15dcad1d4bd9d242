"""Clipping before the processes have exchanged their gradients: GL602.

It knows which calls add up tensors over processes; it must not know states.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Location, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check, local_check
from gradlint.static.flow.roots import Root
from gradlint.static.flow.tree import Event
from gradlint.static.lowering.values import Class, Function, Library
from gradlint.static.sources.library import role_of
from gradlint.static.syntax.nodes import asks_for, blocks_in, own_of, walk
from gradlint.static.syntax.questions import FunctionNode

_EXCHANGES = frozenset(["all_reduce", "all_reduce_coalesced", "allreduce", "reduce_scatter", "reduce_scatter_tensor"])
_STEPS = (EventKind.STEP, EventKind.OTHER_STEP)


@check
def clipped_before_own_step(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL602: gradients are clipped, and an optimizer of the project exchanges them only in its step."""
    clipped = [found for root in analysis.roots for found in _clipped_then_stepped(root)]
    if not clipped or analysis.lowering.parallel:
        return
    for cls, place in _exchanging_optimizers(analysis):
        for clip in dict.fromkeys(clipped):
            where = f"`{cls.node.name}.step()`"
            yield _too_early(clip.place, clip.name, where, [("exchanged", place)])
        return


def _clipped_then_stepped(root: Root) -> Iterator[Event]:
    for index, event in enumerate(root.events if root.of(EventKind.CLIP) else ()):
        later = root.events[index:] if event.kind is EventKind.CLIP and event.loops else []
        if any(each.kind in _STEPS and each.is_in(event.loops) for each in later):
            yield event


def _exchanging_optimizers(analysis: Analysis) -> Iterator[tuple[Class, Location]]:
    """Yield the optimizers of the project that functions in sight speak of, with the call that exchanges gradients in their step."""
    lowering = analysis.lowering
    if not any(map(lowering.is_optimizer, {known for known in lowering.values.values() if isinstance(known, Class)})):
        return
    read = {node for root in analysis.roots for node in root.followed}
    for scope in (analysis.tree, *sorted(read, key=lambda node: getattr(node, "lineno", 0))):
        # What was not evaluated is not looked for: that would read other files.
        named = [node for node in own_of(scope, ast.Name) if isinstance(lowering.values.get(node), Class)]
        asked = {part for call in own_of(scope, ast.Call) if _asks_kind(call) for part in walk(call)} if named else ()
        for node in named:
            known = lowering.values[node]
            if node not in asked and isinstance(known, Class) and lowering.is_optimizer(known):
                yield from _exchanged_in_step(analysis, known)


def _asks_kind(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id in ("isinstance", "issubclass")


def _exchanged_in_step(analysis: Analysis, cls: Class) -> Iterator[tuple[Class, Location]]:
    step = analysis.lowering.method_of(cls, "step")
    call = next(_exchanges(step.node), None) if step is not None else None
    if call is not None:
        frame = analysis.lowering.frames.get(cls.frame, analysis.lowering.module)
        yield cls, frame.module.source.place(call)


def _exchanges(function: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls that add up gradients over processes."""
    from_gradients = {
        node.targets[0].id
        for node in walk(function)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and _is_gradient(node.value)
    }
    for node in walk(function):
        match node:
            case ast.Call(ast.Attribute(attr=name) | ast.Name(name), args) if name in _EXCHANGES:
                given = [*args, *(keyword.value for keyword in node.keywords)]
                if any(
                    _is_gradient(each) or (isinstance(each, ast.Name) and each.id in from_gradients) for each in given
                ):
                    yield node
            case _:
                continue


def _is_gradient(node: ast.AST) -> bool:
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        if isinstance(node, ast.Attribute) and node.attr == "grad":
            return True
        node = node.value
    return False


@local_check
def clipped_before_exchange(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL602: gradients are clipped, and added up over processes a few statements later."""
    if not analysis.says("clip_grad_") or not analysis.says(*_EXCHANGES):
        return
    for block in blocks_in(analysis.tree):
        for index, statement in enumerate(block):
            clip = next(_clips(analysis, statement), None)
            if clip is None:
                continue
            for later in block[index + 1 :]:
                exchange = next(_exchanged(analysis, later), None)
                if exchange is not None:
                    yield _too_early(analysis.source.place(clip), _whose(clip), "this", [("exchanged", exchange)])
                if exchange is not None or asks_for(later, "backward"):
                    break


def _clips(analysis: Analysis, statement: ast.stmt) -> Iterator[ast.Call]:
    if isinstance(statement, (FunctionNode, ast.ClassDef)):
        return
    for node in walk(statement):
        if isinstance(node, ast.Call):
            known = analysis.value(node.func)
            if isinstance(known, Library) and role_of(known.name) == "clip":
                yield node


def _exchanged(analysis: Analysis, statement: ast.stmt) -> Iterator[Location]:
    """Yield where a statement exchanges gradients, by itself or in a function in sight."""
    if isinstance(statement, (FunctionNode, ast.ClassDef)):
        return
    yield from map(analysis.source.place, _exchanges(statement))
    for node in walk(statement):
        known = analysis.value(node.func) if isinstance(node, ast.Call) else None
        if isinstance(known, Function) and next(_exchanges(known.node), None) is not None:
            yield analysis.source.place(node)


def _whose(clip: ast.Call) -> str:
    return ast.unparse(clip.args[0]) if clip.args else "the model"


def _too_early(place: Location, clipped: str, where: str, marks: list[tuple[str, Location]]) -> Diagnostic:
    whose = clipped.removesuffix(".parameters()")
    what = f"the gradients of `{whose}` are clipped in each process, before {where} adds them up over all processes:"
    what += " each is bounded by its own norm, and their sum by none"
    return compose("GL602", Side.STATIC, place, marks, what=what, when="what has been exchanged")

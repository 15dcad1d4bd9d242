"""Gradients that have a graph: GL507."""

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
from gradlint.static.flow.tree import Event, Uid
from gradlint.static.lowering.notes import Descent
from gradlint.static.lowering.values import UNKNOWN, Kind, const
from gradlint.static.syntax.questions import GRADIENT

_UNUSED = "no optimizer here uses it, and each pass takes the memory and time of building it"
_KEPT = "each parameter and its gradient hold each other, and nothing clears them: they are never freed"


@check
def second_order(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL507: `loss.backward(create_graph=True)` whose graph nobody uses, or nobody frees."""
    for descent in analysis.lowering.descents:
        if descent.event.kind is EventKind.BACKWARD and _creates_graph(descent):
            for root in analysis.roots:
                effect = _effect(analysis, root, descent.event)
                if effect:
                    place = analysis.source.place(descent.node)
                    yield compose("GL507", Side.STATIC, place, subject=ast.unparse(descent.node.func), effect=effect)


def _creates_graph(descent: Descent) -> bool:
    return const(descent.named.get("create_graph", UNKNOWN)) is True


def _effect(analysis: Analysis, root: Root, backward: Event) -> str:
    """Return what it does to the run that gradients have a graph ("": they may well be used)."""
    found = analysis.events[root]
    if backward not in found:
        return ""
    if _reads_gradients(analysis):
        cleared = any(event.kind in (EventKind.ZERO, EventKind.ESCAPE) for event in found)
        return "" if cleared or not backward.loops else _KEPT
    steps = [event for event in found if event.kind in (EventKind.STEP, EventKind.OTHER_STEP)]
    torchs = {made.uid for made in analysis.objects(Kind.OPTIMIZER) if made.origin.startswith("torch.optim.")}
    by_torch = bool(steps) and all(event.targets and event.targets <= torchs for event in steps)
    owned = {module for uid in torchs for module in analysis.lowering.objects[uid].of or ()}
    # Whoever gets the model may look at its gradients.
    used = any(event.kind is EventKind.RETAIN or _hands_out(event, owned) for event in found)
    return _UNUSED if by_torch and not used and "register_hook" not in analysis.source.text else ""


def _hands_out(event: Event, modules: set[Uid]) -> bool:
    return event.kind is EventKind.ESCAPE and any(overlap(uid, own) for uid in event.targets or () for own in modules)


def _reads_gradients(analysis: Analysis) -> bool:
    return any(node.attr in GRADIENT and isinstance(node.ctx, ast.Load) for node in analysis.nodes(ast.Attribute))

"""Losses, or terms of one, whose graph was lost on the way: GL306, GL310, GL510 and GL514."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Location, Severity, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.checks.graphs.graphs import is_trained
from gradlint.static.lowering.notes import Descent
from gradlint.static.lowering.provenance import is_plain
from gradlint.static.lowering.values import Dropped, Tensor

_CODES = {"no-grad": "GL306", "grad": "GL514"}
"""Rules by the means by which a graph is lost; all others are GL510."""


@check
def lost_terms(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL306, GL310, GL510 and GL514: a backward from a loss of which a part, or all, has lost its graph."""
    for descent in analysis.lowering.descents:
        if descent.event.kind is not EventKind.BACKWARD:
            continue
        for root in descent.roots:
            if isinstance(root, Tensor):
                lost = _lost if "grad" in descent.event.roles else _switched_off
                yield from lost(analysis, descent, root)


def _switched_off(analysis: Analysis, descent: Descent, root: Tensor) -> Iterator[Diagnostic]:
    """GL310: a statement has switched gradients off for good, and the whole loss was computed since."""
    if "no-grad" not in descent.event.roles or not is_plain(root) or root.cut is not None:
        return
    for lost in sorted(root.dropped, key=lambda each: each.place):
        statement = analysis.lowering.switched.get(lost.place)
        if statement is not None and lost.means == "no-grad" and _concerns(analysis, root, lost):
            marks = (("made", lost.place), ("backward", descent.event.place))
            yield compose("GL310", Side.STATIC, statement, marks, subject=_spelled(descent.node))
            return


def _lost(analysis: Analysis, descent: Descent, root: Tensor) -> Iterator[Diagnostic]:
    for lost in sorted(root.dropped, key=lambda each: each.place):
        code = _CODES.get(lost.means, "GL510")
        if not _concerns(analysis, root, lost):
            continue
        if root.nodes:
            yield _said(code, lost, descent, "this term adds nothing to the gradient")
        elif is_plain(root) and root.cut is None and code != "GL510":
            found = _said(code, lost, descent, "`backward()` raises RuntimeError")
            yield replace(found, severity=Severity.ERROR)


def _concerns(analysis: Analysis, root: Tensor, lost: Dropped) -> bool:
    """Whether what is lost would train somebody: the rest of the loss does, or an optimizer steps it."""
    if lost.means == "grad" and {node.module for node in root.nodes} & {node.module for node in lost.nodes}:
        return True  # A target may come from the same model; what is made of its gradients is a penalty on them.
    shared = {node.place for node in root.nodes} & {node.place for node in lost.nodes}
    return bool(shared - analysis.kept(_drawn)) or any(node.sure and is_trained(analysis, node) for node in lost.nodes)


def _drawn(analysis: Analysis) -> frozenset[Location]:
    """Return where a method draws samples, which usually have no graph."""
    found = (event for events in analysis.events.values() for event in events)
    return frozenset(event.place for event in found if "drawn" in event.roles)


def _said(code: str, lost: Dropped, descent: Descent, effect: str) -> Diagnostic:
    marks = [("backward", descent.event.place)]
    means = f"`{lost.means}`" if lost.means == "data" else f"`{lost.means}()`"
    return compose(code, Side.STATIC, lost.place, marks, means=means, subject=_spelled(descent.node), effect=effect)


def _spelled(call: ast.Call) -> str:
    """Return how the user writes the loss of a backward pass."""
    if isinstance(call.func, ast.Attribute) and call.func.attr == "backward" and not call.args:
        return ast.unparse(call.func.value)
    return ast.unparse(call.args[0]) if call.args else "the loss"

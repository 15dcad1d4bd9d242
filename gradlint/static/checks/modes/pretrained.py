"""Pretrained models that are trained in the evaluation mode in which a library returns them: GL304.

It knows modes and who is trained; it must not know which library returns what.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Location, Severity
from gradlint.events import EventKind
from gradlint.protocols import MODE
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.checks.modes.left_off import left_off
from gradlint.static.facts.sensitivity import Makers
from gradlint.static.flow.following import follow_to
from gradlint.static.flow.glance import breaking
from gradlint.static.flow.kinship import name_of, within
from gradlint.static.flow.roots import Root
from gradlint.static.flow.trained import on_module
from gradlint.static.flow.tree import Effect, Event, Uid
from gradlint.static.sources.library import words
from gradlint.typestate import State
from gradlint.wordings.modes import AS_RETURNED


@check
def pretrained(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL304: what a library returned in evaluation mode is trained, and no path puts it into training mode."""
    makers = analysis.kept(Makers)
    for module, optimizers in sorted(analysis.trained_by.items()):
        returned = makers.pretrained(module)
        for root in analysis.roots if returned is not None else ():
            assert returned is not None
            if root.complete or not _told_aside(analysis, module):
                yield from _trained(analysis, root, module, optimizers, returned)


def _told_aside(analysis: Analysis, module: Uid) -> bool:
    """Whether somebody tells a model of this name to train: a constructor, say, that ran before a method is read alone."""
    name = name_of(module).rpartition(".")[2]
    told = (node.func for node in analysis.nodes(ast.Call) if isinstance(node.func, ast.Attribute))
    owners = (call.value for call in told if call.attr == "train")
    return any(ast.unparse(owner).rpartition(".")[2] == name for owner in owners)


def _trained(
    analysis: Analysis, root: Root, module: Uid, optimizers: frozenset[Uid], returned: Location
) -> Iterator[Diagnostic]:
    effect = _unless_frozen(module, on_module(module, optimizers))
    start = State("pretrained", (("pretrained", returned),))
    arrivals = follow_to(root.bare, MODE, effect, breaking(MODE), start)
    for event, states in sorted(arrivals.items(), key=lambda item: item[0].place):
        if event.kind is not EventKind.STEP or not event.loops:
            continue
        lost = [state for state in states if state.name == "pretrained-backward"]
        # Paths on which somebody unknown had the model excuse none on which nobody had.
        if lost and all(state.name in ("pretrained-backward", "unknown") for state in states):
            place, marks = _training_loop(analysis, event), min(state.marks for state in lost)
            found = left_off(analysis, module, place, marks, name_of(module), AS_RETURNED)
            # The source of the model is not in sight: it may have nothing that its mode matters to.
            yield replace(found, severity=Severity.INFO if _seldom_drops(analysis, returned) else Severity.WARNING)
            return


def _seldom_drops(analysis: Analysis, returned: Location) -> bool:
    """Whether a model was made of a class whose models seldom have dropout."""
    calls = (node for node in analysis.calls_in(returned.row) if analysis.source.place(node) == returned)
    return any(not words("pretrained", "undropping").isdisjoint(ast.unparse(call.func).split(".")) for call in calls)


def _unless_frozen(module: Uid, usual: Effect) -> Effect:
    """Return an effect for which a model whose parameters are all told not to require gradients is nobody's to train."""

    def effect(event: Event) -> EventKind | None:
        frozen = event.kind is EventKind.FREEZE and any(within(module, target) for target in event.targets or ())
        return EventKind.ESCAPE if frozen else usual(event)

    return effect


def _training_loop(analysis: Analysis, step: Event) -> Location:
    """Return the head of the outermost loop that trains: `train()` is missing there."""
    loop = analysis.lowering.loop_nodes.get(step.loops[0])
    if not isinstance(loop, (ast.For, ast.AsyncFor, ast.While)):
        return step.place
    head = loop.test if isinstance(loop, ast.While) else loop.iter
    return analysis.source.place(head)

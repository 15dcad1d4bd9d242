"""Models with trained weights that an object keeps only to run them, in the training mode in which they were made: GL303.

It knows attributes and who is trained; in which order anything happens does not matter, since nobody sets their mode.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Location, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import local_check
from gradlint.static.facts.layers import Sensitivity
from gradlint.static.facts.sensitivity import Makers
from gradlint.static.flow.tree import Event, Uid
from gradlint.static.syntax.nodes import walk
from gradlint.wordings.modes import STAYS_ON, TRAINING_MODE

_MODES = frozenset(["eval", "train"])


@local_check
def extractors(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL303: an attribute is a model with trained weights; it is run, never trained, and nobody in the file sets its mode."""
    makers = analysis.kept(Makers)
    for module, made in analysis.lowering.pretrained.items():
        run = _run(analysis, module)
        if run and _is_kept(analysis, module, made) and makers.sensitivity(module) is Sensitivity.YES:
            first = min(run, key=lambda each: each.place)
            marks = (("loaded", made),)
            yield compose(
                "GL303", Side.STATIC, first.place, marks, subject=first.name, mode=TRAINING_MODE, effect=STAYS_ON
            )


def _run(analysis: Analysis, module: Uid) -> list[Event]:
    """Return the forward passes of a model where it is not made."""
    return [
        event
        for found in analysis.events.values()
        for event in found
        if event.kind is EventKind.FORWARD and module in (event.targets or ()) and "method" not in event.roles
    ]


def _is_kept(analysis: Analysis, module: Uid, made: Location) -> bool:
    """Whether only attributes of plain objects hold a model, and nobody trains it or sets its mode."""
    lowering = analysis.lowering
    owners = lowering.attributes.get(module, set())
    if not owners or module in lowering.escaped or analysis.trained.overlapping(module):
        return False
    # A module sets the mode of its parts, and so may a base that is not in sight.
    if any(lowering.is_module(cls) or lowering.is_open(cls) for cls, _ in owners):
        return False
    names = {name for _, name in owners}
    if not _is_made_there(analysis, made, names):
        return False
    asked = [node.value for node in analysis.nodes(ast.Attribute) if node.attr in _MODES]
    return not any(_is_it(analysis, each, made, names) for each in asked) and not _is_given(analysis, names)


def _is_made_there(analysis: Analysis, made: Location, names: set[str]) -> bool:
    """Whether a model is made in the very statement that gives it to an attribute: it has no other name."""
    return any(
        isinstance(node.targets[0], ast.Attribute)
        and node.targets[0].attr in names
        and any(isinstance(each, ast.Call) and analysis.source.place(each) == made for each in walk(node.value))
        for node in analysis.nodes(ast.Assign)
    )


def _is_it(analysis: Analysis, node: ast.expr, made: Location, names: set[str]) -> bool:
    """Whether an expression is an attribute of one of these names, or makes the model."""
    if isinstance(node, ast.Attribute):
        return node.attr in names
    return any(isinstance(each, ast.Call) and analysis.source.place(each) == made for each in walk(node))


def _is_given(analysis: Analysis, names: set[str]) -> bool:
    """Whether an attribute of one of these names is read other than to call it, or something of it."""
    used = {node.func for node in analysis.nodes(ast.Call)} | {node.value for node in analysis.nodes(ast.Attribute)}
    reads = (node for node in analysis.nodes(ast.Attribute) if node.attr in names and isinstance(node.ctx, ast.Load))
    return any(node not in used for node in reads)

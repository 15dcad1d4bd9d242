"""Models with trained weights that are only run, in the training mode in which they were made: GL303.

It knows attributes, names and who is trained; in which order anything happens does not matter, since nobody sets their mode.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Location, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import local_check
from gradlint.static.checks.modes.weight import effect_of
from gradlint.static.facts.layers import Sensitivity
from gradlint.static.facts.sensitivity import Makers
from gradlint.static.flow.tree import Event, Uid
from gradlint.static.syntax.nodes import walk, walk_of
from gradlint.wordings.modes import TRAINING_MODE

_MODES = frozenset(["eval", "train"])


@local_check
def extractors(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL303: an attribute, or a name beside what a loop trains, is a model with trained weights; nobody trains it or sets its mode."""
    makers = analysis.kept(Makers)
    for module, made in analysis.lowering.pretrained.items():
        run = _run(analysis, module)
        if not run or module in analysis.lowering.escaped or analysis.trained.overlapping(module):
            continue
        idle = _is_kept(analysis, module, made) or (_is_named(analysis, made) and _teaches(analysis, run))
        if idle and makers.sensitivity(module) is Sensitivity.YES:
            first = min(run, key=lambda each: each.place)
            marks = (("loaded", made),)
            yield compose(
                "GL303",
                Side.STATIC,
                first.place,
                marks,
                subject=first.name,
                mode=TRAINING_MODE,
                effect=effect_of(makers, module),
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
    """Whether only attributes of plain objects hold a model, and nobody sets its mode."""
    lowering = analysis.lowering
    owners = lowering.attributes.get(module, set())
    if not owners:
        return False
    # A module sets the mode of its parts, and so may a base that is not in sight.
    if any(lowering.is_module(cls) or lowering.is_open(cls) for cls, _ in owners):
        return False
    names = {name for _, name in owners}
    if not _is_made_there(analysis, made, names):
        return False
    asked = [node.value for node in analysis.nodes(ast.Attribute) if node.attr in _MODES]
    return not any(_is_it(analysis, each, made, names) for each in asked) and not _is_given(analysis, names)


def _is_named(analysis: Analysis, made: Location) -> bool:
    """Whether the statement that makes a model gives it the only name that it has, by which it is only called, never switched."""
    for node in analysis.nodes(ast.Assign):
        match node.targets:
            case [ast.Name(name)] if any(_is_it(analysis, each, made, set()) for each in walk(node.value)):
                scope = analysis.function_in(node.lineno) or analysis.tree
                named = [each for each in walk_of(scope, ast.Name) if each.id == name]
                owned = [each for each in walk_of(scope, ast.Attribute) if each.value in named]
                asked = owned + [each for each in walk(node.value) if isinstance(each, ast.Attribute)]
                used = {call.func for call in walk_of(scope, ast.Call)} | {each.value for each in owned}
                once = all(each in used or each is node.targets[0] for each in named)
                return once and _MODES.isdisjoint(each.attr for each in asked)
            case _:
                continue
    return False


def _teaches(analysis: Analysis, run: list[Event]) -> bool:
    """Whether a model runs in a loop in which another one is trained."""
    steps = [event for found in analysis.events.values() for event in found if event.kind is EventKind.STEP]
    return any(event.loops and step.is_in(event.loops) for event in run for step in steps)


def _is_made_there(analysis: Analysis, made: Location, names: set[str]) -> bool:
    """Whether a model is made in the very statement that gives it to an attribute: it has no other name."""
    return any(
        isinstance(node.targets[0], ast.Attribute)
        and node.targets[0].attr in names
        and any(isinstance(each, ast.Call) and analysis.source.place(each) == made for each in walk(node.value))
        for node in analysis.nodes(ast.Assign)
    )


def _is_it(analysis: Analysis, node: ast.AST, made: Location, names: set[str]) -> bool:
    """Whether an expression is an attribute of one of these names, or makes the model."""
    if isinstance(node, ast.Attribute):
        return node.attr in names
    return any(isinstance(each, ast.Call) and analysis.source.place(each) == made for each in walk(node))


def _is_given(analysis: Analysis, names: set[str]) -> bool:
    """Whether an attribute of one of these names is read other than to call it, or something of it."""
    used = {node.func for node in analysis.nodes(ast.Call)} | {node.value for node in analysis.nodes(ast.Attribute)}
    reads = (node for node in analysis.nodes(ast.Attribute) if node.attr in names and isinstance(node.ctx, ast.Load))
    return any(node not in used for node in reads)

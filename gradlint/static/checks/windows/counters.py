"""Counters of batches that count steps, whose windows change their length on the way, or that are asked the wrong way round: GL703."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import local_check
from gradlint.static.facts.cadence import last_name, tree_of, word_of
from gradlint.static.facts.guards import Guard, Paths, paths_of
from gradlint.static.facts.windows import end_of, ends
from gradlint.static.flow.tree import Atom, Event
from gradlint.static.syntax.nodes import walk, words


@local_check
def stuck(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL703: the counter that lets the step by moves on only when there was a step, so that the next one never comes."""
    if not analysis.lowering.counts:
        return
    for root in analysis.roots:
        found = analysis.events[root]
        steps = dict.fromkeys(event for event in root.of(EventKind.STEP) if event.loops)
        for step in steps:
            paths = paths_of(analysis, root)
            guard, end = end_of(analysis, root, step, paths) or (None, None)
            outside = any(
                event.kind is EventKind.BACKWARD
                and step.loops[-1] in event.loops
                and guard not in paths.guards(event, None)
                for event in found
            )
            counted = _counted(analysis, step.loops[-1], end) if end is not None and outside else None
            if counted is not None:
                what = (
                    f"`{step.name}` steps when the counter is a multiple of the window's length, and the counter moves on only "
                    "when it has stepped: after the first step it stays where it is, and there is no other"
                )
                marks = (("counted", analysis.source.place(counted)),)
                remedy = "count batches, not steps, for the window"
                yield compose("GL703", Side.STATIC, step.place, marks, what=what, remedy=remedy)


@local_check
def irregular(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL703: a window ends at multiples of a length that other batches of the same loop change."""
    for step, end in ends(analysis):
        changed = _changed(analysis, step.loops[-1], end)
        if changed is not None:
            length = last_name(changed.targets[0])
            what = (
                f"`{step.name}` steps when the counter is a multiple of `{length}`, and the loop changes `{length}` on the way: "
                "two multiples of different lengths are any number of batches apart, so that windows are too short or too long"
            )
            marks = (("changed", analysis.source.place(changed)),)
            remedy = f"remember the batch of the last step, and step when `{length}` batches have come since"
            yield compose("GL703", Side.STATIC, step.place, marks, what=what, remedy=remedy)


@local_check
def inverted(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL703: the step, and the clearing with it, come in all batches but those that end a window."""
    for root in analysis.roots if analysis.lowering.counts else ():
        found = analysis.events[root]
        steps = list(dict.fromkeys(event for event in root.of(EventKind.STEP) if event.loops))
        for step in steps:
            paths = paths_of(analysis, root)
            guard, length = _missed(paths, step) or (None, "")
            ring = [event for event in found if event.loops == step.loops]
            alone = [other for other in steps if other in ring and other.targets == step.targets] == [step]
            cleared = [event for event in ring if event.kind is EventKind.ZERO and event.targets == step.targets]
            backwards = [event for event in ring if event.kind is EventKind.BACKWARD]
            apart = not any(guard in paths.guards(event, step.loops[-1]) for event in backwards)
            together = cleared and all(guard in paths.guards(event, step.loops[-1]) for event in cleared)
            if guard is not None and alone and backwards and apart and together:
                what = f"`{step.name}` steps when the counter is no multiple of the window's length: in all batches but one of {length}"
                remedy = "compare the remainder with 0"
                yield compose("GL703", Side.STATIC, step.place, what=what, remedy=remedy)


def _missed(paths: Paths, step: Event) -> tuple[Guard, str] | None:
    """Return the guard of a step that lets it by in all turns but those that end a window of more than two, and the length."""
    for guard in paths.guards(step, step.loops[-1]):
        for atom in guard.misses:
            if atom.cycle is not None and atom.cycle.turns != 2 and not list(guard.ends):
                return guard, str(atom.cycle.turns or f"`{word_of(atom.cycle.length)}`")
    return None


def _changed(analysis: Analysis, loop: int, end: Atom) -> ast.Assign | None:
    """Return where a loop gives the length of its windows another value, while one counter runs through."""
    node = analysis.lowering.loop_nodes.get(loop)
    length, counter = (word_of(end.cycle.length), word_of(end.cycle.counter)) if end.cycle is not None else ("", "")
    if not isinstance(node, (ast.For, ast.AsyncFor)) or not length.isidentifier() or not counter:
        return None
    given = [each for each in walk(node) if isinstance(each, ast.Assign)]
    made = {name for name in map(last_name, _parts(node.target)) if name}
    # What is computed from the loop's own variables is another value in each turn.
    for each in given:
        if made & words(each.value):
            made |= {name for name in map(last_name, _targets(each)) if name}
    begun_anew = any(
        isinstance(each, ast.AugAssign) and last_name(each.target) == counter for each in walk(node)
    ) or any(counter in map(last_name, _targets(each)) and not made & words(each.value) for each in given)
    changes = [each for each in given if length in map(last_name, _targets(each))]
    varying = bool(changes) and all((made - {length}) & words(each.value) for each in changes)
    return changes[0] if varying and counter in made and not begun_anew else None


def _parts(target: ast.expr) -> Iterator[ast.expr]:
    return (node for node in walk(target) if isinstance(node, ast.Name))


def _counted(analysis: Analysis, loop: int, end: Atom) -> ast.AugAssign | None:
    """Return where the counter of a window moves on, if it does so in one place that only a step reaches."""
    node = analysis.lowering.loop_nodes.get(loop)
    name = word_of(end.cycle.counter) if end.cycle is not None else ""
    flag = word_of(end.key)
    if node is None or not name or not flag.isidentifier():
        return None
    moved = [
        each
        for each in walk(tree_of(analysis, node))
        if isinstance(each, ast.AugAssign) and last_name(each.target) == name
    ]
    bound = [
        each
        for each in walk(node)
        if isinstance(each, (ast.Assign, ast.For)) and name in {last_name(target) for target in _targets(each)}
    ]
    if len(moved) != 1 or bound or not _within(node, moved[0]):
        return None
    return moved[0] if _only_with(node, moved[0], flag) else None


def _targets(node: ast.Assign | ast.For) -> Iterator[ast.expr]:
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        yield from target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]


def _within(node: ast.AST, part: ast.AST) -> bool:
    return any(each is part for each in walk(node))


def _only_with(loop: ast.AST, moved: ast.AugAssign, flag: str) -> bool:
    """Whether a counter moves on only where a flag is true: it adds the flag, or stands under it."""
    match moved.value:
        case ast.Name(name) | ast.Call(ast.Name("int" | "bool"), [ast.Name(name)]) if name == flag:
            return True
    return any(
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == flag
        and any(_within(statement, moved) for statement in node.body)
        for node in walk(loop)
    )

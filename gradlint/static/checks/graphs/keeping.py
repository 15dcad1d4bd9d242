"""Graphs that a sum or a list keeps beyond the iteration that made them: GL501.

It knows what is written of a kept value; it must not know what else happens to a graph (`graphs`).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Severity, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.checks.graphs.graphs import is_trained
from gradlint.static.facts.cadence import over_batches
from gradlint.static.facts.holders import held_by_another
from gradlint.static.flow.tree import Event, GraphNode
from gradlint.static.lowering.notes import Keeping
from gradlint.static.lowering.values import Function
from gradlint.static.syntax.lineage import runs_backward
from gradlint.static.syntax.nodes import asks_for, walk
from gradlint.static.syntax.telling import (
    assigned,
    begins_anew,
    gives,
    grows,
    is_told,
    mentions,
    sums_up,
    tells,
    told_in_turn,
)


@check
def kept(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL501: a loss with its graph is summed up or stored beyond the iteration."""
    sums = {keeping.place for keeping in analysis.lowering.keepings if _reaches_backward(analysis, keeping)}
    for keeping in analysis.lowering.keepings:
        if keeping.place in sums or not _outlives_its_turn(analysis, keeping) or _is_of_one_step(analysis, keeping):
            continue  # The sum is the loss: so it is where the same function is called by an evaluation.
        backwarded = keeping.nodes & _backwarded(analysis, keeping.loops)
        if not any(
            node in backwarded or (node.sure and is_trained(analysis, node)) or _differentiable(analysis, node)
            for node in keeping.nodes
        ) or not _only_told(
            analysis, keeping, freed=keeping.nodes <= _backwarded(analysis, keeping.loops, retained=False)
        ):
            continue
        if not backwarded and held_by_another(analysis, keeping):
            continue  # Without the list, they would be kept as long.
        used = bool(backwarded)
        # What a backward has run through is over, as a rule; what has parts besides, an outer loss, is for whoever gets it.
        whole = keeping.nodes <= backwarded
        if not (used and whole) and _returned(analysis, keeping) and not _told_by_callers(analysis, keeping):
            continue
        if used and whole and keeping.outer and over_batches(analysis, keeping.outer[-1]):
            continue  # Of graphs that are freed little is left, and that until the next batch only.
        found = compose("GL501", Side.STATIC, keeping.place, [("created", keeping.created)], subject=keeping.name)
        # A graph that no backward has freed is kept whole, buffers and all.
        yield found if used else replace(found, severity=Severity.ERROR)


def keeps(keeping: Keeping, forward: Event) -> bool:
    """Whether graphs of a forward are kept, turn after turn.

    The same function may be called elsewhere, where they are needed; and what begins anew in each turn keeps none of the last.
    """
    turns = keeping.loops[: len(keeping.outer) + 1]
    return forward.is_in(turns) and any(node.place == forward.place for node in keeping.nodes)


def _outlives_its_turn(analysis: Analysis, keeping: Keeping) -> bool:
    """Whether the loop over which something is kept is one that runs the model, as far as the forward is in sight."""
    places = {node.place for node in keeping.nodes}
    events = (event for found in analysis.events.values() for event in found)
    forwards = [event for event in events if event.kind is EventKind.FORWARD and event.place in places]
    return not forwards or any(keeps(keeping, forward) for forward in forwards)


def _is_of_one_step(analysis: Analysis, keeping: Keeping) -> bool:
    """Whether what nobody has seen the graph of is collected anew for each step of an optimizer, over its window."""
    if any(node.sure for node in keeping.nodes) or not keeping.outer:
        return False
    steps = [
        event
        for found in analysis.events.values()
        for event in found
        if event.kind in (EventKind.STEP, EventKind.OTHER_STEP) and event.is_in(keeping.outer)
    ]
    return bool(steps) and not any(step.is_in(keeping.loops) for step in steps)


def _differentiable(analysis: Analysis, node: GraphNode) -> bool:
    """Whether a module, known or not, returns something with a graph: elsewhere, a backward runs through the same of it alone."""
    everything = [event for found in analysis.events.values() for event in found]
    through = [
        event.nodes
        for event in everything
        if event.kind is EventKind.BACKWARD and {other.module for other in event.nodes} == {node.module}
    ]
    if not through:
        return False
    run = (event for event in everything if event.kind is EventKind.FORWARD and "method" in event.roles)
    methods = {event.place: event.name.rpartition(".")[2] for event in run}
    own = methods.get(node.place)
    return any(methods.get(other.place) == own for nodes in through for other in nodes)


def _told_by_callers(analysis: Analysis, keeping: Keeping) -> bool:
    """Whether all who call a function that returns what it has summed up are in this file and take its number only."""
    places = {node.place for node in keeping.nodes}
    function = keeping.scope
    if not isinstance(function, ast.FunctionDef) or any(root.node is function for root in analysis.roots):
        return False
    if function in analysis.lowering.foreign:
        return False
    if any(
        event.kind is EventKind.ESCAPE and any(node.place in places for node in event.nodes)
        for found in analysis.events.values()
        for event in found
    ):
        return False
    names = {function.name}
    for node in walk(analysis.tree):
        if isinstance(node, ast.Assign) and _asks(node.value, function.name):
            names |= {part.id for target in node.targets for part in walk(target) if isinstance(part, ast.Name)}
    own = set(walk(function))
    if any(_hands_on(analysis, node, names) for node in walk(analysis.tree) if node not in own):
        return False
    returned = [
        node.value
        for node in walk(analysis.tree)
        if isinstance(node, ast.Return) and node.value is not None and node not in own
    ]
    if any(_asks(value, function.name) for value in returned):
        return False
    return not any(gives(value, name) for value in returned for name in names)


def _asks(node: ast.AST, function: str) -> bool:
    """Whether a function, or a method, stands in a node."""
    return mentions(node, function) or asks_for(node, function)


def _hands_on(analysis: Analysis, node: ast.AST, names: set[str]) -> bool:
    """Whether a call gives one of some names to a function that runs something backward, or puts it among others."""
    match node:
        case ast.Call(func, args) if isinstance(function := analysis.value(func), Function):
            return asks_for(function.node, "backward") and any(gives(arg, name) for arg in args for name in names)
        case ast.Call(ast.Attribute(attr="append" | "extend" | "update"), args):
            return any(gives(arg, name) or _asks(arg, name) for arg in args for name in names)
        case _:
            return False


def _reaches_backward(analysis: Analysis, keeping: Keeping) -> bool:
    """Whether a backward outside the loop runs through what the loop made: the sum is the loss."""
    places = {node.place for node in keeping.nodes}
    inside = _within(analysis, keeping)
    if any(
        not inside(event)
        and not _is_over(analysis, keeping, event)
        and any(node.place in places for node in event.nodes)
        for found in analysis.events.values()
        for event in found
        if event.kind in (EventKind.BACKWARD, EventKind.RETAIN)
    ):
        return True
    loop = analysis.lowering.loop_nodes.get(keeping.loops[-1])
    return loop is not None and runs_backward(keeping.scope or analysis.tree, keeping.name, loop)


def _is_over(analysis: Analysis, keeping: Keeping, event: Event) -> bool:
    """Whether an event of the module itself, which runs once, comes before the loop that keeps."""
    loop, there = analysis.lowering.loop_nodes.get(keeping.loops[-1]), event.place
    once = not keeping.outer and len(event.frame) == 1 and isinstance(keeping.scope, ast.Module | None)
    beside = (there.filename, there.cell) == (keeping.place.filename, keeping.place.cell)
    return once and beside and there.row < getattr(loop, "lineno", 0)


def _written(analysis: Analysis, keeping: Keeping) -> Iterator[ast.AST]:
    """Yield what is written where a kept value has its name; an attribute has it in two files."""
    yield from walk(keeping.scope or analysis.tree)
    if isinstance(keeping.scope, ast.Module):
        yield from walk(analysis.tree)


def _within(analysis: Analysis, keeping: Keeping) -> Callable[[Event], bool]:
    """Return whether an event happens in the loop that keeps, whichever call of its function it is."""
    loop = analysis.lowering.loop_nodes.get(keeping.loops[-1])
    first, last, file = getattr(loop, "lineno", 0), getattr(loop, "end_lineno", 0) or 0, keeping.place.filename
    return lambda event: (
        event.is_in(keeping.loops)
        or (event.place.filename == file and first <= event.place.row <= last and loop is not None)
    )


def _only_told(analysis: Analysis, keeping: Keeping, *, freed: bool) -> bool:
    """Whether nobody runs backward from the kept value and nobody starts it anew within the loop.

    A sum or a mean of graphs that are `freed` is only a number.
    """
    loop = analysis.lowering.loop_nodes.get(keeping.loops[-1])
    if loop is None or keeping.name in assigned(loop) or begins_anew(loop, keeping.name):
        return False
    written = list(_written(analysis, keeping))
    told = {id(each) for node in written for each in told_in_turn(node)}
    nodes = [node for node in written if not (type(node) is ast.comprehension and id(node) in told)]
    names = [keeping.name, *(alias for node in written for alias in _alias(node, keeping.name))]
    keyed = any(_is_keyed(node, keeping.name) for node in written)
    return not any(_needs(node, name, freed=freed, keyed=keyed) for node in nodes for name in names)


def _alias(node: ast.AST, name: str) -> Iterator[str]:
    """Yield the other name that a statement gives to what `name` keeps, as to what it was when it was told of last."""
    match node:
        case ast.Assign([ast.Name(alias)], ast.Name(value)) if value == name:
            yield alias


def _is_keyed(node: ast.AST, name: str) -> bool:
    """Whether something under a word is asked for of what `name` keeps: it is a dict, and who goes through it gets words."""
    match node:
        case ast.Subscript(ast.Name(owner), ast.Constant(str())):
            return owner == name
        case _:
            return False


def _needs(node: ast.AST, name: str, *, freed: bool, keyed: bool) -> bool:
    """Whether a piece of code has a use for the graphs of what `name` keeps, or begins it anew."""
    match node:
        case ast.Call(ast.Attribute(owner, "backward")) if mentions(owner, name):
            return True
        case ast.Call(ast.Attribute(attr="append"), [arg]) if mentions(arg, name) and is_told(arg, name):
            return False
        case ast.Call(func, args) if not tells(func, name) and not (freed and sums_up(func)):
            return any(gives(arg, name) for arg in args)
        case ast.For(iter=ast.Name(source)) if source == name and keyed:
            given = (target for each in walk(node) if isinstance(each, ast.Assign) for target in each.targets)
            return any(isinstance(target, ast.Subscript) and mentions(target.value, name) for target in given)
        case ast.For(iter=source) | ast.comprehension(iter=source) if gives(source, name):
            return True
        case ast.For(iter=ast.Call(ast.Attribute(source, "values" | "items"))) if gives(source, name):
            return _empties(node)
        case ast.Attribute(
            ast.Name(owner), "backward" | "mean" | "sum" | "requires_grad" | "pop" | "popleft" | "clear"
        ):
            return owner == name
        case ast.Delete(targets):
            return any(mentions(target, name) for target in targets)
        case ast.Assign([ast.Name(target)]) if target == name and grows(node):
            return False
        case ast.Assign(_, ast.Call(func)) if freed and sums_up(func):
            return False
        case ast.Assign(_, value):
            return mentions(value, name) and not is_told(value, name) and not list(_alias(node, name))
        case ast.AugAssign(value=value) if not is_told(value, name):
            return any(mentions(part.value, name) for part in walk(value) if isinstance(part, ast.Subscript))
        case _:
            return False


def _empties(loop: ast.For) -> bool:
    """Whether a loop empties, one by one, the lists that it goes over."""
    each = {part.id for part in walk(loop.target) if isinstance(part, ast.Name)}
    for node in walk(loop):
        match node:
            case ast.Call(ast.Attribute(ast.Name(name), "clear")) | ast.Delete([ast.Subscript(ast.Name(name))]):
                if name in each:
                    return True
    return False


def _returned(analysis: Analysis, keeping: Keeping) -> bool:
    """Whether a kept value is returned, by itself or in what it was put into under a key."""
    names = {keeping.name}
    for node in _written(analysis, keeping):
        match node:
            case ast.Assign([ast.Subscript(ast.Name(holder))], value) if mentions(value, keeping.name):
                names.add(holder)
    return any(
        isinstance(node, (ast.Return, ast.Yield))
        and node.value is not None
        and any(mentions(node.value, name) for name in names)
        for node in _written(analysis, keeping)
    )


def _backwarded(analysis: Analysis, loops: tuple[int, ...], *, retained: bool = True) -> frozenset[GraphNode]:
    """Return the graph parts that a backward in a loop runs through, `retained` ones too."""
    return frozenset(
        node
        for found in analysis.events.values()
        for event in found
        if event.kind is EventKind.BACKWARD and event.is_in(loops) and (retained or "retain" not in event.roles)
        for node in event.nodes
    )

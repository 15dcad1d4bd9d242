"""Graphs used twice or kept: GL501, GL503, GL504 and GL506."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Severity, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.protocols import GRAPH
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.following import breaches
from gradlint.static.lowering import Root
from gradlint.static.nodes import walk
from gradlint.static.notes import Keeping
from gradlint.static.syntax import goes_on
from gradlint.static.trained import on_graph
from gradlint.static.tree import Event, GraphNode
from gradlint.static.values import Function


@check
def used_twice(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL503, GL504 and GL506: a backward through a graph that another one has freed."""
    for root in analysis.roots:
        found = analysis.events[root]
        backwards = [event for event in found if event.kind is EventKind.BACKWARD and event.nodes]
        carried = list(_carried(analysis, found, backwards))
        yield from carried
        if carried:
            continue
        for node in sorted(
            {node for event in backwards for node in event.nodes if not node.age}, key=lambda each: each.place
        ):
            if node.sure and is_trained(analysis, node):
                yield from _freed(root, node, found)


def is_trained(analysis: Analysis, node: GraphNode) -> bool:
    """Whether a graph part has gradients: a module of torch or of this file has, unless somebody may have frozen it."""
    lowering = analysis.lowering
    if analysis.kin(lowering.frozen).overlapping(node.module):
        return False
    made_here = node.module in lowering.objects or node.module in lowering.instances
    if node.sure and made_here and not analysis.kin(lowering.escaped).overlapping(node.module):
        return True
    return bool(analysis.trained.overlapping(node.module))


def _freed(root: Root, node: GraphNode, found: list[Event]) -> Iterator[Diagnostic]:
    arrivals = breaches(root.tree, GRAPH, on_graph(node))
    built = [event for event in found if event.kind is EventKind.FORWARD and node in event.nodes] if arrivals else []
    for event, worlds in arrivals.items():
        states = {world.state for world in worlds}
        freed = next((state for state in states if GRAPH.advance(state, event.kind, event.place)[1] is not None), None)
        if event.kind is not EventKind.BACKWARD or freed is None or "retain" in event.roles:
            continue
        again = freed.mark("freed") == event.place
        inside = any(forward.is_in(event.loops) for forward in built)
        if {state.name for state in states} == {"freed"} and inside and not again:
            yield compose("GL503", Side.STATIC, event.place, freed.marks, through="")
        elif again and not inside and {state.name for state in states} <= {"live", "freed"}:
            yield compose("GL504", Side.STATIC, event.place, freed.marks, built="")


def _carried(analysis: Analysis, found: list[Event], backwards: list[Event]) -> Iterator[Diagnostic]:
    """A backward that reaches both this iteration's graph part and the last one's has freed the last one."""
    for event in backwards:
        if "retain" in event.roles or "partial" in event.roles:
            continue
        for node in event.nodes:
            if node.age and node.sure and replace(node, age=0) in event.nodes and is_trained(analysis, node):
                marks = (("made", node.place), ("freed", event.place))
                name = analysis.lowering.carriers.get(replace(node, age=0), "the state")
                yield compose("GL506", Side.STATIC, event.place, marks, subject=name)
                break


@check
def kept(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL501: a loss with its graph is summed up or stored beyond the iteration."""
    sums = {keeping.place for keeping in analysis.lowering.keepings if _reaches_backward(analysis, keeping)}
    for keeping in analysis.lowering.keepings:
        if keeping.place in sums:
            continue  # The sum is the loss: so it is where the same function is called by an evaluation.
        backwarded = keeping.nodes & _backwarded(analysis, keeping.loops)
        if not any(
            node in backwarded or (node.sure and is_trained(analysis, node)) or _differentiable(analysis, node)
            for node in keeping.nodes
        ) or not _only_told(
            analysis, keeping, freed=keeping.nodes <= _backwarded(analysis, keeping.loops, retained=False)
        ):
            continue
        used = bool(backwarded)
        if not used and _returned(analysis, keeping) and not _told_by_callers(analysis, keeping):
            continue
        found = compose("GL501", Side.STATIC, keeping.place, [("created", keeping.created)], subject=keeping.name)
        # A graph that no backward has freed is kept whole, buffers and all.
        yield found if used else replace(found, severity=Severity.ERROR)


def _differentiable(analysis: Analysis, node: GraphNode) -> bool:
    """Whether a module, known or not, returns something with a graph: elsewhere, a backward runs through it alone."""
    return any(
        event.kind is EventKind.BACKWARD and {other.module for other in event.nodes} == {node.module}
        for found in analysis.events.values()
        for event in found
    )


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
        if isinstance(node, ast.Assign) and _mentions(node.value, function.name):
            names |= {part.id for target in node.targets for part in walk(target) if isinstance(part, ast.Name)}
    own = set(walk(function))
    if any(_hands_on(analysis, node, names) for node in walk(analysis.tree) if node not in own):
        return False
    returned = [
        node.value
        for node in walk(analysis.tree)
        if isinstance(node, ast.Return) and node.value is not None and node not in own
    ]
    return not any(_gives(value, name) for value in returned for name in names)


def _hands_on(analysis: Analysis, node: ast.AST, names: set[str]) -> bool:
    """Whether a call gives one of some names to a function in sight that runs backward itself."""
    known = analysis.value(node.func) if isinstance(node, ast.Call) else None
    if not isinstance(node, ast.Call) or not isinstance(known, Function):
        return False
    descends = any(isinstance(each, ast.Attribute) and each.attr == "backward" for each in walk(known.node))
    return descends and any(_gives(arg, name) for arg in node.args for name in names)


def _reaches_backward(analysis: Analysis, keeping: Keeping) -> bool:
    """Whether a backward outside the loop runs through what the loop made: the sum is the loss."""
    places = {node.place for node in keeping.nodes}
    return any(
        not event.is_in(keeping.loops) and any(node.place in places for node in event.nodes)
        for found in analysis.events.values()
        for event in found
        if event.kind in (EventKind.BACKWARD, EventKind.RETAIN)
    )


def _scope(analysis: Analysis, keeping: Keeping) -> ast.AST:
    return keeping.scope or analysis.tree


def _only_told(analysis: Analysis, keeping: Keeping, *, freed: bool) -> bool:
    """Whether nobody runs backward from the kept value and nobody starts it anew within the loop.

    A sum or a mean of graphs that are `freed` is only a number.
    """
    loop = analysis.lowering.loop_nodes.get(keeping.loops[-1])
    if loop is None or keeping.name in _assigned(loop) or _begins_anew(loop, keeping.name):
        return False
    for node in walk(_scope(analysis, keeping)):
        match node:
            case ast.Call(ast.Attribute(owner, "backward")) if _mentions(owner, keeping.name):
                return False
            case ast.Call(ast.Attribute(attr="append"), [arg]) if _mentions(arg, keeping.name) and _is_told(
                arg, keeping.name
            ):
                continue
            case ast.Call(func, args) if not _tells(func, keeping.name) and not (freed and _sums_up(func)):
                if any(_gives(arg, keeping.name) for arg in args):
                    return False
            case ast.For(iter=source) | ast.comprehension(iter=source) if _gives(source, keeping.name):
                return False
            case ast.Attribute(ast.Name(name), "backward" | "mean" | "sum" | "requires_grad" | "pop" | "clear") if (
                name == keeping.name
            ):
                return False
            case ast.Delete(targets) if any(_mentions(target, keeping.name) for target in targets):
                return False
            case ast.Assign([ast.Name(name)]) if name == keeping.name and _grows(node):
                continue
            case ast.Assign(_, ast.Call(func)) if freed and _sums_up(func):
                continue
            case ast.Assign(_, value) if _mentions(value, keeping.name) and not _is_told(value, keeping.name):
                return False
            case _:
                continue
    return True


def _begins_anew(loop: ast.AST, name: str) -> bool:
    """Whether a meter forgets within the loop what it has collected."""
    return any(
        isinstance(node, ast.Attribute) and node.attr == "reset" and _mentions(node.value, name) for node in walk(loop)
    )


_SUMMING = frozenset(["sum", "mean", "nanmean", "median", "std", "array", "asarray", "stack", "tensor", "max", "min"])
_TELLING = frozenset(
    [
        "print",
        "format",
        "float",
        "len",
        "str",
        "round",
        "item",
        "write",
        "info",
        "debug",
        "log",
        "add_scalar",
        "set_description",
        "set_postfix",
    ]
)


def _sums_up(func: ast.expr) -> bool:
    """Whether a function makes one number, or an array, of many."""
    return isinstance(func, (ast.Name, ast.Attribute)) and ast.unparse(func).rpartition(".")[2] in _SUMMING


def _tells(func: ast.expr, name: str) -> bool:
    match func:
        case ast.Attribute(ast.Name(owner), "append" | "item") if owner == name:
            return True
        case ast.Attribute(attr=attr):
            return attr in _TELLING
        case ast.Name(attr):
            return attr in _TELLING
        case _:
            return False


def _is_told(value: ast.expr, name: str) -> bool:
    """Whether an assigned expression uses the kept value as a number: divided, converted, formatted."""
    match value:
        case ast.BinOp(left, ast.Div(), _):
            return _mentions(left, name)
        case ast.Call(func):
            return _tells(func, name) or (
                isinstance(func, ast.Attribute) and func.attr in ("item", "detach", "cpu", "numpy")
            )
        case ast.JoinedStr():
            return True
        case _:
            return False


def _mentions(node: ast.AST, name: str) -> bool:
    _, dot, attribute = name.rpartition(".")
    return any(
        isinstance(part, ast.Attribute) and part.attr == attribute
        if dot
        else isinstance(part, ast.Name) and part.id == name
        for part in walk(node)
    )


def _gives(node: ast.expr, name: str) -> bool:
    """Whether an argument hands on the kept value, and not only its text or its number."""
    match node:
        case ast.JoinedStr() | ast.BinOp(ast.Constant(str()), ast.Mod(), _):
            return False
        case ast.Call(func, args):
            return not _tells(func, name) and any(_gives(arg, name) for arg in args)
        case _:
            return _mentions(node, name)


def _assigned(loop: ast.AST) -> set[str]:
    return {
        target.id
        for node in walk(loop)
        if isinstance(node, ast.Assign) and not _grows(node)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _grows(node: ast.Assign) -> bool:
    match node:
        case ast.Assign([ast.Name(name)], value):
            return goes_on(value, name)
        case _:
            return False


def _returned(analysis: Analysis, keeping: Keeping) -> bool:
    return any(
        isinstance(node, (ast.Return, ast.Yield)) and node.value is not None and _mentions(node.value, keeping.name)
        for node in walk(_scope(analysis, keeping))
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

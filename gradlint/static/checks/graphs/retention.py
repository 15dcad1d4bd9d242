"""Graphs kept for another backward pass, and what happens to their parameters meanwhile: GL505 and GL508."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Severity, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check, in_tests
from gradlint.static.checks.graphs.graphs import is_trained
from gradlint.static.facts.inputs import Inputs
from gradlint.static.flow.following import breaches
from gradlint.static.flow.kinship import within
from gradlint.static.flow.protocols import SAVED
from gradlint.static.flow.roots import Root
from gradlint.static.flow.trained import of_graphs, on_saved
from gradlint.static.flow.tree import Event, GraphNode, Uid
from gradlint.static.lowering.notes import Descent
from gradlint.static.lowering.values import Tensor
from gradlint.static.syntax.nodes import walk
from gradlint.typestate import Marks

_WEIGHTS = regex(r"(?:Lazy)?(?:Linear|Bilinear|Conv\w+|RNN|LSTM|GRU|Transformer\w*|MultiheadAttention)")


@check
@in_tests
def stepped_between(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL505 and GL508: a backward through a graph whose parameters have been stepped since it was built."""
    if "autocast" in analysis.source.text:
        # The graph then holds copies of the parameters in another precision.
        return
    for root in analysis.roots:
        stepped = frozenset(
            uid for event in root.of(EventKind.STEP) if not event.scalers for uid in event.targets or ()
        )
        for node in _run_through(root) if stepped else ():
            owners = _owners(analysis, node) & stepped
            if owners and is_trained(analysis, node):
                yield from _stale(analysis, root, node, owners)


def _run_through(root: Root) -> list[GraphNode]:
    """Return the graph parts that a backward runs through, in the order in which they are written."""
    nodes = {node for event in root.of(EventKind.BACKWARD) for node in event.nodes if node.sure}
    return sorted(nodes, key=lambda node: (node.place, node.module, node.age))


def _owners(analysis: Analysis, node: GraphNode) -> frozenset[Uid]:
    """Return the optimizers that hold all parameters of what built a graph part."""
    return frozenset(uid for owned in analysis.trained.wholes(node.module) for uid in analysis.trained_by[owned])


def _stale(analysis: Analysis, root: Root, node: GraphNode, owners: frozenset[Uid]) -> Iterator[Diagnostic]:
    effect = on_saved(node, owners)
    arrivals = breaches(root.near((node.module, *owners), of_graphs), SAVED, effect)
    built = [each for each in root.of(EventKind.FORWARD) if node in each.nodes] if arrivals else []
    for event, states in arrivals.items():
        kind = effect(event)
        broken = (state for state in states if kind and SAVED.broken_by(state, kind) is not None)
        stale = next(broken, None)
        if stale is None or event.kind is not EventKind.BACKWARD or event.scalers:
            continue
        retained = "retain" in event.roles
        if any(forward.is_in(event.loops) for forward in built):
            if _is_deep(analysis, node.module):
                yield compose("GL508", Side.STATIC, event.place, stale.marks, subject="parameters")
        elif retained:
            # It was built before the loop: the first iteration is right, every later one is not.
            yield _masked(event, stale.marks, "was built before the loop")


def _masked(event: Event, marks: Marks, what: str) -> Diagnostic:
    what = (
        f"`retain_graph=True` keeps a graph that {what}, and its parameters have been stepped since:"
        " its gradients are those of old parameters, or torch raises RuntimeError"
    )
    remedy = "run the forward pass again in every iteration and drop the argument"
    found = compose("GL505", Side.STATIC, event.place, marks, what=what, remedy=remedy)
    return replace(found, severity=Severity.ERROR)


def _is_deep(analysis: Analysis, module: Uid) -> bool:
    """Whether the weights of a module are certainly needed in a backward pass: it has more than one layer with weights."""
    lowering = analysis.lowering
    places: list[ast.AST] = []
    cls = next((found for uid, found in lowering.instances.items() if within(module, uid)), None)
    if cls is not None:
        places += [ancestor.node for ancestor in lowering.lineage(cls)]
    made = lowering.objects.get(module)
    places += [call.node for call in made.calls] if made is not None else []
    calls = (node.func for place in places for node in walk(place) if isinstance(node, ast.Call))
    return sum(bool(_WEIGHTS.fullmatch(ast.unparse(func).rpartition(".")[2])) for func in calls) > 1


@check
def retained(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL505: `retain_graph=True` in a loop, for a graph that nobody runs through again."""
    descents = analysis.lowering.descents
    for descent in descents:
        event = descent.event
        wanted = descent.flag("retain_graph") is True and descent.flag("create_graph") is False
        if wanted and event.kind is EventKind.BACKWARD and event.loops and "partial" not in event.roles:
            alone = not any(_shares(other, descent) for other in descents)
            if alone and _rebuilt(analysis, descent) and Inputs(analysis, descent).are_seen():
                what = "`retain_graph=True` keeps a graph that nothing runs backward through again, and hides"
                what += " it when an earlier one is run through by mistake"
                yield compose("GL505", Side.STATIC, event.place, what=what, remedy="drop the argument")


def _shares(other: Descent, descent: Descent) -> bool:
    """Whether another backward pass may run through the same graph; one from something unknown may."""
    if other.event == descent.event:
        return False
    if not all(isinstance(root, Tensor) and root.nodes for root in other.roots):
        return other.scope is descent.scope
    places = {node.place for node in descent.event.nodes}
    return any(node.place in places for node in other.event.nodes)


def _rebuilt(analysis: Analysis, descent: Descent) -> bool:
    """Whether all of a graph is built anew in every iteration, by modules that are known, and shown to nobody unknown."""
    event = descent.event
    if not event.nodes or any(node.age or not node.sure for node in event.nodes):
        return False
    if any(_remembers(analysis, node.module) or not is_trained(analysis, node) for node in event.nodes):
        return False
    places = {node.place for node in event.nodes}
    for other in (other for found in analysis.events.values() for other in found):
        if any(node.place in places for node in other.nodes):
            if other.kind is EventKind.ESCAPE:
                return False
            if other.kind is EventKind.FORWARD and not other.is_in(event.loops):
                return False
    return True


def _remembers(analysis: Analysis, module: Uid) -> bool:
    """Whether a module of the file may keep a graph in itself: a method other than `__init__` sets an attribute."""
    lowering = analysis.lowering
    cls = next((found for uid, found in lowering.instances.items() if within(module, uid)), None)
    if cls is None:
        return False
    return any(
        isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, ast.Store)
        for ancestor in lowering.lineage(cls)
        for method in ancestor.node.body
        if isinstance(method, ast.FunctionDef) and method.name != "__init__"
        for node in walk(method)
    )


@check
def carried_with_its_graph(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL505: a state that carries the graphs of all earlier iterations, kept alive by `retain_graph=True`."""
    for root in analysis.roots:
        found = analysis.events[root]
        for event in root.of(EventKind.BACKWARD):
            if "retain" not in event.roles or not event.loops:
                continue
            for node in sorted(event.nodes, key=lambda each: each.place):
                both = node.age and node.sure and replace(node, age=0) in event.nodes
                if both and is_trained(analysis, node) and _steps(analysis, found, event, node):
                    yield _masked(event, (("made", node.place),), "reaches back into earlier iterations")
                    break


def _steps(analysis: Analysis, found: list[Event], event: Event, node: GraphNode) -> bool:
    owners = _owners(analysis, node)
    return any(
        each.kind is EventKind.STEP and each.is_in(event.loops) and owners & (each.targets or owners) for each in found
    )

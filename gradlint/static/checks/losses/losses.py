"""Losses that do not train what they should: GL111, GL112, GL901 and GL902."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Location, Severity, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.facts.cadence import definitions
from gradlint.static.lowering.driven import OVERRIDDEN
from gradlint.static.lowering.provenance import is_plain
from gradlint.static.lowering.values import Kind, Library, Made, Object, Tensor, Value
from gradlint.static.syntax.nodes import own_of, walk
from gradlint.wordings.updates import KEEP

_BACKWARD = Library("torch.autograd.backward")
_LOSSES = ("CrossEntropy", "cross_entropy", "NLLLoss", "nll_loss", "BCEWithLogits")
_CROSS_ENTROPY = frozenset(["CrossEntropyLoss", "cross_entropy"])
_NLL = frozenset(["NLLLoss", "NLLLoss2d", "nll_loss"])
_SHAPES = frozenset(["view", "reshape", "flatten", "squeeze", "contiguous", "float", "to"])
_SLOW = "this softmax: the loss cannot come near its minimum and learns slowly"
_TWICE = "this one: the second changes nothing, and costs time and memory over all classes"
_BCE_LOGITS = frozenset(["BCEWithLogitsLoss", "binary_cross_entropy_with_logits"])


@check
def activated_twice(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL901 and GL902: a softmax or sigmoid before a loss that applies it itself, at the activation, which is one too many."""
    seen: set[tuple[str, Location]] = set()
    for call, loss in _losses(analysis):
        for value in _inputs(analysis, call):
            match value:
                case Tensor(made=Made(op, Location() as made)) if (op, made) not in seen:
                    for found in _activated(loss, op, made, analysis.source.place(call)):
                        seen.add((op, made))
                        yield found
                case _:
                    continue


def _losses(analysis: Analysis) -> Iterator[tuple[ast.Call, str]]:
    """Yield the calls that compute a loss of torch, each with its name."""
    for call in _calls(analysis):
        if loss := torch_loss(analysis, call):
            yield call, loss


def _calls(analysis: Analysis) -> Iterator[ast.Call]:
    """Yield the calls that may compute a loss: those of the file, and those of others that were followed."""
    if analysis.says(*_LOSSES):
        yield from analysis.nodes(ast.Call)
    # Asking for a value may read on.
    yield from (node for node in tuple(analysis.lowering.foreign) if isinstance(node, ast.Call))


def _activated(loss: str, op: str, place: Location, given: Location) -> Iterator[Diagnostic]:
    marks = [("loss", given)]
    match op:
        case "softmax" if loss in _CROSS_ENTROPY:
            does, way = "applies a softmax itself", "the raw scores (logits)"
            yield compose("GL901", Side.STATIC, place, marks, loss=loss, does=does, way=way, harm=_SLOW)
        case "softmax" if loss in _NLL:
            does, way = "wants log-probabilities", "the output of `log_softmax`"
            yield compose("GL901", Side.STATIC, place, marks, loss=loss, does=does, way=way, harm=_SLOW)
        case "log_softmax" if loss in _CROSS_ENTROPY:
            does, way = "applies a log-softmax itself", "the raw scores (logits), or compute `nll_loss` of these"
            found = compose("GL901", Side.STATIC, place, marks, loss=loss, does=does, way=way, harm=_TWICE)
            yield replace(found, severity=Severity.INFO)
        case "sigmoid" if loss in _BCE_LOGITS:
            yield compose("GL902", Side.STATIC, place, marks, loss=loss)


def torch_loss(analysis: Analysis, call: ast.Call) -> str:
    """Return the name of the loss of torch that a call computes ("": it computes none)."""
    match analysis.value(call.func):
        case Object(kind=Kind.CRITERION, origin=name) if name.startswith("torch.nn."):
            return name.rpartition(".")[2]
        case Library(name) if name.startswith("torch.nn.functional."):
            return name.rpartition(".")[2]
        case _:
            return ""


def _inputs(analysis: Analysis, call: ast.Call) -> Iterator[Value]:
    """Yield the prediction that a loss is given; where paths meet that made it of other things, each of these."""
    match call.args, call.keywords:
        case [ast.Starred(), *_], _:
            return
        case [first, *_], _:
            given: ast.expr | None = first
        case _, keywords:
            given = next((keyword.value for keyword in keywords if keyword.arg == "input"), None)
    if given is None:
        return
    known = analysis.value(given)
    yield known
    if isinstance(known, Tensor) and known.made is None:
        kept = _reshaped(given)
        if isinstance(kept, ast.Name):
            yield from (analysis.value(source) for source in _alternatives(analysis, kept.id, call))
        yield from _of_either(analysis, kept, call)


def _of_either(analysis: Analysis, given: ast.expr, call: ast.Call) -> Iterator[Value]:
    """Yield what each of the classes ends in of which the model that computed a prediction is one, whatever the condition."""
    scope = analysis.function_in(call.lineno) or analysis.tree
    sources = definitions(analysis, given, scope) if isinstance(given, ast.Name) else [given]
    if len(sources) != 1 or not isinstance(sources[0], ast.Call) or _is_conditional(scope, call):
        return
    for cls in analysis.lowering.classes_run(analysis.value(sources[0].func)):
        endings = analysis.lowering.endings(cls)
        yield from (Tensor(made=ending) for ending in endings if len(endings) == 1)


def _is_conditional(scope: ast.AST, call: ast.Call) -> bool:
    """Whether a call stands under a condition in its function."""
    conditions: list[ast.If | ast.IfExp] = [*own_of(scope, ast.If), *own_of(scope, ast.IfExp)]
    return any(each.lineno <= call.lineno <= (each.end_lineno or each.lineno) for each in conditions)


def _reshaped(node: ast.expr) -> ast.expr:
    """Return what methods that leave values as they are, such as `view`, are called of."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _SHAPES:
        node = node.func.value
    return node


def _alternatives(analysis: Analysis, name: str, call: ast.Call) -> list[ast.expr]:
    """Return what the two branches of the last condition before a call give a name, if each gives it something."""
    scope = analysis.function_in(call.lineno) or analysis.tree
    given = [each.lineno for each in own_of(scope, ast.Name) if _is_bound(each, name)]
    last = max((row for row in given if row < call.lineno), default=0)
    for node in own_of(scope, ast.If):
        if node.lineno < last <= (node.end_lineno or 0) < call.lineno:
            ends = [_last_given(block, name) for block in (node.body, node.orelse)]
            if None not in ends:
                return [value for end in ends if end is not None for value in end]
    return []


def _is_bound(node: ast.Name, name: str) -> bool:
    return node.id == name and not isinstance(node.ctx, ast.Load)


def _last_given(block: list[ast.stmt], name: str) -> list[ast.expr] | None:
    """Return what a block gives a name last (nothing: a part of something); None where it does not for certain."""
    for statement in reversed(block):
        match statement:
            case ast.Assign([ast.Name(id=target)], value) if target == name:
                return [value]
            case _ if any(isinstance(each, ast.Name) and _is_bound(each, name) for each in walk(statement)):
                return [] if isinstance(statement, ast.Assign) else None
    return None


@check
def nothing_to_train(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL111 and GL112: a backward from a loss that has no graph, masked or not."""
    for call in analysis.nodes(ast.Call) if analysis.says("backward") else ():
        if isinstance(call.func, ast.Attribute) and call.func.attr != "backward":
            continue
        for root in _roots(analysis, call):
            yield from _without_graph(analysis, call, ast.unparse(root), analysis.value(root))


@check
def nothing_returned_to_train(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL111 and GL112: a loss without a graph is returned to a library that runs backward from it."""
    if OVERRIDDEN.isdisjoint(function.name for function in analysis.functions):
        return
    for descent in analysis.lowering.descents:
        for root in descent.roots if "hosted" in descent.event.roles else ():
            yield from _without_graph(analysis, descent.node, "the loss", root)


def _without_graph(analysis: Analysis, call: ast.Call, name: str, loss: Value) -> Iterator[Diagnostic]:
    match loss:
        case Tensor(made=Made("masked", Location() as made)):
            yield _masked(name, loss, made)
        case Tensor(nodes=nodes, made=Made("copy", Location() as made)) if not nodes:
            yield _cut(analysis, call, made, "is a copy without the graph: no parameter gets a gradient")
        case Tensor(made=Made(), cut=Location() as lost) if is_plain(loss):
            yield _cut(analysis, call, lost, "has lost its graph: torch raises RuntimeError")


def _roots(analysis: Analysis, call: ast.Call) -> list[ast.expr]:
    """Return the losses that a call runs backward from."""
    match call.func:
        case ast.Attribute(owner, "backward"):
            match analysis.value(owner):
                case Object(kind=Kind.ENGINE):
                    return call.args[:1]
                case Tensor():
                    return [owner]
    if analysis.value(call.func) == _BACKWARD:
        return call.args[:1]
    return []


def _masked(name: str, loss: Tensor, place: Location) -> Diagnostic:
    if is_plain(replace(loss, made=None)):
        marks = [("cut", loss.cut)] if loss.cut is not None else []
        return compose(
            "GL111",
            Side.STATIC,
            place,
            marks,
            subject=name,
            what="but its graph is already lost: no parameter gets a gradient",
        )
    found = compose(
        "GL111",
        Side.STATIC,
        place,
        subject=name,
        what="which changes nothing if it has a graph, and hides it if it has none",
    )
    return replace(found, severity=Severity.INFO if loss.nodes else Severity.WARNING)


def _cut(analysis: Analysis, call: ast.Call, place: Location, what: str) -> Diagnostic:
    return compose("GL112", Side.STATIC, analysis.source.place(call), [("cut", place)], what=what, remedy=KEEP)

"""Losses that do not train what they should: GL111, GL112, GL901 and GL902."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Location, Severity, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.provenance import is_plain
from gradlint.static.values import Kind, Library, Made, Object, Tensor, Value

_BACKWARD = Library("torch.autograd.backward")
_LOSS = re.compile("CrossEntropy|cross_entropy|NLLLoss|nll_loss|BCEWithLogits")
_CROSS_ENTROPY = frozenset(["CrossEntropyLoss", "cross_entropy"])
_NLL = frozenset(["NLLLoss", "NLLLoss2d", "nll_loss"])
_BCE_LOGITS = frozenset(["BCEWithLogitsLoss", "binary_cross_entropy_with_logits"])


@check
def activated_twice(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL901 and GL902: a softmax or sigmoid before a loss that applies it itself, at the activation, which is one too many."""
    seen: set[tuple[str, Location]] = set()
    for call in _calls(analysis):
        match _input(analysis, call):
            case Tensor(made=Made(op, Location() as made)) if (op, made) not in seen:
                for found in _activated(torch_loss(analysis, call), op, made, analysis.source.place(call)):
                    seen.add((op, made))
                    yield found
            case _:
                continue


def _calls(analysis: Analysis) -> Iterator[ast.Call]:
    """Yield the calls that may compute a loss: those of the file, and those of others that were followed."""
    if _LOSS.search(analysis.source.text):
        yield from analysis.nodes(ast.Call)
    for node in tuple(analysis.lowering.foreign):  # Asking for a value may read on.
        if isinstance(node, ast.Call) and torch_loss(analysis, node):
            yield node


def _activated(loss: str, op: str, place: Location, given: Location) -> Iterator[Diagnostic]:
    marks = [("loss", given)]
    match op:
        case "softmax" if loss in _CROSS_ENTROPY:
            does, way = "applies a softmax itself", "the raw scores (logits)"
            yield compose("GL901", Side.STATIC, place, marks, loss=loss, does=does, way=way)
        case "softmax" if loss in _NLL:
            does, way = "wants log-probabilities", "the output of `log_softmax`"
            yield compose("GL901", Side.STATIC, place, marks, loss=loss, does=does, way=way)
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


def _input(analysis: Analysis, call: ast.Call) -> Value | None:
    """Return the prediction that a loss is given."""
    match call.args, call.keywords:
        case [ast.Starred(), *_], _:
            return None
        case [first, *_], _:
            return analysis.value(first)
        case [], keywords:
            return next((analysis.value(keyword.value) for keyword in keywords if keyword.arg == "input"), None)
    return None


@check
def nothing_to_train(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL111 and GL112: a backward from a loss that has no graph, masked or not."""
    for call in analysis.nodes(ast.Call) if analysis.says("backward") else ():
        if isinstance(call.func, ast.Attribute) and call.func.attr != "backward":
            continue
        for root in _roots(analysis, call):
            match analysis.value(root):
                case Tensor(made=made) as loss if made is not None and made.op == "masked" and made.place is not None:
                    yield _masked(ast.unparse(root), loss, made.place)
                case Tensor(nodes=nodes, made=made) as loss if made is not None:
                    if made.op == "copy" and made.place is not None and not nodes:
                        yield _cut(
                            analysis, call, made.place, "is a copy without the graph: no parameter gets a gradient"
                        )
                    elif is_plain(loss) and loss.cut is not None:
                        yield _cut(analysis, call, loss.cut, "has lost its graph: torch raises RuntimeError")


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
    return compose("GL112", Side.STATIC, analysis.source.place(call), [("cut", place)], what=what)

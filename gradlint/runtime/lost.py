"""Why a loss has no graph: it was cut off, computed with gradients off, or made of frozen parameters alone.

What the user's source says is believed only where it agrees with the tensors that the frame still holds.
Knows sources, frames and tensors; must not know how torch is hooked.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType, FunctionType

import torch
from torch import Tensor
from torch.nn import Module

from gradlint.diagnostics import Location, Severity
from gradlint.runtime.failure import Failure
from gradlint.runtime.graph import bindings
from gradlint.runtime.hosts import losses_of_steps
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.sites import Origin, origin_of, place_of, user_frames
from gradlint.runtime.sources import Source, entries, source_of
from gradlint.runtime.switches import switched_off
from gradlint.runtime.values import value_of
from gradlint.wordings.updates import DIFFERENTIABLE, KEEP, NO_REENTRY, SCORES, THAW

LOST = "does not require grad and does not have a grad_fn"
_NODES = 300
_FRAMES = 4
_NOTHING = "comes from nothing that requires gradients"
_CUTTING = frozenset(
    {"detach", "item", "numpy", "tolist", "argmax", "argmin", "argsort", "long", "int", "bool", "eq", "ne"}
)
_INDICES = ("argmax", "argmin", "argsort", ".eq", ".ne")
_COPYING = frozenset({"tensor", "as_tensor", "from_numpy", "Tensor", "FloatTensor", "float", "int", "argmax", "argmin"})
_Seen = set[tuple[Location, str, bool]]  # what has been looked at: names may lead in circles
_REBOUND = "without gradients it makes a new tensor, which takes the name of the one that required them"
_OFF = ("no_grad", "inference_mode", "set_grad_enabled(False)")


@dataclass(frozen=True, slots=True)
class Cut:
    """How the graph was lost, in words, where, and which rule is broken; `subject` is what an update by hand gave up."""

    what: str
    place: Location
    code: str = "GL112"
    subject: str = ""
    remedy: str = KEEP


def explain_lost(failure: Failure, ledger: Ledger) -> None:
    """Report where the loss of a failed backward pass lost its graph."""
    if failure.frame is None or any(root.requires_grad for root in failure.roots):
        return
    losses = losses_of_steps(sys._getframe(), failure.frame)
    returned = next((cut for source, loss in losses for cut in _cuts_of_returned(source, loss)), None)
    if returned is not None:
        what = f"has no graph: it {returned.what}"
        failure.report(ledger, "GL112", (), returned.place, what=what, remedy=returned.remedy)
        return
    source = source_of(failure.frame.f_code)
    root = _root(source, failure) if source is not None else None
    name = ast.unparse(root) if root is not None else "the loss"
    cut = cut_of(source, root, failure.frame) if source is not None and root is not None else None
    if cut is None:
        cut = Cut(*_why_none(failure))
    statement = switched_off(failure.frame) if cut.code == "GL306" and not torch.is_grad_enabled() else None
    if statement is not None and cut.place == failure.place:
        failure.report(ledger, "GL310", [("backward", failure.place)], statement, subject=name)
        return
    marks = [("backward" if cut.code == "GL306" else "cut", failure.place if cut.code == "GL306" else cut.place)]
    marks = marks if cut.place != failure.place else []
    match cut.code:
        case "GL306":
            effect = "`backward()` raises RuntimeError"
            failure.report(ledger, "GL306", marks, cut.place, Severity.ERROR, subject=name, effect=effect)
        case "GL114":
            failure.report(ledger, "GL114", (), cut.place, subject=cut.subject, what=cut.what)
        case _:
            failure.report(ledger, "GL112", marks, what=f"has no graph: `{name}` {cut.what}", remedy=cut.remedy)


def cut_of(source: Source, root: ast.expr, frame: FrameType) -> Cut | None:
    """Return where the value of an expression lost its graph, if its source shows that."""
    return next(_cuts(source, root, frame, set()), None)


def _why_none(failure: Failure) -> tuple[str, Location, str, str, str]:
    """Say why there is no graph where the source shows nothing: gradients are off for the whole program, or all models are frozen."""
    models = [each for each in _models(failure.frame) if any(True for _ in each[1].parameters())]
    if not torch.is_grad_enabled():
        return _NOTHING, failure.place, "GL306", "", KEEP
    if models and not any(weight.requires_grad for _, model in models for weight in model.parameters()):
        name = next((name for name, _ in models if name != "self"), "self")
        what = (
            f"comes from no parameter that requires gradients: those of `{name}` are all frozen (`requires_grad=False`)"
        )
        return what, failure.place, "GL112", "", THAW
    return _NOTHING, failure.place, "GL112", "", KEEP


def _models(frame: FrameType | None) -> Iterator[tuple[str, Module]]:
    for caller in user_frames(frame, _FRAMES):
        yield from ((name, value) for name, value in bindings(caller) if isinstance(value, Module))


def _root(source: Source, failure: Failure) -> ast.expr | None:
    """Return what a backward pass starts from: the owner of `.backward()`, or the first argument, unless that is its gradient."""
    match source.call_at(failure.place):
        case ast.Call(func=ast.Attribute(value=owner, attr="backward"), args=[]):
            return owner
        case ast.Call(func=ast.Attribute(value=owner, attr="backward"), args=[first, *_]) if failure.frame is not None:
            given = value_of(first, failure.frame)
            is_gradient = isinstance(given, Tensor) and not any(given is root for root in failure.roots)
            return owner if is_gradient else first
        case ast.Call(args=[first, *_]):
            return first
    return None


def _cuts(source: Source, node: ast.expr, frame: FrameType | None, seen: _Seen) -> Iterator[Cut]:
    """Yield where the value of an expression lost its graph, the nearest place first."""
    key = (source.place(node), type(node).__name__, frame is None)
    if key in seen or len(seen) > _NODES:
        return
    seen.add(key)
    if _off(source, node):
        yield Cut("it is computed with gradients off", source.place(node), "GL306")
    match node:
        case ast.Name() | ast.Attribute() if frame is not None and isinstance(
            value_of(node, frame), Tensor | float | int
        ):
            yield from _cuts_of_name(source, node, frame, seen)
        case ast.Name(id=name) if frame is None:
            yield from _cuts_ofvalue_of(source, name, node, frame, seen)
        case ast.Attribute(value=owner, attr="data"):
            yield from _cuts_at(source, node, owner, frame, seen)
        case ast.Compare():
            yield Cut("comes from a comparison, which has no gradient", source.place(node), remedy=SCORES)
        case ast.Call(func=ast.Attribute(value=owner, attr=attr)) if attr in _CUTTING and not _is_module(owner):
            yield from _cuts_at(source, node, owner, frame, seen)
        case ast.Call(func=func, args=[first, *_]) if ast.unparse(func).rpartition(".")[2] in _COPYING:
            yield from _cuts_at(source, node, first, frame, seen)
        case ast.Call(func=func) if ast.unparse(func).endswith("autograd.grad") and not _creates_graph(node):
            what = "comes from `autograd.grad` without `create_graph=True`, whose gradients have no graph"
            yield Cut(what, source.place(node), remedy=DIFFERENTIABLE)
        case ast.Call(func=func) if ast.unparse(func).endswith("checkpoint") and _is_reentrant(node):
            what = f"comes from `{ast.unparse(func)}`, which is reentrant, and none of its inputs requires gradients"
            yield Cut(what, source.place(node), remedy=NO_REENTRY)
        case ast.Call():
            yield from _cuts_of_call(source, node, frame, seen)
        case ast.Subscript(value=ast.Name() as owner, slice=ast.Constant(value=under)):
            yield from _cuts_of_entry(source, owner, under, frame, seen)
        case _:
            yield from _cuts_below(source, node, frame, seen)


def _creates_graph(call: ast.Call) -> bool:
    return any(keyword.arg == "create_graph" for keyword in call.keywords)


def _is_reentrant(call: ast.Call) -> bool:
    given = (each.value for each in call.keywords if each.arg == "use_reentrant")
    return any(isinstance(each, ast.Constant) and each.value is True for each in given)


def _cuts_of_entry(source: Source, owner: ast.Name, key: object, frame: FrameType | None, seen: _Seen) -> Iterator[Cut]:
    """Yield where what lies in a dict under a key was cut: where it was written out, or in the function that returns it."""
    value = value_of(owner, frame) if frame is not None else None
    entry = value.get(key) if isinstance(value, dict) else None
    if isinstance(entry, Tensor) and entry.requires_grad:
        return
    for assigned in source.assignments(owner.id, owner.lineno):
        match assigned.value:
            case ast.Dict() as written:
                yield from (cut for each in entries(written, key) for cut in _cuts(source, each, frame, seen))
            case ast.Call() as call:
                called = value_of(call.func, frame) if frame is not None else None
                for inside, returned in _returned_by(type(called).forward if isinstance(called, Module) else called):
                    parts = entries(returned, key) if isinstance(returned, ast.Dict) else [returned]
                    yield from (cut for each in parts for cut in _cuts(inside, each, None, seen))


def _off(source: Source, node: ast.AST) -> bool:
    return any(mark in ast.unparse(each) for each in source.contexts(node) for mark in _OFF)


def _is_module(owner: ast.expr) -> bool:
    return ast.unparse(owner) in ("torch", "np", "numpy")


def _cuts_at(source: Source, node: ast.expr, inner: ast.expr, frame: FrameType | None, seen: _Seen) -> Iterator[Cut]:
    """Yield a cut that the source shows, unless what it cuts had no graph either: then the reason lies below."""
    value = value_of(inner, frame) if frame is not None else None
    if not isinstance(value, Tensor) or value.requires_grad:
        remedy = SCORES if ast.unparse(node.func if isinstance(node, ast.Call) else node).endswith(_INDICES) else KEEP
        yield Cut(f"comes from `{ast.unparse(node)}`, which cuts it off", source.place(node), remedy=remedy)
    yield from _cuts(source, inner, frame, seen)


def _cuts_of_name(source: Source, node: ast.expr, frame: FrameType, seen: _Seen) -> Iterator[Cut]:
    value = value_of(node, frame)
    if isinstance(value, Tensor) and value.requires_grad:
        return
    name = ast.unparse(node)
    if source.assigned(name, node.lineno) is not None:
        yield from _cuts_ofvalue_of(source, name, node, frame, seen)
    elif name in frame.f_code.co_varnames[: frame.f_code.co_argcount]:
        yield from _cuts_of_argument(name, frame, seen)


def _cuts_ofvalue_of(source: Source, name: str, used: ast.expr, frame: FrameType | None, seen: _Seen) -> Iterator[Cut]:
    """Follow a name to what was assigned to it."""
    for assigned in source.assignments(name, used.lineno):
        value = assigned.value
        if value is None:
            continue
        if _off(source, assigned) and any(isinstance(each, ast.Name) and each.id == name for each in ast.walk(value)):
            yield Cut(_REBOUND, source.place(assigned), "GL114", name)
        else:
            yield from _cuts(source, value, frame, seen)


def _cuts_of_argument(name: str, frame: FrameType, seen: _Seen) -> Iterator[Cut]:
    """Follow a parameter to the caller's argument, if the caller is the user's own code."""
    caller = frame.f_back
    if caller is None or origin_of(caller.f_code) is not Origin.USER:
        return
    source = source_of(caller.f_code)
    call = source.call_at(place_of(caller)) if source is not None else None
    if source is None or call is None:
        return
    index = frame.f_code.co_varnames.index(name) - (frame.f_code.co_varnames[0] == "self")
    named = [keyword.value for keyword in call.keywords if keyword.arg == name]
    given = named or call.args[index : index + 1]
    for argument in given:
        yield from _cuts(source, argument, caller, seen)


def _cuts_of_call(source: Source, node: ast.Call, frame: FrameType | None, seen: _Seen) -> Iterator[Cut]:
    """Yield what the call's receiver and arguments are, and what the called function does; first what must have done it."""
    called = value_of(node.func, frame) if frame is not None else None
    given = [value_of(each, frame) for each in node.args] if frame is not None else []
    trained = any(isinstance(each, Tensor) and each.requires_grad for each in given)
    if isinstance(called, Module):
        parameters = list(called.parameters())
        trained = trained or any(each.requires_grad for each in parameters)
        if parameters and not trained:
            what = f"comes from `{ast.unparse(node.func)}`, whose parameters are all frozen (`requires_grad=False`)"
            yield Cut(what, source.place(node), remedy=THAW)
        called = type(called).forward
    if trained:
        yield from _cuts_inside(called, seen)
    yield from _cuts_below(source, node, frame, seen)
    if not trained:
        yield from _cuts_inside(called, seen)


def _cuts_inside(called: object, seen: _Seen) -> Iterator[Cut]:
    """Yield where what a function of the user's returns is cut."""
    for source, returned in _returned_by(called):
        yield from _cuts(source, returned, None, seen)


def _returned_by(called: object) -> Iterator[tuple[Source, ast.expr]]:
    """Yield what a function of the user's returns, if its source can be read."""
    function = inspect.unwrap(called) if callable(called) else None
    if isinstance(function, FunctionType) and origin_of(function.__code__) is Origin.USER:
        source = source_of(function.__code__)
        if source is not None:
            yield from ((source, returned) for returned in source.returned())


def _cuts_of_returned(source: Source, loss: ast.expr) -> Iterator[Cut]:
    """Yield where a step cuts off the very loss that it returns; what the loss is made of may be cut off for a reason."""
    match loss:
        case ast.Call(func=ast.Attribute(value=owner, attr=attr)) if attr in _CUTTING and not _is_module(owner):
            yield from _cuts_at(source, loss, owner, None, set())
        case ast.Call(func=func, args=[first, *_]) if ast.unparse(func).rpartition(".")[2] in _COPYING:
            yield from _cuts_at(source, loss, first, None, set())


def _cuts_below(source: Source, node: ast.expr, frame: FrameType | None, seen: _Seen) -> Iterator[Cut]:
    for below in ast.iter_child_nodes(node):
        if isinstance(below, ast.expr):
            yield from _cuts(source, below, frame, seen)

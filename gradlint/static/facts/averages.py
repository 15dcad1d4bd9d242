"""Means of batches: whether what a backward pass starts from is the mean loss of one batch, as torch computes it.

It knows losses and arithmetic; it must not know rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import partial
from itertools import starmap

from gradlint.diagnostics import Location
from gradlint.static.analysis import Analysis
from gradlint.static.facts.cadence import definitions
from gradlint.static.facts.prepared import accumulates_nothing
from gradlint.static.facts.sensitivity import Makers
from gradlint.static.flow.tree import Event
from gradlint.static.lowering.values import (
    Const,
    Function,
    Instance,
    Kind,
    Library,
    Made,
    Object,
    Tensor,
    Unknown,
    Value,
    unknown_uid,
)
from gradlint.static.syntax.nodes import own, walk


class Means:
    """Answers for one file."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self._makers = analysis.kept(Makers)

    def starts(self, backward: Event) -> bool:
        """Whether a backward pass starts from the mean loss of a batch, neither divided nor weighted."""
        call = self.call(backward.place)
        frame = self.analysis.lowering.frames.get(backward.frame)
        return call is not None and self._is_mean(_root(self.analysis, call), frame.node if frame else None, 2)

    def _is_mean(self, node: ast.expr | None, scope: ast.AST | None, depth: int) -> bool:
        if node is None:
            return False
        match self.analysis.value(node), node:
            case Tensor(made=Made("loss", Location() as place)), _:
                return self._of_batch(self.call(place))
            case _, ast.BinOp(left, ast.Add(), right):
                return any(self._is_mean(side, scope, depth) for side in (left, right))
            case _, ast.Call(ast.Attribute(attr="scale"), [inner]):
                return self._is_mean(inner, scope, depth)
            case _, ast.Call(ast.Attribute(each, "mean"), [], []) if self._is_of_each(each, scope, depth):
                return True
            case _, ast.Call(callee, [each], []) if self.analysis.value(callee) == Library("torch.mean"):
                return self._is_of_each(each, scope, depth)
            case _, ast.Attribute(ast.Call() as call, "loss"):
                return self._of_pretrained(call)
            case _, ast.Attribute(ast.Name() as result, "loss"):
                results = definitions(self.analysis, result, scope)
                return bool(results) and all(
                    isinstance(each, ast.Call) and self._of_pretrained(each) for each in results
                )
            case _, ast.Name(name) if depth and not _augmented(name, scope or self.analysis.tree):
                shared = list(_unpacked(name, scope or self.analysis.tree))
                # What a name is in the functions of a script says nothing of the script's own.
                given = (
                    definitions(self.analysis, node, scope)
                    if scope or not shared
                    else list(_given(name, self.analysis.tree))
                )
                means = map(partial(self._is_mean, scope=scope, depth=depth - 1), given)
                return bool(given or shared) and all(means) and all(starmap(self._returned, shared))
            case _, ast.Call():
                return self._returned(node, None)
            case _:
                return False

    def _is_of_each(self, node: ast.expr, scope: ast.AST | None, depth: int) -> bool:
        """Whether an expression is a loss of each element: an error that is squared, or a loss of torch that is not reduced."""
        match node:
            case ast.BinOp(ast.BinOp(_, ast.Sub(), _), ast.Pow(), ast.Constant(2)):
                return True
            case ast.Call(ast.Attribute(ast.BinOp(_, ast.Sub(), _), "pow"), [ast.Constant(2)]):
                return True
            case ast.Call(ast.Attribute(ast.BinOp(_, ast.Sub(), _), "square" | "abs"), []):
                return True
            case ast.Call(ast.Attribute(inner, "mean"), [_, *_], _):
                return self._is_of_each(inner, scope, depth)
            case ast.BinOp(left, ast.Mult(), right):
                return any(self._is_of_each(side, scope, depth) for side in (left, right))
            case ast.Name() if depth:
                given = definitions(self.analysis, node, scope)
                return len(given) == 1 and self._is_of_each(given[0], scope, depth - 1)
            case ast.Call():
                return self._of_batch(node, reduction="none")
            case _:
                return False

    def _of_pretrained(self, call: ast.Call) -> bool:
        """Whether a call runs a model that a library has trained, which computes the mean loss of a batch as torch does."""
        if any(keyword.arg == "num_items_in_batch" for keyword in call.keywords):
            return False
        match self.analysis.value(call.func):
            case Object(kind=Kind.MODULE, uid=uid):
                return self._makers.drops_as_returned(uid)
            case Unknown(id=id_) if id_:
                return self._makers.drops_as_returned(unknown_uid(id_))
            case _:
                return False

    def _returned(self, call: ast.Call, index: int | None) -> bool:
        """Whether what a module in sight returns, at this index of a tuple, is a mean loss that its `forward` computes."""
        forward = self._forward(call)
        if forward is None:
            return False
        returned = [node.value for node in walk(forward.node) if isinstance(node, ast.Return)]
        parts = [_part(value, index) for value in returned]
        found = [part for part in parts if not _is_none(part)]
        return bool(found) and all(self._computed(part, forward) for part in found)

    def _forward(self, call: ast.Call) -> Function | None:
        lowering = self.analysis.lowering
        match self.analysis.value(call.func):
            case Object(kind=Kind.MODULE, uid=uid) | Instance(uid=uid) if uid in lowering.instances:
                return lowering.method_of(lowering.instances[uid], "forward")
            case _:
                return None

    def _computed(self, node: ast.expr | None, forward: Function) -> bool:
        """Whether an expression in a `forward` is a mean loss of torch, or None where there are no targets."""
        match node:
            case ast.Call(callee):
                known = self.analysis.lowering.values.get(callee)
                return self._of_batch(node, known or self.analysis.lowering.seen_from(forward.frame, callee))
            case ast.Name(name) if not _augmented(name, forward.node):
                given = [value for value in definitions(self.analysis, node, forward.node) if not _is_none(value)]
                return bool(given) and all(
                    isinstance(each, ast.Call) and self._computed(each, forward) for each in given
                )
            case _:
                return False

    def _of_batch(self, loss: ast.Call | None, callee: Value | None = None, *, reduction: str = "mean") -> bool:
        """Whether a loss of torch is the mean of its batch, or reduced otherwise."""
        if loss is None:
            return False
        match callee or self.analysis.value(loss.func):
            case Object(kind=Kind.CRITERION, origin=origin, calls=calls) if origin.startswith("torch.nn.") and calls:
                given = [call.argument(99, "reduction") for call in calls]
                old = any(name in call.named for call in calls for name in ("size_average", "reduce"))
                return not old and all((value or Const("mean")) == Const(reduction) for value in given)
            case Library(name) if name.startswith("torch.nn.functional."):
                named = {keyword.arg: keyword.value for keyword in loss.keywords}
                wanted = named.get("reduction", ast.Constant("mean"))
                plain = named.keys().isdisjoint({"size_average", "reduce", None})
                return plain and isinstance(wanted, ast.Constant) and wanted.value == reduction
            case _:
                return False

    def call(self, place: Location) -> ast.Call | None:
        """Return the call at a place of the file."""
        source = self.analysis.source
        return next((node for node in self.analysis.calls_in(place.row) if source.place(node) == place), None)


def _root(analysis: Analysis, call: ast.Call) -> ast.expr | None:
    """Return what a backward pass starts from; an engine may divide it by itself."""
    match call.func:
        case ast.Attribute(owner, "backward"):
            match analysis.value(owner):
                case Object(kind=Kind.ENGINE, origin=origin) as engine:
                    whole = origin.endswith(".Fabric") or accumulates_nothing(engine)
                    return call.args[0] if whole and call.args else None
                case Tensor() | Unknown():
                    return owner
    return None


def _unpacked(name: str, scope: ast.AST) -> Iterator[tuple[ast.Call, int]]:
    """Yield the calls that give a name one of several results, and which."""
    for node in own(scope):
        match node:
            case ast.Assign([ast.Tuple(elements)], ast.Call() as call):
                names = [each.id if isinstance(each, ast.Name) else "" for each in elements]
                if name in names:
                    yield call, names.index(name)
            case _:
                continue


def _given(name: str, scope: ast.AST) -> Iterator[ast.expr]:
    for node in own(scope):
        if isinstance(node, ast.Assign) and any(
            isinstance(each, ast.Name) and each.id == name for each in node.targets
        ):
            yield node.value


def _part(value: ast.expr | None, index: int | None) -> ast.expr | None:
    match value:
        case ast.Tuple(elements):
            return elements[index] if index is not None and index < len(elements) else value
        case _:
            return value


def _is_none(node: ast.expr | None) -> bool:
    return node is None or (isinstance(node, ast.Constant) and node.value is None)


def _augmented(name: str, scope: ast.AST) -> bool:
    return any(
        isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id == name
        for node in walk(scope)
    )

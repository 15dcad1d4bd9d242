"""Means of batches: whether what a backward pass starts from is the mean loss of one batch, as torch computes it.

It knows losses and arithmetic; it must not know rules.
"""

from __future__ import annotations

import ast
from functools import partial

from gradlint.diagnostics import Location
from gradlint.static.analysis import Analysis
from gradlint.static.cadence import definitions
from gradlint.static.nodes import walk
from gradlint.static.tree import Event
from gradlint.static.values import Const, Kind, Library, Made, Object, Tensor, Unknown


class Means:
    """Answers for one file."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis

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
            case _, ast.Name(name) if depth and not _augmented(name, scope or self.analysis.tree):
                given = definitions(self.analysis, node, scope)
                return bool(given) and all(map(partial(self._is_mean, scope=scope, depth=depth - 1), given))
            case _:
                return False

    def _of_batch(self, loss: ast.Call | None) -> bool:
        """Whether a loss of torch is the mean of its batch."""
        if loss is None:
            return False
        match self.analysis.value(loss.func):
            case Object(kind=Kind.CRITERION, origin=origin, calls=calls) if origin.startswith("torch.nn.") and calls:
                given = [call.argument(99, "reduction") for call in calls]
                old = any(name in call.named for call in calls for name in ("size_average", "reduce"))
                return not old and all(value is None or value == Const("mean") for value in given)
            case Library(name) if name.startswith("torch.nn.functional."):
                named = {keyword.arg: keyword.value for keyword in loss.keywords}
                wanted = named.get("reduction", ast.Constant("mean"))
                plain = named.keys().isdisjoint({"size_average", "reduce", None})
                return plain and isinstance(wanted, ast.Constant) and wanted.value == "mean"
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
                case Object(kind=Kind.ENGINE, origin=origin):
                    return call.args[0] if origin.endswith(".Fabric") and call.args else None
                case Tensor() | Unknown():
                    return owner
    return None


def _augmented(name: str, scope: ast.AST) -> bool:
    return any(
        isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id == name
        for node in walk(scope)
    )

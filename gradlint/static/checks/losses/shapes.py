"""Losses of a column and a row: GL904, as far as the shapes are written down."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.checks.losses.losses import torch_loss
from gradlint.static.lowering.values import UNKNOWN, Class, Instance, Kind, Library, Object, Value, const, is_loader
from gradlint.static.sources.library import words
from gradlint.static.syntax.nodes import own, walk

_LOSSES = frozenset(
    ["MSELoss", "mse_loss", "L1Loss", "l1_loss", "SmoothL1Loss", "smooth_l1_loss", "HuberLoss", "huber_loss"]
)
"""Losses that broadcast; the others refuse two shapes."""
_MOST = 8
"""Names are followed this far."""


@check
def broadcast(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL904: predictions of shape (n, 1) are compared with targets of shape (n,)."""
    if "Linear(" not in analysis.source.text:
        return
    pairs = [(node, *pair) for node in analysis.nodes(ast.Call) for pair in _compared(analysis, node)]
    for node, one, other in pairs:
        shapes = _Shapes(analysis, _scope(analysis, node))
        if (shapes.is_column(one) and shapes.is_row(other)) or (shapes.is_row(one) and shapes.is_column(other)):
            yield compose("GL904", Side.STATIC, analysis.source.place(node), one="(n, 1)", many="n * n")


def _scope(analysis: Analysis, node: ast.Call) -> ast.AST:
    """Return the innermost function around a call, else the module."""
    return analysis.function_in(node.lineno) or analysis.tree


def _compared(analysis: Analysis, node: ast.Call) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield the two sides of a difference that is squared and reduced."""
    match node:
        case ast.Call(args=[one, other, *_]) if torch_loss(analysis, node) in _LOSSES:
            yield one, other
        case ast.Call(args=[], func=ast.Attribute(value=powered, attr="mean" | "sum")):
            match powered:
                case ast.Call(ast.Attribute(ast.BinOp(one, ast.Sub(), other), "pow"), [ast.Constant(2)]):
                    yield one, other
                case ast.BinOp(ast.BinOp(one, ast.Sub(), other), ast.Pow(), ast.Constant(2)) | ast.Call(
                    ast.Attribute(ast.BinOp(one, ast.Sub(), other), "abs" | "square"), []
                ):
                    yield one, other
                case _:
                    return
        case _:
            return


class _Shapes:
    """What is certain of the shapes of expressions in one function."""

    def __init__(self, analysis: Analysis, scope: ast.AST) -> None:
        self._analysis = analysis
        self.own = list(own(scope))
        self._in_batches = any(isinstance(node, ast.For) and self._takes_batches(node.iter) for node in self.own)

    def is_column(self, node: ast.expr, depth: int = 0) -> bool:
        """Whether an expression has a last dimension of one element, and others before it."""
        match node:
            case ast.Call(ast.Attribute(inner, "sigmoid" | "relu" | "tanh" | "exp"), []):
                return self.is_column(inner, depth)
            case ast.Call(callee, [_]) if depth < _MOST:
                return self._returns_column(self._analysis.value(callee), depth + 1)
            case ast.Name() if depth < _MOST:
                source = self._source(node)
                return source is not None and self.is_column(source, depth + 1)
            case _:
                return False

    def _returns_column(self, module: Value, depth: int) -> bool:
        match module:
            case Object(kind=Kind.MODULE, origin=origin, calls=[made]):
                name = origin.rpartition(".")[2]
                if name == "Linear" and origin.startswith("torch.nn."):
                    return const(made.argument(1, "out_features") or UNKNOWN) == 1
                parts = [each for each in made.args if not _keeps_shape(each)]
                return name == "Sequential" and bool(parts) and self._returns_column(parts[-1], depth)
            case Instance(cls=Class(node=node)):
                forward = next(
                    (each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "forward"), None
                )
                returned = [each for each in walk(forward) if isinstance(each, ast.Return)] if forward else []
                inner = _Shapes(self._analysis, forward) if forward else self
                return bool(returned) and all(
                    each.value is not None and inner.is_column(each.value, depth) for each in returned
                )
            case _:
                return False

    def is_row(self, node: ast.expr, depth: int = 0) -> bool:
        """Whether an expression has one dimension, or at least no last one of a single element."""
        match node:
            # Of one sample alone there would be one element on both sides.
            case ast.Call(ast.Attribute(_, "view" | "reshape"), [ast.UnaryOp(ast.USub(), ast.Constant(1))]):
                return self._in_batches
            case ast.Call(ast.Attribute(owner, "flatten" | "ravel" | "squeeze"), [], []):
                return self._in_batches and not isinstance(self._analysis.value(owner), Library)
            case ast.Call(ast.Attribute(inner, name)) if name in ("float", "double", "to", "cuda", "clone", "detach"):
                return self.is_row(inner, depth)
            case ast.Call(callee, [size]) if self._is_fresh(callee):
                return not isinstance(size, (ast.Tuple, ast.List, ast.Starred)) and self._is_number(size)
            case ast.Name() if depth < _MOST:
                source = self._source(node)
                return self.is_row(source, depth + 1) if source is not None else self._is_batch_of_rows(node, depth)
            case _:
                return False

    def _takes_batches(self, source: ast.expr) -> bool:
        """Whether a loop is over a loader, numbered or not."""
        match source:
            case ast.Call(ast.Name("enumerate" | "tqdm"), [inner, *_]):
                return self._takes_batches(inner)
            case _:
                return is_loader(self._analysis.value(source))

    def _is_fresh(self, callee: ast.expr) -> bool:
        known = self._analysis.value(callee)
        return isinstance(known, Library) and known.name in ("torch.zeros", "torch.ones", "torch.rand", "torch.randn")

    def _is_number(self, size: ast.expr) -> bool:
        number = const(self._analysis.value(size))
        return (isinstance(number, int) and number > 1) or (
            isinstance(size, ast.Call) and isinstance(size.func, ast.Name) and size.func.id == "len"
        )

    def _is_batch_of_rows(self, name: ast.Name, depth: int) -> bool:
        """Whether a name is what a loop takes from a loader over tensors, of which this one has one dimension."""
        for loop in (node for node in self.own if isinstance(node, ast.For)):
            match loop.target:
                case ast.Tuple(elements) if any(isinstance(each, ast.Name) and each.id == name.id for each in elements):
                    index = next(
                        i for i, each in enumerate(elements) if isinstance(each, ast.Name) and each.id == name.id
                    )
                    columns = self._columns(loop.iter) if self._bound(name.id) == 1 else []
                    return index < len(columns) and self.is_row(columns[index], depth + 1)
        return False

    def _columns(self, loader: ast.expr) -> list[ast.expr]:
        """Return the tensors of the dataset of a loader."""
        if not is_loader(self._analysis.value(loader)):
            return []
        call = self._source(loader) if isinstance(loader, ast.Name) else loader
        match call:
            case ast.Call(args=[dataset, *_]):
                made = self._source(dataset) if isinstance(dataset, ast.Name) else dataset
                if isinstance(made, ast.Call) and ast.unparse(made.func).endswith("TensorDataset"):
                    return made.args
        return []

    def _source(self, name: ast.expr) -> ast.expr | None:
        """Return what a name of the function is given, if it is given only once."""
        if not isinstance(name, ast.Name) or self._bound(name.id) != 1:
            return None
        found = (node for node in self.own if isinstance(node, ast.Assign))
        return next((node.value for node in found if _is_name(node.targets, name.id)), None)

    def _bound(self, name: str) -> int:
        return sum(
            isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, (ast.Store, ast.Del))
            for node in self.own
        )


def _keeps_shape(part: Value) -> bool:
    """Whether a module acts on each element by itself."""
    return isinstance(part, Object) and part.origin.rpartition(".")[2] in words("module", "elementwise")


def _is_name(targets: list[ast.expr], name: str) -> bool:
    return len(targets) == 1 and isinstance(targets[0], ast.Name) and targets[0].id == name

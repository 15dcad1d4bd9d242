"""Arithmetic: which graphs the result of an operation on tensors carries, and which it has lost.

It knows tensors and grad modes; how the operands are evaluated is another layer's.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import replace

from gradlint.static.flow.tree import GraphNode
from gradlint.static.lowering.algebra import graph_of, scalers_of
from gradlint.static.lowering.attributes import Attributes
from gradlint.static.lowering.frames import Grad
from gradlint.static.lowering.provenance import lost_by, plain, summed, unmarked, without_numbers
from gradlint.static.lowering.values import DATA, UNKNOWN, Const, Dropped, Gathered, Items, Tensor, Unknown, Value


class Arithmetic(Attributes):
    """Computes with tensors."""

    def arithmetic(self, left: Value, op: ast.operator, right: Value, node: ast.AST) -> Value:
        """Return the result of an operator on tensors: a sum keeps what its terms have lost, a multiple of it as well."""
        result = self.computed((left, right), node)
        if isinstance(op, (ast.Mult, ast.Div)):
            self.refuse(node, (left, right), graph_of((left, right)))
        match op:
            case ast.Add():
                return summed(result, left, right)
            case ast.Sub():
                # `loss - loss.item()` says that the number is meant.
                return summed(result, left, without_numbers(right))
            case ast.Mult() if _is_number(left) or _is_number(right):
                other = right if _is_number(left) else left
                if isinstance(other, Tensor) and other.dropped and result == UNKNOWN:
                    # A multiple of a value without a graph.
                    return Tensor(dropped=other.dropped)
                return summed(result, other)
            case ast.Div() if isinstance(left, Tensor) and not (isinstance(right, Tensor) and right.nodes):
                return summed(result, left)
            case _:
                return result

    def refuse(self, node: ast.AST, values: Iterable[Value], nodes: frozenset[GraphNode]) -> None:
        """Remember that autograd would have to save `values`; the layer of forward passes knows how."""
        raise NotImplementedError

    def computed(self, values: Iterable[Value], node: ast.AST) -> Value:
        """Return the result of an operation on tensors in the grad mode that holds here."""
        values = list(values)
        result = combined(values)
        if self.grad is Grad.ON or not isinstance(result, Tensor) or not result.nodes:
            return result
        lost = self.lost(node, values)
        return replace(DATA, dropped=lost) if self.grad is Grad.OFF else UNKNOWN

    def lost(self, node: ast.AST, values: Iterable[Value]) -> frozenset[Dropped]:
        """Return the graphs that the result of an operation on `values` would have if gradients were on here."""
        place = self.place(node)
        if self.grad is Grad.OFF and self.switch is not None:
            self.switched[place] = self.switch
        return lost_by("no-grad", place, values)


def gathered(values: Iterable[Value]) -> Gathered | None:
    """Return the list of what is made or put into it in each turn, if these are tensors that carry a graph or have lost one."""
    whole = combined(values)
    if not isinstance(whole, Tensor):
        return None
    return Gathered(unmarked(whole)) if whole.nodes else Gathered(whole) if whole.dropped or whole.cut else None


def _is_number(value: Value) -> bool:
    """Whether a factor is a number: a literal, or an attribute of something that is not of torch."""
    return isinstance(value, Const) or (isinstance(value, Unknown) and "." in value.id)


def elements_of(values: Iterable[Value]) -> list[Value]:
    """Return what lists hold, as `torch.cat` gets one; anything else is one by itself."""
    return [each for value in values for each in _elements(value)]


def _elements(value: Value) -> Sequence[Value]:
    if isinstance(value, Gathered):
        return (value.whole,)
    return value.elements if isinstance(value, Items) and value.keys is None else (value,)


def combined(values: Iterable[Value]) -> Value:
    """Return the result of an operation on tensors, or on lists of them: it carries the graphs of all of them."""
    values = elements_of(values)
    without_graph = plain(values)
    if without_graph is not None:
        return without_graph
    tensors = [value for value in values if isinstance(value, Tensor)]
    if not tensors:
        return UNKNOWN
    nodes, scalers = graph_of(tensors), scalers_of(tensors)
    if nodes or scalers or len(tensors) == len(values):
        return Tensor(nodes, scalers, all(tensor.sure for tensor in tensors))
    return UNKNOWN

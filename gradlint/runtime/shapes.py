"""Losses that compare every prediction with every target, because one has a dimension more than the other (GL904).

Torch warns of it in a few losses, and says nothing in `(prediction - target).pow(2).mean()`. Knows the graph; must not
know how torch is hooked.
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from gradlint.diagnostics import Location
from gradlint.runtime.graph import nodes
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.lines import made_at
from gradlint.runtime.observers import Observer, Pass

_LOOKS = 4
_NEAR = 24
_LOSSES = ("MseLossBackward0", "SmoothL1LossBackward0", "HuberLossBackward0")
_REDUCED = ("MeanBackward0", "SumBackward0")
# Who makes a row of a column wants all pairs, though one side of them be detached.
_ON_PURPOSE = re.compile(r"\.m?T\b|\.t\(|\bNone\b|unsqueeze|transpose|permute")
_BETWEEN = ("PowBackward0", "AbsBackward0", "MulBackward0")


class Shapes(Observer):
    """Looks at the losses of the first backward passes."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._looks = 0

    def before_backward(self, passing: Pass) -> None:
        """Look for a difference of a column and a row right below the reduction of a loss."""
        if self._looks >= _LOOKS or not passing.accumulates:
            return
        self._looks += 1
        for root in passing.roots:
            for node in islice(nodes([root.grad_fn]), _NEAR):
                found, place = _outer(node), made_at(node) or passing.place
                if found is not None and not _ON_PURPOSE.search(linecache.getline(place.filename, place.row)):
                    self._report(found, place)

    def _report(self, found: tuple[Any, Any], place: Location) -> None:
        one, many = (tuple(shape) for shape in found)
        self._ledger.report("GL904", place, one=str(one), many=str(many))


def _outer(node: Any) -> tuple[Any, Any] | None:
    """Return the shape of the predictions and that of all their differences, if `node` is such a loss."""
    if node.name() in _LOSSES:
        below = node.next_functions[0][0]
        if below is not None and below.name() == "ExpandBackward0":
            return _is_outer(_shape_below(below), _shape(below))
        return None
    if node.name() not in _REDUCED:
        return None
    for each in _through(node):
        operands = [below for below, _ in each.next_functions]
        # Both in the graph: somebody compares all pairs on purpose.
        if each.name() == "SubBackward0" and operands.count(None) == 1:
            inside = next(below for below in operands if below is not None)
            one = _shape_below(inside) if inside.name() == "ExpandBackward0" else _shape(inside)
            return _is_outer(one, _shape(each))
    return None


def _through(node: Any) -> Iterator[Any]:
    """Yield the nodes below a reduction, as long as each only squares or the like."""
    below = node.next_functions[0][0]
    while below is not None:
        yield below
        below = below.next_functions[0][0] if below.name() in _BETWEEN else None


def _is_outer(one: Any, many: Any) -> tuple[Any, Any] | None:
    """Return the shapes if a column (n, 1) or a row (n,) became a square (n, n)."""
    if one is None or many is None or len(many) != 2 or many[0] != many[1] or many[0] < 2:
        return None
    return (one, many) if tuple(one) in ((many[0], 1), (many[0],)) else None


def _shape(node: Any) -> Any:
    """Return the shape of what a node made, None where torch does not tell."""
    told = getattr(node, "_input_metadata", None)
    return told[0].shape if told and type(node).__name__ != "AccumulateGrad" else None


def _shape_below(node: Any) -> Any:
    below = node.next_functions[0][0]
    return None if below is None else _shape(below)

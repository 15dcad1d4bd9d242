"""Backward passes that begin at a leaf: the loss has no graph, and was told to require gradients (GL111, GL112).

Knows tensors, frames and sources; must not know how torch is hooked.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from types import CodeType
from typing import Any

from torch.nn import Parameter

from gradlint.diagnostics import Location
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.observers import Observer, Pass
from gradlint.runtime.registry import Registry
from gradlint.runtime.sources import Source, source_of
from gradlint.wordings.updates import KEEP

_TWICE = 2
_COPIES = frozenset({"tensor", "Tensor", "FloatTensor", "Variable"})


@dataclass(slots=True)
class _Masked:
    """The passes of one place that begin at a leaf."""

    place: Location
    code: CodeType
    count: int = 0


class Masked(Observer):
    """The backward passes that cannot reach a model; whoever has no optimizer may play with leaves."""

    def __init__(self, ledger: Ledger, registry: Registry) -> None:
        self._ledger = ledger
        self._registry = registry
        self._masked: dict[int, _Masked] = {}

    def before_backward(self, passing: Pass) -> None:
        """Count a pass from a leaf that nobody trains."""
        if passing.accumulates and passing.frame is not None and all(map(self._is_masked, passing.roots)):
            masked = self._masked.setdefault(id(passing.place), _Masked(passing.place, passing.frame.f_code))
            masked.count += 1

    def _is_masked(self, root: Any) -> bool:
        if root.grad_fn is not None or not root.requires_grad or isinstance(root, Parameter):
            return False
        return not any(parameter is root for watched in self._registry for parameter in watched.parameters())

    def ended(self) -> None:
        """Report the losses that were masked again and again, in a program that has stepped in vain."""
        idle = [watched for watched in self._registry if watched.steps and not watched.backwards]
        for masked in self._masked.values():
            source = source_of(masked.code)
            if masked.count < _TWICE or not idle or source is None:
                continue
            if self._report(masked, source):
                for watched in idle:
                    watched.explained = True

    def _report(self, masked: _Masked, source: Source) -> bool:
        """Tell whether the source says how the loss came to require gradients."""
        call = source.call_at(masked.place)
        owner = call.func.value if call is not None and isinstance(call.func, ast.Attribute) else None
        name = "" if owner is None else ast.unparse(owner)
        assigned = source.assigned(name, masked.place.row)
        told = next((node for node in source.own() if isinstance(node, ast.stmt) and _tells(node, name)), None)
        if told is not None:
            what = "but its graph is already lost: no parameter gets a gradient"
            self._ledger.report("GL111", source.place(told), count=masked.count, subject=name, what=what)
        elif assigned is not None and isinstance(assigned.value, ast.Call) and _copies(assigned.value):
            what = f"has no graph: `{ast.unparse(assigned.value.func)}()` makes a new tensor of its value, and no parameter gets a gradient"
            marks = (("cut", source.place(assigned.value)),)
            self._ledger.report("GL112", masked.place, marks, count=masked.count, what=what, remedy=KEEP)
        else:
            return False
        return True


def _tells(node: ast.stmt, name: str) -> bool:
    """Tell whether a statement says that what is called `name` requires gradients."""
    match node:
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=owner, attr="requires_grad_"))):
            return ast.unparse(owner) == name
        case ast.Assign(targets=[ast.Attribute(value=owner, attr="requires_grad")]):
            return ast.unparse(owner) == name
    return False


def _copies(call: ast.Call) -> bool:
    return ast.unparse(call.func).rpartition(".")[2] in _COPIES

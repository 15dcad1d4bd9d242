"""Methods of tensors: what they compute, and what of the graph they keep.

It knows the methods of tensors; it must not know states or rules.
"""

from __future__ import annotations

import ast

from gradlint.static.lowering.algebra import held
from gradlint.static.lowering.attributes import SUSPECT
from gradlint.static.lowering.containers import Containers
from gradlint.static.lowering.provenance import (
    changes_in_place,
    cut,
    is_of_inference,
    is_plain,
    lost_by,
    marked,
    ranked,
    reshaped,
    unmarked,
)
from gradlint.static.lowering.values import DATA, UNKNOWN, Const, Gathered, Tensor, Unknown, Value
from gradlint.static.sources.library import words
from gradlint.static.syntax.questions import has_dimension


class Tensors(Containers):
    """Evaluates the methods of tensors."""

    def on_tensor(self, tensor: Tensor, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Return what a method of a tensor returns."""
        if name == "backward":
            return self.backward(node, [tensor], named)
        if name == "requires_grad_":
            self.refuse(node, [tensor], frozenset(part for lost in tensor.dropped for part in lost.nodes))
            target = node.func.value if isinstance(node.func, ast.Attribute) else node.func
            return self.requires_gradients(target, tensor, next(iter((*args, *named.values())), Const(True)))
        if is_of_inference(tensor) and name in words("tensor", "viewing"):
            return tensor
        if name == "values" and tensor.nodes and not any(part.sure for part in tensor.nodes):
            return Gathered(unmarked(tensor))  # It may be a dict of losses.
        if name in words("tensor", "cut"):
            return cut(self.place(node), lost_by(name, self.place(node), (tensor,)))
        if name in words("tensor", "fresh"):
            return self._fresh(named)
        if changes_in_place(name) and not all(map(is_plain, args)):
            self.forget([tensor])
            tensor = unmarked(tensor)
        if name in words("tensor", "keep"):
            # Where to, or in which shape, says nothing of what is computed.
            result = self.computed((tensor,) if name in words("tensor", "shaping") else (tensor, *args), node)
            if name in words("tensor", "made"):
                return marked(result, name, self.place(node))
            return ranked(reshaped(result, tensor, name), name, self.place(node), along=has_dimension(node, 0))
        return UNKNOWN

    def _fresh(self, named: dict[str, Value]) -> Value:
        """Return a tensor that is made beside another one."""
        return DATA if "requires_grad" not in named else UNKNOWN

    def as_of_tensor(
        self, receiver: Value, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]
    ) -> Value | None:
        """Return what a method of tensors, or one that only sets something, returns; None: it is none."""
        match name:
            case _ if name in words("tensor", "cut"):
                return cut(self.place(node))
            case _ if name in words("tensor", "fresh"):
                return self._fresh(named)
            case _ if name in words("tensor", "made") and not any(isinstance(value, Tensor) for value in args):
                return marked(UNKNOWN, name, self.place(node))
            case _ if name in words("tensor", "keep", "tell"):
                return Unknown(holds=held((receiver,)))
            case _ if _is_of_numbers(node.func) and not SUSPECT.search(name):
                return UNKNOWN if name in ("zero_", "detach_") else Unknown(holds=held((receiver,)))
            case _ if name in ("zero_", "detach_") or name in words("module", "setters"):
                return UNKNOWN
            case _:
                return None


def _is_of_numbers(called: ast.expr) -> bool:
    """Whether a method is one of a parameter's `data`, or of its gradient: it may change numbers, but nobody's mode or state."""
    owner = called.value if isinstance(called, ast.Attribute) else called
    while isinstance(owner, ast.Subscript):
        owner = owner.value
    return isinstance(owner, ast.Attribute) and owner.attr in ("data", "grad")

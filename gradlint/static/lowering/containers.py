"""Containers: what a method of a list or dict of known elements makes, and what was put into one.

It knows the containers of Python; it must not know torch, states or rules.
"""

from __future__ import annotations

import ast

from gradlint.static.lowering.algebra import held, join, parameters_in, with_element
from gradlint.static.lowering.arithmetic import gathered
from gradlint.static.lowering.updates import Updates
from gradlint.static.lowering.values import (
    NONE,
    UNKNOWN,
    Const,
    Gathered,
    Instance,
    Items,
    Kind,
    Object,
    Params,
    Tensor,
    Unknown,
    Value,
    const,
)

_DRIVERS = frozenset([Kind.OPTIMIZER, Kind.SCHEDULER])


class Containers(Updates):
    """Evaluates methods of containers."""

    def on_container(self, receiver: Items | Gathered | Params, name: str, node: ast.Call, args: list[Value]) -> Value:
        """Return what a method of a container makes; a container that it changes is another one from now on."""
        if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Attribute):
            # Whoever has the owner of a list may step those that are put in there.
            self.put_away(args)
        match receiver, name:
            case Items(elements, keys), "values" if keys is not None:
                return Items(elements)
            case Items(elements, keys), "items" if keys is not None:
                return Items(tuple(Items((Const(key), value)) for key, value in zip(keys, elements, strict=True)))
            case Params(), "items" | "values":
                return receiver
            case Items(elements, keys), "get" if keys is not None and args and const(args[0]) in keys:
                return elements[keys.index(const(args[0]))]
            case _, "append" | "extend" if (
                len(args) == 1 and (grown := self._appended(receiver, name, args[0])) is not None
            ):
                self.rebound(node, grown)
                return NONE
            case Items(elements, keys), "pop" if keys is not None and args and const(args[0]) in keys:
                at = keys.index(const(args[0]))
                self.rebound(node, Items(elements[:at] + elements[at + 1 :], keys[:at] + keys[at + 1 :]))
                return elements[at]
            case _, "append" | "extend" | "update" | "insert" | "pop" | "clear" | "remove" | "add":
                self.put_away(args)
                self.rebound(node, Unknown(holds=held((receiver, *args))))
                return Unknown(holds=held((receiver,)))
            case _:
                return Unknown(holds=held((receiver, *args)))

    def put_away(self, values: list[Value]) -> None:
        """Take those who drive training for known to others: whoever has a collection that is not followed may step them."""
        self.escaped |= {
            uid for uid in self.reach(values) if uid in self.objects and self.objects[uid].kind in _DRIVERS
        }

    def _appended(self, receiver: Items | Gathered | Params, name: str, value: Value) -> Value | None:
        """Return a list that a value was put into, if its elements are known still: parameters, or no others than written."""
        match receiver, value:
            case Items((), None) | Params(), _ if (parameters := parameters_in(value)) is not None:
                return join(receiver, parameters)
            case Items(keys=None), _ if (known := parameters_in(receiver)) and (more := parameters_in(value)):
                return join(known, more)
            case Items(elements, None), Object() | Instance() if name == "append" and not self.loops:
                return Items((*elements, value))
            case ((Items(keys=None) | Gathered()), Tensor()) if name == "append" and _of_tensors(receiver):
                return gathered((receiver, value))
            case _:
                return None

    def rebound(self, node: ast.Call, value: Value) -> None:
        """A collection changed in place: whatever it was called through is no longer what it was."""
        if isinstance(node.func, ast.Attribute):
            self._put(node.func.value, value, node)

    def _put(self, target: ast.expr, value: Value, node: ast.Call) -> None:
        match target:
            case ast.Name() | ast.Attribute():
                self.grown(target, value, node)
            case ast.IfExp(_, body, orelse):
                self._put(body, value, node)
                self._put(orelse, value, node)
            case ast.Subscript(owner, index):
                whole = self.latest.get(owner, UNKNOWN)
                self._put(owner, with_element(whole, const(self.latest.get(index, UNKNOWN)), value), node)


def _of_tensors(receiver: Items | Gathered | Params) -> bool:
    return not isinstance(receiver, Items) or all(isinstance(each, Tensor) for each in receiver.elements)

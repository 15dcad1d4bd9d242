"""Gradient scalers: scaling a loss, unscaling gradients, stepping through the scaler.

It knows events; it must not know states or rules.
"""

from __future__ import annotations

import ast
from dataclasses import replace

from gradlint.events import EventKind
from gradlint.static.flow.tree import Uid
from gradlint.static.lowering.actions import Actions
from gradlint.static.lowering.algebra import graph_of
from gradlint.static.lowering.values import UNKNOWN, Instance, Items, Kind, Object, Tensor, Unknown, Value, unknown_uid


class Scaling(Actions):
    """Evaluates method calls on gradient scalers."""

    def on_scaler(self, scaler: Object, name: str, node: ast.Call, args: list[Value]) -> Value:
        """Call a method of a gradient scaler."""
        by = frozenset({scaler.uid})
        match name:
            case "scale" if args:
                return _scaled(args[0], by)
            case "unscale_" if args:
                whose = _stepped(args[0])
                targets = None if whose is None else frozenset({whose})
                self.emit(EventKind.UNSCALE, node, targets, ast.unparse(node), scalers=by)
            case "step" if args:
                return self._step_by_scaler(args[0], node, args, by)
            case "update":
                # Who tells the scale itself does so now and then.
                told = ("told",) if node.args or node.keywords else ()
                self.emit(EventKind.UPDATE, node, by, ast.unparse(node), roles=told, scalers=by)
        return UNKNOWN

    def _step_by_scaler(self, stepped: Value, node: ast.Call, args: list[Value], by: frozenset[Uid]) -> Value:
        spelled = ast.unparse(next(iter((*node.args, *(each.value for each in node.keywords)))))
        match stepped:
            case Object(kind=Kind.OPTIMIZER, uid=uid):
                self.emit(EventKind.STEP, node, frozenset({uid}), spelled, roles=("scaler",), scalers=by)
                return UNKNOWN
            case _:
                who = _stepped(stepped)
                if who is not None:
                    self.emit(EventKind.OTHER_STEP, node, frozenset({who}), spelled, roles=("scaler",), scalers=by)
                return Unknown(holds=self.escape(node, args, roles=("scaler",)))


def _stepped(value: Value) -> Uid | None:
    """Return who an optimizer is, proven or not."""
    match value:
        case Object(uid=uid) | Instance(uid=uid):
            return uid
        case Unknown(id=id_) if id_ and id_ != "*":
            return unknown_uid(id_)
        case _:
            return None


def _scaled(value: Value, by: frozenset[Uid]) -> Value:
    match value:
        case Tensor():
            return replace(value, scalers=value.scalers | by)
        case Items(elements, keys):
            return Items(tuple(_scaled(element, by) for element in elements), keys)
        case _:
            return Tensor(graph_of((value,)), by)

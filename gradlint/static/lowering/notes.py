"""Notes: what lowering writes down, beside the flow tree, for the checks that look at single places.

It knows syntax, values and events as they were met; it judges nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping

from gradlint.data import NamedTuple
from gradlint.diagnostics import Location
from gradlint.static.flow.tree import Event, GraphNode, Uid
from gradlint.static.lowering.values import UNKNOWN, Const, Object, Value


class Keeping(NamedTuple):
    """A value with its graph that a name from outside the loop keeps: it began where the loops were `outer`."""

    place: Location
    name: str
    nodes: frozenset[GraphNode]
    loops: tuple[int, ...]
    outer: tuple[int, ...]
    created: Location
    scope: ast.AST | None


class Descent(NamedTuple):
    """One backward pass, or one `autograd.grad`, as it was reached: the call, what it ran from, and its event."""

    node: ast.Call
    roots: tuple[Value, ...]
    named: Mapping[str, Value]
    event: Event
    scope: ast.AST | None

    def flag(self, name: str) -> bool | None:
        """Return whether a flag is set; None where that is not certain."""
        value = self.named.get(name, UNKNOWN if "**" in self.named else Const(False))
        return bool(value.value) if isinstance(value, Const) else None


class Compared(NamedTuple):
    """A loss of torch as it was computed once: its full name or object, and what it was given."""

    node: ast.Call
    loss: str
    criterion: Object | None
    args: tuple[Value, ...]
    named: Mapping[str, Value]

    def given(self, position: int, name: str) -> Value:
        """Return an argument."""
        return self.args[position] if position < len(self.args) else self.named.get(name, UNKNOWN)


class Written(NamedTuple):
    """A change of the `.data` of `owner`, which carried the graph parts `nodes`: the statement or call, and its scope."""

    node: ast.expr | ast.stmt
    owner: ast.expr
    nodes: frozenset[GraphNode]
    scope: ast.AST | None


class Refused(NamedTuple):
    """A use of a tensor of the inference mode, where autograd would have to save it: `nodes` are the graph parts that it meets."""

    node: ast.AST
    spelled: str
    made: Location | None
    nodes: frozenset[GraphNode]


class Hooked(NamedTuple):
    """A hook that is registered on a module, and the event of it."""

    node: ast.Call
    module: Uid
    event: Event


class StateCall(NamedTuple):
    """A call of `state_dict` or `load_state_dict`: its name, where, and on what."""

    name: str
    place: Location
    owner: Value


class Mirrored(NamedTuple):
    """A pairing of the weights of a module with its own, under two names: the call, who it is, and the attributes that hold it."""

    node: ast.Call
    names: tuple[str, str]
    module: Uid
    loops: tuple[int, ...]
    attributes: frozenset[tuple[Uid, str]]

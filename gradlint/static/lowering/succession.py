"""What is built in the place of something else: a model that is built anew, a head that is exchanged.

It knows names and parts of modules; it must not know states or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.events import EventKind
from gradlint.static.flow.tree import Uid
from gradlint.static.lowering.algebra import held
from gradlint.static.lowering.blocks import Blocks
from gradlint.static.lowering.values import UNKNOWN, Instance, Kind, Object, Value
from gradlint.static.syntax.nodes import spelled, walk

_SIZES = frozenset(
    ["in_features", "out_features", "in_channels", "out_channels", "num_features", "embedding_dim", "num_embeddings"]
)
"""Attributes of a module that are numbers."""


class Succession(Blocks):
    """Emits that something takes the place of something else."""

    def replaces(self, target: ast.expr, written: ast.expr, built: Object | Instance, node: ast.stmt) -> None:
        """Emit that what was just built takes the place of what a name, or a part of a module, stood for."""
        old, replaced, roles = self._in_place_of(target)
        if not replaced or self._goes_on(target, written, old, built):
            return
        self.successors.update({(uid, self.place(node)): built.uid for uid in replaced})
        self.emit(EventKind.REPLACE, node, replaced, ast.unparse(target), roles=roles)

    def _in_place_of(self, target: ast.expr) -> tuple[Value, frozenset[Uid], tuple[str, ...]]:
        """Return what a target stands for before it is assigned, whom that concerns, and whether it is a part of a module."""
        match target:
            case ast.Name(name):
                old = self.settled((self.frame.shared.get(name, self.frame).path, name)) or UNKNOWN
                return old, held((old,)) if isinstance(old, (Object, Instance)) else frozenset(), ()
            case ast.Subscript(owner, ast.Constant(index)):
                with self.aside():
                    holder = self.evaluate(owner)
                if isinstance(holder, Object) and holder.kind is Kind.MODULE:
                    return UNKNOWN, frozenset({(*holder.uid, str(index))}), ("part",)
            case ast.Attribute(owner, name):
                with self.aside():
                    holder = self.evaluate(owner)
                if isinstance(holder, Instance) and not self.is_module(holder.cls):
                    old = self.store.get((holder.uid, name), UNKNOWN)
                    return old, held((old,)) if isinstance(old, (Object, Instance)) else frozenset(), ()
                if isinstance(holder, Instance) or (isinstance(holder, Object) and holder.kind is Kind.MODULE):
                    old = self.store.get((holder.uid, name), UNKNOWN)
                    known = old != UNKNOWN or isinstance(holder, Object)
                    return old, held((old,)) | {(*holder.uid, name)}, ("part",) if known else ()
        return UNKNOWN, frozenset(), ()

    def _goes_on(self, target: ast.expr, written: ast.expr, old: Value, built: Object | Instance) -> bool:
        """Whether what was built has what was there before inside: a wrapper."""
        name, measured = spelled(target), set(_measured(written))
        if any(
            isinstance(part, (ast.Name, ast.Attribute)) and part not in measured and spelled(part) == name
            for part in walk(written)
        ):
            return True
        return isinstance(old, (Object, Instance)) and old.uid != built.uid and old.uid in self.reach((built,))


def _measured(written: ast.expr) -> Iterator[ast.AST]:
    """Yield what an expression asks for nothing but its size: `head.in_features` builds nothing of the head."""
    for part in walk(written):
        if isinstance(part, ast.Attribute) and part.attr in _SIZES:
            yield from walk(part.value)

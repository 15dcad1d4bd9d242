"""Updates by hand: a parameter that is changed by its own gradient, without an optimizer.

It knows the forms of such an update and emits it as a step; it must not know states or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from gradlint.events import EventKind
from gradlint.static.lowering.algebra import held, parameters_of
from gradlint.static.lowering.frames import Grad
from gradlint.static.lowering.notes import Written
from gradlint.static.lowering.provenance import is_leaf, is_rebound
from gradlint.static.lowering.scaling import Scaling
from gradlint.static.lowering.values import UNKNOWN, Made, Tensor, Unknown, Value
from gradlint.static.syntax.nodes import names, spelled, walk
from gradlint.static.syntax.questions import GRADIENT, GRADIENT_WORDS

_SETTINGS = frozenset(["requires_grad_", "detach_", "retain_grad", "share_memory_", "zero_"])


class Updates(Scaling):
    """Tells updates by hand from other changes."""

    def updated(self, target: ast.expr, changes: Iterable[ast.expr], node: ast.AST) -> bool:
        """Whether `target`, perhaps `w.data`, is changed in place by the gradient of `w`; the event is emitted here."""
        owner = _without_data(target)
        if not self._uses_gradient(owner, changes):
            return False
        value = self._updated_value(owner)
        known = parameters_of(value)
        tracked = owner is target and self.grad is Grad.ON and known is not None and not known & self.frozen
        self._emit_update(node, value, owner, ("tracked",) if tracked else ())
        return True

    def rebinds(self, target: ast.expr, change: ast.expr, result: Value, node: ast.stmt) -> Value | None:
        """Return what `w = w - rate * w.grad` makes of `w`; None if it is no such update."""
        if isinstance(result, Tensor) and (is_leaf(result) or result.cut is not None):
            # A new leaf, or a tensor that is told to require gradients next: it begins without gradients.
            return None
        owner = _without_data(target)
        if owner is not target or not self._uses_gradient(owner, [change]) or not _mentions(change, owner):
            return None
        value = self._updated_value(owner)
        if isinstance(owner, ast.Name) and self._only_a_turn(owner.id, node):
            self._emit_update(node, value, owner, ("name-only",))
            return None
        if not isinstance(value, Tensor) or not (is_leaf(value) or is_rebound(value)):
            return None
        self._emit_update(node, value, owner, ("rebound",) if is_rebound(value) else ("rebinding",))
        return Tensor(made=Made("rebound", self.place(node)))

    def changed_by_method(self, node: ast.Call) -> bool:
        """Whether a call is an update like `w.data.add_(w.grad, alpha=-rate)`."""
        if not isinstance(node.func, ast.Attribute):
            return False
        target, name = node.func.value, node.func.attr
        if name.endswith("_") and name not in _SETTINGS:
            return self.updated(target, [*node.args, *(keyword.value for keyword in node.keywords)], node)
        if name == "retain_grad" and is_rebound(self.latest.get(target, UNKNOWN)):
            # What it was given up for is asked for after all.
            self.forget([self.latest[target]])
        return False

    def writes_data(self, target: ast.expr, node: ast.expr | ast.stmt) -> None:
        """Remember that the data of a tensor are changed, if `target` is `h.data` or a part of it."""
        inner = target.value if isinstance(target, ast.Subscript) else target
        if isinstance(inner, ast.Attribute) and inner.attr == "data":
            owner = inner.value
            value = self.lookup(owner.id) if isinstance(owner, ast.Name) else self.latest.get(owner)
            if isinstance(value, Tensor) and value.nodes and isinstance(owner, (ast.Name, ast.Attribute)):
                self.written.append(Written(node, owner, value.nodes, self.frame.node))

    def _updated_value(self, owner: ast.expr) -> Value:
        plain = isinstance(owner, (ast.Name, ast.Attribute, ast.Subscript))
        return self.evaluate(owner) if plain else self.latest.get(owner, UNKNOWN)

    def _emit_update(self, node: ast.AST, value: Value, owner: ast.expr, roles: tuple[str, ...]) -> None:
        targets = parameters_of(value)
        if targets is None and isinstance(value, Unknown):
            targets = held((value,)) or None
        self.emit(EventKind.HAND_STEP, node, targets, ast.unparse(owner), roles=roles)

    def _uses_gradient(self, owner: ast.expr, changes: Iterable[ast.expr]) -> bool:
        """Whether the gradient of `owner` is among what it is changed by."""
        contents = self.frame.module.contents
        scope = self.frame.node or contents.tree
        if not contents.says(GRADIENT_WORDS, scope):
            return False
        computed = self.syntax.gradients(scope)
        parts = [change for change in changes if computed or contents.says(GRADIENT_WORDS, change)]
        name = spelled(owner) if parts else ""
        return any(name in self._gradients_in(change, scope, name) for change in parts)

    def _gradients_in(self, change: ast.expr, scope: ast.AST, changed: str) -> Iterator[str]:
        """Yield whose gradients are in a change; what is `changed` may hold its own by now, of an update before this one."""
        for part in walk(change):
            match part:
                case ast.Attribute(owner, name) if name in GRADIENT:
                    yield spelled(_without_data(owner))
                case ast.Name(name) if name != changed:
                    yield from self.syntax.gradients(scope).get(name, ())

    def _only_a_turn(self, name: str, node: ast.stmt) -> bool:
        """Whether a name is what a loop over parameters gives, and nobody reads it after `node` in that turn."""
        loop = self.loop_nodes.get(self.loops[-1]) if self.loops else None
        if not isinstance(loop, ast.For) or name not in {each.id for each in names(loop.target)}:
            return False
        after = (node.end_lineno or node.lineno, node.end_col_offset or 0)
        return not any(
            isinstance(each.ctx, ast.Load) and each.id == name and (each.lineno, each.col_offset) > after
            for each in names(loop)
        )


def _mentions(change: ast.expr, owner: ast.expr) -> bool:
    """Whether `owner` itself, not only its gradient, is in an expression."""
    wanted = ast.dump(owner).replace("Store()", "Load()")
    own = [part.value for part in walk(change) if isinstance(part, ast.Attribute) and part.attr in GRADIENT]
    return any(ast.dump(part) == wanted and part not in own for part in walk(change))


def _without_data(node: ast.expr) -> ast.expr:
    """Return the tensor of which `w.data` and `w.detach()` are the values."""
    match node:
        case ast.Attribute(owner, "data") | ast.Call(ast.Attribute(owner, "detach"), [], []):
            return owner
        case _:
            return node

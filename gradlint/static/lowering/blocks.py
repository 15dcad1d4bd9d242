"""Blocks that change how their statements run: contexts, exceptions, cases.

It knows grad modes; it must not know states or rules.
"""

from __future__ import annotations

import ast

from gradlint.static.flow.tree import (
    Atom,
    Not,
    Predicate,
)
from gradlint.static.lowering.algebra import held
from gradlint.static.lowering.contexts import METHODS, is_context
from gradlint.static.lowering.frames import Grad, Store
from gradlint.static.lowering.functions import needs_gradients
from gradlint.static.lowering.loops import Loops
from gradlint.static.lowering.values import UNKNOWN, Const, Instance, Kind, Library, Object, Unknown, const

_AUTOCAST = frozenset(
    [
        "torch.autocast",
        "torch.amp.autocast",
        "torch.cuda.amp.autocast",
        "torch.cpu.amp.autocast",
        "torch.cuda.amp.autocast_mode.autocast",
    ]
)


class Blocks(Loops):
    """Lowers `with`, `try` and `match`."""

    def lower_with(self, items: list[ast.withitem], body: list[ast.stmt]) -> None:
        """Lower a block in the grad mode that its contexts put it in."""
        outer, switch, casting, entered = self.grad, self.switch, self.autocast, False
        inference, unsynced = self.inference, self.unsynced
        for item in items:
            before = self.grad
            value = self.evaluate(item.context_expr)
            mode = self.mode_of(item.context_expr)
            strange = isinstance(value, Unknown) and not self._known_context(item.context_expr)
            if mode is None and strange and not needs_gradients(body):
                # Whoever manages this context may switch gradients off.
                mode = Grad.MAYBE
            self.grad = mode if mode is not None else before
            if mode is not None:
                self.switch, entered = None, True
                self.inference = self.inference or (mode is Grad.OFF and self.is_inference_mode(item.context_expr))
            self.autocast = self._casts(item.context_expr)
            self.unsynced = self.unsynced or self._leaves_ranks_alone(item.context_expr)
            if item.optional_vars is not None:
                value = self.entered.get(item.context_expr, value)
                self.assign(
                    item.optional_vars,
                    value if isinstance(value, (Object, Instance)) else Unknown(holds=held((value,))),
                    item.optional_vars,
                )
        inside = self.grad
        self._entered(items, "__enter__")
        self.block(body)
        self._entered(items, "__exit__")
        self.autocast, self.inference, self.unsynced = casting, inference, unsynced
        # A `set_grad_enabled` statement inside outlives nothing: the context restores what was.
        if entered or inside is not outer:
            self.grad, self.switch = outer, switch

    def _entered(self, items: list[ast.withitem], name: str) -> None:
        """Forget what an instance that manages a context, which is not followed, sets of itself at one end of it."""
        for item in items:
            value = self.latest.get(item.context_expr)
            method = self.method_of(value.cls, name) if isinstance(value, Instance) else None
            if isinstance(value, Instance) and method is not None:
                self.unsettle(value.uid, item.context_expr, self.syntax.assigned_attributes(method.node))

    def _casts(self, node: ast.expr) -> bool:
        """Whether operations run in lower precision inside a context: `autocast`, unless it is, or may be, switched off."""
        callee = self.quietly(node.func) if isinstance(node, ast.Call) else UNKNOWN
        if not isinstance(node, ast.Call) or not isinstance(callee, Library) or callee.name not in _AUTOCAST:
            return self.autocast
        position = 2 if callee.name in ("torch.autocast", "torch.amp.autocast") else 0
        given = next((each.value for each in node.keywords if each.arg == "enabled"), None)
        if given is None and len(node.args) > position:
            given = node.args[position]
        return given is None or const(self.latest.get(given, UNKNOWN)) is True

    def _leaves_ranks_alone(self, node: ast.expr) -> bool:
        """Whether a context is `ddp.no_sync()`, in which no backward pass averages gradients."""
        match node:
            case ast.Call(ast.Attribute(owner, "no_sync"), []):
                known = self.latest.get(owner, UNKNOWN)
                return isinstance(known, (Instance, Unknown)) or (
                    isinstance(known, Object) and known.kind is Kind.MODULE
                )
            case _:
                return False

    def _known_context(self, node: ast.expr) -> bool:
        """Whether a context is made by a library that has no hand on gradients."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = self.latest.get(node.func.value)
            if isinstance(owner, Object) or (isinstance(owner, (Unknown, Instance)) and node.func.attr in METHODS):
                return True
        if isinstance(node, ast.Call) and is_context(self.latest.get(node.func, UNKNOWN), self.models):
            return True
        callee = self.quietly(node.func) if isinstance(node, ast.Call) else UNKNOWN
        return (
            isinstance(callee, Library)
            and self.models.role_of(callee.name) in ("pure", "tensor", "acts", "wrapper", "tool")
        ) or callee == Library("builtins.open")

    def sets_grad(self, node: ast.Call) -> bool:
        """Whether a call takes effect as a statement: `torch.set_grad_enabled(...)`."""
        callee = self.quietly(node.func)
        return isinstance(callee, Library) and self.models.role_of(callee.name) == "set-grad"

    def mode_of(self, node: ast.expr) -> Grad | None:
        """Return the grad mode inside a context, if the context decides it."""
        if isinstance(node, ast.IfExp):
            either, other = self.mode_of(node.body), self.mode_of(node.orelse)
            return either if either is other else Grad.MAYBE
        if not isinstance(node, ast.Call):
            value = self.latest.get(node)
            return Grad.OFF if isinstance(value, Library) and self.models.role_of(value.name) == "no-grad" else None
        callee = self.quietly(node.func)
        if not isinstance(callee, Library):
            return None
        match self.models.role_of(callee.name):
            case "no-grad":
                flag = const(self.latest.get(node.args[0], UNKNOWN)) if node.args else True
                return (
                    {True: Grad.OFF, False: self.grad}.get(flag, Grad.MAYBE) if isinstance(flag, bool) else Grad.MAYBE
                )
            case "enable-grad":
                return Grad.ON
            case "set-grad":
                flag = const(self.latest.get(node.args[0], UNKNOWN)) if node.args else ...
                return {True: Grad.ON, False: Grad.OFF}.get(flag, Grad.MAYBE) if isinstance(flag, bool) else Grad.MAYBE
            case _:
                return None

    def lower_try(
        self, body: list[ast.stmt], handlers: list[ast.ExceptHandler], orelse: list[ast.stmt], final: list[ast.stmt]
    ) -> None:
        """Lower what runs when nothing is raised; handlers only add names."""
        before = dict(self.store)
        self.perhaps += bool(handlers)
        self.block([*body, *orelse])
        self.perhaps -= bool(handlers)
        after, dead = self.store, self.dead
        for handler in handlers:
            # What a handler does creates no finding, but its names and functions are real.
            self.store, self.dead, grad = dict(before), False, self.grad
            pending, self.pending = self.pending, []
            returned = len(self.frame.returned)
            with self.aside():
                self.block(handler.body)
            del self.frame.returned[returned:]
            self._handled(after)
            self.pending, self.grad = pending, grad
        self.store, self.dead = after, False
        self.block(final)
        self.dead = self.dead or dead

    def _handled(self, after: Store) -> None:
        """Add to what is known behind a `try` what a handler binds, and which flags it leaves otherwise."""
        for key, value in self.store.items():
            known = after.get(key)
            if known is None:
                after[key] = self.bound_aside(key, value, after)
            elif isinstance(known, Const) and isinstance(value, Const) and known != value and not self.dead:
                after[key] = self.joined(key, known, value)

    def lower_cases(self, cases: list[ast.match_case]) -> None:
        """Lower the cases of a `match`, of which one runs, or none."""
        if not cases:
            return
        first, *rest = cases
        if isinstance(first.pattern, ast.MatchAs) and first.pattern.pattern is None and first.guard is None:
            self.block(first.body)
            return
        test: Predicate = Not(Atom(f"case@{first.body[0].lineno}:{'/'.join(self.frame.path)}"))
        self.fork(test, lambda: self.lower_cases(rest), lambda: self.block(first.body))

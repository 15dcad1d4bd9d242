"""Statements: from Python's control flow to the flow tree.

It knows Python's statements; it must not know states or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from gradlint.events import EventKind
from gradlint.static.flow.tree import JumpKind
from gradlint.static.lowering.algebra import held
from gradlint.static.lowering.assignments import Assignments
from gradlint.static.lowering.frames import RETURNED, Grad
from gradlint.static.lowering.values import (
    NONE,
    Class,
    Function,
    Gathered,
    Items,
    Library,
    Object,
    Tensor,
    Unknown,
    Value,
)
from gradlint.static.syntax.questions import FunctionNode

UNCALLED = frozenset(["zero_grad", "step", "backward", "eval", "train"])
"""Methods that a statement without parentheses was meant to call."""

_FAILURES = frozenset(["NotImplementedError", "ValueError", "KeyError", "TypeError", "RuntimeError"])


class Statements(Assignments):
    """Lowers statements; in an `abridged` document, `...` stands for what is left out."""

    abridged = False

    def block(self, statements: Iterable[ast.stmt]) -> None:
        """Lower statements until control leaves."""
        for statement in statements:
            if self.dead:
                return
            self.statements += 1
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:
        # In the order of how often they come: a pattern that fails costs as much as three questions for the class.
        match node:
            case ast.Assign():
                self.assigned(node.targets, node.value, node)
            case ast.Expr():
                self._expression(node.value, node)
            case ast.If():
                self.fork(self.condition(node.test), lambda: self.block(node.body), lambda: self.block(node.orelse))
            case ast.Import(names):
                self._import(names)
            case ast.ImportFrom():
                self._import_from(node.module or "", node.names, node.level)
            case ast.Return() | ast.Break() | ast.Continue() | ast.Raise():
                self._jump(node)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.frame.captured = True
                self.bind(node.name, self._decorated(node))
            case ast.For() | ast.AsyncFor():
                self._for(node)
            case ast.ClassDef():
                self._class(node)
            case ast.AugAssign():
                self.augmented(node)
            case ast.With(items, body) | ast.AsyncWith(items, body):
                self.lower_with(items, body)
            case ast.AnnAssign(target, _, value) if value is not None:
                self.assigned([target], value, node)
            case ast.While():
                self._while(node)
            case ast.Try(body, handlers, orelse, finalbody):
                self.lower_try(body, handlers, orelse, finalbody)
            case ast.Assert(test):
                self.evaluate(test)
            case ast.Match(subject, cases):
                self.evaluate(subject)
                self.lower_cases(list(cases))
            case ast.Delete(targets):
                self._delete(targets, node)
            case _ if hasattr(ast, "TryStar") and isinstance(node, ast.TryStar):
                self.block(node.body)
            case _:
                return

    def _class(self, node: ast.ClassDef) -> None:
        for base in node.bases:
            self.evaluate(base)
        self.bind(node.name, Class(node, self.frame.path))

    def _jump(self, node: ast.Return | ast.Break | ast.Continue | ast.Raise) -> None:
        match node:
            case ast.Return(ast.Call(ast.Name(name))) if name in _FAILURES:
                self.jump(JumpKind.RAISE)  # Whoever returns an error meant to raise it: nothing goes well from here.
            case ast.Return(value):
                self._return(value)
            case ast.Break():
                self._leave_iteration(JumpKind.BREAK)
            case ast.Continue():
                self._leave_iteration(JumpKind.CONTINUE)
            case ast.Raise():
                self.jump(JumpKind.RAISE)

    def _import(self, names: Iterable[ast.alias]) -> None:
        for alias in names:
            package = alias.name.split(".")[0]
            self.bind(alias.asname or package, Library(alias.name if alias.asname else package))

    def _delete(self, targets: Iterable[ast.expr], node: ast.Delete) -> None:
        for gone in targets:
            if isinstance(gone, ast.Attribute) and gone.attr in ("grad", "_grad"):
                self.by_hand(gone, self.evaluate(gone.value), EventKind.ZERO)
            elif isinstance(gone, ast.Subscript):
                self._taken_out(gone.value, self.evaluate(gone.value), node)

    def _taken_out(self, owner: ast.expr, collection: Value, node: ast.Delete) -> None:
        match collection:
            case Items() | Gathered():
                self.grown(owner, Unknown(holds=held((collection,))), node)
            case Unknown(id=id_) if id_:
                self.void(id_)
            case _:
                return

    def _expression(self, value: ast.expr, node: ast.Expr) -> None:
        match value:
            case ast.Constant() if value.value is ... and self.abridged:
                # Something is left out here: anything may have been done to what there is.
                self.emit(EventKind.ESCAPE, node, frozenset(self.objects) | frozenset(self.instances))
            case ast.Attribute(attr=name) if name in UNCALLED:
                self._meant(value, name)
            case _:
                self.evaluate(value)
                if isinstance(value, ast.Call) and self.mode_of(value) is not None and not self.sets_grad(value):
                    # `torch.no_grad()` as a statement does nothing, but was meant to.
                    self.grad = Grad.MAYBE

    def _meant(self, node: ast.Attribute, name: str) -> None:
        """Lower a method named but not called as if it were: the missing parentheses are one finding, not two."""
        owner = self.evaluate(node.value)
        if isinstance(owner, (Object, Tensor)) or (isinstance(owner, Unknown) and name in ("zero_grad", "backward")):
            self.evaluate(ast.copy_location(ast.Call(node, [], []), node))

    def _decorated(self, node: FunctionNode) -> Value:
        result: Value = Function(node, self.frame.path)
        for decorator in reversed(node.decorator_list):
            known = self.quietly(decorator)
            maker = self.quietly(decorator.func) if isinstance(decorator, ast.Call) else known
            if isinstance(maker, Library) and self.models.role_of(maker.name) == "pure":
                continue
            if isinstance(known, Function):
                result = self.call(known, ast.copy_location(ast.Call(decorator, [], []), decorator), [result], {})
            elif isinstance(known, Unknown) or (
                isinstance(known, Library) and self.models.role_of(known.name) == "unknown"
            ):
                self.wrapped_by_others.add(node)
        return result

    def _import_from(self, module: str, names: list[ast.alias], level: int) -> None:
        for alias in names:
            if alias.name != "*":
                self.bind(alias.asname or alias.name, self.imported(module, alias.name, level))

    def _return(self, value: ast.expr | None) -> None:
        self.hint = RETURNED
        self.frame.returned.append(self.evaluate(value) if value is not None else NONE)
        self.hint = ""
        self.frame.left.append((self.grad, self.switch))
        self.frame.exits.append(self.store)
        self.jump(JumpKind.RETURN)

    def _leave_iteration(self, kind: JumpKind) -> None:
        if self.pending:
            pending = self.pending[-1]
            (pending.breaks if kind is JumpKind.BREAK else pending.continues).append(self.store)
        self.jump(kind)

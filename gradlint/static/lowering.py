"""Lowering: one file, from its first line to what nobody is seen to call, as flow trees.

Lowering interprets the file once, abstractly: names to values, calls to bodies, what remains are
events. It must not know states, codes or messages.

The module is read first, from the top, and with it every function that it calls. A function that
nobody was seen to call is then read on its own, with unknown arguments.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from gradlint.models import Models
from gradlint.static.actions import Step
from gradlint.static.context import Grad
from gradlint.static.project import Module, Project
from gradlint.static.statements import Statements
from gradlint.static.syntax import FunctionNode
from gradlint.static.tree import (
    Seq,
)
from gradlint.static.values import (
    UNKNOWN,
    Class,
    Function,
    Instance,
    Object,
    Value,
)

ACTIONS = frozenset(["zero_grad", "step", "backward", "eval", "load_state_dict"])
"""Methods without which nothing in a function can be in the wrong order or mode."""


@dataclass(frozen=True, slots=True)
class Root:
    """Something that is read from its first line: the module, or a function that nobody is seen to call.

    `followed` are the functions into which the reading went.
    """

    tree: Seq
    complete: bool
    node: ast.AST
    followed: frozenset[ast.AST]


class Lowering(Statements):
    """Lowers a file."""

    def __init__(self, project: Project, module: Module, models: Models) -> None:
        super().__init__(project, module, models)
        self.steps: list[Step] = []
        self.schedules: list[tuple[ast.Call, Object]] = []

    def roots(self, tree: ast.Module) -> Iterator[Root]:
        """Yield the module and then each function that was not reached from what came before."""
        with self.aside() as out:
            self.block(tree.body)
        yield Root(Seq(tuple(out)), True, tree, frozenset(self.followed))
        called = self.syntax.mentioned(tree)
        waiting = sorted(_functions(tree), key=lambda each: each[0].name in called)
        training = self._training([function for function, _ in waiting])
        after = dict(self.store)
        for function, cls in waiting:
            if function in self.reached or function.name not in training:
                continue
            self.store = dict(after)
            self.dead, self.grad, self.followed = False, Grad.ON, set()
            with self.aside() as out:
                self._alone(function, cls)
            yield Root(Seq(tuple(out)), False, function, frozenset(self.followed))

    def _training(self, functions: list[FunctionNode]) -> set[str]:
        """Return the names of the functions that take part in training: they act, or mention one that does."""
        found = {each.name for each in functions if self._acts(each)}
        size = -1
        while len(found) != size:
            size = len(found)
            found |= {each.name for each in functions if self.syntax.mentioned(each) & found}
        return found - {"__init__"}

    def _acts(self, function: FunctionNode) -> bool:
        return bool(self.syntax.called(function) & ACTIONS or self.syntax.mentioned(function) & self.models.calls)

    def _alone(self, function: FunctionNode, cls: ast.ClassDef | None) -> None:
        if cls is None:
            self.escaped |= self.reach((self.inline(Function(function, self.module.path), function, [], {}),))
            return
        owner = self.store.get((self.module.path, cls.name))
        home = owner if isinstance(owner, Class) and owner.node is cls else Class(cls, self.module.path)
        outer, self.out = self.out, []
        self.hint = cls.name
        instance = self.instantiate(home, cls, [], {})
        self.out = outer
        if not isinstance(instance, Instance):
            return
        static = any(isinstance(each, ast.Name) and each.id == "staticmethod" for each in function.decorator_list)
        result = self.inline(Function(function, home.frame, None if static else instance), function, [], {})
        self.escaped |= self.reach((result,))

    def own_optimizer(self, cls: Class, node: ast.AST, args: list[Value], named: dict[str, Value]) -> Value:
        """Make an optimizer of the file's own class; one that is only looked at alone is not one."""
        return super().own_optimizer(cls, node, args, named) if isinstance(node, ast.Call) else UNKNOWN


def _functions(tree: ast.Module) -> Iterator[tuple[FunctionNode, ast.ClassDef | None]]:
    """Yield the functions and methods of a module that can be called from outside, at any depth of `if`."""
    todo: list[tuple[ast.AST, ast.ClassDef | None]] = [(tree, None)]
    while todo:
        node, cls = todo.pop(0)
        for child in ast.iter_child_nodes(node):
            match child:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    yield child, cls
                case ast.ClassDef():
                    todo.append((child, child))
                case ast.If() | ast.Try() | ast.With():
                    todo.append((child, cls))

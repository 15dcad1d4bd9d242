"""Lowering: one file, from its first line to what nobody is seen to call, as flow trees.

Lowering interprets the file once, abstractly: names to values, calls to bodies, what remains are
events. It must not know states, codes or messages.

The module is read first, from the top, and with it every function that it calls. A function that
nobody was seen to call is then read on its own, with unknown arguments.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TypeVar

from gradlint.models import Models
from gradlint.static.flow.roots import Root
from gradlint.static.flow.tree import Seq
from gradlint.static.lowering.actions import Step
from gradlint.static.lowering.classes import decorators
from gradlint.static.lowering.driven import OVERRIDDEN
from gradlint.static.lowering.frames import Grad, Store
from gradlint.static.lowering.pieces import Pieces
from gradlint.static.lowering.state import ATTRIBUTES
from gradlint.static.lowering.values import UNKNOWN, Class, Function, Instance, Object, Value
from gradlint.static.sources.library import words
from gradlint.static.sources.project import Module, Project
from gradlint.static.syntax.nodes import called, children, walk
from gradlint.static.syntax.questions import FunctionNode

ACTIONS = frozenset(["zero_grad", "step", "backward", "eval", "load_state_dict"])
"""Methods without which nothing in a function can be in the wrong order or mode."""
_UPDATE = frozenset(["zero_grad", "backward", "step"])
LOSSES = frozenset(["cross_entropy", "nll_loss", "binary_cross_entropy_with_logits"])
ACTIVATIONS = frozenset(["softmax", "sigmoid"])

_WEIGHTS = words("pretrained", "arguments") | {name.rpartition(".")[2] for name in words("pretrained", "always")}
"""In the text of a file that makes a model with trained weights."""

_OPTIM = frozenset(["optim", "Optim", "OPTIM"])
"""In the text of a function that has an optimizer."""

_SWITCH = frozenset(["set_grad_enabled"])
"""The statement that sets the grad mode for all that follows."""

_C = TypeVar("_C")

_FEW_NAMES = 50
"""So many names are looked for in a text before its nodes are."""


def _flat(cls: type[_C]) -> type[_C]:
    """Give a class all that it inherits: Python forgets where it found a name, and would go through 34 layers again."""
    for layer in cls.__mro__[1:-1]:
        for name, value in vars(layer).items():
            if not name.startswith("__") and name not in vars(cls):
                setattr(cls, name, value)
    return cls


@_flat
class Lowering(Pieces):
    """Lowers a file."""

    __slots__ = ATTRIBUTES

    def __init__(self, project: Project, module: Module, models: Models) -> None:
        super().__init__(project, module, models)
        self.steps: list[Step] = []
        self.schedules: list[tuple[ast.Call, Object]] = []

    def roots(self, tree: ast.Module, pieces: tuple[int, ...] = ()) -> Iterator[Root]:
        """Yield the module and then each function that was not reached from what came before.

        `pieces` are the rows at which the cells of a notebook begin.
        """
        with self.aside() as out:
            self.by_piece(tree.body, pieces)
        yield Root(Seq(tuple(out)), True, tree, frozenset(self.followed))
        yield from self._hosted(tree)
        functions = list(_functions(tree))
        training = self._training([function for function, _ in functions])
        training |= self._running(functions) - {"__init__"}
        training |= {each.name for each, _ in functions if self._hands_over(each)} - {"__init__"}
        waiting = [each for each in functions if each[0].name in training and each[0] not in self.reached]
        if len(waiting) > 1:
            called = self.syntax.mentioned(tree)
            waiting.sort(key=lambda each: each[0].name in called)
        after = dict(self.store)
        for function, cls in self._driven_by_bases(functions, training):
            known = set(self.reached)
            yield self._read_alone(function, cls, after)
            # A base that is in this file is read as it stands, too.
            self.reached -= {each for each, home in functions if home is not cls and home is not None} - known
        for function, home in waiting:
            if function not in self.reached:
                yield self._read_alone(function, home, after)
        yield from self._inner()

    def _read_alone(self, function: FunctionNode, cls: ast.ClassDef | None, store: Store) -> Root:
        """Read a function that nobody was seen to call, from what the module has left."""
        self._begin_anew(store)
        if self._turns_gradients_on(function):
            self.grad = Grad.MAYBE
        with self.aside() as out:
            self._alone(function, cls)
        return Root(Seq(tuple(out)), False, function, frozenset(self.followed))

    def _inner(self) -> Iterator[Root]:
        """Yield the functions inside of functions that nobody was seen to call: they are returned, or given to somebody unknown."""
        tried: set[ast.AST] = set()  # Not each one that is tried can be read.
        while made := [
            each
            for each in self.store.values()
            if isinstance(each, Function) and self._waits(each) and each.node not in tried
        ]:
            inner, after = made[0], dict(self.store)
            tried.add(inner.node)
            self._begin_anew(after)
            with self.aside() as out:
                self.escaped |= self.reach((self.inline(inner, inner.node, [], {}),))
            yield Root(Seq(tuple(out)), False, inner.node, frozenset(self.followed))

    def _waits(self, function: Function) -> bool:
        """Whether a function takes part in training, stands in another one of this file, and was not read."""
        node, home = function.node, self.frames.get(function.frame)
        return (
            not isinstance(node, ast.Lambda)
            and home is not None
            and home.node is not None
            and home.module is self.module.module
            and node not in self.reached
            and self._acts(node)
        )

    def _hosted(self, tree: ast.Module) -> Iterator[Root]:
        """Yield the training of each class that a trainer drives, or that is a trainer of a library."""
        if not any(word in self.module.module.source.text for word in OVERRIDDEN):
            return
        after = dict(self.store)
        for node in dict.fromkeys(cls for _, cls in _functions(tree) if cls is not None):
            cls = after.get((self.module.path, node.name))
            if isinstance(cls, Class) and cls.node is node:
                self._begin_anew(after)
                with self.aside() as out:
                    hosted = self.host(cls) or self.drive(cls)
                if hosted:
                    yield Root(Seq(tuple(out)), False, node, frozenset(self.followed))

    def _driven_by_bases(
        self, functions: list[tuple[FunctionNode, ast.ClassDef | None]], training: set[str]
    ) -> Iterator[tuple[FunctionNode, ast.ClassDef]]:
        """Yield the methods by which a base drives the training methods of a class of this file, as long as some were not read."""
        for node in dict.fromkeys(cls for _, cls in functions if cls is not None and cls.bases):
            cls = self.settled((self.module.path, node.name))
            own = {each.name: each for each, home in functions if home is node and each.name in training}
            if own and isinstance(cls, Class) and cls.node is node:
                for ancestor in list(self.lineage(cls))[1:]:
                    for method in (each for each in ancestor.node.body if isinstance(each, ast.FunctionDef)):
                        driven = [own[name] for name in sorted(self.syntax.mentioned(method) & own.keys())]
                        inherited = self.method_of(cls, method.name) == Function(method, ancestor.frame)
                        if inherited and not self.reached.issuperset(driven):
                            yield method, node

    def _begin_anew(self, store: Store) -> None:
        """Begin to read what nobody was seen to call, from what the module has left."""
        self.store = dict(store)
        self.dead, self.grad, self.switch, self.followed, self.perhaps = False, Grad.ON, None, set(), 0
        self.inference, self.routines = False, {}

    def _turns_gradients_on(self, function: FunctionNode) -> bool:
        """Whether the first statement by which a function sets the grad mode turns gradients on: its callers may have them off."""
        if not self.module.module.contents.says(_SWITCH, function):
            return False
        calls = (
            each.value for each in function.body if isinstance(each, ast.Expr) and isinstance(each.value, ast.Call)
        )
        first = next((call for call in calls if called(call) in _SWITCH), None)
        return first is not None and any(isinstance(each, ast.Constant) and each.value is True for each in first.args)

    def _training(self, functions: list[FunctionNode]) -> set[str]:
        """Return the names of the functions that take part in training: they act, or mention one that does."""
        contents = self.module.module.contents
        found = {each.name for each in functions if self._acts(each)}
        size = 0
        while len(found) != size:
            size = len(found)
            names = frozenset(found)
            few = len(names) <= _FEW_NAMES
            found |= {
                each.name
                for each in functions
                if (not few or contents.says(names, each)) and self.syntax.mentioned(each) & found
            }
        found |= {each.name for each in functions if self._judges(each)}
        return found - {"__init__"}

    def _running(self, functions: list[tuple[FunctionNode, ast.ClassDef | None]]) -> set[str]:
        """Return the methods that run a model with trained weights, of classes that are no modules: nobody else sets its mode."""
        if not self.module.module.contents.says(_WEIGHTS, self.module.module.contents.tree):
            return set()
        plain = [function for function, cls in functions if cls is not None and not cls.bases]
        given = frozenset(name for function in plain for name in _weighted(function))
        return {each.name for each in plain if given and self.syntax.mentioned(each) & given}

    def _hands_over(self, function: FunctionNode) -> bool:
        """Whether a function has an optimizer, and something of another file, which may train by it what is made here."""
        if not self.module.module.contents.says(_OPTIM, function):
            return False
        has_one = any("optim" in name.lower() for name in self.syntax.mentioned(function))
        return has_one and self.calls_elsewhere(function)

    def _judges(self, function: FunctionNode) -> bool:
        """Whether a loss of torch and an activation meet in a function: trainers of others call it."""
        if not self.module.module.contents.says(LOSSES, function):
            return False
        called = self.syntax.called(function)
        return bool(called & LOSSES and called & ACTIVATIONS)

    def _acts(self, function: FunctionNode) -> bool:
        if not self.models.calls and not self.module.module.contents.says(ACTIONS, function):
            return False
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
        self.by_then(instance, function)
        self.pair(instance)
        method = self.method_of(home, function.name)
        frame = method.frame if method is not None and method.node is function else home.frame
        told = decorators(Function(function, frame))
        receiver = None if "staticmethod" in told else home if "classmethod" in told else instance
        bound = Function(function, frame, receiver)
        results: list[Value] = []
        if self._is_one_update(function) and not self.is_module(home):
            self.repeated(function, lambda: results.append(self.inline(bound, function, [], {})), [], [])
        else:
            results.append(self.inline(bound, function, [], {}))
        self.escaped |= self.reach(results)

    def _is_one_update(self, method: FunctionNode) -> bool:
        """Whether a method clears, runs backward and steps, each outside of loops: an agent's `update`, which is called again and again."""
        if not self.syntax.called(method) >= _UPDATE:
            return False
        loops = (node for node in walk(method) if isinstance(node, (ast.For, ast.AsyncFor, ast.While)))
        return not any(self.syntax.called(loop) & _UPDATE for loop in loops)

    def own_optimizer(self, cls: Class, node: ast.AST, args: list[Value], named: dict[str, Value]) -> Value:
        """Make an optimizer of the file's own class; one that is only looked at alone is not one."""
        return super().own_optimizer(cls, node, args, named) if isinstance(node, ast.Call) else UNKNOWN


def _weighted(function: FunctionNode) -> Iterator[str]:
    """Yield the attributes that a function gives what may be a model with trained weights."""
    for node in walk(function):
        match node:
            case ast.Assign([ast.Attribute(attr=name)], ast.Call() as made):
                calls = [each for each in walk(made) if isinstance(each, ast.Call)]
                told = {word for call in calls for word in (called(call), *(each.arg for each in call.keywords))}
                if told & _WEIGHTS:
                    yield name
            case _:
                continue


def _functions(tree: ast.Module) -> Iterator[tuple[FunctionNode, ast.ClassDef | None]]:
    """Yield the functions and methods of a module that can be called from outside, at any depth of `if`."""
    todo: list[tuple[ast.AST, ast.ClassDef | None]] = [(tree, None)]
    while todo:
        node, cls = todo.pop(0)
        for child in children(node):
            if isinstance(child, FunctionNode):
                yield child, cls
            elif isinstance(child, ast.ClassDef):
                todo.append((child, child))
            elif isinstance(child, (ast.If, ast.Try, ast.With)):
                todo.append((child, cls))

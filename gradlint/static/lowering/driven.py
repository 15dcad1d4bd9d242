"""Classes whose library runs backward and steps for them: the trainers of Transformers, modules that Lightning optimizes itself.

It knows what such a library does around the methods that a class overrides; it must not know states or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

from gradlint.events import EventKind
from gradlint.static.lowering.hosted import AFTER_EPOCH, BATCH, BEFORE_EPOCH, OPTIMIZERS, SCHEDULERS, Hosted
from gradlint.static.lowering.values import (
    NONE,
    UNKNOWN,
    Class,
    Const,
    Function,
    Instance,
    Items,
    Object,
    Super,
    Tensor,
    Unknown,
    Value,
)
from gradlint.static.sources.library import words
from gradlint.static.syntax.nodes import own
from gradlint.static.syntax.questions import FunctionNode

_STEP, _LOSS, _INPUTS = "training_step", "compute_loss", "_prepare_inputs"
_DOES_IT_ALL = frozenset(["backward", "manual_backward", "step", "zero_grad"])
OVERRIDDEN = frozenset([_STEP, _LOSS, _INPUTS])
"""Methods of a class that its library calls for each batch."""


class Driven(Hosted):
    """Lowers what a library does with such a class: batch after batch."""

    def drive(self, cls: Class) -> bool:
        """Lower the training of a class of this file, if its library trains it; tell whether it does."""
        methods = {each.name for each in cls.node.body if isinstance(each, FunctionNode)}
        if methods & OVERRIDDEN and self.is_trainer(cls) and not self._has_own_loop(cls):
            return self._driven(cls, self._train)
        if _STEP in methods and self.is_lightning(cls):
            return self._driven(cls, self._fit)
        return False

    def is_trainer(self, cls: Class) -> bool:
        """Whether a class is a trainer of Transformers."""
        return self.is_a(cls, *words("trainer", "bases"))

    def _has_own_loop(self, cls: Class) -> bool:
        return any(self.method_of(cls, name) is not None for name in words("trainer", "loops"))

    def _driven(self, cls: Class, train: Callable[[Instance], bool]) -> bool:
        outer, self.out = self.out, []
        self.hint = cls.node.name
        instance = self.instantiate(cls, cls.node, [], {})
        made, self.out = self.out, outer
        if not isinstance(instance, Instance):
            return False
        self.out += made
        return train(instance)

    # Trainers of Transformers -----------------------------------------------------------------

    def _train(self, instance: Instance) -> bool:
        node = instance.cls.node
        model, optimizer = (self._given(instance, name) for name in ("model", "optimizer"))

        def turn() -> None:
            inputs = self.fresh("inputs", node)
            step = self.method_of(instance.cls, _STEP)
            if step is None:
                self._training_step(instance, model, inputs, node)
            else:
                self._call(instance, step, [model, inputs])
            self._update(optimizer, node)

        self.repeated(node, turn, [], [])
        return True

    def _given(self, instance: Instance, name: str) -> Object:
        """Return what a trainer has under a name, whoever gave it."""
        known = self.inherited_member(instance, name, instance.cls.node)
        assert known is not None
        if self.store.get((instance.uid, name)) != known:
            self.set_member(instance.uid, name, known)
        return known

    def _training_step(self, instance: Instance, model: Value, inputs: Value, node: ast.AST) -> Value:
        """Do what a trainer does with a batch."""
        self.emit(EventKind.TRAIN, node, self.reach((model,)), "model")
        prepare, compute = (self.method_of(instance.cls, name) for name in (_INPUTS, _LOSS))
        if prepare is not None:
            inputs = self._call(instance, prepare, [inputs])
        loss = self._forward_of(model, node) if compute is None else self._call(instance, compute, [model, inputs])
        self._descend(loss, compute, node)
        return UNKNOWN

    def _forward_of(self, model: Value, node: ast.AST) -> Value:
        return Tensor(frozenset({self._ran(model.uid, node, sure=False)})) if isinstance(model, Object) else UNKNOWN

    def on_super(self, owner: Super, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Call a method through `super()`, which a trainer may have from its library."""
        inherited = name in OVERRIDDEN and self.method_of(owner.instance.cls, name, after=owner.cls) is None
        if not inherited or not self.is_trainer(owner.instance.cls):
            return super().on_super(owner, name, node, args, named)
        given = [*args, *named.values()]
        match name, given:
            case "training_step", [model, inputs, *_]:
                return self._training_step(owner.instance, model, inputs, node)
            case "compute_loss", [model, *_]:
                loss = self._forward_of(model, node)
                flag = named.get("return_outputs", args[2] if len(args) > 2 else Const(False))
                return loss if flag == Const(False) else Unknown(holds=self.reach((model,)))
            case _:
                return UNKNOWN

    # Modules of Lightning ---------------------------------------------------------------------

    def _fit(self, instance: Instance) -> bool:
        configure = self.method_of(instance.cls, "configure_optimizers")
        step = self.method_of(instance.cls, _STEP)
        assert step is not None
        if configure is None or self._is_manual(instance) or self.syntax.called(step.node) & _DOES_IT_ALL:
            return False
        self.configure(instance)
        optimizer = self.store.get((instance.uid, OPTIMIZERS))
        if not isinstance(optimizer, Object):
            return False
        # Lightning itself moves schedules on.
        self.move_on([self.store.get((instance.uid, SCHEDULERS), UNKNOWN)])

        def turn() -> None:
            self.called_by_trainer(instance, BATCH[:1])
            loss = self._run(instance, step)
            if loss == NONE:  # Without a loss, it goes on to the next batch.
                return
            self.emit(EventKind.ZERO, step.node, frozenset({optimizer.uid}), optimizer.uid[-1])
            self._descend(loss, step, step.node)
            self._update(optimizer, step.node)
            self.called_by_trainer(instance, BATCH[2:])

        def epoch() -> None:
            self.called_by_trainer(instance, BEFORE_EPOCH[1:])
            self.repeated(step.node, turn, [], [])
            self.called_by_trainer(instance, AFTER_EPOCH)

        self.called_by_trainer(instance, BEFORE_EPOCH[:1])
        self.emit(EventKind.TRAIN, instance.cls.node, self.reach((instance,)), instance.cls.node.name)
        self.repeated(instance.cls.node, epoch, [], [])
        return True

    # Both -------------------------------------------------------------------------------------

    def _call(self, instance: Instance, method: Function, given: list[Value]) -> Value:
        """Call a method as its library does; what else it takes is left to its defaults, or unknown."""
        return self.inline(Function(method.node, method.frame, instance), method.node, given, {})

    def _descend(self, result: Value, method: Function | None, node: ast.AST) -> None:
        """Run backward from what a method returned, where it returns it."""
        match result:
            case Items(elements, keys) if keys is not None and "loss" in keys:
                loss = elements[keys.index("loss")]
            case Items((loss, *_), None):
                pass
            case _:
                loss = result
        home = self.frames.get(method.frame, self.module).module if method is not None else None
        mine = method is not None and home is self.module.module
        place = _last_return(method.node) if mine and method is not None else node
        written = ast.Call(ast.Attribute(ast.Name("loss", ast.Load()), "backward", ast.Load()), [], [])
        for each in ast.walk(written):
            ast.copy_location(each, place)
        self.backward(written, [loss], {}, ("hosted",))

    def _update(self, optimizer: Object, node: ast.AST) -> None:
        uid = frozenset({optimizer.uid})
        self.emit(EventKind.STEP, node, uid, optimizer.uid[-1], roles=("hosted",))
        self.emit(EventKind.ZERO, node, uid, optimizer.uid[-1])


def _last_return(function: ast.AST) -> ast.AST:
    """Return the last statement by which a function returns something, else the function."""
    found = [each for each in own(function) if isinstance(each, ast.Return) and each.value is not None]
    return found[-1] if found else function

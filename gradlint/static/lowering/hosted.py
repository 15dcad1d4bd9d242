"""Modules that a trainer of Lightning drives while they optimize by themselves: their training step is the body of a loop.

It knows the methods that the trainer calls and in which order; it must not know states or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from gradlint.data import dataclass
from gradlint.static.lowering.algebra import held
from gradlint.static.lowering.statements import Statements
from gradlint.static.lowering.values import (
    UNKNOWN,
    Class,
    Const,
    Function,
    Instance,
    Items,
    Kind,
    Library,
    Object,
    Value,
)
from gradlint.static.syntax.nodes import walk
from gradlint.static.syntax.questions import FunctionNode

OPTIMIZERS, SCHEDULERS = "configured_optimizers", "configured_schedulers"
"""Under these names a module holds what it has configured: the models speak of them."""

_MODE = "automatic_optimization"
BEFORE_EPOCH = ("on_train_start", "on_train_epoch_start")
BATCH = ("on_train_batch_start", "training_step", "on_train_batch_end")
AFTER_EPOCH = ("on_train_epoch_end", "training_epoch_end")
"""The methods that the trainer calls around the epochs, and for each batch."""


@dataclass(frozen=True, slots=True)
class _Configured:
    """What `configure_optimizers` returns."""

    optimizers: tuple[Value, ...] = ()
    schedulers: tuple[Value, ...] = ()

    def __add__(self, other: _Configured) -> _Configured:
        return _Configured(self.optimizers + other.optimizers, self.schedulers + other.schedulers)


class Hosted(Statements):
    """Lowers what a trainer does with such a module: epochs of batches."""

    def host(self, cls: Class) -> bool:
        """Lower the training of a module that optimizes by itself; tell whether it is one, of which enough is in sight."""
        if not self._may_optimize(cls):
            return False
        outer, self.out = self.out, []
        self.hint = cls.node.name
        instance = self.instantiate(cls, cls.node, [], {})
        made, self.out = self.out, outer
        if not isinstance(instance, Instance) or not self._is_manual(instance):
            return False
        self.out += made
        self.configure(instance)
        self.called_by_trainer(instance, BEFORE_EPOCH[:1])
        self.repeated(cls.node, lambda: self._epoch(instance), [], [])
        return True

    def _may_optimize(self, cls: Class) -> bool:
        """Whether a class of this file has a training step and speaks, as its bases do, of the mode of Lightning's modules."""
        return (
            self.is_lightning(cls)
            and self.method_of(cls, "training_step") is not None
            and any(_MODE in self._texts(each) for each in self.lineage(cls))
        )

    def is_lightning(self, cls: Class) -> bool:
        """Whether a class is a module of Lightning."""
        return any(self.is_lightning_base(base) for each in self.lineage(cls) for base in self.bases(each))

    def is_lightning_base(self, base: Value) -> bool:
        """Whether a base is the module of Lightning itself."""
        return isinstance(base, Library) and self.models.meaning_of(base.name).kind == "lightning-module"

    def _texts(self, cls: Class) -> frozenset[str]:
        return frozenset(node.attr for node in walk(cls.node) if isinstance(node, ast.Attribute)) | frozenset(
            name for statement in cls.node.body for name in _bound(statement)
        )

    def _is_manual(self, instance: Instance) -> bool:
        """Whether the mode is off for certain: by an attribute of the instance or of a class, or by a property."""
        known = self.store.get((instance.uid, _MODE))
        if known is not None:
            return known == Const(False)
        if self.method_of(instance.cls, _MODE) is not None:
            return self.member(instance, _MODE, instance.cls.node) == Const(False)  # type: ignore[arg-type]
        return any(_says_off(each, _MODE) for ancestor in self.lineage(instance.cls) for each in ancestor.node.body)

    def configure(self, instance: Instance) -> None:
        """Let a module configure its optimizers and schedulers, and hold them."""
        configure = self.method_of(instance.cls, "configure_optimizers")
        result = self._run(instance, configure) if configure is not None else UNKNOWN
        configured = _configured(result)
        if configured is not None and configure is not None and configure.node not in instance.cls.node.body:
            # The class that it is inherited from may be driven automatically: its schedule moves on there.
            self.move_on(configured.schedulers)
        for name, values in (
            (OPTIMIZERS, configured.optimizers if configured else ()),
            (SCHEDULERS, configured.schedulers if configured else ()),
        ):
            if values:
                self.set_member(instance.uid, name, values[0] if len(values) == 1 else Items(values))

    def move_on(self, schedulers: Iterable[Value]) -> None:
        """Let schedules move on out of sight, and those with them that they hold."""
        found = (self.objects.get(uid) for uid in self.reach(schedulers))
        self.escaped |= held(schedulers) | {
            each.uid for each in found if each is not None and each.kind is Kind.SCHEDULER
        }

    def _epoch(self, instance: Instance) -> None:
        self.called_by_trainer(instance, BEFORE_EPOCH[1:])
        step = self.method_of(instance.cls, "training_step")
        assert step is not None
        self.repeated(step.node, lambda: self.called_by_trainer(instance, BATCH), [], [])
        self.called_by_trainer(instance, [*self._other_hooks(instance), *AFTER_EPOCH])

    def _other_hooks(self, instance: Instance) -> Iterator[str]:
        """Yield the hooks of the class that may touch what is optimized, at whatever time the trainer calls them."""
        known = {*BEFORE_EPOCH, *BATCH, *AFTER_EPOCH}
        methods = (
            each for cls in self.lineage(instance.cls) for each in cls.node.body if isinstance(each, FunctionNode)
        )
        for method in methods:
            acts = self.syntax.called(method) & {"step", "zero_grad", "backward", "manual_backward"}
            if method.name.startswith("on_") and method.name not in known and acts:
                yield method.name

    def called_by_trainer(self, instance: Instance, names: tuple[str, ...] | list[str]) -> None:
        """Call those of the methods that there are."""
        for name in names:
            method = self.method_of(instance.cls, name)
            if method is not None:
                self._run(instance, method)

    def _run(self, instance: Instance, method: Function) -> Value:
        """Call a method as the trainer does: each time with other arguments."""
        assert isinstance(method.node, FunctionNode)
        arguments = [*method.node.args.posonlyargs, *method.node.args.args][1:]
        given: list[Value] = [self.fresh(each.arg, each) for each in arguments]
        bound = Function(method.node, method.frame, instance)
        return self.inline(bound, method.node, given, {})


def _configured(value: Value) -> _Configured | None:
    """Return the optimizers and schedulers in what a module has returned; None where it holds anything else."""
    match value:
        case Object(kind=Kind.OPTIMIZER):
            return _Configured((value,))
        case Items(elements, keys) if keys is not None:
            named = dict(zip(keys, elements, strict=True))
            optimizer = named.get("optimizer", UNKNOWN)
            schedulers = _scheduler(named["lr_scheduler"]) if "lr_scheduler" in named else ()
            return _Configured((optimizer,), schedulers) if isinstance(optimizer, Object) else None
        case Items((Items(optimizers, None), Items(schedulers, None))):
            return _Configured(optimizers, tuple(each for one in schedulers for each in _scheduler(one)))
        case Items(elements):
            parts = [_configured(element) for element in elements]
            return None if None in parts else sum((part for part in parts if part is not None), _Configured())
        case _:
            return None


def _scheduler(value: Value) -> tuple[Value, ...]:
    match value:
        case Items(elements, keys) if keys is not None and "scheduler" in keys:
            return (elements[keys.index("scheduler")],)
        case _:
            return (value,)


def _bound(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.Assign(targets):
            yield from (target.id for target in targets if isinstance(target, ast.Name))
        case ast.AnnAssign(ast.Name(name)) | ast.FunctionDef(name=name):
            yield name
        case _:
            return


def _says_off(statement: ast.stmt, name: str) -> bool:
    match statement:
        case ast.Assign(value=ast.Constant(False)) | ast.AnnAssign(value=ast.Constant(False)):
            return name in _bound(statement)
        case _:
            return False

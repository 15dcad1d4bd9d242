"""What a model says that a call does: its verbs as events.

It knows actions, values and events; it must not know frameworks, states or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from gradlint.data import NamedTuple
from gradlint.events import EventKind
from gradlint.models import Action, Meaning
from gradlint.models.form import EVERYTHING, SELF
from gradlint.static.flow.tree import Atom, Kill, Known, Predicate, Seq, Uid, events
from gradlint.static.lowering.algebra import held
from gradlint.static.lowering.attributes import window_end
from gradlint.static.lowering.instances import Instances
from gradlint.static.lowering.values import (
    LOADER,
    NONE,
    UNKNOWN,
    Class,
    Const,
    Function,
    Instance,
    Items,
    Kind,
    Library,
    Method,
    Object,
    Params,
    Super,
    Unknown,
    Value,
    is_loader,
)

_BOUNDS = ("max_norm", "clip_value", "clip_val", "max_value")
"""What frameworks call the bound of a gradient."""
_DIFFERENTIATES = (EventKind.BACKWARD, EventKind.RETAIN, EventKind.SETGRAD)


class Step(NamedTuple):
    """One `optimizer.step(...)` as written, with the closure that it was given."""

    node: ast.Call
    optimizer: Object
    arguments: tuple[Value, ...]
    closure: Function | None
    body: Seq | None

    @property
    def spelled(self) -> str:
        """The optimizer, as it is written."""
        return ast.unparse(self.node.func.value) if isinstance(self.node.func, ast.Attribute) else "optimizer"


class _Given(NamedTuple):
    """What one call was given: its receiver, its arguments, and which parameters a model gives names to."""

    node: ast.Call
    meaning: Meaning
    receiver: Value | None
    args: tuple[Value, ...]
    named: dict[str, Value]

    def value(self, name: str) -> Value | None:
        if name in self.named:
            return self.named[name]
        if name in self.meaning.parameters:
            index = self.meaning.parameters.index(name)
            return self.args[index] if index < len(self.args) else None
        return None

    def written(self, name: str) -> ast.expr | None:
        """Return the argument as it is written, where it stands for itself."""
        found = next((keyword.value for keyword in self.node.keywords if keyword.arg == name), None)
        if found is not None or name not in self.meaning.parameters:
            return found
        index = self.meaning.parameters.index(name)
        plain = not any(isinstance(arg, ast.Starred) for arg in self.node.args[: index + 1])
        return self.node.args[index] if plain and index < len(self.node.args) else None

    @property
    def everything(self) -> list[Value]:
        return [*self.args, *self.named.values()]


class Actions(Instances):
    """Performs what models say."""

    steps: list[Step]
    schedules: list[tuple[ast.Call, Object]]

    def perform(
        self, meaning: Meaning, node: ast.Call, receiver: Value | None, args: list[Value], named: dict[str, Value]
    ) -> Value:
        """Emit the events of a call as its model tells them, and return its value."""
        given = _Given(node, meaning, receiver, tuple(args), named)
        result: Value = UNKNOWN
        for action in meaning.actions:
            returned = self._guarded(action, given)
            result = result if returned is NONE else returned
        return result

    def _guarded(self, action: Action, given: _Given) -> Value:
        returned: list[Value] = []
        self.fork(self._guard(action, given), lambda: returned.append(self._act(action, given)), lambda: None)
        return returned[0] if returned else NONE

    def _guard(self, action: Action, given: _Given) -> Predicate:
        flag = given.value(action.when) if action.when else None
        if flag is None:
            return Known(True)
        truth, written = self.truth(flag), given.written(action.when)
        if truth is not None:
            return Known(truth)
        return self.condition(written) if written is not None else Atom(f"{action.when}@{self.place(given.node)}")

    def _act(self, action: Action, given: _Given) -> Value:
        """Do one thing and return what the call returns by it, or NONE."""
        values = [value for name in action.to for value in self._spoken_of(name, given)]
        match action.verb:
            case "returns":
                return self._returned(action, given)
            case "backward":
                named = {key: each for key, each in given.named.items() if key != "inputs"}
                self.backward(given.node, values, named, ("by-framework",))
            case "cycle":
                # An engine that owns the whole cycle.
                self.emit(EventKind.BACKWARD, given.node, None, roles=("engine",))
                self.emit(EventKind.ESCAPE, given.node, None)
            case "escapes":
                every = [*given.everything, *([given.receiver] if given.receiver is not None else [])]
                return Unknown(holds=self.escape(given.node, values if action.to else every))
            case "window" | "prepares":
                self._windowed(action.verb, given)
            case verb:
                for name in action.to:
                    for value in self._spoken_of(name, given):
                        self._act_on(verb, value, given, name)
        return NONE

    def _spoken_of(self, name: str, given: _Given) -> list[Value]:
        """Return the values of a parameter: of this call, or of the one that made its receiver."""
        if name == EVERYTHING:
            return given.everything
        if name == SELF:
            return [given.receiver] if given.receiver is not None else []
        value = given.value(name)
        if value is None and isinstance(given.receiver, (Object, Instance)):
            value = self.store.get((given.receiver.uid, name))
        return [] if value is None else [value]

    def _returned(self, action: Action, given: _Given) -> Value:
        # A loader that a framework returns is its own, and it knows of epochs.
        found = [
            (name, [LOADER if is_loader(value) else value for value in self._spoken_of(name, given)])
            for name in action.to
        ]
        values = [value for _, each in found for value in each]
        if any(isinstance(value, Unknown) and value.id == "*" for value in values) or not values:
            return Unknown(holds=held(values))
        if len(values) == 1:
            return values[0]
        # What was not given keeps its place.
        return Items(tuple(value for name, each in found for value in each or ([NONE] if name != EVERYTHING else [])))

    def _act_on(self, verb: str, value: Value, given: _Given, name: str) -> None:
        match verb, value:
            case _, Const(None):
                return
            case "clip", _:
                bounds = (given.named[each] for each in _BOUNDS if each in given.named)
                bound = next(bounds, given.args[1] if len(given.args) > 1 else UNKNOWN)
                self.clipped(given.node, self._clipped(value), bound, self._called(name, value, given))
            case _, Items(elements):
                for element in elements:
                    self._act_on(verb, element, given, name)
            case "zero", Object(kind=Kind.OPTIMIZER):
                self.emit(EventKind.ZERO, given.node, frozenset({value.uid}), self._called(name, value, given))
            case "zero", Object() | Instance() | Params():
                self.emit(
                    EventKind.ZERO,
                    given.node,
                    self.reach((value,)),
                    self._called(name, value, given),
                    roles=("module",),
                )
            case "zero", _:
                self.emit(EventKind.ZERO, given.node, None, self._called(name, value, given))
            case "step", Object(kind=Kind.OPTIMIZER):
                self.stepped(value, given.node, [], self._called(name, value, given))
            case "schedule", Object(kind=Kind.SCHEDULER):
                self.scheduled(value, given.node, self._called(name, value, given))
            case (("train" | "eval"), Object() | Instance()):
                flag = [each for each in given.everything if isinstance(each, Const)]
                self.set_mode(verb, given.node, self.reach((value,)), self._called(name, value, given), list(flag))
            case (("step" | "schedule" | "train" | "eval"), _):
                self.escape(given.node, [value])

    def _called(self, name: str, value: Value, given: _Given) -> str:
        """Return how the user calls what is spoken of."""
        written = given.written(name)
        if written is not None:
            return ast.unparse(written)
        if name == SELF and isinstance(given.node.func, ast.Attribute):
            return ast.unparse(given.node.func.value)
        return value.uid[-1] if isinstance(value, Object) else name

    # Optimizers and schedulers ----------------------------------------------------------------

    def stepped(
        self, optimizer: Object, node: ast.Call, args: list[Value], spelled: str, roles: tuple[str, ...] = ()
    ) -> None:
        """Emit the step of an optimizer, with the closure that it runs and the hooks that it calls."""
        closure = next((arg for arg in args if isinstance(arg, (Function, Method))), None)
        body: Seq | None = None
        if isinstance(closure, Function):
            with self.aside() as out:
                self.inline(closure, node, [], {})
            body = Seq(tuple(out))
            self.out.append(body)
            # An optimizer of some other library may differentiate the loss itself that its closure returns.
            left = not optimizer.origin and not any(event.kind in _DIFFERENTIATES for event in events(body))
            roles = (*roles, "argument" if left else "closure")
        elif any(not isinstance(arg, Const) for arg in args):
            roles = (*roles, "argument")
        found = closure if isinstance(closure, Function) else None
        self.steps.append(Step(node, optimizer, tuple(args), found, body))
        everything = (*roles, *self.window_roles(optimizer.uid))
        self.fork(
            self.window_of(optimizer.uid),
            lambda: self.emit(EventKind.STEP, node, frozenset({optimizer.uid}), spelled, roles=everything),
            lambda: None,
        )
        for hook in self.hooks.get(optimizer.uid, ()):
            self.call(hook, node, [optimizer, UNKNOWN, UNKNOWN], {})

    def scheduled(self, scheduler: Object, node: ast.Call, spelled: str, roles: Iterable[str] = ()) -> None:
        """Emit the step of a scheduler."""
        self.schedules.append((node, scheduler))
        self.emit(EventKind.SCHEDULE, node, frozenset({scheduler.uid}), spelled, roles=roles)

    def meaning_of_method(self, receiver: Value, name: str) -> Meaning | None:
        """Return what a model says of a method of an object that a framework makes, or whose class it is the base of."""
        match receiver:
            case Object(origin=origin) if origin:
                return self.models.method_of(origin, name)
            case Instance(cls) if self.method_of(cls, name) is None:
                return self._inherited(cls, name)
            case Super(cls, instance) if self.method_of(instance.cls, name, after=cls) is None:
                return self._inherited(instance.cls, name)
            case _:
                return None

    def _inherited(self, cls: Class, name: str) -> Meaning | None:
        found = (
            self.models.method_of(base.name, name)
            for ancestor in self.lineage(cls)
            for base in self.bases(ancestor)
            if isinstance(base, Library)
        )
        return next((meaning for meaning in found if meaning is not None), None)

    # Windows ----------------------------------------------------------------------------------

    def _windowed(self, verb: str, given: _Given) -> None:
        """A window of batches opens, or its owner takes optimizers on: they step and clear only at its end."""
        if not isinstance(given.receiver, (Object, Instance)):
            return
        owner = given.receiver.uid
        if verb == "window":
            self.windows.add(owner)
            self.out.append(Kill(frozenset({window_end(owner)})))
        else:
            for value in given.everything:
                self.prepared.update(dict.fromkeys(held((value,)), owner))

    def window_roles(self, optimizer: Uid) -> tuple[str, ...]:
        """Return the words that say that an optimizer was prepared, and that it is in a window."""
        owner = self.prepared.get(optimizer)
        return () if owner is None else ("prepared", "window") if owner in self.windows else ("prepared",)

    def window_of(self, optimizer: Uid) -> Predicate:
        """Return the condition under which a prepared optimizer steps and clears, if there is one."""
        owner = self.prepared.get(optimizer)
        if owner is None or owner not in self.windows:
            return Known(True)
        return Atom(window_end(owner), frozenset({window_end(owner)}))

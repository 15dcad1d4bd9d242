"""Calls: receiver, arguments, callee, in the order in which Python evaluates them.

It knows callees; it must not know states or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import replace

from gradlint.events import EventKind
from gradlint.regex import regex
from gradlint.static.flow.tree import Atom, Call, Event, Node, Seq, Uid, events
from gradlint.static.lowering.algebra import graph_of, held, join
from gradlint.static.lowering.contexts import is_context
from gradlint.static.lowering.frames import Grad
from gradlint.static.lowering.instances import SAME
from gradlint.static.lowering.methods import Methods
from gradlint.static.lowering.values import (
    DATA,
    UNKNOWN,
    Choice,
    Class,
    Function,
    Gathered,
    Instance,
    Items,
    Kind,
    Library,
    Method,
    Object,
    Params,
    Super,
    Tensor,
    Unknown,
    Value,
    unknown_uid,
)

_MADE_AND_MOVED = SAME | {"train", "eval"}
_DATA = regex(
    r"(?:^|[/._])(?:[xyzXYZ]_?\d?|inputs?|targets?|labels?|images?|imgs?|data|batch|samples?|features?|tokens?)"
    r"(?:_(?:batch|data|ids|mask|real|tensor|train|true))?$"
)
"""At the end of the identity of somebody unknown: what data are called."""


class Calls(Methods):
    """Evaluates calls."""

    def evaluate_call(self, node: ast.Call) -> Value:
        """Evaluate receiver, arguments and call, in this order."""
        if isinstance(node.func, ast.Name) and node.func.id == "super":
            return self._super()
        if isinstance(node.func, ast.Attribute):
            receiver = self._receiver(node.func)
            args, named = self._arguments(node)
            if self._changes_gradient(node.func):
                return UNKNOWN
            if self.changed_by_method(node):
                return receiver
            if node.func.attr.endswith("_"):
                self.writes_data(node.func.value, node)
            if node.func.attr in ("append", "extend", "insert", "add") and not isinstance(receiver, (Items, Gathered)):
                self.put_away(args)
            if node.func.attr in ("append", "appendleft", "extend", "add_") and len(args) == 1:
                self.keep(node.func.value, args[0], node)
            if node.func.attr == "detach_":
                self._detached_in_place(node.func.value, node)
            if node.func.attr == "enter_context":
                self.grad = Grad.MAYBE
            return self.method(receiver, node.func.attr, node, args, named)
        callee = self.evaluate(node.func)
        args, named = self._arguments(node)
        return self.call(callee, node, args, named)

    def _receiver(self, node: ast.Attribute) -> Value:
        # Who moves a module as soon as it is made gives the name to the module.
        hint, self.hint = self.hint, self.hint if node.attr in _MADE_AND_MOVED else ""
        receiver = self.evaluate(node.value)
        self.hint = hint
        return receiver

    def _super(self) -> Value:
        cls, receiver = self.frame.cls, self.frame.receiver
        if cls is None or not isinstance(receiver, Instance):
            return UNKNOWN
        owner = next((each for each in self.lineage(cls) if self.frame.node in each.node.body), cls)
        return Super(owner, receiver)

    def _arguments(self, node: ast.Call) -> tuple[list[Value], dict[str, Value]]:
        hint, self.hint = self.hint, ""
        args: list[Value] = []
        for arg in node.args:
            value = self.evaluate(arg)
            if not isinstance(arg, ast.Starred) or isinstance(value, Params):
                args.append(value)
            elif isinstance(value, Items) and value.keys is None:
                args.extend(value.elements)
            else:
                args.append(Unknown("*", held((value,))))
        named: dict[str, Value] = {}
        for keyword in node.keywords:
            value = self.evaluate(keyword.value)
            if keyword.arg is not None:
                named[keyword.arg] = value
            elif isinstance(value, Items) and value.keys is not None and all(isinstance(k, str) for k in value.keys):
                named |= zip(map(str, value.keys), value.elements, strict=True)
            else:
                named["**"] = Unknown("*", self.reach((value,)))
        self.hint = hint
        return args, named

    def call(self, callee: Value, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Emit the events of calling a value and return the result."""
        match callee:
            case Library():
                return self.call_library(callee.name, node, args, named)
            case Function():
                return self.inline(callee, node, args, named)
            case Choice(functions, id_):
                return self._one_of(functions, id_, node, args, named)
            case Class():
                return self.instantiate(callee, node, args, named)
            case Instance():
                return self._call_instance(callee, node, args, named)
            case Object(kind=Kind.MODULE) if self._may_be_method(callee, node):
                owner = replace(callee, uid=callee.uid[:-1])
                return self.on_module(owner.uid, owner, callee.uid[-1], node, args, named)
            case Object(kind=Kind.MODULE | Kind.CRITERION):
                return self._forward(callee, node, args, named)
            case Object():
                return UNKNOWN
            case Method(receiver, name):
                return self.method(receiver, name, node, args, named)
            case Unknown(id=id_) if id_ in self.proven:
                return self._forward(Object(Kind.MODULE, unknown_uid(id_), "", self.place(node)), node, args, named)
            case Unknown(id=id_) if id_ in self.module_owners:
                return self._ran_by_owner(unknown_uid(id_), node, args, named)
            case Unknown(id=id_) if id_ in self.losses:
                return self._one_of(self.losses[id_], id_, node, args, named)
            case Unknown() if is_context(callee, self.models):
                return UNKNOWN
            case Unknown(id=id_) if id_ and self.has_a_mode(node.func, id_):
                return self.call(self.proven_by_mode(callee), node, args, named)
            case _:
                return Unknown(
                    holds=self.escape(node, [callee, *args, *named.values()], self._handed([*args, *named.values()]))
                )

    def _handed(self, args: list[Value]) -> tuple[str, ...]:
        """Return the word that says that an unknown function gets what its caller was given: perhaps a model, unless it is called data."""
        given = (each.id for each in args if isinstance(each, Unknown) and each.id and not self.is_made_here(each.id))
        return () if all(_DATA.search(each) for each in given) else ("handed",)

    def _may_be_method(self, part: Object, node: ast.Call) -> bool:
        """Whether an attribute of an unseen module that has got a name of its own is called for what it does, not for a result."""
        known = part.origin or part.uid in self.objects or part.uid in self.instances
        if known or not isinstance(node.func, ast.Name) or len(part.uid) <= (2 if part.uid[0] == "?" else 1):
            return False
        return self.is_thrown_away(node)

    def _one_of(
        self, functions: tuple[Value, ...], id_: str, node: ast.Call, args: list[Value], named: dict[str, Value]
    ) -> Value:
        """Call one of several functions or losses, wherever it was chosen the same one."""
        first, *rest = functions
        if not rest:
            return self.call(first, node, args, named)
        results: list[Value] = []
        self.fork(
            Atom(f"{id_ or self.spelled(node)} of {len(functions)}", frozenset({id_})),
            lambda: results.append(self.call(first, node, args, named)),
            lambda: results.append(self._one_of(tuple(rest), id_, node, args, named)),
        )
        return join(*results)

    def _call_instance(self, instance: Instance, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        module = self.is_module(instance.cls)
        method = self.method_of(instance.cls, "__call__") or (
            self.method_of(instance.cls, "forward") if module else None
        )
        if not module:
            if method is None:
                return Unknown(holds=self.escape(node, [instance, *args, *named.values()]))
            return self.inline(replace(method, receiver=instance), node, args, named)
        made = self._ran(instance.uid, node)
        self.fed[made.place] |= graph_of([*args, *named.values()])
        if method is None:
            return UNKNOWN
        with self.aside() as out:
            result = self.inline(replace(method, receiver=instance), node, args, named)
        if isinstance(result, Items) and (plain := self.syntax.plain_results(method.node)):
            parts = tuple(DATA if index in plain else part for index, part in enumerate(result.elements))
            result = replace(result, elements=parts)
        if any(_acts(item) for item in out):
            self.out.extend(out)
        elif guests := self._guests(instance) & _run_by(out):
            self.emit(EventKind.FORWARD, node, guests, self.spelled(node))
        if self.grad is Grad.ON:
            return self._collapsed(result, made, args)
        return self.ungraphed(result, node, (*args, *named.values(), Tensor(frozenset({made}))))

    def _guests(self, host: Instance) -> frozenset[Uid]:
        """Return whom a module was given when it was made: a guest has a mode of its own, in which others may put it."""
        given = (name for name in self.members.get(host.uid, ()) if name.startswith("*"))
        return frozenset(uid for name in given for uid in held((self.store[host.uid, name],)))


def _run_by(out: Iterable[Node]) -> frozenset[Uid]:
    """Return the modules that certainly run in a forward."""
    runs = (event for item in out for event in _certain(item) if event.kind is EventKind.FORWARD)
    return frozenset(uid for event in runs for uid in event.targets or ())


def _certain(node: Node) -> Iterator[Event]:
    """Yield the events that happen on all paths, and once."""
    match node:
        case Event():
            yield node
        case Call(body):
            yield from _certain(body)
        case Seq(items):
            for item in items:
                yield from _certain(item)


def _acts(node: Node) -> bool:
    """Whether anything in a module's forward does more than run it."""
    acts = (EventKind.BACKWARD, EventKind.STEP, EventKind.ZERO, EventKind.RETAIN)
    return any(event.kind in acts for event in events(node))

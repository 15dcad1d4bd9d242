"""Creation: the objects of training that calling a constructor makes, who they are and on whom they act.

It knows identities and kinds; it must not know which name of a library makes what (`constructors`), states or rules.
"""

from __future__ import annotations

import ast
from dataclasses import replace

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.regex import regex
from gradlint.static.flow.tree import (
    Uid,
)
from gradlint.static.lowering.algebra import held, join, parameters_of, parts
from gradlint.static.lowering.gradients import Gradients
from gradlint.static.lowering.values import (
    LOADER,
    NONE,
    UNKNOWN,
    Class,
    Const,
    Construction,
    Instance,
    Items,
    Kind,
    Object,
    Params,
    Unknown,
    Value,
    const,
)
from gradlint.static.sources.library import words
from gradlint.static.syntax.endings import SEQUENCES
from gradlint.static.syntax.nodes import walk
from gradlint.static.syntax.own_steps import evaluates_once, uses

RESTORED = "*restored"
"""Under this name an optimizer holds the place where its state was loaded."""
_OWN_STEP = regex(r"\bself\.step\(|\bsuper\([^)]*\)\.step\(")
_TOUCHES = regex(r"\b(?:step|data|grad|params)\b")
"""Words in a method of an optimizer that may change parameters; whatever else it does leaves them alone."""


class Creation(Gradients):
    """Makes objects."""

    def make_parameter(self, node: ast.Call, named: dict[str, Value]) -> Params:
        """Make a parameter."""
        made = frozenset({(*self.frame.path, self.hint or "@")})
        self.emit(EventKind.CREATE, node, made)
        if const(named.get("requires_grad", Const(True))) is not True:
            self.frozen |= made
        return Params(made)

    def construct(self, kind: Kind, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Object:
        """Make an object of a kind, and emit that it is made."""
        uid = self._identity_of(node)
        meaning = self.models.meaning_of(name)
        given = dict(zip(meaning.parameters, args, strict=False)) | named
        values = [given[meaning.of]] if meaning.of in given else [*args, *named.values()]
        if kind is Kind.OPTIMIZER and "params" in named:
            values = [named["params"]]
        call = Construction(node, tuple(args), named, self.frame.node, self.frame.callers)
        made = Object(kind, uid, name, self.place(node), self._acts_on(kind, values), (call,))
        made = self._with_alternatives(made)
        for parameter in meaning.parameters if kind is Kind.ENGINE else ():
            # What its methods are said to act on.
            self.set_member(uid, parameter, given.get(parameter, NONE))
        for index, value in enumerate([*args, *named.values()] if kind is Kind.MODULE else ()):
            if isinstance(value, (Object, Instance, Items)):
                # A module that is built of others has their parameters.
                self.set_member(uid, f"*{index}", value)
        self.objects[uid] = made
        if kind is Kind.OPTIMIZER:
            self.store.pop((uid, RESTORED), None)  # Another one, of the same name, may have been.
            if made.of is None and values:
                self.presume(uid, values[0])
        for owner in made.of or () if kind is Kind.SCHEDULER else ():
            restored = const(self.store.get((owner, RESTORED), UNKNOWN))
            if isinstance(restored, Location):
                self.restored[uid] = restored
        if kind is Kind.SCALER and const(named.get("enabled", UNKNOWN)) is False and not self._may_be_given(node):
            self.disabled.add(uid)
        if name in SEQUENCES:
            op = self.output(args[-1]) if args and isinstance(args[-1], Object) else ""
            self.outputs[uid] = op if self.outputs.get(uid, op) == op else ""
        self.born.append(uid)
        self.emit(EventKind.CREATE, node, frozenset({uid}), self.hint)
        if kind is Kind.MODULE and _has_weights(name, args, named):
            self.pretrained[uid] = self.place(node)
            self.emit(EventKind.LOAD, node, frozenset({uid}), self.hint)
        return made

    def _may_be_given(self, node: ast.Call) -> bool:
        """Whether a scaler is switched off by the default of a function that nobody is seen to call: callers may switch it on."""
        function = self.frame.node
        called = bool(self.frame.callers) and isinstance(self.frame.callers[-1][1], ast.Call)
        if called or not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return False
        given = {arg.arg for arg in (*function.args.args, *function.args.kwonlyargs)}
        written = next((each.value for each in node.keywords if each.arg == "enabled"), None)
        return isinstance(written, ast.Name) and written.id in given

    def make_sampler(self, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Make a sampler whose order depends on the epoch that it is told; others need not be told."""
        call = Construction(node, tuple(args), named, self.frame.node)
        shuffles = call.argument(3, "shuffle")
        if isinstance(shuffles, Const) and not shuffles.value:
            return UNKNOWN
        made = Object(Kind.SAMPLER, self._identity_of(node), name, self.place(node), None, (call,))
        self.samplers[made.uid] = made
        self.emit(EventKind.CREATE, node, frozenset({made.uid}), self.hint)
        return made

    def make_loader(self, name: str, node: ast.Call, values: list[Value]) -> Value:
        """Make a loader; it has an identity where it has a sampler that must be told the epoch."""
        samplers = frozenset(uid for uid in held(values) if uid in self.samplers)
        if not samplers:
            return LOADER
        made = Object(Kind.LOADER, self._identity_of(node), name, self.place(node), samplers)
        for uid in samplers:
            self.set_member(made.uid, "sampler", self.samplers[uid])
        return made

    def _with_alternatives(self, made: Object) -> Object:
        """Return an object that two branches make as what is known of either."""
        other = self.objects.get(made.uid)
        either = made if other is None else join(made, other)
        if other is None or not isinstance(either, Object):
            return made
        if other.place == made.place and other.origin == made.origin:
            # One call makes it in each turn of a loop, perhaps for another module.
            return replace(made, of=either.of)
        # Two of one sort are equal, however each was made.
        return replace(either, calls=(*made.calls, *(call for call in other.calls if call not in made.calls)))

    def _identity_of(self, node: ast.Call) -> Uid:
        """Return who is made here: two branches that make one name make one object, a name made anew is another one."""
        name = self.hint or f"@{node.lineno}:{node.col_offset}{self.turn}"
        uid, place, count = (*self.frame.path, name), self.place(node), 1
        bound = self.lookup(name)
        anew = isinstance(bound, Object) and bound.uid[-1].partition("#")[0] == name
        while anew and uid in self.objects and self.objects[uid].place != place:
            count += 1
            uid = (*self.frame.path, f"{name}#{count}")
        return uid

    def _acts_on(self, kind: Kind, values: list[Value]) -> frozenset[Uid] | None:
        match kind:
            case Kind.OPTIMIZER:
                # Nobody is given an empty list: what was put in there is not in sight.
                return (self._owners(values[0]) or None) if values else None
            case Kind.SCHEDULER:
                # A scheduler built on schedulers steps them.
                self.escaped |= self.reach(
                    value for value in values if not (isinstance(value, Object) and value.kind is Kind.OPTIMIZER)
                )
                found = frozenset(
                    value.uid for value in values if isinstance(value, Object) and value.kind is Kind.OPTIMIZER
                )
                inner = (part for value in values for part in parts(value) if not found)
                scheduled = (part.of for part in inner if isinstance(part, Object) and part.kind is Kind.SCHEDULER)
                return found or frozenset(uid for of in scheduled for uid in of or ()) or None
            case _:
                return None

    def _owners(self, value: Value) -> frozenset[Uid] | None:
        match value:
            case Instance(uid=uid):
                return frozenset({uid})
            case Items(elements, keys) if keys is not None:
                return self._owners(elements[keys.index("params")]) if "params" in keys else None
            case Items(elements):
                owners = [self._owners(element) for element in elements]
                return None if None in owners else frozenset(uid for each in owners for uid in each or ())
            case _:
                return parameters_of(value)

    def opaque_module(self, name: str, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Object:
        """Make a module of which nothing else is known."""
        return self.construct(Kind.MODULE, name, node, args, named)

    def own_optimizer(self, cls: Class, node: ast.AST, args: list[Value], named: dict[str, Value]) -> Value:
        """Make an optimizer of the file's own class: torch's protocol, unless it clears or differentiates by itself."""
        more = _does_more_than_step(cls)
        own = uses(cls.node) if more else None
        if not isinstance(node, ast.Call) or (more and own is None):
            return Unknown(holds=self.escape(node, [*args, *named.values()]))
        made = self.construct(Kind.OPTIMIZER, cls.node.name, node, args, named)
        if own is not None:
            self.own_uses[made.uid] = own
        methods = {each.name: ast.unparse(each) for each in cls.node.body if isinstance(each, ast.FunctionDef)}
        steps = frozenset(name for name, body in methods.items() if _OWN_STEP.search(body))
        self.own_steps[made.uid] = steps - {"__init__"}
        if _steps_without_gradients(cls):
            self.projections.add(made.uid)
        self.own_methods[made.uid] = frozenset(name for name in methods if not _TOUCHES.search(methods[name]))
        return made

    def own_scheduler(self, cls: Class, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Make a scheduler of the file's own class: it counts as torch's do, how long it is nobody knows."""
        made = self.construct(Kind.SCHEDULER, "", node, args, named)
        self.own_methods[made.uid] = frozenset(each.name for each in cls.node.body if isinstance(each, ast.FunctionDef))
        return made


def _has_weights(name: str, args: list[Value], named: dict[str, Value]) -> bool:
    """Whether a module is made with trained weights, as some always are: nobody is seen to load them."""
    given = [const(named.get(key, NONE)) for key in words("pretrained", "arguments")]
    # A class of the project may call by that name what its terms weigh.
    asked = any(each for each in given if "." in name or each is not ...)
    # The number 1, equal to `True`, is a width.
    return asked or (bool(args) and const(args[0]) is True) or name in words("pretrained", "always")


def _does_more_than_step(cls: Class) -> bool:
    """Whether an optimizer clears or differentiates by itself, or evaluates a closure other than as torch's own do: once, if it is given one."""
    text = ast.unparse(cls.node)
    if any(word in text for word in ("zero_grad", "backward", "grad = None", "autograd")):
        return True
    methods = (each for each in cls.node.body if isinstance(each, ast.FunctionDef))
    return "closure()" in text and not all(map(evaluates_once, methods))


def _steps_without_gradients(cls: Class) -> bool:
    """Whether an optimizer's class has a step that asks for no gradient, nor another step: it projects, or shrinks."""
    steps = [each for each in cls.node.body if isinstance(each, ast.FunctionDef) and each.name == "step"]
    asked = {node.attr for node in walk(cls.node) if isinstance(node, ast.Attribute)} & {"grad", "step"}
    return bool(steps) and not asked

"""Members: what an attribute of an instance is, by who assigned it, what its class declares, or what its methods ask of it.

It knows classes and their methods; it must not know states or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.static.lowering.attributes import told_by
from gradlint.static.lowering.classes import Classes, decorators
from gradlint.static.lowering.functions import name_of
from gradlint.static.lowering.values import (
    NONE,
    Class,
    Const,
    Function,
    Instance,
    Kind,
    Library,
    Method,
    Object,
    Unknown,
    Value,
    unknown_uid,
)
from gradlint.static.sources.library import words
from gradlint.static.syntax.nodes import walk
from gradlint.static.syntax.uses import assigned_in, attributes_used, is_attribute


class Members(Classes):
    """Finds attributes of instances."""

    def member(self, owner: Instance, name: str, node: ast.expr) -> Value:
        """Return an attribute of an instance of this file's class; what nobody was seen to assign is what its class declares."""
        value = self._found_member(owner, name, node)
        # Using None would raise: by then, another method has assigned it.
        unseen = value == NONE or (isinstance(value, Unknown) and not self._held(value))
        inherited = self.inherited_member(owner, name, node) if unseen else None
        if inherited is not None:
            return inherited
        declared = self._declared(owner.cls, name) if unseen else None
        if declared is None:
            return self._by_use(owner, name, value, node)
        module = Object(Kind.MODULE, (*owner.uid, name), "", self.place(node))
        self.declared[module.uid] = declared
        self.set_member(owner.uid, name, module)
        return module

    def _by_use(self, owner: Instance, name: str, value: Value, node: ast.expr) -> Value:
        """Return an attribute, or the optimizer that it is by what the methods of the class ask it for."""
        made = None
        if isinstance(value, Unknown) and isinstance(node, ast.Attribute):
            made = self.optimizer_by_use(value, (*owner.uid, name), node) or self._asked_for(owner, name, value, node)
        if made is None:
            return value
        self.set_member(owner.uid, name, made)
        return made

    def _asked_for(self, owner: Instance, name: str, value: Unknown, node: ast.expr) -> Object | None:
        """Return what somebody unknown gave an attribute, where its class asks it for what only an optimizer, or a scaler, does."""
        kinds = {self.objects[uid].kind for uid in value.holds if uid in self.objects}
        asks = ((Kind.OPTIMIZER, self.syntax.stepped_by_name), (Kind.SCALER, self.syntax.scaled_by_name))
        for kind, asked in asks if value.id else ():
            if kind not in kinds and any(f"self.{name}" in asked(each.node) for each in self.lineage(owner.cls)):
                if kind is Kind.OPTIMIZER:
                    self.presume(unknown_uid(value.id), value)
                return self.objects.setdefault(
                    unknown_uid(value.id), Object(kind, unknown_uid(value.id), "", self.place(node))
                )
        return None

    def by_then(self, owner: Instance, function: ast.AST) -> None:
        """Give what begins as None what another method gives it: by the time that `function` uses it, that one has run."""
        for name in sorted(self.members.get(owner.uid, ())):
            if self.store.get((owner.uid, name)) == NONE and name in self.syntax.mentioned(function):
                setters = [each for each in self._setters(owner, name) if name_of(each) != "__init__"]
                if len(setters) == 1 and setters[0].node is not function and not self.exhausted(setters[0]):
                    self._assigns(setters[0])

    def pair(self, owner: Instance) -> None:
        """Take the only optimizer that an object is given to train the only module that its class trains."""
        lineage = list(self.lineage(owner.cls))
        stepped = {name for each in lineage for name in self.syntax.stepped_by_name(each.node)}
        run = set(self._runs(lineage)) if len(stepped) == 1 else set()
        names = [name.partition(".") for name in (*stepped, *run)]
        if len(run) != 1 or any(first != "self" or not name or "." in name for first, _, name in names):
            return
        (_, _, optimizer), (_, _, model) = names
        given, module = (self.store.get((owner.uid, name)) for name in (optimizer, model))
        known = isinstance(given, Object) and (given.of is not None or bool(given.calls))
        if known or not isinstance(given, (Object, Unknown)) or not isinstance(module, Unknown) or not module.id:
            return
        self.proven.add(module.id)
        self.module_owners.add(module.id)
        uid = given.uid if isinstance(given, Object) else (*owner.uid, optimizer)
        made = Object(Kind.OPTIMIZER, uid, "", self.place(owner.cls.node), frozenset({unknown_uid(module.id)}))
        self.objects[uid] = made
        self.set_member(owner.uid, optimizer, made)

    def inherited_member(self, owner: Instance, name: str, node: ast.AST) -> Object | None:
        """Return what a trainer of a library gives its instances: a model, an optimizer for it, a scheduler for this, an engine."""
        kinds = {"model": Kind.MODULE, "model_wrapped": Kind.MODULE, "optimizer": Kind.OPTIMIZER}
        kinds |= {"lr_scheduler": Kind.SCHEDULER, "accelerator": Kind.ENGINE}
        if name not in kinds or not self.is_a(owner.cls, *words("trainer", "bases")):
            return None
        kind, home = kinds[name], "model" if name == "model_wrapped" else name
        uid, model, optimizer = ((*owner.uid, each) for each in (home, "model", "optimizer"))
        of = {Kind.OPTIMIZER: frozenset({model}), Kind.SCHEDULER: frozenset({optimizer})}.get(kind)
        if kind is Kind.SCHEDULER:
            self.inherited_member(owner, "optimizer", node)
        origin = "accelerate.Accelerator" if kind is Kind.ENGINE else ""
        made = self.objects.setdefault(uid, Object(kind, uid, origin, self.place(node), of))
        self.set_member(owner.uid, name, made)
        return made

    def _runs(self, lineage: list[Class]) -> Iterator[str]:
        """Yield the modules that classes train or evaluate, as they are spelled."""
        for each in lineage:
            yield from self.syntax.run_by_name(each.node)
            for method in each.node.body:
                yield from self.syntax.evaluated_by_name(method)

    def _held(self, value: Unknown) -> bool:
        return any(uid in self.objects for uid in value.holds)

    def _declared(self, cls: Class, name: str) -> Class | None:
        """Return the class of modules that the body of a class, or of its bases, declares an attribute to be of."""
        for ancestor in self.lineage(cls):
            for statement in ancestor.node.body:
                match statement:
                    case ast.AnnAssign(ast.Name(id=target), annotation) if target == name:
                        found = self.seen_from(ancestor.frame, annotation)
                        return found if isinstance(found, Class) and self.is_module(found) else None
        return None

    def submodule(self, owner: Object, name: str) -> Value:
        """Return a part of a module; of one whose class is in sight, the optimizer of its own parameters that it makes itself."""
        cls = self.declared.get(owner.uid) or self.instances.get(owner.uid)
        made = next(self._makes_optimizer(cls, name), None) if cls is not None else None
        if made is None:
            return super().submodule(owner, name)
        uid = (*owner.uid, name)
        if uid not in self.objects:
            self.objects[uid] = Object(Kind.OPTIMIZER, uid, "", made, frozenset({owner.uid}))
        return self.objects[uid]

    def _makes_optimizer(self, cls: Class, name: str) -> Iterator[Location]:
        """Yield where a class assigns `self.{name} = optimizer_class(self.parameters(), ...)`."""
        for ancestor in self.lineage(cls):
            for method in self.syntax.setters(ancestor.node, name):
                for node in walk(method):
                    match node:
                        case ast.Assign([ast.Attribute(ast.Name("self"), attr)], ast.Call(callee, [first, *_])) if (
                            attr == name and ast.unparse(first) == "self.parameters()"
                        ):
                            if self._is_optimizer_class(callee, ancestor):
                                yield self.frames.get(ancestor.frame, self.module).module.source.place(node)

    def _is_optimizer_class(self, callee: ast.expr, cls: Class) -> bool:
        """Whether a callee is a class of optimizers: one of a library, or what the constructor takes for one."""
        value = self.seen_from(cls.frame, callee)
        if isinstance(value, Library):
            return self.models.role_of(value.name) == "optimizer"
        init = self.method_of(cls, "__init__")
        taken = init.node.args if init is not None else None
        return taken is not None and any(
            isinstance(callee, ast.Attribute)
            and arg.arg == callee.attr
            and arg.annotation is not None
            and ast.unparse(arg.annotation).endswith(("Optimizer]", "Optimizer"))
            for arg in (*taken.args, *taken.kwonlyargs)
        )

    def _found_member(self, owner: Instance, name: str, node: ast.expr) -> Value:
        value = self.store.get((owner.uid, name))
        if value is not None:
            return value
        method = self.method_of(owner.cls, name)
        if method is not None:
            around = decorators(method)
            if "staticmethod" in around:
                return method
            function = replace(method, receiver=owner.cls if "classmethod" in around else owner)
            if "cached_property" in around:
                return self._made_once(owner, name, function, node)
            return self.inline(function, node, [], {}) if "property" in around else function
        if name == "module" and owner.uid in self.parallel:
            # What a wrapper wraps is its `module`.
            return owner
        if self._assigned_elsewhere(owner, name, node):
            found = self.store.get((owner.uid, name))
            if isinstance(found, Const) and self._begins(owner.cls, name):
                self.set_member(owner.uid, name, found := Unknown(self._path(owner, name)))
            knows = frozenset({owner.uid} if self._may_know(owner, name) else ())
            return found or Unknown(self._path(owner, name), knows)
        if self.is_module(owner.cls):
            if name in words("module", "facts"):
                return told_by(owner.uid, name)
            # Only what wraps it has one, and a wrapper stands for what it wraps.
            return owner if name == "module" else Method(owner, name)
        told = name in words("trainer", "attributes") and self.is_a(owner.cls, *words("trainer", "bases"))
        acts = self.is_open(owner.cls) and not told
        return Unknown(self._path(owner, name), frozenset({owner.uid}) if acts else frozenset())

    def _made_once(self, owner: Instance, name: str, function: Function, node: ast.expr) -> Value:
        """Return what a property makes that keeps it: at whichever use, which is no event of that one."""
        with self.aside():
            value = self.inline(function, node, [], {})
        self.set_member(owner.uid, name, value)
        return value

    def _begins(self, cls: Class, name: str) -> bool:
        """Whether the body of a class gives its instances an attribute, so that nobody needs to have assigned it yet."""
        given = (each for ancestor in self.lineage(cls) for each in ancestor.node.body)
        return any(
            isinstance(target, ast.Name) and target.id == name
            for each in given
            if isinstance(each, (ast.Assign, ast.AnnAssign)) and each.value is not None
            for target in (each.targets if isinstance(each, ast.Assign) else [each.target])
        )

    def _path(self, owner: Instance, name: str) -> str:
        return f"{'/'.join(owner.uid)}.{name}"

    def _assigned_elsewhere(self, owner: Instance, name: str, node: ast.expr) -> bool:
        """Run the method that sets `self.name` for its assignments only, if there is exactly one."""
        setters = self._setters(owner, name)
        if len(setters) == 1 and not self.exhausted(setters[0]) and name_of(setters[0]) != "__init__":
            before = self._objects_of(owner)
            self._assigns(setters[0])
            self._replaced(before, self._objects_of(owner), node)
        return bool(setters)

    def _may_know(self, owner: Instance, name: str, seen: frozenset[str] = frozenset()) -> bool:
        """Whether what methods give an attribute may have a hold on the object itself, or on an object of training that it has."""
        setters = self._setters(owner, name)
        for setter in setters:
            arguments = setter.node.args.args
            given = [value for target, value in assigned_in(setter.node) if is_attribute(target, name)]
            if not given or not arguments:
                return True
            used = (each for value in given for each in attributes_used(value, arguments[0].arg))
            if any(not each or self._holds_training(owner, each, seen | {name}) for each in used):
                return True
        return not setters

    def _holds_training(self, owner: Instance, name: str, seen: frozenset[str]) -> bool:
        """Whether an attribute may have a hold on an object of training; of those that are `seen`, others are asked."""
        known = self.store.get((owner.uid, name))
        if known is None:
            return name not in seen and self._may_know(owner, name, seen)
        return any(uid in self.objects for uid in self.reach((known,)))

    def _objects_of(self, owner: Instance) -> dict[str, Object]:
        """Return the objects of training among the attributes of an instance."""
        held = {name: self.store.get((owner.uid, name)) for name in self.members.get(owner.uid, ())}
        return {name: value for name, value in held.items() if isinstance(value, Object)}

    def _replaced(self, before: dict[str, Object], after: dict[str, Object], node: ast.expr) -> None:
        """Emit that nobody knows what objects have been through that took the place of others in a method that ran at some time."""
        made = {each.uid for name, each in after.items() if name in before and before[name] != each}
        if made:
            self.emit(EventKind.ESCAPE, node, frozenset(made))

    def _setters(self, owner: Instance, name: str) -> list[Function]:
        return [
            Function(method, ancestor.frame, owner)
            for ancestor in self.lineage(owner.cls)
            for method in self.syntax.setters(ancestor.node, name)
        ]

    def _assigns(self, setter: Function) -> None:
        """Run a method for its assignments only."""
        (loops, self.loops), mode = (self.loops, ()), (self.grad, self.switch)
        reached = set(self.reached)
        with self.aside():
            self.inline(setter, setter.node, [], {})
        self.loops, self.reached = loops, reached
        self.grad, self.switch = mode

"""Functions that need not be followed into their bodies: what calling them leaves behind all the same.

It knows what functions are given and the words in them; it must not know their bodies' statements, states or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.static.flow.tree import Uid
from gradlint.static.lowering.algebra import INERT, graph_of
from gradlint.static.lowering.parameters import Parameters
from gradlint.static.lowering.values import UNKNOWN, Class, Function, Instance, Params, Value
from gradlint.static.syntax.emptied import emptied


class Bystanders(Parameters):
    """Tells which calls have no hand in training, and forgets what they may have changed."""

    def lineage(self, cls: Class) -> Iterator[Class]:
        """Yield a class and its bases that are in sight, nearest first; the layer of classes knows how."""
        raise NotImplementedError

    def beside_the_point(self, function: Function, given: list[Value]) -> bool:
        """Whether a function of another file gets nothing that is trained, and cannot train anything else."""
        module = self.frames.get(function.frame, self.module).module
        if module is self.module.module or not self._stands_alone(function) or self.trained(given):
            return False
        places: list[ast.AST] = [function.node]
        if isinstance(function.receiver, Instance):
            places += [each.node for each in self.lineage(function.receiver.cls)]
        return not any(self.footprints.trains(place, module) for place in places)

    def _stands_alone(self, function: Function) -> bool:
        """Whether a function has a hold on nothing but what it is given, and what the top of its file binds."""
        # A class as receiver makes an instance, mostly, whose methods may be given more than this one was.
        inner = self.frames.get(function.frame, self.module).node is not None
        return not inner and not isinstance(function.node, ast.Lambda) and not isinstance(function.receiver, Class)

    def overwritten(self, function: Function, node: ast.AST, given: list[Value]) -> None:
        """Forget the attributes of what is given to a function which is not followed, as far as it may assign them."""
        module = self.frames.get(function.frame, self.module).module
        for uid in self.instances_among(given):
            self.unsettle(uid, node, self.footprints.sets(function.node, module) | self._set_by(uid, function))
        if isinstance(function.receiver, Instance) and not isinstance(function.node, ast.Lambda):
            owner, source = function.receiver, module.source
            near = [each.node for each in self.lineage(owner.cls) if each.frame == function.frame]
            for name, statement in emptied(function.node, near):
                self.begun[owner.uid, name] = (self.loops, source.place(statement))

    def instances_among(self, given: list[Value]) -> frozenset[Uid]:
        """Return the instances that whoever gets `given` can act on."""
        return self.reach(given) & self.instances.keys()

    def _set_by(self, uid: Uid, function: Function) -> frozenset[str]:
        """Return the attributes that methods of an instance assign, if a function calls any of them, or is one."""
        methods = {
            each
            for cls in self.lineage(self.instances[uid])
            for each in cls.node.body
            if isinstance(each, ast.FunctionDef) and each.name != "__init__"
        }
        asked = self.syntax.mentioned(function.node)
        if function.node not in methods and asked.isdisjoint(each.name for each in methods):
            return frozenset()
        return frozenset[str]().union(*map(self.syntax.assigned_attributes, methods))

    def trained(self, values: list[Value]) -> bool:
        """Whether `values` have a hold on an object of training, or on a graph."""
        values = [value for value in values if type(value) not in INERT and value is not UNKNOWN]
        return bool(values) and (
            any(isinstance(value, (Function, Params)) for value in values)
            or bool(graph_of(values))
            or any(uid in self.objects for uid in self.reaching(values))
        )

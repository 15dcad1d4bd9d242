"""Which modules behave differently in training and in evaluation mode, as far as their source is in sight.

It knows torch's layers and classes of the file; it must not know events or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Location
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.facts.layers import Layers, Sensitivity, most
from gradlint.static.facts.names import Names
from gradlint.static.flow.tree import Uid
from gradlint.static.lowering.values import (
    Class,
    Instance,
    Library,
    Object,
)
from gradlint.static.sources.library import role_of, words
from gradlint.static.syntax.layers import (
    bare,
)
from gradlint.static.syntax.nodes import spelled, walk, walk_of
from gradlint.static.syntax.nodes import words as words_in

_CLASS = regex(r"[A-Z]\w*")
_PUTS = frozenset(["append", "extend", "insert"])
"""Methods by which a list gets elements."""


class Makers:
    """Where the modules of one file are made, and whether their mode matters."""

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self._names = Names(analysis)
        self._layers = Layers(analysis)
        self._known: dict[Uid, tuple[Sensitivity, frozenset[str]]] = {}

    def layers(self, module: Uid) -> frozenset[str]:
        """Return what is called, or asked for, in the sources of a module and behaves as its mode says."""
        return self._read(module)[1]

    def sensitivity(self, module: Uid) -> Sensitivity:
        """Return whether the mode of a module matters."""
        return self._read(module)[0]

    def _read(self, module: Uid) -> tuple[Sensitivity, frozenset[str]]:
        if module not in self._known:
            self._layers.met = set()
            self._known[module] = self._sensitivity(module), frozenset(self._layers.met)
        return self._known[module]

    def in_training_mode(self, module: Uid) -> bool:
        """Whether a module, or what it is a part of, begins in training mode: a constructor made it."""
        return any(self._constructed(module[:length]) for length in range(1, len(module) + 1))

    def is_saved(self, module: Uid) -> bool:
        """Whether a module was saved as a whole and loaded: it has the mode that it had then."""
        made = self._analysis.lowering.objects.get(module)
        return made is not None and role_of(made.origin) == "saved"

    def _constructed(self, module: Uid) -> bool:
        lowering = self._analysis.lowering
        made = lowering.objects.get(module)
        return (
            module in lowering.instances
            or (made is not None and bool(made.origin) and not self.is_saved(module))
            or self._maker(module) is not None
        )

    def _sensitivity(self, module: Uid) -> Sensitivity:
        lowering = self._analysis.lowering
        if module in lowering.instances:
            return self._layers.of_module(lowering.instances[module], self._calls_of(module))
        if self.is_saved(module):
            # Its class must be importable: it is taken for what the file trains, else for any module that it imports.
            classes = [self._layers.of_class(cls) for cls in self._trained() or self._classes()]
            return most(classes) if classes else Sensitivity.UNSEEN
        made = lowering.objects.get(module)
        node = self._maker(module) if made is None else self._call_at(made.place)
        if node is None:
            original = self._original(module)
            return self._sensitivity(original) if original is not None else self._told(module)
        parts = (self._layers.of_expression(each, lowering.module.path) for each in self._put_in(node))
        return most([self._layers.of_expression(node, lowering.module.path), *parts])

    def _put_in(self, container: ast.Call) -> Iterator[ast.expr]:
        """Yield what the names stand for that a module is built of: what its function assigns to them, and puts in there."""
        names = {node.id for arg in container.args for node in walk(arg) if isinstance(node, ast.Name)}
        scope = self._analysis.function_in(container.lineno) or self._analysis.tree
        for statement in walk(scope) if names else ():
            match statement:
                case ast.Assign([ast.Name(name)], value) | ast.AugAssign(ast.Name(name), _, value) if name in names:
                    yield value
                case ast.Call(ast.Attribute(ast.Name(name), method), [*_, value]) if name in names and method in _PUTS:
                    yield value

    def _calls_of(self, module: Uid) -> list[ast.Call]:
        """Return the calls that make whatever gets the module's name; none if something else gets it, too."""
        name = module[-1].rpartition("/")[2]
        made = [bare(value) for (target, _), value in self._names.assignments.items() if target == name]
        # What is made of what had the name before is the same model, moved or wrapped.
        made = [each for each in made if each is None or name not in words_in(each)]
        made = [each for each in made if not isinstance(each, ast.Constant)]
        calls = [each for each in made if isinstance(each, ast.Call)]
        return calls if len(calls) == len(made) else []

    def _call_at(self, place: Location) -> ast.Call | None:
        """Return the innermost call that begins at a place."""
        calls, source = self._analysis.calls_in(place.row), self._analysis.source
        return next((node for node in reversed(calls) if source.place(node).column == place.column), None)

    def in_sight(self) -> Sensitivity:
        """Return whether the mode matters to any module that the file makes or has a name for; unseen if there is none."""
        lowering = self._analysis.lowering
        if self._layers.of_expression(self._analysis.tree, lowering.module.path) is Sensitivity.YES:
            return Sensitivity.YES
        found = [self._layers.of_class(cls) for cls in self._classes()]
        return most(found) if found else Sensitivity.UNSEEN

    def _trained(self) -> list[Class]:
        instances = self._analysis.lowering.instances
        return [instances[uid] for uid in self._analysis.trained_by if uid in instances]

    def _classes(self) -> Iterator[Class]:
        """Yield the classes of modules that the file has a name for, or defines."""
        lowering = self._analysis.lowering
        named = (lowering.settled((lowering.module.path, name)) for name in lowering.module.module.contents.bindings)
        defined = (Class(node, lowering.module.path) for node in self._analysis.nodes(ast.ClassDef))
        for cls in dict.fromkeys([*(each for each in named if isinstance(each, Class)), *defined]):
            if lowering.is_module(cls):
                yield cls

    def pretrained(self, module: Uid) -> Location | None:
        """Return where a library returned an unknown module in evaluation mode, as a `from_pretrained` of Transformers does."""
        made = self._names.given(module)
        return (
            self._analysis.source.place(made)
            if made and self._package(made) in words("pretrained", "evaluating")
            else None
        )

    def drops_as_returned(self, module: Uid) -> bool:
        """Whether a library that has dropout in most of its models returned an unknown module."""
        made = self._names.given(module)
        return made is not None and self._package(made) in words("pretrained", "dropping")

    def _package(self, made: ast.expr) -> str:
        """Return the package whose `from_pretrained` makes something ("": none does)."""
        match made:
            case ast.Call(ast.Attribute(attr="from_pretrained") as callee):
                known = self._analysis.value(callee)
                return known.name.split(".")[0] if isinstance(known, Library) else ""
            case _:
                return ""

    def is_pretrained(self, module: Uid) -> bool:
        """Whether an unknown module is what some `from_pretrained` returned, in whichever mode."""
        match self._names.given(module):
            case ast.Call(ast.Attribute(attr="from_pretrained")):
                return True
            case _:
                return False

    def _maker(self, module: Uid) -> ast.Call | None:
        """Return the call of another package's class that made an unknown module, if its name tells that it was one."""
        made = self._names.given(module)
        match made:
            case ast.Call(ast.Name(name) | ast.Attribute(attr=name) as callee) if _CLASS.match(name):
                known = self._analysis.value(callee)
                # A wrapper has no layers of its own.
                return made if isinstance(known, Library) and role_of(known.name) != "wrapper" else None
            case _:
                return None

    def _told(self, module: Uid) -> Sensitivity:
        """Return whether the mode matters to a module that nobody is seen to make: no, if what it is declared or kept as tells so."""
        return Sensitivity.NO if self._is_insensitive_part(module) else self._declared(module)

    def _is_insensitive_part(self, module: Uid) -> bool:
        """Whether a module is a part of what an instance of a class keeps as something to which the mode does not matter."""
        lowering = self._analysis.lowering
        whole = next((module[:n] for n in range(len(module) - 1, 0, -1) if module[:n] in lowering.instances), None)
        if whole is None:
            return False
        kept = [
            (assigned.value, each.frame)
            for each in lowering.lineage(lowering.instances[whole])
            for assigned in walk_of(each.node, ast.Assign)
            if spelled(assigned.targets[0]) == f"self.{module[len(whole)]}"
        ]
        return bool(kept) and all(self._layers.is_insensitive(value, frame) for value, frame in kept)

    def _declared(self, module: Uid) -> Sensitivity:
        """Return whether the mode matters to what a parameter is declared to be, and to each class of that kind in sight."""
        lowering = self._analysis.lowering
        cls = lowering.annotations.get("/".join(self._names.first(module)[1:]))
        if cls is None or not any(
            isinstance(each, ast.FunctionDef) and each.name == "forward" for each in cls.node.body
        ):
            return Sensitivity.UNSEEN
        kinds = [
            cls,
            *(each for each in self._classes() if any(base.node is cls.node for base in lowering.lineage(each))),
        ]
        insensitive = all(self._layers.of_class(each) is Sensitivity.NO for each in kinds)
        return Sensitivity.NO if insensitive else Sensitivity.UNSEEN

    def _original(self, module: Uid) -> Uid | None:
        """Return of which known module an unknown one is a copy."""
        made = self._names.given(module)
        callee = self._analysis.value(made.func) if isinstance(made, ast.Call) and made.args else None
        if not isinstance(made, ast.Call) or not isinstance(callee, Library) or role_of(callee.name) != "copy":
            return None
        copied = self._analysis.value(made.args[0])
        return copied.uid if isinstance(copied, (Instance, Object)) else None

"""One file's analysis: lower it once, and answer what checks ask about what was understood.

It knows neither the rules nor who runs them (`understanding`).
"""

from __future__ import annotations

import ast
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, TypeVar

from gradlint.declarations import Declaration, declarations
from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.models import Models, built_in, described_packages
from gradlint.static.flow.kinship import Kin, name_of
from gradlint.static.flow.roots import Root
from gradlint.static.flow.tree import Event, Uid
from gradlint.static.lowering.algebra import graph_of
from gradlint.static.lowering.files import Lowering
from gradlint.static.lowering.frames import RETURNED
from gradlint.static.lowering.values import UNKNOWN, Class, Instance, Kind, Object, Value
from gradlint.static.sources.project import Module, Project
from gradlint.static.sources.source import Source
from gradlint.static.syntax.deeds import acts
from gradlint.static.syntax.index import Index
from gradlint.static.syntax.nodes import below, root, walk, walk_of
from gradlint.static.syntax.questions import FunctionNode
from gradlint.static.syntax.testing import is_test

_Made = TypeVar("_Made")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


class Sources:
    """The file that is analyzed, and with it those that it calls into."""

    def __init__(self, own: Source, foreign: Mapping[ast.AST, Module]) -> None:
        self.text = own.text
        self.filename = own.filename
        self.own = own
        self._foreign = foreign

    def place(self, node: ast.AST) -> Location:
        """Return where a node stands, in whichever file that is."""
        return self.of(node).place(node)

    def of(self, node: ast.AST) -> Source:
        """Return the file in which a node stands."""
        module = self._foreign.get(node)
        return module.source if module is not None else self.own


class Analysis(Index):
    """What was understood of a file: its roots, objects and values; every check gets this."""

    def __init__(
        self,
        tree: ast.Module,
        text: str,
        filename: str,
        models: Models | None = None,
        pieces: tuple[int, ...] = (),
        accumulation: int = 0,
        whole: bool = True,
    ) -> None:
        super().__init__(tree, text)
        self.acts = whole or acts(self)
        self.accumulation = accumulation
        # A test uses more of a project than anything else, and says nothing about what it uses.
        self.is_test = is_test(tree, filename)
        self.project = project = Project(filename, described_packages(), sighted=not self.is_test)
        module = project.main(Source(text, filename), tree)
        self.contents = module.contents
        self.pieces = pieces
        self._lowering = Lowering(project, module, models or built_in())
        self.source = Sources(module.source, self._lowering.foreign)
        self._told: dict[str, Value] = {}
        self._kept: dict[object, Any] = {}
        self._rings: dict[tuple[Root, tuple[int, ...]], list[Event]] = {}
        self._kin: dict[int, tuple[int, Kin]] = {}
        self._declarations: dict[str, tuple[Declaration, ...]] = {}

    @cached_property
    def roots(self) -> list[Root]:
        """What is read from its first line; the file is lowered when somebody asks for the first time.

        Where nothing of training happens, no function has anything to do with it that nobody is seen to call.
        """
        roots = self._lowering.roots(self.tree, self.pieces)
        return list(roots if self.acts else itertools.islice(roots, 1))

    def kept(self, kind: Callable[[Analysis], _Made]) -> _Made:
        """Return what `kind` makes of this file, which it does once for all who ask."""
        if kind not in self._kept:
            self._kept[kind] = kind(self)
        made: _Made = self._kept[kind]
        return made

    def release(self) -> None:
        """Let go of what was kept: it knows the analysis, and while the search for garbage is paused a cycle outlives its file."""
        self._kept.clear()

    @cached_property
    def lowering(self) -> Lowering:
        """What was understood in lowering the file."""
        self.roots  # noqa: B018 (to ask is to lower)
        return self._lowering

    def value(self, node: ast.AST) -> Value:
        """Return what an expression was, or what its names alone tell where it was not read."""
        known = self.lowering.values.get(node)
        if known is not None:
            return known
        match node:
            case ast.Name(name):
                if name not in self._told:
                    self._told[name] = self.lowering.quietly(node)
                told = self._told[name]
            case ast.Attribute():
                told = self.lowering.quietly(node)
            case _:
                return UNKNOWN
        return UNKNOWN if told == UNKNOWN or self._is_local(root(node)) else told

    def scopes_with(self, word: str) -> list[ast.Module | FunctionNode]:
        """Return the module and those of its functions in whose rows a word stands."""
        contents, words = self.lowering.module.module.contents, frozenset([word])
        return [each for each in (self.tree, *self.functions) if contents.says(words, each)]

    def _is_local(self, name: ast.AST) -> bool:
        """Whether a name is one that a function binds itself: the module's value of such a name is another's."""
        return isinstance(name, ast.Name) and name.id in self._bound and name in self._local

    @cached_property
    def _bound(self) -> frozenset[str]:
        """What is bound anywhere, but for definitions and imports: few of those are bound again, and few files need `_local`."""
        stored = (node.id for node in self.nodes(ast.Name) if type(node.ctx) is not ast.Load)
        return frozenset(node.arg for node in self.nodes(ast.arg)) | frozenset(stored)

    @cached_property
    def _local(self) -> frozenset[ast.AST]:
        syntax, found, seen = self.lowering.syntax, set[ast.AST](), set[ast.AST]()
        for function in self.nodes(ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda):
            if function not in seen:
                found |= syntax.locals(function)
                if not syntax.declared(function)[0]:  # What a function binds holds for those in it, too.
                    seen.update(each for each in below(function) if isinstance(each, _FUNCTIONS))
        return frozenset(found)

    def is_module(self, node: ast.AST) -> bool:
        """Whether an expression is a module that is made in sight."""
        match self.value(node):
            case Object(kind=Kind.MODULE, uid=uid):
                return uid in self.lowering.objects
            case Instance(cls=cls):
                return self.lowering.is_module(cls)
            case _:
                return False

    def objects(self, kind: Kind) -> Iterator[Object]:
        """Yield the objects of a kind that the file makes or is given."""
        for made in self.lowering.objects.values():
            if made.kind is kind:
                yield made

    @cached_property
    def events(self) -> dict[Root, list[Event]]:
        """All events, by root."""
        return {root: root.events for root in self.roots}

    def all_of(self, kind: EventKind) -> Iterator[Event]:
        """Yield the events of one kind, root by root."""
        return (event for root in self.roots for event in root.of(kind))

    def ring(self, root: Root, loops: tuple[int, ...]) -> list[Event]:
        """Return the events of a root inside of all of `loops`; whoever gets the list must not change it."""
        known = self._rings.get((root, loops))
        if known is None:
            known = self._rings[root, loops] = [event for event in self.events[root] if event.is_in(loops)]
        return known

    def called_for(self, event: Event) -> Iterator[ast.AST]:
        """Yield the functions in which an event stands and which the innermost loop around it calls, the inner ones first."""
        loop = self.lowering.loop_nodes.get(event.loops[-1]) if event.loops else None
        frame = self.lowering.frames.get(event.frame)
        while loop is not None and frame is not None and frame.node is not None:
            if any(node is loop for node in walk(frame.node)):
                return
            yield frame.node
            frame = self.lowering.frames.get(frame.path[:-1])

    @cached_property
    def collected(self) -> frozenset[Location]:
        """The places of calls whose graph parts a comprehension collects."""
        comprehensions = (node for node in walk(self.tree) if isinstance(node, (ast.ListComp, ast.SetComp)))
        return frozenset(node.place for each in comprehensions for node in graph_of((self.value(each.elt),)))

    @cached_property
    def declares(self) -> bool:
        """Whether anything may be declared of a loop."""
        return bool(self.accumulation) or "gradlint:" in self.source.text

    def declared(self, loops: tuple[int, ...]) -> int:
        """Return how many batches a step inside these loops takes by what is said of the nearest, or of all (0: nothing)."""
        nodes = (self.lowering.loop_nodes.get(number) for number in reversed(loops if self.declares else ()))
        for node in nodes:
            if isinstance(node, (ast.For, ast.AsyncFor, ast.While)):
                source = self.source.of(node)
                if source.filename not in self._declarations:
                    self._declarations[source.filename] = declarations(source.text, source.filename)
                for each in self._declarations[source.filename]:
                    if node.lineno in each.rows and each.steps is not None:
                        return each.steps
        return self.accumulation

    def named(self, uid: Uid) -> str:
        """Return what to call a subject: the name that it got, else how it is written where it runs, else its class."""
        name = name_of(uid)
        if name and "," not in name and name != RETURNED:
            return name
        only = frozenset({uid})
        acts = (event for each in self.events.values() for event in each if event.kind is not EventKind.CREATE)
        found = (event for event in acts if event.targets == only)
        made, cls = self.lowering.objects.get(uid), self.lowering.instances.get(uid)
        origin = made.origin.rpartition(".")[2] if made else cls.node.name if cls else ""
        return next((event.name for event in found if event.name), "") or origin or "the model"

    @cached_property
    def stepped(self) -> frozenset[Uid]:
        """The optimizers and schedulers that are stepped somewhere."""
        return frozenset(
            uid
            for kind in (EventKind.STEP, EventKind.SCHEDULE)
            for event in self.all_of(kind)
            for uid in event.targets or ()
        )

    def calls_into(self, path: Uid) -> list[ast.Call]:
        """Return the calls in this file by which a frame was entered, outermost first."""
        frame, foreign = self.lowering.frames.get(path), self.lowering.foreign
        callers = frame.callers if frame is not None else ()
        return [node for function, node in callers if function not in foreign and isinstance(node, ast.Call)]

    def private(self, made: Object) -> bool:
        """Whether nobody outside this file can reach an object: a name of the file, or an attribute used here only to read."""
        if made.uid not in self.lowering.kept:
            return True
        frame = self.lowering.frames.get(made.uid[:-1])
        if frame is not None and frame.callers and frame.receiver is None and isinstance(frame.node, FunctionNode):
            return False  # It was returned, and is kept under some other name.
        name = made.uid[-1]
        used_here = made.uid[0] == "module" and len(made.uid) > 2
        return used_here and name not in self._used_here and name not in self._used_by_bases

    @cached_property
    def _used_here(self) -> frozenset[str]:
        return frozenset(_used(list(self.nodes(ast.Attribute))))

    @cached_property
    def _used_by_bases(self) -> frozenset[str]:
        """The attributes that the bases of this file's classes use in other files: what a class keeps, they have, too."""
        lowering = self.lowering
        lineages = (lowering.lineage(Class(node, ("module",))) for node in self.nodes(ast.ClassDef) if node.bases)
        bases = {each.node for lineage in lineages for each in lineage if lowering.is_foreign(each)}
        return frozenset(name for base in bases for name in _used(list(walk_of(base, ast.Attribute))))

    @cached_property
    def trained_by(self) -> dict[Uid, frozenset[Uid]]:
        """The optimizers of each module that has one."""
        owners: dict[Uid, set[Uid]] = defaultdict(set)
        for optimizer in self.objects(Kind.OPTIMIZER):
            for module in optimizer.of or self.lowering.presumed.get(optimizer.uid, frozenset()):
                owners[module].add(optimizer.uid)
        return {module: frozenset(found) for module, found in owners.items()}

    def owners(self, module: Uid) -> frozenset[Uid]:
        """Return the optimizers that train a module or a part of it."""
        return frozenset(uid for owned in self.trained.parts(module) for uid in self.trained_by[owned])

    @cached_property
    def trained(self) -> Kin:
        """The modules that have an optimizer."""
        return Kin(self.trained_by)

    def kin(self, uids: set[Uid]) -> Kin:
        """Return what tells who in a growing set of subjects is a part of whom."""
        size, known = self._kin.get(id(uids), (-1, None))
        if known is None or size != len(uids):
            known = Kin(uids)
            self._kin[id(uids)] = (len(uids), known)
        return known


def _used(nodes: list[ast.Attribute]) -> Iterator[str]:
    """Return the attributes that are loaded, but not to read or clear what they hold."""
    harmless = {"zero_grad", "state_dict", "param_groups", "get_last_lr", "load_state_dict", "last_epoch"}
    read_only = {node.value for node in nodes if node.attr in harmless}
    return (node.attr for node in nodes if isinstance(node.ctx, ast.Load) and node not in read_only)

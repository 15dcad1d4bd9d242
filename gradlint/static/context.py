"""The state of one reading of a file: who is who, where we are, and the flow tree made so far.

It knows frames, values and nodes; it must not know syntax beyond names, nor any rule.
"""

from __future__ import annotations

import ast
import enum
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.models import Models
from gradlint.static.footprint import Footprints
from gradlint.static.library import role_of_builtin
from gradlint.static.project import Module, Project
from gradlint.static.provenance import is_computed, without
from gradlint.static.syntax import Syntax
from gradlint.static.tree import (
    EMPTY,
    Branch,
    Cycle,
    Event,
    GraphNode,
    Jump,
    JumpKind,
    Kill,
    Known,
    Node,
    Predicate,
    Seq,
    Uid,
)
from gradlint.static.values import (
    ANY_OPTIMIZER,
    UNKNOWN,
    Choice,
    Class,
    Const,
    Function,
    Imported,
    Instance,
    Items,
    Library,
    Made,
    Method,
    Object,
    Tensor,
    Unknown,
    Value,
    graph_of,
    held,
    join,
    parts,
    scalers_of,
)

Store = dict[tuple[Uid, str], Value]

_MOST_CALLS = 12
"""Calls are followed this deep."""
_MOST_STATEMENTS = 60_000
"""And no more statements than this are read per file, calls and all."""
_MOST_FOREIGN_STATEMENTS = 20_000
"""When so many were read, calls into other files are not followed any more."""


class Grad(enum.Enum):
    """Whether gradients are recorded here."""

    ON = "grad"
    OFF = "no-grad"
    MAYBE = "maybe-grad"


@dataclass(eq=False)
class Frame:
    """One activation of a function (or the module): its names live in the store under its path."""

    path: Uid
    parent: Frame | None
    module: Module
    shared: dict[str, Frame] = field(default_factory=dict)
    node: ast.AST | None = None
    callers: tuple[tuple[ast.AST | None, ast.AST], ...] = ()
    cls: Class | None = None
    receiver: Value | None = None
    returned: list[Value] = field(default_factory=list)
    left: list[tuple[Grad, Location | None]] = field(default_factory=list)
    exits: list[Store] = field(default_factory=list)
    captured: bool = False
    bound: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Keeping:
    """A value with its graph that a name from outside the loop keeps."""

    place: Location
    name: str
    nodes: frozenset[GraphNode]
    loops: tuple[int, ...]
    created: Location
    scope: ast.AST | None


@dataclass(frozen=True, slots=True, eq=False)
class Descent:
    """One backward pass, or one `autograd.grad`, as it was reached: the call, what it ran from, and its event."""

    node: ast.Call
    roots: tuple[Value, ...]
    named: Mapping[str, Value]
    event: Event
    scope: ast.AST | None

    def flag(self, name: str) -> bool | None:
        """Return whether a flag is set; None where that is not certain."""
        value = self.named.get(name, UNKNOWN if "**" in self.named else Const(False))
        return bool(value.value) if isinstance(value, Const) else None


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """A loss of torch as it was computed once: its full name or object, and what it was given."""

    node: ast.Call
    loss: str
    criterion: Object | None
    args: tuple[Value, ...]
    named: Mapping[str, Value]

    def given(self, position: int, name: str) -> Value:
        """Return an argument."""
        return self.args[position] if position < len(self.args) else self.named.get(name, UNKNOWN)


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """A change of the `.data` of `owner`, which carried the graph parts `nodes`: the statement or call, and its scope."""

    node: ast.expr | ast.stmt
    owner: ast.expr
    nodes: frozenset[GraphNode]
    scope: ast.AST | None


@dataclass(frozen=True, slots=True)
class Refused:
    """A use of a tensor of the inference mode, where autograd would have to save it: `nodes` are the graph parts that it meets."""

    node: ast.AST
    spelled: str
    made: Location | None
    nodes: frozenset[GraphNode]


@dataclass(frozen=True, slots=True, eq=False)
class Hooked:
    """A hook that is registered on a module, and the event of it."""

    node: ast.Call
    module: Uid
    event: Event


@dataclass(frozen=True, slots=True, eq=False)
class StateCall:
    """A call of `state_dict` or `load_state_dict`: its name, where, and on what."""

    name: str
    place: Location
    owner: Value


@dataclass(slots=True)
class Pending:
    """What was known where control left the iteration that is being lowered."""

    continues: list[Store] = field(default_factory=list)
    breaks: list[Store] = field(default_factory=list)


class Context(ABC):
    """What every part of lowering shares."""

    def __init__(self, project: Project, module: Module, models: Models) -> None:
        self.project = project
        self.models = models
        self.syntax = Syntax()
        self.footprints = Footprints(project, self.syntax)
        self.module = Frame(("module",), None, module)
        self.frames: dict[Uid, Frame] = {self.module.path: self.module}
        self.frame = self.module
        self.store: Store = {}
        self.out: list[Node] = []
        self.loops: tuple[int, ...] = ()
        self.pending: list[Pending] = []
        self.grad = Grad.ON
        self.switch: Location | None = None  # the statement that set the mode, where no context has
        self.inference = False
        self.refused: list[Refused] = []
        self.compared: list[Compared] = []
        self.written: list[Written] = []
        self.switched: dict[Location, Location] = {}
        self.autocast = False
        self.perhaps = 0  # more than that: what happens here may have been made sure of before
        self.dead = False
        self.hint = ""
        self.stack: list[ast.AST] = []
        self.reached: set[ast.AST] = set()
        self.followed: set[ast.AST] = set()
        self.sought: set[tuple[Uid, str]] = set()
        self.foreign: dict[ast.AST, Module] = {}
        self.values: dict[ast.AST, Value] = {}
        self.latest: dict[ast.AST, Value] = {}
        self.objects: dict[Uid, Object] = {}
        self.born: list[Uid] = []
        self.successors: dict[tuple[Uid, Location], Uid] = {}
        self.escaped: set[Uid] = set()
        self.frozen: set[Uid] = set()
        self.kept: set[Uid] = set()
        self.members: dict[Uid, set[str]] = {}
        self.module_owners: set[str] = set()
        self.proven: set[str] = set()
        self.wrapped_by_others: set[ast.AST] = set()
        self.hooks: dict[Uid, list[Value]] = {}
        self.disabled: set[Uid] = set()
        self.outputs: dict[Uid, str] = {}
        self.initializers: dict[ast.ClassDef, ast.FunctionDef] = {}
        self.own_methods: dict[Uid, frozenset[str]] = {}
        self.windows: set[Uid] = set()
        self.parallel: set[Uid] = set()
        self.bypassed: dict[Location, str] = {}
        self.unsynced = False
        self.samplers: dict[Uid, Object] = {}
        self.cycles: dict[str, Cycle] = {}
        self.counts = False
        self.prepared: dict[Uid, Uid] = {}
        self.loop_numbers: dict[tuple[Uid, ast.AST], int] = {}
        self.loop_nodes: dict[int, ast.AST] = {}
        self.instances: dict[Uid, Class] = {}
        self.declared: dict[Uid, Class] = {}
        self.ended: dict[ast.AST, tuple[Made | None, ...]] = {}
        self.carriers: dict[GraphNode, str] = {}
        self.keepings: list[Keeping] = []
        self.descents: list[Descent] = []
        self.hooked: list[Hooked] = []
        self.states: list[StateCall] = []
        self.restored: dict[Uid, Location] = {}
        self.begun: dict[tuple[Uid, str], tuple[tuple[int, ...], Location]] = {}
        self.statements = 0
        self.numbers = itertools.count(1)

    @abstractmethod
    def evaluate(self, node: ast.expr) -> Value:
        """Return the value of an expression and emit the events of computing it."""

    @abstractmethod
    def block(self, statements: Iterable[ast.stmt]) -> None:
        """Lower statements into the current sequence."""

    @abstractmethod
    def call(self, callee: Value, node: ast.Call, args: list[Value], named: dict[str, Value]) -> Value:
        """Emit the events of a call and return its value."""

    @abstractmethod
    def beyond(self, frame: Frame, name: str) -> Value | None:
        """Return what the module of `frame` binds to a name that was not read yet."""

    @abstractmethod
    def named(self, dotted: str) -> Value:
        """Return what a dotted name stands for: something of a file that is in sight, else of a library."""

    @abstractmethod
    def trains(self, cls: Class) -> bool:
        """Whether a class has a hand in training."""

    @abstractmethod
    def is_module(self, cls: Class) -> bool:
        """Whether a class is proven to be a torch module."""

    def place(self, node: ast.AST) -> Location:
        """Return where `node` stands."""
        return self.frame.module.source.place(node)

    # Emitting ---------------------------------------------------------------------------------

    def emit(
        self,
        kind: EventKind,
        node: ast.AST,
        targets: frozenset[Uid] | None,
        name: str = "",
        nodes: frozenset[GraphNode] = frozenset(),
        roles: Iterable[str] = (),
        scalers: frozenset[Uid] = frozenset(),
    ) -> Event:
        """Append an event to the current sequence and return it."""
        everything = frozenset({*roles, self.grad.value, *(("no-sync",) if self.unsynced else ())})
        made = Event(kind, self.place(node), targets, self.frame.path, self.loops, nodes, name, everything, scalers)
        self.out.append(made)
        return made

    def escape(self, node: ast.AST, values: Iterable[Value], roles: Iterable[str] = ()) -> frozenset[Uid]:
        """Emit that somebody unknown got `values`, and return the subjects that it can act on."""
        values = list(values)
        self.forget(values)
        scaled = scalers_of(values)
        targets, nodes = self.reach(values) | scaled, graph_of(values)
        if targets:
            self.escaped |= targets
            self.emit(EventKind.ESCAPE, node, targets, nodes=nodes, roles=roles)
        if not targets - scaled and nodes:
            # It has no hand on parameters, but it may run backward.
            self.emit(EventKind.ESCAPE, node, frozenset(), nodes=nodes, roles=("loss",))
        return targets

    def jump(self, kind: JumpKind) -> None:
        """Append a jump; what follows in this block is dead."""
        self.out.append(Jump(kind))
        self.dead = True

    def reach(self, values: Iterable[Value]) -> frozenset[Uid]:
        """Return the subjects that whoever gets `values` can act on, through attributes and closures too."""
        found: set[Uid] = set()
        todo = list(values)
        while todo:
            value = todo.pop()
            if isinstance(value, Choice):
                todo.extend(value.functions)
            if isinstance(value, Function) and value.receiver is None:
                todo.extend(self._captured(value))
            for uid in held((value,)) - found:
                found.add(uid)
                todo.extend(self.store[uid, name] for name in self.members.get(uid, ()) if (uid, name) in self.store)
        return frozenset(found)

    def _captured(self, function: Function) -> Iterator[Value]:
        for name in self.syntax.names(function.node):
            value = self.settled((function.frame, name))
            if isinstance(value, (Object, Instance, Unknown)):
                yield value

    # Names ------------------------------------------------------------------------------------

    def lookup(self, name: str) -> Value:
        """Return the value of a name where we are."""
        frame: Frame | None = self.frame.shared.get(name, self.frame)
        while frame is not None:
            value = self.settled((frame.path, name))
            if value is None and frame.parent is None:
                value = self.beyond(frame, name)
            if value is not None:
                return value
            frame = frame.parent
        return UNKNOWN if role_of_builtin(name) == "unknown" else Library(f"builtins.{name}")

    def settled(self, key: tuple[Uid, str]) -> Value | None:
        """Return what the store has for a name; what was imported is looked for now."""
        value = self.store.get(key)
        if isinstance(value, Imported):
            value = self.store[key] = self.named(value.name)
        return value

    def bind(self, name: str, value: Value) -> None:
        """Give a name a value where we are."""
        frame = self.frame.shared.get(name, self.frame)
        frame.bound.add(name)
        self.store[frame.path, name] = value

    def set_member(self, uid: Uid, name: str, value: Value) -> None:
        """Give an attribute of an instance a value."""
        self.members.setdefault(uid, set()).add(name)
        self.store[uid, name] = value

    def forget(self, values: Iterable[Value]) -> None:
        """Drop what is known of where tensors come from, under whatever name: somebody may have changed them in place."""
        gone = {part for value in values for part in parts(value) if isinstance(part, Tensor) and part.made is not None}
        for tensor in gone:
            for key, value in self.store.items():
                if isinstance(value, (Tensor, Items)):
                    self.store[key] = without(value, tensor)

    def fresh(self, name: str, node: ast.AST, holds: frozenset[Uid] = frozenset()) -> Unknown:
        """Return a new unknown value that `name` gets at `node`."""
        unknown = Unknown(f"{'/'.join(self.frame.path)}/{name}@{getattr(node, 'lineno', 0)}", holds)
        self.renewed(unknown.id)
        return unknown

    def renewed(self, id_: str) -> None:
        """Emit that what was assumed of an unknown value is void: it is another one from here on."""
        if self.loops:
            self.out.append(Kill(frozenset({id_})))

    def number(self, loop: ast.AST) -> int:
        """Return the number of a loop in this frame; reading it again does not change it."""
        return self.loop_numbers.setdefault((self.frame.path, loop), len(self.loop_numbers) + 1)

    def note(self, node: ast.AST, value: Value) -> Value:
        """Remember what an expression was, for the checks that look at source."""
        self.latest[node] = value
        if self.frame.module is not self.module.module:
            self.foreign[node] = self.frame.module
        known = self.values.get(node)
        if known is None:
            self.values[node] = value
        elif known is not value and not _alike(known, value):
            self.values[node] = join(known, value)
        return value

    def begin(self, key: tuple[Uid, str], value: Value, node: ast.AST) -> None:
        """Remember where a name became an empty sum or list; anything else makes it forgotten."""
        empty = isinstance(value, Const) and (value.value is None or value.value == 0)
        if (
            empty
            or (isinstance(value, Items) and not value.elements)
            or (isinstance(value, Tensor) and not value.nodes and not is_computed(value))
        ):
            self.begun[key] = (self.loops, self.place(node))
        else:
            self.begun.pop(key, None)

    def keep(self, target: ast.expr, value: Value, node: ast.AST) -> None:
        """Remember that `target` from outside the loop now holds a graph of this iteration."""
        if self.frame.cls is not None and self.is_module(self.frame.cls):
            # What a module collects while it runs is its output.
            return
        nodes = graph_of((value,))
        match target:
            case ast.Name(name):
                key, scope = (self.frame.path, name), self.frame.node
            case ast.Attribute(owner, name) if isinstance(self.latest.get(owner), Instance):
                uid = next(iter(held((self.latest[owner],))))
                key, scope = (uid, name), None
                if nodes and self._collected(uid, nodes):
                    return
            case _:
                return
        loops, created = self.begun.get(key, (self.loops, None))
        if nodes and created is not None and len(loops) < len(self.loops):
            self.keepings.append(Keeping(self.place(node), ast.unparse(target), nodes, self.loops, created, scope))

    def _collected(self, uid: Uid, nodes: frozenset[GraphNode]) -> bool:
        """Whether an object of another file collects what a loop gives to one of its methods; the call is what is remembered."""
        caller = self.frames.get(self.frame.path[:-1])
        call = self.frame.callers[-1][1] if self.frame.callers else None
        match call:
            case ast.Call(ast.Attribute(ast.Name(name)), args) if caller is not None and self.frame.cls is not None:
                known = self.store.get((caller.path, name))
                loops, created = self.begun.get((uid, "*"), (self.loops, None))
                given = graph_of(self.latest.get(arg, UNKNOWN) for arg in args)
                apart = self.frame.module is not caller.module and not self.trains(self.frame.cls) and nodes <= given
                if not apart or not isinstance(known, Instance) or known.uid != uid or self._loops_here():
                    return False
                if created is not None and len(loops) < len(self.loops):
                    place = caller.module.source.place(call)
                    self.keepings.append(Keeping(place, name, nodes, self.loops, created, caller.node))
                return True
            case _:
                return False

    def _loops_here(self) -> bool:
        """Whether a loop of this activation is around."""
        return any(number in self.loops for (path, _), number in self.loop_numbers.items() if path == self.frame.path)

    # Branches ---------------------------------------------------------------------------------

    @contextmanager
    def aside(self) -> Iterator[list[Node]]:
        """Collect what is emitted inside into a sequence of its own."""
        outer, self.out = self.out, []
        try:
            yield self.out
        finally:
            self.out = outer

    def fork(self, test: Predicate, *sides: Callable[[], object]) -> None:
        """Lower two alternatives from the same point and join what is known after them."""
        match test:
            case Known(truth):
                sides[0 if truth else 1]()
                return
        before, grad, switch = self.store, self.grad, self.switch
        nodes: list[Node] = []
        ends: list[tuple[Store, Grad, Location | None]] = []
        for side in sides:
            self.store, self.grad, self.switch, self.dead = dict(before), grad, switch, False
            with self.aside() as out:
                side()
            nodes.append(Seq(tuple(out)) if out else EMPTY)
            if not self.dead:
                ends.append((self.store, self.grad, self.switch))
        self.out.append(Branch(test, nodes[0], nodes[1]))
        self.dead = not ends
        self.store = self.merge([store for store, *_ in ends]) if ends else before
        self.meet([(grad, switch) for _, grad, switch in ends])

    def meet(self, ends: Iterable[tuple[Grad, Location | None]]) -> None:
        """Go on in the mode in which paths meet, each of which has one and the statement that set it."""
        modes = dict(ends)
        (self.grad, self.switch), *others = modes.items() or ((Grad.MAYBE, None),)
        self.grad = Grad.MAYBE if others else self.grad

    def merge(self, stores: list[Store]) -> Store:
        """Return what is known where several paths meet; a name that only some of them bind keeps its value."""
        merged = dict(stores[0])
        for store in stores[1:]:
            # Few names differ, and there are many; to look for what was imported adds names.
            for key, value in [item for item in store.items() if merged.get(item[0]) is not item[1]]:
                known = merged.get(key)
                if known is None:
                    merged[key] = value
                elif known != value:
                    merged[key] = self._joined(key, known, value)
        return merged

    def either(self, left: Value, right: Value) -> Value:
        """Return what is known of a value that is one of two; of two classes of optimizers, that it is one."""
        match left, right:
            case Library(one), Library(other) if one != other and self._makes_optimizers(one, other):
                return ANY_OPTIMIZER
            case _:
                return join(left, right)

    def _makes_optimizers(self, *names: str) -> bool:
        meanings = [self.models.meaning_of(name) for name in names]
        return all(meaning.role == "optimizer" and meaning.kind in ("", "optimizer") for meaning in meanings)

    def _joined(self, key: tuple[Uid, str], left: Value, right: Value) -> Value:
        left, right = (self.named(each.name) if isinstance(each, Imported) else each for each in (left, right))
        value = left if left == right else self.either(left, right)
        if not isinstance(value, (Unknown, Choice)):
            return value
        named = replace(value, id=f"{'/'.join(key[0])}/{key[1]}#{next(self.numbers)}")
        self.renewed(named.id)
        return named

    # Limits -----------------------------------------------------------------------------------

    def exhausted(self, function: Function) -> bool:
        """Whether a call of `function` is not followed: recursion, depth or size."""
        foreign = self.frames.get(function.frame, self.module).module is not self.module.module
        most = _MOST_FOREIGN_STATEMENTS if foreign else _MOST_STATEMENTS
        return function.node in self.stack or len(self.stack) >= _MOST_CALLS or self.statements > most


def _alike(known: Value, value: Value) -> bool:
    """Whether two readings of one expression found the same sort of thing, perhaps in two activations."""
    match known, value:
        case Object(), Object():
            return known.kind is value.kind and known.origin == value.origin
        case Instance(), Instance():
            return known.cls.node is value.cls.node
        case Function(), Function():
            return known.node is value.node
        case Method(), Method():
            return known.name == value.name
        case _:
            return False


def const(value: Value) -> object:
    """Return the literal of a constant, else Ellipsis."""
    return value.value if isinstance(value, Const) else ...

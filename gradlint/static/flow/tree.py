"""The flow tree: what a piece of training code does, reduced to events, branches, loops and jumps.

Lowering makes it, the interpreter of `gradlint.static.flow.interpreter` runs it. It knows neither Python's
syntax nor any rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import field
from typing import TypeAlias

from gradlint.data import Enum, dataclass
from gradlint.diagnostics import Location
from gradlint.events import EventKind

Uid: TypeAlias = tuple[str, ...]
"""Who somebody is: the path of the frame or instance that holds it, then its name."""


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A part of an autograd graph: built by one forward call, `age` loop iterations ago.

    It is `sure` where the module is known well enough to say that its output carries a graph.
    """

    place: Location
    module: Uid
    age: int = 0
    sure: bool = True


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens to `targets` (None: to somebody unknown).

    `frame` is the activation in which it happens; `loops` are the loops around it, outermost
    first; `nodes` the graph parts that a backward runs through or a forward builds; `roles` free
    words that single checks look for; `scalers` the gradient scalers by which it happens; `phase` what a loop over a few words
    says here. The first and the later iterations of a loop have events of
    their own, which are equal: what reaches one reaches the other.
    """

    kind: EventKind
    place: Location
    targets: frozenset[Uid] | None
    frame: Uid = ()
    loops: tuple[int, ...] = field(default=(), compare=False)
    nodes: frozenset[GraphNode] = field(default=frozenset(), compare=False)
    name: str = field(default="", compare=False)
    roles: frozenset[str] = field(default=frozenset(), compare=False)
    scalers: frozenset[Uid] = field(default=frozenset(), compare=False)
    phase: str = ""

    def is_in(self, loops: tuple[int, ...]) -> bool:
        """Whether it happens inside of all of `loops`, which are those around some place."""
        return self.loops[: len(loops)] == loops

    def __hash__(self) -> int:
        # Events are looked up whenever a path reaches one: where, what and in whose frame tells almost all apart.
        return hash((self.place.row, self.place.column, self.kind, self.frame))


@dataclass(frozen=True, slots=True, eq=False)
class Kill:
    """The unknown values `ids` are new ones from here on: what was assumed of them is void."""

    ids: frozenset[str]


class JumpKind(Enum):
    """Where control goes instead of to the next statement."""

    BREAK = "break"
    CONTINUE = "continue"
    RETURN = "return"
    RAISE = "raise"


@dataclass(frozen=True, slots=True, eq=False)
class Jump:
    """A jump out of the enclosing loop, call or program."""

    kind: JumpKind


@dataclass(frozen=True, slots=True, eq=False)
class Seq:
    """One thing after another."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """One of two, by a predicate."""

    test: Predicate
    then: Node
    orelse: Node


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """A loop that runs at least once: its first iteration, its later ones, what follows without a break."""

    number: int
    first: Node
    later: Node
    orelse: Node
    endless: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """The body of a called function, which a return inside ends; or one turn of an unrolled loop, which a continue ends."""

    body: Node
    ends: JumpKind = JumpKind.RETURN


Node: TypeAlias = Event | Kill | Jump | Seq | Branch | Loop | Call


@dataclass(frozen=True, slots=True)
class Cycle:
    """What is true once in `length` turns: where `counter` and `offset` together are a multiple of it.

    `counter` and `length` are the ids or texts of values (the counter's is empty where it is not a plain one), `turns` is a
    literal length; a condition says so by being `when`.
    """

    counter: str
    length: str
    offset: int | None = None
    turns: int | None = None
    when: bool = True


@dataclass(frozen=True, slots=True)
class Atom:
    """A condition that is known by its text only; equal keys are equally true until an id is killed.

    `cycle` tells of one that comes true at regular turns of a loop.
    """

    key: str
    ids: frozenset[str] = field(default=frozenset(), compare=False)
    cycle: Cycle | None = field(default=None, compare=False)

    def __hash__(self) -> int:
        return hash(self.key)


@dataclass(frozen=True, slots=True)
class Known:
    """A condition whose truth is known."""

    truth: bool


@dataclass(frozen=True, slots=True)
class Open:
    """A condition of which no other one depends: on each path it may be true or false."""


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a condition."""

    operand: Predicate


@dataclass(frozen=True, slots=True)
class Both:
    """A conjunction, left before right (a disjunction is the negation of one)."""

    left: Predicate
    right: Predicate


Predicate: TypeAlias = Atom | Known | Open | Not | Both

Effect: TypeAlias = Callable[[Event], EventKind | None]
"""What an event means to a subject; None: nothing."""

EMPTY = Seq(())


def walk(node: Node) -> Iterator[Node]:
    """Yield `node` and every node in it in source order; later iterations only where they differ."""
    todo = [node]
    while todo:
        node = todo.pop()
        yield node
        # Trees are walked so often that patterns take too long, and `isinstance` where it says no: it asks a node for its class, too.
        if type(node) is Seq:
            todo += node.items[::-1]
        elif type(node) is Branch:
            todo += (node.orelse, node.then)
        elif type(node) is Loop:
            todo += (node.orelse, node.first) if node.later is node.first else (node.orelse, node.later, node.first)
        elif type(node) is Call:
            todo.append(node.body)


def rebuilt(node: Node, of: Callable[[Node], Node]) -> Node:
    """Return a node with what `of` makes of each node right in it."""
    if isinstance(node, Seq):
        return Seq(tuple(map(of, node.items)))
    if isinstance(node, Branch):
        return Branch(node.test, of(node.then), of(node.orelse))
    if isinstance(node, Loop):
        first = of(node.first)
        later = first if node.later is node.first else of(node.later)
        return Loop(node.number, first, later, of(node.orelse), node.endless)
    if isinstance(node, Call):
        return Call(of(node.body), node.ends)
    return node


def events(node: Node) -> Iterator[Event]:
    """Yield every event of a tree, as `walk` does."""
    return (each for each in walk(node) if type(each) is Event)


def atoms(test: Predicate) -> Iterator[Atom]:
    """Yield the single conditions that a predicate is made of."""
    match test:
        case Atom():
            yield test
        case Not(operand):
            yield from atoms(operand)
        case Both(left, right):
            yield from atoms(left)
            yield from atoms(right)
        case _:
            return

"""Guards: under which conditions, and through which loops, control comes to each event of a tree.

It knows trees; it must not know optimizers or rules.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import field

from gradlint.data import NamedTuple, dataclass
from gradlint.static.analysis import Analysis
from gradlint.static.flow.roots import Root
from gradlint.static.flow.tree import (
    Atom,
    Both,
    Branch,
    Call,
    Cycle,
    Event,
    Jump,
    Kill,
    Loop,
    Node,
    Not,
    Predicate,
    Seq,
    atoms,
)


class Guard(NamedTuple):
    """A condition that has this truth wherever control comes by."""

    test: Predicate
    truth: bool

    @property
    def ends(self) -> Iterator[Atom]:
        """The conditions in it that come true at regular turns, and are true here (or one of several reasons to be here)."""
        return _ends(self.test, self.truth)

    @property
    def misses(self) -> Iterator[Atom]:
        """The conditions in it that come true at regular turns, and are false here."""
        return _ends(self.test, not self.truth)

    @property
    def needs(self) -> tuple[Predicate, ...]:
        """The conditions that must all be true here."""
        return tuple(_needs(self.test, self.truth))

    @property
    def atoms(self) -> Iterator[Atom]:
        """All conditions in it."""
        return atoms(self.test)

    @property
    def told(self) -> Iterator[tuple[Atom, bool]]:
        """The single conditions of which it tells which truth they have."""
        return _told(self.test, self.truth)


def _parts(test: Predicate, truth: bool) -> Iterator[tuple[Predicate, bool]]:
    """Yield the conditions that all hold, or do not, where a test has a truth."""
    match test:
        case Not(operand):
            yield from _parts(operand, not truth)
        case Both(left, right) if truth:
            yield from _parts(left, truth)
            yield from _parts(right, truth)
        case _:
            yield test, truth


def _needs(test: Predicate, truth: bool) -> Iterator[Predicate]:
    return (part for part, _ in _parts(test, truth))


def _told(test: Predicate, truth: bool) -> Iterator[tuple[Atom, bool]]:
    return ((part, held) for part, held in _parts(test, truth) if isinstance(part, Atom))


def _ends(test: Predicate, truth: bool) -> Iterator[Atom]:
    match test:
        case Atom(cycle=Cycle(when=when)) if when is truth:
            yield test
        case Not(operand):
            yield from _ends(operand, not truth)
        case Both(left, right):
            yield from _ends(left, truth)
            yield from _ends(right, truth)
        case _:
            return


@dataclass(slots=True)
class Paths:
    """Through which loops and under which guards the events of a tree are reached; what each loop makes anew."""

    ways: dict[Event, tuple[int | Guard, ...]] = field(default_factory=dict)
    renewed: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))

    def guards(self, event: Event, loop: int | None) -> tuple[Guard, ...]:
        """Return the guards of an event inside a loop (None: all)."""
        way = self.ways.get(event, ())
        begin = way.index(loop) + 1 if loop in way else 0
        return tuple(item for item in way[begin:] if isinstance(item, Guard))

    def changes(self, atom: Atom, loop: int) -> bool:
        """Whether a condition may change from turn to turn: it rests on what a turn makes anew, or on a call."""
        return bool(atom.ids & self.renewed[loop]) or "Call(" in atom.key

    def read(self, node: Node, way: tuple[int | Guard, ...] = ()) -> None:
        """Take in a tree that control reaches by `way`."""
        match node:
            case Seq():
                self._sequence(node.items, way)
            case Branch():
                self.read(node.then, (*way, Guard(node.test, True)))
                self.read(node.orelse, (*way, Guard(node.test, False)))
            case Kill():
                for number in way:
                    if isinstance(number, int):
                        self.renewed[number] |= node.ids
            case Call():
                self.read(node.body, way)
            case Loop(number, first, later, orelse):
                self.read(later, (*way, number))
                if first is not later:
                    self.read(first, (*way, number))
                self.read(orelse, way)
            case Event():
                self.ways.setdefault(node, way)
            case _:
                return

    def _sequence(self, items: tuple[Node, ...], way: tuple[int | Guard, ...]) -> None:
        for item in items:
            if type(item) is Event:  # Most items are.
                self.ways.setdefault(item, way)
                continue
            self.read(item, way)
            match item:
                case Branch(test, then, orelse) if _leaves(then) is not _leaves(orelse):
                    # What follows is reached by the other side only.
                    way = (*way, Guard(test, _leaves(orelse)))


class _AllPaths(dict[Root, Paths]):
    """The paths of each root, found out when they are asked for."""

    def __init__(self, analysis: Analysis) -> None:
        super().__init__()

    def __missing__(self, root: Root) -> Paths:
        """Read the tree."""
        self[root] = paths = Paths()
        paths.read(root.bare)
        return paths


def paths_of(analysis: Analysis, root: Root) -> Paths:
    """Return the paths of a root, which are read once for all who ask."""
    return analysis.kept(_AllPaths)[root]


def _leaves(node: Node) -> bool:
    """Whether control certainly does not come out of a node at its end."""
    match node:
        case Jump():
            return True
        case Seq(items):
            return any(_leaves(item) for item in items)
        case Branch(_, then, orelse):
            return _leaves(then) and _leaves(orelse)
        case _:
            return False
